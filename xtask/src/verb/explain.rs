//! `cargo xtask audit --explain SYMBOL|CRATE`: the code that a platform lacks in the program that was compiled last, how it
//! got there, and how it would get out.

use serde::Serialize;

use crate::audit::waive::waive;
use crate::compile::{Record, dependencies};
use crate::culprit::graph::Graph;
use crate::culprit::list::{Culprit, Instruction, Suspect, culprits};
use crate::culprit::origin::Origin;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::isa::decode::{self, Features, Verdict};
use crate::isa::walk::{Beyond, State, walk};
use crate::isa::{Isa, decode::is_wide};
use crate::policy::Policy;
use crate::target::{Platform, TARGETS};
use crate::verb::Outcome;

/// What is said of one origin.
#[derive(Debug, Serialize)]
struct Explanation {
    /// Triple of the program.
    triple: String,
    /// Whose code, with the functions that were asked for.
    culprit: Culprit,
    /// Changes of manifests that take the crate out of the program; each was tried on the graph of features.
    ways_out: Vec<String>,
    /// Direct dependencies of the program that lead to the crate, where no single change is enough.
    entrances: Vec<String>,
    /// Why nothing can be said of path and ways out.
    #[serde(skip_serializing_if = "Option::is_none")]
    unknown: Option<String>,
    /// The code around the first instruction of each function.
    listings: Vec<Listing>,
}

/// A few lines of code.
#[derive(Debug, Serialize)]
struct Listing {
    /// Symbol, or where it is.
    function: String,
    /// Who decoded it: `llvm-objdump`, or this program, which knows what came with which architecture, but no operands.
    decoder: String,
    /// Address, bytes, text, and a mark at what the platform lacks.
    lines: Vec<String>,
}

/// How many instructions are shown before and behind.
const AROUND: u64 = 3;

/// Explains `what`: the name of a crate or of a part of the tool chain, or part of the name of a function. Exit code 1 when
/// something of it is neither guarded nor waived.
pub fn run(cx: &Cx, policy: &Policy, what: &str, platform: Platform, json: bool) -> Result<Outcome> {
    let features = Isa::from(platform).features().context(|| {
        format!("there is nothing to explain: instructions of {platform} are not decoded, its tool chain is believed")
    })?;
    let mut explanations = Vec::new();
    let mut others: Vec<String> = Vec::new();
    let mut found = false;
    for target in TARGETS.iter().filter(|target| target.platform == platform) {
        let Some(record) = Record::read(cx, target.triple)? else {
            continue;
        };
        found = true;
        let Some(program) = record.program()? else {
            return Err(Error::new(format!(
                "{} is not what `cargo xtask image` made last",
                cx.show(&record.program)
            ))
            .hint("`cargo xtask image` makes it anew, whether or not it then refuses it"));
        };
        let walked = walk(&program, features)
            .map_err(|error| Error::new(error.to_string()))?
            .context(|| format!("{} is not for ARM", cx.show(&record.program)))?;
        let instructions: Vec<Instruction> = walked.beyond.iter().map(Instruction::from).collect();
        let mut all = culprits(&program, &instructions, &record.evidence(cx, &program))
            .map_err(|error| Error::new(error.to_string()))?;
        // What idles is for the audit to say.
        let _ = waive(&mut all, &policy.code_waivers(platform));
        others.extend(all.iter().map(|culprit| culprit.origin.describe()));
        let mut wanted: Vec<Culprit> = all.into_iter().filter_map(|culprit| asked(culprit, what)).collect();
        if wanted.is_empty() && record.packages.iter().any(|package| package.name == what) {
            cx.ui.note(&format!(
                "{what} is in the program for {}, and none of its code needs more than {platform} has",
                target.triple
            ));
            others.clear();
            continue;
        }
        let crates = wanted
            .iter()
            .any(|culprit| matches!(culprit.origin, Origin::Crate { .. }));
        let graph = match crates {
            true => dependencies(cx, &record.package, target.triple, &record.packages)?,
            false => Err("only crates have one".to_owned()),
        };
        for culprit in &mut wanted {
            trace(culprit, &graph);
        }
        for culprit in wanted {
            let listings = culprit
                .functions
                .iter()
                .map(|function| listing(cx, &record, &program, function, &walked.beyond, features))
                .collect();
            let (mut ways_out, mut entrances, mut unknown) = (Vec::new(), Vec::new(), None);
            if let Origin::Crate { name, version } = &culprit.origin {
                match &graph {
                    Ok(graph) => {
                        ways_out = graph.ways_out(name, version);
                        if ways_out.is_empty() {
                            entrances = graph.entrances(name, version);
                        }
                    }
                    Err(problem) => unknown = Some(problem.clone()),
                }
            }
            explanations.push(Explanation {
                triple: target.triple.to_owned(),
                culprit,
                ways_out,
                entrances,
                unknown,
                listings,
            });
        }
    }
    if !found {
        return Err(Error::new(format!("no program for {platform} was compiled yet"))
            .hint(format!("make one: `cargo xtask image --platform {platform}`")));
    }
    if explanations.is_empty() && !others.is_empty() {
        others.sort();
        others.dedup();
        return Err(
            Error::new(format!("nothing called {what} has code that {platform} lacks"))
                .hint(format!("what has: {}", others.join(", "))),
        );
    }
    let open = explanations.iter().any(|explanation| explanation.culprit.open() > 0);
    if json {
        cx.ui.result(&serde_json::to_string_pretty(&explanations)?);
    } else {
        let texts: Vec<String> = explanations.iter().map(Explanation::text).collect();
        cx.ui.result(texts.join("\n\n").trim_end());
    }
    Ok(if open { Outcome::Findings } else { Outcome::Fine })
}

/// Fills in how a crate got into the program.
pub fn trace(culprit: &mut Culprit, graph: &std::result::Result<Graph, String>) {
    if let (Origin::Crate { name, version }, Ok(graph)) = (&culprit.origin, graph) {
        culprit.path = graph.path(name, version).unwrap_or_default();
    }
}

/// The culprit with all functions when it is the one that was asked for, else with those that were.
fn asked(mut culprit: Culprit, what: &str) -> Option<Culprit> {
    let named = match &culprit.origin {
        Origin::Crate { name, .. } => name == what || name.replace('-', "_") == what,
        Origin::Toolchain { part, .. } => part == what,
        Origin::Package { name, .. } => name == what,
        Origin::Unknown { .. } => false,
    };
    if named {
        return Some(culprit);
    }
    let meant = |function: &Suspect| {
        let symbol = function.symbol.as_deref().unwrap_or_default();
        symbol.contains(what) || function.name().contains(what)
    };
    culprit.functions.retain(meant);
    culprit.instructions = culprit.functions.iter().map(|function| function.instructions).sum();
    (!culprit.functions.is_empty()).then_some(culprit)
}

/// The code around the first of a function's instructions.
fn listing(
    cx: &Cx,
    record: &Record,
    program: &[u8],
    function: &Suspect,
    beyond: &[Beyond],
    features: Features,
) -> Listing {
    let first = beyond.iter().find(|beyond| beyond.address == function.address);
    let thumb = first.is_some_and(|beyond| beyond.state == State::Thumb);
    let start = function.address.saturating_sub(AROUND * if thumb { 2 } else { 4 });
    let end = function.address + 4 * (AROUND + 1);
    let mark = |address: u64| beyond.iter().any(|beyond| beyond.address == address);
    let disassembled = objdump(cx, record, start, end, &mark);
    let (decoder, lines) = match disassembled {
        Some((decoder, lines)) => (decoder, lines),
        None => ("xtask".to_owned(), own(program, start, end, thumb, features, &mark)),
    };
    Listing {
        function: function.name(),
        decoder,
        lines,
    }
}

/// What LLVM's disassembler makes of it, where that is installed. It is told to know everything, or it would print nothing.
fn objdump(
    cx: &Cx,
    record: &Record,
    start: u64,
    end: u64,
    mark: &dyn Fn(u64) -> bool,
) -> Option<(String, Vec<String>)> {
    let names = ["llvm-objdump"].into_iter().map(str::to_owned);
    let names = names.chain((14..=22).rev().map(|version| format!("llvm-objdump-{version}")));
    for name in names {
        let output = cx
            .shell
            .command(&name)
            .args(["-d", "--triple=armv8a", "--mattr=+neon,+fullfp16,+crypto"])
            .arg(format!("--start-address={start:#x}"))
            .arg(format!("--stop-address={end:#x}"))
            .arg(&record.program)
            .output();
        let Ok(output) = output else { continue };
        let lines: Vec<String> = output
            .text()
            .lines()
            .filter_map(|line| {
                let (address, text) = line.trim_start().split_once(':')?;
                let address = u64::from_str_radix(address, 16).ok()?;
                let sign = if mark(address) { ">" } else { " " };
                let text: Vec<&str> = text.split_whitespace().collect();
                Some(format!("{sign} {address:8x}  {}", text.join(" ")))
            })
            .collect();
        if !lines.is_empty() {
            return Some((name, lines));
        }
    }
    None
}

/// Bytes, and what the decoder of this program calls them.
fn own(
    program: &[u8],
    start: u64,
    end: u64,
    thumb: bool,
    features: Features,
    mark: &dyn Fn(u64) -> bool,
) -> Vec<String> {
    let Ok(Some(code)) = crate::elf::code::Code::parse(program) else {
        return Vec::new();
    };
    let byte = |address: u64| {
        let address = u32::try_from(address).ok()?;
        let span = &code.spans[code.span_at(address)?];
        span.bytes.get((address - span.address) as usize).copied()
    };
    let half = |address: u64| Some(u16::from_le_bytes([byte(address)?, byte(address + 1)?]));
    let mut lines = Vec::new();
    let mut address = start;
    while address < end {
        let Some(first) = half(address) else { break };
        let (width, verdict) = if thumb {
            let second = half(address + 2).unwrap_or(0);
            (
                if is_wide(first) { 4 } else { 2 },
                decode::thumb(first, second, features),
            )
        } else {
            let word = u32::from(half(address + 2).unwrap_or(0)) << 16 | u32::from(first);
            (4, decode::arm(word, features))
        };
        let text = match verdict {
            Verdict::Known { name, .. } => name.to_owned(),
            Verdict::Beyond { name, needs } => format!("{name} ({needs})"),
            Verdict::Unpredictable { name, .. } => format!("{name}, unpredictable"),
            Verdict::Undefined => "undefined".to_owned(),
        };
        let bytes: Vec<String> = (0..width)
            .filter_map(|number| byte(address + number))
            .map(|byte| format!("{byte:02x}"))
            .collect();
        let sign = if mark(address) { ">" } else { " " };
        lines.push(format!("{sign} {address:8x}  {:11}  {text}", bytes.join(" ")));
        address += width;
    }
    lines
}

impl Explanation {
    fn text(&self) -> String {
        let mut text = format!("{}: {}\n", self.triple, self.culprit.line());
        for (function, listing) in self.culprit.functions.iter().zip(&self.listings) {
            let object = function
                .object
                .as_ref()
                .map(|object| format!(" ({object})"))
                .unwrap_or_default();
            let needs: Vec<&str> = function.needs.iter().map(String::as_str).collect();
            text.push_str(&format!(
                "\n{}{object}: {} instruction{}, {}\n",
                function.name(),
                function.instructions,
                if function.instructions == 1 { "" } else { "s" },
                needs.join(", ")
            ));
            for line in &listing.lines {
                text.push_str(&format!("  {line}\n"));
            }
            if !listing.lines.is_empty() {
                text.push_str(&format!("  (decoded by {})\n", listing.decoder));
            }
            text.push_str(match function.reached {
                Some(true) => "  reached: branches or addresses lead here from where the program begins\n",
                Some(false) => "  not reached: no branch and no address in the program leads here\n",
                None => "",
            });
            if let Some(reason) = &function.accepted {
                text.push_str(&format!("  accepted: {reason}\n"));
            }
            if let Some(problem) = &function.unguarded {
                text.push_str(&format!("  not accepted: {problem}\n"));
            }
        }
        let Origin::Crate { name, version } = &self.culprit.origin else {
            return text;
        };
        text.push('\n');
        match &self.unknown {
            Some(problem) => text.push_str(&format!("how it got in: not known, {problem}\n")),
            None => text.push_str(&format!("how it got in: {}\n", self.culprit.path.join(" -> "))),
        }
        text.push_str("ways out:\n");
        for way in &self.ways_out {
            text.push_str(&format!("  {way}\n"));
        }
        if !self.entrances.is_empty() {
            text.push_str(&format!(
                "  no single change is enough: it comes by way of {}\n",
                self.entrances.join(" and ")
            ));
        }
        text.push_str(&format!(
            "  or another crate in the place of {name}; or, where a check at run time keeps the chip from it, a waiver in \
             xtask.toml:\n    [[audit.code-waivers]] with crate = \"{name}\", version = \"{version}\", symbols, guard and \
             reason\n"
        ));
        text
    }
}
