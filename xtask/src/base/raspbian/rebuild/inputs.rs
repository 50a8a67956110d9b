//! What a rebuild is made of: the files of glibc's source package, and the packages with gcc's source, headers and tools.

use super::needs::Host;
use crate::base::apt::{self, Deb, Request, Resolution, SOURCE};
use crate::base::found::{Input, Want};
use crate::base::lock;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::RebuildPolicy;

/// Source package of the C library.
const GLIBC: &str = "glibc";

/// The inputs of one rebuild.
#[derive(Clone, Debug)]
pub struct Inputs {
    /// All of them, sorted.
    pub resolution: Resolution,
}

impl Inputs {
    /// Those that the lock names, or those that the archive has.
    pub fn choose(
        cx: &Cx,
        policy: &RebuildPolicy,
        host: &Host,
        mirror: Option<&str>,
        want: Want<'_>,
    ) -> Result<Inputs> {
        let request = request(policy, host, mirror);
        let newest = |refresh| apt::resolve_exactly(cx, &request, &[GLIBC], refresh);
        let resolution = match want {
            Want::Last => newest(false)?,
            Want::Newest => newest(true)?,
            Want::Locked(inputs) => {
                let locked = apt::locked(&policy.suite, host.architecture, inputs)?;
                match locked.packages.iter().all(|deb| runs_on(deb, host)) {
                    true => locked,
                    // Written on a machine of another architecture: the same versions, with the hashes of this one.
                    false => same_versions(&newest(false)?, &locked)?,
                }
            }
        };
        let inputs = Inputs { resolution };
        inputs.complete(policy)?;
        Ok(inputs)
    }

    fn complete(&self, policy: &RebuildPolicy) -> Result<()> {
        self.source_file(".orig.tar.xz")?;
        self.source_file(".debian.tar.xz")?;
        for name in policy.tools.iter().chain([&policy.gcc_source()]) {
            self.version(name)?;
        }
        Ok(())
    }

    /// The one file of the source package whose name ends so.
    pub fn source_file(&self, suffix: &str) -> Result<&Deb> {
        let mut found = self
            .resolution
            .packages
            .iter()
            .filter(|deb| deb.architecture == SOURCE && deb.filename.ends_with(suffix));
        match (found.next(), found.next()) {
            (Some(file), None) => Ok(file),
            _ => Err(Error::new(format!("glibc's source package has no single *{suffix}"))
                .hint("it is of a format that this program does not know: 3.0 (quilt) is what it knows")),
        }
    }

    /// Debian's version of glibc's source: `2.36-9+deb12u14`.
    pub fn glibc(&self) -> Result<&str> {
        self.version(GLIBC)
    }

    /// The version of a package.
    pub fn version(&self, name: &str) -> Result<&str> {
        let found = self.resolution.packages.iter().find(|deb| deb.name == name);
        Ok(&found
            .context(|| format!("{name} is not among what glibc is made of"))?
            .version)
    }

    /// What has to be fetched: everything but signatures and descriptions of the source package.
    pub fn needed(&self) -> Resolution {
        let needed = |deb: &&Deb| deb.architecture != SOURCE || deb.filename.ends_with(".tar.xz");
        Resolution {
            packages: self.resolution.packages.iter().filter(needed).cloned().collect(),
            ..self.resolution.clone()
        }
    }

    /// As the lock writes them.
    pub fn for_lock(&self) -> Vec<Input> {
        let mut inputs: Vec<Input> = self.needed().packages.iter().map(Deb::input).collect();
        inputs.sort();
        inputs
    }
}

/// What apt is asked for.
pub fn request<'a>(policy: &'a RebuildPolicy, host: &'a Host, mirror: Option<&'a str>) -> Request<'a> {
    Request {
        suite: &policy.suite,
        aliases: &policy.aliases,
        architecture: host.architecture,
        packages: &policy.tools,
        omit: &[],
        mirror,
    }
}

fn runs_on(deb: &Deb, host: &Host) -> bool {
    [SOURCE, "all", host.architecture].contains(&deb.architecture.as_str())
}

/// Those of `newest`, if each has the version that is locked.
fn same_versions(newest: &Resolution, locked: &Resolution) -> Result<Resolution> {
    let mut moved = Vec::new();
    for deb in &locked.packages {
        match newest.packages.iter().find(|other| other.name == deb.name) {
            Some(other) if other.version == deb.version => {}
            Some(other) => moved.push(format!("{} is {} now, not {}", deb.name, other.version, deb.version)),
            None => moved.push(format!("{} {} is not there", deb.name, deb.version)),
        }
    }
    moved.dedup();
    if moved.is_empty() {
        return Ok(newest.clone());
    }
    Err(Error::new(format!(
        "{} was written on a machine of another architecture, and the archive has moved on since: {}",
        lock::FILE,
        moved.join(", ")
    ))
    .hint("`cargo xtask base update raspbian` takes what there is now"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::base::apt::Archive;

    fn deb(name: &str, version: &str, architecture: &str, filename: &str) -> Deb {
        Deb {
            name: name.to_owned(),
            version: version.to_owned(),
            architecture: architecture.to_owned(),
            archive: Archive::Main,
            filename: filename.to_owned(),
            sha256: "0".repeat(64),
            size: 1,
        }
    }

    fn inputs(packages: Vec<Deb>) -> Inputs {
        Inputs {
            resolution: Resolution {
                suite: "bookworm".to_owned(),
                architecture: "amd64".to_owned(),
                release: String::new(),
                packages,
            },
        }
    }

    #[test]
    fn the_source_is_two_tars_and_the_rest_is_not_fetched() {
        let inputs = inputs(vec![
            deb("bison", "2:3.8", "amd64", "pool/b/bison_3.8_amd64.deb"),
            deb(GLIBC, "2.36-9", SOURCE, "pool/g/glibc_2.36-9.dsc"),
            deb(GLIBC, "2.36-9", SOURCE, "pool/g/glibc_2.36-9.debian.tar.xz"),
            deb(GLIBC, "2.36-9", SOURCE, "pool/g/glibc_2.36.orig.tar.xz"),
            deb(GLIBC, "2.36-9", SOURCE, "pool/g/glibc_2.36.orig.tar.xz.asc"),
        ]);
        assert_eq!(inputs.glibc().unwrap(), "2.36-9");
        assert!(
            inputs
                .source_file(".orig.tar.xz")
                .unwrap()
                .filename
                .ends_with("2.36.orig.tar.xz")
        );
        assert!(inputs.source_file(".tar.xz").is_err(), "two of them");
        let files: Vec<String> = inputs.for_lock().into_iter().map(|input| input.file).collect();
        assert_eq!(files.len(), 3, "{files:?}");
    }

    #[test]
    fn a_lock_of_another_architecture_holds_as_long_as_the_versions_do() {
        let here = inputs(vec![deb("bison", "2:3.8", "arm64", "x_arm64.deb")]).resolution;
        let there = inputs(vec![deb("bison", "2:3.8", "amd64", "x_amd64.deb")]).resolution;
        assert_eq!(same_versions(&here, &there).unwrap(), here);
        let older = inputs(vec![
            deb("bison", "2:3.7", "amd64", "x_amd64.deb"),
            deb("gawk", "1", "amd64", "y_amd64.deb"),
        ]);
        let error = same_versions(&here, &older.resolution).unwrap_err();
        assert!(error.to_string().contains("bison is 2:3.8 now, not 2:3.7"), "{error}");
        assert!(error.to_string().contains("gawk 1 is not there"), "{error}");
    }
}
