//! What a program was made of: crates, C that they carry, parts of the tool chain; and what only ran to make it.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use super::bundled::Bundled;
use crate::culprit::graph::Named;
use crate::culprit::origin::{Evidence, Origin};

/// Where a crate came from.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub enum From {
    /// This workspace.
    Workspace,
    /// cargo's default registry.
    Registry,
    /// Rust's own source.
    Std,
    /// Somewhere else, in cargo's words: `git+https://...#rev`.
    Other(String),
}

/// One crate.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Crate {
    /// Its name on the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Where it came from.
    pub from: From,
    /// `license` of its manifest, as it is.
    pub licence: Option<String>,
    /// SHA-256 of its `.crate` file in hex, as Cargo.lock has it.
    pub checksum: Option<String>,
    /// Features it was compiled with.
    pub features: Vec<String>,
}

impl Crate {
    /// Name and version.
    pub fn named(&self) -> Named {
        (self.name.clone(), self.version.clone())
    }
}

/// What the linker's map shows of a program.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Traces {
    /// Crates with a section of their own. One that is missing was inlined, or is types and constants alone, or not used.
    pub crates: BTreeSet<Named>,
    /// Parts of the tool chain with their version: `musl`, `zig 0.17.1`.
    pub parts: BTreeSet<Named>,
    /// Objects of C or assembly, by the crate whose library has them.
    #[serde(with = "pairs")]
    pub foreign: BTreeMap<Named, BTreeSet<String>>,
}

/// JSON has no keys but strings.
mod pairs {
    use super::{BTreeMap, BTreeSet, Deserialize, Named};

    type Map = BTreeMap<Named, BTreeSet<String>>;

    pub(super) fn serialize<S: serde::Serializer>(map: &Map, to: S) -> Result<S::Ok, S::Error> {
        to.collect_seq(map)
    }

    pub(super) fn deserialize<'a, D: serde::Deserializer<'a>>(from: D) -> Result<Map, D::Error> {
        Ok(Vec::deserialize(from)?.into_iter().collect())
    }
}

/// All of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Crates {
    /// The program's own package.
    pub program: Crate,
    /// `repository` of its manifest.
    pub repository: Option<String>,
    /// What was compiled for the program's triple, without the program; sorted.
    pub linked: Vec<Crate>,
    /// What depends on what among them; or why that is not known.
    pub edges: Result<Vec<(Named, Named)>, String>,
    /// What the linker's map shows; or why it shows nothing.
    pub traces: Result<Traces, String>,
    /// C sources whose version is known.
    pub bundled: Vec<Bundled>,
    /// Procedural macros: they ran in the compiler.
    pub macros: Vec<Crate>,
    /// What build scripts and macros are made of.
    pub build: Vec<Crate>,
}

impl Traces {
    /// Reads the map; `None` when there is none of this very program.
    pub fn read(evidence: &Evidence) -> Option<Traces> {
        let mut traces = Traces::default();
        for piece in evidence.map.as_ref()?.pieces() {
            // Sections of Rust carry the mangled name of their function.
            let symbol = ["_R", "_ZN"].iter().find_map(|mark| piece.section.find(mark));
            let symbol = symbol.map(|at| &piece.section[at..]);
            let (origin, _) = evidence.origin(piece.start, symbol);
            match origin {
                // The linker's own tables are no component.
                Origin::Toolchain { part, .. } if part == "linker" => {}
                Origin::Toolchain { part, version } => drop(traces.parts.insert((part, version))),
                Origin::Crate { name, version } if !version.is_empty() => {
                    if let Some(object) = piece.member.as_deref().filter(|member| !member.ends_with(".rcgu.o")) {
                        let object = object.rsplit('/').next().unwrap_or(object);
                        // cc-rs writes the hash of the path in front of it.
                        let hashed = |(hash, name)| match hash {
                            "" => None,
                            hash if str::bytes(hash).all(|byte| byte.is_ascii_hexdigit()) => Some(name),
                            _ => None,
                        };
                        let plain = object.split_once('-').and_then(hashed).unwrap_or(object);
                        let objects = traces.foreign.entry((name.clone(), version.clone())).or_default();
                        objects.insert(plain.to_owned());
                    }
                    traces.crates.insert((name, version));
                }
                _ => {}
            }
        }
        Some(traces)
    }
}

/// A licence as SPDX writes expressions: old manifests have `/` for OR. `None` for what is no expression.
pub fn licence(text: &str) -> Option<String> {
    let text = text.replace('/', " OR ").replace('(', " ( ").replace(')', " ) ");
    let words: Vec<&str> = text.split_whitespace().collect();
    // Operands and operators take turns; a parenthesis changes neither.
    let (mut operand, mut depth) = (true, 0usize);
    for word in &words {
        match *word {
            "(" if operand => depth += 1,
            ")" if !operand => depth = depth.checked_sub(1)?,
            "AND" | "OR" | "WITH" if !operand => operand = true,
            word if operand && word.bytes().all(|b| b.is_ascii_alphanumeric() || b"-.+".contains(&b)) => {
                operand = false
            }
            _ => return None,
        }
    }
    let whole = !operand && depth == 0;
    whole.then(|| words.join(" ").replace("( ", "(").replace(" )", ")"))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::culprit::map::LinkMap;
    use crate::culprit::origin::Compiled;

    #[test]
    fn licences_become_expressions_or_nothing() {
        assert_eq!(licence("MIT/Apache-2.0").as_deref(), Some("MIT OR Apache-2.0"));
        assert_eq!(
            licence("(MIT OR Apache-2.0) AND Unicode-3.0").as_deref(),
            Some("(MIT OR Apache-2.0) AND Unicode-3.0")
        );
        assert_eq!(
            licence("Apache-2.0 WITH LLVM-exception").as_deref(),
            Some("Apache-2.0 WITH LLVM-exception")
        );
        for wrong in [
            "",
            "MIT,",
            "see LICENSE",
            "(MIT",
            "MIT)",
            "OR MIT",
            "MIT OR",
            "non-standard: x",
        ] {
            assert_eq!(licence(wrong), None, "{wrong}");
        }
    }

    #[test]
    fn the_map_tells_crates_objects_and_parts_of_the_tool_chain() {
        let text = "\
   10000    10000       40     4 .text
   10000    10000       40     4         /t/deps/app-07.app.ca-cgu.0.rcgu.o:(.text._RNvCs48gQ5aT77i9_3one4main)
   10040    10040       40     4         /t/deps/rustcX/libtwo_sys-1f.rlib(5b0c-two.o):(.text.two_open)
   10080    10080       40     4         /z/o/0a/libc.a(/z/o/ff/memcpy.o):(.text.memcpy)
   100c0    100c0       40     4         <internal>:(.text.thunk)
";
        let compiled = |name: &str, library: &str, files: &[&str]| Compiled {
            name: name.to_owned(),
            version: "1.0.0".to_owned(),
            library: Some(library.to_owned()),
            features: Vec::new(),
            files: files.iter().map(ToString::to_string).collect(),
            out_dir: None,
            std: false,
        };
        let evidence = Evidence {
            map: Some(LinkMap::parse(text)),
            packages: vec![
                compiled("one", "one", &["libone-2e.rlib"]),
                compiled("two-sys", "two_sys", &["libtwo_sys-1f.rlib"]),
            ],
            linker: "zig 0.17.1".to_owned(),
            compiler: "rustc 1.95.0 (x)".to_owned(),
            musl: true,
        };
        let traces = Traces::read(&evidence).unwrap();
        let named = |name: &str, version: &str| (name.to_owned(), version.to_owned());
        assert_eq!(traces.crates, [named("one", "1.0.0"), named("two-sys", "1.0.0")].into());
        assert_eq!(traces.parts, [named("musl", "zig 0.17.1")].into());
        assert_eq!(traces.foreign[&named("two-sys", "1.0.0")], ["two.o".to_owned()].into());
        assert_eq!(Traces::read(&Evidence { map: None, ..evidence }), None);
    }
}
