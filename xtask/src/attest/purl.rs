//! Package URLs (purl-spec): how scanners find a component in their databases.

use crate::oci::ImageName;
use crate::oci::image::{Image, Package};

/// Everything but unreserved characters as `%XX`.
fn encode(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for byte in text.bytes() {
        match byte {
            b'a'..=b'z' | b'A'..=b'Z' | b'0'..=b'9' | b'.' | b'-' | b'_' | b'~' => out.push(char::from(byte)),
            _ => out.push_str(&format!("%{byte:02X}")),
        }
    }
    out
}

/// `pkg:TYPE/NAME@VERSION`, without a version where it is empty.
pub fn plain(kind: &str, name: &str, version: &str) -> String {
    let name = name.split('/').map(encode).collect::<Vec<_>>().join("/");
    match version {
        "" => format!("pkg:{kind}/{name}"),
        version => format!("pkg:{kind}/{name}@{}", encode(version)),
    }
}

/// A crate of cargo's default registry.
pub fn krate(name: &str, version: &str) -> String {
    format!("pkg:cargo/{}@{}", encode(name), encode(version))
}

/// The image by the digest of its manifest: `pkg:oci/blog@sha256%3A...?arch=arm&tag=scratch-armv6`.
pub fn image(name: &ImageName, image: &Image) -> String {
    let short = name.name().rsplit('/').next().unwrap_or_default();
    let digest = image.manifest().digest().to_string();
    format!(
        "{}?arch={}&tag={}",
        plain("oci", short, &digest),
        image.platform().architecture(),
        encode(name.tag())
    )
}

/// A package of a distribution: `pkg:deb/debian/libc6@2.41-12?arch=armel&distro=debian-13`.
pub fn package(package: &Package, kind: &str, id: &str, version_id: &str) -> String {
    let distro = match version_id {
        "" => encode(id),
        version => format!("{}-{}", encode(id), encode(version)),
    };
    format!(
        "{}?arch={}&distro={distro}",
        plain(kind, &format!("{id}/{}", package.name), &package.version),
        encode(&package.architecture)
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn versions_are_encoded_as_the_specification_wants_it() {
        assert_eq!(krate("serde", "1.0.219"), "pkg:cargo/serde@1.0.219");
        assert_eq!(plain("generic", "musl", ""), "pkg:generic/musl");
        let libc = Package {
            name: "libstdc++6".into(),
            version: "1:2.36-9+deb12u14".into(),
            architecture: "armhf".into(),
        };
        assert_eq!(
            package(&libc, "deb", "raspbian", "12"),
            "pkg:deb/raspbian/libstdc%2B%2B6@1%3A2.36-9%2Bdeb12u14?arch=armhf&distro=raspbian-12"
        );
        assert!(package(&libc, "deb", "debian", "").ends_with("&distro=debian"));
    }
}
