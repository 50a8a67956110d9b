//! `blog config`: every setting in force, and where it comes from. Secrets are not shown.

use serde_json::json;

use super::{Command, Operands};
use crate::cli::{self, Failure, Invocation, Outcome};

pub const COMMAND: Command = Command {
    name: "config",
    summary: "show every setting in force, and where it comes from",
    about: "A flag wins over a variable, a variable over the file, the file over the default. Secrets are not shown.",
    operands: Operands::NONE,
    options: &[],
    json: true,
    examples: &["blog config", "BLOG_CONFIG=/etc/blog.conf blog config --json"],
    run,
};

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let rows = &settings.in_force;
    if invocation.json {
        let values: Vec<_> = rows
            .iter()
            .map(|row| {
                json!({
                    "key": row.setting.key,
                    "value": row.shown,
                    "source": row.source.to_string(),
                    "variable": row.setting.variable(),
                    "meaning": row.setting.meaning,
                })
            })
            .collect();
        let all = json!({ "settings": values, "unknown-variables": settings.unknown_variables });
        cli::print(&format!("{all:#}\n"))?;
        return Ok(Outcome::Fine);
    }
    let width = |text: fn(&crate::settings::InForce) -> usize| rows.iter().map(text).max().unwrap_or(0).min(48);
    let (keys, values) = (
        width(|row| row.setting.key.len()),
        width(|row| row.shown.chars().count()),
    );
    let mut text = String::new();
    for row in rows {
        let line = format!("{:keys$}  {:values$}  {}", row.setting.key, row.shown, row.source);
        text.push_str(line.trim_end());
        text.push('\n');
    }
    for name in &settings.unknown_variables {
        text.push_str(&format!("{name} is set and is no setting\n"));
    }
    cli::print(&text)?;
    Ok(Outcome::Fine)
}
