//! Signals that ask us to stop. Process groups that work for us end with us, by the same signal; who holds something that is no
//! process of ours, a container say, cleans up first. At all other times a signal does what it always does.

use std::collections::BTreeSet;
use std::fs;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};

use rustix::process::{Pid, Signal, kill_process_group};

use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;
use signal_hook::low_level::emulate_default_handler;
use tokio::sync::Notify;

use crate::error::Error;

/// How many wait for a signal. A handler cannot be taken away again, so it has to know.
static WAITING: AtomicUsize = AtomicUsize::new(0);

/// Process groups that are to end with us, by the id of their leader.
static GROUPS: Mutex<BTreeSet<i32>> = Mutex::new(BTreeSet::new());

fn groups() -> MutexGuard<'static, BTreeSet<i32>> {
    GROUPS.lock().unwrap_or_else(PoisonError::into_inner)
}

/// A child that leads a process group, which ends with us for as long as this lives.
#[derive(Debug)]
pub struct Group(i32);

impl Group {
    /// Takes in what `start` starts as the leader of a group, and `id` tells the id of. Ctrl-C in a terminal goes to the group in
    /// front, which is ours: it is passed on.
    ///
    /// # Errors
    /// Those of `start`.
    pub fn of<T>(
        start: impl FnOnce() -> std::io::Result<T>,
        id: impl FnOnce(&T) -> u32,
    ) -> std::io::Result<(T, Group)> {
        listener();
        // A signal that arrives now waits until the group is known.
        let mut groups = groups();
        let started = start()?;
        let id = id(&started).cast_signed();
        groups.insert(id);
        Ok((started, Group(id)))
    }
}

impl Drop for Group {
    fn drop(&mut self) {
        groups().remove(&self.0);
    }
}

/// Passes a signal on to every group. Whoever waits for one goes no further while the result lives, and so does not take its end
/// for a failure of its own.
fn pass_on(signal: i32) -> MutexGuard<'static, BTreeSet<i32>> {
    let groups = groups();
    for id in groups.iter() {
        if let (Some(id), Some(signal)) = (Pid::from_raw(*id), Signal::from_named_raw(signal)) {
            // It may have ended by itself.
            let _ = kill_process_group(id, signal);
        }
    }
    groups
}

/// Those of our signals that are not ignored: `nohup` and shells that start something in the background mean what they say. By the
/// mask SigIgn of proc_pid_status(5).
fn wanted() -> impl Iterator<Item = i32> {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let mask = status.lines().find_map(|line| line.strip_prefix("SigIgn:"));
    let ignored = mask
        .and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok())
        .unwrap_or(0);
    [SIGHUP, SIGINT, SIGTERM]
        .into_iter()
        .filter(move |signal| ignored & (1 << (signal - 1)) == 0)
}

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
        let mut signals = Signals::new(wanted()).ok()?;
        let notify: &'static Notify = Box::leak(Box::new(Notify::new()));
        std::thread::spawn(move || {
            for signal in signals.forever() {
                let _still = pass_on(signal);
                match WAITING.load(Ordering::SeqCst) {
                    0 => drop(emulate_default_handler(signal)),
                    _ => notify.notify_one(),
                }
            }
        });
        Some(notify)
    })
}
