//! How glibc and libgcc_s are compiled for ARMv6 with hard float.
//!
//! Debian's cross compiler for its armhf (ARMv7) is told to make ARMv6 code; the libraries that come with it, which are ARMv7,
//! are never linked. So libgcc is compiled first. That does not take a whole gcc: its directory `libgcc` compiles with any gcc
//! of the same version, if it finds the headers that gcc's build generates. Debian ships those for gcc's plugins. Then glibc is
//! compiled and linked against this libgcc, then libgcc_s.so.1 against this glibc.
//!
//! Layout of the work directory: `tools/` unpacked packages, `bin/` and `programs/` a script for each tool, `src/`, `libgcc-build/`, `gcclib/`
//! what the compiler shall take for its own libraries, `glibc-build/`, `stage/` as `make install` leaves it, `libgcc_s-build/`,
//! `out/` the result. No path of it gets into the result: `-ffile-prefix-map` makes it `/build`, and there is no build id.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use super::journal::{Phase, Stage};
use super::needs::Host;
use crate::audit::{Waiver, inspect};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::shell::Command;
use crate::target::{FloatAbi, Platform};

/// Changes whenever the same sources and tools give other files.
pub const VERSION: &str = "1";
/// GNU's name of the ABI, and of the directory of its libraries.
pub const TRIPLET: &str = "arm-linux-gnueabihf";
/// Raspbian's baseline: ARMv6 with VFPv2, arguments in its registers, ARM state.
pub const FLAGS: [&str; 3] = ["-march=armv6+fp", "-mfloat-abi=hard", "-marm"];
/// The loader, by its name in `PT_INTERP`.
pub const LOADER: &str = "ld-linux-armhf.so.3";
/// Everything that is kept of what was compiled, besides the loader.
pub const LIBRARIES: [&str; 11] = [
    "libanl.so.1",
    "libc.so.6",
    "libdl.so.2",
    "libgcc_s.so.1",
    "libm.so.6",
    "libnss_dns.so.2",
    "libnss_files.so.2",
    "libpthread.so.0",
    "libresolv.so.2",
    "librt.so.1",
    "libutil.so.1",
];
/// Programs of binutils that the builds call.
const BINUTILS: [&str; 9] = [
    "ar", "as", "ld", "nm", "objcopy", "objdump", "ranlib", "readelf", "strip",
];
/// Programs for the build itself that come as packages.
const BUILD_TOOLS: [&str; 3] = ["bison", "gawk", "m4"];

/// What the files of a rebuild are called and made of.
#[derive(Clone, Debug)]
pub struct Recipe<'a> {
    /// The effects.
    pub cx: &'a Cx,
    /// The machine.
    pub host: Host,
    /// Work directory, absolute.
    pub dir: PathBuf,
    /// Major version of gcc: `12`.
    pub gcc: String,
    /// Debian's version of glibc: `2.36-9+deb12u14`.
    pub glibc_version: String,
    /// Debian's version of the package with gcc's source.
    pub gcc_version: String,
    /// Packages with tools and headers, in the cache.
    pub tools: Vec<PathBuf>,
    /// `glibc_2.36.orig.tar.xz`, in the cache.
    pub orig: PathBuf,
    /// `glibc_2.36-9+deb12u14.debian.tar.xz`, in the cache.
    pub debian: PathBuf,
    /// Commands that run at once.
    pub jobs: usize,
}

impl<'a> Recipe<'a> {
    /// The phases, in order. Line counts are those of bookworm's packages.
    pub fn phases(&'a self) -> Vec<Phase<'a>> {
        let glibc = format!("glibc {}", self.glibc_version);
        let libgcc = format!("libgcc {}", self.gcc_version);
        let phase = |name, verb, what: &str, lines, run: fn(&Self, &mut Stage<'_>) -> Result<()>| Phase {
            name,
            verb,
            what: what.to_owned(),
            lines,
            run: Box::new(move |stage| run(self, stage)),
        };
        vec![
            phase("tools", "Unpacking", "tools", 30, Self::unpack_tools),
            phase(
                "sources",
                "Unpacking",
                &format!("{glibc} and {libgcc}"),
                1_900,
                Self::unpack_sources,
            ),
            phase("libgcc", "Compiling", &libgcc, 2_600, Self::libgcc),
            phase("glibc", "Compiling", &glibc, 16_000, Self::glibc),
            phase("install", "Installing", &glibc, 9_000, Self::install),
            phase("libgcc_s", "Compiling", "libgcc_s", 700, Self::libgcc_s),
            phase(
                "check",
                "Checking",
                "that all of it is ARMv6 with hard float",
                60,
                Self::check,
            ),
        ]
    }

    fn at(&self, path: &str) -> PathBuf {
        self.dir.join(path)
    }

    /// A command that sees nothing of the caller's environment but where programs are.
    fn command(&self, program: impl AsRef<std::ffi::OsStr>) -> Command {
        let path = std::env::var("PATH").unwrap_or_else(|_| "/usr/bin:/bin".to_owned());
        let mut command = self
            .cx
            .shell
            .command(program)
            .env_clear()
            .env("PATH", format!("{}:{path}", self.at("bin").display()))
            .env("LC_ALL", "C")
            .env("SOURCE_DATE_EPOCH", "0")
            .env("BISON_PKGDATADIR", self.at("tools/usr/share/bison"))
            .env("M4", self.at("bin/m4"));
        for name in ["HOME", "TMPDIR"] {
            if let Some(value) = std::env::var_os(name) {
                command = command.env(name, value);
            }
        }
        command
    }

    fn make(&self, dir: &Path) -> Command {
        self.command("make").current_dir(dir).arg(format!("-j{}", self.jobs))
    }

    /// An empty directory of this name.
    fn fresh(&self, name: &str) -> Result<PathBuf> {
        let dir = self.at(name);
        let failed = || format!("cannot empty {}", dir.display());
        if dir.exists() {
            fs::remove_dir_all(&dir).context(failed)?;
        }
        fs::create_dir_all(&dir).context(failed)?;
        Ok(dir)
    }

    fn unpack_tools(&self, stage: &mut Stage<'_>) -> Result<()> {
        let tools = self.fresh("tools")?;
        for deb in &self.tools {
            stage.run(&self.command("dpkg-deb").arg("-x").arg(deb).arg(&tools))?;
        }
        let bin = self.fresh("bin")?;
        let gcclib = self.fresh("gcclib")?;
        let own = tools.join("usr/bin");
        for name in BUILD_TOOLS {
            self.script(&bin.join(name), &own.join(name), &[])?;
        }
        // An awk that is the same everywhere.
        symlink("gawk", bin.join("awk")).context(|| format!("cannot make a link in {}", bin.display()))?;
        // Under both names: glibc's configure asks the compiler where its assembler and linker are, and calls them itself.
        let programs = self.fresh("programs")?;
        for name in BINUTILS {
            let full = format!("{TRIPLET}-{name}");
            self.script(&bin.join(&full), &own.join(&full), &[])?;
            self.script(&programs.join(name), &own.join(&full), &[])?;
        }
        let mut flags: Vec<String> = FLAGS.map(str::to_owned).into();
        flags.push(format!("-ffile-prefix-map={}=/build", self.dir.display()));
        flags.push("-Wl,--build-id=none".to_owned());
        flags.extend([gcclib, programs].map(|dir| format!("-B{}/", dir.display())));
        let compiler = format!("{TRIPLET}-gcc");
        self.script(
            &bin.join(&compiler),
            &own.join(format!("{compiler}-{}", self.gcc)),
            &flags,
        )?;
        // It runs here, and makes what it shall.
        let object = self.at("probe.o");
        let source = self.at("probe.c");
        fs::write(&source, "double twice(double x) { return 2 * x; }\n")?;
        stage.run(
            &self
                .command(bin.join(compiler))
                .arg("-c")
                .arg(&source)
                .arg("-o")
                .arg(&object),
        )?;
        self.is_armv6(&object, "the compiler's first object")
    }

    /// A program of `tools/`, which finds its libraries there: those of the host may be other versions, and the host's own
    /// programs must not find these.
    fn script(&self, path: &Path, program: &Path, flags: &[String]) -> Result<()> {
        if !program.exists() {
            return Err(Error::new(format!(
                "no package of the tools has {}",
                program.strip_prefix(&self.dir).unwrap_or(program).display()
            ))
            .hint("[base.raspbian.rebuild] in xtask.toml lists them; they must fit its gcc and suite"));
        }
        let libraries = self.at("tools/usr/lib").join(self.host.multiarch);
        let text = format!(
            "#!/bin/sh\nLD_LIBRARY_PATH={}:{} exec {} {}\"$@\"\n",
            libraries.display(),
            self.at("tools/lib").join(self.host.multiarch).display(),
            program.display(),
            flags.iter().fold(String::new(), |text, flag| text + flag + " ")
        );
        fs::write(path, text).context(|| format!("cannot write {}", path.display()))?;
        fs::set_permissions(path, fs::Permissions::from_mode(0o755))?;
        Ok(())
    }

    fn unpack_sources(&self, stage: &mut Stage<'_>) -> Result<()> {
        let glibc = self.fresh("src/glibc")?;
        let tar = |archive: &Path, strip: &str, into: &Path| {
            let command = self.command("tar").arg("-xJf").arg(archive).arg("-C").arg(into);
            command.args(["--no-same-owner", strip])
        };
        stage.run(&tar(&self.orig, "--strip-components=1", &glibc))?;
        stage.run(&tar(&self.debian, "--strip-components=0", &glibc))?;
        let series = glibc.join("debian/patches/series");
        let text = fs::read_to_string(&series).context(|| format!("cannot read {}", series.display()))?;
        for name in patches(&text) {
            // As dpkg-source applies them: no guessing, nothing half-fitting.
            let patch = self.command("patch").current_dir(&glibc);
            let patch = patch.args(["-t", "-F", "0", "-N", "-p1", "-u", "-V", "never", "-E", "-i"]);
            stage.run(&patch.arg(glibc.join("debian/patches").join(name)))?;
        }
        let gcc = self.fresh("src/gcc")?;
        let packed = self.at(&format!("tools/usr/src/gcc-{}", self.gcc));
        let archive = fs::read_dir(&packed)
            .context(|| format!("cannot read {}", packed.display()))?
            .filter_map(|entry| entry.ok().map(|entry| entry.path()))
            .find(|path| {
                // Beside it lie what Debian adds, a compiler for Modula-2 for one.
                let name = path.file_name().unwrap_or_default().to_string_lossy();
                name.starts_with("gcc-") && name.ends_with(".tar.xz")
            })
            .context(|| format!("no source of gcc in {}", packed.display()))?;
        let members = [
            "*/libgcc",
            "*/include",
            "*/config*",
            "*/gcc/*.h",
            "*/gcc/*.def",
            "*/gcc/*.opt",
            "*/gcc/*-VER",
            "*/install-sh",
            "*/move-if-change",
            "*/mkinstalldirs",
            "*/ltmain.sh",
            "*/COPYING3",
        ];
        let command = tar(&archive, "--strip-components=1", &gcc);
        stage.run(&command.args(["--exclude=*/testsuite", "--wildcards"]).args(members))
    }

    fn libgcc(&self, stage: &mut Stage<'_>) -> Result<()> {
        let top = self.fresh("libgcc-build")?;
        let gcclib = self.fresh("gcclib")?;
        let gcc = top.join("gcc");
        let dir = top.join(TRIPLET).join("libgcc");
        fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
        let plugin = self.at(&format!(
            "tools/usr/lib/gcc-cross/{TRIPLET}/{}/plugin/include",
            self.gcc
        ));
        stage.run(&self.command("cp").arg("-R").arg(&plugin).arg(&gcc))?;
        fs::write(gcc.join("tconfig.h"), TCONFIG)?;
        fs::write(gcc.join("libgcc.mvars"), MVARS)?;
        let own = self
            .command(self.at("bin").join(format!("{TRIPLET}-gcc")))
            .arg("-print-file-name=include")
            .read()?;
        let configure = self.command("../../../src/gcc/libgcc/configure").current_dir(&dir);
        let configure = configure.args([
            &format!("--host={TRIPLET}"),
            &format!("--build={}", self.host.multiarch),
            "--prefix=/usr",
            "--enable-shared",
            "--with-gcc-major-version-only",
            &format!("--with-target-subdir={TRIPLET}"),
            &format!("CC={TRIPLET}-gcc"),
            &format!(
                "CFLAGS=-O2 -g0 -nostdinc -isystem {own} -isystem {}",
                self.headers().display()
            ),
        ]);
        stage.run(&configure)?;
        let objects = ["crtbegin.o", "crtbeginS.o", "crtbeginT.o", "crtend.o", "crtendS.o"];
        let make = self.make(&dir).arg("LIBGCC2_DEBUG_CFLAGS=-g0");
        stage.run(&make.args(["libgcc.a", "libgcc_eh.a"]).args(objects))?;
        for name in ["libgcc.a", "libgcc_eh.a"].iter().chain(&objects) {
            let (from, to) = (dir.join(name), gcclib.join(name));
            fs::copy(&from, &to).context(|| format!("cannot copy {}", from.display()))?;
        }
        // glibc's programs ask for -lgcc_s, which cannot be there yet.
        fs::write(gcclib.join("libgcc_s.so"), "INPUT ( libgcc.a libgcc_eh.a )\n")?;
        let taken = self
            .command(self.at("bin").join(format!("{TRIPLET}-gcc")))
            .arg("-print-libgcc-file-name")
            .read()?;
        match Path::new(&taken) == gcclib.join("libgcc.a") {
            true => Ok(()),
            false => Err(Error::new(format!(
                "the compiler would link {taken}, which is not the one made here"
            ))),
        }
    }

    fn headers(&self) -> PathBuf {
        self.at("tools/usr").join(TRIPLET).join("include")
    }

    fn glibc(&self, stage: &mut Stage<'_>) -> Result<()> {
        let dir = self.fresh("glibc-build")?;
        let places = format!(
            "libdir = /usr/lib/{TRIPLET}\nslibdir = /lib/{TRIPLET}\nrtlddir = /lib\n\
             complocaledir = /usr/lib/locale\nrootsbindir = /sbin\n"
        );
        fs::write(dir.join("configparms"), places)?;
        let configure = self.command(self.at("src/glibc/configure")).current_dir(&dir);
        let configure = configure.args([
            "--prefix=/usr",
            &format!("--host={TRIPLET}"),
            &format!("--build={}", self.host.multiarch),
            &format!("--with-headers={}", self.headers().display()),
            "--enable-kernel=3.2",
            "--disable-werror",
            "--disable-nscd",
            "--disable-build-nscd",
            "--without-selinux",
            "--disable-crypt",
            "--disable-profile",
            "--without-gd",
            "--enable-stack-protector=strong",
            "CFLAGS=-O2 -g0 -pipe",
            // Programs in C++, manuals and translations are of no use here.
            "CXX=:",
            "MAKEINFO=:",
            "MSGFMT=:",
        ]);
        stage.run(&configure)?;
        stage.run(&self.make(&dir))
    }

    fn install(&self, stage: &mut Stage<'_>) -> Result<()> {
        let root = self.fresh("stage")?;
        let make = self.command("make").current_dir(self.at("glibc-build")).arg("install");
        stage.run(&make.arg(format!("install_root={}", root.display())))
    }

    fn libgcc_s(&self, stage: &mut Stage<'_>) -> Result<()> {
        // A copy: if this is cut short, what it leaves is not mistaken for finished objects.
        let copy = self.at("libgcc_s-build");
        if copy.exists() {
            fs::remove_dir_all(&copy).context(|| format!("cannot empty {}", copy.display()))?;
        }
        stage.run(&self.command("cp").arg("-a").arg(self.at("libgcc-build")).arg(&copy))?;
        let dir = copy.join(TRIPLET).join("libgcc");
        let root = self.at("stage");
        let usr = root.join("usr/lib").join(TRIPLET);
        let compiler = format!(
            "CC={TRIPLET}-gcc --sysroot={} -B{usr} -L{usr} -L{}/lib/{TRIPLET} -L{}/lib",
            root.display(),
            root.display(),
            root.display(),
            usr = usr.display()
        );
        let make = self.make(&dir).args(["LIBGCC2_DEBUG_CFLAGS=-g0", "libgcc_s.so"]);
        stage.run(&make.arg(compiler))?;
        let (from, to) = (
            dir.join("libgcc_s.so.1"),
            root.join("lib").join(TRIPLET).join("libgcc_s.so.1"),
        );
        fs::copy(&from, &to).context(|| format!("cannot copy {}", from.display()))?;
        Ok(())
    }

    /// Looks at the files before they are stripped (which takes the symbols that tell code from data), then strips them.
    fn check(&self, stage: &mut Stage<'_>) -> Result<()> {
        let out = self.fresh("out")?;
        for name in ["lib", "unstripped", "doc"] {
            fs::create_dir_all(out.join(name))?;
        }
        let libraries = LIBRARIES.map(|name| (name, self.at("stage/lib").join(TRIPLET).join(name)));
        for (name, path) in libraries.iter().chain([&(LOADER, self.at("stage/lib").join(LOADER))]) {
            self.is_armv6(path, name)?;
            fs::copy(path, out.join("unstripped").join(name)).context(|| format!("cannot copy {}", path.display()))?;
            let strip = self.command(self.at("bin").join(format!("{TRIPLET}-strip")));
            stage.run(
                &strip
                    .args(["--strip-unneeded", "-o"])
                    .arg(out.join("lib").join(name))
                    .arg(path),
            )?;
        }
        for (from, to) in [
            ("src/glibc/debian/copyright".to_owned(), "libc6"),
            (
                format!("tools/usr/share/doc/gcc-{}-source/copyright", self.gcc),
                "libgcc-s1",
            ),
            ("src/glibc/COPYING.LIB".to_owned(), "LGPL-2.1"),
            ("src/gcc/COPYING3".to_owned(), "GPL-3"),
            ("src/glibc/debian/changelog".to_owned(), "changelog"),
        ] {
            let from = self.at(&from);
            fs::copy(&from, out.join("doc").join(to)).context(|| format!("cannot copy {}", from.display()))?;
        }
        Ok(())
    }

    fn is_armv6(&self, path: &Path, name: &str) -> Result<()> {
        let bytes = fs::read(path).context(|| format!("{name} was not made: {}", path.display()))?;
        let report = inspect(&bytes, name, Platform::ArmV6, Some(FloatAbi::Hard), &guarded(name));
        if report.passed() {
            return Ok(());
        }
        Err(Error::new(format!(
            "{name} is not for ARMv6 with hard float:\n{}",
            report.text().trim_end()
        ))
        .hint("this is a fault of the recipe or of its tools: please report it with the versions above"))
    }
}

/// The names in `debian/patches/series`.
fn patches(series: &str) -> impl Iterator<Item = &str> {
    series
        .lines()
        .filter_map(|line| line.split(" #").next()?.split_whitespace().next())
        .filter(|name| !name.starts_with('#'))
}

/// Code for other chips that a chip without them never runs, by file. The image's audit has the same in xtask.toml.
fn guarded(name: &str) -> Vec<Waiver> {
    let (found, reason) = match name {
        "libc.so.6" => (&IWMMXT[..], IWMMXT_REASON),
        LOADER => (&IWMMXT[..2], IWMMXT_REASON),
        "libgcc_s.so.1" => (&UNWINDER[..], UNWINDER_REASON),
        _ => (&[][..], ""),
    };
    let waiver = |found: &&str| Waiver {
        rule: "code.beyond".to_owned(),
        found: (*found).to_owned(),
        reason: reason.to_owned(),
    };
    found.iter().map(waiver).collect()
}

/// setjmp and longjmp, which the loader has too, then getcontext and setcontext.
const IWMMXT: [&str; 4] = [
    "*: 6 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 a1 ec ec)",
    "*: 6 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 a1 fc ec)",
    "*: 6 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 a1 e0 ec)",
    "*: 6 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 a1 f0 ec)",
];
const IWMMXT_REASON: &str = "registers of iWMMXt, saved and restored if AT_HWCAP has HWCAP_ARM_IWMMXT";
const UNWINDER: [&str; 6] = [
    "*: 1 instruction, registers d16 to d31, first vldm/vstm at * (20 0b d0 ec)",
    "*: 1 instruction, registers d16 to d31, first vldm/vstm at * (20 0b c0 ec)",
    "*: 16 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 01 f0 ec)",
    "*: 16 instructions, another coprocessor, first ldc/stc/mcrr/mrrc at * (02 01 e0 ec)",
    "*: 4 instructions, another coprocessor, first ldc2/stc2/mcrr2/mrrc2 at * (01 81 b0 fc)",
    "*: 4 instructions, another coprocessor, first ldc2/stc2/mcrr2/mrrc2 at * (01 81 a0 fc)",
];
const UNWINDER_REASON: &str = "run only for frames whose unwinding instructions say that these registers were saved";

/// `tconfig.h` is made by gcc's mkconfig.sh for code that is compiled for the target.
const TCONFIG: &str = "\
#ifndef GCC_TCONFIG_H
#define GCC_TCONFIG_H
#ifndef USED_FOR_TARGET
# define USED_FOR_TARGET
#endif
#include \"auto-host.h\"
#ifdef IN_GCC
# include \"ansidecl.h\"
#endif
#endif
";

/// What gcc's own Makefile tells that of libgcc.
const MVARS: &str = "\
GCC_CFLAGS = -O2 -g0 -DIN_GCC -DCROSS_DIRECTORY_STRUCTURE -isystem ./include
INHIBIT_LIBC_CFLAGS =
TARGET_SYSTEM_ROOT =
NO_PIE_CFLAGS = -fno-PIE
";

#[cfg(test)]
mod tests {
    use super::patches;

    #[test]
    fn a_series_has_comments_options_and_empty_lines() {
        let series = "git-updates.diff\n\n# a heading\narm/unsubmitted.diff -p1\nlocale/x.diff # why\n  \n";
        let names: Vec<&str> = patches(series).collect();
        assert_eq!(names, ["git-updates.diff", "arm/unsubmitted.diff", "locale/x.diff"]);
    }
}
