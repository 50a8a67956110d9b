//! The audit of a whole image, down to the instruction, against a disassembler over the same files.

use std::fs;
use std::path::PathBuf;
use std::process::Stdio;

use super::figures::{Goal, Row, Unit, alternate};
use super::{DIR, PLATFORM, made, timed};
use crate::audit::inspect_file;
use crate::cx::Cx;
use crate::elf::is_elf;
use crate::error::{Error, Result};
use crate::oci::layer::{EntryKind, Limits};
use crate::target::Base;

/// A row for each base. What cannot be measured is absent, and the note says why.
pub fn measure(cx: &Cx, runs: u16) -> Result<Vec<Row>> {
    Base::ALL.into_iter().map(|base| row(cx, base, runs)).collect()
}

fn row(cx: &Cx, base: Base, runs: u16) -> Result<Row> {
    let goal = Some(Goal::Relative { times: 0.2, more: None });
    let what = format!("{base}: audit");
    let files = match files(cx, base) {
        Ok(files) => files,
        Err(error) => return Ok(Row::new(what, Unit::Seconds, None, None, goal, error.to_string())),
    };
    let dir = cx.root.join(DIR).join("audit");
    let _ = fs::remove_dir_all(&dir);
    fs::create_dir_all(&dir)?;
    let mut paths = Vec::new();
    for (index, file) in files.iter().enumerate() {
        let path = dir.join(index.to_string());
        fs::write(&path, file)?;
        paths.push(path);
    }
    cx.ui.step("Measuring", &format!("the audit of {base}"));
    let ours = || {
        timed(|| {
            files
                .iter()
                .for_each(|file| drop(inspect_file(file, "measured", PLATFORM)));
            Ok(())
        })
    };
    let (ours, theirs) = match objdump(cx) {
        Some(program) => alternate(runs, ours, || timed(|| disassemble(cx, &program, &paths)))?,
        None => (alternate(runs, ours, || Ok(0.0))?.0, None),
    };
    let bytes: usize = files.iter().map(Vec::len).sum();
    let note = format!("{} ELF files, {}", files.len(), crate::ui::bytes(bytes as u64));
    Ok(Row::new(
        what,
        Unit::Seconds,
        ours,
        Some(("llvm-objdump -d", theirs)),
        goal,
        note,
    ))
}

/// Every ELF file of every layer.
fn files(cx: &Cx, base: Base) -> Result<Vec<Vec<u8>>> {
    let image = made(cx, base)?;
    let mut files = Vec::new();
    for layer in image.layers() {
        for entry in layer.entries(&Limits::default())? {
            if let EntryKind::File(bytes) = &entry.kind
                && is_elf(bytes)
            {
                files.push(bytes.clone());
            }
        }
    }
    Ok(files)
}

fn objdump(cx: &Cx) -> Option<PathBuf> {
    let versions = (14..=22).rev().map(|version| format!("llvm-objdump-{version}"));
    std::iter::once("llvm-objdump".to_owned())
        .chain(versions)
        .find_map(|name| cx.shell.which(&name))
}

/// Its text goes nowhere: writing it down is no part of the comparison.
fn disassemble(cx: &Cx, program: &PathBuf, paths: &[PathBuf]) -> Result<()> {
    let command = cx.shell.command(program).arg("-d").args(paths);
    match command.spawn(Stdio::null(), Stdio::null())?.wait()? {
        status if status.success() => Ok(()),
        status => Err(Error::new(format!("{}: {status}", program.display()))),
    }
}
