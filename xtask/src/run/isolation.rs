//! How the image's program is kept to the image: the exact command line, as data.

use std::path::{Path, PathBuf};

use super::config::Program;
use super::qemu::{Processor, QemuUser};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};

/// What the caller asks for.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, clap::ValueEnum)]
pub enum Isolation {
    /// `chroot` where the kernel allows it, else `prefix`.
    #[default]
    Auto,
    /// The image is the root directory, in a user, mount and process namespace of its own.
    Chroot,
    /// The program runs among the host's files; qemu looks absolute paths up in the image first.
    Prefix,
}

/// How a program is confined, all tools located.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Confinement {
    /// See [`Isolation::Chroot`].
    Chroot(Namespaces),
    /// See [`Isolation::Prefix`].
    Prefix {
        /// setpriv(1).
        setpriv: PathBuf,
    },
}

/// The tools that make namespaces.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Namespaces {
    /// setpriv(1).
    pub setpriv: PathBuf,
    /// unshare(1).
    pub unshare: PathBuf,
    /// mount(8).
    pub mount: PathBuf,
    /// env(1).
    pub env: PathBuf,
    /// Whether a user namespace is made; without one, only root may make the others.
    pub user: bool,
}

/// Where things lie on the host.
#[derive(Clone, Copy, Debug)]
pub struct Paths<'a> {
    /// Root directory of the image.
    pub rootfs: &'a Path,
    /// Where the volume's content is kept.
    pub data: &'a Path,
    /// Path of the volume inside the image.
    pub volume: &'a str,
    /// The program, as an absolute path inside the image.
    pub program: &'a str,
    /// The same on the host, links resolved.
    pub host_program: &'a Path,
}

/// qemu-user's name inside the root directory.
pub(super) const QEMU_INSIDE: &str = "/.qemu-user";

/// Files that every container has: name resolution, as an engine provides it (copies, so that the host's are safe).
pub(super) const FILES: [&str; 3] = [QEMU_INSIDE, "/etc/hosts", "/etc/resolv.conf"];

/// Directories that are mounted upon besides the volume.
pub(super) const MOUNT_POINTS: [&str; 2] = ["/proc", "/dev"];

/// Runs inside the new namespaces, as their process 1. It stays: a process 1 cannot die of a signal that it sends to
/// itself, and that is how qemu-user reports a crash of its program.
/// Arguments: mount, qemu ('' for none), root, data, volume, then the command.
const SCRIPT: &str = r#"set -e
mount=$1 qemu=$2 root=$3 data=$4 volume=$5
shift 5
"$mount" --bind "$data" "$root$volume"
[ -z "$qemu" ] || "$mount" --bind "$qemu" "$root/.qemu-user"
"$mount" -t proc proc "$root/proc" 2>/dev/null || "$mount" --rbind /proc "$root/proc"
"$mount" -t tmpfs -o mode=755,size=1m tmpfs "$root/dev"
for device in null zero full random urandom; do
  : >"$root/dev/$device"
  "$mount" --bind "/dev/$device" "$root/dev/$device"
done
set +e
for link in fd: stdin:/0 stdout:/1 stderr:/2; do
  command -p ln -s "/proc/self/fd${link#*:}" "$root/dev/${link%:*}"
done
for file in hosts resolv.conf; do
  [ -L "$root/etc" ] || [ -L "$root/etc/$file" ] || [ ! -f "$root/etc/$file" ] || {
    command -p cat "/etc/$file" >"$root/dev/.$file" && "$mount" --bind "$root/dev/.$file" "$root/etc/$file"
    command -p rm "$root/dev/.$file"
  } 2>/dev/null
done
"$@"
exit $?"#;

/// The mounts that the kernel may refuse, tried on an empty directory.
const TRIAL: &str = r#"set -e
mount=$1 root=$2
"$mount" --bind "$root" "$root"
"$mount" -t tmpfs -o mode=755,size=64k tmpfs "$root"
"#;

/// Decides how to confine the program. With [`Isolation::Auto`], a refusal of the kernel is not an error: the second
/// half says why `prefix` was taken.
pub fn choose(cx: &Cx, wanted: Isolation) -> Result<(Confinement, Option<String>)> {
    let setpriv = tool(cx, "setpriv")?;
    if wanted == Isolation::Prefix {
        return Ok((Confinement::Prefix { setpriv }, None));
    }
    match namespaces(cx, &setpriv) {
        Ok(namespaces) => Ok((Confinement::Chroot(namespaces), None)),
        Err(error) if wanted == Isolation::Auto => Ok((Confinement::Prefix { setpriv }, Some(error.to_string()))),
        Err(error) => Err(error
            .hint("the kernel or its security module refuses user namespaces; `--isolation prefix` does without them")),
    }
}

fn namespaces(cx: &Cx, setpriv: &Path) -> Result<Namespaces> {
    let mut found = Namespaces {
        setpriv: setpriv.to_owned(),
        unshare: tool(cx, "unshare")?,
        mount: tool(cx, "mount")?,
        env: tool(cx, "env")?,
        user: true,
    };
    let directory = tempfile::tempdir().context(|| "cannot make a temporary directory")?;
    let try_it = |found: &Namespaces| {
        let words = found.enter();
        let command = cx.shell.command(&words[0]).args(&words[1..]);
        let command = command.args(["/bin/sh", "-c", TRIAL, "sh"]);
        command.arg(&found.mount).arg(directory.path()).read()
    };
    let Err(refusal) = try_it(&found) else {
        return Ok(found);
    };
    if rustix::process::geteuid().is_root() {
        // Root may do without a user namespace, where the kernel has none.
        found.user = false;
        if try_it(&found).is_ok() {
            return Ok(found);
        }
    }
    let text = refusal.to_string();
    let reason = text.lines().last().unwrap_or_default().trim();
    Err(Error::new(format!("no namespaces to confine a program in: {reason}")))
}

impl Namespaces {
    /// The words that make the namespaces, to be followed by a program. The chain of deaths: when xtask dies, setpriv's
    /// signal kills unshare; when unshare dies, so does process 1 of the namespace; with it, all of the namespace.
    fn enter(&self) -> Vec<String> {
        let mut words = die_with_parent(&self.setpriv);
        words.push(word(&self.unshare));
        if self.user {
            words.extend(["--user".to_owned(), "--map-root-user".to_owned()]);
        }
        words.extend(["--mount", "--pid", "--fork", "--kill-child"].map(str::to_owned));
        words
    }
}

/// The whole command line. Its environment is made by `environment`, its working directory the host's root (chroot) or the
/// image's working directory below `rootfs` (prefix).
///
/// Pure: this is what tests and `--dry-run` show.
pub fn command_line(
    confinement: &Confinement,
    processor: &Processor,
    program: &Program,
    paths: Paths<'_>,
) -> Vec<String> {
    let late: Vec<String> = program
        .env
        .iter()
        .filter(|(name, _)| is_for_the_loader(name))
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let mut words;
    match confinement {
        Confinement::Prefix { setpriv } => {
            words = die_with_parent(setpriv);
            if let Processor::Qemu(qemu) = processor {
                words.push(word(&qemu.path));
                words.extend(qemu_options(qemu, program, late));
                words.extend(["-L".to_owned(), word(paths.rootfs)]);
            }
            words.push(word(paths.host_program));
        }
        Confinement::Chroot(namespaces) => {
            words = namespaces.enter();
            words.extend(["/bin/sh", "-c", SCRIPT, "sh"].map(str::to_owned));
            words.push(word(&namespaces.mount));
            let qemu = match processor {
                Processor::Host => None,
                Processor::Qemu(qemu) => Some(qemu),
            };
            words.push(qemu.map(|qemu| word(&qemu.path)).unwrap_or_default());
            words.extend([word(paths.rootfs), word(paths.data), paths.volume.to_owned()]);
            // What the shell adds to the environment by itself.
            words.push(word(&namespaces.env));
            for name in ["PWD", "OLDPWD", "SHLVL", "_"] {
                if program.variable(name).is_none() {
                    words.extend(["-u".to_owned(), name.to_owned()]);
                }
            }
            if qemu.is_none() {
                words.extend(late.iter().cloned());
            }
            words.push(word(&namespaces.unshare));
            words.push(format!("--root={}", word(paths.rootfs)));
            words.push(format!("--wd={}", program.working_dir));
            words.push("--".to_owned());
            if let Some(qemu) = qemu {
                words.push(QEMU_INSIDE.to_owned());
                words.extend(qemu_options(qemu, program, late));
            }
            words.push(paths.program.to_owned());
        }
    }
    words.extend(program.argv.iter().skip(1).cloned());
    words
}

fn qemu_options(qemu: &QemuUser, program: &Program, late: Vec<String>) -> Vec<String> {
    let mut words = Vec::new();
    if let Some(cpu) = qemu.cpu {
        words.extend(["-cpu".to_owned(), cpu.to_owned()]);
    }
    // argv[0] as the image names it: programs that are several in one look at it.
    if let Some(name) = program.argv.first() {
        words.extend(["-0".to_owned(), name.clone()]);
    }
    words.extend(late.into_iter().flat_map(|variable| ["-E".to_owned(), variable]));
    words
}

/// The environment of the command line: the program's, without what would steer qemu and the loader of the host's own
/// tools on the way (those variables are handed over on the command line).
pub fn environment<'p>(
    confinement: &Confinement,
    processor: &Processor,
    program: &'p Program,
) -> impl Iterator<Item = &'p (String, String)> + use<'p> {
    let direct = matches!((confinement, processor), (Confinement::Prefix { .. }, Processor::Host));
    program
        .env
        .iter()
        .filter(move |(name, _)| direct || !is_for_the_loader(name))
}

fn is_for_the_loader(name: &str) -> bool {
    name.starts_with("LD_") || name.starts_with("QEMU_")
}

fn die_with_parent(setpriv: &Path) -> Vec<String> {
    vec![word(setpriv), "--pdeathsig".to_owned(), "KILL".to_owned()]
}

/// A path as a word. `start` has refused paths that are not UTF-8.
fn word(path: &Path) -> String {
    path.to_string_lossy().into_owned()
}

fn tool(cx: &Cx, name: &str) -> Result<PathBuf> {
    cx.shell
        .which(name)
        .context(|| format!("`{name}` is not in PATH"))
        .hint("install util-linux and coreutils, which every distribution has")
}
