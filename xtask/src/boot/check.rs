//! Whether an acknowledged post survives that the power goes at once.

use std::fs;
use std::time::Duration;

use serde::Serialize;

use super::browser::{Browser, FieldKind};
use super::{BootOptions, Figures, Machine, Place, Problem, boot_at, with_console};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::BootCheck;
use crate::run::{ImageSource, STOP_LIMIT};

/// For one card, which is thrown away.
const PASSWORD: &str = "for one check of a power cut";
/// An emulated Pi checks a password for a while.
const PATIENCE: Duration = Duration::from_secs(120);

/// A check that was passed.
#[derive(Clone, Debug, PartialEq, Serialize)]
pub struct Checked {
    /// The machine that was posted to.
    pub before: Figures,
    /// The machine after the power cut.
    pub after: Figures,
    /// What was posted, and found again.
    pub text: String,
    /// How the second server ended when it was asked to: `ended with status 0`.
    pub stopped: String,
}

/// Boots the image with an empty card, posts, kills the power right after the answer, boots again from the same card, and
/// finds the post. The port of `options` is used twice.
///
/// # Errors
/// As [`super::boot`]; a policy without `[boot.check]`. A lost post is a [`Problem`]; the card and both consoles are kept then.
pub fn check(
    cx: &Cx,
    image: &ImageSource,
    options: &BootOptions<'_>,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<std::result::Result<Checked, Problem>> {
    let pages = options
        .policy
        .check
        .as_ref()
        .context(|| "xtask.toml does not say what a visitor of the server does")
        .hint("write `[boot.check]`: the pages with the forms for the password and for a post")?;
    let mut options = options.clone();
    for (name, value) in pages.env.iter().chain([(&pages.password, &PASSWORD.to_owned())]) {
        options.env.retain(|(other, _)| other != name);
        options.env.push((name.clone(), value.clone()));
    }
    options.fresh = true;
    let text = format!("Written before the power went, on {}", &image.manifest.hex()[..12]);

    let place = Place::new(cx, image, "check.img", "check-before.log")?;
    let (mut machine, before) = match boot_at(cx, image, &options, &place, interrupted)? {
        Ok(booted) => booted,
        Err(problem) => return Ok(Err(problem)),
    };
    cx.ui.step(
        "Posting",
        &format!("as a browser does, {:.1} s after switching on", before.answer_seconds),
    );
    let posted = post(&machine, pages, &text);
    // Before anything else, and before anything is said.
    machine.cut_power()?;
    if let Err(error) = posted {
        let error = error.context("on the Pi Zero, a post could not be made");
        return Ok(Err(Problem::Image(with_console(cx, &machine, error))));
    }
    drop(machine);
    cx.ui.step("Cut", "the power, as soon as the post was acknowledged");

    options.fresh = false;
    let place = Place::new(cx, image, "check.img", "check-after.log")?;
    let (mut machine, after) = match boot_at(cx, image, &options, &place, interrupted)? {
        Ok(booted) => booted,
        Err(problem) => return Ok(Err(problem)),
    };
    if let Err(error) = find(&machine, pages, &text) {
        machine.cut_power()?;
        let error = with_console(cx, &machine, error);
        return Ok(Err(Problem::Image(error.hint(format!(
            "the SD card is kept: {}",
            cx.show(&place.directory.join(place.card))
        )))));
    }
    let stopped = match machine.stop(STOP_LIMIT, interrupted)? {
        Some(ended) => ended.to_string(),
        None => "did not stop when asked to".to_owned(),
    };
    drop(machine);
    let card = place.directory.join(place.card);
    fs::remove_file(&card).context(|| format!("cannot remove {}", card.display()))?;
    Ok(Ok(Checked {
        before,
        after,
        text,
        stopped,
    }))
}

/// Writes where the owner does, reads where everybody does; returns as soon as the server has acknowledged the post.
fn post(machine: &Machine, pages: &BootCheck, text: &str) -> Result<()> {
    let read = Browser::new(machine.port(), PATIENCE).open(&pages.read)?;
    if read.body.contains(text) {
        return Err(Error::new(format!("{} has the post before it was made", pages.read)));
    }
    let mut browser = Browser::new(machine.admin_port(), PATIENCE);
    let page = browser.open(&pages.sign_in)?;
    browser.submit(&page, FieldKind::Password, PASSWORD)?;
    let page = browser.open(&pages.write)?;
    browser.submit(&page, FieldKind::Text, text)?;
    Ok(())
}

fn find(machine: &Machine, pages: &BootCheck, text: &str) -> Result<()> {
    let page = Browser::new(machine.port(), PATIENCE).open(&pages.read)?;
    if page.body.contains(text) {
        return Ok(());
    }
    Err(Error::new(format!(
        "the post is lost: {} does not show `{text}`, which the server had acknowledged before the power cut",
        pages.read
    )))
}
