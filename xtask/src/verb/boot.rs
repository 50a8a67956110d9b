//! `cargo xtask boot`: the image on an emulated Pi Zero, and with `--check` through a power cut.

use std::time::Duration;

use serde_json::json;
use signal_hook::consts::{SIGHUP, SIGINT, SIGTERM};
use signal_hook::iterator::Signals;

use super::run::{environment, image_source, make_if_missing, service};
use crate::boot::{self, BootOptions, Figures, KernelOptions, Problem};
use crate::cli::BootArgs;
use crate::cx::Cx;
use crate::error::{Context, Result};
use crate::run::{ImageSource, STOP_LIMIT};
use crate::shell::signals::hold;
use crate::verb::{Outcome, policy};

/// Runs the verb.
pub fn run(cx: &Cx, args: &BootArgs) -> Result<Outcome> {
    let policy = policy(cx)?;
    let port = args.port.unwrap_or(if args.check { 0 } else { 8080 });
    let admin_port = args
        .admin_port
        .or(if port == 0 { Some(0) } else { policy.image.admin_port });
    let options = BootOptions {
        service: service(&policy.image),
        policy: policy.boot,
        kernel: KernelOptions {
            mirror: args.debian_mirror.as_deref(),
            refresh: args.refresh,
        },
        port,
        admin_port: admin_port.unwrap_or(0),
        fresh: args.fresh,
        env: environment(&args.env)?,
        args: args.args.clone(),
        wait: Duration::from_secs(args.wait),
        echo: true,
    };
    if !make_if_missing(cx, args.base, args.platform)? {
        return Ok(Outcome::Findings);
    }
    let image = image_source(cx, args.base, args.platform)?;
    let mut signals = Signals::new([SIGINT, SIGTERM, SIGHUP]).context(|| "cannot listen for signals")?;
    let _hold = hold();
    let mut interrupted = move || signals.pending().next().is_some();
    if args.check {
        return check(cx, args, &image, &options, &mut interrupted);
    }
    let (mut machine, figures) = match boot::boot(cx, &image, &options, &mut interrupted)? {
        Ok(booted) => booted,
        Err(problem) => return Ok(tell(cx, &problem)),
    };
    show(cx, "Answering", &figures);
    if figures.admin_url != figures.url {
        cx.ui.step("Owner", &figures.admin_url);
    }
    cx.ui.step("Serving", "Ctrl-C stops it");
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&figures)?);
    } else {
        cx.ui.result(&figures.url);
    }
    while !interrupted() {
        if let Some(problem) = boot::halted_later(cx, &mut machine)? {
            return Ok(tell(cx, &problem));
        }
        std::thread::sleep(Duration::from_millis(50));
    }
    cx.ui.step("Stopping", "the server; Ctrl-C again cuts the power");
    match machine.stop(STOP_LIMIT, &mut interrupted)? {
        Some(ended) => cx.ui.step("Stopped", &format!("the server {ended}")),
        None => cx
            .ui
            .warn("the server did not stop when asked to, and the power was cut"),
    }
    Ok(Outcome::Fine)
}

fn check(
    cx: &Cx,
    args: &BootArgs,
    image: &ImageSource,
    options: &BootOptions<'_>,
    interrupted: &mut dyn FnMut() -> bool,
) -> Result<Outcome> {
    let checked = match boot::check(cx, image, options, interrupted)? {
        Ok(checked) => checked,
        Err(problem) => return Ok(tell(cx, &problem)),
    };
    show(cx, "Answering", &checked.after);
    cx.ui.step(
        "Found",
        &format!(
            "the post after the power cut; asked to stop, the server {}",
            checked.stopped
        ),
    );
    if args.json {
        cx.ui.result(&serde_json::to_string_pretty(&json!(checked))?);
    } else {
        cx.ui.result(&format!(
            "{}@{}: an acknowledged post survived a power cut on the ARM1176",
            image.name, image.manifest
        ));
    }
    Ok(Outcome::Fine)
}

fn show(cx: &Cx, verb: &str, figures: &Figures) {
    cx.ui.step(
        verb,
        &format!(
            "{:.1} s after switching on: {:.1} s until process 1, {:.1} s from the start of the server; {} resident",
            figures.answer_seconds,
            figures.boot_seconds,
            figures.server_seconds,
            crate::ui::bytes(figures.rss),
        ),
    );
    cx.ui.step(
        "Processor",
        &format!(
            "part {} (ARM1176), {} for Linux {}, QEMU {}",
            figures.cpu_part,
            crate::ui::bytes(figures.memory_kib * 1024),
            figures.kernel,
            figures.qemu
        ),
    );
}

fn tell(cx: &Cx, problem: &Problem) -> Outcome {
    match problem {
        Problem::Interrupted => {
            cx.ui.step("Stopped", "before the server answered");
            Outcome::Fine
        }
        Problem::Image(error) => {
            cx.ui.error(error);
            Outcome::Findings
        }
    }
}
