//! Every command line that a document shows is one that the program accepts.

use clap::{CommandFactory, Parser};
use xtask::cli::Cli;
use xtask::target::Target;

use super::{Offence, none, repository};

/// The shell commands in the fenced blocks of a Markdown text, with their lines: `console` blocks have prompts and output,
/// `sh` blocks are commands throughout. A `\` at the end continues a line.
fn commands(text: &str) -> Vec<(usize, String)> {
    #[derive(Clone, Copy, PartialEq)]
    enum Block {
        Session,
        Script,
        Other,
    }
    let mut found: Vec<(usize, String)> = Vec::new();
    let mut block = None;
    let mut continued = false;
    for (index, line) in text.lines().enumerate() {
        let line = line.trim();
        if let Some(language) = line.strip_prefix("```") {
            block = match (block, language) {
                (Some(_), _) => None,
                (None, "console" | "shell-session") => Some(Block::Session),
                (None, "sh" | "bash" | "shell") => Some(Block::Script),
                (None, _) => Some(Block::Other),
            };
            continued = false;
            continue;
        }
        let command = match (block, line.strip_prefix("$ ")) {
            (None | Some(Block::Other), _) => continue,
            (_, Some(command)) => command,
            (_, None) if continued => line.trim_start_matches("> "),
            (Some(Block::Session), None) => continue,
            (Some(Block::Script), None) => line,
        };
        let (command, more) = command
            .strip_suffix('\\')
            .map_or((command, false), |command| (command, true));
        match found.last_mut() {
            Some((_, last)) if continued => last.push_str(&format!(" {command}")),
            _ => found.push((index + 1, command.to_owned())),
        }
        continued = more;
    }
    found
}

/// The words of every simple command in a line, without variables set before it, redirections and comments.
fn words(line: &str) -> Vec<Vec<String>> {
    let mut all = vec![Vec::new()];
    let mut word: Option<String> = None;
    let mut quote = None;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        match (quote, c) {
            (Some(q), c) if c == q => quote = None,
            (Some(_), c) => word.get_or_insert_default().push(c),
            (None, '\'' | '"') => {
                quote = Some(c);
                word.get_or_insert_default();
            }
            (None, '\\') => word.get_or_insert_default().extend(chars.next()),
            (None, '#') if word.is_none() => break,
            (None, c) if c.is_whitespace() || "|&;()<>".contains(c) => {
                let finished = word.take();
                // `2>file`: the number belongs to the redirection.
                let number = finished
                    .as_ref()
                    .is_some_and(|word| word.chars().all(|c| c.is_ascii_digit()))
                    && "<>".contains(c);
                all.last_mut().unwrap().extend(finished.filter(|_| !number));
                if "<>".contains(c) {
                    // The target of a redirection starts a list that is no command of cargo.
                    all.push(vec!["redirected".to_owned()]);
                } else if !c.is_whitespace() {
                    all.push(Vec::new());
                }
            }
            (None, c) => word.get_or_insert_default().push(c),
        }
    }
    all.last_mut().unwrap().extend(word);
    let variable = |word: &String| {
        word.split_once('=').is_some_and(|(name, _)| {
            name.chars()
                .all(|c| c.is_ascii_uppercase() || c == '_' || c.is_ascii_digit())
        })
    };
    all.into_iter()
        .map(|words| words.into_iter().skip_while(variable).collect::<Vec<_>>())
        .filter(|words| !words.is_empty())
        .collect()
}

/// What is wrong with a command, if it is one of cargo's that this repository defines.
fn wrong(words: &[String], packages: &[String]) -> Option<String> {
    let rest = words.strip_prefix(&["cargo".to_owned()])?;
    match rest.first()?.as_str() {
        "xtask" => {
            let parsed =
                Cli::try_parse_from(std::iter::once("cargo xtask").chain(rest[1..].iter().map(String::as_str)));
            let error = parsed.err().filter(clap::Error::use_stderr)?;
            let text = error.to_string();
            Some(
                text.lines()
                    .next()
                    .unwrap_or_default()
                    .trim_start_matches("error: ")
                    .to_owned(),
            )
        }
        "build" | "run" | "test" | "clippy" => {
            let own = rest.iter().take_while(|word| *word != "--").collect::<Vec<_>>();
            let value = |names: &[&str]| {
                own.iter()
                    .enumerate()
                    .find_map(|(index, word)| match word.split_once('=') {
                        Some((name, value)) if names.contains(&name) => Some(value.to_owned()),
                        _ if names.contains(&word.as_str()) => own.get(index + 1).map(|word| (*word).clone()),
                        _ => None,
                    })
            };
            if let Some(triple) = value(&["--target"]).filter(|triple| Target::from_triple(triple).is_none()) {
                return Some(format!("xtask/src/target.rs has no triple {triple}"));
            }
            let package = value(&["-p", "--package"]).filter(|package| !packages.contains(package))?;
            Some(format!("the workspace has no package {package}"))
        }
        _ => None,
    }
}

fn check(file: &str, commands: &[(usize, String)], packages: &[String]) -> Vec<Offence> {
    let mut offences = Vec::new();
    for (line, text) in commands {
        for words in words(text) {
            if let Some(wrong) = wrong(&words, packages) {
                let message = format!(
                    "`{}` does not work: {wrong}; correct the document or keep the flag",
                    words.join(" ")
                );
                offences.push(Offence::new(file, *line, message));
            }
        }
    }
    offences
}

fn packages() -> Vec<String> {
    ["app/Cargo.toml", "xtask/Cargo.toml"]
        .iter()
        .map(|file| {
            let manifest: toml::Table = toml::from_str(&super::read(file)).unwrap();
            manifest["package"]["name"].as_str().unwrap().to_owned()
        })
        .collect()
}

/// Those of the workflows have a test of their own, cli::workflows.
#[test]
fn the_commands_of_every_document_parse() {
    let Some(files) = repository() else { return };
    let packages = packages();
    let mut offences = Vec::new();
    for (file, text) in &files {
        let shell = file.starts_with("scripts/") || file == ".ci/run";
        let commands = match file {
            file if file.ends_with(".md") => commands(text),
            _ if shell => text
                .lines()
                .enumerate()
                .map(|(index, line)| (index + 1, line.to_owned()))
                .collect(),
            _ => continue,
        };
        offences.extend(check(file, &commands, &packages));
    }
    none(&offences);
}

/// The examples below `--help` of every verb; two spaces and more part a command from what is said about it.
#[test]
fn the_examples_of_the_help_parse() {
    fn walk(command: &clap::Command, found: &mut Vec<(usize, String)>) {
        let text = command.get_after_help().map(ToString::to_string).unwrap_or_default();
        for line in text
            .lines()
            .filter_map(|line| line.strip_prefix("  "))
            .filter(|line| line.starts_with("cargo "))
        {
            found.push((found.len() + 1, line.split("  ").next().unwrap_or_default().to_owned()));
        }
        command.get_subcommands().for_each(|command| walk(command, found));
    }
    let mut found = Vec::new();
    walk(&Cli::command(), &mut found);
    assert!(
        found.len() > 5,
        "only {} examples: are they still below `Examples:`, two spaces in?",
        found.len()
    );
    none(&check("xtask/src/cli.rs (example)", &found, &packages()));
}

#[test]
fn bad_commands_are_found() {
    let text = "\
```sh
cargo xtask image --no-such-flag # comment
A=1 cargo xtask image \\
  --base debian --load && cargo xtask no-such-verb
cargo build --target mips-unknown-linux-gnu
cargo build -p blag
```
```console
$ cargo xtask run --port none 2>/dev/null | head
cargo xtask this-is-output
$ cargo xtask size --json > 'a b'; cargo xtask --help
```
```text
$ cargo xtask not-checked
```
";
    let lines: Vec<usize> = check("README.md", &commands(text), &packages())
        .iter()
        .map(|offence| offence.line)
        .collect();
    assert_eq!(lines, [2, 3, 5, 6, 9]);
    assert_eq!(
        words("A=1 cargo x 'a b' \"c\" 2>e | less"),
        [vec!["cargo", "x", "a b", "c"], vec!["redirected", "e"], vec!["less"]]
    );
}
