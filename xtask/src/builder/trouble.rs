//! What builders say when something outside went wrong, and the next step. Pure.

/// The next step for what a build or the engine said last; `None` when it is the build's own matter.
pub fn next_step(said: &str) -> Option<&'static str> {
    let said = said.to_lowercase();
    let any = |words: &[&str]| words.iter().any(|word| said.contains(word));
    if any(&["no space left on device", "disk quota exceeded"]) {
        return Some(
            "the engine's disk is full: `cargo xtask builder prune` removes old builders, `docker system df` says what else is there; \
             the caches are as they were",
        );
    }
    if any(&["certificate", "ssl error", "self-signed", "tls handshake", "x509"]) {
        return Some(
            "the builder does not trust who answers: SSL_CERT_FILE=FILE names the certificates (PEM) of an authority in between, \
             such as a company's proxy",
        );
    }
    let network = [
        "could not resolve",
        "couldn't resolve",
        "temporary failure resolving",
        "temporary failure in name resolution",
        "network is unreachable",
        "failed to connect",
        "couldn't connect",
        "could not connect",
        "connection timed out",
        "connection refused",
        "operation timed out",
        "dns error",
        "name or service not known",
        "proxy",
    ];
    if any(&network) {
        return Some(
            "the container does not get out: are https_proxy and http_proxy right for it, and does `docker run --rm IMAGE` have a \
             network? The caches are as they were; run again",
        );
    }
    None
}

#[cfg(test)]
mod tests {
    use super::next_step;

    #[test]
    fn causes_are_told_apart() {
        let hint = |said| next_step(said).unwrap_or_default();
        assert!(hint("write /cache/x: No space left on device (os error 28)").contains("prune"));
        assert!(hint("[60] SSL peer certificate or SSH remote key was not OK").contains("SSL_CERT_FILE"));
        assert!(hint("x509: certificate signed by unknown authority").contains("SSL_CERT_FILE"));
        assert!(hint("[6] Could not resolve hostname (Could not resolve host: index)").contains("https_proxy"));
        assert_eq!(next_step("error[E0425]: cannot find value `x`"), None);
    }
}
