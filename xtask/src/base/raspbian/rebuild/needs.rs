//! What the host must have for the rebuild, looked at before anything is fetched, all of it at once.

use std::path::Path;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};

/// Programs that are not fetched (program, Debian's package): a host that compiles Rust has the compiler already, and the rest
/// is on most of them. What is particular (the cross compiler, bison, gawk, m4) comes as packages that nobody installs.
const PROGRAMS: [(&str, &str); 12] = [
    ("apt-get", "apt"),
    ("awk", "mawk"),
    ("cc", "gcc"),
    ("dpkg-deb", "dpkg"),
    ("getconf", "libc-bin"),
    ("grep", "grep"),
    ("make", "make"),
    ("patch", "patch"),
    ("python3", "python3"),
    ("sed", "sed"),
    ("tar", "tar"),
    ("xz", "xz-utils"),
];

/// Bytes that the work directory needs at its largest (1.3 GB), with some room.
const SPACE: u64 = 1_600_000_000;

/// The machine that compiles, in others' words.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Host {
    /// Debian's name of its architecture: `amd64`.
    pub architecture: &'static str,
    /// GNU's name of it, as in directories: `x86_64-linux-gnu`.
    pub multiarch: &'static str,
}

/// This machine, if Debian has the cross compiler for it.
pub fn host() -> Result<Host> {
    let (architecture, multiarch) = host_names(std::env::consts::ARCH)?;
    Ok(Host {
        architecture,
        multiarch,
    })
}

/// Fails when programs are missing, with the names of all that are.
pub fn programs(cx: &Cx) -> Result<()> {
    let mut missing: Vec<(&str, &str)> = PROGRAMS
        .into_iter()
        .filter(|(program, _)| cx.shell.which(program).is_none())
        .collect();
    if !missing.iter().any(|(program, _)| *program == "cc") && !compiles(cx) {
        missing.push(("a C library to compile for this machine", "libc6-dev"));
    }
    match missing.is_empty() {
        true => Ok(()),
        false => Err(lacking(&missing)),
    }
}

/// Fails when this machine's glibc is older than that of the release that the tools are from; `wanted` is `2.36`.
pub fn glibc(cx: &Cx, wanted: &str) -> Result<()> {
    const HINT: &str = "build on Debian 12 or later, or on Ubuntu 24.04 or later, or in a container of one";
    let text = cx.shell.command("getconf").arg("GNU_LIBC_VERSION").output()?.text();
    let found = text
        .trim()
        .strip_prefix("glibc ")
        .and_then(version)
        .context(|| "the tools that compile glibc are Debian's, and this machine has no glibc to run them with")
        .hint(HINT)?;
    let needed = version(wanted).context(|| format!("`{wanted}` is not a version of glibc"))?;
    if found >= needed {
        return Ok(());
    }
    Err(Error::new(format!(
        "the tools that compile glibc {wanted} need glibc {wanted} on this machine, which has {}.{}",
        found.0, found.1
    ))
    .hint(HINT))
}

/// Fails when there is not enough room below `dir`.
pub fn room(dir: &Path) -> Result<()> {
    let stat = rustix::fs::statvfs(dir).context(|| format!("cannot tell how full the disk of {} is", dir.display()))?;
    enough(stat.f_bavail.saturating_mul(stat.f_frsize), dir)
}

fn enough(free: u64, dir: &Path) -> Result<()> {
    if free >= SPACE {
        return Ok(());
    }
    Err(Error::new(format!(
        "compiling glibc needs {} in {}, where {} are free",
        crate::ui::bytes(SPACE),
        dir.display(),
        crate::ui::bytes(free)
    ))
    .hint("free some space (`cargo xtask cache prune` helps), or choose another disk with --cache-dir DIR"))
}

fn lacking(missing: &[(&str, &str)]) -> Error {
    let programs: Vec<&str> = missing.iter().map(|(program, _)| *program).collect();
    let mut packages: Vec<&str> = missing.iter().map(|(_, package)| *package).collect();
    packages.sort_unstable();
    packages.dedup();
    Error::new(format!(
        "glibc is compiled on this machine, which lacks: {}",
        programs.join(", ")
    ))
    .hint(format!("install it: apt-get install {}", packages.join(" ")))
}

/// glibc's build makes programs for the host, too.
fn compiles(cx: &Cx) -> bool {
    let program = "#include <stdio.h>\nint main(void) { return puts(\"\") < 0; }\n";
    let command = cx.shell.command("cc").args(["-xc", "-", "-o", "/dev/null"]);
    command
        .stdin_bytes(program)
        .output()
        .is_ok_and(|output| output.status.success())
}

fn host_names(architecture: &str) -> Result<(&'static str, &'static str)> {
    match architecture {
        "x86_64" => Ok(("amd64", "x86_64-linux-gnu")),
        "aarch64" => Ok(("arm64", "aarch64-linux-gnu")),
        other => Err(Error::new(format!(
            "Debian has no cross compiler that runs on {other} for what is needed here"
        ))
        .hint("build on x86-64 or 64-bit ARM")),
    }
}

/// The first two numbers of a version.
fn version(text: &str) -> Option<(u32, u32)> {
    let mut parts = text.split(['.', '-', '+', ' ']);
    Some((parts.next()?.parse().ok()?, parts.next()?.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn all_that_is_missing_is_named_at_once_with_what_to_install() {
        let error = lacking(&[("make", "make"), ("xz", "xz-utils"), ("cc", "gcc")]);
        assert_eq!(
            error.to_string(),
            "glibc is compiled on this machine, which lacks: make, xz, cc"
        );
        assert_eq!(error.next_step(), Some("install it: apt-get install gcc make xz-utils"));
    }

    #[test]
    fn versions_are_compared_as_numbers() {
        assert_eq!(version("2.36"), Some((2, 36)));
        assert!(version("2.4") < version("2.36"));
        assert_eq!(version("2.41-12+deb13u4"), Some((2, 41)));
        assert_eq!(version("musl"), None);
    }

    #[test]
    fn a_disk_that_is_too_full_is_said_to_be() {
        assert!(enough(SPACE, Path::new("/x")).is_ok());
        let error = enough(5_000_000, Path::new("/x")).unwrap_err();
        assert!(error.to_string().contains("in /x, where 5.00 MB are free"), "{error}");
    }

    #[test]
    fn hosts_without_debians_cross_compiler_are_refused() {
        assert_eq!(host_names("x86_64").unwrap().0, "amd64");
        assert!(host_names("riscv64").is_err());
    }
}
