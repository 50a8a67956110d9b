//! Contexts, as `docker context` keeps them: `contexts/meta/ID/meta.json` and `contexts/tls/ID/docker/`, where ID is the SHA-256
//! of the name (docker/cli, cli/context/store).

use std::fs;
use std::path::Path;

use serde::Deserialize;
use sha2::{Digest, Sha256};

use super::{Endpoint, Settings, Tls, parse};
use crate::error::{Context, Error, Result, redact};

/// Of config.json, what matters here.
#[derive(Debug, Default, Deserialize)]
struct Config {
    #[serde(default, rename = "currentContext")]
    current: String,
}

#[derive(Debug, Deserialize)]
struct Meta {
    #[serde(rename = "Endpoints")]
    endpoints: Endpoints,
}

#[derive(Debug, Deserialize)]
struct Endpoints {
    docker: Option<Docker>,
}

#[derive(Debug, Deserialize)]
struct Docker {
    #[serde(default, rename = "Host")]
    host: String,
    #[serde(default, rename = "SkipTLSVerify")]
    skip_verify: bool,
}

/// The endpoint of the context that is in force, with its name; `None` when that is docker's `default`.
pub(super) fn chosen(settings: &Settings) -> Result<Option<(Endpoint, String)>> {
    let Some(dir) = &settings.config else {
        return Ok(None);
    };
    let name = match &settings.context {
        Some(name) => name.clone(),
        None => current(&dir.join("config.json"))?,
    };
    if name.is_empty() || name == "default" {
        return Ok(None);
    }
    let id: String = Sha256::digest(name.as_bytes())
        .iter()
        .map(|byte| format!("{byte:02x}"))
        .collect();
    let path = dir.join("contexts/meta").join(&id).join("meta.json");
    let named = || format!("the context `{name}` of docker cannot be read from {}", path.display());
    let hint = "`docker context ls` shows those there are; DOCKER_CONTEXT=default is the engine of this machine";
    let text = fs::read(&path).context(named).hint(hint)?;
    let meta: Meta = serde_json::from_slice(&text).context(named).hint(hint)?;
    let docker = meta
        .endpoints
        .docker
        .filter(|docker| !docker.host.is_empty())
        .context(|| format!("the context `{name}` names no Docker engine"))
        .hint(hint)?;
    let certificates = dir.join("contexts/tls").join(&id).join("docker");
    let tls = certificates.join("ca.pem").exists().then(|| Tls::of(&certificates));
    if docker.skip_verify {
        return Err(Error::new(format!(
            "the context `{name}` skips the verification of the engine's certificate"
        ))
        .hint("give it a certificate: `docker context update` with `ca=FILE`; or use ssh://"));
    }
    let endpoint = parse(&docker.host, tls)
        .map_err(|reason| Error::new(format!("the context `{name}`: {}: {reason}", redact(&docker.host))).hint(hint))?;
    Ok(Some((endpoint, name)))
}

/// What `docker context use` chose; empty without a choice.
fn current(path: &Path) -> Result<String> {
    match fs::read(path) {
        Ok(text) => {
            let config: Config = serde_json::from_slice(&text)
                .context(|| format!("{} is not docker's configuration", path.display()))
                .hint("`docker info` says the same, with the line; DOCKER_CONFIG=DIR uses another directory")?;
            Ok(config.current)
        }
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => Ok(String::new()),
        Err(error) => Err(Error::from(error).context(format!("cannot read {}", path.display()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A directory like ~/.docker with one context.
    fn config(name: &str, meta: &str) -> tempfile::TempDir {
        let dir = tempfile::tempdir().unwrap();
        let id: String = Sha256::digest(name.as_bytes())
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect();
        let meta_dir = dir.path().join("contexts/meta").join(&id);
        fs::create_dir_all(&meta_dir).unwrap();
        fs::write(meta_dir.join("meta.json"), meta).unwrap();
        let tls = dir.path().join("contexts/tls").join(&id).join("docker");
        fs::create_dir_all(&tls).unwrap();
        fs::write(tls.join("ca.pem"), "").unwrap();
        dir
    }

    fn settings(dir: &Path, context: Option<&str>) -> Settings {
        Settings {
            config: Some(dir.to_owned()),
            context: context.map(str::to_owned),
            ..Settings::default()
        }
    }

    #[test]
    fn the_context_in_use_is_found_and_default_is_none() {
        let meta =
            r#"{"Name":"pi","Metadata":{},"Endpoints":{"docker":{"Host":"tcp://pi:2376","SkipTLSVerify":false}}}"#;
        let dir = config("pi", meta);
        let dir = dir.path();
        assert!(chosen(&settings(dir, None)).unwrap().is_none());
        let (endpoint, name) = chosen(&settings(dir, Some("pi"))).unwrap().unwrap();
        assert_eq!((endpoint.to_string().as_str(), name.as_str()), ("tcp://pi:2376", "pi"));
        assert!(matches!(endpoint, Endpoint::Tcp { tls: Some(_), .. }));
        fs::write(dir.join("config.json"), r#"{"auths":{},"currentContext":"pi"}"#).unwrap();
        assert!(chosen(&settings(dir, None)).unwrap().is_some());
        assert!(chosen(&settings(dir, Some("default"))).unwrap().is_none());
    }

    #[test]
    fn a_context_that_cannot_be_used_is_an_error_and_not_the_default() {
        let skip = r#"{"Endpoints":{"docker":{"Host":"tcp://pi:2376","SkipTLSVerify":true}}}"#;
        for meta in [
            skip,
            r#"{"Endpoints":{}}"#,
            r#"{"Endpoints":{"docker":{"Host":"what"}}}"#,
            "{",
        ] {
            let dir = config("pi", meta);
            let error = chosen(&settings(dir.path(), Some("pi"))).unwrap_err();
            assert!(
                error.to_string().contains("`pi`") && error.next_step().is_some(),
                "{error}"
            );
        }
        let dir = config("pi", skip);
        let error = chosen(&settings(dir.path(), Some("other"))).unwrap_err();
        assert!(error.next_step().unwrap().contains("docker context ls"), "{error}");
        fs::write(dir.path().join("config.json"), "{").unwrap();
        assert!(
            chosen(&settings(dir.path(), None))
                .unwrap_err()
                .to_string()
                .contains("config.json")
        );
    }
}
