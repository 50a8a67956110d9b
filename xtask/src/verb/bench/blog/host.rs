//! On this machine: a process each.

use std::fs::{self, File};
use std::net::TcpListener;
use std::path::Path;
use std::process::Stdio;
use std::time::{Duration, Instant};

use super::super::figures::{Goal, Row, Samples, Unit};
use super::super::{DIR, figures};
use super::load::Wrk;
use super::{PAGES, bytes, client, database, fetch, native, script};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::shell::Running;

/// Seconds of each load.
const SECONDS: u64 = 3;
const PATIENCE: Duration = Duration::from_secs(30);

/// Rates, memory, the first answer and bytes. What cannot be measured is one row that says why.
pub fn measure(cx: &Cx, runs: u16) -> Vec<Row> {
    rows(cx, runs).unwrap_or_else(|error| {
        let what = "this machine: front page";
        let note = format!("{error}; {}", error.next_step().unwrap_or_default());
        let goal = Some(Goal::AtLeast(super::FRONT.0));
        vec![Row::new(
            what,
            Unit::PerSecond,
            None,
            Some(("actix hello", None)),
            goal,
            note,
        )]
    })
}

fn rows(cx: &Cx, runs: u16) -> Result<Vec<Row>> {
    let wrk = Wrk::find(cx, SECONDS)?;
    cx.ui
        .step("Compiling", "the blog and hello for this machine, as for the image");
    let (blog, hello) = native(cx)?;
    let database = database(cx, &blog)?;
    let random = script(cx)?;
    let blog = Server::start(cx, &blog, Some(&database))?;
    let hello = Server::start(cx, &hello, None)?;
    let (idle, _) = blog.memory()?;
    let mut rows = bytes(blog.port, PATIENCE)?;
    cx.ui.step("Measuring", "answers a second on this machine");
    for page in &PAGES {
        let script = page.path.is_none().then_some(random.as_path());
        let ours = format!("http://127.0.0.1:{}{}", blog.port, page.path.unwrap_or("/"));
        let theirs = format!("http://127.0.0.1:{}/", hello.port);
        let ours = || blog.rate(|| wrk.answers(cx, &ours, script));
        let theirs = || hello.rate(|| wrk.answers(cx, &theirs, None));
        ours()?;
        theirs()?;
        let (ours, theirs) = figures::alternate(runs, ours, theirs)?;
        let how = format!(
            "answers a second of the server's processor time, so that what else runs here does not count; wrk, 8 connections, {SECONDS} s \
             each after {SECONDS} s of warming up, one worker, a line in the log for each answer"
        );
        let values = |samples: Option<Samples>| samples.map_or_else(Vec::new, |samples| samples.values().to_vec());
        rows.push(page.row("this machine", values(ours), values(theirs), &how));
    }
    let (after, peak) = blog.memory()?;
    let (theirs, _) = hello.memory()?;
    let memory = |what: &str, value: u64, note: &str| {
        Row::new(
            format!("this machine: {what}"),
            Unit::Bytes,
            Samples::new(vec![value as f64]),
            None,
            None,
            note,
        )
    };
    rows.push(memory(
        "memory, idle",
        idle,
        "VmRSS after the first answer; glibc, 64 bits",
    ));
    rows.push(memory("memory, after all loads", after, "VmRSS"));
    rows.push(memory("memory, at most", peak, "VmHWM: under all loads above"));
    rows.push(memory("memory of hello", theirs, "VmRSS after all loads"));
    let (first, start) = (
        blog.first.as_secs_f64(),
        "from the start of the process to its first answer",
    );
    drop((blog, hello));
    rows.push(Row::new(
        "this machine: first answer",
        Unit::Seconds,
        Samples::new(vec![first]),
        None,
        None,
        format!("{start}, with 50,000 posts"),
    ));
    Ok(rows)
}

/// A server that answers.
struct Server {
    running: Running,
    port: u16,
    first: Duration,
}

impl Server {
    fn start(cx: &Cx, program: &Path, database: Option<&Path>) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let dir = cx.root.join(DIR);
        let name = program.file_name().unwrap_or_default().to_string_lossy();
        let log = dir.join(format!("{name}.log"));
        fs::create_dir_all(&dir).context(|| format!("cannot create {}", dir.display()))?;
        let file = File::create(&log).context(|| format!("cannot write {}", log.display()))?;
        let mut command = cx
            .shell
            .command(program)
            .env("BLOG_LISTEN", format!("127.0.0.1:{port}"))
            .env("BLOG_ADMIN_LISTEN", "127.0.0.1:0");
        if let Some(database) = database {
            command = command.arg("--database").arg(database);
        }
        let client = client(PATIENCE);
        let begin = Instant::now();
        let mut running = command.spawn(Stdio::null(), Stdio::from(file))?;
        let first = loop {
            if fetch(&client, port, "/healthz").is_ok() {
                break begin.elapsed();
            }
            if let Some(status) = running.try_wait()? {
                return Err(Error::new(format!("{name} ended ({status})"))
                    .hint(format!("what it said is in {}", cx.show(&log))));
            }
            if begin.elapsed() > PATIENCE {
                return Err(
                    Error::new(format!("{name} does not answer")).hint(format!("what it said is in {}", cx.show(&log)))
                );
            }
            std::thread::sleep(Duration::from_millis(1));
        };
        Ok(Server { running, port, first })
    }

    /// Answers a second of processor time (user and system, all threads) while `load` has it busy.
    fn rate(&self, load: impl Fn() -> Result<f64>) -> Result<f64> {
        let before = self.seconds()?;
        let answers = load()?;
        let spent = self.seconds()? - before;
        (spent > 0.0)
            .then_some(answers / spent)
            .context(|| "the server was not busy for as long as the kernel measures")
    }

    /// Processor time so far: proc_pid_stat(5), fields 14 and 15, in hundredths of a second (USER_HZ).
    fn seconds(&self) -> Result<f64> {
        let path = format!("/proc/{}/stat", self.running.id());
        let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
        // The name of the program may have blanks in it; after its bracket comes field 3.
        let fields = text.rsplit_once(')').map(|(_, rest)| rest.split_whitespace());
        let ticks = fields.map(|fields| fields.skip(11).take(2).filter_map(|field| field.parse::<f64>().ok()));
        let ticks: f64 = ticks.context(|| format!("{path} cannot be read"))?.sum();
        Ok(ticks / 100.0)
    }

    /// Resident memory in bytes: now, and the most it ever was.
    fn memory(&self) -> Result<(u64, u64)> {
        let path = format!("/proc/{}/status", self.running.id());
        let text = fs::read_to_string(&path).context(|| format!("cannot read {path}"))?;
        let field = |name: &str| {
            let line = text.lines().find_map(|line| line.strip_prefix(name))?;
            line.trim().trim_end_matches(" kB").parse::<u64>().ok()
        };
        let both = field("VmRSS:").zip(field("VmHWM:"));
        let (now, most) = both.context(|| format!("{path} does not say how much memory it has"))?;
        Ok((now * 1024, most * 1024))
    }
}
