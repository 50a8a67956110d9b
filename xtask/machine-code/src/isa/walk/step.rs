//! Where execution goes after one instruction, and what it loads relative to PC. Independent of what a chip has: code for later
//! chips must be followed as well.

use super::State;

/// Where execution goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Next {
    /// To the next instruction.
    On,
    /// To the next instruction, perhaps: a call (of an address that is known, or not), a system call, a breakpoint.
    Call(Option<Target>),
    /// To an address, and if `conditional` also to the next instruction.
    Branch { target: Target, conditional: bool },
    /// Somewhere that the instruction alone does not say, and if `conditional` also to the next instruction.
    Away { to: Away, conditional: bool },
}

/// Where code begins, and in which state.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) address: u32,
    pub(super) state: State,
}

/// A jump to what a register or memory holds.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Away {
    /// `bx` and its like: bit 0 is the state.
    Exchange(u8),
    /// `mov pc`: same state.
    Register(u8),
    /// `add pc, a, b, lsl #shift`; 15 is PC itself.
    Sum { a: u8, b: u8, shift: u8 },
    /// `ldr pc, [base, index, lsl #2]`; 15 is PC itself.
    Indexed { base: u8 },
    /// `ldr pc, [pc, #...]`: bit 0 of the word at this address is the state.
    Literal(u32),
    /// `tbb`, `tbh`: distances in halfwords, of this many bytes, at the base; 15 is PC itself.
    Distances { base: u8, size: u8 },
    /// A return, a trap, or what nothing can be said of.
    Unknown,
}

/// One instruction.
#[derive(Clone, Copy, Debug)]
pub(super) struct Step {
    /// Bytes.
    pub(super) width: u32,
    pub(super) next: Next,
    /// Address and size of what it loads relative to PC.
    pub(super) literal: Option<(u32, u32)>,
    /// How many of the following instructions `it` makes conditional.
    pub(super) it: u8,
}

pub(super) fn r(word: u32, bit: u32) -> u8 {
    (word >> bit & 15) as u8
}

fn signed(value: u32, bits: u32) -> u32 {
    ((value << (32 - bits)) as i32 >> (32 - bits)) as u32
}

/// An instruction in ARM state at `at`.
pub(super) fn arm(word: u32, at: u32) -> Step {
    let pc = at.wrapping_add(8);
    let condition = word >> 28;
    let conditional = condition != 14;
    let mut step = Step {
        width: 4,
        next: Next::On,
        literal: None,
        it: 0,
    };
    // What LLD fills with between functions (trapInstr in lld/ELF/Arch/ARM.cpp). As an instruction it would be conditional,
    // load the stack pointer, and run into whatever comes next.
    if word == 0xd4d4_d4d4 {
        step.next = Next::Away {
            to: Away::Unknown,
            conditional: false,
        };
        return step;
    }
    let away = |to| Next::Away { to, conditional };
    if condition == 15 {
        if word >> 25 & 7 == 5 {
            let address = pc.wrapping_add(signed(word, 24) << 2 | word >> 23 & 2);
            step.next = Next::Call(Some(Target {
                address,
                state: State::Thumb,
            }));
        }
        return step;
    }
    let (n, d) = (r(word, 16), r(word, 12));
    let offset = |bits: u32, up: bool| {
        if up {
            pc.wrapping_add(bits)
        } else {
            pc.wrapping_sub(bits)
        }
    };
    let up = word >> 23 & 1 == 1;
    match word >> 25 & 7 {
        5 => {
            let target = Target {
                address: pc.wrapping_add(signed(word, 24) << 2),
                state: State::Arm,
            };
            step.next = match word >> 24 & 1 {
                1 => Next::Call(Some(target)),
                _ => Next::Branch { target, conditional },
            };
        }
        0 if word & 0x0fff_fff0 == 0x012f_ff10 => step.next = away(Away::Exchange(r(word, 0))),
        0 if word & 0x0fff_fff0 == 0x012f_ff30 => step.next = Next::Call(None),
        // bkpt
        0 if word & 0x0ff0_00f0 == 0x0120_0070 => step.next = Next::Call(None),
        // Halfwords and pairs.
        0 if word & 0x90 == 0x90 => {
            let relative = word >> 22 & 1 == 1 && n == 15 && word >> 24 & 1 == 1;
            if word & 0x60 != 0 && relative {
                let size = match (word >> 20 & 1, word >> 5 & 3) {
                    (0, 1) => 0,
                    (0, _) => 8,
                    (_, 2) => 1,
                    _ => 2,
                };
                if size > 0 {
                    step.literal = Some((offset(word >> 4 & 0xf0 | word & 15, up), size));
                }
            }
        }
        0 | 1 => {
            let opcode = word >> 21 & 15;
            let comparing = opcode >> 2 == 2;
            if d == 15 && !comparing {
                let immediate = word >> 25 & 1 == 1;
                let shift = (word >> 7 & 31) as u8;
                step.next = away(match opcode {
                    4 if !immediate && word & 0x70 == 0 => Away::Sum {
                        a: n,
                        b: r(word, 0),
                        shift,
                    },
                    13 if !immediate && word & 0xff0 == 0 => Away::Register(r(word, 0)),
                    _ => Away::Unknown,
                });
            }
        }
        2 | 3 => {
            let register = word >> 25 & 1 == 1;
            let load = word >> 20 & 1 == 1;
            let byte = word >> 22 & 1 == 1;
            if register && word & 0x10 != 0 {
                // udf
                if word & 0x0ff0_00f0 == 0x07f0_00f0 {
                    step.next = Next::Away {
                        to: Away::Unknown,
                        conditional,
                    };
                }
                return step;
            }
            let plain = word >> 24 & 1 == 1 && word >> 21 & 1 == 0;
            let literal = offset(word & 0xfff, up);
            if load && !register && n == 15 && plain {
                step.literal = Some((literal, if byte { 1 } else { 4 }));
            }
            if load && !byte && d == 15 {
                step.next = away(match (register, n) {
                    (false, 15) if plain => Away::Literal(literal),
                    (true, _) if plain && up && word & 0xff0 == 0x100 => Away::Indexed { base: n },
                    _ => Away::Unknown,
                });
            }
        }
        4 if word >> 20 & 1 == 1 && word >> 15 & 1 == 1 => step.next = away(Away::Unknown),
        // vldr
        6 if word & 0x0f3f_0e00 == 0x0d1f_0a00 => {
            step.literal = Some((offset((word & 0xff) << 2, up), if word >> 8 & 1 == 1 { 8 } else { 4 }));
        }
        7 if word >> 24 & 1 == 1 => step.next = Next::Call(None),
        _ => {}
    }
    step
}

/// An instruction in Thumb state at `at`; `second` is the halfword behind it.
pub(super) fn thumb(first: u16, second: u16, at: u32) -> Step {
    let pc = at.wrapping_add(4);
    let aligned = pc & !3;
    let (half, low) = (u32::from(first), u32::from(second));
    let mut step = Step {
        width: 2,
        next: Next::On,
        literal: None,
        it: 0,
    };
    let here = |address| Target {
        address,
        state: State::Thumb,
    };
    let away = |to| Next::Away { to, conditional: false };
    if half >> 11 > 0b11100 {
        step.width = 4;
        wide(half, low, pc, &mut step);
        return step;
    }
    match half >> 12 {
        0b0100 => match half >> 8 {
            0x47 => {
                let register = r(half, 3);
                step.next = match half >> 7 & 1 {
                    1 => Next::Call(None),
                    _ => away(Away::Exchange(register)),
                };
            }
            0x46 if half & 0x87 == 0x87 => step.next = away(Away::Register(r(half, 3))),
            0x44 if half & 0x87 == 0x87 => {
                step.next = away(Away::Sum {
                    a: 15,
                    b: r(half, 3),
                    shift: 0,
                });
            }
            _ if half >> 11 == 0b01001 => step.literal = Some((aligned.wrapping_add((half & 0xff) << 2), 4)),
            _ => {}
        },
        0b1011 => match half >> 8 & 15 {
            0b0001 | 0b0011 | 0b1001 | 0b1011 => {
                let distance = (half >> 3 & 31) << 1 | (half >> 9 & 1) << 6;
                step.next = Next::Branch {
                    target: here(pc.wrapping_add(distance)),
                    conditional: true,
                };
            }
            0b1101 => step.next = away(Away::Unknown),
            0b1110 => step.next = Next::Call(None),
            0b1111 if half & 15 != 0 => step.it = 4 - (half & 15).trailing_zeros() as u8,
            _ => {}
        },
        0b1101 => match half >> 8 & 15 {
            14 => step.next = away(Away::Unknown),
            15 => step.next = Next::Call(None),
            _ => {
                step.next = Next::Branch {
                    target: here(pc.wrapping_add(signed(half, 8) << 1)),
                    conditional: true,
                };
            }
        },
        0b1110 => {
            step.next = Next::Branch {
                target: here(pc.wrapping_add(signed(half, 11) << 1)),
                conditional: false,
            };
        }
        _ => {}
    }
    step
}

fn wide(half: u32, low: u32, pc: u32, step: &mut Step) {
    let aligned = pc & !3;
    let here = |address| Target {
        address,
        state: State::Thumb,
    };
    let away = |to| Next::Away { to, conditional: false };
    if half >> 11 == 0b11110 && low >> 15 == 1 {
        let sign = half >> 10 & 1;
        let (j1, j2) = (low >> 13 & 1, low >> 11 & 1);
        let far = |low_bits: u32| {
            let (i1, i2) = (1 ^ j1 ^ sign, 1 ^ j2 ^ sign);
            signed(sign << 24 | i1 << 23 | i2 << 22 | (half & 0x3ff) << 12 | low_bits, 25)
        };
        match low >> 12 & 5 {
            5 => step.next = Next::Call(Some(here(pc.wrapping_add(far((low & 0x7ff) << 1))))),
            4 => {
                step.next = Next::Call(Some(Target {
                    address: aligned.wrapping_add(far((low & 0x7fe) << 1)),
                    state: State::Arm,
                }));
            }
            1 => {
                step.next = Next::Branch {
                    target: here(pc.wrapping_add(far((low & 0x7ff) << 1))),
                    conditional: false,
                };
            }
            _ if half >> 7 & 7 != 7 => {
                let distance = sign << 20 | j2 << 19 | j1 << 18 | (half & 63) << 12 | (low & 0x7ff) << 1;
                step.next = Next::Branch {
                    target: here(pc.wrapping_add(signed(distance, 21))),
                    conditional: true,
                };
            }
            // udf.w; `subs pc, lr` returns from an exception.
            _ if half & 0xfff0 == 0xf7f0 && low >> 12 == 0xa || half == 0xf3de => step.next = away(Away::Unknown),
            _ => {}
        }
        return;
    }
    let n = r(half, 0);
    let up = half >> 7 & 1 == 1;
    let offset = |bits: u32| {
        if up {
            aligned.wrapping_add(bits)
        } else {
            aligned.wrapping_sub(bits)
        }
    };
    // tbb, tbh
    if half & 0xfff0 == 0xe8d0 && low & 0xffe0 == 0xf000 {
        step.next = away(Away::Distances {
            base: n,
            size: 1 + (low >> 4 & 1) as u8,
        });
    // ldmia, ldmdb with PC
    } else if matches!(half >> 4 & !2, 0xe89 | 0xe91) && low >> 15 == 1 {
        step.next = away(Away::Unknown);
    } else if half >> 8 & 0xfe == 0xf8 && half >> 4 & 1 == 1 {
        // ldr, ldrh, ldrb, ldrsh, ldrsb
        let size = 1 << (half >> 5 & 3);
        let to_pc = low >> 12 == 15 && size == 4;
        if n == 15 && size <= 4 {
            step.literal = Some((offset(low & 0xfff), size));
        }
        if to_pc {
            step.next = away(match n {
                15 => Away::Literal(offset(low & 0xfff)),
                _ if half >> 7 & 1 == 0 && low & 0xff0 == 0x20 => Away::Indexed { base: n },
                _ => Away::Unknown,
            });
        }
    // ldrd
    } else if half & 0xfe5f == 0xe85f && half & 0x120 != 0 {
        step.literal = Some((offset((low & 0xff) << 2), 8));
    // vldr
    } else if half & 0xff3f == 0xed1f && low >> 9 & 7 == 5 {
        step.literal = Some((offset((low & 0xff) << 2), if low >> 8 & 1 == 1 { 8 } else { 4 }));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn to(address: u32, state: State) -> Target {
        Target { address, state }
    }

    #[test]
    fn branches_in_arm_state() {
        let next = |word| arm(word, 0x1000).next;
        let nowhere = Next::Away {
            to: Away::Unknown,
            conditional: false,
        };
        assert_eq!(next(0xd4d4_d4d4), nowhere, "padding");
        assert_eq!(
            next(0xeaff_fffe),
            Next::Branch {
                target: to(0x1000, State::Arm),
                conditional: false
            }
        );
        assert_eq!(
            next(0x0a00_0001),
            Next::Branch {
                target: to(0x100c, State::Arm),
                conditional: true
            }
        );
        assert_eq!(next(0xeb00_0000), Next::Call(Some(to(0x1008, State::Arm))));
        assert_eq!(next(0xfb00_0000), Next::Call(Some(to(0x100a, State::Thumb))));
        assert_eq!(
            next(0xe12f_ff1e),
            Next::Away {
                to: Away::Exchange(14),
                conditional: false
            }
        );
        assert_eq!(
            next(0x012f_ff1e),
            Next::Away {
                to: Away::Exchange(14),
                conditional: true
            }
        );
        assert_eq!(next(0xe12f_ff33), Next::Call(None));
        assert_eq!(
            next(0xe1a0_f00e),
            Next::Away {
                to: Away::Register(14),
                conditional: false
            }
        );
        // pop {r4, pc}; pop {pc}; ldm that does not load PC
        assert_eq!(
            next(0xe8bd_8010),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        assert_eq!(
            next(0xe49d_f004),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        assert_eq!(next(0xe8bd_4010), Next::On);
        // add pc, pc, r3, lsl #2; ldr pc, [pc, r3, lsl #2]; ldr pc, [pc, #-4]
        assert_eq!(
            next(0x908f_f103),
            Next::Away {
                to: Away::Sum { a: 15, b: 3, shift: 2 },
                conditional: true
            }
        );
        assert_eq!(
            next(0x979f_f103),
            Next::Away {
                to: Away::Indexed { base: 15 },
                conditional: true
            }
        );
        assert_eq!(
            next(0xe51f_f004),
            Next::Away {
                to: Away::Literal(0x1004),
                conditional: false
            }
        );
        // udf #0, svc 0, cmp r0, #1 with what would be PC as destination, mul
        assert_eq!(
            next(0xe7f0_00f0),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        assert_eq!(next(0xef00_0000), Next::Call(None));
        assert_eq!(next(0xe350_f001), Next::On);
        assert_eq!(next(0xe00f_0091), Next::On);
    }

    #[test]
    fn literals_in_arm_state() {
        let literal = |word| arm(word, 0x1000).literal;
        assert_eq!(literal(0xe59f_0010), Some((0x1018, 4)));
        assert_eq!(literal(0xe51f_0010), Some((0xff8, 4)));
        assert_eq!(literal(0xe5df_0001), Some((0x1009, 1)));
        assert_eq!(literal(0xe1df_01b4), Some((0x101c, 2)));
        assert_eq!(literal(0xe1cf_01d8), Some((0x1020, 8)));
        assert_eq!(literal(0xed9f_7b02), Some((0x1010, 8)));
        assert_eq!(literal(0xed9f_7a02), Some((0x1010, 4)));
        assert_eq!(literal(0xe590_0010), None);
        assert_eq!(literal(0xe58f_0010), None);
    }

    #[test]
    fn branches_and_literals_in_thumb_state() {
        let next = |first, second| thumb(first, second, 0x1000).next;
        assert_eq!(
            next(0xe7fe, 0),
            Next::Branch {
                target: to(0x1000, State::Thumb),
                conditional: false
            }
        );
        assert_eq!(
            next(0xd0fe, 0),
            Next::Branch {
                target: to(0x1000, State::Thumb),
                conditional: true
            }
        );
        assert_eq!(
            next(0xb108, 0),
            Next::Branch {
                target: to(0x1006, State::Thumb),
                conditional: true
            }
        );
        assert_eq!(next(0xf000, 0xf800), Next::Call(Some(to(0x1004, State::Thumb))));
        assert_eq!(next(0xf7ff, 0xfffe), Next::Call(Some(to(0x1000, State::Thumb))));
        assert_eq!(next(0xf000, 0xe800), Next::Call(Some(to(0x1004, State::Arm))));
        assert_eq!(
            next(0xf000, 0xb800),
            Next::Branch {
                target: to(0x1004, State::Thumb),
                conditional: false
            }
        );
        assert_eq!(
            next(0xf43f, 0xaffe),
            Next::Branch {
                target: to(0x1000, State::Thumb),
                conditional: true
            }
        );
        assert_eq!(
            next(0x4770, 0),
            Next::Away {
                to: Away::Exchange(14),
                conditional: false
            }
        );
        assert_eq!(
            next(0x4778, 0),
            Next::Away {
                to: Away::Exchange(15),
                conditional: false
            }
        );
        assert_eq!(next(0x4798, 0), Next::Call(None));
        assert_eq!(
            next(0xbd10, 0),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        assert_eq!(
            next(0xe8bd, 0x8010),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        assert_eq!(next(0xe8bd, 0x4010), Next::On);
        assert_eq!(
            next(0xe8df, 0xf003),
            Next::Away {
                to: Away::Distances { base: 15, size: 1 },
                conditional: false
            }
        );
        assert_eq!(
            next(0xe8df, 0xf013),
            Next::Away {
                to: Away::Distances { base: 15, size: 2 },
                conditional: false
            }
        );
        assert_eq!(
            next(0xf8df, 0xf000),
            Next::Away {
                to: Away::Literal(0x1004),
                conditional: false
            }
        );
        assert_eq!(
            next(0xf7f0, 0xa000),
            Next::Away {
                to: Away::Unknown,
                conditional: false
            }
        );
        let literal = |first, second| thumb(first, second, 0x1002).literal;
        assert_eq!(literal(0x4801, 0), Some((0x1008, 4)));
        assert_eq!(literal(0xf8df, 0x0008), Some((0x100c, 4)));
        assert_eq!(literal(0xf85f, 0x0004), Some((0x1000, 4)));
        assert_eq!(literal(0xe9df, 0x2302), Some((0x100c, 8)));
        assert_eq!(literal(0xed9f, 0x7b02), Some((0x100c, 8)));
        assert_eq!(literal(0x6801, 0), None);
        // it eq, ite eq, itttt eq
        assert_eq!([0xbf08, 0xbf0c, 0xbf01].map(|first| thumb(first, 0, 0).it), [1, 2, 4]);
        assert_eq!(thumb(0xbf00, 0, 0).it, 0);
    }
}
