//! The command line: what was asked, and how a failure is told.

use std::ffi::OsString;
use std::io::{Read, Write};
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::auth::password::{self, NewPassword};
use crate::db::Db;
use crate::settings::{Flags, Settings};
use crate::{health, startup};

const HELP: &str = "\
A one-person mini blog.

Usage: blog [serve] [options]        serve the blog (the default)
       blog owner set [options]      set the password that signs the owner in
       blog health [--url URL]       exit 0 when the running blog answers, else 1

Options:
  --listen ADDR:PORT   where to listen               [BLOG_LISTEN, 127.0.0.1:8080]
  --database FILE      where the posts are kept      [BLOG_DATABASE, ./blog.db]
  --title TEXT         name of the blog              [BLOG_TITLE, Blog]
  --base-url URL       address for links in the feed [BLOG_BASE_URL, none]
  --insecure-cookie    sign in over plain http too   [BLOG_INSECURE_COOKIE=1]
  --password-stdin     owner set: read the password from standard input
  --help, --version

BLOG_LANG is the language of the pages: auto (what the browser asks for), en or ja. BLOG_UTC_OFFSET is what times are
shown in, as in +09:00 (UTC when it is not set).
BLOG_OWNER_PASSWORD is the password for `owner set`; `serve` takes it once, when there is none yet.
";

/// Why the program stops, what to do about it, and the exit code: 2 for what the caller can mend, else 1.
#[derive(Debug)]
pub struct Failure {
    pub code: u8,
    pub message: String,
    pub hint: String,
}

impl Failure {
    pub fn usage(message: String, hint: &str) -> Self {
        Self {
            code: 2,
            message,
            hint: hint.to_owned(),
        }
    }

    pub fn fatal(message: String) -> Self {
        Self {
            code: 1,
            message,
            hint: String::new(),
        }
    }
}

#[derive(Debug, PartialEq)]
enum Command {
    Serve,
    OwnerSet { stdin: bool },
    Health { url: Option<String> },
    Help,
    Version,
}

pub fn main() -> ExitCode {
    let outcome = parse(lexopt::Parser::from_env()).and_then(|(command, flags)| run(command, flags));
    match outcome {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => {
            let mut text = format!("blog: {}\n", failure.message);
            if !failure.hint.is_empty() {
                text.push_str("hint: ");
                text.push_str(&failure.hint);
                text.push('\n');
            }
            // Nobody is left to tell when standard error is gone.
            let _ = std::io::stderr().write_all(text.as_bytes());
            ExitCode::from(failure.code)
        }
    }
}

fn run(command: Command, flags: Flags) -> Result<(), Failure> {
    let settings = || Settings::resolve(flags, &|name| std::env::var_os(name));
    match command {
        Command::Help => say(HELP),
        Command::Version => say(concat!("blog ", env!("CARGO_PKG_VERSION"), "\n")),
        Command::Serve => startup::serve(settings()?),
        Command::OwnerSet { stdin } => set_owner(&settings()?, stdin),
        Command::Health { url: Some(url) } => health::check_url(&url),
        Command::Health { url: None } => health::check(settings()?.listen),
    }
}

fn say(text: &str) -> Result<(), Failure> {
    std::io::stdout()
        .write_all(text.as_bytes())
        .map_err(|error| Failure::fatal(format!("cannot write: {error}")))
}

fn set_owner(settings: &Settings, stdin: bool) -> Result<(), Failure> {
    let typed = if stdin {
        let mut text = String::new();
        std::io::stdin()
            .take(4096)
            .read_to_string(&mut text)
            .map_err(|error| Failure::usage(format!("cannot read the password: {error}"), ""))?;
        text.lines().next().unwrap_or_default().to_owned()
    } else if let Some(password) = &settings.owner_password {
        password.0.clone()
    } else {
        return Err(Failure::usage(
            "no password given".to_owned(),
            "pipe it in with --password-stdin, or set BLOG_OWNER_PASSWORD",
        ));
    };
    let hash = password::hash(&NewPassword::parse(&typed)?)?;
    Db::open(&settings.database)?.set_owner(&hash)?;
    say("The password is set; everyone is signed out.\n")
}

fn parse(mut parser: lexopt::Parser) -> Result<(Command, Flags), Failure> {
    let mut flags = Flags::default();
    let mut words: Vec<OsString> = Vec::new();
    let mut stdin = false;
    let mut url = None;
    let bad = |error: lexopt::Error| Failure::usage(error.to_string(), "see `blog --help`");

    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Short('h') | Long("help") => return Ok((Command::Help, flags)),
            Short('V') | Long("version") => return Ok((Command::Version, flags)),
            Long("listen") => flags.listen = Some(parser.value().map_err(bad)?),
            Long("database") => flags.database = Some(parser.value().map_err(bad)?),
            Long("title") => flags.title = Some(parser.value().map_err(bad)?),
            Long("base-url") => flags.base_url = Some(parser.value().map_err(bad)?),
            Long("insecure-cookie") => flags.insecure_cookie = true,
            Long("password-stdin") => stdin = true,
            Long("url") => url = Some(parser.value().and_then(|v| v.string()).map_err(bad)?),
            Value(word) if words.len() < 2 => words.push(word),
            other => return Err(bad(other.unexpected())),
        }
    }

    let words: Vec<_> = words.iter().map(|word| word.to_string_lossy()).collect();
    let words: Vec<&str> = words.iter().map(AsRef::as_ref).collect();
    let command = match words.as_slice() {
        [] | ["serve"] => Command::Serve,
        ["owner", "set"] => Command::OwnerSet { stdin },
        ["health"] => Command::Health { url: url.take() },
        words => {
            let text = words.join(" ");
            return Err(Failure::usage(format!("unknown command `{text}`"), "see `blog --help`"));
        }
    };
    // An option that the command would ignore is a mistake worth hearing about.
    if stdin && !matches!(command, Command::OwnerSet { .. }) {
        return Err(Failure::usage("--password-stdin goes with `owner set`".to_owned(), ""));
    }
    if url.is_some() {
        return Err(Failure::usage("--url goes with `health`".to_owned(), ""));
    }
    Ok((command, flags))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn command(args: &[&str]) -> Result<Command, String> {
        parse(lexopt::Parser::from_args(args))
            .map(|(command, _)| command)
            .map_err(|failure| failure.message)
    }

    #[test]
    fn commands() {
        assert_eq!(command(&[]), Ok(Command::Serve));
        assert_eq!(command(&["serve", "--title", "x"]), Ok(Command::Serve));
        assert_eq!(
            command(&["--database=x", "owner", "set"]),
            Ok(Command::OwnerSet { stdin: false })
        );
        assert_eq!(
            command(&["owner", "set", "--password-stdin"]),
            Ok(Command::OwnerSet { stdin: true })
        );
        assert_eq!(command(&["health"]), Ok(Command::Health { url: None }));
        assert_eq!(command(&["-V"]), Ok(Command::Version));
    }

    #[test]
    fn mistakes_are_named() {
        assert!(command(&["--frobnicate"]).unwrap_err().contains("--frobnicate"));
        assert!(command(&["fly"]).unwrap_err().contains("fly"));
        assert!(command(&["owner"]).unwrap_err().contains("owner"));
        assert!(command(&["serve", "--password-stdin"]).is_err());
        assert!(command(&["serve", "--url", "x"]).is_err());
        assert!(command(&["health", "now", "please"]).unwrap_err().contains("please"));
        assert!(command(&["--listen"]).is_err());
    }
}
