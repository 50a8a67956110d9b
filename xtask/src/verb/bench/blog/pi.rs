//! On the emulated Pi Zero: the image with another program or another volume on top, booted once each.

use std::fs;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use super::super::figures::{Goal, Row, Samples, Unit};
use super::super::{PLATFORM, build, made};
use super::{FRONT, HELLO, PAGES, Page, built, client, database, fetch, native, posts};
use crate::boot::{self, BootOptions, KernelOptions, Machine, Problem};
use crate::compile::link_line_path;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::Entry;
use crate::plan::image_tag;
use crate::run::{ImageSource, Service};
use crate::target::Base;
use crate::verb::policy;

/// As wrk has them on this machine.
const CONNECTIONS: u32 = 8;
/// How long each load is, before and while it counts: few answers get through the emulated network, and the guest knows
/// processor time to 2.5 million instructions.
const WARM: Duration = Duration::from_secs(5);
const WHILE: Duration = Duration::from_secs(30);
/// How long an answer may take.
const PATIENCE: Duration = Duration::from_secs(120);
/// From one post to the next: a prime, so that all come before one comes again.
const STRIDE: u64 = 7_919;
/// Resident memory of the whole process.
const MEMORY: f64 = 8e6;
const PLACE: &str = "Pi Zero";

/// Instructions, memory and the first answer. What cannot be measured is one row that says why.
pub fn measure(cx: &Cx) -> Vec<Row> {
    rows(cx).unwrap_or_else(|error| {
        let note = format!("{error}; {}", error.next_step().unwrap_or_default());
        vec![Row::new(
            format!("{PLACE}: memory, idle"),
            Unit::Bytes,
            None,
            None,
            Some(Goal::Limit(MEMORY)),
            note,
        )]
    })
}

fn rows(cx: &Cx) -> Result<Vec<Row>> {
    cx.ui.step("Compiling", "the blog and hello");
    let (blog, _) = native(cx)?;
    let posts = fs::read(database(cx, &blog)?)?;
    let hello = hello(cx)?;

    let (mut machine, figures) = start(cx, "bench-blog", Extra::Posts(posts))?;
    let first = machine.instructions()?;
    let mut costs = Vec::new();
    for page in &PAGES {
        costs.push(cost(cx, &mut machine, page)?);
    }
    let after = machine.status()?;
    machine.cut_power()?;
    drop(machine);

    let (mut machine, plain) = start(cx, "bench-hello", Extra::Program(hello))?;
    let theirs = cost(cx, &mut machine, &PAGES[0])?;
    let others = machine.status()?;
    machine.cut_power()?;
    drop(machine);

    let how = format!(
        "once: instructions of the server for an answer, the kernel's on its behalf among them, and no time: by the board's clock, which \
         instructions drive; {CONNECTIONS} connections that stay open, {} s after {} s of warming up, one worker, no line in the \
         log for each answer, because the console is a serial line",
        WHILE.as_secs(),
        WARM.as_secs()
    );
    // The goal is that of this machine, the other way round and to a hundredth: here less is better.
    let mut rows: Vec<Row> = PAGES
        .iter()
        .zip(costs)
        .map(|(page, ours)| {
            let goal = (page.path == Some("/")).then_some(Goal::Relative {
                times: (100.0 / FRONT.0).round() / 100.0,
                more: None,
            });
            Row::new(
                format!("{PLACE}: {}", page.what),
                Unit::Instructions,
                Samples::new(vec![ours.instructions]),
                Some(("actix hello", Samples::new(vec![theirs.instructions]))),
                goal,
                format!(
                    "{how}; {} answers and {} of hello; {}",
                    ours.answers, theirs.answers, page.note
                ),
            )
        })
        .collect();
    let row = |what: &str, unit, value: f64, goal, note: &str| {
        let samples = Samples::new(vec![value]);
        Row::new(format!("{PLACE}: {what}"), unit, samples, None, goal, note)
    };
    let goal = Some(Goal::Limit(MEMORY));
    let idle = "VmRSS after the first answer, with 50,000 posts";
    rows.push(row("memory, idle", Unit::Bytes, figures.rss as f64, goal, idle));
    let loaded = "VmRSS";
    rows.push(row(
        "memory, after all loads",
        Unit::Bytes,
        after.rss as f64,
        None,
        loaded,
    ));
    let most = "VmHWM: under all loads above";
    rows.push(row("memory, at most", Unit::Bytes, after.peak_rss as f64, None, most));
    let theirs = "VmRSS after its load";
    rows.push(row("memory of hello", Unit::Bytes, others.rss as f64, None, theirs));
    let start = "from the start of the program to its first answer, the health check's";
    let work = format!("instructions of the server {start}");
    rows.push(row(
        "work until the first answer",
        Unit::Instructions,
        first as f64,
        None,
        &work,
    ));
    let emulated = format!("{start}, in seconds of this machine");
    let seconds = |what: &str, value: f64| row(what, Unit::Seconds, value, None, &emulated);
    rows.push(seconds("first answer", figures.server_seconds));
    rows.push(seconds("first answer of hello", plain.server_seconds));
    Ok(rows)
}

/// What answers cost.
struct Cost {
    /// Instructions for each.
    instructions: f64,
    answers: u64,
}

/// Of one page, once what can be kept is kept.
fn cost(cx: &Cx, machine: &mut Machine, page: &Page) -> Result<Cost> {
    cx.ui.step(
        "Measuring",
        &format!("instructions for an answer on the emulated Pi Zero: {}", page.what),
    );
    let posts = AtomicU64::new(0);
    crowd(machine.port(), page, &posts, WARM)?;
    let before = machine.instructions()?;
    let answers = crowd(machine.port(), page, &posts, WHILE)?;
    let spent = machine.instructions()?.saturating_sub(before);
    let instructions = spent as f64 / answers as f64;
    (spent > 0)
        .then_some(Cost { instructions, answers })
        .context(|| "the server was not busy for as long as the guest measures")
}

/// Answers to visitors who ask, each in a connection of its own, until the time is over, and wait for the last answer: what the
/// server does is for answers that are counted, however few they are. `posts`: how many were asked for at random so far.
fn crowd(port: u16, page: &Page, posts: &AtomicU64, limit: Duration) -> Result<u64> {
    let end = Instant::now() + limit;
    std::thread::scope(|scope| {
        let visitors: Vec<_> = (0..CONNECTIONS)
            .map(|_| scope.spawn(|| visit(port, page, posts, end)))
            .collect();
        let answers = visitors
            .into_iter()
            .map(|visitor| visitor.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic)));
        answers.sum()
    })
}

fn visit(port: u16, page: &Page, posts: &AtomicU64, end: Instant) -> Result<u64> {
    let client = client(PATIENCE);
    let mut answers = 0;
    while answers == 0 || Instant::now() < end {
        let path = page.path.map_or_else(
            || {
                format!(
                    "/posts/{}",
                    1 + posts.fetch_add(1, Ordering::Relaxed) * STRIDE % posts::COUNT
                )
            },
            str::to_owned,
        );
        fetch(&client, port, &path)?;
        answers += 1;
    }
    Ok(answers)
}

/// What the image has on top.
enum Extra {
    /// A database in the volume.
    Posts(Vec<u8>),
    /// Another program in the place of its own.
    Program(Vec<u8>),
}

fn start(cx: &Cx, name: &str, extra: Extra) -> Result<(Machine, boot::Figures)> {
    let policy = policy(cx)?;
    let mut image = ImageSource::from_image(image_tag(Base::Scratch, PLATFORM), &made(cx, Base::Scratch)?)?;
    image.name = name.to_owned();
    let mut service = Service {
        port: policy.image.port,
        admin_port: policy.image.admin_port,
        volume: policy.image.volume.clone(),
        ready: policy.image.ready.clone(),
    };
    // The image's own.
    let mut args = Vec::new();
    let entry = match extra {
        Extra::Posts(bytes) => {
            let owner: u64 = image
                .config
                .user
                .split(':')
                .next()
                .and_then(|user| user.parse().ok())
                .unwrap_or(0);
            let path = format!("{}/blog.db", service.volume.trim_matches('/'));
            Entry::file(path, bytes, 0o600).owned_by(owner, owner)
        }
        Extra::Program(bytes) => {
            let program = image.config.contained(service.port, &[], &[]);
            let path = program.and_then(|program| program.argv.into_iter().next());
            let path = path.context(|| "the image starts no program")?;
            service.admin_port = None;
            args.push(format!("0.0.0.0:{}", service.port));
            Entry::file(path.trim_matches('/'), bytes, 0o755)
        }
    };
    image.layers.push(Box::new(move || Ok(vec![entry.clone()])));
    let options = BootOptions {
        service,
        policy: policy.boot,
        kernel: KernelOptions::default(),
        port: 0,
        admin_port: 0,
        fresh: true,
        env: vec![("BLOG_LOG".to_owned(), "events".to_owned())],
        args,
        wait: Duration::from_secs(300),
        echo: false,
    };
    match boot::boot(cx, &image, &options, &mut || false)? {
        Ok(booted) => Ok(booted),
        Err(Problem::Image(error)) => Err(error),
        Err(Problem::Interrupted) => Err(Error::new("interrupted")),
    }
}

/// hello for the Pi, by the command that makes the blog for it.
fn hello(cx: &Cx) -> Result<Vec<u8>> {
    let target = Base::Scratch
        .target(PLATFORM)
        .context(|| format!("no program is made for {PLATFORM}"))?;
    // The same command makes the blog, too. It is made before, so that the record of its own link is not left at hello's.
    build::quiet(&build::bare(cx)?)?;
    let record = link_line_path(cx, target).with_file_name("link-hello.txt");
    let command = build::bare(cx)?
        .args(["--example", HELLO])
        .env("XTASK_LINK_LINE", record);
    let path = built(&command, &[HELLO])?.remove(0);
    let file = fs::read(&path).context(|| format!("cannot read {}", path.display()))?;
    crate::elf::strip::strip(&file, crate::elf::strip::Keep::Nothing).map_err(|error| Error::new(error.to_string()))
}
