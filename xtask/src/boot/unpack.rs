//! How many instructions a Pi Zero executes to unpack layers: counted on the emulated board, by its own busybox.

use std::collections::BTreeMap;
use std::fs;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use super::card::Card;
use super::cpio::Cpio;
use super::kernel::Kernel;
use super::machine::{Machine, Setup};
use super::{kernel, machine};
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::{Layer, media};
use crate::policy::BootPolicy;

/// How it is counted, for reports.
pub const METHOD: &str =
    "gunzip and tar of busybox, and the kernel under them, into memory on QEMU's raspi0 with -icount";
const INIT: &[u8] = include_bytes!("measure.sh");
/// Changes when the counting does.
const VERSION: &str = "2";
/// One nanosecond of the machine's clock an instruction.
const COUNT: &str = "shift=0,sleep=off";
/// The clock is read in hundredths of a second.
const TICK: u64 = 10_000_000;
/// Emulating and counting is slow: tens of millions of instructions a second.
const PATIENCE: Duration = Duration::from_secs(1800);

/// What the cache keeps for a layer.
#[derive(Clone, Copy, Debug, Serialize, Deserialize)]
struct Counted {
    instructions: u64,
}

/// Another kernel or busybox needs another number of instructions.
fn key(kernel: &Kernel, layer: &Layer) -> String {
    key_of([VERSION, kernel.key(), &layer.digest().hex()])
}

/// Instructions for these layers, one after the other, if all of them were counted before, on the kernel that the cache has;
/// `Some(0)` for none.
pub fn known(cx: &Cx, policy: &BootPolicy, layers: &[Layer]) -> Option<u64> {
    sum(cx, &kernel::known(cx, policy)?, layers)
}

fn sum(cx: &Cx, kernel: &Kernel, layers: &[Layer]) -> Option<u64> {
    let known = |layer| cx.cache.record::<Counted>("unpack-work", &key(kernel, layer));
    layers.iter().map(|layer| Some(known(layer)?.instructions)).sum()
}

/// Counts the instructions, of the kernel and of busybox's `gunzip` and `tar`, that unpack these layers into memory; what was
/// counted before is not counted again. The mean of five runs, known to two million instructions; counted again, three
/// images gave the same figures.
///
/// # Errors
/// A layer that busybox cannot unpack (zstd); an emulator or a kernel that cannot be had; a guest that does not come to its end.
pub fn work(cx: &Cx, policy: &BootPolicy, kernel: kernel::Options<'_>, layers: &[Layer]) -> Result<u64> {
    let kernel = kernel::provide(cx, policy, kernel)?;
    let missing: Vec<&Layer> = layers
        .iter()
        .filter(|layer| sum(cx, &kernel, std::slice::from_ref(*layer)).is_none())
        .collect();
    if !missing.is_empty() {
        for (layer, instructions) in count(cx, &kernel, &missing)? {
            let counted = Counted { instructions };
            cx.cache.put_record("unpack-work", &layer, &counted)?;
        }
    }
    sum(cx, &kernel, layers).context(|| "what was just counted is not in the cache")
}

fn count(cx: &Cx, kernel: &Kernel, layers: &[&Layer]) -> Result<BTreeMap<String, u64>> {
    if let Some(layer) = layers.iter().find(|layer| layer.oci_media_type() != media::LAYER_GZIP) {
        return Err(Error::new(format!(
            "the layer {} is {}, which busybox cannot unpack",
            layer.digest(),
            layer.oci_media_type()
        ))
        .hint("layers compressed with gzip can be measured"));
    }
    let qemu = machine::qemu(cx)?;
    let mut cpio = Cpio::default();
    for path in ["bin", "dev", "layers", "proc", "unpacked", "xtask", "xtask/bin"] {
        cpio.directory(path, 0o755);
    }
    cpio.device("dev/console", 0o600, 5, 1);
    cpio.device("dev/null", 0o666, 1, 3);
    cpio.file("init", INIT, 0o755);
    cpio.file("xtask/busybox", &kernel.busybox()?, 0o755);
    for layer in layers {
        cpio.file(&format!("layers/{}", layer.digest().hex()), layer.blob(), 0o644);
    }
    let dir = cx.cache.temp_dir()?;
    let console = dir.path().join("console.log");
    cx.ui.step(
        "Counting",
        &format!("instructions to unpack {} layers on an emulated Pi Zero", layers.len()),
    );
    let setup = Setup {
        kernel,
        qemu: &qemu,
        initramfs: &cpio.finish(),
        card: Card::open(cx, &dir.path().join("card.img"), 16, true)?,
        console: console.clone(),
        port: 0,
        guest_port: 80,
        admin: None,
        clock: COUNT,
        echo: false,
    };
    let mut machine = Machine::start(cx, setup)?;
    let said = || fs::read_to_string(&console).unwrap_or_default();
    let over = |text: &str| text.contains("@xtask measured") || text.contains("@xtask failed");
    let ended = machine.wait(PATIENCE, &mut || false, &mut |_| over(&said()));
    drop(machine);
    let text = said();
    let found = parse(&text);
    if ended.is_err() || text.contains("@xtask failed") || found.len() != layers.len() {
        let tail: Vec<&str> = text.lines().rev().take(5).collect();
        return Err(Error::new(format!(
            "the emulated Pi Zero did not unpack the layers; the end of its console, last line first: {}",
            tail.join(" / ")
        ))
        .hint("its memory is 512 MB, and half an hour of counting its limit: is the image that large, or this machine that busy?"));
    }
    Ok(layers
        .iter()
        .filter_map(|layer| Some((key(kernel, layer), *found.get(&layer.digest().hex())?)))
        .collect())
}

/// Lines `@xtask unpacked NAME RUNS HUNDREDTHS`: instructions of one run, by name.
fn parse(console: &str) -> BTreeMap<String, u64> {
    let line = |line: &str| {
        let mut words = line.trim().strip_prefix("@xtask unpacked ")?.split(' ');
        let name = words.next()?.to_owned();
        let (runs, ticks): (u64, u64) = (words.next()?.parse().ok()?, words.next()?.parse().ok()?);
        Some((name, (ticks * TICK).checked_div(runs)?))
    };
    console.lines().filter_map(line).collect()
}

#[cfg(test)]
mod tests {
    use super::parse;

    #[test]
    fn the_guests_lines_become_instructions() {
        let console = "[    0.9] Division by zero in kernel.\r\n@xtask unpacked abc 5 250\r\n@xtask unpacked bad x 1\n@xtask unpacked z 0 1\n";
        let found = parse(console);
        assert_eq!(found.into_iter().collect::<Vec<_>>(), [("abc".to_owned(), 500_000_000)]);
    }
}
