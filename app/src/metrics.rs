//! What the owner may know of the running blog: counts, sizes and times. Nothing about any reader.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;

/// Counted since the start.
#[derive(Debug)]
pub struct Metrics {
    started: Instant,
    /// Responses by the first digit of their status, 1 to 5.
    responses: [AtomicU64; 5],
}

impl Default for Metrics {
    fn default() -> Self {
        Self {
            started: Instant::now(),
            responses: Default::default(),
        }
    }
}

impl Metrics {
    /// One more response with this status.
    pub fn count(&self, status: u16) {
        let class = usize::from(status / 100).clamp(1, 5) - 1;
        self.responses[class].fetch_add(1, Ordering::Relaxed);
    }

    /// By class: `(2, 17)` are 17 responses with 2xx.
    pub fn responses(&self) -> impl Iterator<Item = (usize, u64)> {
        let counts = self.responses.iter().enumerate();
        counts.map(|(class, count)| (class + 1, count.load(Ordering::Relaxed)))
    }

    pub fn uptime_seconds(&self) -> u64 {
        self.started.elapsed().as_secs()
    }
}

/// Resident memory of this process in bytes, as the kernel says.
pub fn resident_bytes() -> Option<u64> {
    let status = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"))?;
    let kib: u64 = line.split_whitespace().next()?.parse().ok()?;
    Some(kib * 1024)
}
