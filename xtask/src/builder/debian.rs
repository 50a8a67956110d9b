//! The image below the builder where it cannot be pulled: made from Debian's archive. apt of this machine resolves and checks the
//! packages, they are unpacked here, and dpkg configures them in a container: maintainer scripts run there and nowhere else.

use std::fs;

use bollard::query_parameters::{CreateImageOptionsBuilder, RemoveImageOptionsBuilder};
use bytes::Bytes;
use futures_util::{StreamExt, TryStreamExt};

use super::container::{self, Job};
use super::here::Here;
use super::image::{Wanted, network};
use super::source::tar;
use super::{LABEL, LABEL_BASE, trouble};
use crate::base::apt::{self, Request};
use crate::base::exclude::Excludes;
use crate::base::rootfs::Rootfs;
use crate::cx::Cx;
use crate::deb::Deb;
use crate::engine::Connection;
use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind};
use crate::policy::Policy;
use crate::ui::Verbosity;

/// Made by [`Rootfs`] for images without maintainer scripts; here the packages' own scripts make them.
const THEIRS: [&str; 3] = ["etc/passwd", "etc/group", "etc/nsswitch.conf"];

/// What dpkg needs to find, and the packages again, in the order that debootstrap found out: what every script relies on first.
const CONFIGURE: &str = "\
set -e
export DEBIAN_FRONTEND=noninteractive DEBCONF_NONINTERACTIVE_SEEN=true
touch /var/lib/dpkg/status /var/lib/dpkg/available
[ -e /usr/bin/awk ] || ln -s mawk /usr/bin/awk
cd /packages
for first in base-passwd base-files dpkg libc6 perl-base mawk debconf; do
    dpkg --force-depends --force-confnew --install ${first}_*.deb
done
dpkg --force-depends --force-confnew --install ./*.deb
dpkg --configure --pending
dpkg --audit
rm -rf /packages /var/cache/apt/archives/*.deb
";

/// Makes the image `name` in the engine.
pub fn make(cx: &Cx, policy: &Policy, connection: &Connection, wanted: &Wanted, name: &str, here: &Here) -> Result<()> {
    let debian = &policy.base.debian;
    if !name.contains(debian.suite.as_str()) {
        return Err(Error::new(format!(
            "{name} cannot be pulled, and only Debian {} can be made here",
            debian.suite
        ))
        .hint("ARG BUILDER of docker/Dockerfile names the image; pull it by hand, or take --builder host"));
    }
    let architecture = architecture(connection)?;
    let request = Request {
        suite: &debian.suite,
        aliases: &debian.aliases,
        architecture: &architecture,
        packages: &policy.builder.packages,
        omit: &[],
        mirror: None,
    };
    let resolution = apt::resolve(cx, &request, false)?;
    let origin = format!(
        "Debian {} {architecture}, {} packages",
        resolution.suite,
        resolution.packages.len()
    );
    let paths = apt::fetch(cx, &request, &resolution)?;
    cx.ui.step("Unpacking", &format!("{origin}, as {name}"));
    let mut packages = Vec::new();
    let mut entries = vec![Entry::directory("packages", 0o755)];
    for (package, path) in resolution.packages.iter().zip(&paths) {
        let bytes = fs::read(path).context(|| format!("cannot read {}", path.display()))?;
        packages.push((
            package.name.clone(),
            Deb::read(&format!("{} {}", package.name, package.version), &bytes)?,
        ));
        entries.push(Entry::new(
            format!("packages/{}_.deb", package.name),
            EntryKind::File(bytes),
            0o644,
        ));
    }
    let tree = Rootfs::assemble(&packages, &Excludes::default())?;
    let theirs = |path: &str| THEIRS.contains(&path) || path.starts_with("var/lib/dpkg/status.d");
    entries.extend(tree.entries().values().filter(|entry| !theirs(&entry.path)).cloned());
    let mirrors = apt::mirrors(None)?;
    let (main, suite) = (&mirrors.main, &debian.suite);
    let mut list = format!("deb {main} {suite} main\n");
    if let Some(security) = &mirrors.security {
        list.push_str(&format!(
            "deb {main} {suite}-updates main\ndeb {security} {suite}-security main\n"
        ));
    }
    let files = [Entry::file("etc/apt/sources.list", list, 0o644)];
    let unpacked = format!("{}:unpacked", wanted.name);
    import(connection, &unpacked, tar(&entries)?, &[])?;
    drop(entries);
    let made = configure(cx, connection, wanted, &unpacked, tar(&files)?, here).and_then(|bytes| {
        let labels = [
            format!("LABEL {LABEL}={}", wanted.name),
            format!(
                "LABEL {LABEL_BASE}=\"made by cargo xtask of {origin}, release {}\"",
                resolution.release
            ),
            "CMD [\"bash\"]".to_owned(),
        ];
        import(connection, name, bytes, &labels)
    });
    let options = RemoveImageOptionsBuilder::default().force(true).build();
    let _ = connection
        .runtime
        .block_on(connection.docker.remove_image(&unpacked, Some(options), None));
    made?;
    cx.ui.step("Made", &format!("{name} of {origin}"));
    Ok(())
}

/// Debian's name for what the engine runs on.
fn architecture(connection: &Connection) -> Result<String> {
    let version = connection.runtime.block_on(connection.docker.version())?;
    match version.arch.as_deref() {
        Some(arch @ ("amd64" | "arm64")) => Ok(arch.to_owned()),
        other => Err(Error::new(format!(
            "the engine runs on {}, where there is no builder: expected amd64 or arm64",
            other.unwrap_or("an unknown architecture")
        ))
        .hint("compile with --builder host")),
    }
}

/// The root file system after dpkg is done, as a tar.
fn configure(
    cx: &Cx,
    connection: &Connection,
    wanted: &Wanted,
    image: &str,
    files: Vec<u8>,
    here: &Here,
) -> Result<Vec<u8>> {
    cx.ui.step("Configuring", "its packages, in a container");
    let job = Job {
        image,
        command: ["/bin/sh", "-c", CONFIGURE].map(str::to_owned).to_vec(),
        env: vec!["PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin".to_owned()],
        volumes: Vec::new(),
        files,
        network: network(connection, here)?,
        label: (LABEL, &wanted.name),
        shown: cx.ui.verbosity() == Verbosity::Verbose,
        keep: true,
    };
    let ended = container::run(&cx.ui, connection, &job)?;
    let exported = if ended.code == Some(0) {
        connection.runtime.block_on(async {
            let pieces: Vec<Bytes> = connection
                .docker
                .export_container(&ended.container)
                .try_collect()
                .await?;
            Ok(pieces.concat())
        })
    } else {
        let said: Vec<&str> = ended.said.lines().collect();
        let last = said[said.len().saturating_sub(15)..].join("\n  ");
        let error = Error::new(format!(
            "dpkg could not configure the packages (exit code {:?})\n  {last}",
            ended.code
        ));
        Err(match trouble::next_step(&last) {
            Some(hint) => error.hint(hint),
            None => error.hint("pull the base of the builder by hand, or take --builder host"),
        })
    };
    connection
        .runtime
        .block_on(container::remove(connection, &ended.container));
    exported
}

/// A tar as the image `name`. Podman 4.3 does not listen to a tag beside the name; within it, all engines do.
///
/// # Errors
/// Those of the engine.
pub fn import(connection: &Connection, name: &str, tar: Vec<u8>, changes: &[String]) -> Result<()> {
    let options = CreateImageOptionsBuilder::default()
        .from_src("-")
        .repo(name)
        .changes(changes.to_vec())
        .build();
    connection
        .runtime
        .block_on(async {
            let body = bollard::body_full(Bytes::from(tar));
            let mut answers = connection.docker.create_image(Some(options), Some(body), None);
            while let Some(answer) = answers.next().await {
                answer?;
            }
            Ok::<_, Error>(())
        })
        .map_err(|error| match trouble::next_step(&error.to_string()) {
            Some(hint) => error.hint(hint),
            None => error,
        })
        .context(|| format!("the engine at {} did not import {name}", connection.endpoint()))
}
