use std::collections::BTreeMap;
use std::io::Write;

use xtask::oci::layer::{LayerError, Limits, read_entries, read_tar};
use xtask::oci::{Digest, Entry, EntryKind, LayerBuilder, media};

fn sample() -> Vec<Entry> {
    let mut program = Entry::file("usr/local/bin/blog", b"\x7fELF".repeat(1000), 0o755);
    program.mtime = u64::MAX;
    program
        .xattrs
        .insert("security.capability".to_owned(), b"\x01\n12 path=/x\n\0".to_vec());
    let mut link = Entry::new(
        "usr/bin/a-link",
        EntryKind::Hardlink("usr/share/page".to_owned()),
        0o644,
    );
    link.mtime = 5;
    let mut page = Entry::file("usr/share/page", "hello", 0o644);
    page.mtime = 5;
    vec![
        program,
        link,
        page,
        Entry::symlink("lib", "usr/lib"),
        Entry::directory("usr/lib", 0o755),
        Entry::directory("data", 0o700).owned_by(65532, 65532),
        Entry::file("owner", "big", 0o4755).owned_by(3_000_000_000, 4_000_000_000),
        Entry::file(format!("{}/{}", "d".repeat(90), "f".repeat(60)), "prefix", 0o600),
        Entry::file("n".repeat(255), "pax", 0o600),
        Entry::file("umlaut-ä", "pax", 0o600),
        Entry::symlink("long", format!("{}/x", "t".repeat(200))),
    ]
}

fn build(entries: Vec<Entry>) -> xtask::oci::Layer {
    let mut builder = LayerBuilder::new(1_700_000_000);
    for entry in entries {
        builder.add(entry).unwrap();
    }
    builder.finish("test").unwrap()
}

/// A layer that changes its bytes without a change of its content makes every Pi pull it again.
#[test]
fn the_digest_of_a_layer_is_a_constant() {
    let layer = build(sample());
    assert_eq!(
        layer.diff_id().to_string(),
        "sha256:c83e1f0c7a5e0c33a39a671c0a16c72e10965c439ce71fde86e7eb6ff272f2b2"
    );
    assert_eq!(
        layer.digest().to_string(),
        "sha256:5522b28d01d3225762100c00742a66afcdd2219deea7784a0794417905df3364"
    );
    assert_eq!(Digest::of(layer.blob()), layer.digest());
    assert_eq!(&layer.blob()[..10], [0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 2, 255]);
}

#[test]
fn the_order_of_insertion_does_not_matter() {
    let wanted = build(sample()).digest();
    let mut entries = sample();
    for turn in 0..entries.len() {
        entries.rotate_left(1);
        if turn % 2 == 0 {
            entries.reverse();
        }
        assert_eq!(build(entries.clone()).digest(), wanted);
    }
}

#[test]
fn what_is_written_is_read_again() {
    let layer = build(sample());
    let read = layer.entries(&Limits::default()).unwrap();
    let paths: Vec<&str> = read.iter().map(|entry| entry.path.as_str()).collect();
    let mut sorted = paths.clone();
    sorted.sort();
    assert_eq!(paths, sorted);
    let by_path: BTreeMap<&str, &Entry> = read.iter().map(|entry| (entry.path.as_str(), entry)).collect();
    for wanted in sample() {
        let found = by_path[wanted.path.as_str()];
        assert_eq!(found.mtime, wanted.mtime.min(1_700_000_000), "{}", wanted.path);
        // The first name of the hard link carries the bytes.
        match wanted.path.as_str() {
            "usr/bin/a-link" => assert_eq!(found.kind, EntryKind::File(b"hello".to_vec())),
            "usr/share/page" => assert_eq!(found.kind, EntryKind::Hardlink("usr/bin/a-link".to_owned())),
            _ => assert_eq!(
                (&found.kind, found.mode, found.uid, found.gid, &found.xattrs),
                (&wanted.kind, wanted.mode, wanted.uid, wanted.gid, &wanted.xattrs)
            ),
        }
    }
    let parent = by_path["usr/local/bin"];
    assert_eq!(
        (&parent.kind, parent.mode, parent.uid, parent.mtime),
        (&EntryKind::Directory, 0o755, 0, 1_700_000_000)
    );
    let again = xtask::oci::Layer::from_blob(layer.blob().clone(), media::LAYER_GZIP, "", &Limits::default()).unwrap();
    assert_eq!(
        (again.digest(), again.diff_id(), again.unpacked_size()),
        (layer.digest(), layer.diff_id(), layer.unpacked_size())
    );
    assert_eq!(layer.unpacked_size(), 4000 + 5 + 3 + 6 + 3 + 3);
}

#[test]
fn what_cannot_be_true_is_refused_when_adding() {
    let refused = |entries: Vec<Entry>| -> LayerError {
        let mut builder = LayerBuilder::new(0);
        for entry in entries {
            if let Err(error) = builder.add(entry) {
                return error;
            }
        }
        builder.finish("").unwrap_err()
    };
    for path in [
        "",
        "/a",
        "../a",
        "a/../b",
        "a/./b",
        "a//b",
        "a/",
        "a\0b",
        ".",
        "..",
        "x/.wh.y",
        ".wh..wh..opq",
    ] {
        let error = refused(vec![Entry::file(path, "", 0o644)]);
        assert!(matches!(error, LayerError::Path { .. }), "{path:?}: {error}");
    }
    for (path, target) in [
        ("a", ".."),
        ("a/b", "../.."),
        ("a", "/../b"),
        ("a", ""),
        ("a/b", "c/../../../d"),
    ] {
        let error = refused(vec![Entry::symlink(path, target)]);
        assert!(matches!(error, LayerError::Link { .. }), "{path} -> {target}: {error}");
    }
    let error = refused(vec![Entry::file("a", "1", 0o644), Entry::file("a", "22", 0o644)]);
    assert!(
        error.to_string().contains("a: comes twice, as a file of 1 bytes"),
        "{error}"
    );
    for order in [false, true] {
        let mut entries = vec![Entry::file("a", "1", 0o644), Entry::file("a/b", "2", 0o644)];
        if order {
            entries.reverse();
        }
        let error = refused(entries);
        assert_eq!(error.to_string(), "a/b: lies below a, which is a file of 1 bytes");
    }
    let dangling = Entry::new("a", EntryKind::Hardlink("b".to_owned()), 0o644);
    assert!(
        refused(vec![dangling])
            .to_string()
            .contains("must name a file of the same layer")
    );
    let mut builder = LayerBuilder::new(0);
    builder.add(Entry::directory("a", 0o755)).unwrap();
    builder.add(Entry::directory("a", 0o755)).unwrap();
    assert!(builder.add(Entry::directory("a", 0o700)).is_err());
}

/// A tar with anything in it: the `tar` crate's own builder would refuse most of this.
#[derive(Default)]
struct Evil(Vec<u8>);

impl Evil {
    fn entry(mut self, kind: u8, name: &[u8], link: &[u8], data: &[u8]) -> Self {
        self.header(kind, name, link, data.len() as u64);
        self.0.extend_from_slice(data);
        self.0.resize(self.0.len().next_multiple_of(512), 0);
        self
    }

    fn header(&mut self, kind: u8, name: &[u8], link: &[u8], size: u64) {
        let mut header = tar::Header::new_ustar();
        header.as_old_mut().name[..name.len()].copy_from_slice(name);
        header.as_old_mut().linkname[..link.len()].copy_from_slice(link);
        header.set_mode(0o644);
        header.set_uid(0);
        header.set_gid(0);
        header.set_mtime(0);
        header.set_size(size);
        header.as_old_mut().linkflag = [kind];
        header.set_cksum();
        self.0.extend_from_slice(header.as_bytes());
    }

    fn pax(self, records: &[(&str, &str)]) -> Self {
        let mut data = Vec::new();
        for (key, value) in records {
            let mut length = key.len() + value.len() + 4;
            while length != key.len() + value.len() + 3 + length.to_string().len() {
                length += 1;
            }
            data.extend_from_slice(format!("{length} {key}={value}\n").as_bytes());
        }
        self.entry(b'x', b"pax", b"", &data)
    }

    fn end(mut self) -> Vec<u8> {
        self.0.extend_from_slice(&[0; 1024]);
        self.0
    }
}

fn error_of(tar: &[u8]) -> String {
    read_tar(tar, &Limits::default()).unwrap_err().to_string()
}

#[test]
fn hostile_names_and_links_are_refused_by_name() {
    let file = |name: &[u8]| error_of(&Evil::default().entry(b'0', name, b"", b"x").end());
    assert!(file(b"../etc/passwd").contains("\"../etc/passwd\""));
    assert!(file(b"a/../../b").contains("`..`"));
    assert!(file(b"/etc/passwd").contains("\"/etc/passwd\": a path must be relative"));
    assert!(file(b"a\xff").contains("not UTF-8"));
    assert!(file(b".wh..").contains("whiteout"));
    assert!(file(b".wh...").contains("whiteout"));
    assert!(file(b".wh.").contains("whiteout"));
    assert!(file(b".wh..wh..opq").contains("empty the image"));
    assert!(file(b".wh.d/x").contains("whiteout"));
    let long = Evil::default()
        .pax(&[("path", "../../x")])
        .entry(b'0', b"fine", b"", b"");
    assert!(error_of(&long.end()).contains("../../x"));
    let long = Evil::default().pax(&[("path", "a\0b")]).entry(b'0', b"fine", b"", b"");
    assert!(error_of(&long.end()).contains("NUL"));
    let long = Evil::default()
        .entry(b'L', b"././@LongLink", b"", b"/abs\0")
        .entry(b'0', b"fine", b"", b"");
    assert!(error_of(&long.end()).contains("/abs"));

    let link = |kind, name: &[u8], target: &[u8]| error_of(&Evil::default().entry(kind, name, target, b"").end());
    assert!(link(b'2', b"a", b"../../etc/shadow").contains("a: link to \"../../etc/shadow\": it leads out"));
    assert!(link(b'2', b"a", b"").contains("empty"));
    assert!(link(b'1', b"a", b"../b").contains("`..`"));
    assert!(link(b'1', b"a", b"/etc/shadow").contains("relative"));
    assert!(link(b'1', b"a", b"b").contains("earlier"));
    assert!(link(b'1', b"a", b"a").contains("earlier"));
    for (kind, name) in [
        (b'3', "character"),
        (b'4', "block"),
        (b'6', "pipe"),
        (b'S', "sparse"),
        (b'Z', "unknown"),
    ] {
        let error = error_of(&Evil::default().entry(kind, b"dev/x", b"", b"").end());
        assert!(error.contains("dev/x") && error.contains(name), "{error}");
    }
    let through = Evil::default()
        .entry(b'2', b"d", b"/etc", b"")
        .entry(b'0', b"d/passwd", b"", b"x");
    assert!(error_of(&through.end()).contains("d/passwd: lies below d, which is a symbolic link to /etc"));
    let twice = Evil::default()
        .entry(b'0', b"a", b"", b"1")
        .entry(b'0', b"./a", b"", b"2");
    assert!(error_of(&twice.end()).contains("a: comes twice"));
    let to_link = Evil::default()
        .entry(b'2', b"a", b"/x", b"")
        .entry(b'1', b"b", b"a", b"");
    assert!(error_of(&to_link.end()).contains("not a link"));
    let sparse = Evil::default()
        .pax(&[("GNU.sparse.major", "1")])
        .entry(b'0', b"s", b"", b"x");
    assert!(error_of(&sparse.end()).contains("sparse"));
}

#[test]
fn lies_about_sizes_and_bombs_are_refused() {
    let mut short = Evil::default().entry(b'0', b"first", b"", b"1");
    short.header(b'0', b"second", b"", 1 << 40);
    short.0.extend_from_slice(b"only this");
    assert!(error_of(&short.0).contains("after first"), "{}", error_of(&short.0));
    let mut overflow = Evil::default();
    overflow.header(b'0', b"x", b"", 0);
    overflow.0[124] = 0x80;
    overflow.0[125..136].fill(0xff);
    error_of(&overflow.0);
    let size = Evil::default().pax(&[("size", "1")]).entry(b'0', b"x", b"", b"four");
    assert!(error_of(&size.end()).contains("claims 1 bytes"));
    for bad in [
        "5 a=\n",
        "99999999999999999999 a=b\n",
        "9 a=b\n",
        "x a=b\n",
        "6 =bc\n",
        "0 a=b\n",
        "6 a=b",
        "+6 a=b\n",
    ] {
        let tar = Evil::default()
            .entry(b'x', b"p", b"", bad.as_bytes())
            .entry(b'0', b"x", b"", b"");
        let read = read_tar(&tar.end(), &Limits::default());
        assert!(read.is_err() == (bad != "5 a=\n"), "{bad:?}: {read:?}");
    }
    assert!(error_of(&Evil::default().pax(&[("uid", "-1")]).entry(b'0', b"x", b"", b"").end()).contains("`uid`"));
    assert!(error_of(&Evil::default().pax(&[("path", "x")]).end()).contains("ends after"));
    assert!(error_of(b"this is not a tar file at all, but it is longer than nothing").contains("at the start"));

    let few = Limits {
        entries: 2,
        ..Limits::default()
    };
    let three = ["a", "b", "c"]
        .iter()
        .fold(Evil::default(), |tar, name| tar.entry(b'0', name.as_bytes(), b"", b""));
    assert!(
        read_tar(&three.end(), &few)
            .unwrap_err()
            .to_string()
            .starts_with("c: the number of entries")
    );
    let globals = (0..20).fold(Evil::default(), |tar, _| tar.entry(b'g', b"g", b"", b""));
    assert!(
        read_tar(&globals.end(), &few)
            .unwrap_err()
            .to_string()
            .contains("headers")
    );
    let long = Evil::default()
        .pax(&[("path", &"p".repeat(5000))])
        .entry(b'0', b"x", b"", b"");
    assert!(error_of(&long.end()).contains("length of the name"));

    let mut gzip = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    gzip.write_all(&vec![0; 1 << 22]).unwrap();
    let bomb = gzip.finish().unwrap();
    let small = Limits {
        bytes: 1 << 20,
        ..Limits::default()
    };
    assert!(
        read_entries(&bomb, media::LAYER_GZIP, &small)
            .unwrap_err()
            .to_string()
            .contains("limit of 1048576")
    );
    assert!(read_entries(&bomb[..bomb.len() / 2], media::LAYER_GZIP, &Limits::default()).is_err());
    assert!(read_entries(&bomb, media::LAYER_ZSTD, &Limits::default()).is_err());
    assert!(read_entries(b"", media::LAYER_ZSTD, &Limits::default()).is_err());
    assert!(
        read_entries(&bomb, "text/html", &Limits::default())
            .unwrap_err()
            .to_string()
            .contains("text/html")
    );
}

#[test]
fn any_cut_and_many_changes_of_a_layer_never_panic() {
    let layer = build(sample());
    let tar = xtask::oci::layer::decompress(layer.blob(), media::LAYER_GZIP, &Limits::default()).unwrap();
    let whole = read_tar(&tar, &Limits::default()).unwrap();
    for end in (0..tar.len()).step_by(97) {
        if let Ok(entries) = read_tar(&tar[..end], &Limits::default()) {
            assert_eq!(entries[..], whole[..entries.len()], "cut at {end}");
        }
    }
    let mut state = 1_u64;
    for _ in 0..3000 {
        let mut changed = tar.clone();
        for _ in 0..4 {
            state = state
                .wrapping_mul(6364136223846793005)
                .wrapping_add(1442695040888963407);
            let at = (state >> 33) as usize % changed.len();
            changed[at] = (state >> 20) as u8;
        }
        let _ = read_tar(&changed, &Limits::default());
        let at = (state >> 33) as usize % layer.blob().len();
        let mut blob = layer.blob().to_vec();
        blob[at] ^= 1 << (state % 8);
        let _ = read_entries(&blob, media::LAYER_GZIP, &Limits::default());
    }
}

#[test]
fn whiteouts_links_and_old_directories_are_understood() {
    let tar = Evil::default()
        .entry(b'g', b"global", b"", b"13 comment=x\n")
        .entry(b'5', b"./", b"", b"")
        .entry(b'5', b"./d/", b"", b"")
        .entry(b'0', b"d/.wh..wh..opq", b"", b"")
        .entry(b'0', b"d/.wh.gone", b"", b"")
        .entry(b'0', b".wh.top", b"", b"")
        .entry(b'0', b"old/", b"", b"")
        .entry(b'0', b"old/f", b"", b"1")
        .entry(b'1', b"old/g", b"./old/f", b"")
        .entry(b'1', b"old/h", b"old/g", b"")
        .entry(b'5', b"d", b"", b"")
        .entry(b'2', b"bin", b"/usr/bin", b"")
        .entry(b'2', b"d/up", b"../bin", b"");
    let entries = read_tar(&tar.end(), &Limits::default()).unwrap();
    let shown: Vec<String> = entries
        .iter()
        .map(|entry| format!("{} {:?}", entry.path, entry.kind))
        .collect();
    assert_eq!(
        shown,
        [
            "d Directory",
            "d OpaqueDirectory",
            "d/gone Whiteout",
            "top Whiteout",
            "old Directory",
            "old/f File(1 bytes)",
            "old/g Hardlink(\"old/f\")",
            "old/h Hardlink(\"old/f\")",
            "bin Symlink(\"/usr/bin\")",
            "d/up Symlink(\"../bin\")",
        ]
    );
}

#[test]
fn a_blob_that_was_kept_is_used_only_when_it_is_that_layer() {
    let builder = |text: &str| {
        let mut builder = LayerBuilder::new(0);
        builder.add(Entry::file("a", text, 0o644)).unwrap();
        builder
    };
    let layer = builder("text").finish("x").unwrap();
    let other = builder("another text").finish("x").unwrap();
    let asked = std::cell::RefCell::new(Vec::new());
    for kept in [
        layer.blob().to_vec(),
        other.blob().to_vec(),
        b"rubbish".to_vec(),
        Vec::new(),
    ] {
        let again = builder("text").finish_with("x", &|diff_id| {
            asked.borrow_mut().push(*diff_id);
            Some(kept.clone())
        });
        let again = again.unwrap();
        assert_eq!((again.digest(), again.diff_id()), (layer.digest(), layer.diff_id()));
        assert_eq!(again.unpacked_size(), layer.unpacked_size());
    }
    assert_eq!(*asked.borrow(), [layer.diff_id(); 4]);
}
