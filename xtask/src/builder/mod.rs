//! The Docker builder: the image that compiles, its caches, and compiling in it.
//!
//! [`image`] makes the stage `builder` of docker/Dockerfile in the engine when what it is made of has changed; [`debian`] makes the
//! image below it where that cannot be pulled. [`source`] is what is compiled, [`here`] what this machine needs to get out, and
//! [`container`] runs the one command. What comes back goes the way of what the host compiles: [`crate::compile::adopt`].
//!
//! The caches of cargo, of targets and of zig are named volumes; source and results travel as tars, so an engine may be anywhere.

pub mod choice;
pub mod container;
pub mod debian;
pub mod here;
pub mod ignore;
pub mod image;
pub mod source;
pub mod trouble;

use std::collections::BTreeMap;
use std::fs;
use std::io::{BufRead, Read};
use std::path::{Path, PathBuf};
use std::thread;

use serde::{Deserialize, Serialize};

use crate::cache::{key_of, write_atomically, write_if_changed};
use crate::compile::{Artifact, Foreign, adopt};
use crate::cx::Cx;
use crate::engine::Connection;
use crate::error::{Context, Error, Result};
use crate::oci::Digest;
use crate::plan::{CompilePlan, Plan, StdChoice};
use crate::policy::Policy;
use crate::sysroot::StandIn;
use container::Job;
use here::Here;
use image::Wanted;
use source::Source;

/// The label of images, containers and volumes, with the builder's name.
pub const LABEL: &str = "xtask.builder";
/// The label of an image that was made because it could not be pulled.
pub const LABEL_BASE: &str = "xtask.builder.base";
/// The line on stdout after which the tar begins; docker/builder/compile says it.
const MARKER: &[u8] = b"xtask: what was made follows\n";

/// Compiles every triple of the plan in the builder image, which is made first if need be. What was made of the very same source
/// by the very same builder before is taken from `target/builder`. `libraries` are linked in the place of the bundled SQLite, by
/// triple: they were audited here, and go into the container with the source.
///
/// # Errors
/// When the engine, the builder or cargo fails.
pub fn compile(
    cx: &Cx,
    policy: &Policy,
    plan: &Plan,
    mirror: Option<&str>,
    libraries: &BTreeMap<String, StandIn>,
) -> Result<BTreeMap<String, Artifact>> {
    let wanted = Wanted::read(cx, policy)?;
    let source = Source::read(cx)?;
    let zig = policy
        .tools
        .get("ziglang")
        .context(|| "xtask.toml pins no tool `ziglang`")?
        .version
        .clone();
    let mut engine: Option<(Connection, Here)> = None;
    let mut artifacts = BTreeMap::new();
    for compile in &plan.compile {
        let library = libraries.get(&compile.triple);
        let key = key_of([
            wanted.key.as_str(),
            &source.digest.to_string(),
            &plan.package,
            &plan.binary,
            &plan.profile,
            &compile.triple,
            std_word(compile.std),
            &library.map(StandIn::key).unwrap_or_default(),
        ]);
        let of = || format!("what the builder made for {}", compile.triple);
        let made = match Kept::read(&Kept::dir(cx, &compile.triple), &plan.binary, &key) {
            Some(made) => {
                cx.ui.step(
                    "Fresh",
                    &format!(
                        "{} for {}, compiled in {}",
                        plan.package,
                        compile.triple,
                        wanted.image()
                    ),
                );
                made
            }
            None => {
                if engine.is_none() {
                    engine = Some(ready(cx, policy, &wanted, mirror)?);
                }
                let (connection, here) = engine.as_ref().context(|| "no engine")?;
                let stdout = run(cx, plan, compile, library, &wanted, &source, connection, here)?;
                let made = Made::read(&stdout).context(of)?;
                Kept::write(&Kept::dir(cx, &compile.triple), &plan.binary, key, &made)?;
                made
            }
        };
        let artifact = made.artifact(cx, plan, compile, &zig).context(of)?;
        artifacts.insert(compile.triple.clone(), artifact);
    }
    Ok(artifacts)
}

/// An engine with the builder image.
fn ready(cx: &Cx, policy: &Policy, wanted: &Wanted, mirror: Option<&str>) -> Result<(Connection, Here)> {
    let connection = Connection::from_environment().hint("--builder host needs no engine")?;
    let here = Here::read(mirror)?;
    if image::ready(&connection, wanted)?.is_none() {
        image::build(cx, policy, &connection, wanted, &here)?;
    }
    Ok((connection, here))
}

#[allow(clippy::too_many_arguments)]
fn run(
    cx: &Cx,
    plan: &Plan,
    compile: &CompilePlan,
    library: Option<&StandIn>,
    wanted: &Wanted,
    source: &Source,
    connection: &Connection,
    here: &Here,
) -> Result<Vec<u8>> {
    let mut files = source.entries.clone();
    files.push(crate::oci::layer::Entry::directory("run", 0o755));
    files.push(crate::oci::layer::Entry::directory("run/host", 0o755));
    files.extend(
        here.entries("run/host")
            .into_iter()
            .filter(|entry| entry.path.starts_with("run/host/")),
    );
    let image = wanted.image();
    let mut env = vec![
        "XTASK_RECORD=1".to_owned(),
        format!("PACKAGE={}", plan.package),
        format!("BINARY={}", plan.binary),
        format!("PROFILE={}", plan.profile),
    ];
    if let Some(library) = library {
        let (entries, variables) = library.for_container();
        // /run is there already, with what this machine needs.
        files.extend(entries.into_iter().filter(|entry| entry.path != "run"));
        let line = |(name, value): (&str, std::ffi::OsString)| format!("{name}={}", value.to_string_lossy());
        env.extend(variables.into_iter().map(line));
    }
    if cx.offline {
        env.push("XTASK_OFFLINE=1".to_owned());
    }
    if cx.ui.is_quiet() {
        env.push("XTASK_QUIET=1".to_owned());
    }
    if cx.ui.is_terminal() && !cx.ui.is_quiet() {
        env.extend(
            [
                "CARGO_TERM_COLOR=always",
                "CARGO_TERM_PROGRESS_WHEN=always",
                "CARGO_TERM_PROGRESS_WIDTH=80",
            ]
            .map(str::to_owned),
        );
    }
    let job = Job {
        image: &image,
        command: [
            "/opt/builder/with-host",
            "/opt/builder/compile",
            &compile.triple,
            std_word(compile.std),
        ]
        .map(str::to_owned)
        .to_vec(),
        env,
        volumes: wanted.volumes(),
        files: source::tar(&files)?,
        network: image::network(connection, here)?,
        label: (LABEL, &wanted.name),
        shown: true,
        keep: false,
    };
    cx.ui.step(
        "Compiling",
        &format!(
            "{} for {} in {image} at {}",
            plan.package,
            compile.triple,
            connection.endpoint()
        ),
    );
    let ended = container::run(&cx.ui, connection, &job)?;
    if marker(&ended.stdout).is_some() && ended.code.unwrap_or(0) == 0 {
        return Ok(ended.stdout);
    }
    let why = match ended.code {
        Some(container::KILLED) => "the container was killed, or the engine's machine has too little memory".to_owned(),
        // Podman says 0 of a container that is gone already.
        Some(code) if code != 0 => format!("exit code {code}"),
        _ => "the engine does not say why".to_owned(),
    };
    Err(Error::new(format!(
        "cargo could not compile {} for {} in {image} ({why})",
        plan.package, compile.triple
    ))
    .hint(
        trouble::next_step(&ended.said)
            .unwrap_or("what cargo and the compiler said is above; the caches are as they were"),
    ))
}

fn std_word(choice: StdChoice) -> &'static str {
    match choice {
        StdChoice::Auto => "auto",
        StdChoice::Prebuilt => "prebuilt",
        StdChoice::Source => "source",
    }
}

/// Where the line begins after which the tar follows; the line break before it is its own. Goes from line to line: a search byte by
/// byte would take a tenth of a second of a run in which nothing is compiled.
fn marker(stdout: &[u8]) -> Option<usize> {
    let mut rest = stdout;
    while !rest.is_empty() {
        if rest.starts_with(MARKER) {
            return Some(stdout.len() - rest.len());
        }
        rest.skip_until(b'\n').ok()?;
    }
    None
}

/// What a container says beside the program and the linker's map.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
struct Said {
    /// cargo's JSON messages, one a line.
    messages: String,
    /// Arguments of the linker, one a line.
    link: String,
    /// `rustc -vV`.
    rustc: String,
    /// The compiler's sysroot.
    sysroot: PathBuf,
    /// `prebuilt` or `source`.
    std: String,
}

/// What a container sends back.
#[derive(Clone, Debug)]
struct Made {
    said: Said,
    program: Vec<u8>,
    map: Vec<u8>,
    map_digest: Digest,
}

impl Made {
    fn read(stdout: &[u8]) -> Result<Made> {
        let at = marker(stdout).context(|| "the builder did not say what it made")?;
        let mut files = BTreeMap::new();
        let mut archive = tar::Archive::new(&stdout[at + MARKER.len()..]);
        for member in archive.entries()? {
            let mut member = member?;
            let name = member.path()?.to_string_lossy().into_owned();
            let mut bytes = Vec::with_capacity(usize::try_from(member.size()).unwrap_or_default().min(stdout.len()));
            member.read_to_end(&mut bytes)?;
            files.insert(name, bytes);
        }
        let text = |name: &str| -> Result<String> {
            let bytes = files.get(name).context(|| format!("there is no `{name}` in it"))?;
            Ok(String::from_utf8_lossy(bytes).trim_end().to_owned())
        };
        let said = Said {
            messages: String::from_utf8_lossy(&stdout[..at.saturating_sub(1)]).into_owned(),
            link: text("link")?,
            rustc: text("rustc")?,
            sysroot: text("sysroot")?.into(),
            std: text("std")?,
        };
        let map = files.remove("map").unwrap_or_default();
        Ok(Made {
            said,
            program: files.remove("program").context(|| "there is no program in it")?,
            map_digest: Digest::of(&map),
            map,
        })
    }

    fn artifact(self, cx: &Cx, plan: &Plan, compile: &CompilePlan, zig: &str) -> Result<Artifact> {
        adopt(
            cx,
            plan,
            compile,
            Foreign {
                messages: self.said.messages,
                link_line: self.said.link,
                rustc: self.said.rustc,
                sysroot: self.said.sysroot,
                std: self.said.std,
                map: self.map,
                map_digest: self.map_digest.to_string(),
                zig: zig.to_owned(),
                program: self.program,
                path: Kept::dir(cx, &compile.triple).join(&plan.binary),
            },
        )
    }
}

/// What the last run for a triple made, and of what. The program and the map lie beside it.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    key: String,
    program: String,
    map: String,
    said: Said,
}

const KEPT: &str = "made.json";
const KEPT_MAP: &str = "link.map";

impl Kept {
    fn dir(cx: &Cx, triple: &str) -> PathBuf {
        cx.root.join("target/builder").join(triple)
    }

    /// What was made with this key, if it is still what it was.
    fn read(dir: &Path, binary: &str, key: &str) -> Option<Made> {
        let kept: Kept = serde_json::from_slice(&fs::read(dir.join(KEPT)).ok()?).ok()?;
        if kept.key != key {
            return None;
        }
        let read = |name: &str| {
            let bytes = fs::read(dir.join(name)).ok()?;
            Some((Digest::of(&bytes), bytes))
        };
        // Megabytes each.
        let (program, map) = thread::scope(|scope| {
            let map = scope.spawn(|| read(KEPT_MAP));
            (read(binary), map.join().ok().flatten())
        });
        let ((program_digest, program), (map_digest, map)) = (program?, map?);
        let same = program_digest.to_string() == kept.program && map_digest.to_string() == kept.map;
        same.then_some(Made {
            said: kept.said,
            program,
            map,
            map_digest,
        })
    }

    /// Keeps it. The program has the name under which the record of the link tells of it: `cargo xtask audit --explain` reads it.
    fn write(dir: &Path, binary: &str, key: String, made: &Made) -> Result<()> {
        fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))?;
        write_if_changed(&dir.join(binary), &made.program, 0o755)?;
        write_if_changed(&dir.join(KEPT_MAP), &made.map, 0o644)?;
        let kept = Kept {
            key,
            program: Digest::of(&made.program).to_string(),
            map: made.map_digest.to_string(),
            said: made.said.clone(),
        };
        // Last: it says what the others must be.
        write_atomically(&dir.join(KEPT), &serde_json::to_vec(&kept)?)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sent(without: &str) -> Vec<u8> {
        let mut tar = tar::Builder::new(Vec::new());
        let files = ["link", "rustc", "sysroot", "std", "program", "map"];
        for name in files.into_iter().filter(|name| *name != without) {
            let text = format!("{name} is\n");
            let mut header = tar::Header::new_gnu();
            header.set_size(text.len() as u64);
            header.set_mode(0o644);
            header.set_cksum();
            tar.append_data(&mut header, name, text.as_bytes()).unwrap();
        }
        let mut stdout = b"{\"reason\":\"build-finished\"}\nnot xtask: what was made follows\n\n".to_vec();
        stdout.extend_from_slice(MARKER);
        stdout.extend(tar.into_inner().unwrap());
        stdout
    }

    #[test]
    fn messages_end_where_the_tar_begins() {
        let made = Made::read(&sent("")).unwrap();
        assert_eq!(
            made.said.messages.lines().next(),
            Some(r#"{"reason":"build-finished"}"#)
        );
        assert_eq!(made.said.std, "std is");
        assert_eq!(made.program, b"program is\n");
        assert!(
            Made::read(&sent("program"))
                .unwrap_err()
                .to_string()
                .contains("no program")
        );
        assert!(Made::read(&sent("rustc")).unwrap_err().to_string().contains("`rustc`"));
        assert!(Made::read(b"{}").is_err());
    }

    #[test]
    fn what_is_kept_counts_while_it_is_whole_and_of_the_same() {
        let temp = tempfile::tempdir().unwrap();
        let dir = temp.path().join("triple");
        let made = Made::read(&sent("")).unwrap();
        let keep = || Kept::write(&dir, "blog", "key".to_owned(), &made).unwrap();
        let kept = || Kept::read(&dir, "blog", "key");
        assert!(kept().is_none());
        keep();
        let found = kept().unwrap();
        assert_eq!(found.said, made.said);
        assert_eq!((found.program, found.map), (made.program.clone(), made.map.clone()));
        assert!(Kept::read(&dir, "blog", "other").is_none());
        for name in ["blog", KEPT_MAP, KEPT] {
            fs::write(dir.join(name), "damaged").unwrap();
            assert!(kept().is_none(), "{name}");
            fs::remove_file(dir.join(name)).unwrap();
            assert!(kept().is_none(), "{name}");
            keep();
            assert!(kept().is_some(), "{name}");
        }
    }
}
