//! Who the user is to a registry: from the environment, Docker's config.json, its credential helpers, and Podman's auth.json.
//!
//! The first of these that knows the registry counts:
//!
//! 1. `XTASK_REGISTRY_USER` and `XTASK_REGISTRY_PASSWORD`, for the registry `XTASK_REGISTRY` (`docker.io` if that is not set),
//! 2. the file `REGISTRY_AUTH_FILE`,
//! 3. `config.json` in `DOCKER_CONFIG`, else in `~/.docker`,
//! 4. `$XDG_RUNTIME_DIR/containers/auth.json`, then `~/.config/containers/auth.json`.
//!
//! In a file, `credHelpers` comes before `credsStore` and that before `auths`, as in Docker. A helper is the program
//! `docker-credential-NAME`; it gets the registry on its standard input, so nothing secret is in a process list.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use base64::Engine as _;
use serde::Deserialize;

use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::Secret;
use crate::oci::Reference;
use crate::oci::reference::HUB;

/// What a registry, or its token server, is shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Credential {
    /// User and password, or access token in place of one.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: Secret,
    },
    /// An identity token: exchanged for access tokens by OAuth2 (`docker login` with some registries).
    Identity(Secret),
    /// A token that is sent as it is.
    Registry(Secret),
}

/// Where credentials are looked for.
#[derive(Clone, Debug, Default)]
pub struct Places {
    /// Registry, user and password of the environment.
    pub environment: Option<(String, String, Secret)>,
    /// Files in the shape of Docker's config.json, in their order.
    pub files: Vec<PathBuf>,
}

/// Docker Hub's key in config.json.
const HUB_KEY: &str = "https://index.docker.io/v1/";
/// How a helper says that it is an identity token.
const TOKEN_USER: &str = "<token>";

#[derive(Debug, Default, Deserialize)]
#[serde(rename_all = "camelCase")]
struct ConfigFile {
    #[serde(default)]
    auths: BTreeMap<String, Auth>,
    #[serde(default)]
    creds_store: String,
    #[serde(default)]
    cred_helpers: BTreeMap<String, String>,
}

/// Not `Debug`: it holds secrets.
#[derive(Default, Deserialize)]
struct Auth {
    #[serde(default)]
    auth: String,
    #[serde(default)]
    username: String,
    #[serde(default)]
    password: String,
    #[serde(default)]
    identitytoken: String,
    #[serde(default)]
    registrytoken: String,
}

impl std::fmt::Debug for Auth {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Auth(***)")
    }
}

/// What `docker-credential-NAME get` prints.
#[derive(Deserialize)]
struct Helped {
    #[serde(rename = "Username", default)]
    username: String,
    #[serde(rename = "Secret", default)]
    secret: String,
}

impl Places {
    /// The user's.
    pub fn from_environment() -> Self {
        let get = |name: &str| std::env::var(name).ok().filter(|value| !value.is_empty());
        let path = |name: &str| get(name).map(PathBuf::from);
        let home = std::env::home_dir();
        let environment = get("XTASK_REGISTRY_USER").zip(get("XTASK_REGISTRY_PASSWORD"));
        let docker = path("DOCKER_CONFIG").or_else(|| home.as_ref().map(|home| home.join(".docker")));
        let files = [
            path("REGISTRY_AUTH_FILE"),
            docker.map(|dir| dir.join("config.json")),
            path("XDG_RUNTIME_DIR").map(|dir| dir.join("containers/auth.json")),
            home.map(|home| home.join(".config/containers/auth.json")),
        ];
        Places {
            environment: environment.map(|(user, password)| {
                let registry = get("XTASK_REGISTRY").unwrap_or_else(|| HUB.to_owned());
                (registry, user, Secret::new(password))
            }),
            files: files.into_iter().flatten().collect(),
        }
    }

    /// What is known for a repository; `None` is anonymous.
    pub fn find(&self, cx: &Cx, reference: &Reference) -> Result<Option<Credential>> {
        if let Some((registry, user, password)) = &self.environment
            && host_of(registry) == host_of(reference.registry())
        {
            return Ok(Some(Credential::Password {
                user: user.clone(),
                password: password.clone(),
            }));
        }
        for file in &self.files {
            if let Some(found) = from_file(cx, file, reference)? {
                return Ok(Some(found));
            }
        }
        Ok(None)
    }
}

fn from_file(cx: &Cx, file: &Path, reference: &Reference) -> Result<Option<Credential>> {
    let text = match std::fs::read(file) {
        Ok(text) => text,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(Error::from(error).context(format!("cannot read {}", file.display()))),
    };
    // serde_json's messages quote no values of strings, but they may quote other things: line and column are enough.
    let config: ConfigFile = serde_json::from_slice(&text)
        .map_err(|error| {
            let place = format!("line {}, column {}", error.line(), error.column());
            Error::new(format!(
                "{} is not what Docker or Podman write ({place})",
                file.display()
            ))
        })
        .hint("`docker login` writes it anew")?;
    let host = host_of(reference.registry());
    let helper = config
        .cred_helpers
        .iter()
        .find(|(key, _)| host_of(key) == host)
        .map(|(_, name)| name.as_str())
        .or(Some(config.creds_store.as_str()))
        .filter(|name| !name.is_empty());
    if let Some(name) = helper
        && let Some(found) = from_helper(cx, name, reference, file)?
    {
        return Ok(Some(found));
    }
    // Podman knows keys for a part of a registry: the longest that fits.
    let full = format!("{host}/{}", reference.repository());
    let mut prefixes: Vec<&str> = full.match_indices('/').map(|(at, _)| &full[..at]).collect();
    prefixes.push(&full);
    for prefix in prefixes.into_iter().rev() {
        let fits = |key: &str| match prefix == host {
            true => host_of(key) == host,
            false => key == prefix,
        };
        for (_, auth) in config.auths.iter().filter(|(key, _)| fits(key)) {
            let named = || format!("{}: the entry of {prefix} cannot be read", file.display());
            if let Some(found) = from_auth(auth).context(named)? {
                return Ok(Some(found));
            }
        }
    }
    Ok(None)
}

fn from_auth(auth: &Auth) -> Result<Option<Credential>> {
    if !auth.registrytoken.is_empty() {
        return Ok(Some(Credential::Registry(Secret::new(&auth.registrytoken))));
    }
    if !auth.identitytoken.is_empty() {
        return Ok(Some(Credential::Identity(Secret::new(&auth.identitytoken))));
    }
    let (user, password) = if auth.auth.is_empty() {
        (auth.username.clone(), auth.password.clone())
    } else {
        // Not the decoder's own error: it quotes what it could not decode.
        let wrong = || Error::new("`auth` is not base64 of USER:PASSWORD");
        let bytes = base64::prelude::BASE64_STANDARD
            .decode(auth.auth.trim())
            .map_err(|_| wrong())?;
        let text = String::from_utf8(bytes).map_err(|_| wrong())?;
        let (user, password) = text.split_once(':').ok_or_else(wrong)?;
        // docker once padded with NUL.
        (user.to_owned(), password.trim_end_matches('\0').to_owned())
    };
    Ok((!user.is_empty()).then(|| Credential::Password {
        user,
        password: Secret::new(password),
    }))
}

fn from_helper(cx: &Cx, name: &str, reference: &Reference, file: &Path) -> Result<Option<Credential>> {
    if !name
        .bytes()
        .all(|byte| byte.is_ascii_alphanumeric() || b"._-".contains(&byte))
    {
        return Err(Error::new(format!(
            "{} names a helper that cannot be a program",
            file.display()
        )));
    }
    let program = format!("docker-credential-{name}");
    if cx.shell.which(&program).is_none() {
        // A machine that lost its Docker Desktop can still pull what is public.
        cx.ui.warn(&format!(
            "{program}, which {} names, is not on PATH: going on without it",
            file.display()
        ));
        return Ok(None);
    }
    let key = match reference.registry() {
        HUB => HUB_KEY,
        host => host,
    };
    let output = cx.shell.command(&program).arg("get").stdin_bytes(key).output()?;
    if !output.status.success() {
        // The one way to say "not known" (docker-credential-helpers, credentials/error.go); it comes on stdout.
        let said = output.text();
        if said.contains("credentials not found") {
            return Ok(None);
        }
        return Err(
            Error::new(format!("`{program} get` failed for {key} ({})", output.status))
                .hint("log in again with `docker login`, or take the helper out of Docker's config.json"),
        );
    }
    let helped: Helped = serde_json::from_slice(&output.stdout).map_err(|_| {
        Error::new(format!(
            "`{program} get` does not print what a credential helper prints"
        ))
    })?;
    Ok(match helped.username.as_str() {
        "" => None,
        TOKEN_USER => Some(Credential::Identity(Secret::new(helped.secret))),
        user => Some(Credential::Password {
            user: user.to_owned(),
            password: Secret::new(helped.secret),
        }),
    })
}

/// The host that a key of config.json means: without scheme and path, Docker Hub under one name.
fn host_of(key: &str) -> &str {
    let rest = key.split_once("://").map_or(key, |(_, rest)| rest);
    match rest.split('/').next().unwrap_or_default() {
        "index.docker.io" => HUB,
        host => host,
    }
}
