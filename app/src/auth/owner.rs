//! The signed-in owner as a handler argument: a handler that takes one cannot run for anybody else.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::{FromRequest, HttpRequest, web};

use super::session::{self, Token};
use super::{cookie, csrf};
use crate::db::queries;
use crate::domain::Stamp;
use crate::error::{AppError, GivenBack};
use crate::routes::Form;
use crate::routes::upload::{self, Upload};
use crate::startup::{choice, state};
use crate::words::Choice;

/// How exactly the list of sessions says when one was seen, in seconds: each change is a write to an SD card.
const TOUCH: i64 = 3600;

type Extraction<T> = Pin<Box<dyn Future<Output = Result<T, AppError>>>>;

/// The owner, signed in, and the language of the interface. A reader who asks for an owner's page is sent to sign in.
#[derive(Debug, Clone)]
pub struct Owner(pub Token, pub Choice);

/// Anybody, for pages that only look different to the owner.
#[derive(Debug)]
pub struct Visitor(pub Option<Owner>, pub Choice);

/// A form the owner sent, from one of our pages: session and token are checked before a handler sees it.
#[derive(Debug)]
pub struct OwnerForm {
    pub owner: Owner,
    pub form: Form,
}

/// The same for a form that may bring files: they are stored when the fields before them have shown whose form it is.
#[derive(Debug)]
pub struct OwnerUpload {
    pub owner: Owner,
    pub form: Form,
    pub uploads: Vec<Upload>,
}

async fn owner_of(request: &HttpRequest) -> Result<Option<Owner>, AppError> {
    // Readers send no cookie, so their pages cost no look into the sessions.
    let Some(token) = cookie::read(request, session::COOKIE).and_then(Token::parse) else {
        return Ok(None);
    };
    let state = state(request)?;
    let (hash, now) = (token.hash(), Stamp::now());
    let seen = state
        .db
        .read(move |connection| queries::sessions::seen(connection, &hash, now))
        .await?;
    let Some(seen) = seen else {
        return Ok(None);
    };
    if now.0 - seen.0 >= TOUCH {
        // That it was seen is worth knowing, not worth failing for.
        let touched = state
            .db
            .write(move |connection| queries::sessions::touch(connection, &hash, now));
        if let Err(error) = touched.await {
            tracing::warn!(error = %error, "cannot note that a session was seen");
        }
    }
    Ok(Some(Owner(token, choice(request))))
}

/// What was typed, for the page that says why it was not taken.
fn given_back(request: &HttpRequest, form: &Form, owner: Option<&Owner>) -> GivenBack {
    let text = form.get("body").unwrap_or_default().to_owned();
    // What another site sent is shown, but gets no token of ours, and no button that would send it.
    if text.is_empty() || csrf::is_foreign(request) {
        return GivenBack {
            text,
            ..GivenBack::default()
        };
    }
    let others = form.fields().filter(|(name, _)| !matches!(*name, "body" | "csrf"));
    GivenBack {
        text,
        action: request.path().to_owned(),
        csrf: owner.map(|owner| owner.0.csrf()).unwrap_or_default(),
        fields: others
            .map(|(name, value)| (name.to_owned(), value.to_owned()))
            .collect(),
    }
}

impl FromRequest for Visitor {
    type Error = AppError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { Ok(Self(owner_of(&request).await?, choice(&request))) })
    }
}

impl FromRequest for Owner {
    type Error = AppError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, _: &mut Payload) -> Self::Future {
        let request = request.clone();
        Box::pin(async move { owner_of(&request).await?.ok_or(AppError::SignInFirst) })
    }
}

impl FromRequest for OwnerForm {
    type Error = AppError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        let form = Form::from_request(&request, payload);
        Box::pin(async move {
            // The form first: when the session has run out, the page that says so gives the text back.
            let form = form.await?;
            let Some(owner) = owner_of(&request).await? else {
                return Err(AppError::SignedOut(given_back(&request, &form, None)));
            };
            if !csrf::is_ours(&request, &owner.0.csrf(), form.get("csrf")) {
                return Err(AppError::NotOurForm(given_back(&request, &form, Some(&owner))));
            }
            Ok(Self { owner, form })
        })
    }
}

impl FromRequest for OwnerUpload {
    type Error = AppError;
    type Future = Extraction<Self>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let request = request.clone();
        if !upload::is_multipart(&request) {
            let sent = OwnerForm::from_request(&request, payload);
            return Box::pin(async move {
                let OwnerForm { owner, form } = sent.await?;
                let uploads = Vec::new();
                Ok(Self { owner, form, uploads })
            });
        }
        let payload = web::Payload::from_request(&request, payload);
        Box::pin(async move {
            let payload = payload.await.map_err(|_| AppError::BadRequest)?;
            let owner = owner_of(&request).await?;
            let is_ours = |form: &Form| {
                let token = owner.as_ref().map(|owner| owner.0.csrf());
                token.is_some_and(|token| csrf::is_ours(&request, &token, form.get("csrf")))
            };
            let (form, uploads) = upload::receive(&request, payload, Box::new(is_ours)).await?;
            if !is_ours(&form) {
                let typed = given_back(&request, &form, owner.as_ref());
                return Err(match owner {
                    None => AppError::SignedOut(typed),
                    Some(_) => AppError::NotOurForm(typed),
                });
            }
            let owner = owner.ok_or(AppError::SignInFirst)?;
            Ok(Self { owner, form, uploads })
        })
    }
}
