//! Credentials as the user's files, helpers and variables say them. The environment belongs to the whole process, so each case
//! asks a process of its own: this test program, with one test.

use std::path::Path;

use xtask::oci::Reference;
use xtask::registry::{Credential, Places};
use xtask::shell::Shell;

use crate::http::cx;

const ASKED: &str = "XTASK_TEST_REFERENCE";

/// The other process: prints what it finds, with secrets exposed on purpose.
#[test]
#[allow(clippy::print_stdout)]
fn the_asked_process() {
    let Ok(asked) = std::env::var(ASKED) else { return };
    let dir = tempfile::tempdir().unwrap();
    let reference: Reference = asked.parse().unwrap();
    let found = Places::from_environment().find(&cx(dir.path()), &reference);
    let line = match &found {
        Ok(None) => "nothing".to_owned(),
        Ok(Some(Credential::Password { user, password })) => format!("{user}:{}", password.expose()),
        Ok(Some(Credential::Identity(token))) => format!("identity {}", token.expose()),
        Ok(Some(Credential::Registry(token))) => format!("registry {}", token.expose()),
        Err(error) => format!("error {error}"),
    };
    assert!(!format!("{found:?}").contains("s3cret"), "Debug shows a secret");
    println!("found={line}=");
}

/// What is found for `reference` with this home and these variables.
fn ask(home: &Path, reference: &str, variables: &[(&str, &str)]) -> String {
    let path = format!("{}:/usr/bin:/bin", home.join("bin").display());
    let mut command = Shell::new(false)
        .command(std::env::current_exe().unwrap())
        .args(["--exact", "registry::environment::the_asked_process", "--nocapture"])
        .env_clear()
        .env("HOME", home)
        .env("PATH", path)
        .env(ASKED, reference);
    for (name, value) in variables {
        command = command.env(name, value);
    }
    let text = command.read().unwrap();
    let (_, found) = text.split_once("found=").expect(&text);
    found.split_once('=').unwrap().0.to_owned()
}

fn write(file: &Path, text: &str) {
    std::fs::create_dir_all(file.parent().unwrap()).unwrap();
    std::fs::write(file, text).unwrap();
}

/// A credential helper that knows two registries and writes down how it was started.
fn helper(home: &Path) {
    use std::os::unix::fs::PermissionsExt;
    let file = home.join("bin/docker-credential-test");
    let script = r#"#!/bin/sh
read key
echo "$0 $*" >> "$HOME/started"
case "$key" in
    https://index.docker.io/v1/) echo '{"ServerURL":"x","Username":"hubber","Secret":"s3cret-hub"}' ;;
    ghcr.io) echo '{"ServerURL":"x","Username":"<token>","Secret":"s3cret-id"}' ;;
    broken.example) echo 's3cret is in the log' >&2; exit 1 ;;
    *) echo 'credentials not found in native keychain'; exit 1 ;;
esac
"#;
    write(&file, script);
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o755)).unwrap();
}

#[test]
fn dockers_config_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    assert_eq!(ask(home, "alpine", &[]), "nothing");
    // me:s3cret, you:s3cret:with:colons
    let config = r#"{
        "auths": {
            "https://index.docker.io/v1/": {"auth": "bWU6czNjcmV0"},
            "https://ghcr.io": {"auth": "eW91OnMzY3JldDp3aXRoOmNvbG9ucw=="},
            "plain.example:5000": {"username": "them", "password": "s3cret"},
            "id.example": {"auth": "bWU6czNjcmV0", "identitytoken": "s3cret-id"},
            "empty.example": {},
            "odd.example": {"auth": "%%%s3cret"}
        },
        "HttpHeaders": {"User-Agent": "x"}
    }"#;
    write(&home.join(".docker/config.json"), config);
    for (reference, expected) in [
        ("alpine", "me:s3cret"),
        ("docker.io/me/x", "me:s3cret"),
        ("ghcr.io/a/b", "you:s3cret:with:colons"),
        ("plain.example:5000/x", "them:s3cret"),
        ("plain.example/x", "nothing"),
        ("id.example/x", "identity s3cret-id"),
        ("empty.example/x", "nothing"),
        ("other.example/x", "nothing"),
    ] {
        assert_eq!(ask(home, reference, &[]), expected, "{reference}");
    }
    let error = ask(home, "odd.example/x", &[]);
    assert!(
        error.starts_with("error") && error.contains("odd.example") && !error.contains("s3cret"),
        "{error}"
    );
    // Another directory, as in CI.
    write(
        &home.join("ci/config.json"),
        r#"{"auths":{"docker.io":{"auth":"Y2k6czNjcmV0"}}}"#,
    );
    let ci = home.join("ci");
    assert_eq!(
        ask(home, "alpine", &[("DOCKER_CONFIG", ci.to_str().unwrap())]),
        "ci:s3cret"
    );
    // Variables come first, and are for one registry alone.
    let variables = [("XTASK_REGISTRY_USER", "env"), ("XTASK_REGISTRY_PASSWORD", "s3cret")];
    assert_eq!(ask(home, "alpine", &variables), "env:s3cret");
    assert_eq!(ask(home, "ghcr.io/a/b", &variables), "you:s3cret:with:colons");
    let ghcr = [variables[0], variables[1], ("XTASK_REGISTRY", "ghcr.io")];
    assert_eq!(ask(home, "ghcr.io/a/b", &ghcr), "env:s3cret");
    assert_eq!(ask(home, "alpine", &ghcr), "me:s3cret");
    // Damage is named without what is in it.
    write(
        &home.join(".docker/config.json"),
        r#"{"auths": {"docker.io": {"auth": "s3cret"#,
    );
    let error = ask(home, "alpine", &[]);
    assert!(
        error.contains("config.json is not what Docker or Podman write (line 1") && !error.contains("s3cret"),
        "{error}"
    );
}

#[test]
fn podmans_file_is_read() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    let auths = |user: &str| {
        use base64::Engine as _;
        let auth = base64::prelude::BASE64_STANDARD.encode(format!("{user}:s3cret"));
        format!(r#"{{"auths":{{"quay.io/org/team":{{"auth":"{auth}"}},"quay.io":{{"auth":"b3RoZXI6czNjcmV0"}}}}}}"#)
    };
    write(&home.join(".config/containers/auth.json"), &auths("config"));
    assert_eq!(ask(home, "quay.io/org/team/x", &[]), "config:s3cret");
    assert_eq!(ask(home, "quay.io/org/team", &[]), "config:s3cret");
    assert_eq!(ask(home, "quay.io/org/teammate", &[]), "other:s3cret");
    write(&home.join("run/containers/auth.json"), &auths("run"));
    let run = home.join("run");
    let runtime = ("XDG_RUNTIME_DIR", run.to_str().unwrap());
    assert_eq!(ask(home, "quay.io/org/team/x", &[runtime]), "run:s3cret");
    write(&home.join("named.json"), &auths("named"));
    let named = home.join("named.json");
    let file = ("REGISTRY_AUTH_FILE", named.to_str().unwrap());
    assert_eq!(ask(home, "quay.io/org/team/x", &[runtime, file]), "named:s3cret");
}

#[test]
fn credential_helpers_are_asked() {
    let dir = tempfile::tempdir().unwrap();
    let home = dir.path();
    helper(home);
    let config = home.join(".docker/config.json");
    write(
        &config,
        r#"{"credsStore": "test", "auths": {"https://index.docker.io/v1/": {}, "own.example": {"auth": "bWU6czNjcmV0"}}}"#,
    );
    assert_eq!(ask(home, "alpine", &[]), "hubber:s3cret-hub");
    assert_eq!(ask(home, "ghcr.io/x", &[]), "identity s3cret-id");
    assert_eq!(
        ask(home, "own.example/x", &[]),
        "me:s3cret",
        "the helper does not know it, the file does"
    );
    let error = ask(home, "broken.example/x", &[]);
    assert!(
        error.contains("`docker-credential-test get` failed for broken.example"),
        "{error}"
    );
    assert!(!error.contains("s3cret"), "{error}");
    // One for a registry goes before the one for all; and one that is not installed is done without.
    write(
        &config,
        r#"{"credsStore": "missing", "credHelpers": {"ghcr.io": "test", "evil.example": "../../bin/sh"}}"#,
    );
    assert_eq!(ask(home, "ghcr.io/x", &[]), "identity s3cret-id");
    assert_eq!(ask(home, "alpine", &[]), "nothing");
    let error = ask(home, "evil.example/x", &[]);
    assert!(error.contains("names a helper that cannot be a program"), "{error}");
    // Nothing but `get` is ever on the command line.
    let started = std::fs::read_to_string(home.join("started")).unwrap();
    assert!(
        started.lines().count() > 3 && started.lines().all(|line| line.ends_with("docker-credential-test get")),
        "{started}"
    );
}
