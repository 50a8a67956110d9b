//! What a registry's "no" means for the user.

use serde::Deserialize;

use crate::error::Error;
use crate::http::{Response, StatusCode, clean};
use crate::oci::Reference;
use crate::oci::reference::HUB;

#[derive(Deserialize)]
struct Errors {
    errors: Vec<One>,
}

#[derive(Deserialize)]
struct One {
    #[serde(default)]
    code: String,
    #[serde(default)]
    message: String,
}

/// The error for an answer that was not hoped for: what the registry says, and what to do.
pub fn refusal(mut response: Response, reference: &Reference) -> Error {
    let (registry, hub) = (reference.registry(), reference.registry() == HUB);
    let limit = response.text_header("ratelimit-limit").map(clean);
    let said = said(&mut response);
    let error = response.describe(&said);
    match response.status() {
        StatusCode::NOT_FOUND => error
            .context(format!("there is no {reference}"))
            .hint("check name and tag; a private repository looks the same until `docker login`"),
        StatusCode::UNAUTHORIZED | StatusCode::FORBIDDEN => {
            error.context(format!("{reference} is refused")).hint(format!(
                "it is private, or it does not exist: check the name, or log in with `docker login{}`",
                if hub { String::new() } else { format!(" {registry}") }
            ))
        }
        StatusCode::TOO_MANY_REQUESTS if hub => {
            let limit = limit.map(|limit| format!(" ({limit})")).unwrap_or_default();
            error.context(format!("Docker Hub's limit is reached{limit}")).hint(
                "without an account Docker Hub allows 100 pulls in 6 hours for an address: `docker login` raises the limit, \
                 and what is in the cache is not pulled again",
            )
        }
        StatusCode::TOO_MANY_REQUESTS => error
            .context(format!("{registry} has had enough requests for now"))
            .hint("wait a while, or log in"),
        _ => error,
    }
}

/// The same without advice: method, address, status, and what the registry says.
pub(super) fn answered(mut response: Response) -> Error {
    let said = said(&mut response);
    response.describe(&said)
}

/// What a registry says in the body of such an answer.
fn said(response: &mut Response) -> String {
    let start = response.start();
    // The bodies of 429 are plain text, those of proxies are pages; only some are the specification's JSON.
    match serde_json::from_slice::<Errors>(&start) {
        Ok(Errors { errors }) => {
            let one = |one: &One| match (one.code.as_str(), one.message.as_str()) {
                (code, "") => code.to_owned(),
                ("", message) => message.to_owned(),
                (code, message) => format!("{code}, {message}"),
            };
            clean(&errors.iter().map(one).collect::<Vec<_>>().join("; "))
        }
        Err(_) => match start.trim_ascii_start().starts_with(b"<") {
            true => String::new(),
            false => clean(&String::from_utf8_lossy(&start)),
        },
    }
}
