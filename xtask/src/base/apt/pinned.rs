//! Packages as docker/bases.lock has them.

use super::{Archive, Deb, Resolution};
use crate::base::found::Input;
use crate::base::lock;
use crate::error::{Context, Result};

impl Deb {
    /// The package as the lock writes it.
    pub fn input(&self) -> Input {
        Input {
            name: self.name.clone(),
            version: self.version.clone(),
            architecture: self.architecture.clone(),
            archive: Some(self.archive.name().to_owned()),
            file: self.filename.clone(),
            digest: format!("sha256:{}", self.sha256),
            size: self.size,
        }
    }

    /// The package of a lock's line; `None` for what is no package of Debian's.
    fn of(input: &Input) -> Option<Deb> {
        Some(Deb {
            name: input.name.clone(),
            version: input.version.clone(),
            architecture: input.architecture.clone(),
            archive: input.archive.as_deref().and_then(Archive::from_name)?,
            filename: input.file.clone(),
            sha256: input.digest.strip_prefix("sha256:")?.to_owned(),
            size: input.size,
        })
    }
}

/// What apt decided when the lock was written.
///
/// # Errors
/// A line that is no package of Debian's, by its name.
pub fn locked(suite: &str, architecture: &str, inputs: &[Input]) -> Result<Resolution> {
    let packages = inputs
        .iter()
        .map(|input| Deb::of(input).context(|| format!("{}: {} is not a package of Debian's", lock::FILE, input.name)));
    Ok(Resolution {
        suite: suite.to_owned(),
        architecture: architecture.to_owned(),
        release: String::new(),
        packages: packages.collect::<Result<_>>()?,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_package_comes_back_from_the_lock_as_it_went_in() {
        let deb = Deb {
            name: "libc6".to_owned(),
            version: "2.41-12".to_owned(),
            architecture: "armel".to_owned(),
            archive: Archive::Security,
            filename: "pool/x.deb".to_owned(),
            sha256: "0".repeat(64),
            size: 1,
        };
        let found = locked("trixie", "armel", &[deb.input()]).unwrap();
        assert_eq!(found.packages, vec![deb.clone()]);
        let mut other = deb.input();
        other.archive = Some("elsewhere".to_owned());
        let error = locked("trixie", "armel", &[other]).unwrap_err().to_string();
        assert!(error.contains("libc6"), "{error}");
    }
}
