//! Colour profiles (ICC.1:2022), made anew: what the colours depend on is kept, who made it and when is not.
//!
//! A profile as found is a fingerprint: it names a device, a maker, a date, and may hold texts and private tags. But
//! without it the photographs of most telephones (Display P3) lose colour. So a profile of the simple kind, three
//! primaries or a grey axis with their curves, is taken to its numbers and put together again. All others are dropped.

/// More than any profile of the simple kind needs (three curves of 4,096 entries are 24 KiB).
pub const MAX_BYTES: usize = 64 * 1024;

/// In the order in which they are written.
const TAGS: [&[u8; 4]; 9] = [
    b"wtpt", b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC", b"kTRC", b"chad",
];
const HEADER: usize = 128;

/// The profile with nothing but numbers in it. `None`: not of the simple kind, or not sound.
pub fn rebuild(profile: &[u8]) -> Option<Vec<u8>> {
    let word = |at: usize| -> Option<[u8; 4]> { profile.get(at..at.checked_add(4)?)?.try_into().ok() };
    let number = |at: usize| word(at).and_then(|bytes| usize::try_from(u32::from_be_bytes(bytes)).ok());
    let size = number(0)?;
    if size > profile.len() || size > MAX_BYTES || &word(36)? != b"acsp" {
        return None;
    }
    let (version, class, space) = (word(8)?, word(12)?, word(16)?);
    let needed: &[&[u8; 4]] = match &space {
        b"RGB " => &[b"rXYZ", b"gXYZ", b"bXYZ", b"rTRC", b"gTRC", b"bTRC"],
        b"GRAY" => &[b"kTRC"],
        _ => return None,
    };
    let known = matches!(version[0], 2 | 4) && matches!(&class, b"mntr" | b"scnr" | b"spac" | b"prtr");
    if !known || &word(20)? != b"XYZ " {
        return None;
    }

    let mut found: Vec<(&[u8; 4], Vec<u8>)> = Vec::new();
    for entry in 0..number(HEADER)?.min(100) {
        let at = HEADER + 4 + 12 * entry;
        let (name, start, length) = (word(at)?, number(at + 4)?, number(at + 8)?);
        let data = profile.get(start..start.checked_add(length)?)?;
        let wanted = TAGS.into_iter().find(|tag| **tag == name);
        if let Some(name) = wanted.filter(|name| found.iter().all(|(seen, _)| seen != name)) {
            found.push((name, value(data)?));
        }
    }
    let has = |name: &[u8; 4]| found.iter().any(|(found, _)| *found == name);
    if !needed.iter().all(|name| has(name)) {
        return None;
    }
    found.sort_by_key(|(name, _)| TAGS.iter().position(|tag| tag == name));

    let mut table = u32::try_from(found.len()).ok()?.to_be_bytes().to_vec();
    let mut data: Vec<u8> = Vec::new();
    let first = HEADER + 4 + 12 * found.len();
    let mut written: Vec<(&[u8], usize)> = Vec::new();
    for (name, value) in &found {
        // The three curves are mostly one.
        let start = match written.iter().find(|(same, _)| same == value) {
            Some((_, start)) => *start,
            None => {
                let start = first + data.len();
                data.extend_from_slice(value);
                data.resize(data.len().next_multiple_of(4), 0);
                written.push((value, start));
                start
            }
        };
        table.extend_from_slice(*name);
        table.extend_from_slice(&u32::try_from(start).ok()?.to_be_bytes());
        table.extend_from_slice(&u32::try_from(value.len()).ok()?.to_be_bytes());
    }

    let mut out = vec![0; HEADER];
    let whole = u32::try_from(first + data.len()).ok()?;
    out[..4].copy_from_slice(&whole.to_be_bytes());
    out[8] = version[0];
    out[9] = version[1];
    out[12..16].copy_from_slice(&class);
    out[16..20].copy_from_slice(&space);
    out[20..24].copy_from_slice(b"XYZ ");
    // A date is demanded; it is the same in all of them: 2000-01-01.
    out[24..30].copy_from_slice(&[0x07, 0xd0, 0, 1, 0, 1]);
    out[36..40].copy_from_slice(b"acsp");
    out[67] = *profile.get(67)? & 3;
    // The illuminant of the connection space, D50.
    out[68..80].copy_from_slice(&[0, 0, 0xf6, 0xd6, 0, 1, 0, 0, 0, 0, 0xd3, 0x2d]);
    out.extend_from_slice(&table);
    out.extend_from_slice(&data);
    (out.len() <= MAX_BYTES).then_some(out)
}

/// One tag's value without reserved and surplus bytes.
fn value(data: &[u8]) -> Option<Vec<u8>> {
    let payload = data.get(8..)?;
    let length = match data.get(..4)? {
        b"XYZ " => 12,
        b"sf32" => 36,
        b"curv" => {
            let count = u32::from_be_bytes(payload.get(..4)?.try_into().ok()?);
            4 + 2 * usize::try_from(count).ok().filter(|count| *count <= 4096)?
        }
        b"para" => {
            let parameters = match payload.get(..2)? {
                [0, 0] => 1,
                [0, 1] => 3,
                [0, 2] => 4,
                [0, 3] => 5,
                [0, 4] => 7,
                _ => return None,
            };
            4 + 4 * parameters
        }
        _ => return None,
    };
    let mut value = data[..4].to_vec();
    value.extend_from_slice(&[0; 4]);
    value.extend_from_slice(payload.get(..length)?);
    if &data[..4] == b"para" {
        value[10..12].copy_from_slice(&[0; 2]);
    }
    Some(value)
}

#[cfg(test)]
pub mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    /// A Display P3 with a name, a maker and a date.
    pub fn profile() -> Vec<u8> {
        let xyz = |n: u8| [&b"XYZ \0\0\0\0"[..], &[0, 0, n, 1, 0, 0, n, 2, 0, 0, n, 3]].concat();
        let curve = b"curv\0\0\0\0\0\0\0\x01\x02\x33\0\0".to_vec();
        let text = b"text\0\0\0\0Copyright Somebody, Secret Street 7".to_vec();
        let tags: [(&[u8; 4], Vec<u8>); 8] = [
            (b"cprt", text),
            (b"rXYZ", xyz(1)),
            (b"gXYZ", xyz(2)),
            (b"bXYZ", xyz(3)),
            (b"rTRC", curve.clone()),
            (b"gTRC", curve.clone()),
            (b"bTRC", curve),
            (b"wtpt", xyz(4)),
        ];
        let mut out = vec![0xaa; HEADER];
        out[8..12].copy_from_slice(&[4, 0, 0, 0]);
        out[12..24].copy_from_slice(b"mntrRGB XYZ ");
        out[36..40].copy_from_slice(b"acsp");
        out.extend_from_slice(&8u32.to_be_bytes());
        let mut at = HEADER + 4 + 12 * tags.len();
        for (name, data) in &tags {
            out.extend_from_slice(*name);
            out.extend_from_slice(&(at as u32).to_be_bytes());
            out.extend_from_slice(&(data.len() as u32).to_be_bytes());
            at += data.len();
        }
        tags.iter().for_each(|(_, data)| out.extend_from_slice(data));
        let size = out.len() as u32;
        out[..4].copy_from_slice(&size.to_be_bytes());
        out
    }

    #[test]
    fn only_numbers_are_left() {
        let clean = rebuild(&profile()).unwrap();
        assert!(!clean.windows(6).any(|bytes| bytes == b"Secret"));
        assert!(!clean.contains(&0xaa));
        assert_eq!(clean[..4], (clean.len() as u32).to_be_bytes());
        assert_eq!(rebuild(&clean).unwrap(), clean);
    }

    #[test]
    fn damage_never_panics_and_what_passes_is_settled() {
        let whole = profile();
        for length in 0..whole.len() {
            assert_eq!(rebuild(&whole[..length]), None);
        }
        for at in 0..whole.len() {
            for bit in [0x01, 0x80, 0xff] {
                let mut damaged = whole.clone();
                damaged[at] ^= bit;
                if let Some(clean) = rebuild(&damaged) {
                    assert_eq!(rebuild(&clean), Some(clean), "{at}");
                }
            }
        }
    }

    #[test]
    fn other_kinds_are_dropped() {
        for (at, text) in [
            (16, b"CMYK"),
            (20, b"Lab "),
            (12, b"link"),
            (36, b"nope"),
            (132 + 12, b"xxxx"),
        ] {
            let mut other = profile();
            other[at..at + 4].copy_from_slice(text);
            assert_eq!(rebuild(&other), None, "{at}");
        }
    }
}
