//! What was made last for a triple, and of what: left in target/xtask, so that findings can be explained without compiling.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use cargo_metadata::Metadata;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};

use super::{cargo, link_line_path};
use crate::cache;
use crate::culprit::graph::Graph;
use crate::culprit::map::LinkMap;
use crate::culprit::origin::{Compiled, Evidence};
use crate::cx::Cx;
use crate::elf::ElfError;
use crate::elf::strip::{Keep, strip};
use crate::error::{Context, Result};
use crate::plan::Plan;
use crate::target::{Libc, TARGETS, Target};
use crate::toolchain::rust_std::Compiler;

/// A program that was compiled, and everything that says whose code is in it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Record {
    /// Triple.
    pub triple: String,
    /// cargo's package.
    pub package: String,
    /// Where cargo put the program.
    pub program: PathBuf,
    /// `sha256:` and the digest of what the linker wrote.
    pub linked: String,
    /// The same of the program without names, as it is shipped.
    pub shipped: String,
    /// `rustc 1.95.0 (...)`.
    pub compiler: String,
    /// `zig 0.17.1`.
    pub linker: String,
    /// Packages that were compiled for the triple.
    pub packages: Vec<Compiled>,
    /// Packages that were compiled for this machine and ran while compiling: procedural macros, and what build scripts need.
    #[serde(default)]
    pub tools: Vec<Tool>,
    /// Digest of the linker's map as it was when this record was made, in the run that made it.
    #[serde(skip)]
    pub map: Option<String>,
}

/// A package that ran while compiling, and is no part of the program.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Tool {
    /// Its name on the registry.
    pub name: String,
    /// Its version.
    pub version: String,
    /// Whether it is a procedural macro; else a library of one, or of a build script.
    pub macros: bool,
}

impl Record {
    pub(super) fn new(
        plan: &Plan,
        target: &Target,
        program: &Path,
        linked: &[u8],
        compiler: &Compiler,
        zig: &str,
        (packages, tools): (Vec<Compiled>, Vec<Tool>),
    ) -> std::result::Result<Record, ElfError> {
        Ok(Record {
            triple: target.triple.to_owned(),
            package: plan.package.clone(),
            program: program.to_owned(),
            linked: digest_of(linked),
            shipped: digest_of(&strip(linked, Keep::Nothing)?),
            compiler: compiler.version.clone(),
            linker: format!("zig {zig}"),
            packages,
            tools,
            map: None,
        })
    }

    /// The record of a program, by the program itself: as the linker wrote it, or as it is shipped.
    ///
    /// # Errors
    ///
    /// For a record that cannot be read.
    pub fn find(cx: &Cx, bytes: &[u8]) -> Result<Option<Record>> {
        let digest = digest_of(bytes);
        for target in &TARGETS {
            let of = |record: &Record| record.linked == digest || record.shipped == digest;
            if let Some(record) = Record::read(cx, target.triple)?.filter(of) {
                return Ok(Some(record));
            }
        }
        Ok(None)
    }

    fn path(cx: &Cx, triple: &str) -> PathBuf {
        cx.root.join("target/xtask").join(format!("made-{triple}.json"))
    }

    pub(super) fn write(&self, cx: &Cx) -> Result<()> {
        let text = serde_json::to_string_pretty(self)?;
        cache::write_if_changed(&Record::path(cx, &self.triple), text.as_bytes(), 0o644)
    }

    /// The record of what was made last for a triple; `None` when there is none.
    ///
    /// # Errors
    ///
    /// For a record that cannot be read.
    pub fn read(cx: &Cx, triple: &str) -> Result<Option<Record>> {
        let path = Record::path(cx, triple);
        if !path.exists() {
            return Ok(None);
        }
        let text = fs::read_to_string(&path).context(|| format!("cannot read {}", cx.show(&path)))?;
        let record = serde_json::from_str(&text)
            .map_err(crate::error::Error::from)
            .context(|| format!("cannot make sense of {}", cx.show(&path)))
            .hint("`cargo xtask image` writes it anew")?;
        Ok(Some(record))
    }

    /// The program that the record is of; `None` when another was put in its place.
    ///
    /// # Errors
    ///
    /// When it cannot be read.
    pub fn program(&self) -> Result<Option<Vec<u8>>> {
        let bytes = fs::read(&self.program).context(|| format!("cannot read {}", self.program.display()))?;
        Ok((digest_of(&bytes) == self.linked).then_some(bytes))
    }

    /// Where the linker's map of the last link for the triple is.
    fn map_path(&self, cx: &Cx) -> Option<PathBuf> {
        let mut path = link_line_path(cx, Target::from_triple(&self.triple)?).into_os_string();
        path.push(".map");
        Some(PathBuf::from(path))
    }

    /// `sha256:` and the digest of the linker's map, which is part of the evidence; `None` when there is none.
    pub fn map_digest(&self, cx: &Cx) -> Option<String> {
        match &self.map {
            Some(digest) => Some(digest.clone()),
            None => Some(digest_of(&fs::read(self.map_path(cx)?).ok()?)),
        }
    }

    /// The evidence for a program that has its symbols. A map that is of another link is left out.
    pub fn evidence(&self, cx: &Cx, program: &[u8]) -> Evidence {
        let target = Target::from_triple(&self.triple);
        let map = self.map_path(cx).and_then(|path| {
            let map = LinkMap::parse(&fs::read_to_string(path).ok()?);
            map.is_of(program).then_some(map)
        });
        Evidence {
            map,
            packages: self.packages.clone(),
            linker: self.linker.clone(),
            compiler: self.compiler.clone(),
            musl: target.is_some_and(|target| target.libc == Libc::Musl),
        }
    }
}

fn digest_of(bytes: &[u8]) -> String {
    let hex: String = Sha256::digest(bytes).iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex}")
}

/// The graph of packages and features of `package` for a triple, as cargo resolves it; `compiled` is what cargo said it
/// compiled. `Err` inside when the two differ: then the graph explains nothing.
///
/// # Errors
///
/// When cargo cannot be run or says something else than metadata.
pub fn dependencies(
    cx: &Cx,
    package: &str,
    triple: &str,
    compiled: &[Compiled],
) -> Result<std::result::Result<Graph, String>> {
    Ok(graph(&metadata(cx, triple)?, package, compiled))
}

/// cargo's metadata, with what is for a triple alone.
pub(super) fn metadata(cx: &Cx, triple: &str) -> Result<Metadata> {
    let mut command = cargo(cx).args([
        "metadata",
        "--format-version",
        "1",
        "--locked",
        "--filter-platform",
        triple,
    ]);
    if cx.offline {
        command = command.arg("--offline");
    }
    let text = command.read()?;
    serde_json::from_str(&text)
        .map_err(crate::error::Error::from)
        .context(|| "cannot make sense of what `cargo metadata` said")
}

/// The graph of metadata; `Err` when it is not what was compiled.
pub(super) fn graph(metadata: &Metadata, package: &str, compiled: &[Compiled]) -> std::result::Result<Graph, String> {
    let Some(graph) = Graph::new(metadata, package) else {
        return Err(format!("cargo's metadata has no package {package} in this workspace"));
    };
    let mut features: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for package in compiled.iter().filter(|package| !package.std) {
        features
            .entry((package.name.clone(), package.version.clone()))
            .or_default()
            .extend(package.features.iter().cloned());
    }
    graph.agrees(&features).map(|()| graph)
}
