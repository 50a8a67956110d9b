//! The server: what it shares, what every response carries, and how it stops. `routes::table` has the addresses.

use std::io::ErrorKind;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use actix_web::body::{BoxBody, MessageBody};
use actix_web::dev::{ServiceRequest, ServiceResponse};
use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};
use actix_web::middleware::{self, Next};
use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{App, Error, HttpRequest, HttpServer, web};

use crate::auth::password::{self, NewPassword};
use crate::auth::throttle::Throttle;
use crate::cli::Failure;
use crate::db::Db;
use crate::domain::Zone;
use crate::error::AppError;
use crate::media::Store;
use crate::page_cache::PageCache;
use crate::routes::page::Shell;
use crate::routes::{Form, table};
use crate::settings::{Limits, Settings};
use crate::telemetry;
use crate::words::{Choice, Preference};

/// What handlers share.
#[derive(Debug)]
pub struct AppState {
    pub db: Db,
    pub media: Store,
    pub title: String,
    pub base_url: String,
    pub secure_cookie: bool,
    pub lang: Preference,
    pub zone: Zone,
    pub limits: Limits,
    pub throttle: Throttle,
    /// Answers that are the same for all readers.
    pub pages: PageCache,
}

/// The shared state, for code that has a request but is no handler.
pub fn state(request: &HttpRequest) -> Result<&web::Data<AppState>, AppError> {
    request
        .app_data()
        .ok_or_else(|| AppError::Internal("the server has no state".into()))
}

/// The language that this reader gets.
pub fn choice(request: &HttpRequest) -> Choice {
    let preference = state(request).map_or_else(|_| Preference::default(), |state| state.lang);
    let accept = request.headers().get(header::ACCEPT_LANGUAGE);
    let accept = accept.and_then(|value| value.to_str().ok());
    Choice::new(
        preference,
        Form::parse(request.query_string().as_bytes()).get("lang"),
        accept,
    )
}

/// On every response, errors and redirects too.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not "no-referrer": with it browsers send "Origin: null" with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
];

fn add_headers(headers: &mut HeaderMap) {
    for (name, value) in HEADERS {
        // Images come with a stricter policy of their own.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}

/// Around every handler: turns errors into pages, adds the headers, writes the log line.
async fn finish(
    request: ServiceRequest,
    next: Next<impl MessageBody + 'static>,
) -> Result<ServiceResponse<BoxBody>, Error> {
    let started = Instant::now();
    // Copies: routing needs the request to itself, so no clone of it may be held meanwhile.
    let method = request.method().clone();
    let path = request.path().to_owned();
    let mut response = next.call(request).await?.map_into_boxed_body();

    if let Some(error) = response.response().error() {
        let internal = AppError::Internal("not an error of this program".into());
        let error = error.as_error::<AppError>().unwrap_or(&internal);
        if let AppError::Internal(cause) = error {
            tracing::error!(error = %cause, "request failed");
        }
        let page = error.page(Shell::new(state(response.request())?, None, choice(response.request())));
        response = response.into_response(page);
    }
    add_headers(response.headers_mut());

    // The image's health check asks twice a minute; only a failure is news.
    if path == "/healthz" && response.status().is_success() {
        return Ok(response);
    }
    // No address of the reader, no query, no agent: what is not written cannot be asked for.
    tracing::info!(
        method = method.as_str(),
        path = path.as_str(),
        status = response.status().as_u16(),
        ms = u64::try_from(started.elapsed().as_millis()).unwrap_or(u64::MAX),
        "request"
    );
    Ok(response)
}

/// Runs until a signal asks it to stop.
pub fn serve(settings: Settings) -> Result<(), Failure> {
    telemetry::start();
    for name in &settings.unknown_variables {
        tracing::warn!(
            variable = name.as_str(),
            "this variable is no setting; `blog config` lists all"
        );
    }
    let db = Db::open(&settings.database)?;
    let media = settings.media.open()?;
    make_first_owner(&db, &settings)?;
    let listener = TcpListener::bind(settings.listen).map_err(|error| {
        let hint = match error.kind() {
            ErrorKind::AddrInUse => "another program listens there; choose a port with --listen or BLOG_LISTEN",
            ErrorKind::PermissionDenied => "ports below 1024 need rights; choose one with --listen or BLOG_LISTEN",
            _ => "choose an address of this machine with --listen or BLOG_LISTEN",
        };
        Failure::usage(format!("cannot listen on {}: {error}", settings.listen), hint)
    })?;
    actix_web::rt::System::new().block_on(run(listener, db, media, settings))
}

fn make_first_owner(db: &Db, settings: &Settings) -> Result<(), Failure> {
    if db.has_owner()? {
        return Ok(());
    }
    match &settings.owner_password {
        Some(typed) => {
            let hash = password::hash(&NewPassword::parse(&typed.0)?)?;
            db.set_owner(&hash)?;
            tracing::info!("owner password set from BLOG_OWNER_PASSWORD");
        }
        None => tracing::warn!("nobody can sign in yet: set a password with `blog owner set`"),
    }
    Ok(())
}

async fn run(listener: TcpListener, db: Db, media: Store, settings: Settings) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::fatal(format!("cannot serve: {error}"));
    let address = listener.local_addr().map_err(failed)?;
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // Whoever logs out of a terminal does not stop the blog: a signal that is listened for does not end the process.
    let _hangup = signal(SignalKind::hangup()).map_err(failed)?;

    let limits = settings.limits;
    let state = web::Data::new(AppState {
        db: db.clone(),
        media,
        title: settings.title,
        base_url: settings.base_url,
        secure_cookie: settings.secure_cookie,
        lang: settings.lang,
        zone: settings.zone,
        limits,
        throttle: Throttle::default(),
        pages: PageCache::default(),
    });
    let server = HttpServer::new(move || {
        App::new()
            .app_data(state.clone())
            .wrap(middleware::from_fn(finish))
            .configure(table::register)
    })
    // One core and 512 MB: actix's defaults (a worker per core, 25,600 connections, 512 threads) are for other machines.
    .workers(limits.workers)
    .max_connections(limits.connections)
    .worker_max_blocking_threads(limits.blocking_threads)
    .backlog(64)
    .client_request_timeout(limits.header_time)
    .client_disconnect_timeout(Duration::from_secs(5))
    .keep_alive(limits.keep_alive)
    .shutdown_timeout(limits.stop_time.as_secs())
    .disable_signals()
    .listen(listener)
    .map_err(failed)?
    .run();

    let handle = server.handle();
    actix_web::rt::spawn(async move {
        // Whichever comes first; a second signal changes nothing.
        std::future::poll_fn(|context| {
            if terminate.poll_recv(context).is_ready() || interrupt.poll_recv(context).is_ready() {
                std::task::Poll::Ready(())
            } else {
                std::task::Poll::Pending
            }
        })
        .await;
        tracing::info!("stopping");
        handle.stop(true).await;
    });
    tracing::info!(addr = %address, "listening");
    server.await.map_err(failed)?;
    if let Err(error) = db.checkpoint() {
        tracing::warn!(error = %error, "the write-ahead log stays; the next start reads it");
    }
    tracing::info!("stopped");
    Ok(())
}
