//! Ctrl-C while an engine works for us: the work is stopped first. At all other times a signal does what it always does.

use std::sync::OnceLock;
use std::sync::atomic::{AtomicUsize, Ordering};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::sync::Notify;

use crate::error::Error;

/// How many wait for a signal. A handler cannot be taken away again, so it has to know.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// See [`hold`].
#[derive(Debug)]
pub struct Hold(());

/// While the result lives, a signal ends nothing by itself: who holds it cleans up first, and a second signal does not cut that short.
pub fn hold() -> Hold {
    WAITING.fetch_add(1, Ordering::SeqCst);
    listener();
    Hold(())
}

impl Drop for Hold {
    fn drop(&mut self) {
        WAITING.fetch_sub(1, Ordering::SeqCst);
    }
}

/// Waits for a signal that asks us to stop.
pub async fn stopped() -> Error {
    let _hold = hold();
    match listener() {
        Some(signal) => signal.notified().await,
        None => std::future::pending().await,
    }
    Error::new("stopped by a signal; nothing was left running")
        .hint("the caches are kept: the next run goes on from there")
}

/// Started once; `None` when handlers cannot be set, and signals end us as ever.
fn listener() -> Option<&'static Notify> {
    static LISTENER: OnceLock<Option<&'static Notify>> = OnceLock::new();
    *LISTENER.get_or_init(|| {
        let mut signals = Signals::new([SIGHUP, SIGINT, SIGTERM]).ok()?;
        let notify: &'static Notify = Box::leak(Box::new(Notify::new()));
        std::thread::spawn(move || {
            for signal in signals.forever() {
                match WAITING.load(Ordering::SeqCst) {
                    0 => drop(emulate_default_handler(signal)),
                    _ => notify.notify_one(),
                }
            }
        });
        Some(notify)
    })
}
