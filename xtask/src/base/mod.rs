//! Base images: where they come from.
//!
//! `scratch` is nothing. Every other base has sources, which [`catalogue`] reads from docker/bases.toml; [`chain`] goes through
//! them, and [`lock`] is docker/bases.lock, which says what they gave. What a source gives is a [`found::Found`]:
//!
//! * [`debian`]: packages of Debian's archive. [`sources`] finds the mirror, [`apt`] resolves and fetches (signature
//!   checked), [`crate::deb`] reads packages, [`rootfs`] makes one tree of them.
//! * [`pulled`]: an image of a registry.
//! * [`alpine`]: Alpine's root file system.
//! * [`raspbian`]: packages of Raspbian's archive, or glibc compiled from Debian's source.
//!
//! [`own`] opens what the user gives instead of all that; [`content`] says what is in it.

use std::collections::BTreeMap;

use crate::oci::image::BaseImage;

pub mod alpine;
pub mod apt;
pub mod catalogue;
pub mod chain;
pub mod content;
pub mod debian;
pub mod exclude;
pub mod found;
pub mod installed;
pub mod lock;
pub mod own;
pub mod pulled;
pub mod raspbian;
pub mod rootfs;
pub mod sources;

pub use chain::{Request, resolve};

/// A base image with what is known of its files.
#[derive(Clone, Debug)]
pub struct Resolved {
    /// What images are assembled on.
    pub image: BaseImage,
    /// The package of each file and link, by path: for naming the origin of an ELF file that is audited.
    pub owners: BTreeMap<String, String>,
    /// All that it was made of, with digests; nothing for `scratch`.
    pub inputs: Vec<found::Input>,
}

impl Resolved {
    /// A base as its source gave it.
    fn of(found: found::Found) -> Resolved {
        Resolved {
            image: BaseImage {
                layers: found.layers,
                config: found.config,
                origin: found.origin,
                packages: found.packages,
                glibc: found.glibc,
            },
            owners: found.owners,
            inputs: found.inputs,
        }
    }
}
