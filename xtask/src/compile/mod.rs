//! The only caller of cargo. Makes the [`Artifact`] out of cargo's own messages, never out of a path that was guessed.

mod bill;
mod messages;
mod record;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};

use crate::cache;
use crate::cx::Cx;
use crate::elf::strip::{Keep, strip};
use crate::error::{Context, Error, Result};
use crate::plan::{CompilePlan, Plan, StdSource};
use crate::shell::Command;
use crate::target::{HOSTS, Target};
use crate::toolchain::rust_std::Compiler;
use crate::toolchain::zig::Zig;
pub use bill::{Bill, bill};
use messages::Messages;
pub use record::{Record, Tool, dependencies};

/// A program that cargo says it has made, with how it was made.
#[derive(Clone, Debug)]
pub struct Artifact {
    /// Where cargo put it.
    pub path: PathBuf,
    /// Its bytes, read once: what is audited is what is packed. With the names of functions, without debug information,
    /// which would be full of this machine's paths.
    pub bytes: Vec<u8>,
    /// The target it was made for.
    pub target: &'static Target,
    /// Where its std came from.
    pub std: StdSource,
    /// The compiler.
    pub compiler: Compiler,
    /// The arguments of the link that made it, one each; empty when that link left no record (one by plain cargo, say). For
    /// attributing findings; nothing is decided by it.
    pub link_line: Vec<String>,
    /// What says whose code is where in it: see [`Record::evidence`].
    pub record: Record,
}

/// What the compilers take for "now" (`__DATE__` and the like): 1980-01-01. A constant and not the commit's time, so that a
/// commit that does not touch the program does not change it, and cargo need not compile SQLite anew for it.
const COMPILE_EPOCH: &str = "315532800";

/// cargo in the workspace. Every use of cargo starts here. The compilers that it started end with it when a signal ends us.
pub fn cargo(cx: &Cx) -> Command {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = cx.shell.command(cargo).current_dir(&cx.root).as_group();
    for name in set_for_us(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        command = command.env_remove(name);
    }
    command
}

/// Variables that `cargo run` and `cargo test` set for us. They must not leak into the build of something else: the build script of
/// ring asks to be run again when the version of its package changes, so all that is above it, xtask included, would be compiled
/// anew whenever cargo is called from here after it was called by hand, and the other way round.
fn set_for_us(names: impl Iterator<Item = String>) -> Vec<String> {
    let prefixes = ["CARGO_PKG_", "CARGO_MANIFEST_", "CARGO_BIN_EXE_"];
    names
        .filter(|name| name == "CARGO_PRIMARY_PACKAGE" || prefixes.iter().any(|prefix| name.starts_with(prefix)))
        .collect()
}

/// cargo in another checkout, with the tool chain and the settings of that one.
pub fn cargo_at(cx: &Cx, root: &Path) -> Command {
    // By its name: CARGO is the one of our own tool chain, past rustup.
    let mut command = cx.shell.command("cargo").current_dir(root).as_group();
    let set = std::env::vars_os().filter_map(|(name, _)| name.into_string().ok());
    let fixed = [
        "CARGO",
        "CARGO_TARGET_DIR",
        "CARGO_TARGET_TMPDIR",
        "RUSTC",
        "RUSTUP_TOOLCHAIN",
    ];
    for name in set_for_us(set).into_iter().chain(fixed.map(str::to_owned)) {
        command = command.env_remove(name);
    }
    command
}

/// Variables for build scripts and for the linker, beside those that are the same for every build.
pub type Environment = [(&'static str, OsString)];

/// The arguments that make `cargo build` compile `compile.triple` reproducibly. Public so that the benchmark can run
/// the very same build without anything around it.
pub fn build_command(
    cx: &Cx,
    plan: &Plan,
    compile: &CompilePlan,
    std: StdSource,
    compiler: &Compiler,
    environment: &Environment,
) -> Result<Command> {
    let target = Target::from_triple(&compile.triple).context(|| format!("unknown triple {}", compile.triple))?;
    let mut command = cargo(cx)
        .args([
            "build",
            "--locked",
            "--profile",
            &plan.profile,
            "--target",
            target.triple,
        ])
        .args(["--package", &plan.package, "--bin", &plan.binary])
        .args(["--message-format", "json-render-diagnostics"])
        // The names of functions are evidence: with them the audit knows code from data, and whose code it is. They do not
        // get into the image: `elf::strip` takes them away afterwards.
        .arg("--config")
        .arg(format!("profile.{}.strip=\"none\"", plan.profile))
        .env("SOURCE_DATE_EPOCH", COMPILE_EPOCH)
        .env("XTASK_LINK_LINE", link_line_path(cx, target));
    for name in foreign_settings(std::env::vars_os().filter_map(|(name, _)| name.into_string().ok())) {
        command = command.env_remove(name);
    }
    for (name, value) in environment {
        command = command.env(name, value);
    }
    if HOSTS.contains(&target.triple) {
        let scripts = cx.root.join(crate::toolchain::zig::SCRIPTS);
        let under = target.triple.replace('-', "_");
        command = command
            .env(
                format!("CARGO_TARGET_{}_LINKER", under.to_uppercase()),
                scripts.join(format!("{}-link", target.triple)),
            )
            .env(format!("CC_{under}"), scripts.join(format!("{}-cc", target.triple)))
            .env(format!("AR_{under}"), scripts.join("ar"));
    }
    if cx.offline {
        command = command.arg("--offline");
    }
    if cx.ui.is_quiet() {
        command = command.arg("--quiet");
    }
    if std == StdSource::Source {
        command = command
            .env("RUSTC_BOOTSTRAP", "1")
            .args(["-Zbuild-std=std,panic_abort", "-Zbuild-std-features=optimize_for_size"]);
    }
    Ok(command.arg("--config").arg(format!(
        "target.{}.rustflags={}",
        target.triple,
        serde_json::to_string(&remap(cx, compiler))?
    )))
}

/// Variables of the caller that would change what the compilers make. They are taken away: RUSTFLAGS alone would replace the
/// CPU and the path remapping, and the same source would no longer give the same bytes.
fn foreign_settings(names: impl Iterator<Item = String>) -> Vec<String> {
    let prefixes = [
        "AR_",
        "CARGO_PROFILE_",
        "CARGO_TARGET_",
        "CC_",
        "CFLAGS",
        "CXXFLAGS",
        "CXX_",
        "HOST_CFLAGS",
        "LIBSQLITE3_",
        "PKG_CONFIG_",
        "RANLIB_",
        "SQLITE3_",
        "SQLITE_MAX_",
    ];
    let words = [
        "RUSTFLAGS",
        "CARGO_ENCODED_RUSTFLAGS",
        "CARGO_BUILD_RUSTFLAGS",
        "CARGO_BUILD_TARGET",
        "CARGO_INCREMENTAL",
    ];
    let tools = [
        "CC",
        "CXX",
        "AR",
        "LD",
        "TARGET_CC",
        "TARGET_CXX",
        "TARGET_AR",
        "TARGET_CFLAGS",
        "XTASK_GLIBC",
        "CRATE_CC_NO_DEFAULTS",
    ];
    let keep = ["CARGO_TARGET_DIR", "CARGO_TARGET_TMPDIR"];
    names
        .filter(|name| !keep.contains(&name.as_str()))
        .filter(|name| {
            words.contains(&name.as_str())
                || tools.contains(&name.as_str())
                || prefixes.iter().any(|prefix| name.starts_with(prefix))
        })
        .collect()
}

/// Where cargo keeps what it downloads.
fn cargo_home() -> PathBuf {
    std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")))
        .unwrap_or_default()
}

/// The directories in which cargo unpacks crates, one a registry, sorted. Their names are made from the registry's address,
/// which a mirror changes.
fn registries(cargo_home: &Path) -> Vec<PathBuf> {
    let entries = fs::read_dir(cargo_home.join("registry/src")).into_iter().flatten();
    let mut found: Vec<_> = entries.flatten().map(|entry| entry.path()).collect();
    found.sort();
    found
}

/// Paths of this machine, replaced in everything that the compiler writes.
fn remap(cx: &Cx, compiler: &Compiler) -> Vec<String> {
    // What build scripts generate lies here, and may name its own path. Inside the workspace, where it usually is, the
    // workspace's own replacement gives the same.
    let target_dir = std::env::var_os("CARGO_TARGET_DIR")
        .map(|dir| cx.root.join(dir))
        .unwrap_or_default();
    replacements(&cx.root, &target_dir, &compiler.sysroot, &cargo_home())
}

/// What stands for what in rustc's arguments. Short names: the program has them wherever something could panic.
fn replacements(workspace: &Path, target_dir: &Path, sysroot: &Path, cargo_home: &Path) -> Vec<String> {
    let registries = registries(cargo_home);
    let library = sysroot.join("lib/rustlib/src/rust/library");
    let libraries = [(sysroot, "/rust"), (&library, "/rust/library"), (cargo_home, "/cargo")];
    let registries = registries.iter().map(|registry| (registry.as_path(), "/cargo"));
    // The last match wins in rustc, so the workspace, which may lie inside the home directory, comes late.
    let own = [(workspace, "/src"), (target_dir, "/src/target")];
    libraries
        .into_iter()
        .chain(registries)
        .chain(own)
        .filter(|(from, _)| !from.as_os_str().is_empty())
        .map(|(from, to)| format!("--remap-path-prefix={}={to}", from.display()))
        .collect()
}

/// The arguments of the linker, one a line; the linker's map is beside it, with `.map` behind its name.
pub fn link_line_path(cx: &Cx, target: &Target) -> PathBuf {
    cx.root.join("target/xtask").join(format!("link-{}.txt", target.triple))
}

/// What cargo made somewhere else, with everything that is known of it.
#[derive(Clone, Debug)]
pub struct Foreign {
    /// cargo's JSON messages, one a line.
    pub messages: String,
    /// The program as the linker wrote it.
    pub program: Vec<u8>,
    /// Where its bytes are kept here.
    pub path: PathBuf,
    /// The arguments of the linker, one a line.
    pub link_line: String,
    /// The linker's map.
    pub map: Vec<u8>,
    /// `sha256:` and its digest.
    pub map_digest: String,
    /// What `rustc -vV` says there.
    pub rustc: String,
    /// The compiler's sysroot there.
    pub sysroot: PathBuf,
    /// `prebuilt` or `source`.
    pub std: String,
    /// Version of zig.
    pub zig: String,
}

/// Takes over what cargo made somewhere else: the same checks, and the same record as after [`compile`].
///
/// # Errors
/// When the messages do not tell of the expected program, or it cannot be read.
pub fn adopt(cx: &Cx, plan: &Plan, compile: &CompilePlan, foreign: Foreign) -> Result<Artifact> {
    let target = Target::from_triple(&compile.triple).context(|| format!("unknown triple {}", compile.triple))?;
    let compiler = Compiler::parse(&foreign.rustc, foreign.sysroot)?;
    let std = match foreign.std.as_str() {
        "prebuilt" => StdSource::Prebuilt,
        "source" => StdSource::Source,
        other => {
            return Err(Error::new(format!(
                "std is from `{other}`: expected prebuilt or source"
            )));
        }
    };
    let mut messages = Messages::new(&plan.package, &plan.binary, target.triple, &compiler.sysroot);
    foreign.messages.lines().try_for_each(|line| messages.take(line))?;
    let packages = (messages.packages(), messages.tools());
    messages.executable(target.triple)?;
    let link_line = link_line_path(cx, target);
    let map = PathBuf::from(format!("{}.map", link_line.display()));
    if let Some(dir) = link_line.parent() {
        fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))?;
    }
    cache::write_if_changed(&link_line, foreign.link_line.as_bytes(), 0o644)?;
    cache::write_if_changed(&map, &foreign.map, 0o644)?;
    let linked = Linked {
        path: foreign.path,
        bytes: foreign.program,
        std,
        compiler,
        zig: &foreign.zig,
        packages,
        map: Some(foreign.map_digest),
    };
    linked.artifact(cx, plan, target)
}

/// A program as the linker wrote it.
struct Linked<'a> {
    path: PathBuf,
    bytes: Vec<u8>,
    std: StdSource,
    compiler: Compiler,
    zig: &'a str,
    packages: (Vec<crate::culprit::origin::Compiled>, Vec<record::Tool>),
    /// Digest of the linker's map, where it is known.
    map: Option<String>,
}

impl Linked<'_> {
    fn artifact(self, cx: &Cx, plan: &Plan, target: &'static Target) -> Result<Artifact> {
        let unreadable = || format!("cannot take names and debug information out of {}", self.path.display());
        let mut record = Record::new(
            plan,
            target,
            &self.path,
            &self.bytes,
            &self.compiler,
            self.zig,
            self.packages,
        )
        .map_err(|error| Error::new(error.to_string()))
        .context(unreadable)?;
        record.map = self.map.or_else(|| record.map_digest(cx));
        record.write(cx)?;
        let bytes = strip(&self.bytes, Keep::Names)
            .map_err(|error| Error::new(error.to_string()))
            .context(unreadable)?;
        let link_line = fs::read_to_string(link_line_path(cx, target)).unwrap_or_default();
        Ok(Artifact {
            bytes,
            target,
            std: self.std,
            link_line: link_line.lines().map(str::to_owned).collect(),
            record,
            path: self.path,
            compiler: self.compiler,
        })
    }
}

/// Compiles one triple. cargo's progress and diagnostics go to stderr as they come. What was made, and of what, is also left
/// as a [`Record`] for `cargo xtask audit --explain`.
pub fn compile(
    cx: &Cx,
    plan: &Plan,
    compile: &CompilePlan,
    std: StdSource,
    compiler: &Compiler,
    zig: &Zig,
    environment: &Environment,
) -> Result<Artifact> {
    let target = Target::from_triple(&compile.triple).context(|| format!("unknown triple {}", compile.triple))?;
    let link_line = link_line_path(cx, target);
    if let Some(dir) = link_line.parent() {
        fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))?;
    }
    let known = registries(&cargo_home());
    let build = || {
        let mut messages = Messages::new(&plan.package, &plan.binary, target.triple, &compiler.sysroot);
        let command = build_command(cx, plan, compile, std, compiler, environment)?;
        let status = command.lines(|line| messages.take(line))?;
        Ok::<_, Error>((messages, status))
    };
    let (mut messages, mut status) = build()?;
    // A registry that cargo had not used before was not in the list of what is replaced: the program may tell where it was made.
    if status.success() && registries(&cargo_home()) != known {
        (messages, status) = build()?;
    }
    if !status.success() {
        return Err(Error::new(format!(
            "cargo could not compile {} for {}",
            plan.package, target.triple
        ))
        .hint("what cargo and the compiler said is above; `-v` shows the whole command"));
    }
    let packages = (messages.packages(), messages.tools());
    let path = messages.executable(target.triple)?;
    let linked = Linked {
        bytes: fs::read(&path).context(|| format!("cannot read what cargo made: {}", path.display()))?,
        path,
        std,
        compiler: compiler.clone(),
        zig: &zig.version,
        packages,
        map: None,
    };
    linked.artifact(cx, plan, target)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn where_a_mirror_unpacks_crates_is_not_told() {
        let temp = tempfile::tempdir().unwrap();
        let home = temp.path();
        assert!(registries(home).is_empty());
        for name in ["mirror-0123456789abcdef", "first-1949cf8c6b5b557f"] {
            fs::create_dir_all(home.join("registry/src").join(name)).unwrap();
        }
        let found = registries(home);
        let names: Vec<_> = found.iter().map(|dir| dir.file_name().unwrap()).collect();
        assert_eq!(names, ["first-1949cf8c6b5b557f", "mirror-0123456789abcdef"]);
        let lines = replacements(Path::new("/workspace"), Path::new("/made"), Path::new("/sysroot"), home);
        // rustc takes the last that fits.
        let replaced = |path: &str| {
            let fits = lines.iter().rev().find_map(|line| {
                let (from, to) = line.strip_prefix("--remap-path-prefix=")?.rsplit_once('=')?;
                Some(format!("{to}{}", path.strip_prefix(from)?))
            });
            fits.unwrap()
        };
        let home = home.display();
        for name in names {
            let path = format!("{home}/registry/src/{}/tokio-1.0.0/src/lib.rs", name.display());
            assert_eq!(replaced(&path), "/cargo/tokio-1.0.0/src/lib.rs");
        }
        assert_eq!(
            replaced(&format!("{home}/git/checkouts/x/lib.rs")),
            "/cargo/git/checkouts/x/lib.rs"
        );
        assert_eq!(
            replaced("/sysroot/lib/rustlib/src/rust/library/core/src/lib.rs"),
            "/rust/library/core/src/lib.rs"
        );
        assert_eq!(replaced("/workspace/app/src/main.rs"), "/src/app/src/main.rs");
        assert_eq!(
            replaced("/made/release/build/x/out/y.rs"),
            "/src/target/release/build/x/out/y.rs"
        );
    }

    #[test]
    fn what_cargo_says_of_us_does_not_reach_another_build() {
        let names = [
            "CARGO_MANIFEST_DIR",
            "CARGO_MANIFEST_LINKS",
            "CARGO_PKG_NAME",
            "CARGO_PKG_VERSION_MAJOR",
            "CARGO_PRIMARY_PACKAGE",
            "CARGO",
            "CARGO_HOME",
            "CARGO_NET_OFFLINE",
        ];
        assert_eq!(set_for_us(names.iter().map(ToString::to_string)), names[..5]);
    }

    #[test]
    fn the_callers_flags_do_not_reach_the_compilers() {
        let names = [
            "RUSTFLAGS",
            "CFLAGS_arm_unknown_linux_musleabihf",
            "CARGO_PROFILE_RELEASE_LTO",
            "CC",
            "HOME",
            "CARGO_HOME",
            "CARGO_TARGET_DIR",
            "CARGO_NET_OFFLINE",
        ];
        let taken = foreign_settings(names.iter().map(ToString::to_string));
        assert_eq!(taken, names[..4]);
    }
}
