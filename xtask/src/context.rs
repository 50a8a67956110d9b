//! The build context: files of the workspace as COPY sees them. Host metadata stays behind: of the mode only the
//! executable bit counts, and neither owner nor time are taken over.

use std::fs;
use std::io::ErrorKind;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use crate::oci::image::SourceFile;
use crate::oci::layer::EntryKind;

/// What `source` (relative, normalised) names below `root`: one file, or a directory and all below it, sorted.
///
/// # Errors
/// In words that follow `COPY SOURCE: `, as [`crate::oci::image::CopySource`] wants them.
pub fn files(root: &Path, source: &str) -> Result<Vec<SourceFile>, String> {
    let mut found = Vec::new();
    let mut path = root.to_owned();
    // A link on the way would lead out of the context, or to something that another machine does not have.
    for part in Path::new(source).components() {
        path.push(part);
        if path.symlink_metadata().is_ok_and(|data| data.is_symlink()) && path != root.join(source) {
            return Err(format!("{} is a symbolic link", path.display()));
        }
    }
    collect(&path, "", &mut found)?;
    Ok(found)
}

fn collect(path: &Path, name: &str, found: &mut Vec<SourceFile>) -> Result<(), String> {
    let fail = |error: std::io::Error| match error.kind() {
        ErrorKind::NotFound => "there is no such file in the build context".to_owned(),
        _ => format!("{}: {error}", path.display()),
    };
    let data = fs::symlink_metadata(path).map_err(fail)?;
    let mut add = |kind, mode| {
        found.push(SourceFile {
            path: name.to_owned(),
            kind,
            mode,
        })
    };
    if data.is_dir() {
        add(EntryKind::Directory, 0o755);
        let mut names = Vec::new();
        for entry in fs::read_dir(path).map_err(fail)? {
            let name = entry.map_err(fail)?.file_name();
            names.push(
                name.into_string()
                    .map_err(|name| format!("{name:?} in {} is not UTF-8", path.display()))?,
            );
        }
        names.sort();
        for child in names {
            let below = if name.is_empty() {
                child.clone()
            } else {
                format!("{name}/{child}")
            };
            collect(&path.join(&child), &below, found)?;
        }
    } else {
        let (kind, mode) = content(path, &data, fail)?;
        add(kind, mode);
    }
    Ok(())
}

/// One file or link as it would be copied, with its mode; `None` for a directory, and where nothing is.
///
/// # Errors
/// For what is neither, and what cannot be read.
pub fn file(path: &Path) -> Result<Option<(EntryKind, u32)>, String> {
    let fail = |error: std::io::Error| format!("{}: {error}", path.display());
    let data = match fs::symlink_metadata(path) {
        Ok(data) if data.is_dir() => return Ok(None),
        Ok(data) => data,
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => return Ok(None),
        Err(error) => return Err(fail(error)),
    };
    content(path, &data, fail).map(Some)
}

/// A file or a link with its mode; `fail` words what the file system says.
fn content(
    path: &Path,
    data: &fs::Metadata,
    fail: impl Fn(std::io::Error) -> String,
) -> Result<(EntryKind, u32), String> {
    if data.is_file() {
        let executable = data.permissions().mode() & 0o111 != 0;
        let bytes = fs::read(path).map_err(fail)?;
        Ok((EntryKind::File(bytes), if executable { 0o755 } else { 0o644 }))
    } else if data.is_symlink() {
        let target = fs::read_link(path).map_err(fail)?;
        let target = target
            .to_str()
            .ok_or_else(|| format!("the target of {} is not UTF-8", path.display()))?;
        Ok((EntryKind::Symlink(target.to_owned()), 0o777))
    } else {
        Err(format!("{} is neither a file, a directory nor a link", path.display()))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_sorted_and_modes_normalised() {
        let dir = tempfile::tempdir().unwrap();
        let root = dir.path().join("rootfs");
        fs::create_dir_all(root.join("etc")).unwrap();
        fs::write(root.join("run"), b"x").unwrap();
        fs::write(root.join("etc/b"), b"b").unwrap();
        fs::write(root.join("etc/a"), b"a").unwrap();
        fs::set_permissions(root.join("run"), fs::Permissions::from_mode(0o700)).unwrap();
        fs::set_permissions(root.join("etc/a"), fs::Permissions::from_mode(0o600)).unwrap();
        let listed: Vec<(String, u32)> = files(dir.path(), "rootfs")
            .unwrap()
            .into_iter()
            .map(|file| (file.path, file.mode))
            .collect();
        let wanted = [
            ("", 0o755),
            ("etc", 0o755),
            ("etc/a", 0o644),
            ("etc/b", 0o644),
            ("run", 0o755),
        ];
        assert_eq!(listed, wanted.map(|(name, mode)| (name.to_owned(), mode)));
        assert!(files(dir.path(), "rootfs/none").unwrap_err().contains("no such file"));
        std::os::unix::fs::symlink("/etc", dir.path().join("out")).unwrap();
        assert!(files(dir.path(), "out/passwd").unwrap_err().contains("symbolic link"));
    }
}
