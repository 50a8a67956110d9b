//! Following control flow through the spans of a file.

use super::registers::Registers;
use super::step::{Next, Step, Target, arm, thumb};
use super::{Counts, Evidence, Method, State, Walk};
use crate::elf::Encoding;
use crate::elf::code::{Code, Mapping, Origin, Span};
use crate::isa::decode::{self, Features, Verdict};

/// How far is looked ahead to see whether words read as code.
pub(super) const AHEAD: usize = 64;
/// How often the walk begins anew with what is now known of literals.
const PASSES: usize = 3;

// Of `Map::data`.
const LITERAL: u8 = 1;
const KNOWN_LITERAL: u8 = 2;
const MAPPED: u8 = 4;
pub(super) const PADDING: u8 = 8;
/// Of `Map::thumb`: there is a second half.
pub(super) const WIDE: u8 = 0x10;

/// What is known of each halfword of a span.
#[derive(Debug)]
pub(super) struct Map {
    /// For each word: 0, or 1 and the evidence that an instruction in ARM state begins there.
    pub(super) arm: Vec<u8>,
    /// The same for each halfword and Thumb state, with [`WIDE`].
    pub(super) thumb: Vec<u8>,
    pub(super) data: Vec<u8>,
}

/// Evidence as it stands in a [`Map`].
const LEVELS: [Evidence; 5] = [
    Evidence::Mapped,
    Evidence::Reached,
    Evidence::Pointed,
    Evidence::Reads,
    Evidence::Unreached,
];

pub(super) fn level(mark: u8) -> Option<Evidence> {
    LEVELS.get(usize::from(mark & 0xf).wrapping_sub(1)).copied()
}

/// Whether an address must read as code to be believed.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum Doubt {
    None,
    /// It must.
    Inside,
    /// It must, as what begins a function or follows a call: no flag is set there that a condition could ask for.
    Fresh,
}

struct Item {
    target: Target,
    evidence: Evidence,
    doubt: Doubt,
}

pub(super) struct Flow<'a> {
    pub(super) code: &'a Code<'a>,
    features: Features,
    pub(super) maps: Vec<Map>,
    queue: Vec<Item>,
    /// Where functions begin, in any order.
    pub(super) functions: Vec<u32>,
    /// Tables without a known length: what they point to, if they are tables.
    pub(super) pointed: Vec<(Target, Doubt)>,
    last: usize,
}

/// Walks all spans and judges what was found.
pub(super) fn walk(code: &Code<'_>, features: Features) -> Walk {
    let mut flow = Flow::new(code, features);
    flow.mapped();
    let before: Vec<(Vec<u8>, Vec<u8>, Vec<u8>)> = flow
        .maps
        .iter()
        .map(|map| (map.arm.clone(), map.thumb.clone(), map.data.clone()))
        .collect();
    for pass in 0..PASSES {
        flow.starts();
        if pass + 1 == PASSES || !flow.literals_in_code() {
            break;
        }
        for (map, (arm, thumb, data)) in flow.maps.iter_mut().zip(&before) {
            for (byte, old) in map.data.iter_mut().zip(data) {
                let literal = *byte & (LITERAL | KNOWN_LITERAL) != 0;
                *byte = old | if literal { KNOWN_LITERAL } else { 0 };
            }
            map.arm.copy_from_slice(arm);
            map.thumb.copy_from_slice(thumb);
        }
        flow.functions.clear();
        flow.pointed.clear();
        flow.queue_mapped();
    }
    flow.gaps();
    let method = match (code.spans.is_empty(), code.marks.is_empty()) {
        (true, _) => Method::NoCode,
        (false, false) => Method::MappingSymbols,
        (false, true) => Method::ControlFlow,
    };
    super::judge::judge(flow, features, method)
}

impl<'a> Flow<'a> {
    pub(super) fn new(code: &'a Code<'a>, features: Features) -> Self {
        let maps = code
            .spans
            .iter()
            .map(|span| Map {
                arm: vec![0; span.bytes.len() / 4 + 3],
                thumb: vec![0; span.bytes.len() / 2 + 6],
                data: vec![0; span.bytes.len() / 2 + 6],
            })
            .collect();
        Flow {
            code,
            features,
            maps,
            queue: Vec::new(),
            functions: Vec::new(),
            pointed: Vec::new(),
            last: 0,
        }
    }

    pub(super) fn span_at(&mut self, address: u32) -> Option<usize> {
        // Most questions are about where the last one was.
        if let Some(span) = self.code.spans.get(self.last)
            && address >= span.address
            && address - span.address < span.bytes.len() as u32
        {
            return Some(self.last);
        }
        let found = self.code.span_at(address)?;
        self.last = found;
        Some(found)
    }

    /// The instruction at an address: its span, its word (Thumb: first half above), and where execution goes.
    pub(super) fn read(&mut self, target: Target) -> Option<(usize, u32, Step)> {
        let index = self.span_at(target.address)?;
        let span = &self.code.spans[index];
        let (word, step) = read_in(self.code.instructions, span, target)?;
        Some((index, word, step))
    }

    /// A word of data in a span.
    pub(super) fn data_word(&mut self, address: u32, size: u8) -> Option<u32> {
        let index = self.span_at(address)?;
        let span = &self.code.spans[index];
        let at = (address - span.address) as usize;
        let bytes = span.bytes.get(at..at + usize::from(size))?;
        let little = self.code.data == Encoding::Little;
        Some(bytes.iter().enumerate().fold(0, |word, (index, byte)| {
            let place = if little { index } else { bytes.len() - 1 - index };
            word | u32::from(*byte) << (8 * place)
        }))
    }

    pub(super) fn is_relocated(&self, address: u32) -> bool {
        self.code.relocatable && self.code.relocated.binary_search(&address).is_ok()
    }

    pub(super) fn mark(&mut self, index: usize, target: Target, wide: bool, evidence: Evidence) {
        let span = &self.code.spans[index];
        let map = &mut self.maps[index];
        let mark = evidence as u8 + 1;
        match target.state {
            State::Arm => map.arm[cell(span, target.address) / 2] = mark,
            State::Thumb => map.thumb[cell(span, target.address)] = mark | if wide { WIDE } else { 0 },
        }
    }

    pub(super) fn marked(&self, index: usize, target: Target) -> Option<Evidence> {
        let span = &self.code.spans[index];
        level(match target.state {
            State::Arm => self.maps[index].arm[cell(span, target.address) / 2],
            State::Thumb => self.maps[index].thumb[cell(span, target.address)],
        })
    }

    /// What mapping symbols say: everything between them, whether anything leads there or not.
    pub(super) fn mapped(&mut self) {
        let code = self.code;
        for (index, (address, mapping, span_index)) in code.marks.iter().enumerate() {
            let span = &code.spans[*span_index];
            let end = match code.marks.get(index + 1) {
                Some((next, _, same)) if same == span_index => *next,
                _ => span.end(),
            };
            match mapping {
                Mapping::Data => {
                    let (from, to) = (cell(span, *address), cell(span, end));
                    self.maps[*span_index].data[from..to].fill(MAPPED);
                }
                Mapping::Arm | Mapping::Thumb => {
                    let state = if *mapping == Mapping::Arm {
                        State::Arm
                    } else {
                        State::Thumb
                    };
                    let mut at = *address;
                    while at < end {
                        let target = Target { address: at, state };
                        let Some((_, step)) = read_in(code.instructions, span, target) else {
                            break;
                        };
                        self.mark(*span_index, target, step.width == 4, Evidence::Mapped);
                        at += step.width;
                    }
                }
            }
        }
        self.queue_mapped();
    }

    /// Where mapped code goes, if mapping symbols do not call that code too.
    pub(super) fn queue_mapped(&mut self) {
        let code = self.code;
        for (index, (address, mapping, span_index)) in code.marks.iter().enumerate() {
            let state = match mapping {
                Mapping::Data => continue,
                Mapping::Arm => State::Arm,
                Mapping::Thumb => State::Thumb,
            };
            let span = &code.spans[*span_index];
            let end = match code.marks.get(index + 1) {
                Some((next, _, same)) if same == span_index => *next,
                _ => span.end(),
            };
            let mut at = *address;
            // Whether the end is reached, and by what: 0 not, 1 after a call, 2 surely.
            let mut reached = 0;
            let mut conditional = 0u8;
            while at < end {
                let here = Target { address: at, state };
                let Some((word, step)) = read_in(code.instructions, span, here) else {
                    reached = 0;
                    break;
                };
                let filled_in = self.is_relocated(at);
                reached = match step.next {
                    Next::On if is_padding(word, step.width) => 1,
                    // An undefined word traps.
                    Next::On if self.verdict(word, step, state) == Verdict::Undefined => 1,
                    Next::On => 2,
                    Next::Call(target) => {
                        if let Some(target) = target.filter(|_| !filled_in) {
                            self.functions.push(target.address);
                            self.push(target, Evidence::Reached, Doubt::None);
                        }
                        1
                    }
                    Next::Branch {
                        target,
                        conditional: may,
                    } => {
                        if !filled_in {
                            self.push(target, Evidence::Reached, Doubt::None);
                        }
                        if may || conditional > 0 { 2 } else { 0 }
                    }
                    Next::Away { conditional: may, .. } => {
                        if may || conditional > 0 {
                            2
                        } else {
                            0
                        }
                    }
                };
                conditional = if step.it > 0 {
                    step.it
                } else {
                    conditional.saturating_sub(1)
                };
                at += step.width;
            }
            if reached > 0 {
                let target = Target { address: at, state };
                let doubt = if reached == 1 { Doubt::Fresh } else { Doubt::None };
                self.push(target, Evidence::Reached, doubt);
            }
        }
    }

    /// Queues what is not known as well already.
    pub(super) fn push(&mut self, target: Target, evidence: Evidence, doubt: Doubt) {
        let aligned = target.state == State::Thumb || target.address & 3 == 0;
        let Some(index) = self.span_at(target.address).filter(|_| aligned) else {
            return;
        };
        if self.marked(index, target).is_none_or(|known| evidence < known) {
            self.queue.push(Item {
                target,
                evidence,
                doubt,
            });
        }
    }

    pub(super) fn starts(&mut self) {
        let code = self.code;
        for origin in [Origin::Called, Origin::Unwound, Origin::Pointed, Origin::Guessed] {
            let usual = self.usual_state();
            let other = if usual == State::Arm { State::Thumb } else { State::Arm };
            let has_other = self.has(other);
            for start in code.starts.iter().filter(|start| start.origin == origin) {
                let Some(index) = self.span_at(start.address) else {
                    continue;
                };
                let span = &code.spans[index];
                let mut states = match start.thumb {
                    Some(true) => vec![State::Thumb],
                    Some(false) => vec![State::Arm],
                    None => vec![usual, other],
                };
                if origin == Origin::Called {
                    let target = Target {
                        address: start.address,
                        state: states[0],
                    };
                    self.functions.push(target.address);
                    self.push(target, Evidence::Reached, Doubt::None);
                    continue;
                }
                // A pointer to what is not meant to be executed, or to what mapping symbols call data, is a pointer to data.
                if !span.expected || self.maps[index].data[cell(span, start.address)] & MAPPED != 0 {
                    continue;
                }
                // What only may be an address does not bring a state into a file that is nowhere else in it.
                if origin == Origin::Guessed || start.thumb.is_none() {
                    states.retain(|state| has_other || *state == usual);
                }
                let targets = states.into_iter().map(|state| Target {
                    address: start.address,
                    state,
                });
                for target in targets {
                    if self.marked(index, target).is_some() {
                        self.functions.push(target.address);
                        break;
                    }
                    if self.reads_as_code(target, Doubt::Fresh) {
                        self.functions.push(target.address);
                        self.push(target, Evidence::Pointed, Doubt::None);
                        break;
                    }
                }
            }
            self.drain();
            // Tables without a length, and addresses of functions that code computes.
            while let Some((target, doubt)) = self.pointed.pop() {
                self.push(target, Evidence::Pointed, doubt);
                self.drain();
            }
        }
    }

    /// Whether there is any code in this state.
    pub(super) fn has(&self, state: State) -> bool {
        self.maps.iter().any(|map| match state {
            State::Arm => map.arm.iter().any(|mark| *mark != 0),
            State::Thumb => map.thumb.iter().any(|mark| *mark != 0),
        })
    }

    /// The state of most of what was found so far.
    pub(super) fn usual_state(&self) -> State {
        let count = |marks: &[u8]| marks.iter().take(1 << 14).filter(|mark| **mark != 0).count();
        let (arm, thumb) = self.maps.iter().fold((0, 0), |(arm, thumb), map| {
            (arm + count(&map.arm), thumb + count(&map.thumb))
        });
        if thumb > arm { State::Thumb } else { State::Arm }
    }

    pub(super) fn drain(&mut self) {
        while let Some(item) = self.queue.pop() {
            if item.doubt != Doubt::None && !self.reads_as_code(item.target, item.doubt) {
                continue;
            }
            self.trace(item.target, item.evidence);
        }
    }

    /// From one address on, as long as execution surely goes on.
    pub(super) fn trace(&mut self, from: Target, evidence: Evidence) {
        let mut here = from;
        let mut registers = Registers::default();
        let mut conditional = 0u8;
        loop {
            let Some((index, word, step)) = self.read(here) else {
                return;
            };
            if self.marked(index, here).is_some_and(|known| known <= evidence) {
                return;
            }
            // What is only presumed does not go on into data, nor beyond what no chip has.
            let sure = evidence <= Evidence::Reached;
            if !sure
                && (!self.free(index, here, step.width) || self.verdict(word, step, here.state) == Verdict::Undefined)
            {
                return;
            }
            self.mark(index, here, step.width == 4, evidence);
            let filled_in = self.is_relocated(here.address);
            let mut loaded = None;
            if let Some((address, size)) = step.literal {
                self.literal(address, size);
                if size == 4 && !self.is_relocated(address) {
                    loaded = self.data_word(address, 4);
                }
            }
            let on = Target {
                address: here.address.wrapping_add(step.width),
                state: here.state,
            };
            let in_it = conditional > 0;
            conditional = if step.it > 0 {
                step.it
            } else {
                conditional.saturating_sub(1)
            };
            match step.next {
                // Linkers make a `nop` of a jump to what is not there, and the literals stay behind it.
                Next::On if is_padding(word, step.width) && !self.reads_as_code(on, Doubt::Inside) => return,
                Next::On => {}
                Next::Call(target) => {
                    if let Some(target) = target.filter(|_| !filled_in) {
                        self.functions.push(target.address);
                        self.push(target, evidence, Doubt::None);
                    } else {
                        self.call_by_register(here, word, &registers, evidence);
                    }
                    registers.call();
                    if !self.reads_as_code(on, Doubt::Fresh) {
                        return;
                    }
                    here = on;
                    continue;
                }
                Next::Branch { target, conditional } => {
                    if !filled_in {
                        self.push(target, evidence, Doubt::None);
                    }
                    if !conditional && !in_it {
                        return;
                    }
                }
                Next::Away { to, conditional } => {
                    self.away(to, here, &registers, evidence);
                    if !conditional && !in_it {
                        return;
                    }
                }
            }
            match here.state {
                State::Arm => registers.arm(word, here.address, loaded),
                State::Thumb => {
                    let (first, second) = halves(word, step.width);
                    registers.thumb(first, second, here.address, loaded);
                }
            }
            self.computed(here.state, word, step.width, &registers);
            here = on;
        }
    }

    pub(super) fn literal(&mut self, address: u32, size: u32) {
        let Some(index) = self.span_at(address) else { return };
        let span = &self.code.spans[index];
        let (from, to) = (cell(span, address), cell(span, address.saturating_add(size - 1)));
        let map = &mut self.maps[index];
        let last = map.data.len() - 1;
        for byte in &mut map.data[from.min(last)..=to.min(last)] {
            *byte |= LITERAL;
        }
    }

    pub(super) fn verdict(&self, word: u32, step: Step, state: State) -> Verdict {
        judge_word(word, step.width, state, self.features)
    }

    /// Whether this reads as code, up to the first instruction that does not fall through.
    pub(super) fn reads_as_code(&mut self, from: Target, doubt: Doubt) -> bool {
        if from.state == State::Arm && from.address & 3 != 0 {
            return false;
        }
        let mut here = from;
        let mut conditional = 0u8;
        let mut flags = doubt != Doubt::Fresh;
        for _ in 0..AHEAD {
            let Some((index, word, step)) = self.read(here) else {
                return false;
            };
            if self.marked(index, here).is_some() {
                return true;
            }
            if !self.free(index, here, step.width) || word == 0 {
                return false;
            }
            if here.state == State::Arm && !flags {
                // Words of a literal pool begin with zeros or ones more often than with the condition "always".
                if word >> 28 < 14 {
                    return false;
                }
                flags = sets_flags(word);
            }
            if matches!(
                self.verdict(word, step, here.state),
                Verdict::Undefined | Verdict::Unpredictable { .. }
            ) {
                return false;
            }
            let in_it = conditional > 0;
            conditional = if step.it > 0 {
                step.it
            } else {
                conditional.saturating_sub(1)
            };
            let filled_in = self.is_relocated(here.address);
            match step.next {
                Next::On => {}
                Next::Call(target) => return target.is_none_or(|target| filled_in || self.could_be_code(target)),
                Next::Branch { target, conditional } => {
                    if !filled_in && !self.could_be_code(target) {
                        return false;
                    }
                    if !conditional && !in_it {
                        return true;
                    }
                }
                Next::Away { conditional, .. } => {
                    if !conditional && !in_it {
                        return true;
                    }
                }
            }
            here.address = here.address.wrapping_add(step.width);
        }
        true
    }

    /// Neither data nor the inside of another instruction.
    pub(super) fn free(&self, index: usize, at: Target, width: u32) -> bool {
        let span = &self.code.spans[index];
        let map = &self.maps[index];
        let from = cell(span, at.address);
        let halves = (width / 2) as usize;
        if map.data[from..from + halves]
            .iter()
            .any(|byte| byte & (KNOWN_LITERAL | LITERAL | MAPPED) != 0)
        {
            return false;
        }
        match at.state {
            State::Arm => map.thumb[from..from + halves].iter().all(|mark| *mark == 0),
            State::Thumb => {
                (from..from + halves).all(|half| map.arm[half / 2] == 0)
                    && (from == 0 || map.thumb[from - 1] & WIDE == 0)
                    && (halves == 1 || map.thumb[from + 1] == 0)
            }
        }
    }

    pub(super) fn could_be_code(&mut self, target: Target) -> bool {
        let aligned = target.state == State::Thumb || target.address & 3 == 0;
        match self.span_at(target.address) {
            Some(index) if aligned => {
                let known = self.maps[index].data[cell(&self.code.spans[index], target.address)];
                known & (KNOWN_LITERAL | LITERAL | MAPPED) == 0 || self.marked(index, target).is_some()
            }
            _ => false,
        }
    }

    /// Whether some word was taken both for a literal and, not surely, for code.
    pub(super) fn literals_in_code(&self) -> bool {
        self.maps.iter().any(|map| {
            map.data.iter().enumerate().any(|(half, byte)| {
                byte & (LITERAL | KNOWN_LITERAL) == LITERAL && (map.arm[half / 2] != 0 || map.thumb[half] != 0)
            })
        })
    }
}

/// The instruction at an address of a span.
pub(super) fn read_in(encoding: Encoding, span: &Span<'_>, target: Target) -> Option<(u32, Step)> {
    let at = (target.address - span.address) as usize;
    let half = |at: usize| {
        let bytes = [*span.bytes.get(at)?, *span.bytes.get(at + 1)?];
        Some(match encoding {
            Encoding::Little => u16::from_le_bytes(bytes),
            Encoding::Big => u16::from_be_bytes(bytes),
        })
    };
    match target.state {
        State::Arm => {
            let bytes: [u8; 4] = span.bytes.get(at..at + 4)?.try_into().ok()?;
            let word = match encoding {
                Encoding::Little => u32::from_le_bytes(bytes),
                Encoding::Big => u32::from_be_bytes(bytes),
            };
            Some((word, arm(word, target.address)))
        }
        State::Thumb => {
            let first = half(at)?;
            if decode::is_wide(first) {
                let second = half(at + 2)?;
                let word = u32::from(first) << 16 | u32::from(second);
                Some((word, thumb(first, second, target.address)))
            } else {
                Some((u32::from(first), thumb(first, 0, target.address)))
            }
        }
    }
}

pub(super) fn halves(word: u32, width: u32) -> (u16, u16) {
    match width {
        2 => (word as u16, 0),
        _ => ((word >> 16) as u16, word as u16),
    }
}

pub(super) fn judge_word(word: u32, width: u32, state: State, features: Features) -> Verdict {
    match state {
        State::Arm => decode::arm(word, features),
        State::Thumb => {
            let (first, second) = halves(word, width);
            decode::thumb(first, second, features)
        }
    }
}

/// Whether conditions may mean something behind this instruction in ARM state. Too often rather than too seldom.
fn sets_flags(word: u32) -> bool {
    match word >> 25 & 7 {
        0 | 1 => word >> 20 & 1 == 1 || word & 0x0fb0_0000 == 0x0320_0000 || word & 0x0ff0_00f0 == 0x0120_0000,
        // vmrs, mrc
        7 => word >> 20 & 1 == 1,
        _ => false,
    }
}

/// Index of the halfword of an address in the map of its span, which begins at a whole word.
pub(super) fn cell(span: &Span<'_>, address: u32) -> usize {
    (address / 2 - (span.address & !3) / 2) as usize
}

/// What assemblers fill gaps with: `nop`, `mov r0, r0`, `mov r8, r8`.
pub(super) fn is_padding(word: u32, width: u32) -> bool {
    match width {
        2 => matches!(word, 0xbf00 | 0x46c0 | 0),
        _ => matches!(word, 0xe320_f000 | 0xe1a0_0000 | 0xf3af_8000 | 0),
    }
}

impl Flow<'_> {
    /// Bytes that were not taken for code, for [`Counts`].
    pub(super) fn rest(&self, counts: &mut Counts) {
        for (span, map) in self.code.spans.iter().zip(&self.maps) {
            let mut wide = false;
            let mut at = span.address;
            while at < span.end() {
                let half = cell(span, at);
                let bytes = u64::from((span.end() - at).min(2 - at % 2));
                at += bytes as u32;
                let tail = std::mem::take(&mut wide);
                wide = map.thumb[half] & WIDE != 0;
                if map.arm[half / 2] != 0 || map.thumb[half] != 0 || tail {
                    continue;
                }
                if map.data[half] != 0 {
                    counts.data += bytes;
                } else if span.expected {
                    counts.unreached += bytes;
                } else {
                    counts.beside += bytes;
                }
            }
        }
    }
}
