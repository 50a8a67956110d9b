//! zig as C compiler and linker, behind one small script per triple in `.tools/`.
//!
//! `.cargo/config.toml` names these scripts, so plain `cargo build --target T` and `cargo xtask` compile and link alike.
//! They go through cargo-zigbuild's wrapper, which knows what rustc says and zig does not understand.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use crate::cx::Cx;
use crate::error::{Context, Result};
use crate::policy::Policy;
use crate::target::{Libc, TARGETS, Target};
use crate::toolchain::pip;

/// zig and the wrapper, in the cache.
#[derive(Clone, Debug)]
pub struct Zig {
    /// zig itself.
    pub zig: PathBuf,
    /// cargo-zigbuild, whose `zig cc` is the wrapper.
    pub wrapper: PathBuf,
    /// `0.17.1`.
    pub version: String,
}

/// Fetches zig and its wrapper if need be, and writes the scripts of all triples.
pub fn provision(cx: &Cx, policy: &Policy) -> Result<Zig> {
    let tool = |name: &str| {
        let tool = policy
            .tools
            .get(name)
            .context(|| format!("xtask.toml pins no tool `{name}`"))?;
        Ok::<_, crate::error::Error>((pip::provision(cx, name, tool)?, tool.version.clone()))
    };
    let (zig, version) = tool("ziglang")?;
    let (wrapper, _) = tool("cargo-zigbuild")?;
    let zig = Zig { zig, wrapper, version };
    write_scripts(cx, &zig)?;
    Ok(zig)
}

/// Directory of the scripts, as .cargo/config.toml has it.
pub const SCRIPTS: &str = ".tools";

/// Writes the scripts of all triples into `.tools/`.
pub fn write_scripts(cx: &Cx, zig: &Zig) -> Result<()> {
    let dir = cx.root.join(SCRIPTS);
    fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
    for target in &TARGETS {
        write_script(
            &dir.join(format!("{}-cc", target.triple)),
            &script(cx, zig, target, false),
        )?;
        write_script(
            &dir.join(format!("{}-link", target.triple)),
            &script(cx, zig, target, true),
        )?;
    }
    let ar = format!("{}exec {} zig ar -- \"$@\"\n", prologue(cx, zig), quoted(&zig.wrapper));
    write_script(&dir.join("ar"), &ar)
}

fn prologue(cx: &Cx, zig: &Zig) -> String {
    let caches = cx.cache.root().join("zig");
    // The version of rustc is passed so that the wrapper need not ask for it at every link; it only matters below 1.72.
    format!(
        "#!/bin/sh\n# Written by `cargo xtask`; see .tools/README.md.\nexport CARGO_ZIGBUILD_ZIG_PATH={} CARGO_ZIGBUILD_ZIG_VERSION={} CARGO_ZIGBUILD_RUSTC_VERSION={}.0\n\
         export CARGO_ZIGBUILD_CACHE_DIR={} ZIG_GLOBAL_CACHE_DIR={} ZIG_LOCAL_CACHE_DIR={}\n",
        quoted(&zig.zig),
        zig.version,
        env!("CARGO_PKG_RUST_VERSION"),
        quoted(&caches.join("zigbuild")),
        quoted(&caches.join("global")),
        quoted(&caches.join("local")),
    )
}

/// The linker script also leaves its arguments, one a line, in the file that XTASK_LINK_LINE names, and the linker's map
/// beside it: which object every address comes from. The map appears under its name only after a link that worked.
fn script(cx: &Cx, zig: &Zig, target: &Target, link: bool) -> String {
    let flags = if link {
        // rustc says nothing of optimisation when it links. zig takes that for a build to look for mistakes, and would compile the
        // library of the sanitizer for it, half a minute of a processor for each triple, of which nothing is ever linked.
        " -fno-sanitize=undefined"
    } else {
        // C needs no unwind tables: nothing unwinds through SQLite, and the image is built with panic=abort.
        " -fno-unwind-tables -fno-asynchronous-unwind-tables"
    };
    // As for Rust in .cargo/config.toml: see there.
    let fixed = match (link, target.triple.starts_with("arm-"), target.libc) {
        // Behind the arguments: the `cc` crate asks for -fPIC.
        (false, true, Libc::Musl) => " -fno-pic",
        _ => "",
    };
    let call = format!(
        "{} zig cc -- -target {} -mcpu={} -g0{flags} \"$@\"{fixed}",
        quoted(&zig.wrapper),
        if link {
            linked_with(target)
        } else {
            target.zig_target.to_owned()
        },
        target.zig_cpu
    );
    let record = if link {
        // zig passes `--print-map` on to LLD, which prints to stdout; `-Map=FILE` it does not know.
        format!(
            "if [ -n \"$XTASK_LINK_LINE\" ]; then\n  rm -f \"$XTASK_LINK_LINE.map\"\n  printf '%s\\n' \"$@\" > \"$XTASK_LINK_LINE\"\n  \
             {call} -Wl,--print-map > \"$XTASK_LINK_LINE.map.$$\" || exit\n  \
             exec mv \"$XTASK_LINK_LINE.map.$$\" \"$XTASK_LINK_LINE.map\"\nfi\n"
        )
    } else {
        String::new()
    };
    format!("{}{record}exec {call}\n", prologue(cx, zig))
}

/// zig's `-target` for linking. `XTASK_GLIBC` stands for the version of glibc where a library was compiled for a newer one than
/// our floor and needs symbols that came since.
fn linked_with(target: &Target) -> String {
    match (target.libc, target.zig_target.split_once('.')) {
        (Libc::Glibc, Some((triple, floor))) => format!("{triple}.\"${{XTASK_GLIBC:-{floor}}}\""),
        _ => target.zig_target.to_owned(),
    }
}

fn write_script(path: &Path, text: &str) -> Result<()> {
    // Untouched when equal: cargo and cc watch these files.
    let executable = fs::metadata(path).is_ok_and(|data| data.permissions().mode() & 0o111 == 0o111);
    if executable && fs::read_to_string(path).is_ok_and(|old| old == text) {
        return Ok(());
    }
    crate::cache::write_with_mode(path, text.as_bytes(), 0o755)
}

fn quoted(path: &Path) -> String {
    format!("'{}'", path.to_string_lossy().replace('\'', r"'\''"))
}
