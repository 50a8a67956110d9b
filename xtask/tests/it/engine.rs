//! Reaching an engine: every transport, over the engine that DOCKER_HOST names or the default socket has.

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use xtask::engine::{Connection, Endpoint, Settings};
use xtask::publish::daemon::Daemon;
use xtask::shell::Shell;

use crate::require::require;

/// The socket of an engine that answers.
fn socket() -> Option<PathBuf> {
    let connection = Connection::from_environment();
    if !require("a Docker engine (DOCKER_HOST)", connection.is_ok()) {
        return None;
    }
    match connection.unwrap().endpoint() {
        Endpoint::Unix(path) => Some(path.clone()),
        other => {
            require(
                &format!("a Docker engine on a socket of this machine, not {other}"),
                false,
            );
            None
        }
    }
}

/// A port of the loopback interface that leads to the engine's socket, until the process ends; with `tls`, through it.
pub fn port(socket: &Path, tls: Option<rustls::ServerConfig>) -> u16 {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let port = listener.local_addr().unwrap().port();
    let socket = socket.to_owned();
    listener.set_nonblocking(true).unwrap();
    let tls = tls.map(|config| tokio_rustls::TlsAcceptor::from(Arc::new(config)));
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .unwrap();
        runtime.block_on(async {
            let listener = tokio::net::TcpListener::from_std(listener).unwrap();
            while let Ok((mut near, _)) = listener.accept().await {
                let (socket, tls) = (socket.clone(), tls.clone());
                tokio::spawn(async move {
                    let mut far = tokio::net::UnixStream::connect(socket).await.unwrap();
                    match tls {
                        None => drop(tokio::io::copy_bidirectional(&mut near, &mut far).await),
                        // A client that does not trust us hangs up.
                        Some(tls) => {
                            if let Ok(mut near) = tls.accept(near).await {
                                drop(tokio::io::copy_bidirectional(&mut near, &mut far).await);
                            }
                        }
                    }
                });
            }
        });
    });
    port
}

/// Asks the engine behind these settings for its version.
fn version(settings: &Settings) -> xtask::error::Result<(String, String)> {
    let engine = Connection::chosen(settings).map(Daemon::over)?.ping()?;
    Ok((engine.version, engine.endpoint))
}

#[test]
fn a_port_and_a_context_lead_to_the_engine() {
    let Some(socket) = socket() else { return };
    let port = port(&socket, None);
    let direct = version(&Settings::from_environment()).unwrap();
    let settings = Settings {
        host: Some(format!("tcp://127.0.0.1:{port}")),
        ..Settings::default()
    };
    let found = version(&settings).unwrap();
    assert_eq!(found, (direct.0.clone(), format!("tcp://127.0.0.1:{port}")));

    let dir = tempfile::tempdir().unwrap();
    // SHA-256 of `drawer`.
    let meta = dir
        .path()
        .join("contexts/meta")
        .join(xtask::oci::Digest::of(b"drawer").hex());
    fs::create_dir_all(&meta).unwrap();
    let text =
        format!(r#"{{"Name":"drawer","Metadata":{{}},"Endpoints":{{"docker":{{"Host":"tcp://127.0.0.1:{port}"}}}}}}"#);
    fs::write(meta.join("meta.json"), text).unwrap();
    fs::write(dir.path().join("config.json"), r#"{"currentContext":"drawer"}"#).unwrap();
    let settings = Settings {
        config: Some(dir.path().to_owned()),
        ..Settings::default()
    };
    assert_eq!(version(&settings).unwrap().0, direct.0);
}

/// Writes ca.pem, cert.pem and key.pem of a client to `dir`, and returns what the server shows for `name`: it wants that client's
/// certificate.
pub fn certificates(dir: &Path, name: &str) -> rustls::ServerConfig {
    let key = rcgen::KeyPair::generate().unwrap();
    let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
    params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let authority = params.self_signed(&key).unwrap();
    let issuer = rcgen::Issuer::new(params, key);
    let signed = |name: &str| {
        let key = rcgen::KeyPair::generate().unwrap();
        let params = rcgen::CertificateParams::new(vec![name.to_owned()]).unwrap();
        (params.signed_by(&key, &issuer).unwrap(), key)
    };
    let (client, client_key) = signed("me");
    fs::write(dir.join("ca.pem"), authority.pem()).unwrap();
    fs::write(dir.join("cert.pem"), client.pem()).unwrap();
    fs::write(dir.join("key.pem"), client_key.serialize_pem()).unwrap();
    let (server, server_key) = signed(name);
    let mut roots = rustls::RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let verifier = rustls::server::WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider))
        .build()
        .unwrap();
    rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_client_cert_verifier(verifier)
        .with_single_cert(
            vec![server.der().clone()],
            PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(server_key.serialize_der())),
        )
        .unwrap()
}

#[test]
fn tls_shows_and_wants_certificates() {
    let Some(socket) = socket() else { return };
    let dir = tempfile::tempdir().unwrap();
    let port = port(&socket, Some(certificates(dir.path(), "127.0.0.1")));
    let settings = |certificates: &Path| Settings {
        host: Some(format!("tcp://127.0.0.1:{port}")),
        tls_verify: true,
        cert_path: Some(certificates.to_owned()),
        ..Settings::default()
    };
    assert!(!version(&settings(dir.path())).unwrap().0.is_empty());
    // Somebody else's certificates: neither side trusts the other.
    let other = tempfile::tempdir().unwrap();
    certificates(other.path(), "127.0.0.1");
    let error = version(&settings(other.path())).unwrap_err();
    assert!(error.next_step().is_some_and(|hint| hint.contains("ca.pem")), "{error}");
    // Without TLS on our side, the port does not speak HTTP.
    let plain = Settings {
        host: Some(format!("tcp://127.0.0.1:{port}")),
        ..Settings::default()
    };
    let error = version(&plain).unwrap_err();
    assert!(
        error.next_step().is_some_and(|hint| hint.contains("DOCKER_TLS_VERIFY")),
        "{error}"
    );
}

/// An `ssh` that logs its arguments and goes nowhere: it runs the command here, with this machine's engine.
pub fn local_ssh(dir: &Path, socket: &Path) {
    let script = format!(
        "#!/bin/sh\necho \"$@\" >>'{}'\nwhile [ \"$1\" != -- ]; do shift; done\nshift 2\n\
         DOCKER_HOST='unix://{}' exec sh -c \"$*\"\n",
        dir.join("log").display(),
        socket.display()
    );
    fs::write(dir.join("ssh"), script).unwrap();
    fs::set_permissions(dir.join("ssh"), fs::Permissions::from_mode(0o755)).unwrap();
}

/// What `doctor` says about the engine behind `ssh://me@drawer:2222`, when ssh is the one in `bin`.
fn doctor(bin: &Path, config: &Path) -> String {
    let path = std::env::var("PATH").unwrap();
    let output = Shell::default()
        .command(env!("CARGO_BIN_EXE_xtask"))
        .args(["--quiet", "doctor", "--json"])
        .current_dir(env!("CARGO_MANIFEST_DIR"))
        .env("PATH", format!("{}:{path}", bin.display()))
        .env("DOCKER_CONFIG", config)
        .env("DOCKER_HOST", "ssh://me@drawer:2222")
        .output()
        .unwrap();
    let items: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("{}", output.error_text()));
    items
        .as_array()
        .unwrap()
        .iter()
        .find(|item| item["what"] == "Docker daemon")
        .unwrap()
        .to_string()
}

#[test]
fn ssh_leads_to_the_engine_as_dockers_client_does_it() {
    let Some(socket) = socket().filter(|_| crate::require::require_program("docker")) else {
        return;
    };
    let dir = tempfile::tempdir().unwrap();
    local_ssh(dir.path(), &socket);
    let found = doctor(dir.path(), dir.path());
    assert!(found.contains("at ssh://me@drawer:2222"), "{found}");
    let log = fs::read_to_string(dir.path().join("log")).unwrap();
    let expected = "-o ConnectTimeout=30 -T -l me -p 2222 -- drawer docker system dial-stdio";
    assert!(log.lines().all(|line| line == expected) && !log.is_empty(), "{log}");

    // What ssh has to say reaches the user.
    fs::write(
        dir.path().join("ssh"),
        "#!/bin/sh\necho 'me@drawer: Permission denied (publickey).' >&2\nexit 255\n",
    )
    .unwrap();
    let found = doctor(dir.path(), dir.path());
    assert!(found.contains("Permission denied (publickey)"), "{found}");
}
