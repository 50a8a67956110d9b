//! `/micropub`: programs that post (W3C Micropub). What they send is read by `crate::micropub`; here it meets the token,
//! the database and the images. Answers are JSON, errors too.

mod address;
mod create;
pub mod media;
mod query;
mod refusal;
mod update;

use std::cell::Cell;

use actix_web::http::StatusCode;
use actix_web::http::header::{self, HeaderName};
use actix_web::{FromRequest, HttpRequest, HttpResponse, web};

use self::address::Addresses;
use self::refusal::Refusal;
use crate::auth::bearer::{self, Program};
use crate::auth::scope::Scope;
use crate::micropub::Request;
use crate::routes::upload::{self, Upload};
use crate::routes::{Answer, Form, form};
use crate::startup::AppState;

/// What a handler here answers with.
type Outcome = Result<HttpResponse, Refusal>;

/// `GET /micropub?q=`
pub async fn get(request: HttpRequest, state: web::Data<AppState>) -> Answer {
    refusal::answer(query::answer(&request, &state).await)
}

/// `POST /micropub`
pub async fn post(request: HttpRequest, state: web::Data<AppState>, payload: web::Payload) -> Answer {
    refusal::answer(act(&request, &state, payload).await)
}

async fn act(request: &HttpRequest, state: &AppState, payload: web::Payload) -> Outcome {
    let sent = Sent::read(request, payload).await?;
    let addresses = Addresses::of(request, state);
    match sent.wanted {
        Request::Create(properties) => {
            sent.program.needs(Scope::Create)?;
            let key = request.headers().get(HeaderName::from_static("idempotency-key"));
            let key = key.map(|key| key.as_bytes().to_vec());
            create::create(state, &addresses, &sent.program, key, &properties, sent.uploads).await
        }
        Request::Update { url, changes } => {
            sent.program.needs(Scope::Update)?;
            update::update(state, &addresses, &url, changes).await
        }
        Request::Delete { url } => {
            sent.program.needs(Scope::Delete)?;
            update::discard(state, &addresses, &url).await
        }
        Request::Undelete { url } => {
            sent.program.needs(Scope::Delete)?;
            update::restore(state, &addresses, &url).await
        }
    }
}

/// A request with its token checked and its body read.
struct Sent {
    program: Program,
    wanted: Request,
    uploads: Vec<Upload>,
}

impl Sent {
    async fn read(request: &HttpRequest, payload: web::Payload) -> Result<Self, Refusal> {
        let kind = form::content_type(request);
        let is_json = kind.eq_ignore_ascii_case("application/json");
        let is_form = kind.eq_ignore_ascii_case("application/x-www-form-urlencoded");
        if is_form {
            // Of a form the token may be a field (RFC 6750, section 2.2).
            let form = Form::from_request(request, &mut payload.into_inner()).await?;
            let program = bearer::program_of(request, form.get("access_token")).await?;
            let fields: Vec<_> = form.fields().collect();
            let wanted = Request::of_fields(&fields)?;
            return Ok(Self {
                program,
                wanted,
                uploads: Vec::new(),
            });
        }
        // Before anything is read: only its owner's programs may send images.
        let program = bearer::program_of(request, None).await?;
        if is_json {
            let body = form::body(request, payload).await?;
            let wanted = Request::of_json(&body)?;
            return Ok(Self {
                program,
                wanted,
                uploads: Vec::new(),
            });
        }
        if !upload::is_multipart(request) {
            return Err(Refusal::Kind);
        }
        let may_upload = program.needs(Scope::Create).and_then(|()| program.needs(Scope::Media));
        // Asked for the first file, if there is one.
        let has_files = Cell::new(false);
        let gate = |_: &Form| {
            has_files.set(true);
            may_upload.is_ok()
        };
        let (form, uploads) = upload::receive(request, payload, Box::new(gate)).await?;
        if has_files.get() {
            may_upload?;
        }
        let fields: Vec<_> = form.fields().collect();
        let wanted = Request::of_fields(&fields)?;
        Ok(Self {
            program,
            wanted,
            uploads,
        })
    }
}

/// An answer without a body.
fn empty(status: StatusCode) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

/// "It is here now."
fn created(location: &str) -> HttpResponse {
    HttpResponse::Created()
        .insert_header((header::LOCATION, location))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .finish()
}

fn json(status: StatusCode, body: String) -> HttpResponse {
    HttpResponse::build(status)
        .insert_header((header::CONTENT_TYPE, "application/json"))
        .insert_header((header::CACHE_CONTROL, "no-store"))
        .body(body)
}
