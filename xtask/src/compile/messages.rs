//! What cargo says while it builds: one JSON message a line.

use std::path::{Path, PathBuf};

use cargo_metadata::{Message, TargetKind};

use super::record::Tool;
use crate::culprit::origin::Compiled;
use crate::error::{Error, Result};

/// Collects from cargo's JSON messages what matters here.
#[derive(Debug, Default)]
pub(super) struct Messages {
    package: String,
    binary: String,
    /// Only what is made for this triple is part of the program.
    triple: String,
    /// Where Rust's own source is.
    library: PathBuf,
    packages: Vec<Compiled>,
    tools: Vec<Tool>,
    executables: Vec<PathBuf>,
    finished: Option<bool>,
}

impl Messages {
    pub(super) fn new(package: &str, binary: &str, triple: &str, sysroot: &Path) -> Self {
        Messages {
            package: package.to_owned(),
            binary: binary.to_owned(),
            triple: triple.to_owned(),
            library: sysroot.join("lib/rustlib/src/rust/library"),
            ..Messages::default()
        }
    }

    pub(super) fn take(&mut self, line: &str) -> Result<()> {
        // A line that is not a message comes from a build script or rustc itself: harmless, and not for us.
        let Ok(message) = serde_json::from_str::<Message>(line) else {
            return Ok(());
        };
        self.note(&message);
        match message {
            Message::CompilerArtifact(artifact)
                if artifact.target.name == self.binary
                    && artifact.target.kind.contains(&TargetKind::Bin)
                    && is_package(&artifact.package_id.repr, &self.package) =>
            {
                self.executables
                    .extend(artifact.executable.map(|path| path.into_std_path_buf()));
            }
            Message::BuildFinished(finished) => self.finished = Some(finished.success),
            _ => {}
        }
        Ok(())
    }

    /// Keeps what says which package a file is of.
    fn note(&mut self, message: &Message) {
        let ours = |path: &str| {
            Path::new(path)
                .components()
                .any(|part| part.as_os_str() == self.triple.as_str())
        };
        match message {
            Message::CompilerArtifact(artifact) => {
                let library = artifact
                    .target
                    .kind
                    .iter()
                    .any(|kind| matches!(kind, TargetKind::Lib | TargetKind::RLib));
                let program = artifact.target.kind.contains(&TargetKind::Bin);
                let files: Vec<&str> = artifact.filenames.iter().map(|file| file.as_str()).collect();
                let Some((name, version)) = name_and_version(&artifact.package_id.repr) else {
                    return;
                };
                let macros = artifact.target.kind.contains(&TargetKind::ProcMacro);
                if !files.iter().any(|file| ours(file)) {
                    // Made for this machine: it ran while compiling. A build script of its own is no package of its own.
                    if macros || library {
                        self.tools.push(Tool { name, version, macros });
                    }
                    return;
                }
                if !(library || program) {
                    return;
                }
                let library = library.then(|| artifact.target.name.replace('-', "_"));
                // A program with a library of its own is two artifacts of one package, and both are wanted.
                let place = self.place(&name, &version, library.is_some());
                let package = &mut self.packages[place];
                package.library = library;
                package.features.clone_from(&artifact.features);
                package.std = artifact.manifest_path.starts_with(&*self.library.to_string_lossy());
                for file in files {
                    let file = file.rsplit('/').next().unwrap_or(file).to_owned();
                    if !package.files.contains(&file) {
                        package.files.push(file);
                    }
                }
            }
            Message::BuildScriptExecuted(script) if ours(script.out_dir.as_str()) => {
                if let Some((name, version)) = name_and_version(&script.package_id.repr) {
                    let place = self.place(&name, &version, true);
                    self.packages[place].out_dir = Some(script.out_dir.to_string());
                }
            }
            _ => {}
        }
    }

    /// Where the package is in the list, which gets it if need be.
    fn place(&mut self, name: &str, version: &str, library: bool) -> usize {
        let known = self.packages.iter().position(|package| {
            package.name == name
                && package.version == version
                && (package.library.is_some() == library || package.files.is_empty())
        });
        known.unwrap_or_else(|| {
            self.packages.push(Compiled {
                name: name.to_owned(),
                version: version.to_owned(),
                library: None,
                features: Vec::new(),
                files: Vec::new(),
                out_dir: None,
                std: false,
            });
            self.packages.len() - 1
        })
    }

    /// Every package that was compiled for the triple, sorted, whatever order cargo took.
    pub(super) fn packages(&mut self) -> Vec<Compiled> {
        let mut packages = std::mem::take(&mut self.packages);
        packages.sort_by(|a, b| (&a.name, &a.version, &a.library).cmp(&(&b.name, &b.version, &b.library)));
        packages
    }

    /// Every package that ran while compiling, sorted, each once.
    pub(super) fn tools(&mut self) -> Vec<Tool> {
        let mut tools = std::mem::take(&mut self.tools);
        tools.sort();
        tools.dedup();
        tools
    }

    /// The one executable that was expected.
    pub(super) fn executable(self, triple: &str) -> Result<PathBuf> {
        if self.finished != Some(true) {
            return Err(Error::new("cargo ended without saying that the build finished"));
        }
        match self.executables.as_slice() {
            [path] if path.components().any(|part| part.as_os_str() == triple) => Ok(path.clone()),
            [path] => Err(Error::new(format!(
                "cargo made {}, which is not for {triple}",
                path.display()
            ))),
            [] => Err(Error::new(format!(
                "cargo did not report a binary `{}` of package `{}`",
                self.binary, self.package
            ))
            .hint("do [image] package and binary in xtask.toml name your server?")),
            several => Err(Error::new(format!(
                "cargo reported {} binaries `{}`, one was expected",
                several.len(),
                self.binary
            ))),
        }
    }
}

/// Name and version of a package id.
fn name_and_version(id: &str) -> Option<(String, String)> {
    let (source, rest) = id.split_once('#')?;
    match rest.rsplit_once('@') {
        Some((name, version)) => Some((name.to_owned(), version.to_owned())),
        None => Some((source.rsplit('/').next()?.to_owned(), rest.to_owned())),
    }
}

/// Package ids look like `path+file:///src/app#blog@0.1.0`, or `...app#0.1.0` when directory and package share the name.
fn is_package(id: &str, name: &str) -> bool {
    let Some((source, rest)) = id.split_once('#') else {
        return id.starts_with(&format!("{name} "));
    };
    match rest.split_once('@') {
        Some((package, _)) => package == name,
        None => source.rsplit('/').next() == Some(name),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn artifact(executable: &str) -> String {
        format!(
            r#"{{"reason":"compiler-artifact","package_id":"path+file:///src/app#blog@0.1.0","manifest_path":"/src/app/Cargo.toml","target":{{"kind":["bin"],"crate_types":["bin"],"name":"blog","src_path":"/src/app/src/main.rs","edition":"2024","doc":true,"doctest":false,"test":true}},"profile":{{"opt_level":"z","debuginfo":0,"debug_assertions":false,"overflow_checks":false,"test":false}},"features":[],"filenames":["{executable}"],"executable":"{executable}","fresh":true}}"#
        )
    }

    const FINISHED: &str = r#"{"reason":"build-finished","success":true}"#;

    fn run(lines: &[&str]) -> Result<PathBuf> {
        let mut messages = Messages::new("blog", "blog", "arm-unknown-linux-musleabihf", Path::new("/rust"));
        for line in lines {
            messages.take(line)?;
        }
        messages.executable("arm-unknown-linux-musleabihf")
    }

    #[test]
    fn only_the_expected_executable_is_taken() {
        let good = artifact("/t/arm-unknown-linux-musleabihf/release/blog");
        assert_eq!(
            run(&[&good, "noise", FINISHED]).unwrap(),
            PathBuf::from("/t/arm-unknown-linux-musleabihf/release/blog")
        );
        let host = artifact("/t/release/blog");
        assert!(run(&[&host, FINISHED]).unwrap_err().to_string().contains("not for arm"));
        assert!(run(&[&good]).unwrap_err().to_string().contains("without saying"));
        assert!(run(&[FINISHED]).unwrap_err().to_string().contains("did not report"));
        assert!(
            run(&[&good, &good, FINISHED])
                .unwrap_err()
                .to_string()
                .contains("2 binaries")
        );
    }

    #[test]
    fn package_ids_are_understood_in_both_forms() {
        assert!(is_package("path+file:///src/app#blog@0.1.0", "blog"));
        assert!(is_package("path+file:///src/blog#0.1.0", "blog"));
        assert!(!is_package("path+file:///src/app#weblog@0.1.0", "blog"));
    }
}
