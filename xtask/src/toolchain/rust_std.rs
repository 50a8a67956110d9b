//! Rust's standard library for a triple: rustup's component where it can be had, else built from rust-src.

use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::plan::{StdChoice, StdSource};

/// The compiler in use.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Compiler {
    /// `rustc 1.95.0 (59807616e 2026-04-14)`.
    pub version: String,
    /// Triple that it runs on.
    pub host: String,
    /// Its sysroot.
    pub sysroot: PathBuf,
}

impl Compiler {
    /// Asks rustc.
    pub fn detect(cx: &Cx) -> Result<Compiler> {
        let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
        let sysroot = cx
            .shell
            .command(&rustc)
            .args(["--print", "sysroot"])
            .current_dir(&cx.root)
            .read()
            .hint("install Rust with rustup; rust-toolchain.toml names the version")?;
        let sysroot = PathBuf::from(sysroot);
        // The second question goes to the compiler itself: rustup's proxy costs more than the answer.
        let direct = sysroot.join("bin/rustc");
        let rustc = if direct.is_file() {
            direct.into_os_string()
        } else {
            rustc
        };
        let text = cx.shell.command(&rustc).arg("-vV").current_dir(&cx.root).read()?;
        let field = |name: &str| {
            text.lines()
                .find_map(|line| line.strip_prefix(name))
                .map(|value| value.trim().to_owned())
        };
        let version = text.lines().find(|line| line.starts_with("rustc ")).map(str::to_owned);
        match (version, field("host:")) {
            (Some(version), Some(host)) => Ok(Compiler { version, host, sysroot }),
            _ => Err(Error::new(format!(
                "cannot make sense of what `rustc -vV` said:\n{text}"
            ))),
        }
    }

    /// Whether the component of `triple` is there.
    pub fn has_std(&self, triple: &str) -> bool {
        self.sysroot.join("lib/rustlib").join(triple).join("lib").is_dir()
    }

    /// Whether the component rust-src is there.
    pub fn has_source(&self) -> bool {
        self.sysroot
            .join("lib/rustlib/src/rust/library/std/src/lib.rs")
            .is_file()
    }

    fn key(&self, triple: &str) -> String {
        key_of([self.version.as_str(), triple, &self.sysroot.to_string_lossy()])
    }
}

/// What would be used for `triple` now, without fetching anything; `None` when something must be fetched first.
pub fn ready(cx: &Cx, compiler: &Compiler, triple: &str, choice: StdChoice) -> Option<StdSource> {
    let refused = cx
        .cache
        .record::<bool>("std-refused", &compiler.key(triple))
        .unwrap_or(false);
    match choice {
        StdChoice::Prebuilt | StdChoice::Auto if compiler.has_std(triple) => Some(StdSource::Prebuilt),
        StdChoice::Auto if refused && compiler.has_source() => Some(StdSource::Source),
        StdChoice::Source if compiler.has_source() => Some(StdSource::Source),
        _ => None,
    }
}

/// Decides, and has rustup add what is missing. The decision is told in one line when it is made.
pub fn provision(cx: &Cx, compiler: &Compiler, triple: &str, choice: StdChoice) -> Result<StdSource> {
    if let Some(source) = ready(cx, compiler, triple, choice) {
        return Ok(source);
    }
    let rustup = |args: &[&str]| {
        if cx.offline {
            return Err(
                Error::new(format!("`rustup {}` would need the network", args.join(" "))).hint("run without --offline"),
            );
        }
        // The directory matters: rust-toolchain.toml there says which toolchain is meant.
        cx.shell.command("rustup").args(args).current_dir(&cx.root).read()
    };
    if choice != StdChoice::Source {
        cx.ui.step("Fetching", &format!("std for {triple} through rustup"));
        match rustup(&["target", "add", triple]) {
            Ok(_) if compiler.has_std(triple) => return Ok(StdSource::Prebuilt),
            Ok(_) => {
                return Err(Error::new(format!(
                    "rustup added {triple}, but {} does not have it",
                    compiler.sysroot.display()
                ))
                .hint("is RUSTC or PATH set to a compiler other than rustup's?"));
            }
            Err(error) if choice == StdChoice::Prebuilt => return Err(error.context(format!("std for {triple}"))),
            Err(_) => {}
        }
    }
    if !compiler.has_source() {
        cx.ui.step("Fetching", "rust-src through rustup");
        rustup(&["component", "add", "rust-src"])
            .context(|| format!("std for {triple} cannot be had as a component, and neither can its source"))
            .hint("with a Rust that is not rustup's, install its source package (Debian: rust-src)")?;
    }
    if !compiler.has_source() {
        return Err(Error::new(format!(
            "rust-src was added, but {} does not have it",
            compiler.sysroot.display()
        )));
    }
    if choice == StdChoice::Auto {
        cx.cache.put_record("std-refused", &compiler.key(triple), &true)?;
        cx.ui.note(&format!(
            "std for {triple} is built from rust-src, because rustup could not add the component"
        ));
    }
    Ok(StdSource::Source)
}
