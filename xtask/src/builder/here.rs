//! What this machine needs to get out, given to the builder for as long as it runs: certificates, proxies, mirrors.

use std::fs;
use std::path::PathBuf;

use super::source::with_parents;
use crate::error::{Context, Result};
use crate::oci::layer::Entry;

/// Bundles of certificates where distributions have them.
const BUNDLES: [&str; 4] = [
    "/etc/ssl/certs/ca-certificates.crt",
    "/etc/pki/tls/certs/ca-bundle.crt",
    "/etc/ssl/ca-bundle.pem",
    "/etc/ssl/cert.pem",
];

/// Variables that pip, rustup, cargo and apt are configured with, apart from proxies.
const VARIABLES: [&str; 5] = [
    "PIP_EXTRA_INDEX_URL",
    "PIP_INDEX_URL",
    "PIP_TRUSTED_HOST",
    "RUSTUP_DIST_SERVER",
    "RUSTUP_UPDATE_ROOT",
];

/// Certificates and variables.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Here {
    /// PEM.
    certificates: Option<Vec<u8>>,
    /// Lines NAME=VALUE, sorted.
    variables: Vec<String>,
}

impl Here {
    /// What the environment says. `SSL_CERT_FILE` names the certificates, else they are the system's.
    ///
    /// # Errors
    /// When `SSL_CERT_FILE` names something that cannot be read.
    pub fn read(mirror: Option<&str>) -> Result<Here> {
        let named = std::env::var_os("SSL_CERT_FILE").filter(|value| !value.is_empty());
        let certificates = match named.map(PathBuf::from) {
            Some(path) => Some(
                fs::read(&path)
                    .context(|| format!("cannot read the certificates in {}", path.display()))
                    .hint("SSL_CERT_FILE names them, in PEM")?,
            ),
            None => BUNDLES.iter().find_map(|path| fs::read(path).ok()),
        };
        let mut variables: Vec<String> = std::env::vars_os()
            .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
            .filter(|(name, value)| is_wanted(name) && !value.is_empty() && !value.contains('\n'))
            .map(|(name, value)| format!("{name}={value}"))
            .collect();
        if let Some(mirror) = mirror.and_then(|mirror| mirror.split(',').next()) {
            variables.push(format!("DEBIAN_MIRROR={mirror}"));
        }
        variables.sort();
        Ok(Here {
            certificates,
            variables,
        })
    }

    /// Files below `directory` of a tar.
    pub fn entries(&self, directory: &str) -> Vec<Entry> {
        let mut entries = Vec::new();
        if let Some(certificates) = &self.certificates {
            entries.extend(with_parents(
                &format!("{directory}/ca.crt"),
                certificates.clone(),
                0o644,
            ));
        }
        if !self.variables.is_empty() {
            let text = format!("{}\n", self.variables.join("\n"));
            entries.extend(with_parents(&format!("{directory}/env"), text.into_bytes(), 0o600));
        }
        entries
    }

    /// Whether a proxy of this very machine is named: only the network of the host reaches it.
    pub fn has_local_proxy(&self) -> bool {
        self.variables
            .iter()
            .filter_map(|line| line.split_once('='))
            .filter(|(name, _)| is_proxy(name) && !name.eq_ignore_ascii_case("no_proxy"))
            .any(|(_, value)| ["localhost", "127.", "[::1]"].iter().any(|host| value.contains(host)))
    }
}

fn is_proxy(name: &str) -> bool {
    ["http_proxy", "https_proxy", "all_proxy", "no_proxy"]
        .iter()
        .any(|proxy| proxy.eq_ignore_ascii_case(name))
}

fn is_wanted(name: &str) -> bool {
    let cargo = name.starts_with("CARGO_REGISTR") || name.starts_with("CARGO_NET_") || name.starts_with("CARGO_HTTP_");
    is_proxy(name) || VARIABLES.contains(&name) || cargo && name != "CARGO_HTTP_CAINFO"
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_what_leads_out_is_given() {
        for name in ["https_proxy", "NO_PROXY", "PIP_INDEX_URL", "CARGO_NET_RETRY"] {
            assert!(is_wanted(name), "{name}");
        }
        for name in ["HOME", "CARGO_HTTP_CAINFO", "RUSTFLAGS", "CARGO_TARGET_DIR", "PIP_CERT"] {
            assert!(!is_wanted(name), "{name}");
        }
        let here = |line: &str| Here {
            variables: vec![line.to_owned()],
            ..Here::default()
        };
        assert!(here("HTTPS_PROXY=http://127.0.0.1:3128").has_local_proxy());
        assert!(!here("HTTPS_PROXY=http://proxy:3128").has_local_proxy());
        assert!(!here("no_proxy=localhost").has_local_proxy());
        assert_eq!(here("a=b").entries("run/host").len(), 3);
    }
}
