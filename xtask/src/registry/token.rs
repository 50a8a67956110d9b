//! Tokens: what a challenge asks for is got once and kept until it runs out.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, SystemTime};

use base64::Engine as _;
use serde::Deserialize;
use url::Url;

use super::{Access, Challenge, Credential, Registry, refusal};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::http::{
    Body, HeaderValue, Method, Request, Secret, StatusCode, header, is_loopback, parse, same_origin, shown,
};
use crate::oci::Reference;

/// Longest answer of a token server that is read; tokens have a few kilobytes.
const ANSWER: u64 = 1 << 20;
/// A token's life when the answer does not tell (distribution-spec, token authentication).
const LIFE: u64 = 60;

/// Registry, and the scopes as text.
type Key = (String, String);

/// What was granted in this process.
#[derive(Default)]
pub(super) struct Grants {
    granted: Mutex<BTreeMap<Key, Granted>>,
    /// Who holds it asks for a token; others wait and take that one.
    asking: Mutex<()>,
}

#[derive(Clone)]
pub(super) struct Granted {
    /// The value of `Authorization`.
    authorization: Secret,
    /// Not used from then on; `None` is for as long as the process lives.
    until: Option<SystemTime>,
}

impl Grants {
    /// What may be sent with a request.
    pub(super) fn get(&self, key: &Key, now: SystemTime) -> Option<Secret> {
        let granted = self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        let found = granted.get(key)?;
        let valid = found.until.is_none_or(|until| now < until);
        valid.then(|| found.authorization.clone())
    }

    /// Another grant than `refused`, which did not do.
    pub(super) fn renew(
        &self,
        key: &Key,
        refused: Option<&Secret>,
        now: SystemTime,
        ask: impl FnOnce() -> Result<Option<Granted>>,
    ) -> Result<Option<Secret>> {
        let _asking = self.asking.lock().unwrap_or_else(PoisonError::into_inner);
        let known = || self.granted.lock().unwrap_or_else(PoisonError::into_inner);
        // Another thread may have asked while this one waited.
        if let Some(found) = self.get(key, now)
            && Some(&found) != refused
        {
            return Ok(Some(found));
        }
        known().remove(key);
        let Some(granted) = ask()? else { return Ok(None) };
        known().insert(key.clone(), granted.clone());
        Ok(Some(granted.authorization))
    }
}

/// `repository:library/alpine:pull`, one for each repository, separated by spaces.
pub(super) fn scopes(access: &[(&Reference, Access)]) -> String {
    let scope = |(reference, access): &(&Reference, Access)| {
        let actions = match access {
            Access::Pull => "pull",
            Access::Push => "pull,push",
        };
        format!("repository:{}:{actions}", reference.repository())
    };
    access.iter().map(scope).collect::<Vec<_>>().join(" ")
}

/// Answers a challenge. `None` when nothing is known that would do.
pub(super) fn grant(
    registry: &Registry,
    cx: &Cx,
    reference: &Reference,
    access: &[(&Reference, Access)],
    asked: &Url,
    challenges: &[Challenge],
) -> Result<Option<Granted>> {
    let credential = registry.places.find(cx, reference)?;
    if let Some(Credential::Registry(token)) = &credential {
        return Ok(Some(Granted {
            authorization: Secret::new(format!("Bearer {}", token.expose())),
            until: None,
        }));
    }
    let bearer = challenges
        .iter()
        .find(|challenge| matches!(challenge, Challenge::Bearer { .. }));
    match (bearer, credential) {
        (
            Some(Challenge::Bearer {
                realm, service, scope, ..
            }),
            credential,
        ) => {
            let realm = parse(realm).context(|| format!("{} names no token server", shown(asked)))?;
            // A password must not go over a wire that everybody reads, unless that is how the registry itself is reached.
            let plain = asked.scheme() == "http" && same_host(asked, &realm);
            if realm.scheme() != "https" && !is_loopback(&realm) && !plain {
                return Err(Error::new(format!(
                    "{} sends for a token to {}, which is not HTTPS",
                    shown(asked),
                    shown(&realm)
                )));
            }
            let scopes = match scopes(access) {
                own if own.is_empty() => scope.clone().unwrap_or_default(),
                own => own,
            };
            let token = ask(
                registry,
                cx,
                reference,
                &realm,
                service.as_deref(),
                &scopes,
                credential.as_ref(),
            )?;
            Ok(Some(token))
        }
        (_, Some(Credential::Password { user, password })) if challenges.contains(&Challenge::Basic) => {
            Ok(Some(Granted {
                authorization: basic(&user, &password),
                until: None,
            }))
        }
        _ => Ok(None),
    }
}

fn same_host(a: &Url, b: &Url) -> bool {
    a.host() == b.host() || same_origin(a, b)
}

fn basic(user: &str, password: &Secret) -> Secret {
    let pair = format!("{user}:{}", password.expose());
    Secret::new(format!("Basic {}", base64::prelude::BASE64_STANDARD.encode(pair)))
}

/// Not `Debug`: it is a secret.
#[derive(Deserialize)]
struct Answer {
    #[serde(default)]
    token: String,
    #[serde(default)]
    access_token: String,
    #[serde(default)]
    expires_in: Option<u64>,
}

/// GET with user and password or with nothing; POST (OAuth2) with an identity token.
fn ask(
    registry: &Registry,
    cx: &Cx,
    reference: &Reference,
    realm: &Url,
    service: Option<&str>,
    scopes: &str,
    credential: Option<&Credential>,
) -> Result<Granted> {
    let request = match credential {
        Some(Credential::Identity(token)) => {
            let mut form = url::form_urlencoded::Serializer::new(String::new());
            form.append_pair("grant_type", "refresh_token")
                .append_pair("client_id", "raspi-image")
                .append_pair("service", service.unwrap_or_default())
                .append_pair("scope", scopes)
                .append_pair("refresh_token", token.expose());
            Request::new(Method::POST, realm.clone())
                .header(
                    header::CONTENT_TYPE,
                    HeaderValue::from_static("application/x-www-form-urlencoded"),
                )
                .body(Body::Bytes(Arc::from(form.finish().into_bytes())))
                // It changes nothing on the server but the number of tokens.
                .repeatable()
        }
        other => {
            let mut url = realm.clone();
            {
                let mut query = url.query_pairs_mut();
                if let Some(service) = service {
                    query.append_pair("service", service);
                }
                for scope in scopes.split_whitespace() {
                    query.append_pair("scope", scope);
                }
            }
            let request = Request::get(url);
            match other {
                Some(Credential::Password { user, password }) => request.authorize(basic(user, password).expose())?,
                _ => request,
            }
        }
    };
    // The life of a token is counted from before it was asked for, and by this clock alone: the server's may be wrong.
    let now = registry.client.timer().now();
    let response = registry.client.send(cx, &request)?;
    let refused = matches!(response.status(), StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN);
    if refused && credential.is_some() {
        let registry = reference.registry();
        return Err(response
            .into_error()
            .context(format!("{registry} does not accept the user or the password"))
            .hint(format!("log in again: `docker login {registry}`")));
    }
    if response.status() != StatusCode::OK {
        return Err(refusal(response, reference));
    }
    let named = || format!("{} does not answer with a token", shown(realm));
    // Without the parser's words: they may quote from a token.
    let answer: Answer = serde_json::from_slice(&response.into_bytes(ANSWER)?).map_err(|_| Error::new(named()))?;
    let token = [answer.token, answer.access_token]
        .into_iter()
        .find(|token| !token.is_empty());
    let token = token.context(named)?;
    let life = Duration::from_secs(answer.expires_in.filter(|life| *life > 0).unwrap_or(LIFE).min(86_400));
    Ok(Granted {
        authorization: Secret::new(format!("Bearer {token}")),
        // A tenth early: it must not run out on its way.
        until: Some(now + life.mul_f64(0.9)),
    })
}
