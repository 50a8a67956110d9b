//! `blog owner set`: the password that signs the owner in.

use std::io::Read;

use super::{Command, Operands, Opt};
use crate::auth::password::{self, NewPassword};
use crate::cli::{self, Failure, Invocation, Outcome};
use crate::db::Db;

pub const SET: Command = Command {
    name: "owner set",
    summary: "set the password that signs the owner in",
    about: "It signs everybody out. The password is the first line of standard input with --password-stdin, else what\n\
            BLOG_OWNER_PASSWORD has; `serve` takes that variable once, when there is no password yet.",
    operands: Operands::NONE,
    options: &[Opt {
        long: "password-stdin",
        value: "",
        meaning: "read the password from standard input",
    }],
    json: false,
    examples: &[
        "blog owner set --password-stdin --database /data/blog.db",
        "pass show blog | blog owner set --password-stdin",
    ],
    run: set,
};

pub const RESET: Command = Command {
    name: "owner reset-two-factor",
    summary: "turn the second factor off",
    about: "For a lost phone without recovery codes. The password stays.",
    operands: Operands::NONE,
    options: &[],
    json: false,
    examples: &["blog owner reset-two-factor --database /data/blog.db"],
    run: |invocation| {
        let was_on = Db::open(&invocation.settings()?.database)?.disable_second_factor()?;
        cli::print(if was_on {
            "The second factor is off; the password alone signs in.\n"
        } else {
            "There was no second factor.\n"
        })?;
        Ok(Outcome::Fine)
    },
};

fn set(invocation: &Invocation) -> Result<Outcome, Failure> {
    let settings = invocation.settings()?;
    let typed = if invocation.has("password-stdin") {
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
    let hash = password::hash(&NewPassword::parse(&typed)?, settings.password_cost)?;
    Db::open(&settings.database)?.set_owner(&hash)?;
    cli::print("The password is set; everyone is signed out.\n")?;
    Ok(Outcome::Fine)
}
