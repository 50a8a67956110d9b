//! Every ELF file of a stream of entries: found by content, judged by as many threads as are asked for, none kept.

use std::collections::{BTreeMap, HashMap};
use std::io::Read;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};

use crate::audit::accuse::CodePolicy;
use crate::audit::packages::{self, is_record};
use crate::audit::parts::{is_code, parts};
use crate::audit::verdict::Audited;
use crate::audit::{Report, Waiver, inspect, inspect_file_with, inspect_with};
use crate::error::{Context, Error, Result};
use crate::oci::overlay::{Change, Node};
use crate::source::{Item, Kind, LARGEST_FILE};
use crate::target::{FloatAbi, Platform};

/// Bytes of a first line: the kernel reads no more of a script (BINPRM_BUF_SIZE).
const FIRST_LINE: u64 = 256;
/// Bytes of all records of package managers together.
const RECORDS: u64 = 256 << 20;

/// What is held against what.
#[allow(missing_debug_implementations, reason = "it holds functions")]
pub struct Settings<'a> {
    /// The platform.
    pub platform: Platform,
    /// The float ABI that all of 32-bit ARM must have; either will do where it is not known.
    pub float_abi: Option<FloatAbi>,
    /// In front of every path in a report: `scratch-armv6/`.
    pub prefix: String,
    /// Whether nothing is known of the files, not even that they belong to an image.
    pub given: bool,
    /// The policy's waivers for a path.
    pub waivers: &'a (dyn Fn(&str) -> Vec<Waiver> + Sync),
    /// What it says to the code of a path.
    pub code: &'a (dyn Fn(&str) -> CodePolicy + Sync),
    /// Verdicts that were made before, and where new ones go: by digest of the bytes.
    pub memory: Option<&'a (dyn Memory + Sync)>,
    /// Threads.
    pub jobs: usize,
}

/// Verdicts of earlier runs.
pub trait Memory {
    /// The report on these bytes under these waivers, if it is known and the rules are the same.
    fn recall(&self, digest: &str, settings: &Settings<'_>, waivers: &[Waiver], code: &CodePolicy) -> Option<Report>;
    /// Keeps one.
    fn keep(&self, report: &Report, settings: &Settings<'_>, waivers: &[Waiver], code: &CodePolicy);
}

/// What was found.
#[derive(Debug, Default)]
pub struct Looked {
    /// Every part, in the order of layers and entries.
    pub files: Vec<Audited>,
    /// For each of `files`, the number that its file has in the overlay.
    pub numbers: Vec<usize>,
    /// First lines of scripts, by number.
    pub scripts: HashMap<usize, String>,
    /// Records of package managers, by path.
    pub records: BTreeMap<String, Vec<u8>>,
    /// Whether some file needs more than ARMv6; asked for ARMv7 alone, `true` for all else.
    pub beyond_v6: bool,
}

struct Job {
    number: usize,
    path: String,
    layer: usize,
    bytes: Vec<u8>,
}

/// Takes entries and passes on what is code.
#[allow(
    missing_debug_implementations,
    reason = "it holds the end of a channel, and lives within one call"
)]
pub struct Gather {
    jobs: SyncSender<Job>,
    number: usize,
    left: u64,
    looked: Looked,
    changes: Vec<(String, Change)>,
}

/// Runs `feed`, which gives entries to the [`Gather`], and returns all verdicts on them.
pub fn look(settings: &Settings<'_>, feed: impl FnOnce(&mut Gather) -> Result<()>) -> Result<Looked> {
    // Each thread has one file in hand, and as many wait: that is all that is in memory.
    let jobs = settings.jobs.max(1);
    let (sender, receiver) = sync_channel::<Job>(jobs);
    let receiver = Arc::new(Mutex::new(receiver));
    let beyond = AtomicBool::new(settings.platform != Platform::ArmV7);
    let mut found: Vec<(usize, Audited)> = Vec::new();
    let mut gather = Gather {
        jobs: sender,
        number: 0,
        left: RECORDS,
        looked: Looked::default(),
        changes: Vec::new(),
    };
    let fed = std::thread::scope(|scope| {
        let beyond = &beyond;
        let workers: Vec<_> = (0..jobs)
            .map(|_| {
                let receiver = Arc::clone(&receiver);
                scope.spawn(move || work(settings, &receiver, beyond))
            })
            .collect();
        // The workers alone have it now: when all are gone, sending fails instead of waiting for ever.
        drop(receiver);
        let fed = feed(&mut gather);
        let Gather { jobs, looked, .. } = gather;
        drop(jobs);
        for worker in workers {
            match worker.join() {
                Ok(parts) => found.extend(parts),
                Err(panic) => std::panic::resume_unwind(panic),
            }
        }
        fed.map(|()| looked)
    });
    let mut looked = fed?;
    // Members of one archive come from one thread, in their order, and this sort is stable.
    found.sort_by_key(|(number, _)| *number);
    (looked.numbers, looked.files) = found.into_iter().unzip();
    looked.beyond_v6 = beyond.load(Ordering::Relaxed);
    Ok(looked)
}

fn work(settings: &Settings<'_>, jobs: &Mutex<Receiver<Job>>, beyond: &AtomicBool) -> Vec<(usize, Audited)> {
    let mut found = Vec::new();
    loop {
        let job = jobs.lock().unwrap_or_else(PoisonError::into_inner).recv();
        let Ok(job) = job else { return found };
        let name = format!("{}{}", settings.prefix, job.path);
        let waivers = (settings.waivers)(&job.path);
        let code = (settings.code)(&job.path);
        let mut add = |member: Option<&str>, report: Report| {
            let audited = Audited {
                path: job.path.clone(),
                member: member.map(str::to_owned),
                layer: job.layer,
                hidden_by: None,
                package: None,
                program: false,
                report,
            };
            found.push((job.number, audited));
        };
        match parts(&job.bytes) {
            Err(reason) => add(None, Report::unreadable(&name, &job.bytes, settings.platform, reason)),
            Ok(parts) => {
                for part in parts {
                    let name = match part.member {
                        Some(member) => format!("{name}({member})"),
                        None => name.clone(),
                    };
                    add(part.member, judge(settings, part.bytes, &name, &waivers, &code));
                    // One file of later code is enough to know.
                    if !beyond.load(Ordering::Relaxed)
                        && !inspect(part.bytes, &name, Platform::ArmV6, None, &[]).passed()
                    {
                        beyond.store(true, Ordering::Relaxed);
                    }
                }
            }
        }
    }
}

fn judge(settings: &Settings<'_>, bytes: &[u8], name: &str, waivers: &[Waiver], code: &CodePolicy) -> Report {
    let platform = settings.platform;
    if settings.given {
        return inspect_file_with(bytes, name, platform, code);
    }
    let Some(memory) = settings.memory else {
        return inspect_with(bytes, name, platform, settings.float_abi, waivers, code);
    };
    let digest = crate::oci::Digest::of(bytes).to_string();
    if let Some(mut known) = memory.recall(&digest, settings, waivers, code) {
        name.clone_into(&mut known.file);
        return known;
    }
    let report = inspect_with(bytes, name, platform, settings.float_abi, waivers, code);
    memory.keep(&report, settings, waivers, code);
    report
}

impl Gather {
    /// Takes one entry of a layer (counted from 1; 0 for a tree without layers).
    pub fn take(&mut self, layer: usize, item: Item<'_>) -> Result<()> {
        let Item { path, kind, content } = item;
        let change = match kind {
            Kind::File(size) => {
                let number = self.number;
                self.number += 1;
                self.file(number, layer, &path, size, content)?;
                Change::Put(Node::File(number))
            }
            Kind::Directory => Change::Put(Node::Directory),
            Kind::Symlink(target) => Change::Put(Node::Symlink(target)),
            Kind::Special => Change::Put(Node::Other),
            Kind::Hardlink(target) => Change::Link(target),
            Kind::Whiteout => Change::Whiteout,
            Kind::OpaqueDirectory => Change::Opaque,
        };
        self.changes.push((path, change));
        Ok(())
    }

    fn file(&mut self, number: usize, layer: usize, path: &str, size: u64, content: &mut dyn Read) -> Result<()> {
        let cannot = || format!("cannot read {path}");
        let mut bytes = Vec::new();
        content.take(8).read_to_end(&mut bytes).context(cannot)?;
        if is_code(&bytes) {
            // One byte more shows that it is too long.
            content.take(LARGEST_FILE - 7).read_to_end(&mut bytes).context(cannot)?;
            if bytes.len() as u64 > LARGEST_FILE {
                return Err(Error::new(format!(
                    "{path} has {size} bytes of machine code, more than {LARGEST_FILE}, and was not looked at"
                )));
            }
            let path = path.to_owned();
            let job = Job {
                number,
                path,
                layer,
                bytes,
            };
            return self
                .jobs
                .send(job)
                .map_err(|_| Error::new("an audit thread ended early"));
        }
        if is_record(path) && size <= packages::LARGEST.min(self.left) {
            self.left -= size;
            content.take(size).read_to_end(&mut bytes).context(cannot)?;
            self.looked.records.insert(path.to_owned(), bytes);
        } else if bytes.starts_with(b"#!") {
            content.take(FIRST_LINE - 8).read_to_end(&mut bytes).context(cannot)?;
            let line = bytes.split(|byte| *byte == b'\n').next().unwrap_or_default();
            self.looked
                .scripts
                .insert(number, String::from_utf8_lossy(&line[2..]).trim().to_owned());
        }
        Ok(())
    }

    /// What the entries since the last call change.
    pub fn changes(&mut self) -> Vec<(String, Change)> {
        std::mem::take(&mut self.changes)
    }
}
