//! `cargo xtask cache list|prune`.

use std::fs;
use std::time::{Duration, SystemTime};

use crate::cx::Cx;
use crate::error::{Context, Result};
use crate::ui::bytes;
use crate::verb::Outcome;

/// Prints what is kept: kind, size, name.
pub fn list(cx: &Cx, json: bool) -> Result<Outcome> {
    let entries = cx.cache.entries()?;
    if json {
        cx.ui.result(&serde_json::to_string_pretty(&entries)?);
        return Ok(Outcome::Fine);
    }
    for entry in &entries {
        cx.ui
            .result(&format!("{:<7} {:>10}  {}", entry.kind, bytes(entry.size), entry.name));
    }
    let total = entries.iter().map(|entry| entry.size).sum();
    cx.ui
        .step("Total", &format!("{} in {}", bytes(total), cx.cache.root().display()));
    Ok(Outcome::Fine)
}

/// Deletes the entries, or those last changed or read more than `older_than` days ago, and all work in progress
/// that no run holds.
pub fn prune(cx: &Cx, older_than: Option<u64>) -> Result<Outcome> {
    // Runs hold this lock shared with nobody only while they move something into place; waiting for it keeps a
    // prune from deleting a tree between its check and its use in the same instant.
    let _lock = cx.cache.lock("prune")?;
    let limit = older_than.map(|days| SystemTime::now() - Duration::from_secs(days * 86_400));
    let mut freed = 0;
    for entry in cx.cache.entries()? {
        let data = fs::symlink_metadata(&entry.path).context(|| format!("cannot read {}", entry.path.display()))?;
        let used = data.accessed().or_else(|_| data.modified()).ok();
        if limit.is_some_and(|limit| used.is_some_and(|used| used > limit)) {
            continue;
        }
        let gone = if data.is_dir() {
            fs::remove_dir_all(&entry.path)
        } else {
            fs::remove_file(&entry.path)
        };
        gone.context(|| format!("cannot delete {}", entry.path.display()))?;
        freed += entry.size;
    }
    if older_than.is_none() {
        for name in ["tmp", "damaged", "zig"] {
            let dir = cx.cache.root().join(name);
            if dir.is_dir() {
                fs::remove_dir_all(&dir).context(|| format!("cannot delete {}", dir.display()))?;
            }
        }
    }
    cx.ui
        .step("Freed", &format!("{} in {}", bytes(freed), cx.cache.root().display()));
    Ok(Outcome::Fine)
}
