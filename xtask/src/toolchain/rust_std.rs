//! Rust's standard library for a triple: rustup's component where it can be had, else built from rust-src.

use std::cell::OnceCell;
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

/// The compiler of this machine, which is asked who it is when somebody first needs to know: with the Docker builder nobody does.
#[derive(Debug, Default)]
pub struct Detected(OnceCell<Compiler>);

impl Detected {
    /// The compiler.
    ///
    /// # Errors
    /// When there is none.
    pub fn get(&self, cx: &Cx) -> Result<&Compiler> {
        match self.0.get() {
            Some(compiler) => Ok(compiler),
            None => {
                let compiler = Compiler::detect(cx)?;
                Ok(self.0.get_or_init(|| compiler))
            }
        }
    }
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
        Compiler::parse(&text, sysroot)
    }

    /// What `rustc -vV` said.
    pub fn parse(text: &str, sysroot: PathBuf) -> Result<Compiler> {
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
    let mut why = String::new();
    let mut refused = false;
    if choice != StdChoice::Source {
        if !cx.offline {
            cx.ui.step("Fetching", &format!("std for {triple} through rustup"));
        }
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
            Err(_) if cx.offline => "this run is offline".clone_into(&mut why),
            Err(error) => {
                refused = is_refusal(&error.to_string());
                why = if refused {
                    "rustup does not have the component".to_owned()
                } else {
                    format!(
                        "rustup could not fetch the component now ({})",
                        first_line(&error.to_string())
                    )
                };
            }
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
        // Only a refusal is remembered: after a network that was down, the component is asked for again.
        if refused {
            cx.cache.put_record("std-refused", &compiler.key(triple), &true)?;
        }
        cx.ui
            .note(&format!("std for {triple} is built from rust-src, because {why}"));
    }
    Ok(StdSource::Source)
}

/// Whether rustup said that there is no such component, and not that it could not get to it.
fn is_refusal(text: &str) -> bool {
    let words = [
        "does not contain component",
        "is unavailable for download",
        "not available for",
        "404",
    ];
    words.iter().any(|word| text.contains(word))
}

/// The line of an error that says most: rustup's own `error:` line.
fn first_line(text: &str) -> &str {
    let lines = || text.lines().map(str::trim);
    lines()
        .find(|line| line.starts_with("error:"))
        .or_else(|| lines().next())
        .unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_missing_component_is_a_refusal() {
        assert!(is_refusal(
            "error: toolchain '1.95.0' does not contain component 'rust-std' for target 'arm-x'"
        ));
        assert!(is_refusal(
            "error: component download failed for rust-std-arm-x\n\nCaused by:\n  http request returned 404"
        ));
        let down = "`rustup target add x` failed\n  info: downloading\n  error: could not download file\n  dns error: no such host";
        assert!(!is_refusal(down));
        assert_eq!(first_line(down), "error: could not download file");
    }
}
