//! Jumps to what registers and tables hold.

use super::Evidence;
use super::State;
use super::flow::{Doubt, Flow};
use super::registers::{Registers, Value};
use super::step::{Away, Next, Target};

/// Most entries of a jump table.
const MAX_TABLE: u32 = 4096;

impl Flow<'_> {
    /// `blx` of a register whose content is known.
    pub(super) fn call_by_register(&mut self, here: Target, word: u32, registers: &Registers, evidence: Evidence) {
        let register = match here.state {
            State::Arm if word & 0x0fff_fff0 == 0x012f_ff30 => word as u8 & 15,
            State::Thumb if word & 0xff87 == 0x4780 => (word >> 3) as u8 & 15,
            _ => return,
        };
        if let Value::Constant(address) = registers.get(register) {
            self.exchange(address, evidence);
        }
    }

    pub(super) fn exchange(&mut self, address: u32, evidence: Evidence) {
        let state = if address & 1 == 1 { State::Thumb } else { State::Arm };
        let target = Target {
            address: address & !1,
            state,
        };
        // What was put together from literals is believed only if it is an address of code and reads as such.
        if self
            .span_at(target.address)
            .is_some_and(|span| self.code.spans[span].expected)
        {
            self.functions.push(target.address);
            self.push(target, evidence, Doubt::Fresh);
        }
    }

    /// An address in a register that is one of code: of a function that is passed on, most often.
    pub(super) fn computed(&mut self, state: State, word: u32, width: u32, registers: &Registers) {
        // `add d, pc, m` and `add d, m, pc`; in Thumb state `add d, pc`.
        let register = match (state, width) {
            (State::Arm, _) if word & 0x0fff_0ff0 == 0x008f_0000 || word & 0x0ff0_0fff == 0x0080_000f => {
                word >> 12 & 15
            }
            (State::Thumb, 2) if word & 0xff78 == 0x4478 => word & 7 | word >> 4 & 8,
            _ => return,
        };
        if let Value::Constant(address) = registers.get(register as u8) {
            let state = if address & 1 == 1 { State::Thumb } else { State::Arm };
            let address = address & !1;
            if self.span_at(address).is_some_and(|span| self.code.spans[span].expected) {
                self.pointed.push((Target { address, state }, Doubt::Fresh));
            }
        }
    }

    pub(super) fn away(&mut self, to: Away, here: Target, registers: &Registers, evidence: Evidence) {
        let pc = here.address.wrapping_add(if here.state == State::Arm { 8 } else { 4 });
        let bound = registers.compared.map(|last| last.saturating_add(1).min(MAX_TABLE));
        let constant = |register: u8, pc: u32| match registers.get(register) {
            _ if register == 15 => Some(pc),
            Value::Constant(value) => Some(value),
            _ => None,
        };
        match to {
            Away::Unknown => {}
            Away::Exchange(15) => {
                let address = pc & !3;
                self.push(
                    Target {
                        address,
                        state: State::Arm,
                    },
                    evidence,
                    Doubt::None,
                );
            }
            Away::Exchange(register) | Away::Register(register) => match registers.get(register) {
                Value::Constant(address) if matches!(to, Away::Exchange(_)) => self.exchange(address, evidence),
                Value::Constant(address) => {
                    let target = Target {
                        address: address & !1,
                        state: here.state,
                    };
                    self.push(target, evidence, Doubt::Inside);
                }
                Value::Sum {
                    base,
                    table,
                    size,
                    signed,
                } => self.table(table, size, bound, here.state, evidence, |entry| {
                    Some(base.wrapping_add(extend(entry, size, signed)))
                }),
                _ => {}
            },
            Away::Literal(address) => {
                if !self.is_relocated(address)
                    && let Some(address) = self.data_word(address, 4)
                {
                    self.exchange(address, evidence);
                }
            }
            Away::Indexed { base } => {
                if let Some(table) = constant(base, pc) {
                    self.table(table, 4, bound, here.state, evidence, Some);
                }
            }
            Away::Distances { base, size } => {
                if let Some(table) = constant(base, pc) {
                    self.table(table, size, bound, here.state, evidence, |entry| {
                        Some(pc.wrapping_add(2 * entry))
                    });
                }
            }
            Away::Sum { a, b, shift } => {
                let entry = match (registers.get(b), registers.get(a)) {
                    (Value::Entry { table, size, signed }, _) if b != 15 => Some((table, size, signed, a, shift)),
                    (_, Value::Entry { table, size, signed }) if a != 15 && shift == 0 => {
                        Some((table, size, signed, b, 0))
                    }
                    _ => None,
                };
                match (entry, constant(a, pc), constant(b, pc)) {
                    (Some((table, size, signed, base, shift)), ..) => {
                        if let Some(base) = constant(base, pc) {
                            self.table(table, size, bound, here.state, evidence, |entry| {
                                Some(base.wrapping_add(extend(entry, size, signed) << shift))
                            });
                        }
                    }
                    (None, Some(a), Some(b)) => {
                        let address = a.wrapping_add(b << shift) & !1;
                        self.push(
                            Target {
                                address,
                                state: here.state,
                            },
                            evidence,
                            Doubt::Inside,
                        );
                    }
                    // Into a row of branches, or into the middle of a loop that is written out.
                    (None, Some(_), None) if a == 15 => self.row(pc, bound, here.state, evidence),
                    _ => {}
                }
            }
        }
    }

    /// The words at `at` are branches, one for each case, or code that can be entered anywhere.
    pub(super) fn row(&mut self, at: u32, bound: Option<u32>, state: State, evidence: Evidence) {
        let mut target = Target { address: at, state };
        for _ in 0..bound.unwrap_or(MAX_TABLE) {
            let Some((_, _, step)) = self.read(target) else { return };
            self.push(target, evidence, Doubt::Inside);
            if !matches!(step.next, Next::Branch { conditional: false, .. }) {
                return;
            }
            target.address = target.address.wrapping_add(step.width);
        }
    }

    /// A table of targets. Without a known length it ends where the first of its targets begins, and what it points to must
    /// read as code.
    pub(super) fn table(
        &mut self,
        table: u32,
        size: u8,
        bound: Option<u32>,
        state: State,
        evidence: Evidence,
        target: impl Fn(u32) -> Option<u32>,
    ) {
        let mut end = u32::MAX;
        for index in 0..bound.unwrap_or(MAX_TABLE) {
            let at = table.wrapping_add(index * u32::from(size));
            if at >= end {
                return;
            }
            let Some(address) = self.data_word(at, size).and_then(&target) else {
                return;
            };
            let address = address & !1;
            if self.span_at(address).is_none() || state == State::Arm && address & 3 != 0 {
                return;
            }
            self.literal(at, u32::from(size));
            if address > table {
                end = end.min(address);
            }
            let target = Target { address, state };
            match bound {
                Some(_) => self.push(target, evidence, Doubt::Inside),
                None => self.pointed.push((target, Doubt::Inside)),
            }
        }
    }
}

fn extend(entry: u32, size: u8, signed: bool) -> u32 {
    match (signed, size) {
        (true, 1) => entry as u8 as i8 as u32,
        (true, 2) => entry as u16 as i16 as u32,
        _ => entry,
    }
}
