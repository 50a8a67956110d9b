//! `--builder auto`: Docker when an engine answers that has the builder or can get what it is made on, else the host.

use super::image::{Wanted, can_be_pulled, find, ready};
use crate::cx::Cx;
use crate::engine::Connection;
use crate::plan::Builder;
use crate::policy::{BuilderChoice, Policy};

/// The builder that is meant, and why, for people; there is no reason to give where it was asked for by name.
pub fn choose(cx: &Cx, policy: &Policy, choice: BuilderChoice) -> (Builder, Option<String>) {
    match choice {
        BuilderChoice::Host => (Builder::Host, None),
        BuilderChoice::Docker => (Builder::Docker, None),
        BuilderChoice::Auto => match docker(cx, policy) {
            Ok(why) => (Builder::Docker, Some(format!("compiling with docker: {why}"))),
            Err(why) => (Builder::Host, Some(format!("compiling on the host: {why}"))),
        },
    }
}

/// What speaks for Docker, or what against. Nothing is fetched and nothing is made.
fn docker(cx: &Cx, policy: &Policy) -> Result<String, String> {
    let wanted = Wanted::read(cx, policy).map_err(|error| error.to_string())?;
    let connection = Connection::from_environment().map_err(|error| error.to_string())?;
    let at = connection.endpoint();
    let failed = |error: crate::error::Error| error.to_string();
    if ready(&connection, &wanted).map_err(failed)?.is_some() {
        return Ok(format!("the engine at {at} has {}", wanted.image()));
    }
    if cx.offline {
        return Err(format!(
            "this run is offline, and the engine at {at} has no {}",
            wanted.image()
        ));
    }
    let base = &wanted.stage.base_image;
    if find(&connection, base).map_err(failed)?.is_some() {
        return Ok(format!("the engine at {at} has {base}, which the builder is made on"));
    }
    match can_be_pulled(&connection, base) {
        true => Ok(format!(
            "the engine at {at} can pull {base}, which the builder is made on"
        )),
        false => Err(format!(
            "the engine at {at} neither has {base} nor can pull it (--builder docker makes it from Debian's archive)"
        )),
    }
}
