//! `--sqlite`: the library that stands in for the source that libsqlite3-sys carries, looked at before anything is compiled.

use std::collections::BTreeMap;
use std::fs;

use crate::attest::bundled::Library;
use crate::attest::purl;
use crate::audit::accuse::CodePolicy;
use crate::audit::parts::{Part, bitcode, parts};
use crate::audit::{Report, inspect_member};
use crate::cx::Cx;
use crate::elf::object_file::{text_of, undefined};
use crate::error::{Context, Error, Result};
use crate::oci::Digest;
use crate::plan::Plan;
use crate::policy::{Policy, SqliteChoice};
use crate::sysroot::{self, Sqlite, StandIn};
use crate::target::{Libc, Target};
use crate::verb::place;

/// The crate that links SQLite.
const CRATE: &str = "libsqlite3-sys";
/// Older ones lack functions that the crate's bindings name (its build script asks for the same).
const OLDEST: [u32; 3] = [3, 34, 1];

/// A library that the platform can execute and the triple can link.
#[derive(Clone, Debug)]
pub struct Chosen {
    /// What is told of it.
    pub library: Library,
    bytes: Vec<u8>,
}

/// By triple; empty when the bundled source is compiled.
pub type Libraries = BTreeMap<String, Chosen>;

/// Gets and audits the library for every triple of the plan. `None` when the audit had findings, which were shown.
///
/// # Errors
/// When there is no library, or it is none that can be linked.
pub fn choose(cx: &Cx, policy: &Policy, plan: &Plan, mirror: Option<&str>, refresh: bool) -> Result<Option<Libraries>> {
    let mut libraries = Libraries::new();
    if plan.sqlite == SqliteChoice::Bundled {
        return Ok(Some(libraries));
    }
    is_used(cx, plan)?;
    let mut refused = false;
    for compile in &plan.compile {
        let target = Target::from_triple(&compile.triple).context(|| format!("unknown triple {}", compile.triple))?;
        let found = match &plan.sqlite {
            SqliteChoice::Own(dir) => sysroot::own(&place(cx, dir))?,
            _ => sysroot::debian(cx, &policy.base.debian, target, mirror, refresh)?,
        };
        cx.ui
            .step("Auditing", &format!("{} for {}", shown(&found), target.platform));
        let bytes = fs::read(&found.archive).context(|| format!("cannot read {}", found.archive.display()))?;
        let name = found.archive.display().to_string();
        let members = members(&name, &bytes)?;
        if !audited(cx, policy, plan, &found, &members, target) {
            refused = true;
            continue;
        }
        linkable(plan, &members, target)?;
        let version = version(plan, &members)?;
        libraries.insert(
            compile.triple.clone(),
            Chosen {
                library: library(policy, &found, version, &bytes),
                bytes,
            },
        );
    }
    Ok((!refused).then_some(libraries))
}

impl Chosen {
    /// The library for one triple. `glibc` is the version of the base, `2.41` or a package's `2.41-12`: the library may want all
    /// of it, and a program for that base may have all of it.
    pub fn stand_in(&self, target: &Target, glibc: Option<&str>) -> StandIn {
        let glibc = glibc
            .filter(|_| target.libc == Libc::Glibc)
            .map(|version| version.split(['-', '+']).next().unwrap_or(version));
        StandIn::new(self.bytes.clone(), glibc)
    }
}

/// A name for messages.
fn shown(found: &Sqlite) -> String {
    format!("libsqlite3.a of {}", found.origin)
}

/// A choice that nothing would follow is an error: the image would not be what was asked for.
fn is_used(cx: &Cx, plan: &Plan) -> Result<()> {
    let path = cx.root.join("Cargo.lock");
    let lock = fs::read_to_string(&path).context(|| format!("cannot read {}", cx.show(&path)))?;
    match lock.contains(&format!("name = \"{CRATE}\"")) {
        true => Ok(()),
        false => Err(Error::new(format!(
            "--sqlite {}: Cargo.lock has no {CRATE}, so nothing here would be linked with it",
            plan.sqlite
        ))
        .hint("leave --sqlite out; it is for programs that use SQLite by that crate")),
    }
}

fn members<'a>(name: &str, bytes: &'a [u8]) -> Result<Vec<Part<'a>>> {
    let hint = "a static library is made of object files: `ar t` lists them";
    let members = parts(bytes).map_err(|reason| Error::new(format!("{name}: {reason}")).hint(hint))?;
    if bitcode(bytes) > 0 {
        return Err(Error::new(format!(
            "{name} has LLVM bitcode, of which nobody can say what CPU it becomes code for"
        ))
        .hint("compile it without -flto"));
    }
    if members.is_empty() {
        return Err(Error::new(format!("{name} has no machine code")).hint(hint));
    }
    Ok(members)
}

/// Whether the platform can execute every member. The first that it cannot is shown, with the number of others.
fn audited(cx: &Cx, policy: &Policy, plan: &Plan, found: &Sqlite, members: &[Part<'_>], target: &Target) -> bool {
    let code = CodePolicy {
        allowed: policy.allowed(target.platform),
        ..CodePolicy::default()
    };
    let refused: Vec<Report> = members
        .iter()
        .map(|part| {
            let name = format!("libsqlite3.a({})", part.member.unwrap_or_default());
            inspect_member(part.bytes, &name, target.platform, target.float_abi, &code)
        })
        .filter(|report| !report.passed())
        .collect();
    let Some(first) = refused.first() else { return true };
    cx.ui.text(&first.text());
    let others = match refused.len() - 1 {
        0 => String::new(),
        others => format!(" and {others} more of its {} members", members.len()),
    };
    cx.ui.warn(&format!(
        "{}{others} cannot run on {} ({}); nothing was compiled",
        first.file,
        target.platform,
        shown(found)
    ));
    cx.ui.note(match plan.sqlite {
        SqliteChoice::System => {
            "Debian's armhf is ARMv7: leave --sqlite out, or compile SQLite for this chip and name its directory with --sqlite DIR"
        }
        _ => "compile it for this chip, or leave --sqlite out: the source that comes with the crate is compiled for it",
    });
    false
}

/// Whether the C library of the triple has what the members want. A linker would find out as well, after minutes, and say it of
/// thousands of addresses; and what glibc's headers made of a call is not always missed in musl, but another structure.
fn linkable(plan: &Plan, members: &[Part<'_>], target: &Target) -> Result<()> {
    for part in members {
        let member = format!("libsqlite3.a({})", part.member.unwrap_or_default());
        let wanted = undefined(part.bytes).map_err(|reason| Error::new(format!("{member}: {reason}")))?;
        let foreign = |name: &&String| match target.libc {
            Libc::Musl => is_of_glibc(name),
            Libc::Glibc => OF_MUSL.contains(&name.as_str()),
        };
        if let Some(name) = wanted.iter().find(foreign) {
            let (theirs, ours) = match target.libc {
                Libc::Musl => ("glibc", "musl"),
                Libc::Glibc => ("musl", "glibc"),
            };
            return Err(Error::new(format!(
                "--sqlite {}: {member} wants `{name}`, so it was compiled for {theirs}; {} is linked with {ours}",
                plan.sqlite, target.triple
            ))
            .hint(match target.libc {
                Libc::Musl => "take `--base debian` or `--base raspbian`, or compile it for musl (zig cc -target arm-linux-musleabihf)",
                Libc::Glibc => "take `--base scratch` or `--base alpine`, or compile it for glibc",
            }));
        }
    }
    Ok(())
}

/// What 32-bit musl's headers make of calls with times, and glibc has not (musl: include/sys/stat.h, sys/time.h, time.h).
const OF_MUSL: [&str; 6] = [
    "__fstat_time64",
    "__gettimeofday_time64",
    "__lstat_time64",
    "__nanosleep_time64",
    "__stat_time64",
    "__utimes_time64",
];

/// Names that glibc's headers make of calls, and musl has not: 64-bit variants (musl took them from linkers with 1.2.4), checked
/// variants (_FORTIFY_SOURCE), variants of C23, 64-bit times.
fn is_of_glibc(name: &str) -> bool {
    const LARGE: [&str; 19] = [
        "creat64",
        "fallocate64",
        "fcntl64",
        "fopen64",
        "fstat64",
        "fstatat64",
        "fstatfs64",
        "ftruncate64",
        "lseek64",
        "lstat64",
        "mkstemp64",
        "mmap64",
        "open64",
        "openat64",
        "pread64",
        "pwrite64",
        "readdir64",
        "stat64",
        "truncate64",
    ];
    const TIMES: [&str; 6] = [
        "__fcntl_time64",
        "__gettimeofday64",
        "__ioctl_time64",
        "__nanosleep64",
        "__utimes64",
        "gnu_get_libc_version",
    ];
    LARGE.contains(&name)
        || TIMES.contains(&name)
        || name.starts_with("__isoc23_")
        || name.ends_with("64_time64")
        || name.starts_with("__xstat")
        || name.starts_with("__fxstat")
        || name.starts_with("__lxstat")
        || name.starts_with("__") && name.ends_with("_chk")
}

/// `3.46.1`, as the library says it of itself.
fn version(plan: &Plan, members: &[Part<'_>]) -> Result<String> {
    let found = members.iter().find_map(|part| text_of(part.bytes, "sqlite3_version"));
    let version = found
        .context(|| {
            format!(
                "--sqlite {}: the library has no `sqlite3_version`: it is not SQLite",
                plan.sqlite
            )
        })
        .hint("name the directory of SQLite's own libsqlite3.a")?;
    let numbers: Vec<u32> = version.split('.').map_while(|part| part.parse().ok()).collect();
    if numbers.len() < 3 || numbers[..] < OLDEST[..] {
        let oldest = OLDEST.map(|part| part.to_string()).join(".");
        return Err(Error::new(format!(
            "--sqlite {}: it is SQLite {version}, and {CRATE} needs {oldest}",
            plan.sqlite
        ))
        .hint("leave --sqlite out, or take a newer one"));
    }
    Ok(version)
}

/// What is told of it in label and SBOM. A directory of this machine is nobody's business: the digest says which it was.
fn library(policy: &Policy, found: &Sqlite, version: String, bytes: &[u8]) -> Library {
    let digest = Digest::of(bytes).to_string();
    match &found.package {
        Some(package) => Library {
            origin: format!("Debian {} {}", policy.base.debian.suite, found.origin),
            purl: purl::package(&package.package, "deb", "debian", ""),
            package: Some((package.package.clone(), package.digest.clone())),
            version,
            digest,
        },
        None => Library {
            origin: format!("a library of the builder's own, {digest}"),
            purl: purl::plain("generic", "sqlite", &version),
            package: None,
            version,
            digest,
        },
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_only_one_c_library_has_is_told_from_what_both_have() {
        for name in [
            "fcntl64",
            "__memcpy_chk",
            "__isoc23_strtol",
            "__stat64_time64",
            "__fxstat64",
            "__gettimeofday64",
        ] {
            assert!(is_of_glibc(name), "{name}");
        }
        for name in [
            "open",
            "__stack_chk_fail",
            "__localtime64_r",
            "__time64",
            "__stat_time64",
            "sqlite3Atoi64",
            "__aeabi_l2d",
        ] {
            assert!(!is_of_glibc(name), "{name}");
        }
    }
}
