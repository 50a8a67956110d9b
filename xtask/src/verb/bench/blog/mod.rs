//! The blog with 50,000 posts against actix-web that says hello (`app/examples/hello.rs`): on this machine, and on the emulated
//! Pi Zero. Both are compiled with the profile of the image and have the same bounds; both are asked in the same run.

mod host;
mod load;
mod pi;
mod posts;

use std::fs;
use std::io::Read;
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::DIR;
use super::figures::{Goal, Row, Samples, Unit};
use crate::cache;
use crate::compile;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::Digest;
use crate::shell::Command;
use crate::verb::policy;
pub use host::measure as on_this_machine;
pub use pi::measure as on_the_pi;

/// Where the program is that says hello.
const HELLO: &str = "hello";
/// The front page may be this much slower than hello, and have so many bytes.
const FRONT: (f64, f64) = (0.6, 12_000.0);

/// A page that is asked for.
struct Page {
    what: &'static str,
    /// None: a post at random.
    path: Option<&'static str>,
    /// How it comes to be.
    note: &'static str,
}

const PAGES: [Page; 6] = [
    Page {
        what: "front page",
        path: Some("/"),
        note: "kept since it was made, compressed; one look a second whether something has changed",
    },
    Page {
        what: "one post",
        path: Some("/posts/40000"),
        note: "as the front page",
    },
    Page {
        what: "posts at random",
        path: None,
        note: "any of 50,000: made and compressed anew",
    },
    Page {
        what: "search, three words",
        path: Some("/search?q=bridge+onion+train"),
        note: "by the index, made anew each time, not compressed",
    },
    Page {
        what: "search, two characters",
        path: Some("/search?q=%E6%9D%B1%E4%BA%AC"),
        note: "too short for the index",
    },
    Page {
        what: "feed",
        path: Some("/feed.atom"),
        note: "Atom; as the front page",
    },
];

impl Page {
    fn row(&self, place: &str, ours: Vec<f64>, hello: Vec<f64>, how: &str) -> Row {
        let goal = (self.path == Some("/")).then_some(Goal::AtLeast(FRONT.0));
        Row::new(
            format!("{place}: {}", self.what),
            Unit::PerSecond,
            Samples::new(ours),
            Some(("actix hello", Samples::new(hello))),
            goal,
            format!("{how}; {}", self.note),
        )
    }
}

/// What asks wrk for posts at random.
fn script(cx: &Cx) -> Result<PathBuf> {
    let path = std::path::absolute(cx.root.join(DIR).join("random.lua"))?;
    let count = posts::COUNT;
    let text = format!(
        "math.randomseed(7)\nrequest = function() return wrk.format(\"GET\", \"/posts/\" .. math.random(1, {count})) end\n"
    );
    cache::write_with_mode(&path, text.as_bytes(), 0o644)?;
    Ok(path)
}

/// Programs that cargo says it has made, by their names. `command`: a `cargo build` with messages in JSON.
fn built(command: &Command, names: &[&str]) -> Result<Vec<PathBuf>> {
    let mut found: Vec<Option<PathBuf>> = vec![None; names.len()];
    let status = command.lines(|line| {
        let Ok(message) = serde_json::from_str::<serde_json::Value>(line) else {
            return Ok(());
        };
        let name = message["target"]["name"].as_str();
        let at = names.iter().position(|wanted| Some(*wanted) == name);
        if let (Some(at), Some(path)) = (at, message["executable"].as_str()) {
            found[at] = Some(PathBuf::from(path));
        }
        Ok(())
    })?;
    if !status.success() {
        return Err(Error::new(format!("`{}` failed ({status})", command.line())));
    }
    let paths: Option<Vec<PathBuf>> = found.into_iter().collect();
    paths.context(|| format!("`{}` did not make {}", command.line(), names.join(" and ")))
}

/// The blog and hello for this machine, as the image's profile makes them.
fn native(cx: &Cx) -> Result<(PathBuf, PathBuf)> {
    let image = policy(cx)?.image;
    let command = compile::cargo(cx)
        .args(["build", "--locked", "--release", "--package", &image.package])
        .args(["--bin", &image.binary, "--example", HELLO])
        .args(["--message-format", "json-render-diagnostics"]);
    let mut paths = built(&command, &[&image.binary, HELLO])?.into_iter();
    paths.next().zip(paths.next()).context(|| "cargo made no two programs")
}

/// A database with all the posts, made by the blog's own import, once. A copy, as servers write to it.
fn database(cx: &Cx, blog: &Path) -> Result<PathBuf> {
    let export = posts::export();
    let dir = cx.root.join(DIR).join("posts");
    let name = format!("{}.db", &Digest::of(export.as_bytes()).hex()[..16]);
    let made = dir.join(&name);
    if !made.is_file() {
        cx.ui.step(
            "Importing",
            &format!("{} posts; the first time takes a minute", posts::COUNT),
        );
        let _ = fs::remove_dir_all(&dir);
        let source = dir.join("export");
        fs::create_dir_all(&source).context(|| format!("cannot create {}", source.display()))?;
        fs::write(source.join("blog.jsonl"), export).context(|| format!("cannot write in {}", source.display()))?;
        let new = dir.join("new.db");
        cx.shell
            .command(blog)
            .args(["import", "export"])
            .arg(&source)
            .arg("--database")
            .arg(&new)
            .read()?;
        fs::rename(&new, &made).context(|| format!("cannot write {}", made.display()))?;
    }
    let copy = dir.join("served.db");
    for suffix in ["", "-wal", "-shm"] {
        let _ = fs::remove_file(format!("{}{suffix}", copy.display()));
    }
    fs::copy(&made, &copy).context(|| format!("cannot write {}", copy.display()))?;
    Ok(copy)
}

/// A client that keeps its connection, and waits `limit` for an answer. Only for servers on this machine.
fn client(limit: Duration) -> ureq::Agent {
    let config = ureq::Agent::config_builder().proxy(None).timeout_global(Some(limit));
    config.build().new_agent()
}

/// The body of an answer as it travels, compressed where the server can.
///
/// # Errors
/// No answer in time; an answer that is no success.
fn fetch(client: &ureq::Agent, port: u16, path: &str) -> Result<Vec<u8>> {
    let url = format!("http://127.0.0.1:{port}{path}");
    let failed = |error: ureq::Error| Error::new(format!("GET {url}: {error}"));
    let mut answer = client
        .get(&url)
        .header("Accept-Encoding", "gzip")
        .call()
        .map_err(failed)?;
    answer.body_mut().read_to_vec().map_err(failed)
}

/// Bytes of each page as it travels.
fn bytes(port: u16, limit: Duration) -> Result<Vec<Row>> {
    let client = client(limit);
    let mut rows = Vec::new();
    for page in &PAGES {
        let Some(path) = page.path else { continue };
        let body = fetch(&client, port, path)?.len() as f64;
        rows.push(Row::new(
            format!("bytes: {}", page.what),
            Unit::Bytes,
            Samples::new(vec![body]),
            None,
            (path == "/").then_some(Goal::Limit(FRONT.1)),
            format!("body of GET {path} with `Accept-Encoding: gzip`"),
        ));
    }
    let html = unpacked(&fetch(&client, port, "/")?)?;
    let style = html
        .split("rel=\"stylesheet\" href=\"")
        .nth(1)
        .and_then(|rest| rest.split('"').next());
    if let Some(style) = style {
        rows.push(Row::new(
            "bytes: stylesheet",
            Unit::Bytes,
            Samples::new(vec![fetch(&client, port, style)?.len() as f64]),
            None,
            None,
            "asked for once: it may be kept for ever",
        ));
    }
    Ok(rows)
}

/// The front page as text.
fn unpacked(bytes: &[u8]) -> Result<String> {
    let mut text = String::new();
    flate2::read::GzDecoder::new(bytes)
        .read_to_string(&mut text)
        .context(|| "the front page is not compressed")?;
    Ok(text)
}
