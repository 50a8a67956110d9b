//! The server: what it shares, how it starts and how it stops. `routes::table` has the addresses.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use actix_web::body::BoxBody;
use actix_web::dev::{Server, ServiceFactory, ServiceRequest, ServiceResponse};
use actix_web::http::header;
use actix_web::rt::signal::unix::{SignalKind, signal};
use actix_web::{App, HttpRequest, HttpServer, middleware, web};

use tokio::sync::Notify;

use crate::auth::password::{self, Cost, NewPassword};
use crate::auth::throttle::Throttle;
use crate::backup;
use crate::cli::Failure;
use crate::clock;
use crate::db::Db;
use crate::domain::Zone;
use crate::envelope;
use crate::error::AppError;
use crate::hosts::Hosts;
use crate::listen::{self, Audience, Bound, SocketFile};
use crate::media::Store;
use crate::metrics::Metrics;
use crate::page_cache::PageCache;
use crate::routes::{Form, table};
use crate::schedule;
use crate::settings::{Limits, Settings};
use crate::telemetry;
use crate::words::{Choice, Preference};

/// After a start on a full disk.
const BETWEEN_TRIES: Duration = Duration::from_secs(2);

/// What handlers share.
#[derive(Debug)]
pub struct AppState {
    pub db: Db,
    pub media: Store,
    pub title: String,
    pub base_url: String,
    pub admin_url: String,
    pub secure_cookie: bool,
    pub password_cost: Cost,
    /// Where backups lie, if this blog makes any.
    pub backups: Option<PathBuf>,
    pub lang: Preference,
    pub zone: Zone,
    pub limits: Limits,
    /// Whether each answer gets a line in the log.
    pub log_requests: bool,
    pub throttle: Throttle,
    /// For tokens of programs that are not known.
    pub token_throttle: Throttle,
    pub metrics: Arc<Metrics>,
    pub hosts: Hosts,
    /// Whom this listener is for.
    pub audience: Audience,
    /// Answers that are the same for all readers of this listener.
    pub pages: PageCache,
    /// Told when a post was given a date.
    pub schedule: Arc<Notify>,
}

/// What all listeners have together.
struct Shared {
    db: Db,
    media: Store,
    throttle: Throttle,
    token_throttle: Throttle,
    metrics: Arc<Metrics>,
    schedule: Arc<Notify>,
}

impl AppState {
    /// What follows a new post: a word when its time is not the clock's, and another look at what is scheduled.
    pub fn post_was_made(&self, id: i64, clock_behind: bool) {
        if clock_behind {
            tracing::warn!(
                post = id,
                "the clock is behind the newest post; the post got that post's time"
            );
        }
        self.schedule.notify_one();
    }

    fn new(settings: &Settings, shared: &Shared, audience: Audience) -> Self {
        Self {
            db: shared.db.clone(),
            media: shared.media.clone(),
            title: settings.title.clone(),
            base_url: settings.base_url.clone(),
            admin_url: settings.admin_url.clone(),
            secure_cookie: settings.secure_cookie,
            password_cost: settings.password_cost,
            backups: settings.backup.to.clone(),
            lang: settings.lang,
            zone: settings.zone,
            limits: settings.limits,
            log_requests: settings.log_requests,
            throttle: shared.throttle.clone(),
            token_throttle: shared.token_throttle.clone(),
            metrics: shared.metrics.clone(),
            hosts: Hosts::new(
                &[&settings.base_url, &settings.admin_url],
                settings.hosts.iter().map(String::as_str),
            ),
            audience,
            pages: PageCache::default(),
            schedule: shared.schedule.clone(),
        }
    }
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

/// Runs until a signal asks it to stop.
pub fn serve(settings: Settings) -> Result<(), Failure> {
    let _log = telemetry::start();
    for name in &settings.unknown_variables {
        tracing::warn!(
            variable = name.as_str(),
            "this variable is no setting; `blog config` lists all"
        );
    }
    let db = Db::open(&settings.database)?;
    let media = settings.media.open()?;
    clock::program_is_past();
    look_into(&db, &settings)?;
    if db.trouble().is_some() {
        come_back(db.clone(), settings.clone());
    }
    if let Some(seconds) = clock::behind() {
        tracing::warn!(
            seconds,
            "the clock of this machine is behind the newest post or the program; set it, or wait until the network does"
        );
    }
    let mut listeners = Vec::new();
    for (key, listen, audience) in settings.listeners() {
        if let Some(bound) = listen::bind(listen, settings.socket_mode, key)? {
            listeners.push((bound, audience));
        }
    }
    backup::timer::start(&settings);
    actix_web::rt::System::new().block_on(run(listeners, db, media, settings))
}

/// What the program wants to know and to have in the database before it begins. On a disk that takes nothing, as much as
/// there is.
fn look_into(db: &Db, settings: &Settings) -> Result<(), Failure> {
    if let Some(newest) = db.newest_post()? {
        clock::is_past(newest.0);
    }
    match make_first_owner(db, settings) {
        Err(failure) if db.trouble().is_some() => {
            tracing::error!(error = failure.message, "nobody can sign in until there is room");
            Ok(())
        }
        other => other,
    }
}

/// Whoever started on a disk that takes nothing is not left to somebody's next look.
fn come_back(db: Db, settings: Settings) {
    std::thread::spawn(move || {
        while db.trouble().is_some() {
            std::thread::sleep(BETWEEN_TRIES);
            if let Err(error) = db.recover_now() {
                tracing::error!(error = %error, "cannot try whether changes are saved again");
            }
        }
        if let Err(failure) = look_into(&db, &settings) {
            tracing::error!(error = failure.message, "the blog is open, but not all of it");
        }
    });
}

fn make_first_owner(db: &Db, settings: &Settings) -> Result<(), Failure> {
    if db.has_owner()? != Some(false) {
        return Ok(());
    }
    match &settings.owner_password {
        Some(typed) => {
            let hash = password::hash(&NewPassword::parse(&typed.0)?, settings.password_cost)?;
            db.set_owner(&hash)?;
            tracing::info!("owner password set from BLOG_OWNER_PASSWORD");
        }
        None => tracing::warn!("nobody can sign in yet: set a password with `blog owner set`"),
    }
    Ok(())
}

async fn run(listeners: Vec<(Bound, Audience)>, db: Db, media: Store, settings: Settings) -> Result<(), Failure> {
    let failed = |error: std::io::Error| Failure::fatal(format!("cannot serve: {error}"));
    let mut terminate = signal(SignalKind::terminate()).map_err(failed)?;
    let mut interrupt = signal(SignalKind::interrupt()).map_err(failed)?;
    // Whoever logs out of a terminal does not stop the blog: a signal that is listened for does not end the process.
    let _hangup = signal(SignalKind::hangup()).map_err(failed)?;

    let schedule = Arc::new(Notify::new());
    actix_web::rt::spawn(schedule::run(db.clone(), schedule.clone()));
    let shared = Shared {
        db: db.clone(),
        media,
        throttle: Throttle::default(),
        token_throttle: Throttle::default(),
        metrics: Arc::default(),
        schedule,
    };
    let (mut servers, mut sockets) = (Vec::new(), Vec::new());
    for (bound, audience) in listeners {
        let state = web::Data::new(AppState::new(&settings, &shared, audience));
        let (server, place, socket) = server(bound, state).map_err(failed)?;
        tracing::info!(addr = place.as_str(), serves = audience.word(), "listening");
        servers.push(server);
        sockets.extend(socket);
    }

    let handles: Vec<_> = servers.iter().map(Server::handle).collect();
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
        let stops: Vec<_> = handles
            .iter()
            .map(|handle| actix_web::rt::spawn(handle.stop(true)))
            .collect();
        for stop in stops {
            let _ = stop.await;
        }
    });
    let running: Vec<_> = servers.into_iter().map(actix_web::rt::spawn).collect();
    for server in running {
        let ended = server.await.map_err(std::io::Error::other).flatten();
        ended.map_err(failed)?;
    }
    drop(sockets);
    if let Err(error) = db.checkpoint() {
        tracing::warn!(error = %error, "the write-ahead log stays; the next start reads it");
    }
    tracing::info!("stopped");
    Ok(())
}

/// What readers are answered with, for whoever asks without a socket: the mirror of `blog export`.
pub fn for_readers(settings: &Settings, db: Db) -> Result<web::Data<AppState>, Failure> {
    let shared = Shared {
        db,
        media: settings.media.open()?,
        throttle: Throttle::default(),
        token_throttle: Throttle::default(),
        metrics: Arc::default(),
        schedule: Arc::default(),
    };
    Ok(web::Data::new(AppState::new(settings, &shared, Audience::Readers)))
}

/// Everything that answers, around a state.
pub fn app(
    state: web::Data<AppState>,
) -> App<
    impl ServiceFactory<
        ServiceRequest,
        Config = (),
        Response = ServiceResponse<BoxBody>,
        Error = actix_web::Error,
        InitError = (),
    >,
> {
    let audience = state.audience;
    App::new()
        .app_data(state)
        .wrap(middleware::from_fn(envelope::around))
        .configure(|config| table::register(config, audience))
}

/// A server for one listener: a worker, connections and threads of its own, so that a crowd of readers leaves the owner's
/// alone. Also says where it listens, and the socket's name if it has one.
fn server(bound: Bound, state: web::Data<AppState>) -> std::io::Result<(Server, String, Option<SocketFile>)> {
    let limits = state.limits;
    let server = HttpServer::new(move || app(state.clone()))
        // One core and 512 MB: actix's defaults (a worker per core, 25,600 connections, 512 threads) are for other machines.
        .workers(limits.workers)
        .max_connections(limits.connections)
        .worker_max_blocking_threads(limits.blocking_threads)
        .backlog(64)
        .client_request_timeout(limits.header_time)
        .client_disconnect_timeout(Duration::from_secs(5))
        .keep_alive(limits.keep_alive)
        .shutdown_timeout(limits.stop_time.as_secs())
        .disable_signals();
    Ok(match bound {
        Bound::Tcp(listener) => {
            // For those who ask and do not listen to the answer; connections get it from their listener. Sockets in the
            // file system have no such option.
            socket2::SockRef::from(&listener).set_tcp_user_timeout(Some(limits.body_time))?;
            let place = listener.local_addr()?.to_string();
            (server.listen(listener)?.run(), place, None)
        }
        Bound::Unix(listener, file) => {
            let place = file.place();
            (server.listen_uds(listener)?.run(), place, Some(file))
        }
    })
}
