//! The command line: which command was asked for, with which options. It parses and knows nothing of what commands do;
//! `command::COMMANDS` has them, `settings::TABLE` the options that every command takes.

use std::ffi::OsString;
use std::io::Write;
use std::process::ExitCode;

use lexopt::prelude::*;

use crate::command::{COMMANDS, Command};
use crate::settings::{self, Given, Setting, Settings};

mod help;

/// Why the program could not do its work, and what to do about it.
#[derive(Debug)]
pub struct Failure {
    /// 2 for what could not be done, 1 for a problem that was looked for and found.
    pub code: u8,
    pub message: String,
    pub hint: String,
}

impl Failure {
    /// What the caller can mend: a wrong argument, a file that cannot be opened.
    pub fn usage(message: String, hint: &str) -> Self {
        Self {
            code: 2,
            message,
            hint: hint.to_owned(),
        }
    }

    /// What nobody could foresee.
    pub fn fatal(message: String) -> Self {
        Self::usage(message, "")
    }

    /// It was done, and the answer is no: a blog that is not well.
    pub fn finding(message: String, hint: &str) -> Self {
        Self {
            code: 1,
            ..Self::usage(message, hint)
        }
    }
}

/// How a command that could do its work ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Outcome {
    /// Exit code 0.
    Fine,
    /// Exit code 1: it ran and found problems, which it has printed.
    Findings,
}

/// A command with everything that was typed.
#[derive(Debug)]
pub struct Invocation {
    pub command: &'static Command,
    /// What stands behind the command's name and its options.
    pub operands: Vec<OsString>,
    /// `--json`.
    pub json: bool,
    options: Vec<(&'static str, OsString)>,
    given: Given,
}

impl Invocation {
    /// Whether the option was given.
    pub fn has(&self, long: &str) -> bool {
        self.options.iter().any(|(name, _)| *name == long)
    }

    /// The option's value as typed; the last one when it was given twice.
    pub fn raw(&self, long: &str) -> Option<&OsString> {
        let found = self.options.iter().rev().find(|(name, _)| *name == long);
        found.map(|(_, value)| value)
    }

    /// The option's value.
    pub fn value(&self, long: &str) -> Result<Option<&str>, Failure> {
        self.raw(long)
            .map(|value| {
                value
                    .to_str()
                    .ok_or_else(|| Failure::usage(format!("--{long} is not valid UTF-8"), ""))
            })
            .transpose()
    }

    /// What is in force: flags, environment, file, defaults.
    pub fn settings(&self) -> Result<Settings, Failure> {
        Settings::resolve(&self.given, &settings::environment())
    }
}

/// One line or more on standard output: the result of a command.
pub fn print(text: &str) -> Result<(), Failure> {
    let mut out = std::io::stdout();
    out.write_all(text.as_bytes())
        .and_then(|()| out.flush())
        .map_err(|error| Failure::fatal(format!("cannot write to standard output: {error}")))
}

#[derive(Debug)]
enum Asked {
    Run(Invocation),
    Help(Option<&'static Command>),
    Version,
}

pub fn main() -> ExitCode {
    let outcome = parse(lexopt::Parser::from_env()).and_then(|asked| match asked {
        Asked::Help(command) => print(&help::text(command)).map(|()| Outcome::Fine),
        Asked::Version => print(concat!("blog ", env!("CARGO_PKG_VERSION"), "\n")).map(|()| Outcome::Fine),
        Asked::Run(invocation) => (invocation.command.run)(&invocation),
    });
    match outcome {
        Ok(Outcome::Fine) => ExitCode::SUCCESS,
        Ok(Outcome::Findings) => ExitCode::from(1),
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

fn parse(mut parser: lexopt::Parser) -> Result<Asked, Failure> {
    let bad = |error: lexopt::Error| Failure::usage(error.to_string(), "see `blog --help`");
    let mut given = Given::default();
    let mut words: Vec<OsString> = Vec::new();
    let mut options: Vec<(&'static str, OsString)> = Vec::new();
    let (mut help, mut version, mut json) = (false, false, false);

    while let Some(argument) = parser.next().map_err(bad)? {
        match argument {
            Short('h') | Long("help") => help = true,
            Short('V') | Long("version") => version = true,
            Long("json") => json = true,
            Long("config") => given.config = Some(parser.value().map_err(bad)?),
            Long(name) => {
                if let Some(setting) = Setting::of_flag(name) {
                    let value = if setting.is_switch {
                        OsString::from("1")
                    } else {
                        parser.value().map_err(bad)?
                    };
                    given.flags.push((setting, value));
                } else if let Some(option) = COMMANDS
                    .iter()
                    .flat_map(|command| command.options)
                    .find(|o| o.long == name)
                {
                    let value = if option.value.is_empty() {
                        OsString::new()
                    } else {
                        parser.value().map_err(bad)?
                    };
                    options.push((option.long, value));
                } else {
                    return Err(bad(Long(name).unexpected()));
                }
            }
            Value(word) => words.push(word),
            other => return Err(bad(other.unexpected())),
        }
    }

    if version {
        return Ok(Asked::Version);
    }
    let (command, operands) = match find(&words) {
        Some(found) => found,
        None if help && words.is_empty() => return Ok(Asked::Help(None)),
        None => {
            let text = words.iter().map(|word| word.to_string_lossy()).collect::<Vec<_>>();
            return Err(Failure::usage(
                format!("unknown command `{}`", text.join(" ")),
                "see `blog --help`",
            ));
        }
    };
    if help {
        let whole = words.is_empty();
        return Ok(Asked::Help(if whole { None } else { Some(command) }));
    }
    check(command, &options, &operands, json)?;
    Ok(Asked::Run(Invocation {
        command,
        operands,
        json,
        options,
        given,
    }))
}

/// The command with the longest name that `words` begin with, and the words behind it. No words mean `serve`.
fn find(words: &[OsString]) -> Option<(&'static Command, Vec<OsString>)> {
    if words.is_empty() {
        return COMMANDS
            .iter()
            .find(|command| command.name == "serve")
            .map(|c| (c, Vec::new()));
    }
    let matches = |command: &&'static Command| {
        let name: Vec<&str> = command.name.split(' ').collect();
        words.len() >= name.len() && name.iter().zip(words).all(|(name, word)| word == name)
    };
    let found = COMMANDS
        .iter()
        .filter(matches)
        .max_by_key(|command| command.name.len())?;
    let behind = found.name.split(' ').count();
    Some((found, words[behind..].to_vec()))
}

/// An argument that the command would ignore is a mistake worth hearing about.
fn check(
    command: &Command,
    options: &[(&'static str, OsString)],
    operands: &[OsString],
    json: bool,
) -> Result<(), Failure> {
    let hint = format!("see `blog {} --help`", command.name);
    let wrong = |message: String| Err(Failure::usage(message, &hint));
    for (name, _) in options {
        if command.options.iter().all(|option| option.long != *name) {
            return wrong(format!("--{name} does not go with `blog {}`", command.name));
        }
    }
    if json && !command.json {
        return wrong(format!("--json does not go with `blog {}`", command.name));
    }
    let (least, most) = command.operands.count;
    if operands.len() < least {
        return wrong(format!("`blog {}` needs {}", command.name, command.operands.usage));
    }
    if let Some(word) = operands.get(most) {
        let word = word.to_string_lossy();
        return wrong(format!("`{word}` is too much for `blog {}`", command.name));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn command(args: &[&str]) -> Result<&'static str, String> {
        match parse(lexopt::Parser::from_args(args)) {
            Ok(Asked::Run(invocation)) => Ok(invocation.command.name),
            Ok(other) => Ok(match other {
                Asked::Version => "version",
                _ => "help",
            }),
            Err(failure) => Err(failure.message),
        }
    }

    #[test]
    fn commands() {
        assert_eq!(command(&[]), Ok("serve"));
        assert_eq!(command(&["serve", "--title", "x"]), Ok("serve"));
        assert_eq!(command(&["--database=x", "owner", "set"]), Ok("owner set"));
        assert_eq!(command(&["owner", "set", "--password-stdin"]), Ok("owner set"));
        assert_eq!(command(&["health"]), Ok("health"));
        assert_eq!(command(&["config", "--json"]), Ok("config"));
        assert_eq!(command(&["-V"]), Ok("version"));
        assert_eq!(command(&["owner", "set", "-h"]), Ok("help"));
    }

    #[test]
    fn mistakes_are_named() {
        for (args, named) in [
            (["--frobnicate"].as_slice(), "--frobnicate"),
            (&["fly"], "fly"),
            (&["owner"], "owner"),
            (&["serve", "--password-stdin"], "--password-stdin"),
            (&["serve", "--url", "x"], "--url"),
            (&["serve", "--json"], "--json"),
            (&["health", "now"], "now"),
            (&["--listen"], "--listen"),
            (&["-x"], "-x"),
        ] {
            let message = command(args).unwrap_err();
            assert!(message.contains(named), "{args:?}: {message}");
        }
    }

    #[test]
    fn a_name_means_one_thing() {
        let mut seen: Vec<(&str, bool)> = Vec::new();
        for command in COMMANDS {
            for option in command.options {
                // The parser has to know whether a value follows before it knows the command.
                let takes_value = !option.value.is_empty();
                let other = seen.iter().find(|(name, _)| *name == option.long);
                assert!(other.is_none_or(|(_, value)| *value == takes_value), "{}", option.long);
                assert!(Setting::of_flag(option.long).is_none(), "{}", option.long);
                assert!(!["help", "version", "json", "config"].contains(&option.long));
                seen.push((option.long, takes_value));
            }
            assert!(!command.examples.is_empty(), "{}", command.name);
        }
    }

    #[test]
    fn examples_are_commands() {
        for command in COMMANDS {
            for example in command.examples {
                let line = example.rsplit(" | ").next().unwrap().split(" > ").next().unwrap();
                let mut words = line.split_whitespace().skip_while(|word| word.contains('='));
                assert_eq!(words.next(), Some("blog"), "{example}");
                match parse(lexopt::Parser::from_args(words)) {
                    Ok(Asked::Run(found)) => assert_eq!(found.command.name, command.name, "{example}"),
                    other => panic!("{example}: {other:?}"),
                }
            }
        }
    }
}
