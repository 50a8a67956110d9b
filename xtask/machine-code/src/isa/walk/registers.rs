//! What registers hold within a stretch of code, as far as a jump depends on it.

use super::step::r;

/// What a register holds, as far as a few instructions tell.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) enum Value {
    #[default]
    Unknown,
    Constant(u32),
    /// An entry of the table at `table`, of `size` bytes.
    Entry {
        table: u32,
        size: u8,
        signed: bool,
    },
    /// The same, with `base` added.
    Sum {
        base: u32,
        table: u32,
        size: u8,
        signed: bool,
    },
}

/// What registers hold within a stretch of code, and the last number that something was compared with.
#[derive(Clone, Debug, Default)]
pub(super) struct Registers {
    values: [Value; 16],
    pub(super) compared: Option<u32>,
}

impl Registers {
    pub(super) fn get(&self, register: u8) -> Value {
        self.values[usize::from(register & 15)]
    }

    fn set(&mut self, register: u8, value: Value) {
        self.values[usize::from(register & 15)] = value;
    }

    fn constant(&self, register: u8, pc: u32) -> Option<u32> {
        match (register, self.get(register)) {
            (15, _) => Some(pc),
            (_, Value::Constant(value)) => Some(value),
            _ => None,
        }
    }

    fn sum(&self, a: u8, b: u8, pc: u32) -> Value {
        let entry = |register: u8| match self.get(register) {
            Value::Entry { table, size, signed } if register != 15 => Some((table, size, signed)),
            _ => None,
        };
        match (self.constant(a, pc), self.constant(b, pc)) {
            (Some(a), Some(b)) => Value::Constant(a.wrapping_add(b)),
            (Some(base), None) | (None, Some(base)) => match entry(a).or(entry(b)) {
                Some((table, size, signed)) => Value::Sum {
                    base,
                    table,
                    size,
                    signed,
                },
                None => Value::Unknown,
            },
            _ => Value::Unknown,
        }
    }

    /// After a call nothing is known of what it may use.
    pub(super) fn call(&mut self) {
        for register in [0, 1, 2, 3, 12, 14] {
            self.set(register, Value::Unknown);
        }
    }

    /// After an instruction in ARM state; `literal` is the word that it loads relative to PC. Conditional instructions count
    /// like others: the ones that matter here are those that prepare a jump.
    pub(super) fn arm(&mut self, word: u32, at: u32, literal: Option<u32>) {
        let pc = at.wrapping_add(8);
        let (n, d, m) = (r(word, 16), r(word, 12), r(word, 0));
        if word >> 28 == 15 {
            return;
        }
        let immediate = (word & 0xff).rotate_right(word >> 7 & 30);
        match word >> 25 & 7 {
            0 if word & 0x90 == 0x90 => {
                let register = word >> 22 & 1 == 0;
                let entry = match (word >> 20 & 1, word >> 5 & 3, self.constant(n, pc)) {
                    (1, 1, Some(table)) if register && word >> 24 & 1 == 1 => Some((table, 2, false)),
                    (1, 3, Some(table)) if register && word >> 24 & 1 == 1 => Some((table, 2, true)),
                    (1, 2, Some(table)) if register && word >> 24 & 1 == 1 => Some((table, 1, true)),
                    _ => None,
                };
                // Multiplications have their result where others have a base.
                self.set(n, Value::Unknown);
                self.set(d, Value::Unknown);
                if let Some((table, size, signed)) = entry {
                    self.set(d, Value::Entry { table, size, signed });
                }
            }
            kind @ (0 | 1) => {
                let by_value = kind == 1;
                let shifted = word & 0xff0 != 0;
                let value = match (word >> 21 & 15, by_value) {
                    // movw, movt
                    (8, true) if word >> 20 & 1 == 0 => Value::Constant(word >> 4 & 0xf000 | word & 0xfff),
                    (10, true) if word >> 20 & 1 == 0 => match self.get(d) {
                        Value::Constant(low) => {
                            Value::Constant(low & 0xffff | (word >> 4 & 0xf000 | word & 0xfff) << 16)
                        }
                        _ => Value::Unknown,
                    },
                    (10, _) => {
                        self.compared = by_value.then_some(immediate);
                        return;
                    }
                    (8..=11, _) => return,
                    (4, true) => self
                        .constant(n, pc)
                        .map_or(Value::Unknown, |n| Value::Constant(n.wrapping_add(immediate))),
                    (2, true) => self
                        .constant(n, pc)
                        .map_or(Value::Unknown, |n| Value::Constant(n.wrapping_sub(immediate))),
                    (13, true) => Value::Constant(immediate),
                    (15, true) => Value::Constant(!immediate),
                    (4, false) if !shifted => self.sum(n, m, pc),
                    (13, false) if !shifted => self.get(m),
                    _ => Value::Unknown,
                };
                self.set(d, value);
            }
            2 | 3 => {
                let load = word >> 20 & 1 == 1;
                let register = word >> 25 & 1 == 1;
                if register && word & 0x10 != 0 {
                    self.set(d, Value::Unknown);
                    self.set(n, Value::Unknown);
                    return;
                }
                let table = self.constant(n, pc);
                if word >> 24 & 1 == 0 || word >> 21 & 1 == 1 {
                    self.set(n, Value::Unknown);
                }
                if load {
                    let value = match (register, table, word >> 22 & 1) {
                        (false, ..) if n == 15 => literal.map_or(Value::Unknown, Value::Constant),
                        (true, Some(table), 0) if word & 0xff0 == 0x100 => Value::Entry {
                            table,
                            size: 4,
                            signed: true,
                        },
                        (true, Some(table), 1) if word & 0xff0 == 0 => Value::Entry {
                            table,
                            size: 1,
                            signed: false,
                        },
                        _ => Value::Unknown,
                    };
                    self.set(d, value);
                }
            }
            4 => {
                self.set(n, Value::Unknown);
                if word >> 20 & 1 == 1 {
                    (0..15u8)
                        .filter(|bit| word >> bit & 1 == 1)
                        .for_each(|bit| self.set(bit, Value::Unknown));
                }
            }
            6 | 7 => {
                self.set(d, Value::Unknown);
                self.set(n, Value::Unknown);
            }
            _ => {}
        }
    }

    /// The same in Thumb state.
    pub(super) fn thumb(&mut self, first: u16, second: u16, at: u32, literal: Option<u32>) {
        let pc = at.wrapping_add(4);
        let (half, low) = (u32::from(first), u32::from(second));
        if half >> 11 > 0b11100 {
            let (n, d) = (r(half, 0), r(low, 8));
            let i = half >> 10 & 1;
            let imm16 = (half & 15) << 12 | i << 11 | (low >> 12 & 7) << 8 | low & 0xff;
            let imm12 = imm16 & 0xfff;
            match half & 0xfbf0 {
                // movw, movt
                0xf240 if low >> 15 == 0 => self.set(d, Value::Constant(imm16)),
                0xf2c0 if low >> 15 == 0 => {
                    let value = match self.get(d) {
                        Value::Constant(low) => Value::Constant(low & 0xffff | imm16 << 16),
                        _ => Value::Unknown,
                    };
                    self.set(d, value);
                }
                // adr.w
                0xf200 if n == 15 && low >> 15 == 0 => self.set(d, Value::Constant((pc & !3).wrapping_add(imm12))),
                0xf2a0 if n == 15 && low >> 15 == 0 => self.set(d, Value::Constant((pc & !3).wrapping_sub(imm12))),
                // cmp.w
                0xf1b0 if low >> 15 == 0 && d == 15 => {
                    self.compared = (low >> 12 & 7 == 0 && i == 0).then_some(low & 0xff)
                }
                _ if half >> 8 & 0xfe == 0xf8 && half >> 4 & 1 == 1 => {
                    let t = r(low, 12);
                    let value = match self.constant(n, pc & !3) {
                        _ if n == 15 && half & 0x60 == 0x40 => literal.map_or(Value::Unknown, Value::Constant),
                        // ldr.w t, [n, m, lsl #2]
                        Some(table) if half >> 7 & 1 == 0 && half & 0x60 == 0x40 && low & 0xff0 == 0x20 => {
                            Value::Entry {
                                table,
                                size: 4,
                                signed: true,
                            }
                        }
                        _ => Value::Unknown,
                    };
                    self.set(t, value);
                }
                _ => {
                    self.set(n, Value::Unknown);
                    self.set(d, Value::Unknown);
                    self.set(r(low, 12), Value::Unknown);
                }
            }
            return;
        }
        let (d, n) = ((half & 7) as u8, (half >> 3 & 7) as u8);
        let high = (half & 7 | half >> 4 & 8) as u8;
        match half >> 11 {
            0b00100 => self.set((half >> 8 & 7) as u8, Value::Constant(half & 0xff)),
            0b00101 => self.compared = Some(half & 0xff),
            0b01001 => self.set((half >> 8 & 7) as u8, literal.map_or(Value::Unknown, Value::Constant)),
            0b10100 => self.set(
                (half >> 8 & 7) as u8,
                Value::Constant((pc & !3).wrapping_add((half & 0xff) << 2)),
            ),
            0b01000 => match half >> 8 & 3 {
                // Low registers.
                _ if half >> 10 & 1 == 0 => self.set(d, Value::Unknown),
                0 => {
                    let sum = self.sum(high, r(half, 3), pc);
                    self.set(high, sum);
                }
                2 => {
                    let copied = self.get(r(half, 3));
                    self.set(high, copied);
                }
                _ => {}
            },
            // add d, n, m
            0b00011 if half >> 9 & 3 == 0 => {
                let sum = self.sum(n, (half >> 6 & 7) as u8, pc);
                self.set(d, sum);
            }
            // Stores leave registers as they are.
            0b01100 | 0b01110 | 0b10000 | 0b10010 => {}
            0b00110 | 0b00111 | 0b10101 | 0b10011 => self.set((half >> 8 & 7) as u8, Value::Unknown),
            0b10111..=0b11001 => (0..8).for_each(|register| self.set(register, Value::Unknown)),
            _ => self.set(d, Value::Unknown),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn registers_are_followed_to_a_jump() {
        let mut registers = Registers::default();
        // adr r1, .+16; ldr r0, [r1, r0, lsl #2]; add r0, r0, r1
        registers.arm(0xe28f_1008, 0x1000, None);
        assert_eq!(registers.get(1), Value::Constant(0x1010));
        registers.arm(0xe791_0100, 0x1004, None);
        registers.arm(0xe080_0001, 0x1008, None);
        let (base, table) = (0x1010, 0x1010);
        assert_eq!(
            registers.get(0),
            Value::Sum {
                base,
                table,
                size: 4,
                signed: true
            }
        );
        // movw r2, #0x5678; movt r2, #0x1234
        registers.arm(0xe305_2678, 0x100c, None);
        registers.arm(0xe341_2234, 0x1010, None);
        assert_eq!(registers.get(2), Value::Constant(0x1234_5678));
        registers.call();
        assert_eq!(registers.get(2), Value::Unknown);
        // The same in Thumb state.
        registers.thumb(0xf245, 0x6278, 0x1000, None);
        registers.thumb(0xf2c1, 0x2234, 0x1004, None);
        assert_eq!(registers.get(2), Value::Constant(0x1234_5678));
        // ldr r3, [pc]; add r3, pc
        registers.thumb(0x4b00, 0, 0x1000, Some(0x100));
        registers.thumb(0x447b, 0, 0x1002, None);
        assert_eq!(registers.get(3), Value::Constant(0x1106));
    }
}
