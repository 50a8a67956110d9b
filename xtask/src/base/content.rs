//! What the files of a base say: its C library, its packages, and whether programs for it would start. By content, since names
//! and configurations can be wrong.

use super::found::Found;
use super::installed::installed;
use crate::elf::is_elf;
use crate::error::{Error, Result};
use crate::oci::EntryKind;
use crate::oci::layer::Limits;
use crate::oci::tree::Tree;
use crate::target::{Base, Libc, Platform};

/// What a base has for programs to link against, found by what is in its files and not by their names.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Libraries {
    /// Version of its glibc: `2.41`.
    pub glibc: Option<String>,
    /// Whether it has musl's loader.
    pub musl: bool,
}

impl Libraries {
    /// Looks into every file of a tree.
    pub fn of(tree: &Tree) -> Libraries {
        let mut libraries = Libraries::default();
        for entry in tree.entries() {
            let EntryKind::File(bytes) = &entry.kind else {
                continue;
            };
            if !is_elf(bytes) {
                continue;
            }
            if libraries.glibc.is_none() {
                libraries.glibc = glibc_version(bytes);
            }
            // Both are printed by the library when it is started as a program.
            libraries.musl |= find(bytes, b"musl libc (").is_some();
        }
        libraries
    }
}

/// The version that libc.so.6 prints: `GNU C Library (Debian GLIBC 2.41-12) stable release version 2.41.`
pub fn glibc_version(bytes: &[u8]) -> Option<String> {
    const RELEASE: &[u8] = b" release version ";
    let banner = &bytes[find(bytes, b"GNU C Library (")?..];
    let banner = &banner[..banner.len().min(400)];
    let rest = &banner[find(banner, RELEASE)? + RELEASE.len()..];
    let length = rest
        .iter()
        .take_while(|byte| byte.is_ascii_digit() || **byte == b'.')
        .count();
    let version = String::from_utf8_lossy(&rest[..length]);
    let version = version.trim_end_matches('.');
    let numbers = version.split('.').filter(|part| !part.is_empty()).count();
    (numbers >= 2).then(|| version.to_owned())
}

fn find(bytes: &[u8], word: &[u8]) -> Option<usize> {
    let first = *word.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(word) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

/// Fills in what only the files tell: packages, owners, and the version of glibc.
pub fn inspect(found: &mut Found) -> Result<(Tree, Libraries)> {
    let tree = Tree::from_layers(&found.layers, &Limits::default())?;
    let libraries = Libraries::of(&tree);
    let (packages, owners) = installed(&tree);
    if found.packages.is_empty() {
        found.packages = packages;
    }
    if found.owners.is_empty() {
        found.owners = owners;
    }
    if found.glibc.is_none() {
        found.glibc.clone_from(&libraries.glibc);
    }
    Ok((tree, libraries))
}

/// Whether a program for `base` would find its loader and its C library here, and whether this is such a base at all.
pub fn fits(base: Base, platform: Platform, tree: &Tree, libraries: &Libraries) -> Result<()> {
    let loader = |base: Base| base.target(platform).and_then(|target| target.interpreter);
    let has = |path: &str| {
        let file = tree.resolve(path, true).and_then(|path| tree.get(&path));
        file.is_some_and(|entry| matches!(&entry.kind, EntryKind::File(bytes) if is_elf(bytes)))
    };
    let what = match (&libraries.glibc, libraries.musl) {
        (Some(version), _) => format!("glibc {version}"),
        (None, true) => "musl".to_owned(),
        (None, false) => "no C library that is known".to_owned(),
    };
    let wrong = |error: String| {
        let error = Error::new(error);
        let other = Base::ALL.into_iter().find(|other| match loader(*other) {
            Some(path) => *other != base && libraries.glibc.is_some() && has(path),
            None => *other == Base::Alpine && base != Base::Alpine && libraries.musl,
        });
        Err(match other {
            Some(other) => error.hint(format!("it looks like `--base {other}`")),
            None => error
                .hint("--base says which programs run on it: alpine static ones, raspbian and debian those for glibc"),
        })
    };
    let Some(target) = base.target(platform) else {
        return wrong(format!("there is no base {base} for {platform}"));
    };
    match (target.libc, target.interpreter) {
        (Libc::Glibc, Some(path)) if libraries.glibc.is_none() || !has(path) => wrong(format!(
            "a program for `--base {base}` is started by {path}, which is not there: it has {what}"
        )),
        (Libc::Musl, _) if libraries.glibc.is_some() && !libraries.musl => {
            wrong(format!("`--base {base}` is a base with musl, and this has {what}"))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn glibc_says_its_version_itself() {
        let banner = |text: &str| [b"\x7fELF junk\0", text.as_bytes(), b"\0more"].concat();
        for (text, wanted) in [
            (
                "GNU C Library (Debian GLIBC 2.41-12+deb13u4) stable release version 2.41.\n",
                Some("2.41"),
            ),
            (
                "GNU C Library (GNU libc) development release version 2.42.9000.",
                Some("2.42.9000"),
            ),
            ("GNU C Library (x) stable release version .", None),
            ("GNU C Library (x)", None),
            ("a release version 2.41.", None),
        ] {
            assert_eq!(glibc_version(&banner(text)).as_deref(), wanted, "{text}");
        }
    }
}
