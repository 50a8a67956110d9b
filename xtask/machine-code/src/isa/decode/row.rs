//! Rows of the encoding tables, written as the ARM Architecture Reference Manual draws them.

use super::Verdict;
use super::feature::{Feature, Features};

/// One encoding.
#[derive(Clone, Copy, Debug)]
pub struct Row {
    /// Mnemonic, or the name of the group where the chip in question has all of it.
    pub name: &'static str,
    /// What the encoding came with.
    pub needs: Feature,
    /// Bits that decide whether this is the row.
    pub mask: u32,
    /// Their values.
    pub value: u32,
    /// Bits that should have a value, written in parentheses: unpredictable otherwise.
    should_mask: u32,
    should_value: u32,
    /// Registers that must not be PC, four bits each.
    not_pc: u32,
    /// High bits of the numbers of double registers: d16 to d31 where one is set.
    high: u32,
    reaches_high: Option<fn(u32) -> bool>,
    unpredictable: Option<fn(u32) -> bool>,
}

/// Reads a pattern, highest bit first. Blanks are for the eye.
///
/// * `0` and `1`: what the bit must be.
/// * `(0)`, `(1111)`: what the bits should be.
/// * `X`: high bit of the number of a double register.
/// * another upper-case letter, four times: a register that must not be PC.
/// * a lower-case letter: anything.
pub const fn row(pattern: &str, name: &'static str, needs: Feature) -> Row {
    let mut row = Row {
        name,
        needs,
        mask: 0,
        value: 0,
        should_mask: 0,
        should_value: 0,
        not_pc: 0,
        high: 0,
        reaches_high: None,
        unpredictable: None,
    };
    let text = pattern.as_bytes();
    let mut left = 32;
    let mut should = false;
    let mut at = 0;
    while at < text.len() {
        let letter = text[at];
        at += 1;
        match letter {
            b' ' => continue,
            b'(' => {
                should = true;
                continue;
            }
            b')' => {
                should = false;
                continue;
            }
            _ => {}
        }
        left -= 1;
        let bit = 1 << left;
        match letter {
            b'0' | b'1' => {
                let value = if letter == b'1' { bit } else { 0 };
                if should {
                    row.should_mask |= bit;
                    row.should_value |= value;
                } else {
                    row.mask |= bit;
                    row.value |= value;
                }
            }
            b'X' => row.high |= bit,
            b'A'..=b'Z' => row.not_pc |= bit,
            b'a'..=b'z' => {}
            _ => panic!("a pattern has digits, letters, blanks and parentheses"),
        }
    }
    assert!(left == 0, "a pattern has 32 bits");
    row
}

/// The same for a Thumb instruction of 16 bits, which stands in the lower half.
pub const fn half(pattern: &str, name: &'static str, needs: Feature) -> Row {
    let mut whole = [b'0'; 64];
    let text = pattern.as_bytes();
    let mut at = 0;
    while at < text.len() {
        whole[16 + at] = text[at];
        at += 1;
    }
    let (whole, _) = whole.split_at(16 + text.len());
    match std::str::from_utf8(whole) {
        Ok(whole) => row(whole, name, needs),
        Err(_) => panic!("a pattern is ASCII"),
    }
}

impl Row {
    /// Unpredictable as well where this holds.
    pub const fn not_if(mut self, unpredictable: fn(u32) -> bool) -> Row {
        self.unpredictable = Some(unpredictable);
        self
    }

    /// d16 to d31 are touched as well where this holds.
    pub const fn high_if(mut self, reaches_high: fn(u32) -> bool) -> Row {
        self.reaches_high = Some(reaches_high);
        self
    }

    fn matches(&self, word: u32) -> bool {
        word & self.mask == self.value
    }

    /// What a chip with these features makes of a word that matches.
    fn judge(&self, word: u32, features: Features) -> Verdict {
        let name = self.name;
        if !features.has(self.needs) {
            return Verdict::Beyond {
                name,
                needs: self.needs,
            };
        }
        let high = word & self.high != 0 || self.reaches_high.is_some_and(|holds| holds(word));
        if high && !features.has(Feature::D32) {
            return Verdict::Beyond {
                name,
                needs: Feature::D32,
            };
        }
        let pc = (0..8).any(|nibble| {
            let field = 0xf << (4 * nibble);
            self.not_pc & field == field && word & field == field
        });
        let odd = word & self.should_mask != self.should_value;
        if pc || odd || self.unpredictable.is_some_and(|holds| holds(word)) {
            return Verdict::Unpredictable {
                name,
                since: self.needs,
            };
        }
        Verdict::Known {
            name,
            since: self.needs,
        }
    }
}

/// Tables in the order in which they are asked: the first row that matches decides. Sorted by eight bits of the word, so that
/// few rows have to be compared.
#[derive(Debug)]
pub struct Table {
    shift: u32,
    buckets: Vec<Vec<&'static Row>>,
}

impl Table {
    /// Sorts by the eight bits from `shift` upwards.
    pub fn new(shift: u32, parts: &[&'static [Row]]) -> Table {
        let buckets = (0..256u32)
            .map(|bucket| {
                parts
                    .iter()
                    .flat_map(|part| part.iter())
                    .filter(|row| (row.value ^ bucket << shift) & row.mask & 0xff << shift == 0)
                    .collect()
            })
            .collect();
        Table { shift, buckets }
    }

    /// What a chip with these features makes of a word.
    pub fn judge(&self, word: u32, features: Features) -> Verdict {
        let bucket = &self.buckets[(word >> self.shift & 0xff) as usize];
        match bucket.iter().find(|row| row.matches(word)) {
            Some(row) => row.judge(word, features),
            None => Verdict::Undefined,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_read() {
        const CLZ: Row = row("cccc 0001 0110 (1111) DDDD (1111) 0001 MMMM", "clz", Feature::V5);
        assert_eq!((CLZ.mask, CLZ.value), (0x0ff0_00f0, 0x0160_0010));
        assert_eq!((CLZ.should_mask, CLZ.should_value), (0x000f_0f00, 0x000f_0f00));
        assert_eq!(CLZ.not_pc, 0x0000_f00f);
        const REV: Row = half("1011 1010 00 mmmddd", "rev", Feature::V6);
        assert_eq!((REV.mask, REV.value), (0xffff_ffc0, 0xba00));
    }
}
