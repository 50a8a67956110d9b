//! Base images: where they come from.
//!
//! `scratch` is nothing. `debian` is put together from Debian's archive: [`sources`] finds the mirror, [`apt`] resolves and
//! fetches (signature checked), [`deb`] reads packages, [`rootfs`] makes one tree of them, [`debian`] packs and caches it.

pub mod apt;
pub mod deb;
pub mod debian;
pub mod exclude;
pub mod rootfs;
pub mod sources;
