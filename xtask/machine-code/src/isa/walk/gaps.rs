//! What nothing leads to.

use super::flow::{AHEAD, Flow, PADDING, WIDE, cell, is_padding, read_in};
use super::step::{Next, Target};
use super::{Evidence, State};
use crate::isa::decode::Verdict;

/// How many words a run must have that nothing leads to.
pub const MIN_RUN: usize = 8;

impl Flow<'_> {
    /// What nothing leads to, and reads as code all the same.
    pub(super) fn gaps(&mut self) {
        for index in 0..self.code.spans.len() {
            let span = &self.code.spans[index];
            if !span.expected {
                continue;
            }
            let mut state = self.usual_state();
            let mut at = span.address.next_multiple_of(2);
            let end = span.end();
            // Whether the last thing before was code that does not fall through here, or its literals.
            let mut begins = true;
            while at < end {
                let half = cell(span, at);
                let map = &self.maps[index];
                if map.arm[half / 2] != 0 {
                    (state, begins) = (State::Arm, true);
                    at = (at & !3) + 4;
                    continue;
                }
                if map.thumb[half] != 0 {
                    (state, begins) = (State::Thumb, true);
                    at += if map.thumb[half] & WIDE != 0 { 4 } else { 2 };
                    continue;
                }
                if map.data[half] != 0 {
                    at += 2;
                    continue;
                }
                at = self.gap(index, at, state, &mut begins);
            }
        }
    }

    /// One step through a gap: padding, a run that reads as code, or something that does not. Returns where to go on.
    pub(super) fn gap(&mut self, index: usize, at: u32, state: State, begins: &mut bool) -> u32 {
        let code = self.code;
        let span = &code.spans[index];
        let unit = if state == State::Arm { 4 } else { 2 };
        let aligned = at.next_multiple_of(unit);
        if aligned != at {
            self.maps[index].data[cell(span, at)] |= PADDING;
            return at + 2;
        }
        let start = Target { address: at, state };
        let mut here = start;
        let (mut count, mut always, mut ended) = (0usize, 0usize, false);
        let mut conditional = 0u8;
        let mut called = false;
        while count < AHEAD {
            let Some((word, step)) = read_in(code.instructions, span, here) else {
                break;
            };
            if count == 0 && (word == 0 || is_padding(word, step.width)) {
                let halves = (step.width / 2) as usize;
                let from = cell(span, at);
                self.maps[index].data[from..from + halves].fill(PADDING);
                return at + step.width;
            }
            let odd = matches!(
                self.verdict(word, step, state),
                Verdict::Undefined | Verdict::Unpredictable { .. }
            );
            if odd || word == 0 || !self.free(index, here, step.width) {
                // A call that does not return, and its literals.
                ended = called;
                break;
            }
            called = matches!(step.next, Next::Call(_));
            let reachable = match step.next {
                Next::Call(Some(target)) | Next::Branch { target, .. } => {
                    self.is_relocated(here.address) || self.could_be_code(target)
                }
                _ => true,
            };
            if !reachable {
                break;
            }
            count += 1;
            // NEON, barriers and hints for the cache have no condition.
            always += usize::from(state == State::Thumb || word >> 28 == 14 || matches!(word >> 24, 0xf2..=0xf7));
            let in_it = conditional > 0;
            conditional = if step.it > 0 {
                step.it
            } else {
                conditional.saturating_sub(1)
            };
            here.address += step.width;
            ended = match step.next {
                Next::Branch { conditional, .. } | Next::Away { conditional, .. } => !conditional && !in_it,
                _ => false,
            };
            if ended {
                break;
            }
            if here.address < span.end() && self.marked(index, here).is_some() {
                ended = true;
                break;
            }
        }
        let long = count >= MIN_RUN || *begins && count >= 2;
        if (ended || count == AHEAD)
            && long
            && 2 * always >= count
            && (state == State::Arm || *begins || count >= 2 * MIN_RUN)
        {
            self.functions.push(at);
            self.trace(start, Evidence::Reads);
            self.drain();
            *begins = true;
            return here.address;
        }
        *begins = false;
        // Nothing that begins within the run gets farther than it.
        here.address.max(at + unit)
    }
}
