//! The instructions themselves: what `isa::walk` finds, grouped by function.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use super::checks::Checks;
use super::report::Rule;
use crate::elf::Elf;
use crate::isa::walk::{self, Beyond, Evidence, Method, Odd, State, Walk};

/// What was decoded, and everything that the platform lacks. Complete: only the text for people is cut.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Code {
    /// How code was told from data: `mapping symbols`, `control flow`.
    pub method: String,
    /// Instructions in ARM state.
    pub arm: u64,
    /// Instructions in Thumb state.
    pub thumb: u64,
    /// How many of them read as code, although neither mapping symbols nor control flow prove it.
    pub presumed: u64,
    /// Bytes of data between them.
    pub data: u64,
    /// Bytes of executable sections that nothing leads to and that do not read as code.
    pub unreached: u64,
    /// Bytes of executable segments in sections that are not executable.
    pub beside: u64,
    /// Functions with instructions that the platform lacks, by address.
    pub functions: Vec<Function>,
    /// Words in unreached bytes that the platform would lack if they were instructions: no finding, since they may be data.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub not_reached: Vec<Instruction>,
}

/// A function with instructions that the platform lacks.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Function {
    /// Its symbol, not demangled.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub symbol: Option<String>,
    /// Where it begins, as far as that is known.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub start: Option<u64>,
    /// Its section.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub section: Option<String>,
    /// Whether all of it surely is code.
    pub certain: bool,
    /// All of them, by address.
    pub instructions: Vec<Instruction>,
}

/// One instruction.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Instruction {
    /// Address; in an object file the offset in its section.
    pub address: u64,
    /// Its bytes in the order of a little-endian file, in hexadecimal.
    pub bytes: String,
    /// `arm`, `thumb`.
    pub state: String,
    /// Mnemonic or group.
    pub name: String,
    /// What the platform lacks: `NEON`. For others `undefined` or `unpredictable`.
    pub needs: String,
    /// `mapped`, `reached`, `pointed`, `reads`, `unreached`: see `isa::walk`.
    pub evidence: String,
}

fn hex(bytes: &[u8]) -> String {
    let bytes: Vec<String> = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    bytes.join(" ")
}

fn state(state: State) -> String {
    match state {
        State::Arm => "arm",
        State::Thumb => "thumb",
    }
    .to_owned()
}

fn evidence(evidence: Evidence) -> String {
    match evidence {
        Evidence::Mapped => "mapped",
        Evidence::Reached => "reached",
        Evidence::Pointed => "pointed",
        Evidence::Reads => "reads",
        Evidence::Unreached => "unreached",
    }
    .to_owned()
}

impl From<&Beyond> for Instruction {
    fn from(beyond: &Beyond) -> Self {
        Instruction {
            address: beyond.address,
            bytes: hex(&beyond.bytes()),
            state: state(beyond.state),
            name: beyond.name.to_owned(),
            needs: beyond.needs.name().to_owned(),
            evidence: evidence(beyond.evidence),
        }
    }
}

impl Instruction {
    fn odd(odd: &Odd) -> Self {
        Instruction {
            address: odd.address,
            bytes: hex(&odd.bytes()),
            state: state(odd.state),
            name: odd.name.unwrap_or("no known instruction").to_owned(),
            needs: odd.name.map_or("undefined", |_| "unpredictable").to_owned(),
            evidence: evidence(odd.evidence),
        }
    }
}

impl Function {
    /// `ChaCha20_ctr32_neon: 212 instructions, NEON, first vld/vst (elements) at 0x1234 (8f 0a 21 f4)`.
    pub fn describe(&self) -> String {
        let count = self.instructions.len();
        let mut needs: Vec<&str> = self
            .instructions
            .iter()
            .map(|instruction| instruction.needs.as_str())
            .collect();
        needs.sort_unstable();
        needs.dedup();
        let name = match (&self.symbol, self.start, &self.section) {
            (Some(symbol), ..) => symbol.clone(),
            (None, Some(start), _) => format!("function at {start:#x}"),
            (None, None, Some(section)) => section.clone(),
            (None, None, None) => "code".to_owned(),
        };
        let first = self.instructions.first().map_or(String::new(), |first| {
            format!(", first {} at {:#x} ({})", first.name, first.address, first.bytes)
        });
        let plural = if count == 1 { "" } else { "s" };
        format!("{name}: {count} instruction{plural}, {}{first}", needs.join(", "))
    }
}

impl Code {
    fn of(walk: &Walk) -> Self {
        let counts = walk.counts;
        let mut functions: Vec<Function> = Vec::new();
        let mut index: BTreeMap<Key, usize> = BTreeMap::new();
        for beyond in walk
            .beyond
            .iter()
            .filter(|beyond| beyond.evidence != Evidence::Unreached)
        {
            let symbol = beyond.symbol.as_ref().map(|symbol| symbol.name.to_string());
            let section = beyond.section.as_ref().map(|section| section.to_string());
            // A symbol is one function wherever it was entered.
            let start = match &beyond.symbol {
                Some(symbol) => Some(beyond.address.wrapping_sub(symbol.offset)),
                None => beyond.function,
            };
            let at = *index
                .entry((section.clone(), start, symbol.clone()))
                .or_insert_with(|| {
                    functions.push(Function {
                        symbol,
                        start,
                        section,
                        certain: true,
                        instructions: Vec::new(),
                    });
                    functions.len() - 1
                });
            functions[at].certain &= beyond.certain;
            functions[at].instructions.push(beyond.into());
        }
        let unreached = walk
            .beyond
            .iter()
            .filter(|beyond| beyond.evidence == Evidence::Unreached);
        Code {
            method: match walk.method {
                Method::MappingSymbols => "mapping symbols",
                Method::ControlFlow => "control flow",
                Method::NoCode => "no executable bytes",
            }
            .to_owned(),
            arm: counts.arm,
            thumb: counts.thumb,
            presumed: counts.presumed,
            data: counts.data,
            unreached: counts.unreached,
            beside: counts.beside,
            functions,
            not_reached: unreached.map(Instruction::from).collect(),
        }
    }
}

type Key = (Option<String>, Option<u64>, Option<String>);

/// A pattern in which `*` stands for any characters: addresses move with every release, so waivers for code leave them open.
pub(super) fn like(pattern: &str, text: &str) -> bool {
    let mut parts = pattern.split('*');
    let Some(mut rest) = parts.next().and_then(|first| text.strip_prefix(first)) else {
        return false;
    };
    let mut parts = parts.peekable();
    if parts.peek().is_none() {
        return rest.is_empty();
    }
    while let Some(part) = parts.next() {
        if parts.peek().is_none() {
            return rest.ends_with(part);
        }
        match rest.find(part) {
            Some(at) => rest = &rest[at + part.len()..],
            None => return false,
        }
    }
    true
}

impl Checks {
    /// Decodes everything that is executable. Nothing where no decoder knows the platform, which the report says; nothing for a
    /// file of another machine, which is a finding already.
    pub(super) fn code(&mut self, bytes: &[u8], elf: &Elf) -> Option<Code> {
        let Some(features) = self.isa().features() else {
            self.note(
                Rule::Walk,
                format!("not decoded: for {} the tool chain is believed", self.platform()),
            );
            return None;
        };
        if (elf.machine, elf.class) != self.isa().machine() {
            return None;
        }
        let walk = match walk::walk(bytes, features) {
            Ok(Some(walk)) => walk,
            Ok(None) => return None,
            Err(error) => {
                self.check(
                    Rule::Walk,
                    false,
                    error.to_string(),
                    "code that can be found",
                    "nothing could be decoded; `readelf -aW FILE` shows how far the file can be read",
                );
                return None;
            }
        };
        let code = Code::of(&walk);
        self.walked(&code);
        let platform = self.platform();
        let later = self.later_chip();
        let expected = format!("no instruction that {platform} lacks");
        if code.functions.is_empty() {
            self.check(Rule::Beyond, true, "none", expected.as_str(), "");
        }
        for function in &code.functions {
            let hint = match function.certain {
                true => later.clone(),
                false => format!("{later}. Nothing proves that this is code, but it is entered or reads like code"),
            };
            self.check(Rule::Beyond, false, function.describe(), expected.as_str(), &hint);
        }
        self.odd(
            Rule::Undefined,
            &walk.undefined,
            "only defined instructions",
            "no chip is known to have it: data among code, a damaged file, or code for a chip that this program does not know",
        );
        self.odd(
            Rule::Unpredictable,
            &walk.unpredictable,
            "only predictable instructions",
            "the architecture leaves open what it does; another chip may do something else",
        );
        Some(code)
    }

    fn walked(&mut self, code: &Code) {
        let mut words = vec![format!("{} by {}", code.arm + code.thumb, code.method)];
        if code.presumed > 0 {
            words.push(format!("{} of them presumed", code.presumed));
        }
        if code.unreached > 0 {
            words.push(format!("{} bytes not reached", code.unreached));
        }
        self.note(Rule::Walk, words.join(", "));
        if !code.not_reached.is_empty() {
            self.note(
                Rule::NotReached,
                format!(
                    "{} words that {} would lack, in bytes that may be data",
                    code.not_reached.len(),
                    self.platform()
                ),
            );
        }
    }

    /// Findings where it surely is code; elsewhere it is a sign that it is none, and worth a line only.
    fn odd(&mut self, rule: Rule, found: &[Odd], expected: &str, hint: &str) {
        let (sure, presumed): (Vec<&Odd>, Vec<&Odd>) = found.iter().partition(|odd| odd.evidence <= Evidence::Reached);
        let mut functions: Vec<Function> = Vec::new();
        for odd in sure {
            let symbol = odd.symbol.as_ref().map(|symbol| symbol.name.to_string());
            let same = functions.last().is_some_and(|last| last.symbol == symbol);
            if !same {
                functions.push(Function {
                    start: odd
                        .symbol
                        .as_ref()
                        .map(|symbol| odd.address.wrapping_sub(symbol.offset)),
                    symbol,
                    section: None,
                    certain: true,
                    instructions: Vec::new(),
                });
            }
            if let Some(last) = functions.last_mut() {
                last.instructions.push(Instruction::odd(odd));
            }
        }
        for function in &functions {
            self.check(rule, false, function.describe(), expected, hint);
        }
        if !presumed.is_empty() {
            self.note(
                rule,
                format!("{} words that are only presumed to be code", presumed.len()),
            );
        }
    }
}

#[cfg(test)]
mod tests {
    use super::like;

    #[test]
    fn patterns_leave_addresses_open() {
        let text = "function at 0x10: 1 instruction, NEON, first ldc/stc at 0x14 (01 02)";
        assert!(like(text, text));
        assert!(like("*: 1 instruction, NEON, first ldc/stc at * (01 02)", text));
        assert!(like("*", text) && like("function*", text) && like("*(01 02)", text));
        assert!(!like("*: 2 instructions*", text));
        assert!(!like("function", text) && !like("*(01", text) && !like("", text));
        assert!(like("a*b*b", "a-b-b") && !like("a*b*b", "a-b"));
    }
}
