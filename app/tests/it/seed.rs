//! A blog with some of everything in it, written straight into the database before the server starts.

use std::io::{Cursor, Write};

use blog::db::Db;
use blog::db::queries::media;
use blog::domain::Stamp;
use blog::media::{Limits, Store};
use diesel::connection::SimpleConnection;
use diesel::prelude::*;
use tempfile::TempDir;

use crate::app::{PASSWORD, TestApp};

/// 2026-07-05T14:03:00Z, when the newest post was published.
pub const NEWEST: i64 = 1_783_260_180;
pub const UNLISTED: &str = "00000000-0000-4000-8000-000000000012";

/// Starts a server on it. Times are in Japan's zone.
pub fn start(options: &[&str]) -> TestApp {
    let directory = tempfile::tempdir().unwrap();
    fill(&directory);
    let fixed = ["--title", "On a small computer", "--base-url", "http://example.onion"];
    // Tests ask by the address that they connect to.
    TestApp::start_in(directory, &[&fixed, options].concat(), Some(PASSWORD))
}

pub fn open(directory: &TempDir) -> SqliteConnection {
    let path = directory.path().join("blog.db");
    drop(Db::open(path.to_str().unwrap()).unwrap());
    SqliteConnection::establish(path.to_str().unwrap()).unwrap()
}

/// Number, kind, age in hours, title, body, and more columns with their values.
type Row = (
    i64,
    &'static str,
    i64,
    Option<&'static str>,
    &'static str,
    &'static [(&'static str, &'static str)],
);

const ARTICLE: &str = "\
A small computer in a drawer is enough for a blog. This is how mine is set up, what it costs in electricity, and what \
I would do differently the next time.

# What is in the drawer

* the computer itself, with 512 MB of memory
* a card of 16 GB, of which 60 MB are used
* a cable

```
$ uptime
 14:03:00 up 211 days, load average: 0.02, 0.01, 0.00
```

> It has been quiet. That is what I wanted.

The rest is **software**, and most of that is *waiting*.";

const ROWS: &[Row] = &[
    (1, "note", 9000, None, "First post. Hello from a drawer.", &[]),
    (
        2,
        "note",
        800,
        None,
        "東京タワーの写真を整理している。午後は雨。",
        &[("lang", "'ja'")],
    ),
    (
        3,
        "note",
        500,
        None,
        "A thread about cards, because people ask. Cheap ones die first. #sdcard",
        &[],
    ),
    (
        4,
        "note",
        499,
        None,
        "The good ones die, too, but they tell you before.",
        &[("thread", "3"), ("reply_to", "3")],
    ),
    (
        5,
        "note",
        498,
        None,
        "So: backups. Always on another card, always read back.",
        &[("thread", "3"), ("reply_to", "4")],
    ),
    (6, "article", 300, Some("A blog in a drawer"), ARTICLE, &[]),
    (
        7,
        "link",
        200,
        Some("The Rust programming language"),
        "Where to begin when `cargo new` is new to you.",
        &[("link", "'https://www.rust-lang.org/learn'")],
    ),
    (
        8,
        "note",
        100,
        None,
        "ﾗｽﾞﾊﾟｲでＲｕｓｔを動かす。コンパイルは別のマシンで、実行はこの子で。 #ラズパイ #Rust",
        &[("edited_at", "1783000000")],
    ),
    (
        9,
        "note",
        50,
        None,
        "This blog moved. Old links still work; the feed has the same ids as before. Write to me if something is missing.",
        &[("pinned_at", "1783000000")],
    ),
    (10, "note", 2, None, "Evening light on the way home.", &[]),
    (
        11,
        "note",
        0,
        None,
        "今日から日本語でも書きます。\nよろしくお願いします。",
        &[],
    ),
    (
        12,
        "note",
        10,
        None,
        "For those with the address only.",
        &[("visibility", "'unlisted'")],
    ),
    (
        13,
        "note",
        10,
        None,
        "For me alone: secretprivate.",
        &[("visibility", "'private'")],
    ),
    (14, "note", 10, None, "Not yet: secretdraft.", &[("state", "'draft'")]),
    (
        15,
        "note",
        10,
        None,
        "Was public: secretgone.",
        &[("deleted_at", "4102444800")],
    ),
    (
        16,
        "page",
        9000,
        Some("About"),
        "I write about **small computers** and what they can do.",
        &[("slug", "'about'")],
    ),
    (
        17,
        "note",
        10,
        None,
        "Deleted before it was out: secretnever.",
        &[("deleted_at", "4102444800"), ("state", "'draft'")],
    ),
];

pub fn fill(directory: &TempDir) {
    let db = &mut open(directory);
    for (id, kind, hours, title, body, more) in ROWS {
        let columns: String = more.iter().map(|(column, _)| format!(", {column}")).collect();
        let values: String = more.iter().map(|(_, value)| format!(", {value}")).collect();
        let quote = |text: &str| format!("'{}'", text.replace('\'', "''"));
        let time = NEWEST - hours * 3600;
        db.batch_execute(&format!(
            "INSERT INTO posts (id, uuid, kind, title, body, created_at, published_at{columns})
             VALUES ({id}, '00000000-0000-4000-8000-{id:012}', '{kind}', {}, {}, {time}, {time}{values})",
            title.map_or("NULL".to_owned(), quote),
            quote(body)
        ))
        .unwrap();
    }
    db.batch_execute(
        "INSERT INTO tags VALUES (1, 'sdcard', 'sdcard'), (2, 'ラズパイ', 'ラズパイ'), (3, 'rust', 'Rust'), (4, 'secret', 'secret');
         INSERT INTO post_tags VALUES (3, 1), (8, 2), (8, 3), (7, 3), (6, 1), (13, 4);
         INSERT INTO old_ids VALUES ('x', '1234567890', 1), ('x', '666', 13);",
    )
    .unwrap();
    let store = directory.path().join("blog.db");
    let store = Store::open(&Store::beside(store.to_str().unwrap()), Limits::default()).unwrap();
    let ready = store.clean(Cursor::new(picture())).unwrap();
    store.publish(&ready).unwrap();
    let row = media::insert(db, &ready, Stamp(NEWEST)).unwrap();
    diesel::sql_query(format!(
        "INSERT INTO post_media VALUES (10, 0, {}, 'A low sun over dark hills, orange turning into violet')",
        row.id
    ))
    .execute(db)
    .unwrap();
}

/// An evening, 640 by 360 pixels (PNG, W3C Recommendation, third edition).
fn picture() -> Vec<u8> {
    let (width, height) = (640_u32, 360_u32);
    let mut rows = Vec::new();
    for y in 0..height {
        rows.push(0);
        for x in 0..width {
            let hill = 250.0 + 35.0 * (f64::from(x) / 90.0).sin() + 18.0 * (f64::from(x) / 33.0).cos();
            let (dx, dy) = (f64::from(x) - 430.0, f64::from(y) - 215.0);
            let down = f64::from(y) / f64::from(height);
            let sky = [90.0 + 165.0 * down, 60.0 + 110.0 * down, 130.0 - 40.0 * down];
            let pixel = if f64::from(y) > hill {
                [38.0, 30.0, 52.0]
            } else if dx.hypot(dy) < 38.0 {
                [255.0, 226.0, 150.0]
            } else {
                sky
            };
            rows.extend(pixel.map(|value| value as u8));
        }
    }
    let mut zlib = flate2::write::ZlibEncoder::new(Vec::new(), flate2::Compression::default());
    zlib.write_all(&rows).unwrap();
    let mut header = [width.to_be_bytes(), height.to_be_bytes()].concat();
    header.extend([8, 2, 0, 0, 0]);
    let mut png = b"\x89PNG\r\n\x1a\n".to_vec();
    for (kind, data) in [
        (b"IHDR", header),
        (b"IDAT", zlib.finish().unwrap()),
        (b"IEND", Vec::new()),
    ] {
        png.extend(u32::try_from(data.len()).unwrap().to_be_bytes());
        let mut crc = flate2::Crc::new();
        crc.update(kind);
        crc.update(&data);
        png.extend(kind);
        png.extend(data);
        png.extend(crc.sum().to_be_bytes());
    }
    png
}
