//! Normalization Form KC (Unicode Standard Annex 15) from a table of 42 kB. The crates that do the same have tables for speed
//! that are larger than the blog's own pages and styles together; here a character is looked for in a short list.
//!
//! `nfkc.bin`, numbers little-endian:
//!
//! * `u16`: how many pages; `u16`: how many bytes the lists of the pages have;
//! * the pages in ascending order: `u16` number (code point / 128), `u16` where its list begins;
//! * the lists: entries in ascending order, each a byte with code point % 128. Without bit 7, it decomposes: a byte with a
//!   length and as many bytes of UTF-8, the whole compatibility decomposition. With it, a byte with its combining class;
//! * until the end, in ascending order of the first two: `u24` character, `u24` what follows it, `u24` what both become.
//!
//! Hangul syllables are calculated (Unicode Standard, section 3.12). A test makes the table anew and compares.

const TABLE: &[u8] = include_bytes!("nfkc.bin");

const SYLLABLES: u32 = 0xac00;
const LEADING: u32 = 0x1100;
const VOWELS: u32 = 0x1161;
/// One before the first that can end a syllable.
const TRAILING: u32 = 0x11a7;
const COUNT_OF_VOWELS: u32 = 21;
const COUNT_OF_TRAILING: u32 = 28;
const COUNT_OF_SYLLABLES: u32 = 19 * COUNT_OF_VOWELS * COUNT_OF_TRAILING;

/// `text` in NFKC.
pub(super) fn nfkc(text: &str) -> String {
    let mut whole = Composed {
        text: String::with_capacity(text.len()),
        ..Composed::default()
    };
    for c in text.chars() {
        if c.is_ascii() {
            whole.starter(c);
        } else if let Some([leading, vowel, trailing]) = syllable(c) {
            whole.starter(leading);
            whole.starter(vowel);
            if trailing != '\0' {
                whole.starter(trailing);
            }
        } else {
            match entry(c) {
                None => whole.starter(c),
                Some(Entry::Class(class)) => whole.mark(class, c),
                Some(Entry::Decomposed(parts)) => parts.chars().for_each(|part| match entry(part) {
                    Some(Entry::Class(class)) => whole.mark(class, part),
                    _ => whole.starter(part),
                }),
            }
        }
    }
    whole.flush();
    whole.text
}

/// What the table says of a character.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Entry {
    /// Its whole decomposition.
    Decomposed(&'static str),
    /// It does not decompose, and its combining class is not 0.
    Class(u8),
}

/// A text in the making, with the last character that may yet become another one.
#[derive(Default)]
struct Composed {
    text: String,
    starter: Option<char>,
    /// What follows it, with combining classes.
    marks: Vec<(u8, char)>,
}

impl Composed {
    fn mark(&mut self, class: u8, c: char) {
        self.marks.push((class, c));
    }

    fn starter(&mut self, c: char) {
        self.settle();
        if self.marks.is_empty()
            && let Some(both) = self.starter.and_then(|starter| compose(starter, c))
        {
            self.starter = Some(both);
            return;
        }
        self.write();
        self.starter = Some(c);
    }

    fn flush(&mut self) {
        self.settle();
        self.write();
    }

    /// Orders the marks, and composes those that nothing stands in the way of.
    fn settle(&mut self) {
        if self.marks.is_empty() {
            return;
        }
        self.marks.sort_by_key(|(class, _)| *class);
        let Some(mut starter) = self.starter else {
            return;
        };
        let mut before = 0;
        self.marks.retain(|(class, c)| {
            let free = before < *class;
            if let Some(both) = free.then(|| compose(starter, *c)).flatten() {
                starter = both;
                return false;
            }
            before = *class;
            true
        });
        self.starter = Some(starter);
    }

    fn write(&mut self) {
        self.text.extend(self.starter.take());
        self.text.extend(self.marks.drain(..).map(|(_, c)| c));
    }
}

/// The parts of a Hangul syllable; NUL for a third that it does not have.
fn syllable(c: char) -> Option<[char; 3]> {
    let index = u32::from(c).checked_sub(SYLLABLES)?;
    if index >= COUNT_OF_SYLLABLES {
        return None;
    }
    let (rest, trailing) = (index / COUNT_OF_TRAILING, index % COUNT_OF_TRAILING);
    let trailing = if trailing == 0 { 0 } else { TRAILING + trailing };
    let leading = char::from_u32(LEADING + rest / COUNT_OF_VOWELS)?;
    let vowel = char::from_u32(VOWELS + rest % COUNT_OF_VOWELS)?;
    Some([leading, vowel, char::from_u32(trailing)?])
}

/// What `a` and `b`, which follows it, are as one character.
fn compose(a: char, b: char) -> Option<char> {
    if a.is_ascii() && b.is_ascii() {
        return None;
    }
    let (first, second) = (u32::from(a), u32::from(b));
    let leading = first.wrapping_sub(LEADING);
    let vowel = second.wrapping_sub(VOWELS);
    if leading < 19 && vowel < COUNT_OF_VOWELS {
        return char::from_u32(SYLLABLES + (leading * COUNT_OF_VOWELS + vowel) * COUNT_OF_TRAILING);
    }
    let index = first.wrapping_sub(SYLLABLES);
    let trailing = second.wrapping_sub(TRAILING);
    if index < COUNT_OF_SYLLABLES
        && index.is_multiple_of(COUNT_OF_TRAILING)
        && (1..COUNT_OF_TRAILING).contains(&trailing)
    {
        return char::from_u32(first + trailing);
    }
    let (pairs, _) = Table::get()?.pairs.as_chunks::<9>();
    let key = |row: &[u8; 9]| (three(row[0], row[1], row[2]), three(row[3], row[4], row[5]));
    let at = pairs.binary_search_by_key(&(first, second), key).ok()?;
    let row = pairs.get(at)?;
    char::from_u32(three(row[6], row[7], row[8]))
}

fn three(a: u8, b: u8, c: u8) -> u32 {
    u32::from_le_bytes([a, b, c, 0])
}

/// The parts of the table.
#[derive(Clone, Copy)]
struct Table {
    pages: &'static [[u8; 4]],
    lists: &'static [u8],
    pairs: &'static [u8],
}

impl Table {
    /// None never happens: the table is a constant, and a test reads all of it.
    fn get() -> Option<Table> {
        let (head, rest) = TABLE.split_first_chunk::<4>()?;
        let pages = usize::from(u16::from_le_bytes([head[0], head[1]]));
        let lists = usize::from(u16::from_le_bytes([head[2], head[3]]));
        let (pages, rest) = rest.split_at_checked(pages * 4)?;
        let (lists, pairs) = rest.split_at_checked(lists)?;
        let (pages, _) = pages.as_chunks::<4>();
        Some(Table { pages, lists, pairs })
    }
}

fn entry(c: char) -> Option<Entry> {
    let table = Table::get()?;
    let page = u16::try_from(u32::from(c) / 128).ok()?;
    let number = |page: &[u8; 4]| u16::from_le_bytes([page[0], page[1]]);
    let at = table.pages.binary_search_by_key(&page, number).ok()?;
    let begin = |at: usize| {
        let page = table.pages.get(at)?;
        Some(usize::from(u16::from_le_bytes([page[2], page[3]])))
    };
    let end = begin(at + 1).unwrap_or(table.lists.len());
    let mut list = table.lists.get(begin(at)?..end)?;
    let wanted = u32::from(c) % 128;
    while let [key, value, rest @ ..] = list {
        let found = u32::from(key & 127);
        if found > wanted {
            return None;
        }
        let length = if key & 128 == 0 { usize::from(*value) } else { 0 };
        let (parts, rest) = rest.split_at_checked(length)?;
        if found == wanted {
            return match key & 128 {
                0 => std::str::from_utf8(parts).ok().map(Entry::Decomposed),
                _ => Some(Entry::Class(*value)),
            };
        }
        list = rest;
    }
    None
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use unicode_normalization::UnicodeNormalization;
    use unicode_normalization::char as other;

    use super::*;

    /// The planes that have characters, and the edges of what there is.
    fn all() -> impl Iterator<Item = char> {
        let planes = (0x80..=0x0003_3fff)
            .chain(0x000e_0000..=0x000e_0fff)
            .chain(0x0010_ff00..=0x0010_ffff);
        planes.filter_map(char::from_u32)
    }

    /// Every two characters that become one, Hangul apart.
    fn pairs() -> BTreeMap<(char, char), char> {
        let mut pairs = BTreeMap::new();
        for c in all().filter(|c| syllable(*c).is_none()) {
            let mut parts = Vec::new();
            other::decompose_canonical(c, |part| parts.push(part));
            let Some((last, before)) = parts.split_last() else {
                continue;
            };
            let first = before.iter().copied().map(Some).reduce(|a, b| other::compose(a?, b?));
            if let Some(Some(first)) = first
                && other::compose(first, *last) == Some(c)
            {
                pairs.insert((first, *last), c);
            }
        }
        pairs
    }

    /// The table as it has to be.
    fn table() -> Vec<u8> {
        let mut lists = Vec::new();
        let mut pages = BTreeMap::new();
        for c in all().filter(|c| syllable(*c).is_none()) {
            let key = (u32::from(c) % 128) as u8;
            let mut parts = String::new();
            other::decompose_compatible(c, |part| parts.push(part));
            let class = other::canonical_combining_class(c);
            if parts == c.to_string() && class == 0 {
                continue;
            }
            pages.entry(u32::from(c) / 128).or_insert(lists.len());
            if parts == c.to_string() {
                lists.extend([key | 128, class]);
            } else {
                lists.extend([key, u8::try_from(parts.len()).unwrap()]);
                lists.extend(parts.bytes());
            }
        }
        let mut table = Vec::new();
        for number in [pages.len(), lists.len()] {
            table.extend(u16::try_from(number).unwrap().to_le_bytes());
        }
        for (page, begin) in pages {
            table.extend(u16::try_from(page).unwrap().to_le_bytes());
            table.extend(u16::try_from(begin).unwrap().to_le_bytes());
        }
        table.extend(lists);
        for ((a, b), both) in pairs() {
            for c in [a, b, both] {
                table.extend(&u32::from(c).to_le_bytes()[..3]);
            }
        }
        table
    }

    #[test]
    fn the_table_is_that_of_the_crate() {
        let made = table();
        if made != TABLE {
            let path = std::env::temp_dir().join("nfkc.bin");
            std::fs::write(&path, &made).unwrap();
            panic!(
                "app/src/domain/fold/nfkc.bin is not what unicode-normalization says: copy {} there, if a new version of Unicode is wanted. What is stored folded has to be folded anew then",
                path.display()
            );
        }
    }

    fn same(text: &str) {
        let theirs: String = text.nfkc().collect();
        assert_eq!(nfkc(text), theirs, "{}", text.escape_unicode());
    }

    #[test]
    fn every_character_is_as_the_crate_has_it() {
        let mut text = String::new();
        for c in (0..0x80).filter_map(char::from_u32).chain(all()) {
            same(c.encode_utf8(&mut [0; 4]));
            // And in the company of its neighbours.
            text.push(c);
            if text.len() > 200 {
                same(&text);
                text.clear();
            }
        }
        same(&text);
    }

    #[test]
    fn what_follows_one_another_composes_as_the_crate_has_it() {
        let pairs = pairs();
        assert!(pairs.len() > 900, "{}", pairs.len());
        let firsts: BTreeSet<char> = pairs.keys().map(|(a, _)| *a).collect();
        let seconds: BTreeSet<char> = pairs.keys().map(|(_, b)| *b).collect();
        for a in &firsts {
            for b in &seconds {
                assert_eq!(compose(*a, *b), other::compose(*a, *b), "{a:?} {b:?}");
            }
        }
        for leading in 0x10fe..0x1115 {
            for vowel in (0x1160..0x1178).chain(0x11a6..0x11c5) {
                for more in ["", "\u{11a7}", "\u{11a8}", "\u{11c2}", "\u{11c3}", "\u{301}"] {
                    let c = |number| char::from_u32(number).unwrap();
                    same(&format!("{}{}{more}", c(leading), c(vowel)));
                }
            }
        }
    }

    #[test]
    fn marks_in_any_order_are_as_the_crate_has_them() {
        // What decides: starters that compose, marks of several classes, equal ones, Hangul, what decomposes to marks alone.
        const PARTS: [&str; 24] = [
            "a", "o", "e", "か", "は", "が", "\u{3099}", "\u{309a}", "\u{ff9e}", "ﾊ", "\u{301}", "\u{302}", "\u{323}",
            "\u{31b}", "\u{344}", "\u{345}", "\u{f73}", "ᄀ", "ᅡ", "ᆨ", "가", "\u{9c7}", "\u{9be}", "ﷺ",
        ];
        let mut state = 7_u64;
        for _ in 0..20_000 {
            let mut text = String::new();
            for _ in 0..6 {
                state = state
                    .wrapping_mul(6_364_136_223_846_793_005)
                    .wrapping_add(1_442_695_040_888_963_407);
                text.push_str(PARTS[(state >> 33) as usize % PARTS.len()]);
            }
            same(&text);
        }
    }
}
