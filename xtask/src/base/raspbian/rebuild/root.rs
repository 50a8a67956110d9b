//! From compiled libraries to the base's layer: the packages that they stand for, and a root around them. It says of itself
//! that it is not Raspbian.

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use super::inputs::Inputs;
use super::recipe::{FLAGS, LOADER, TRIPLET};
use crate::base::exclude::Excludes;
use crate::base::lock;
use crate::base::rootfs::Rootfs;
use crate::deb::Deb;
use crate::error::{Context, Error, Result};
use crate::oci::image::Package;
use crate::oci::layer::{Entry, Layer, LayerBuilder};
use crate::policy::RebuildPolicy;

/// Changes whenever the same compiled files give another layer.
pub const VERSION: &str = "2";
/// Behind Debian's version: it is their source, but not their package.
const SUFFIX: &str = "+armv6";

/// Which library is of which package.
const LIBGCC: &str = "libgcc_s.so.1";

/// What is in the base, for people and reports.
pub fn packages(inputs: &Inputs, policy: &RebuildPolicy) -> Result<Vec<Package>> {
    let package = |name: &str, version: &str| Package {
        name: name.to_owned(),
        version: format!("{version}{SUFFIX}"),
        architecture: "armhf".to_owned(),
    };
    Ok(vec![
        package("libc6", inputs.glibc()?),
        package("libgcc-s1", inputs.version(&policy.gcc_source())?),
    ])
}

/// For people, and for the image's label.
pub fn origin(inputs: &Inputs) -> Result<String> {
    Ok(format!(
        "glibc {} rebuilt from Debian's source for ARMv6 hard float",
        inputs.glibc()?
    ))
}

/// Packs the compiled files of `tree`; returns the owners of paths as well.
pub fn pack(tree: &Path, inputs: &Inputs, policy: &RebuildPolicy) -> Result<(Layer, BTreeMap<String, String>)> {
    let read = |path: &str| {
        let path = tree.join(path);
        fs::read(&path).context(|| format!("cannot read {}", path.display()))
    };
    let mtime = time_of(&String::from_utf8_lossy(&read("doc/changelog")?))?;
    let origin = origin(inputs)?;
    let packages = packages(inputs, policy)?;
    let [libc, libgcc] = &packages[..] else {
        return Err(Error::new("a rebuilt base has two packages"));
    };

    let mut first = skeleton();
    first.extend([
        Entry::file("usr/lib/os-release", os_release(&origin, &policy.suite), 0o644),
        Entry::symlink("etc/os-release", "../usr/lib/os-release"),
        Entry::file(format!("usr/lib/{LOADER}"), read(&format!("lib/{LOADER}"))?, 0o755),
        Entry::file("usr/share/doc/libc6/copyright", read("doc/libc6")?, 0o644),
        Entry::file("usr/share/doc/libc6/SOURCE", source(inputs), 0o644),
        Entry::file("usr/share/common-licenses/LGPL-2.1", read("doc/LGPL-2.1")?, 0o644),
        Entry::file("usr/share/common-licenses/GPL-3", read("doc/GPL-3")?, 0o644),
    ]);
    let mut second = vec![Entry::file(
        "usr/share/doc/libgcc-s1/copyright",
        read("doc/libgcc-s1")?,
        0o644,
    )];
    for name in &policy.libraries {
        let place = format!("usr/lib/{TRIPLET}/{name}");
        let mode = if name == "libc.so.6" { 0o755 } else { 0o644 };
        let entry = Entry::file(place, read(&format!("lib/{name}"))?, mode);
        if name == LIBGCC { &mut second } else { &mut first }.push(entry);
    }
    let deb = |package: &Package, source: &str, entries: Vec<Entry>| {
        let control = format!(
            "Package: {}\nSource: {source}\nVersion: {}\nArchitecture: armhf\nMulti-Arch: same\n\
             Description: compiled for ARMv6 with hard float from Debian's source\n It is neither Debian's package nor \
             Raspbian's.\n",
            package.name, package.version
        );
        let entries = entries.into_iter().map(|entry| Entry { mtime, ..entry }).collect();
        (
            package.name.clone(),
            Deb {
                control,
                md5sums: None,
                entries,
            },
        )
    };
    let rootfs = Rootfs::assemble(
        &[
            deb(libc, "glibc", first),
            deb(libgcc, &format!("gcc-{}", policy.gcc), second),
        ],
        &Excludes::default(),
    )?;
    let mut builder = LayerBuilder::new(mtime);
    for entry in rootfs.entries().values() {
        builder.add(entry.clone())?;
    }
    Ok((builder.finish(&origin)?, rootfs.owners().clone()))
}

/// Directories and links that Debian's `base-files` has, of those that a server may meet.
fn skeleton() -> Vec<Entry> {
    let mut entries: Vec<Entry> = [
        "dev",
        "etc",
        "home",
        "proc",
        "run",
        "sys",
        "usr",
        "usr/bin",
        "usr/lib",
        "usr/sbin",
        "usr/share",
        "var",
        "var/cache",
        "var/lib",
        "var/log",
    ]
    .map(|path| Entry::directory(path, 0o755))
    .into();
    entries.push(Entry::directory("root", 0o700));
    entries.extend(["tmp", "var/tmp"].map(|path| Entry::directory(path, 0o1777)));
    entries.extend(["bin", "lib", "sbin"].map(|name| Entry::symlink(name, format!("usr/{name}"))));
    entries
}

fn os_release(origin: &str, suite: &str) -> String {
    format!(
        "PRETTY_NAME=\"{origin}\"\nNAME=\"Rebuilt glibc for ARMv6, not Raspbian itself\"\nID=rebuilt-armv6\n\
         ID_LIKE=\"raspbian debian\"\nVERSION_CODENAME={suite}\n"
    )
}

/// Where the source is: the licences want it, and whoever doubts the binaries can make them again.
fn source(inputs: &Inputs) -> String {
    let mut text = format!(
        "These libraries were compiled from Debian's source packages with {}.\n\
         Not Debian's and not Raspbian's binaries. Files of the archive, with their SHA-256:\n\n",
        FLAGS.join(" ")
    );
    // The tools are not named: they are other files on another host, and the libraries are the same.
    let source = |name: &str, architecture: &str| architecture == "source" || name.ends_with("-source");
    for input in inputs.for_lock() {
        if !source(&input.name, &input.architecture) {
            continue;
        }
        text += &format!("{}  {}\n", input.digest.trim_start_matches("sha256:"), input.file);
    }
    text
}

/// The day of the newest entry of a debian/changelog, in seconds since the epoch.
fn time_of(changelog: &str) -> Result<u64> {
    let day = || {
        let line = changelog.lines().find_map(|line| line.strip_prefix(" -- "))?;
        let date = lock::day_of_rfc5322(line.split_once(">  ")?.1)?;
        lock::day_number(&date)
    };
    let day = day().context(|| "debian/changelog of glibc's source has no date that can be read")?;
    Ok(day * 86_400)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_time_is_that_of_the_source() {
        let changelog = "glibc (2.36-9+deb12u14) bookworm; urgency=medium\n\n  * x\n\n \
                         -- Some One <one@host.example>  Fri, 13 Feb 2009 23:31:30 +0000\n\n\
                         glibc (1) sid; urgency=low\n";
        assert_eq!(time_of(changelog).unwrap(), 1_234_483_200);
        assert!(time_of("glibc (1)\n").is_err());
    }

    #[test]
    fn it_does_not_pretend_to_be_raspbian_or_debian() {
        let text = os_release(
            "glibc 2.36-9 rebuilt from Debian's source for ARMv6 hard float",
            "bookworm",
        );
        assert!(text.contains("\nID=rebuilt-armv6\n"), "{text}");
        assert!(text.contains("not Raspbian itself"), "{text}");
    }
}
