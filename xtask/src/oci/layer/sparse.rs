//! Files with holes in a tar: GNU's own kind and the two that GNU tar writes in PAX headers. An image must have none of them
//! (image-spec, layer.md), so their holes are filled; everything else in the tar stays as it is, byte for byte.

use tar::{EntryType, GnuExtSparseHeader, Header};

use super::{LayerError, Limits};

const BLOCK: usize = 512;
/// Pieces of data that one file may have.
const PIECES: usize = 100_000;

/// The tar with the holes of sparse files filled; `None` when it has no such file.
pub fn without_sparse(tar: &[u8], limits: &Limits) -> Result<Option<Vec<u8>>, LayerError> {
    let mut walk = Walk {
        tar,
        at: 0,
        out: Vec::new(),
        name: None,
        limits,
    };
    let mut copied = 0;
    let mut any = false;
    // The last PAX header, which describes the entry after it: its bytes in `tar`, and its records.
    let mut pax: Option<(usize, Records)> = None;
    while let Some(header) = walk.header()? {
        let start = walk.at;
        let size = walk.size(&header)?;
        match header.entry_type() {
            EntryType::XHeader => {
                let data = walk.slice(start + BLOCK, size)?;
                pax = Some((
                    start,
                    records(data).ok_or_else(|| walk.damaged("a PAX header is malformed"))?,
                ));
                walk.at = walk.after(start + BLOCK, size)?;
                continue;
            }
            EntryType::GNUSparse => {
                any = true;
                walk.out.extend_from_slice(&tar[copied..start]);
                copied = walk.gnu(&header, start, size)?;
                walk.at = copied;
            }
            _ => {
                let end = walk.after(start + BLOCK, size)?;
                if let Some((from, records)) = &pax
                    && records.iter().any(|(key, _)| key.starts_with("GNU.sparse."))
                {
                    any = true;
                    walk.out.extend_from_slice(&tar[copied..*from]);
                    walk.pax(&header, records, start + BLOCK, size)?;
                    copied = end;
                }
                walk.at = end;
            }
        }
        if !matches!(header.entry_type(), EntryType::GNULongName | EntryType::GNULongLink) {
            pax = None;
        }
    }
    if !any {
        return Ok(None);
    }
    walk.out.extend_from_slice(&tar[copied..]);
    Ok(Some(walk.out))
}

struct Walk<'a> {
    tar: &'a [u8],
    at: usize,
    out: Vec<u8>,
    /// Of the entry that is looked at, for messages.
    name: Option<String>,
    limits: &'a Limits,
}

/// Where a piece of data lies in the file, and how long it is.
type Piece = (u64, u64);

/// Keys and values of a PAX header, in its order.
type Records = Vec<(String, Vec<u8>)>;

impl<'a> Walk<'a> {
    fn damaged(&self, reason: impl Into<String>) -> LayerError {
        LayerError::Tar {
            place: match &self.name {
                Some(name) => format!("at {name}"),
                None => "at the start".to_owned(),
            },
            reason: reason.into(),
        }
    }

    /// The header at `at`; `None` at the end of the archive. What follows a block of zeros is not looked at.
    fn header(&mut self) -> Result<Option<Header>, LayerError> {
        let Some(block) = self.tar.get(self.at..self.at + BLOCK) else {
            return match self.at >= self.tar.len() {
                true => Ok(None),
                false => Err(self.damaged("it ends within a header")),
            };
        };
        if block.iter().all(|byte| *byte == 0) {
            return Ok(None);
        }
        let mut header = Header::new_old();
        header.as_mut_bytes().copy_from_slice(block);
        self.name = Some(String::from_utf8_lossy(&header.path_bytes()).into_owned());
        Ok(Some(header))
    }

    fn size(&self, header: &Header) -> Result<u64, LayerError> {
        header.entry_size().map_err(|error| self.damaged(error.to_string()))
    }

    fn slice(&self, from: usize, length: u64) -> Result<&'a [u8], LayerError> {
        let end = usize::try_from(length).ok().and_then(|length| from.checked_add(length));
        end.and_then(|end| self.tar.get(from..end))
            .ok_or_else(|| self.damaged(format!("it claims {length} bytes, and fewer follow")))
    }

    /// Where the next header is, after `length` bytes of data from `from` on. The padding of the last entry may be missing.
    fn after(&self, from: usize, length: u64) -> Result<usize, LayerError> {
        let end = from + self.slice(from, length)?.len();
        Ok(end.next_multiple_of(BLOCK).min(self.tar.len().max(end)))
    }

    /// The old kind: the pieces stand in the header, and in blocks behind it. Returns where the next header is.
    fn gnu(&mut self, header: &Header, start: usize, size: u64) -> Result<usize, LayerError> {
        let gnu = header
            .as_gnu()
            .ok_or_else(|| self.damaged("a sparse file without GNU's header"))?;
        let number = |value: std::io::Result<u64>| value.map_err(|error| self.damaged(error.to_string()));
        let real = number(gnu.real_size())?;
        let mut pieces: Vec<Piece> = Vec::new();
        let mut more = gnu.is_extended();
        for piece in gnu.sparse.iter().filter(|piece| !piece.is_empty()) {
            pieces.push((number(piece.offset())?, number(piece.length())?));
        }
        let mut at = start + BLOCK;
        while more {
            let mut block = GnuExtSparseHeader::new();
            block.as_mut_bytes().copy_from_slice(self.slice(at, BLOCK as u64)?);
            for piece in block.sparse.iter().filter(|piece| !piece.is_empty()) {
                pieces.push((number(piece.offset())?, number(piece.length())?));
            }
            if pieces.len() > PIECES {
                return Err(self.damaged("a sparse file has too many pieces"));
            }
            more = block.is_extended();
            at += BLOCK;
        }
        let data = self.slice(at, size)?;
        let content = self.fill(&pieces, data, real)?;
        // As an ordinary file of the same kind of header: name, owner, mode and time stay where they are.
        let mut plain = Header::new_gnu();
        plain.as_mut_bytes().copy_from_slice(header.as_bytes());
        if let Some(gnu) = plain.as_gnu_mut() {
            gnu.offset.fill(0);
            gnu.longnames.fill(0);
            gnu.unused.fill(0);
            gnu.isextended.fill(0);
            gnu.realsize.fill(0);
            for piece in &mut gnu.sparse {
                piece.offset.fill(0);
                piece.numbytes.fill(0);
            }
        }
        self.file(plain, &content);
        self.after(at, size)
    }

    /// The new kinds: a list in the PAX header (0.1), or in front of the data (1.0).
    fn pax(
        &mut self,
        header: &Header,
        records: &[(String, Vec<u8>)],
        from: usize,
        size: u64,
    ) -> Result<(), LayerError> {
        let text = |key: &str| {
            let found = records.iter().find(|(name, _)| name == key);
            found.map(|(_, value)| String::from_utf8_lossy(value).into_owned())
        };
        let parse = |text: &str| -> Result<u64, LayerError> {
            text.parse()
                .map_err(|_| self.damaged(format!("`{text}` in the list of a sparse file is no number")))
        };
        let mut data = self.slice(from, size)?;
        let mut numbers = Vec::new();
        if let Some(list) = text("GNU.sparse.map") {
            for number in list.split(',').filter(|number| !number.is_empty()) {
                numbers.push(parse(number)?);
            }
        } else if text("GNU.sparse.major").as_deref() == Some("1") {
            let mut rest = data;
            let line = |rest: &mut &[u8]| -> Result<u64, LayerError> {
                let end = rest
                    .iter()
                    .take(24)
                    .position(|byte| *byte == b'\n')
                    .ok_or_else(|| self.damaged("the list of a sparse file is cut off"))?;
                let number = parse(&String::from_utf8_lossy(&rest[..end]))?;
                *rest = &rest[end + 1..];
                Ok(number)
            };
            let count = line(&mut rest)?;
            if count > PIECES as u64 {
                return Err(self.damaged("a sparse file has too many pieces"));
            }
            for _ in 0..count * 2 {
                numbers.push(line(&mut rest)?);
            }
            let list = (data.len() - rest.len()).next_multiple_of(BLOCK);
            data = data
                .get(list..)
                .ok_or_else(|| self.damaged("the list of a sparse file is cut off"))?;
        } else {
            return Err(self.damaged("a sparse file of a kind that is not known"));
        }
        if numbers.len() % 2 != 0 || numbers.len() > PIECES * 2 {
            return Err(self.damaged("the list of a sparse file makes no sense"));
        }
        let pieces: Vec<Piece> = numbers.chunks_exact(2).map(|pair| (pair[0], pair[1])).collect();
        let real = text("GNU.sparse.realsize")
            .or_else(|| text("GNU.sparse.size"))
            .ok_or_else(|| self.damaged("a sparse file does not say how long it is"))?;
        let content = self.fill(&pieces, data, parse(&real)?)?;
        let name = text("GNU.sparse.name").or_else(|| text("path"));
        let kept = records
            .iter()
            .filter(|(key, _)| !key.starts_with("GNU.sparse.") && key != "size" && key != "path")
            .map(|(key, value)| (key.as_str(), value.as_slice()));
        let records: Vec<u8> = kept
            .chain(name.iter().map(|name| ("path", name.as_bytes())))
            .flat_map(|(key, value)| record(key, value))
            .collect();
        let mut before = Header::new_ustar();
        before.set_entry_type(EntryType::XHeader);
        before.set_mode(0o644);
        before.set_uid(0);
        before.set_gid(0);
        before.set_mtime(0);
        before.as_old_mut().name[..3].copy_from_slice(b"pax");
        self.file(before, &records);
        let mut plain = Header::new_old();
        plain.as_mut_bytes().copy_from_slice(header.as_bytes());
        self.file(plain, &content);
        Ok(())
    }

    /// The whole content: pieces in ascending order, zeros between them.
    fn fill(&self, pieces: &[Piece], mut data: &[u8], real: u64) -> Result<Vec<u8>, LayerError> {
        if real.saturating_add(self.out.len() as u64) > self.limits.bytes {
            return Err(LayerError::Limit {
                place: self.name.clone().unwrap_or_default(),
                what: "the size of a sparse file",
                limit: self.limits.bytes,
            });
        }
        let mut content = Vec::new();
        for &(offset, length) in pieces {
            let wrong = || self.damaged("the pieces of a sparse file overlap, or lie beyond its end");
            let end = offset
                .checked_add(length)
                .filter(|end| *end <= real)
                .ok_or_else(wrong)?;
            if offset < content.len() as u64 {
                return Err(wrong());
            }
            let length = usize::try_from(length).map_err(|_| wrong())?;
            let (piece, rest) = data
                .split_at_checked(length)
                .ok_or_else(|| self.damaged("the data of a sparse file is cut off"))?;
            content.resize(usize::try_from(offset).map_err(|_| wrong())?, 0);
            content.extend_from_slice(piece);
            debug_assert_eq!(content.len() as u64, end);
            data = rest;
        }
        content.resize(usize::try_from(real).unwrap_or(usize::MAX), 0);
        Ok(content)
    }

    /// Writes one entry; a type that is still set to sparse becomes that of an ordinary file.
    fn file(&mut self, mut header: Header, content: &[u8]) {
        if header.entry_type() == EntryType::GNUSparse {
            header.set_entry_type(EntryType::Regular);
        }
        header.set_size(content.len() as u64);
        header.set_cksum();
        self.out.extend_from_slice(header.as_bytes());
        self.out.extend_from_slice(content);
        self.out.resize(self.out.len().next_multiple_of(BLOCK), 0);
    }
}

/// The records of a PAX header: `LENGTH KEY=VALUE\n`.
fn records(mut data: &[u8]) -> Option<Records> {
    let mut records = Vec::new();
    while !data.is_empty() {
        let blank = data.iter().take(12).position(|byte| *byte == b' ')?;
        let length: usize = std::str::from_utf8(&data[..blank]).ok()?.parse().ok()?;
        let pair = data.get(blank + 1..length)?.strip_suffix(b"\n")?;
        let equals = pair.iter().position(|byte| *byte == b'=')?;
        let key = String::from_utf8(pair[..equals].to_vec()).ok()?;
        records.push((key, pair[equals + 1..].to_vec()));
        data = &data[length..];
    }
    Some(records)
}

/// One record, with the length that counts its own digits.
fn record(key: &str, value: &[u8]) -> Vec<u8> {
    let rest = key.len() + value.len() + 3;
    let mut length = rest + 1;
    while length.to_string().len() + rest != length {
        length = length.to_string().len() + rest;
    }
    let mut record = format!("{length} {key}=").into_bytes();
    record.extend_from_slice(value);
    record.push(b'\n');
    record
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::oci::layer::{Entry, EntryKind, read_tar, write_tar};

    #[test]
    fn a_tar_without_holes_is_left_alone() {
        let entries = [Entry::file("a", "x", 0o644), Entry::symlink("b", "a")];
        let tar = write_tar(&entries, Vec::new()).unwrap();
        assert_eq!(without_sparse(&tar, &Limits::default()).unwrap(), None);
    }

    #[test]
    fn the_list_in_the_pax_header_is_read() {
        let mut walk = Walk {
            tar: &[],
            at: 0,
            out: Vec::new(),
            name: None,
            limits: &Limits::default(),
        };
        let list: Vec<u8> = [
            record("GNU.sparse.size", b"10"),
            record("GNU.sparse.numblocks", b"2"),
            record("GNU.sparse.name", b"real/name"),
            record("GNU.sparse.map", b"1,2,6,3"),
            record("mtime", b"7.5"),
        ]
        .concat();
        let mut before = Header::new_ustar();
        before.set_entry_type(EntryType::XHeader);
        walk.file(before, &list);
        let header = |name: &[u8]| {
            let mut header = Header::new_ustar();
            header.as_old_mut().name[..name.len()].copy_from_slice(name);
            header.set_mode(0o640);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            header
        };
        walk.file(header(b"wrong"), b"abXYZ");
        walk.file(header(b"next"), b"n");
        let tar = [walk.out, vec![0; 1024]].concat();
        let plain = without_sparse(&tar, &Limits::default()).unwrap().unwrap();
        let entries = read_tar(&plain, &Limits::default()).unwrap();
        assert_eq!(entries[0].path, "real/name");
        assert_eq!(entries[0].kind, EntryKind::File(b"\0ab\0\0\0XYZ\0".to_vec()));
        assert_eq!((entries[0].mode, entries[0].mtime), (0o640, 7));
        assert_eq!(entries[1].path, "next");
        for (from, to) in [
            ("1,2,6,3", "6,3,1,2"),
            ("1,2,6,3", "1,2,6,9"),
            ("1,2,6,3", "1,2,6,x"),
            ("1,2,6,3", "1,2,6,,"),
        ] {
            let at = tar
                .windows(from.len())
                .position(|window| window == from.as_bytes())
                .unwrap();
            let mut bad = tar.clone();
            bad[at..at + from.len()].copy_from_slice(to.as_bytes());
            assert!(without_sparse(&bad, &Limits::default()).is_err(), "{to}");
        }
        let little = Limits {
            bytes: 9,
            ..Limits::default()
        };
        assert!(without_sparse(&tar, &little).is_err());
        for end in 0..tar.len() - 1024 {
            // Never a panic; what is cut off within an entry is an error.
            let _ = without_sparse(&tar[..end], &Limits::default());
        }
    }
}
