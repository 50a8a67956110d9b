//! Parse, resolve, match, exit code. Everything else is in the library.

use std::process::ExitCode;

use clap::Parser;
use xtask::cache::Cache;
use xtask::cli::{CacheVerb, Cli, Global, Verb};
use xtask::cx::Cx;
use xtask::error::{Context, Result};
use xtask::shell::Shell;
use xtask::ui::{Ui, Verbosity};
use xtask::verb::{self, Outcome};
use xtask::workspace;

fn main() -> ExitCode {
    // clap itself exits with 2 on bad usage, and with 0 after --help.
    let cli = Cli::parse();
    let verbosity = match (cli.global.quiet, cli.global.verbose) {
        (true, _) => Verbosity::Quiet,
        (_, true) => Verbosity::Verbose,
        _ => Verbosity::Normal,
    };
    let ui = Ui::new(verbosity);
    let run = |cx: Cx| run(&cx, cli.verb).and_then(|outcome| cx.ui.finish().map(|()| outcome));
    match context(&cli.global, verbosity).and_then(run) {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
        Err(error) => {
            ui.error(&error);
            ExitCode::from(2)
        }
    }
}

fn context(global: &Global, verbosity: Verbosity) -> Result<Cx> {
    let here = std::env::current_dir().context(|| "the current directory is gone")?;
    let cache = match &global.cache_dir {
        // XTASK_CACHE_DIR="" is as good as unset.
        Some(dir) if !dir.as_os_str().is_empty() => std::path::absolute(dir)?,
        _ => Cache::default_root()?,
    };
    Ok(Cx {
        shell: Shell::new(verbosity == Verbosity::Verbose),
        ui: Ui::new(verbosity),
        cache: Cache::at(cache),
        root: workspace::find_root(&here)?,
        offline: global.offline,
    })
}

fn run(cx: &Cx, verb: Verb) -> Result<Outcome> {
    match verb {
        Verb::Image(args) => verb::image::run(cx, &args),
        Verb::Push(args) => verb::push::run(cx, &args),
        Verb::Size(args) => verb::size::run(cx, &args),
        Verb::Base(base) => verb::base::run(cx, &base),
        Verb::Builder(verb) => verb::builder::run(cx, &verb),
        Verb::Run(args) => verb::run::run(cx, &args),
        Verb::Boot(args) => verb::boot::run(cx, &args),
        Verb::Audit(args) => verb::audit::run(cx, &args),
        Verb::Plan(args) => verb::plan::run(cx, &args),
        Verb::Ci(args) => verb::ci::run(cx, &args),
        Verb::Verify(args) => verb::verify::run(cx, &args),
        Verb::Test(args) => verb::test::run(cx, &args),
        Verb::Bench(args) => verb::bench::run(cx, &args),
        Verb::Doctor(args) => verb::doctor::run(cx, &args),
        Verb::Setup => verb::setup::run(cx),
        Verb::Cache(CacheVerb::List { json }) => verb::cache::list(cx, json),
        Verb::Cache(CacheVerb::Prune { older_than }) => verb::cache::prune(cx, older_than),
    }
}
