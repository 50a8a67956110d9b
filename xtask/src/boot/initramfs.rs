//! The first file system of the emulated Pi: the image's root at /image, and at /xtask what starts it. Pure.
//!
//! After the launcher has changed the root directory, the program sees its image, /proc, /dev, /sys and its volumes, and the
//! three files of /etc that an engine writes; nothing of /xtask.

use super::cpio::Cpio;
use super::launcher::{Identity, launcher};
use crate::oci::layer::{Entry, EntryKind};
use crate::oci::tree::Tree;
use crate::run::Program;

/// A process without an entry in the image's PATH is looked for here, and this is what engines set.
const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
/// The board has 512 MB, and the kernel gives half of it to its first file system, archive and content at once.
const LARGEST: usize = 160 << 20;
const HOST_NAME: &str = "raspberrypi";
const INIT: &[u8] = include_bytes!("init.sh");
const CONTROL: &[u8] = include_bytes!("control.sh");

/// What an initramfs is made of.
pub(super) struct Parts<'a> {
    /// The image's files.
    pub(super) tree: Tree,
    /// What is started in it.
    pub(super) program: Program,
    pub(super) identity: Identity,
    /// `HOME` unless the image sets one.
    pub(super) home: String,
    /// Absolute paths that outlive the machine.
    pub(super) volumes: &'a [String],
    /// Number of the signal that asks the program to end.
    pub(super) stop_signal: i32,
    pub(super) busybox: &'a [u8],
    /// File name and content, first to be loaded first.
    pub(super) modules: &'a [(&'a str, Vec<u8>)],
}

/// The archive.
///
/// # Errors
/// An image that an engine could not run either: no such program, mount points that are links; one that is too large for
/// the board's memory.
pub(super) fn initramfs(parts: Parts<'_>) -> Result<Vec<u8>, String> {
    let Parts { mut tree, program, .. } = parts;
    let program = with_defaults(program, &parts.home);
    let mut add = |path: &str, content: Option<&str>| -> Result<(), String> {
        let path = path.trim_matches('/');
        let inside = tree.resolve(path, true).filter(|path| !path.is_empty());
        let inside = inside.ok_or_else(|| format!("/{path} of the image is a loop of links, or the root"))?;
        match content {
            Some(text) => tree.insert(Entry::file(inside, text, 0o644)),
            None if tree.is_directory(&inside) => Ok(()),
            None => tree.insert(Entry::directory(inside, 0o755)),
        }
        .map_err(|error| error.to_string())
    };
    for path in ["dev", "proc", "sys"] {
        add(path, None)?;
    }
    add("etc/hostname", Some(&format!("{HOST_NAME}\n")))?;
    add(
        "etc/hosts",
        Some(&format!(
            "127.0.0.1\tlocalhost\n::1\tlocalhost\n10.0.2.15\t{HOST_NAME}\n"
        )),
    )?;
    add("etc/resolv.conf", Some(""))?;
    add(&program.working_dir, None).or_else(|error| if program.working_dir == "/" { Ok(()) } else { Err(error) })?;
    let mut volumes = String::new();
    for volume in parts.volumes {
        if volume.contains(['\n', '\0']) || volume.trim_matches('/').is_empty() {
            return Err(format!("`{}` cannot be a volume", volume.escape_debug()));
        }
        add(volume, None)?;
    }
    for volume in parts.volumes {
        let inside = tree.resolve(volume.trim_matches('/'), true).unwrap_or_default();
        let name = &crate::cache::key_of([volume.as_str()])[..16];
        volumes.push_str(&format!("{name} /{inside}\n"));
    }
    for path in ["dev", "proc", "sys"] {
        if tree.resolve(path, true).as_deref() != Some(path) {
            return Err(format!(
                "/{path} of the image is a link, so nothing can be mounted there"
            ));
        }
    }
    let path = find_program(&tree, &program)?;

    let mut cpio = Cpio::default();
    for path in [
        "bin",
        "card",
        "dev",
        "proc",
        "sys",
        "xtask",
        "xtask/bin",
        "xtask/modules",
    ] {
        cpio.directory(path, 0o755);
    }
    cpio.device("dev/console", 0o600, 5, 1);
    cpio.file("init", INIT, 0o755);
    cpio.file("xtask/control", CONTROL, 0o755);
    cpio.file("xtask/busybox", parts.busybox, 0o755);
    cpio.file(
        "xtask/launcher",
        &launcher("/image", &path, &program, &parts.identity)?,
        0o755,
    );
    cpio.file("xtask/volumes", volumes.as_bytes(), 0o644);
    cpio.file(
        "xtask/stop-signal",
        format!("{}\n", parts.stop_signal).as_bytes(),
        0o644,
    );
    let list: String = parts.modules.iter().map(|(name, _)| format!("{name}\n")).collect();
    cpio.file("xtask/modules.list", list.as_bytes(), 0o644);
    for (name, bytes) in parts.modules {
        cpio.file(&format!("xtask/modules/{name}"), bytes, 0o644);
    }
    let root = tree.get("").cloned().unwrap_or_else(|| Entry::directory("", 0o755));
    if root.kind != EntryKind::Directory {
        return Err("the image's root is not a directory".to_owned());
    }
    cpio.entry("image", &root)?;
    // The kernel makes no directory that is not in the archive.
    let mut made = String::new();
    for entry in tree.entries().filter(|entry| !entry.path.is_empty()) {
        for (at, _) in entry.path.match_indices('/') {
            let parent = &entry.path[..at];
            if tree.get(parent).is_none() && !made.starts_with(&format!("{parent}/")) && made != parent {
                cpio.directory(&format!("image/{parent}"), 0o755);
                made = parent.to_owned();
            }
        }
        cpio.entry("image/", entry)?;
    }
    let archive = cpio.finish();
    if archive.len() > LARGEST {
        return Err(format!(
            "the image is too large to be booted from memory: {} unpacked, and the board has 512 MB for everything",
            crate::ui::bytes(archive.len() as u64)
        ));
    }
    Ok(archive)
}

/// What engines put into every environment, and the image or the caller may have set otherwise.
fn with_defaults(mut program: Program, home: &str) -> Program {
    for (name, value) in [("PATH", PATH), ("HOSTNAME", HOST_NAME), ("HOME", home)] {
        if program.variable(name).is_none() {
            program.env.push((name.to_owned(), value.to_owned()));
        }
    }
    program
}

/// Absolute path of the program inside the image: as it is named, or by the image's PATH.
fn find_program(tree: &Tree, program: &Program) -> Result<String, String> {
    let name = program.argv.first().map_or("", String::as_str);
    let candidates: Vec<String> = match name {
        _ if name.starts_with('/') => vec![name.to_owned()],
        _ if name.contains('/') => vec![format!("{}/{name}", program.working_dir.trim_end_matches('/'))],
        _ => {
            let path = program.variable("PATH").unwrap_or(PATH);
            let directories = path.split(':').filter(|directory| directory.starts_with('/'));
            directories
                .map(|directory| format!("{}/{name}", directory.trim_end_matches('/')))
                .collect()
        }
    };
    let is_program = |path: &String| {
        let found = tree.resolve(path, true).and_then(|path| tree.get(&path));
        found.is_some_and(|entry| matches!(entry.kind, EntryKind::File(_)) && entry.mode & 0o111 != 0)
    };
    let found = candidates.into_iter().find(is_program);
    found.ok_or_else(|| format!("the image has no program `{}`", name.escape_debug()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parts(entries: Vec<Entry>, program: &[&str]) -> Parts<'static> {
        let mut tree = Tree::default();
        tree.apply(entries).unwrap();
        Parts {
            tree,
            program: Program {
                argv: program.iter().map(|word| (*word).to_owned()).collect(),
                env: Vec::new(),
                working_dir: "/".to_owned(),
                port: 80,
                admin_port: None,
            },
            identity: Identity::default(),
            home: "/".to_owned(),
            volumes: &[],
            stop_signal: 15,
            busybox: b"busybox",
            modules: &[],
        }
    }

    fn names(archive: &[u8]) -> Vec<String> {
        let mut names = Vec::new();
        let mut at = 0;
        while archive[at..].starts_with(b"070701") {
            let field = |index: usize| {
                let start = at + 6 + index * 8;
                usize::from_str_radix(std::str::from_utf8(&archive[start..start + 8]).unwrap(), 16).unwrap()
            };
            let end = at + 110 + field(11);
            names.push(String::from_utf8(archive[at + 110..end - 1].to_vec()).unwrap());
            at = (end.next_multiple_of(4) + field(6)).next_multiple_of(4);
        }
        names
    }

    #[test]
    fn every_directory_comes_before_what_is_in_it_and_the_same_parts_give_the_same_bytes() {
        let make = || initramfs(parts(vec![Entry::file("usr/bin/server", "x", 0o755)], &["server"])).unwrap();
        let archive = make();
        assert_eq!(archive, make());
        let names = names(&archive);
        for name in names.iter().filter(|name| *name != "TRAILER!!!") {
            if let Some((parent, _)) = name.rsplit_once('/') {
                let before = names.iter().take_while(|other| *other != name);
                assert_eq!(before.filter(|other| *other == parent).count(), 1, "{name}: {names:?}");
            }
        }
        for name in [
            "image/proc",
            "image/usr/bin/server",
            "image/etc/hosts",
            "xtask/launcher",
            "init",
        ] {
            assert!(names.iter().any(|other| other == name), "{name}");
        }
    }

    #[test]
    fn links_of_the_image_do_not_lead_out_of_it() {
        let mut parts = parts(
            vec![
                Entry::file("server", "x", 0o755),
                Entry::symlink("var", "/srv"),
                Entry::symlink("etc", "/../../xtask"),
            ],
            &["/server"],
        );
        let volumes = ["/var/data".to_owned()];
        parts.volumes = &volumes;
        let archive = initramfs(parts).unwrap();
        let names = names(&archive);
        assert!(names.iter().any(|name| name == "image/srv/data"), "{names:?}");
        assert!(names.iter().any(|name| name == "image/xtask/hosts"), "{names:?}");
        assert!(String::from_utf8_lossy(&archive).contains(" /srv/data\n"));
    }

    #[test]
    fn an_image_that_no_engine_could_run_is_refused() {
        let refused = |entries, program: &[&str]| initramfs(parts(entries, program)).unwrap_err();
        assert!(refused(vec![], &["server"]).contains("no program"));
        let not_executable = vec![Entry::file("bin/server", "x", 0o644)];
        assert!(refused(not_executable, &["server"]).contains("no program"));
        let link = vec![Entry::symlink("proc", "tmp"), Entry::file("s", "x", 0o755)];
        assert!(refused(link, &["/s"]).contains("/proc"));
    }
}
