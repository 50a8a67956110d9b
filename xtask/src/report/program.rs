//! What the program consists of: ELF sections, and the crates that its code came from.

use std::collections::BTreeMap;
use std::ops::Range;

use super::stream::StreamError;
use super::{Crates, Piece, Program};
use crate::elf::sections::{Section, sections};

/// Bytes of the program that came from one crate: a function or an object.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owned {
    /// Where it is loaded.
    pub address: u64,
    /// Bytes.
    pub size: u64,
    /// Crate, or part of the tool chain.
    pub owner: String,
}

/// Who owns which bytes of a program, or why that is not known.
pub type Attribution = Result<Vec<Owned>, String>;

/// What of the blob was read when so many bytes of the program were out: first for none, then for each of those asked for.
pub type Cost<'a> = dyn Fn(&[u64]) -> Result<Vec<u64>, StreamError> + 'a;

/// Accounts for every byte of the program once by section and once by crate.
pub fn account(path: &str, bytes: &[u8], owned: Attribution, cost: &Cost<'_>) -> Result<Program, StreamError> {
    let length = bytes.len() as u64;
    let whole = cost(&[length])?;
    let found = sections(bytes);
    let by_section = match &found {
        Ok(found) => pieces(&cover_sections(found, length), cost)?,
        Err(_) => Vec::new(),
    };
    let crates = match (&found, owned) {
        (Err(error), _) => Crates::Unknown(format!("the program cannot be read: {error}")),
        (Ok(_), Err(reason)) => Crates::Unknown(reason),
        (Ok(found), Ok(owned)) => Crates::Known(pieces(&cover_crates(found, owned, length), cost)?),
    };
    Ok(Program {
        path: path.to_owned(),
        bytes: length,
        compressed: whole[1] - whole[0],
        sections: by_section,
        crates,
    })
}

/// Ranges that cover the file without a gap, and what each is.
type Cover = Vec<(Range<u64>, String)>;

fn push(cover: &mut Cover, end: u64, name: impl Into<String>) {
    let start = cover.last().map_or(0, |(range, _)| range.end);
    if end > start {
        cover.push((start..end, name.into()));
    }
}

/// Sections may overlap in a file that somebody made by hand: then the one that begins first has the bytes.
fn cover_sections(sections: &[Section], length: u64) -> Cover {
    const REST: &str = "headers and padding";
    let mut cover = Cover::new();
    for section in sections {
        push(&mut cover, section.offset, REST);
        push(&mut cover, section.offset + section.size, section.name.as_str());
    }
    push(&mut cover, length, REST);
    cover
}

fn cover_crates(sections: &[Section], mut owned: Vec<Owned>, length: u64) -> Cover {
    const REST: &str = "(headers and padding)";
    owned.sort_by(|a, b| (a.address, b.size, &a.owner).cmp(&(b.address, a.size, &b.owner)));
    let mut cover = Cover::new();
    for section in sections {
        push(&mut cover, section.offset, REST);
        let end = section.offset + section.size;
        let rest = match section.address {
            0 => format!("({})", section.name),
            _ => format!("({} without a symbol)", section.name),
        };
        if section.address != 0 {
            let last = section.address.saturating_add(section.size);
            let first = owned.partition_point(|owned| owned.address < section.address);
            for owned in owned[first..].iter().take_while(|owned| owned.address < last) {
                let at = |address: u64| section.offset + (address.min(last) - section.address);
                push(&mut cover, at(owned.address), rest.as_str());
                push(
                    &mut cover,
                    at(owned.address.saturating_add(owned.size)),
                    owned.owner.as_str(),
                );
            }
        }
        push(&mut cover, end, rest);
    }
    push(&mut cover, length, REST);
    cover
}

fn pieces(cover: &Cover, cost: &Cost<'_>) -> Result<Vec<Piece>, StreamError> {
    let ends: Vec<u64> = cover.iter().map(|(range, _)| range.end).collect();
    let cost = cost(&ends)?;
    let mut sums: BTreeMap<&str, (u64, u64)> = BTreeMap::new();
    for (i, (range, name)) in cover.iter().enumerate() {
        let sum = sums.entry(name).or_default();
        sum.0 += range.end - range.start;
        sum.1 += cost[i + 1] - cost[i];
    }
    let piece = |(name, (bytes, compressed)): (&str, (u64, u64))| Piece {
        name: name.to_owned(),
        bytes,
        compressed,
    };
    let mut pieces: Vec<Piece> = sums.into_iter().map(piece).collect();
    pieces.sort_by(|a, b| (b.bytes, &a.name).cmp(&(a.bytes, &b.name)));
    Ok(pieces)
}
