//! `cargo xtask cache list|prune`.

use crate::cx::Cx;
use crate::error::Result;
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

/// Deletes the entries, or those not used for `older_than` days, and what killed runs left. Refused while another run
/// uses the cache: its tools would vanish under it.
pub fn prune(cx: &Cx, older_than: Option<u64>) -> Result<Outcome> {
    let root = cx.cache.root();
    if !root.is_dir() {
        cx.ui.step("Freed", &format!("0 B: there is no {}", root.display()));
        return Ok(Outcome::Fine);
    }
    let _alone = cx.cache.alone()?;
    let mut freed = 0;
    for entry in cx.cache.entries()? {
        // A time in the future, or one that cannot be told, is not old.
        let age = entry.used.and_then(|used| used.elapsed().ok()).unwrap_or_default();
        if older_than.is_none_or(|days| age.as_secs() / 86_400 >= days) {
            cx.cache.remove(&entry.path)?;
            freed += entry.size;
        }
    }
    // Nobody works now, so this is what killed runs left, and locks that nobody holds.
    freed += cx.cache.sweep()?;
    cx.ui.step("Freed", &format!("{} in {}", bytes(freed), root.display()));
    Ok(Outcome::Fine)
}
