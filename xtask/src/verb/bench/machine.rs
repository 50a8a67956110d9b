//! The machine that figures are from: without it they mean nothing.

use std::fs;

use serde::Serialize;

use crate::toolchain::rust_std::Compiler;
use crate::ui::bytes;

/// What to know of a machine when reading its figures.
#[derive(Clone, Debug, Serialize)]
pub struct Machine {
    /// Model of the CPU.
    pub cpu: String,
    /// Threads that may run at once.
    pub cores: usize,
    /// Bytes of memory.
    pub memory: u64,
    /// Release of the kernel.
    pub kernel: String,
    /// Processes that wanted to run during the last minute, before anything was measured.
    pub load: String,
    /// The compiler.
    pub rustc: String,
    /// How xtask itself was compiled.
    pub xtask: &'static str,
}

impl Machine {
    /// Asks the kernel. What it does not say is `unknown`.
    pub fn detect(compiler: &Compiler) -> Machine {
        let read = |path: &str| fs::read_to_string(path).unwrap_or_default();
        let field = |text: &str, name: &str| {
            let line = text.lines().find(|line| line.starts_with(name))?;
            Some(line.split_once(':')?.1.trim().to_owned())
        };
        let cpuinfo = read("/proc/cpuinfo");
        let model = ["model name", "Model", "CPU part"]
            .iter()
            .find_map(|name| field(&cpuinfo, name));
        let memory = field(&read("/proc/meminfo"), "MemTotal");
        let kib = memory.and_then(|text| text.split(' ').next()?.parse::<u64>().ok());
        let word = |path: &str| {
            let text = read(path);
            text.split_whitespace().next().unwrap_or("unknown").to_owned()
        };
        Machine {
            cpu: model.unwrap_or_else(|| "unknown".to_owned()),
            cores: std::thread::available_parallelism().map_or(1, usize::from),
            memory: kib.unwrap_or(0) * 1024,
            kernel: word("/proc/sys/kernel/osrelease"),
            load: word("/proc/loadavg"),
            rustc: compiler.version.clone(),
            xtask: if cfg!(debug_assertions) {
                "debug profile, with hashing and compression optimised, as `cargo xtask` always runs"
            } else {
                "release profile"
            },
        }
    }

    /// For people, two lines.
    pub fn text(&self) -> String {
        format!(
            "{} ({} cores, {} memory), Linux {}, load {} at the start\n{}; xtask: {}",
            self.cpu,
            self.cores,
            bytes(self.memory),
            self.kernel,
            self.load,
            self.rustc,
            self.xtask
        )
    }
}
