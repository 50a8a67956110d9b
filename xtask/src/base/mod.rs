//! Base images: where they come from.
//!
//! `scratch` is nothing. `debian` is put together from Debian's archive: [`sources`] finds the mirror, [`apt`] resolves and
//! fetches (signature checked), [`crate::deb`] reads packages, [`rootfs`] makes one tree of them, [`debian`] packs and caches it.

use std::collections::BTreeMap;

use serde_json::json;

use crate::cx::Cx;
use crate::error::{Error, Result};
use crate::oci::image::{BaseImage, Package};
use crate::policy::DebianPolicy;
use crate::target::{Base, Platform};

pub mod apt;
pub mod debian;
pub mod exclude;
pub mod found;
pub mod raspbian;
pub mod rootfs;
pub mod sources;

/// A base image with what is known of its files.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What images are assembled on.
    pub image: BaseImage,
    /// The package of each file and link, by path: for naming the origin of an ELF file that is audited.
    pub owners: BTreeMap<String, String>,
}

/// The base image `base` for `platform`; `policy` and `options` concern `debian` alone.
pub fn resolve(
    cx: &Cx,
    base: Base,
    platform: Platform,
    policy: &DebianPolicy,
    options: debian::Options<'_>,
) -> Result<Resolved> {
    match base {
        Base::Scratch => Ok(Resolved {
            image: BaseImage::scratch(),
            owners: BTreeMap::new(),
        }),
        Base::Alpine | Base::Raspbian => Err(Error::new(format!("no source of {base} is known yet"))),
        Base::Debian => {
            let debian = debian::build(cx, platform, policy, options)?;
            let package = |deb: apt::Deb| Package {
                name: deb.name,
                version: deb.version,
                architecture: deb.architecture,
            };
            Ok(Resolved {
                image: BaseImage {
                    layers: vec![debian.layer],
                    config: json!({"config": {"Env": [PATH]}}),
                    origin: debian.origin,
                    packages: debian.packages.into_iter().map(package).collect(),
                    glibc: Some(debian.glibc),
                },
                owners: debian.owners,
            })
        }
    }
}

const PATH: &str = "PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";
