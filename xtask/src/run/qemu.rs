//! Which program executes the image's code: this machine's processor, or qemu-user with the `-cpu` of the real chip.

use std::path::{Path, PathBuf};

use object::elf;
use object::read::elf::{FileHeader, ProgramHeader};

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::target::Platform;
use crate::toolchain::debs;

/// What executes the image's code.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Processor {
    /// The one of this machine.
    Host,
    /// qemu-user.
    Qemu(QemuUser),
}

/// A qemu-user program that was found to work.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QemuUser {
    /// Absolute path.
    pub path: PathBuf,
    /// Name as users know it: `qemu-arm`.
    pub name: &'static str,
    /// `-cpu`.
    pub cpu: Option<&'static str>,
    /// As it says itself: `7.2.22`.
    pub version: String,
    /// Whether it needs no library, so that it runs inside a foreign root directory.
    pub is_static: bool,
}

impl Processor {
    /// For messages: `qemu-arm 7.2.22 -cpu arm1176`.
    pub fn describe(&self) -> String {
        match self {
            Processor::Host => "this machine's processor".to_owned(),
            Processor::Qemu(qemu) => {
                let cpu = qemu.cpu.map(|cpu| format!(" -cpu {cpu}")).unwrap_or_default();
                format!("{} {}{cpu}", qemu.name, qemu.version)
            }
        }
    }
}

/// Whether this machine's processor runs the platform's code. 32-bit ARM is never taken for granted: a kernel that
/// runs ARMv7 code proves nothing about the Pi Zero.
pub fn host_runs(platform: Platform) -> bool {
    matches!(
        (std::env::consts::ARCH, platform),
        ("x86_64", Platform::Amd64) | ("aarch64", Platform::Arm64)
    )
}

/// The qemu-user that this machine has installed for `platform`; nothing is fetched or tried.
pub fn installed(cx: &Cx, platform: Platform) -> Option<PathBuf> {
    let program = platform.qemu().program;
    cx.shell
        .which(&format!("{program}-static"))
        .or_else(|| cx.shell.which(program))
}

/// Finds what runs `platform`. With `must_be_static`, only a qemu-user that runs inside the image's root directory.
///
/// Order: `qemu-<arch>-static` and `qemu-<arch>` of PATH; else the Debian packages `qemu-user-static` and `qemu-user`,
/// fetched into the cache and not installed.
pub fn find(cx: &Cx, platform: Platform, must_be_static: bool) -> Result<Processor> {
    if host_runs(platform) {
        return Ok(Processor::Host);
    }
    let wanted = platform.qemu();
    let mut tried = Vec::new();
    for program in [format!("{}-static", wanted.program), wanted.program.to_owned()] {
        match cx.shell.which(&program).map(|path| probe(cx, platform, &path)) {
            None => tried.push(format!("{program}: not in PATH")),
            Some(Err(error)) => tried.push(error.to_string()),
            Some(Ok(qemu)) if must_be_static && !qemu.is_static => {
                tried.push(format!("{}: needs libraries of this machine", qemu.path.display()));
            }
            Some(Ok(qemu)) => return Ok(Processor::Qemu(qemu)),
        }
    }
    // Debian 13 has moved the static programs to `qemu-user` and left links behind: what counts is what starts.
    let packages = [
        ("qemu-user-static", format!("usr/bin/{}-static", wanted.program)),
        ("qemu-user", format!("usr/bin/{}", wanted.program)),
    ];
    for (package, path) in packages {
        let fetched = debs::fetch(cx, package, &[&path]).map(|tree| tree.join(&path));
        match fetched.and_then(|path| probe(cx, platform, &path)) {
            Ok(qemu) if must_be_static && !qemu.is_static => {
                tried.push(format!("{}: needs libraries of this machine", qemu.path.display()));
            }
            Ok(qemu) => return Ok(Processor::Qemu(qemu)),
            Err(error) => tried.push(error.to_string()),
        }
    }
    Err(Error::new(format!(
        "no qemu-user that runs {platform} code here; tried:\n  {}",
        tried.join("\n  ")
    ))
    .hint("install the package `qemu-user-static` (Debian, Ubuntu) or your distribution's name for it"))
}

/// Asks one program for its version.
fn probe(cx: &Cx, platform: Platform, path: &Path) -> Result<QemuUser> {
    let wanted = platform.qemu();
    let text = cx.shell.command(path).arg("--version").env_clear().read()?;
    let version = version(&text).context(|| format!("{} is no qemu-user: it says `{text}`", path.display()))?;
    let bytes = std::fs::read(path).context(|| format!("cannot read {}", path.display()))?;
    Ok(QemuUser {
        path: path.to_owned(),
        name: wanted.program,
        cpu: wanted.cpu,
        version,
        is_static: is_static(&bytes),
    })
}

/// `qemu-arm version 7.2.22 (Debian ...)` -> `7.2.22`.
fn version(text: &str) -> Option<String> {
    let rest = text.strip_prefix("qemu-")?.split_once(" version ")?.1;
    rest.split_whitespace().next().map(str::to_owned)
}

/// An ELF program without `PT_INTERP`.
fn is_static(bytes: &[u8]) -> bool {
    fn check<H: FileHeader<Endian = object::Endianness>>(bytes: &[u8]) -> Option<bool> {
        let header = H::parse(bytes).ok()?;
        let endian = header.endian().ok()?;
        let segments = header.program_headers(endian, bytes).ok()?;
        Some(!segments.iter().any(|segment| segment.p_type(endian) == elf::PT_INTERP))
    }
    match object::FileKind::parse(bytes) {
        Ok(object::FileKind::Elf64) => check::<elf::FileHeader64<object::Endianness>>(bytes),
        Ok(object::FileKind::Elf32) => check::<elf::FileHeader32<object::Endianness>>(bytes),
        _ => None,
    }
    .unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_version_is_read_from_what_qemu_says() {
        assert_eq!(
            version("qemu-arm version 7.2.22 (Debian 1:7.2+dfsg-7)\nCopyright (c)"),
            Some("7.2.22".to_owned())
        );
        assert_eq!(version("GNU bash, version 5"), None);
    }

    #[test]
    fn only_a_program_without_an_interpreter_is_static() {
        let own = std::fs::read(std::env::current_exe().unwrap()).unwrap();
        assert_eq!(is_static(&own), cfg!(target_feature = "crt-static"));
        assert!(!is_static(b"#!/bin/sh\n") && !is_static(b""));
    }
}
