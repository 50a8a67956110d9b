//! Checksums of what is released: one list a base, written where it was made; one list of all, written after comparing.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::Path;

use crate::cache::{hash_file, write_atomically};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::verb::Outcome;

/// The list of everything.
pub const ALL: &str = "SHA256SUMS";
/// How the name of the list of one base ends.
pub const LIST: &str = ".sha256";

/// Writes a list of `files` (names in `dir`), in the format that `sha256sum -c` reads.
pub fn write(dir: &Path, list: &str, files: &BTreeSet<String>) -> Result<()> {
    let mut text = String::new();
    for file in files {
        text.push_str(&format!("{}  {file}\n", hash_file(&dir.join(file))?));
    }
    write_atomically(&dir.join(list), text.as_bytes())
}

/// Holds every file against the lists beside it, and writes [`ALL`]. Exit code 1 when a file differs, is missing or is listed
/// nowhere; nothing is written then.
pub fn collect(cx: &Cx, dir: &Path) -> Result<Outcome> {
    let mut names = BTreeSet::new();
    for entry in fs::read_dir(dir).context(|| format!("cannot read {}", dir.display()))? {
        let entry = entry?;
        if !entry.file_type()?.is_file() {
            return Err(Error::new(format!("{} is not a file", entry.path().display()))
                .hint("only what `cargo xtask ci dist` wrote may be there, without directories"));
        }
        names.insert(entry.file_name().to_string_lossy().into_owned());
    }
    names.remove(ALL);
    let lists: Vec<String> = names.iter().filter(|name| name.ends_with(LIST)).cloned().collect();
    if lists.is_empty() {
        return Err(
            Error::new(format!("there is no list of checksums in {}", dir.display()))
                .hint("`cargo xtask ci dist` writes one for each base"),
        );
    }
    let mut wanted: BTreeMap<String, String> = BTreeMap::new();
    let mut problems = Vec::new();
    for list in &lists {
        names.remove(list);
        let text = fs::read_to_string(dir.join(list)).context(|| format!("cannot read {list}"))?;
        for line in text.lines() {
            let Some((hash, file)) = line.split_once("  ") else {
                return Err(Error::new(format!("{list}: `{line}` is no line of sha256sum")));
            };
            if wanted
                .insert(file.to_owned(), hash.to_owned())
                .is_some_and(|other| other != hash)
            {
                problems.push(format!("{file} has two checksums"));
            }
        }
    }
    for (file, hash) in &wanted {
        if !names.remove(file) {
            problems.push(format!("{file} is listed, and is not there"));
        } else if &hash_file(&dir.join(file))? != hash {
            problems.push(format!("{file} differs from its checksum"));
        }
    }
    problems.extend(names.iter().map(|file| format!("{file} is in no list")));
    for problem in &problems {
        cx.ui.warn(problem);
    }
    if !problems.is_empty() {
        return Ok(Outcome::Findings);
    }
    let text: String = wanted.iter().map(|(file, hash)| format!("{hash}  {file}\n")).collect();
    write_atomically(&dir.join(ALL), text.as_bytes())?;
    cx.ui.step("Written", &format!("{ALL} of {} files", wanted.len()));
    cx.ui.result(&dir.join(ALL).display().to_string());
    Ok(Outcome::Fine)
}
