//! From single instructions to those who brought them: grouped by function, and functions by origin.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::guard::{Known, Program};
use super::name::readable;
use super::origin::{Evidence, Origin};
use super::reach::CallGraph;
use crate::elf::ElfError;
use crate::isa::walk::Beyond;

/// An instruction that the chip lacks.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Instruction {
    /// Its address.
    pub address: u64,
    /// What the chip lacks, in words: `NEON`.
    pub needs: String,
    /// The symbol of the function around it.
    pub symbol: Option<String>,
    /// Where that function begins, as far as that is known.
    pub function: Option<u64>,
}

impl From<&Beyond> for Instruction {
    fn from(beyond: &Beyond) -> Self {
        Instruction {
            address: beyond.address,
            needs: beyond.needs.to_string(),
            symbol: beyond.symbol.as_ref().map(|symbol| symbol.name.to_string()),
            function: match &beyond.symbol {
                Some(symbol) => beyond.address.checked_sub(symbol.offset),
                None => beyond.function,
            },
        }
    }
}

/// Everything of one origin that a chip cannot execute.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Culprit {
    /// Whose code it is.
    pub origin: Origin,
    /// How a crate got into the program: `blog`, `actix-web/cookies`, `cookie/secure`, `ring 0.17.14`. Empty for what is
    /// no crate, and where cargo was not asked.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub path: Vec<String>,
    /// Number of instructions.
    pub instructions: usize,
    /// The functions, by address.
    pub functions: Vec<Suspect>,
}

/// A function with instructions that the chip lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Suspect {
    /// Symbol as in the file; `None` where names are gone.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// The object that it was linked from.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub object: Option<String>,
    /// Address of the first of the instructions.
    pub address: u64,
    /// Number of instructions.
    pub instructions: usize,
    /// What the chip lacks.
    pub needs: BTreeSet<String>,
    /// Whether a branch or an address leads to the function, directly or through others, from where the program begins.
    /// `None` where that cannot be told.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reached: Option<bool>,
    /// Why it is all right: a guard that was checked, or the waiver's reason.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accepted: Option<String>,
    /// Why a guard that is known for this very code does not hold here.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unguarded: Option<String>,
}

impl Suspect {
    /// Its name for people: demangled, or the address.
    pub fn name(&self) -> String {
        match &self.symbol {
            Some(symbol) => readable(symbol),
            None => format!("the code at {:#x}", self.address),
        }
    }
}

impl Culprit {
    /// How many instructions are not accepted.
    pub fn open(&self) -> usize {
        self.functions
            .iter()
            .filter(|function| function.accepted.is_none())
            .map(|function| function.instructions)
            .sum()
    }

    /// One line: `ring 0.17.14: 697 instructions in 9 functions of chacha-armv4-linux32.o, ...; blog -> ring 0.17.14`.
    pub fn line(&self) -> String {
        let mut line = format!(
            "{}: {} in {}",
            self.origin.describe(),
            count(self.instructions, "instruction"),
            count(self.functions.len(), "function")
        );
        let objects: BTreeSet<&str> = self
            .functions
            .iter()
            .filter_map(|function| function.object.as_deref())
            .collect();
        if !objects.is_empty() {
            line.push_str(&format!(" of {}", objects.into_iter().collect::<Vec<_>>().join(", ")));
        }
        if self.path.len() > 1 {
            line.push_str(&format!("; {}", self.path.join(" -> ")));
        }
        let accepted = self.instructions - self.open();
        if accepted == self.instructions {
            line.push_str("; accepted");
        } else if accepted > 0 {
            line.push_str(&format!("; {accepted} of them accepted"));
        }
        line
    }
}

/// `1 function`, `2 functions`.
fn count(number: usize, what: &str) -> String {
    match number {
        1 => format!("1 {what}"),
        _ => format!("{number} {what}s"),
    }
}

/// Groups instructions by function and functions by origin, most instructions first. Functions whose guard was checked are
/// accepted.
///
/// # Errors
///
/// For a program whose headers cannot be read.
pub fn culprits(program: &[u8], instructions: &[Instruction], evidence: &Evidence) -> Result<Vec<Culprit>, ElfError> {
    if instructions.is_empty() {
        return Ok(Vec::new());
    }
    // A function is a name and a place: names of local functions need not be the only ones.
    let mut functions: BTreeMap<(Option<&str>, u64), Vec<&Instruction>> = BTreeMap::new();
    for instruction in instructions {
        let place = instruction.function.unwrap_or(match instruction.symbol {
            Some(_) => 0,
            None => instruction.address,
        });
        functions
            .entry((instruction.symbol.as_deref(), place))
            .or_default()
            .push(instruction);
    }
    let guards = Program::new(program)?;
    // Who leads to whom is a question for what has no guard; it takes longest to answer.
    let mut graph: Option<Option<CallGraph>> = None;
    let mut found: BTreeMap<Origin, Vec<Suspect>> = BTreeMap::new();
    for ((symbol, _), members) in functions {
        let address = members.iter().map(|member| member.address).min().unwrap_or_default();
        let (mut origin, object) = evidence.origin(address, symbol);
        let guard = members
            .iter()
            .map(|member| guards.as_ref().map_or(Known::No, |guards| guards.known(member.address)))
            .reduce(weaker)
            .unwrap_or(Known::No);
        let mut suspect = Suspect {
            symbol: symbol.map(str::to_owned),
            object,
            address,
            instructions: members.len(),
            needs: members.iter().map(|member| member.needs.clone()).collect(),
            reached: None,
            accepted: None,
            unguarded: None,
        };
        match guard {
            Known::Guarded(guard) => {
                suspect.accepted = Some(format!("{} of {}: {}", guard.function, guard.part, guard.reason));
                // Its words are known, so whose they are is, too.
                if matches!(origin, Origin::Unknown { .. }) {
                    origin = Origin::Toolchain {
                        part: guard.part.to_owned(),
                        version: "by its words".to_owned(),
                    };
                }
            }
            other => {
                if let Known::Not(guard, problem) = other {
                    suspect.unguarded = Some(format!(
                        "it is {} of {}, but its guard is not there: {problem}",
                        guard.function, guard.part
                    ));
                }
                if graph.is_none() {
                    graph = Some(CallGraph::of(program)?);
                }
                suspect.reached = graph.as_ref().and_then(|graph| graph.as_ref()?.is_reached(address));
            }
        }
        found.entry(origin).or_default().push(suspect);
    }
    let mut culprits: Vec<Culprit> = found
        .into_iter()
        .map(|(origin, mut functions)| {
            functions.sort_by_key(|function| function.address);
            Culprit {
                origin,
                path: Vec::new(),
                instructions: functions.iter().map(|function| function.instructions).sum(),
                functions,
            }
        })
        .collect();
    culprits.sort_by(|a, b| (b.open(), b.instructions, &a.origin).cmp(&(a.open(), a.instructions, &b.origin)));
    Ok(culprits)
}

/// Of what is known of two instructions of a function, what can be said of both.
fn weaker(one: Known, other: Known) -> Known {
    match (one, other) {
        (Known::Guarded(one), Known::Guarded(other)) if one == other => Known::Guarded(one),
        (Known::Not(guard, problem), _) | (_, Known::Not(guard, problem)) => Known::Not(guard, problem),
        _ => Known::No,
    }
}
