//! Texts that are compared with a file: `tests/it/snapshots/NAME.txt`, written anew by `BLOG_SNAPSHOTS=write`.

use std::path::Path;

pub fn check(name: &str, text: &str) {
    let directory = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/it/snapshots");
    let file = directory.join(format!("{name}.txt"));
    if std::env::var_os("BLOG_SNAPSHOTS").is_some_and(|value| value == "write") {
        std::fs::create_dir_all(&directory).unwrap();
        std::fs::write(&file, text).unwrap();
        return;
    }
    let known = std::fs::read_to_string(&file).unwrap_or_default();
    if known == text {
        return;
    }
    let different = known.lines().zip(text.lines()).position(|(a, b)| a != b);
    let line = different.unwrap_or_else(|| known.lines().count().min(text.lines().count()));
    panic!(
        "{name} differs in line {}:\n-{}\n+{}\nread all of it, then write it with BLOG_SNAPSHOTS=write:\n{text}",
        line + 1,
        known.lines().nth(line).unwrap_or_default(),
        text.lines().nth(line).unwrap_or_default()
    );
}
