//! `--help`: made of the tables of commands and of settings, so that it cannot lag behind them.

use std::fmt::Write as _;

use crate::command::{COMMANDS, Command};
use crate::settings::{Setting, TABLE};

/// The page for one command, or for the whole program.
pub fn text(command: Option<&Command>) -> String {
    match command {
        None => program(),
        Some(command) => of_command(command),
    }
}

fn program() -> String {
    let mut text = String::from("A one-person blog.\n\nUsage: blog [COMMAND] [options]\n\nCommands:\n");
    let width = COMMANDS.iter().map(|command| usage(command).len()).max().unwrap_or(0);
    for command in COMMANDS {
        let _ = writeln!(text, "  {:width$}  {}", usage(command), command.summary);
    }
    text.push_str("\nWithout a command it serves. `blog COMMAND --help` has options and examples.\n");
    settings(&mut text);
    text.push_str("\nExit codes: 0 fine; 1 it ran and found problems; 2 it could not do the work.\n");
    text
}

fn of_command(command: &Command) -> String {
    let mut text = format!("{}\n\nUsage: blog {} [options]\n", command.summary, usage(command));
    if !command.about.is_empty() {
        let _ = write!(text, "\n{}\n", command.about);
    }
    text.push_str("\nOptions:\n");
    for option in command.options {
        let left = match option.value {
            "" => format!("--{}", option.long),
            value => format!("--{} {value}", option.long),
        };
        line(&mut text, &left, option.meaning);
    }
    if command.json {
        line(&mut text, "--json", "the result as JSON");
    }
    line(&mut text, "--config FILE", "the file with settings [BLOG_CONFIG]");
    if command.name == "serve" {
        settings(&mut text);
    } else {
        text.push_str(
            "  Settings such as --database are those of `blog serve`; `blog config` shows what is in force.\n",
        );
    }
    text.push_str("\nExamples:\n");
    for example in command.examples {
        let _ = writeln!(text, "  {example}");
    }
    text
}

fn settings(text: &mut String) {
    text.push_str(
        "\nSettings, by flag, by variable, or as `key = value` in the file that --config or BLOG_CONFIG names:\n",
    );
    for setting in TABLE {
        let left = if setting.is_flag {
            format!("--{}{}", setting.key, value(setting))
        } else {
            setting.variable()
        };
        let mut origin = if setting.is_flag {
            setting.variable()
        } else {
            String::new()
        };
        if !setting.default.is_empty() {
            let comma = if origin.is_empty() { "" } else { ", " };
            let _ = write!(origin, "{comma}{}", setting.default);
        }
        let origin = if origin.is_empty() {
            origin
        } else {
            format!(" [{origin}]")
        };
        line(text, &left, &format!("{}{origin}", setting.meaning));
    }
}

fn value(setting: &Setting) -> String {
    if setting.is_switch {
        String::new()
    } else {
        format!(" {}", setting.value)
    }
}

fn usage(command: &Command) -> String {
    match command.operands.usage {
        "" => command.name.to_owned(),
        operands => format!("{} {operands}", command.name),
    }
}

fn line(text: &mut String, left: &str, right: &str) {
    if left.len() > 26 {
        let _ = write!(text, "  {left}\n  {:26}  {right}\n", "");
    } else {
        let _ = writeln!(text, "  {left:26}  {right}");
    }
}
