//! From marked words to a list of what the chip lacks.

use super::flow::{Flow, cell, judge_word, level, read_in};
use super::step::Target;
use super::{Beyond, Counts, Evidence, Method, Odd, State, Symbol, Walk};
use crate::elf::code::{Code, Span};
use crate::isa::decode::{Features, Verdict};

pub(super) fn judge(mut flow: Flow<'_>, features: Features, method: Method) -> Walk {
    flow.functions.extend(
        flow.code
            .names
            .iter()
            .filter(|name| name.function)
            .map(|name| name.address),
    );
    flow.functions.sort_unstable();
    flow.functions.dedup();
    let mut judge = Judge {
        code: flow.code,
        functions: &flow.functions,
        features,
        walk: Walk {
            beyond: Vec::new(),
            undefined: Vec::new(),
            unpredictable: Vec::new(),
            counts: Counts::default(),
            method,
        },
    };
    for (span, map) in flow.code.spans.iter().zip(&flow.maps) {
        let mut at = span.address;
        let mut state = State::Arm;
        let mut unread = at;
        while at < span.end() {
            let half = cell(span, at);
            let mut known = false;
            if at % 4 == 0
                && let Some(evidence) = level(map.arm[half / 2])
            {
                judge.word(span, at, State::Arm, evidence);
                (state, known) = (State::Arm, true);
                unread = at + 4;
            }
            if let Some(evidence) = level(map.thumb[half]) {
                let width = judge.word(span, at, State::Thumb, evidence);
                (state, known) = (State::Thumb, true);
                unread = unread.max(at + width);
            }
            let data = map.data[half] != 0;
            if !known && !data && span.expected && at >= unread && (state == State::Thumb || at % 4 == 0) {
                unread = at + judge.word(span, at, state, Evidence::Unreached);
            }
            at += 2 - at % 2;
        }
    }
    flow.rest(&mut judge.walk.counts);
    judge.walk
}

struct Judge<'a> {
    code: &'a Code<'a>,
    functions: &'a [u32],
    features: Features,
    walk: Walk,
}

impl Judge<'_> {
    /// Judges one word and returns its width.
    fn word(&mut self, span: &Span<'_>, address: u32, state: State, evidence: Evidence) -> u32 {
        let target = Target { address, state };
        let Some((word, step)) = read_in(self.code.instructions, span, target) else {
            return 2;
        };
        let counts = &mut self.walk.counts;
        if evidence != Evidence::Unreached {
            match state {
                State::Arm => counts.arm += 1,
                State::Thumb => counts.thumb += 1,
            }
            counts.presumed += u64::from(evidence > Evidence::Reached);
        }
        let verdict = judge_word(word, step.width, state, self.features);
        let odd = |name| Odd {
            address: u64::from(address - span.address + span.shown),
            word,
            width: step.width as u8,
            state,
            name,
            symbol: self.symbol(span, address),
            evidence,
        };
        match verdict {
            Verdict::Known { .. } => {}
            Verdict::Beyond { name, needs } => {
                let function = self.function(span, address);
                self.walk.beyond.push(Beyond {
                    address: u64::from(address - span.address + span.shown),
                    word,
                    width: step.width as u8,
                    state,
                    name,
                    needs,
                    symbol: self.symbol(span, address),
                    section: span.section.clone(),
                    function,
                    evidence,
                    certain: evidence <= Evidence::Reached,
                });
            }
            Verdict::Undefined if evidence != Evidence::Unreached => {
                let odd = odd(None);
                self.walk.undefined.push(odd);
            }
            Verdict::Unpredictable { name, .. } if evidence != Evidence::Unreached => {
                let odd = odd(Some(name));
                self.walk.unpredictable.push(odd);
            }
            Verdict::Undefined | Verdict::Unpredictable { .. } => {}
        }
        step.width
    }

    /// The function whose bytes these are; without one of that size, the nearest label before.
    fn symbol(&self, span: &Span<'_>, address: u32) -> Option<Symbol> {
        /// How many symbols before an address are asked; aliases and labels within functions are few.
        const NEAR: usize = 64;
        let names = &self.code.names;
        let behind = names.partition_point(|name| name.address <= address);
        let near = || {
            names[behind.saturating_sub(NEAR)..behind]
                .iter()
                .rev()
                .take_while(|name| name.address >= span.address)
        };
        let covers = |size: u32, start: u32| size > 0 && address - start < size;
        let found = near()
            .find(|name| name.function && covers(name.size, name.address))
            .or_else(|| near().find(|name| name.size == 0 || !name.function))?;
        // Of several names of one place the first is taken, in the order of names.
        let first = names.partition_point(|name| name.address < found.address);
        let found = names[first..behind]
            .iter()
            .find(|name| name.address == found.address && name.function == found.function && name.size == found.size)
            .unwrap_or(found);
        Some(Symbol {
            name: found.name.clone(),
            offset: u64::from(address - found.address),
        })
    }

    fn function(&self, span: &Span<'_>, address: u32) -> Option<u64> {
        let behind = self.functions.partition_point(|start| *start <= address);
        let start = *self.functions[..behind].last()?;
        (start >= span.address).then(|| u64::from(start - span.address + span.shown))
    }
}
