//! What serving costs under emulation: memory, and the time to the first answer.

use super::figures::{Row, Samples, Unit};
use super::{DIR, PLATFORM, made};
use crate::cx::Cx;
use crate::error::Result;
use crate::plan::image_tag;
use crate::run::{self, ImageSource, RunOptions, Service};
use crate::target::Base;
use crate::verb::policy;

/// Both bases in turn; each is started once before, so that its database exists and its files are in memory.
pub fn measure(cx: &Cx, runs: u16) -> Vec<Row> {
    let mut subjects = [Base::Scratch, Base::Debian].map(|base| Subject {
        base,
        server: Server::prepare(cx, base),
        answers: Vec::new(),
        memory: Vec::new(),
    });
    cx.ui.step("Measuring", "servers under emulation");
    for round in 0..=runs {
        for subject in &mut subjects {
            match subject.server.as_ref().map(|server| server.once(cx)) {
                Ok(Ok((answer, memory))) if round > 0 => {
                    subject.answers.push(answer);
                    subject.memory.push(memory);
                }
                Ok(Err(error)) => subject.server = Err(error),
                _ => {}
            }
        }
    }
    subjects.into_iter().flat_map(Subject::rows).collect()
}

/// One base and what was measured of it.
struct Subject {
    base: Base,
    server: Result<Server>,
    answers: Vec<f64>,
    memory: Vec<f64>,
}

impl Subject {
    fn rows(self) -> [Row; 2] {
        let (answer, memory) = match self.server {
            Ok(_) => (
                format!(
                    "from the start of the process to the first answer, {}, on a database that exists",
                    emulator()
                ),
                format!("VmRSS after the first answer, {} included", emulator()),
            ),
            Err(error) => (error.to_string(), error.to_string()),
        };
        let row = |what: &str, unit, values: Vec<f64>, note| {
            let what = format!("{}: {what}", self.base);
            Row::new(what, unit, Samples::new(values), None, None, note)
        };
        [
            row("first answer", Unit::Seconds, self.answers, answer),
            row("resident memory", Unit::Bytes, self.memory, memory),
        ]
    }
}

fn emulator() -> String {
    let qemu = PLATFORM.qemu();
    format!("{} -cpu {}", qemu.program, qemu.cpu.unwrap_or("max"))
}

/// An image that is ready to be started.
struct Server {
    image: ImageSource,
    options: RunOptions,
}

impl Server {
    fn prepare(cx: &Cx, base: Base) -> Result<Server> {
        let image = made(cx, base)?;
        let policy = policy(cx)?;
        Ok(Server {
            image: ImageSource::from_image(image_tag(base, PLATFORM), &image)?,
            options: RunOptions {
                service: Service {
                    port: policy.image.port,
                    admin_port: policy.image.admin_port,
                    volume: policy.image.volume,
                    ready: policy.image.ready,
                },
                port: 0,
                // Not the data of `cargo xtask run`.
                data: Some(cx.root.join(DIR).join(format!("data-{base}"))),
                echo: false,
                ..RunOptions::default()
            },
        })
    }

    /// Seconds to the first answer, and resident bytes after it.
    fn once(&self, cx: &Cx) -> Result<(f64, f64)> {
        let mut server = run::start(cx, &self.image, &self.options)?;
        let first = server.first_answer().unwrap_or_default();
        let rss = server.rss()?;
        server.stop()?;
        Ok((first.as_secs_f64(), rss as f64))
    }
}
