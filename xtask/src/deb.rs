//! Reading .deb files (deb(5)): an `ar` archive with `debian-binary`, `control.tar.*` and `data.tar.*`.
//!
//! Pure: bytes in, entries out. What is hostile in the tars is refused by [`crate::oci::layer`]; nothing of a package is run.

use std::io::{Cursor, Read};

use lzma_rust2::XzReader;

use crate::error::{Context, Error, Result};
use crate::oci::layer::{Entry, EntryKind, Limits, read_tar};

/// No package of a base image comes near; one that does is not read into memory.
const LARGEST: u64 = 1 << 30;
/// Memory that an xz stream may ask for, in KiB: `xz -9` needs 65 MiB.
const XZ_MEMORY: u32 = 256 << 10;

/// One package, unpacked in memory.
#[derive(Clone, Debug)]
pub struct Deb {
    /// The control stanza, as shipped.
    pub control: String,
    /// `md5sums`, if the package has them.
    pub md5sums: Option<String>,
    /// What it installs, paths relative to the root.
    pub entries: Vec<Entry>,
}

impl Deb {
    /// Reads a whole .deb. `name` is for messages.
    pub fn read(name: &str, bytes: &[u8]) -> Result<Deb> {
        read(bytes).context(|| format!("cannot read the package {name}"))
    }

    /// A field of the control stanza.
    pub fn field(&self, name: &str) -> Option<String> {
        let paragraph: deb822_fast::Paragraph = self.control.parse().ok()?;
        paragraph.get(name).map(str::to_owned)
    }

    /// Paths of files that run with their owner's rights (set-user-ID or set-group-ID).
    pub fn setuid(&self) -> Vec<&str> {
        self.entries
            .iter()
            .filter(|entry| matches!(entry.kind, EntryKind::File(_)) && entry.mode & 0o6000 != 0)
            .map(|entry| entry.path.as_str())
            .collect()
    }
}

fn read(bytes: &[u8]) -> Result<Deb> {
    let mut archive = ar::Archive::new(Cursor::new(bytes));
    let mut version = None;
    let mut control = None;
    let mut data = None;
    while let Some(member) = archive.next_entry() {
        let mut member = member.context(|| "damaged ar archive")?;
        // System V writers end a name with a slash.
        let name = String::from_utf8_lossy(member.header().identifier())
            .trim_end_matches('/')
            .to_owned();
        let declared = member.header().size();
        if declared > bytes.len() as u64 {
            return Err(Error::new(format!(
                "its member {name} claims {declared} bytes, more than the whole file"
            )));
        }
        if version.is_none() && name != "debian-binary" {
            return Err(Error::new(format!(
                "its first member is `{name}`, not `debian-binary`: not a .deb"
            )));
        }
        let slot = match name.as_str() {
            "debian-binary" => &mut version,
            _ if name.starts_with("control.tar") => &mut control,
            _ if name.starts_with("data.tar") => &mut data,
            // deb(5): members that begin with an underscore may be skipped, all others may not.
            _ if name.starts_with('_') => continue,
            _ => return Err(Error::new(format!("it has an unknown member `{name}`"))),
        };
        if slot.is_some() {
            return Err(Error::new(format!("its member `{name}` comes twice")));
        }
        let mut content = Vec::new();
        member
            .read_to_end(&mut content)
            .context(|| format!("its member {name} is damaged"))?;
        if content.len() as u64 != declared {
            return Err(Error::new(format!("its member {name} is cut short")));
        }
        *slot = Some((name, content));
    }
    let (_, version) = version.context(|| "not a .deb: an empty ar archive")?;
    if !version.starts_with(b"2.") {
        return Err(Error::new(format!(
            "its format is {}, only 2.x is known",
            String::from_utf8_lossy(&version).trim()
        )));
    }
    let (control_name, control) = control.context(|| "it has no control.tar")?;
    let (data_name, data) = data.context(|| "it has no data.tar")?;
    let limits = Limits::default();
    let entries = |name: &str, content: &[u8]| -> Result<Vec<Entry>> {
        let tar = decompress(name, content)?;
        read_tar(&tar, &limits).context(|| format!("its member {name}"))
    };
    let mut stanza = None;
    let mut md5sums = None;
    for entry in entries(&control_name, &control)? {
        if let EntryKind::File(bytes) = entry.kind {
            let text = || String::from_utf8(bytes).context(|| format!("its {} is not UTF-8", entry.path));
            match entry.path.as_str() {
                "control" => stanza = Some(text()?),
                "md5sums" => md5sums = Some(text()?),
                _ => {}
            }
        }
    }
    Ok(Deb {
        control: stanza.context(|| "its control.tar has no control file")?,
        md5sums,
        entries: entries(&data_name, &data)?,
    })
}

fn decompress(name: &str, content: &[u8]) -> Result<Vec<u8>> {
    let mut tar = Vec::new();
    let read = match name.rsplit_once(".tar").map_or("?", |(_, suffix)| suffix) {
        "" => content.take(LARGEST + 1).read_to_end(&mut tar),
        ".gz" => flate2::read::MultiGzDecoder::new(content)
            .take(LARGEST + 1)
            .read_to_end(&mut tar),
        ".xz" => XzReader::new_mem_limit(content, true, XZ_MEMORY)
            .take(LARGEST + 1)
            .read_to_end(&mut tar),
        ".zst" => ruzstd::decoding::StreamingDecoder::new(content)
            .map_err(std::io::Error::other)
            .and_then(|decoder| decoder.take(LARGEST + 1).read_to_end(&mut tar)),
        other => {
            return Err(Error::new(format!(
                "its member {name} is compressed in a way that is not known: `{other}`"
            )));
        }
    };
    read.context(|| format!("its member {name} cannot be decompressed"))?;
    if tar.len() as u64 > LARGEST {
        return Err(Error::new(format!(
            "its member {name} unpacks to more than {LARGEST} bytes"
        )));
    }
    Ok(tar)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn tar_of(files: &[(&str, &str)]) -> Vec<u8> {
        let mut builder = tar::Builder::new(Vec::new());
        for (path, content) in files {
            let mut header = tar::Header::new_ustar();
            header.set_size(content.len() as u64);
            header.set_mode(0o4755);
            header.set_uid(0);
            header.set_gid(0);
            header.set_mtime(0);
            // Not through set_path: it refuses what the hostile cases need.
            header.as_old_mut().name[..path.len()].copy_from_slice(path.as_bytes());
            header.set_cksum();
            builder.append(&header, content.as_bytes()).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn ar_of(members: &[(&str, &[u8])]) -> Vec<u8> {
        let mut builder = ar::Builder::new(Vec::new());
        for (name, content) in members {
            let header = ar::Header::new(name.as_bytes().to_vec(), content.len() as u64);
            builder.append(&header, *content).unwrap();
        }
        builder.into_inner().unwrap()
    }

    fn gz(bytes: &[u8]) -> Vec<u8> {
        use std::io::Write;
        let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
        encoder.write_all(bytes).unwrap();
        encoder.finish().unwrap()
    }

    fn control() -> Vec<u8> {
        gz(&tar_of(&[
            ("./control", "Package: x\nVersion: 1\n"),
            ("./md5sums", "0  usr/bin/x\n"),
        ]))
    }

    fn refused(bytes: &[u8]) -> String {
        Deb::read("x.deb", bytes).unwrap_err().to_string()
    }

    #[test]
    fn a_package_is_read_and_its_setuid_files_are_named() {
        let bytes = ar_of(&[
            ("debian-binary", b"2.0\n"),
            ("_gpgorigin", b"skipped"),
            ("control.tar.gz", &control()),
            ("data.tar", &tar_of(&[("./usr/bin/x", "#!")])),
        ]);
        let deb = Deb::read("x.deb", &bytes).unwrap();
        assert_eq!(deb.field("Version").as_deref(), Some("1"));
        assert_eq!(deb.md5sums.as_deref(), Some("0  usr/bin/x\n"));
        assert_eq!(deb.entries[0].path, "usr/bin/x");
        assert_eq!(deb.setuid(), ["usr/bin/x"]);
    }

    #[test]
    fn what_is_not_a_package_is_refused_by_name() {
        assert!(refused(b"").contains("x.deb"));
        assert!(refused(b"!<arch>\n").contains("empty ar archive"));
        assert!(refused(&ar_of(&[("data.tar", b"")])).contains("not `debian-binary`"));
        assert!(refused(&ar_of(&[("debian-binary", b"3.0\n")])).contains("3.0"));
        let (version, control) = (("debian-binary", b"2.0\n".as_slice()), control());
        let control = ("control.tar.gz", control.as_slice());
        assert!(refused(&ar_of(&[version])).contains("no control.tar"));
        assert!(refused(&ar_of(&[version, control])).contains("no data.tar"));
        assert!(refused(&ar_of(&[version, control, control])).contains("twice"));
        assert!(refused(&ar_of(&[version, control, ("evil", b"")])).contains("unknown member"));
        assert!(refused(&ar_of(&[version, control, ("data.tar.rar", b"")])).contains(".rar"));
        assert!(refused(&ar_of(&[version, control, ("data.tar.xz", b"junk")])).contains("data.tar.xz"));
        assert!(refused(&ar_of(&[version, control, ("data.tar.zst", b"junk")])).contains("data.tar.zst"));
    }

    #[test]
    fn paths_that_leave_the_root_are_refused() {
        for path in ["../etc/passwd", "./usr/../../x", "/etc/passwd"] {
            let data = tar_of(&[(path, "x")]);
            let control = control();
            let bytes = ar_of(&[
                ("debian-binary", b"2.0\n"),
                ("control.tar.gz", &control),
                ("data.tar", &data),
            ]);
            let message = refused(&bytes);
            assert!(
                message.contains("x.deb") && message.contains("data.tar"),
                "{path}: {message}"
            );
        }
    }

    #[test]
    fn no_cut_of_a_package_makes_the_reader_panic() {
        let data = gz(&tar_of(&[("./usr/bin/x", "#!")]));
        let control = control();
        let bytes = ar_of(&[
            ("debian-binary", b"2.0\n"),
            ("control.tar.gz", &control),
            ("data.tar.gz", &data),
        ]);
        for end in 0..bytes.len() {
            assert!(
                Deb::read("x.deb", &bytes[..end]).is_err() || end + 1 == bytes.len(),
                "{end}"
            );
        }
    }
}
