//! Assembly and compression of an image whose program is compiled: in this process, by buildah, by docker.

use std::collections::BTreeMap;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};

use serde_json::Value;

use super::figures::{Goal, Row, Samples, Unit};
use super::{DIR, PLATFORM, made, timed};
use crate::cli::ImageArgs;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::image::{BaseImage, assemble};
use crate::oci::layer::{Entry, EntryKind, Limits};
use crate::oci::{Image, ImageName};
use crate::policy::BuilderChoice;
use crate::publish::layout;
use crate::shell::Command;
use crate::target::Base;
use crate::toolchain::rust_std::Detected;
use crate::verb::{image, policy};

/// At most this part of the time of the others.
const GOAL: Goal = Goal::Relative { times: 0.2, more: None };

/// All three in turn.
pub fn measure(cx: &Cx, runs: u16) -> Result<Vec<Row>> {
    let bench = cx.root.join(DIR);
    let image = made(cx, Base::Scratch)?;
    let config = image.config_json();
    let entries = app_entries(&image)?;
    let ours = Ours::prepare(cx, &entries, &config)?;
    let tree = bench.join("tree");
    empty(&tree)?;
    entries.iter().try_for_each(|entry| unpack(&tree, entry))?;
    let mut buildah = Buildah::prepare(cx, &bench, &tree, &config);
    let mut docker = Docker::prepare(cx, &bench, &tree, &config);

    cx.ui.step("Measuring", "assembly and compression");
    let (mut a, mut b, mut c) = (Vec::new(), Vec::new(), Vec::new());
    // The first round warms up.
    for round in 0..=runs {
        let keep = |samples: &mut Vec<f64>, seconds| {
            if round > 0 {
                samples.push(seconds);
            }
        };
        keep(&mut a, ours.once(&bench.join("ours"))?);
        match buildah.as_ref().map(Buildah::once) {
            Ok(Ok(seconds)) => keep(&mut b, seconds),
            Ok(Err(error)) => buildah = Err(error),
            Err(_) => {}
        }
        match docker.as_ref().map(Docker::once) {
            Ok(Ok(seconds)) => keep(&mut c, seconds),
            Ok(Err(error)) => docker = Err(error),
            Err(_) => {}
        }
    }
    let ours = Samples::new(a);
    let row = |name: &str, theirs: Vec<f64>, absent: Option<&Error>, note: &str| {
        let note = absent.map_or(note.to_owned(), ToString::to_string);
        // What failed half-way is not compared with.
        let theirs = if absent.is_some() { None } else { Samples::new(theirs) };
        Row::new(
            "assembly",
            Unit::Seconds,
            ours.clone(),
            Some((name, theirs)),
            Some(GOAL),
            note,
        )
    };
    Ok(vec![
        row(
            "buildah",
            b,
            buildah.as_ref().err(),
            "assemble and write an OCI layout, in this process, against buildah from scratch, add, config and commit to an OCI \
             layout, in a storage of its own; the same files, gzip on both sides (ours at level 9, theirs at its default)",
        ),
        row(
            "docker",
            c,
            docker.as_ref().err(),
            "the same against docker build --no-cache FROM scratch with one COPY, and docker save; the engine does not compress",
        ),
    ])
}

pub(super) fn app_entries(image: &Image) -> Result<Vec<Entry>> {
    let mut entries = Vec::new();
    for layer in image.app_layers() {
        entries.extend(layer.entries(&Limits::default())?);
    }
    Ok(entries)
}

/// What `cargo xtask image` does after the audit.
pub(super) struct Ours {
    stage: crate::oci::dockerfile::FinalStage,
    source: image::BuildContext,
    name: ImageName,
    created: u64,
    labels: BTreeMap<String, String>,
}

impl Ours {
    pub(super) fn prepare(cx: &Cx, entries: &[Entry], config: &Value) -> Result<Ours> {
        let wanted = ImageArgs {
            bases: vec![Base::Scratch],
            platforms: vec![PLATFORM],
            builder: Some(BuilderChoice::Host),
            ..ImageArgs::default()
        };
        let policy = policy(cx)?;
        let plan = image::resolve(cx, &wanted, &policy, &Detected::default())?;
        let program = config["config"]["Entrypoint"][0]
            .as_str()
            .unwrap_or_default()
            .trim_start_matches('/');
        let bytes = entries.iter().find_map(|entry| match &entry.kind {
            EntryKind::File(bytes) if entry.path == program => Some(bytes.clone()),
            _ => None,
        });
        let bytes = bytes.context(|| format!("the image has no /{program}"))?;
        let labels = config["config"]["Labels"].as_object().cloned().unwrap_or_default();
        Ok(Ours {
            stage: image::stages(cx, &policy, &plan)?
                .pop()
                .context(|| "the plan makes no image")?,
            source: image::BuildContext::new(cx, &policy, bytes),
            name: plan.images.first().context(|| "the plan makes no image")?.name.clone(),
            created: plan.source.source_date_epoch,
            labels: labels
                .into_iter()
                .filter_map(|(key, value)| Some((key, value.as_str()?.to_owned())))
                .collect(),
        })
    }

    fn once(&self, dir: &Path) -> Result<f64> {
        empty(dir)?;
        timed(|| layout::write(dir, &[(&self.name, &self.image()?)]).map(drop))
    }

    pub(super) fn image(&self) -> Result<Image> {
        let base = BaseImage::scratch();
        Ok(assemble(
            base,
            &self.stage,
            &self.source,
            PLATFORM,
            self.created,
            &self.labels,
        )?)
    }
}

/// buildah with a storage below target/bench: the user's own is not touched.
struct Buildah<'a> {
    cx: &'a Cx,
    tree: PathBuf,
    storage: PathBuf,
    driver: Option<&'static str>,
    layout: PathBuf,
    entrypoint: String,
}

impl<'a> Buildah<'a> {
    fn prepare(cx: &'a Cx, bench: &Path, tree: &Path, config: &Value) -> Result<Self> {
        if cx.shell.which("buildah").is_none() {
            return Err(Error::new("buildah is not installed"));
        }
        let mut buildah = Buildah {
            cx,
            tree: tree.to_owned(),
            storage: bench.join("buildah"),
            driver: None,
            layout: bench.join("theirs"),
            entrypoint: config["config"]["Entrypoint"].to_string(),
        };
        // Where overlay mounts are not to be had, the default driver refuses; vfs copies instead.
        if buildah.once().is_err() {
            buildah.driver = Some("vfs");
            buildah.once()?;
        }
        Ok(buildah)
    }

    fn command(&self) -> Command {
        let command = self
            .cx
            .shell
            .command("buildah")
            .arg("--root")
            .arg(self.storage.join("root"));
        let command = command.arg("--runroot").arg(self.storage.join("run"));
        match self.driver {
            Some(driver) => command.args(["--storage-driver", driver]),
            None => command,
        }
    }

    fn once(&self) -> Result<f64> {
        empty(&self.layout)?;
        let mut container = String::new();
        let seconds = timed(|| {
            container = self.command().args(["from", "scratch"]).read()?;
            self.command()
                .args(["add", "--quiet", &container])
                .arg(&self.tree)
                .arg("/")
                .read()?;
            let config = [
                "config",
                "--entrypoint",
                &self.entrypoint,
                "--variant",
                "v6",
                "--arch",
                "arm",
                &container,
            ];
            self.command().args(config).read()?;
            let to = format!("oci:{}:blog", self.layout.display());
            self.command()
                .args(["commit", "--quiet", "--format", "oci", &container, &to])
                .read()
                .map(drop)
        });
        if !container.is_empty() {
            // Not part of what is measured.
            let removed = self.command().args(["rm", &container]).read();
            return seconds.and_then(|seconds| removed.map(|_| seconds));
        }
        seconds
    }
}

/// The engine that the docker client talks to.
struct Docker<'a> {
    cx: &'a Cx,
    tree: PathBuf,
    dockerfile: PathBuf,
    archive: PathBuf,
}

const DOCKER_TAG: &str = "xtask-bench:assembly";

impl<'a> Docker<'a> {
    fn prepare(cx: &'a Cx, bench: &Path, tree: &Path, config: &Value) -> Result<Self> {
        if cx.shell.which("docker").is_none() {
            return Err(Error::new("docker is not installed"));
        }
        let version = cx
            .shell
            .command("docker")
            .args(["version", "--format", "{{.Server.Version}}"])
            .output()?;
        if !version.status.success() {
            return Err(Error::new("docker is installed, and no Docker daemon answers"));
        }
        let dockerfile = bench.join("Dockerfile");
        let text = format!(
            "FROM scratch\nCOPY . /\nENTRYPOINT {}\n",
            config["config"]["Entrypoint"]
        );
        fs::write(&dockerfile, text).context(|| format!("cannot write {}", dockerfile.display()))?;
        Ok(Docker {
            cx,
            tree: tree.to_owned(),
            dockerfile,
            archive: bench.join("docker.tar"),
        })
    }

    fn once(&self) -> Result<f64> {
        let docker = || self.cx.shell.command("docker");
        let seconds = timed(|| {
            let build = docker().args(["build", "--no-cache", "--quiet", "--tag", DOCKER_TAG, "--file"]);
            build.arg(&self.dockerfile).arg(&self.tree).read()?;
            docker()
                .args(["save", "--output"])
                .arg(&self.archive)
                .arg(DOCKER_TAG)
                .read()
                .map(drop)
        })?;
        docker().args(["image", "rm", DOCKER_TAG]).read()?;
        Ok(seconds)
    }
}

pub(super) fn empty(dir: &Path) -> Result<()> {
    match fs::remove_dir_all(dir) {
        Err(error) if error.kind() != std::io::ErrorKind::NotFound => {
            return Err(Error::from(error).context(format!("cannot remove {}", dir.display())));
        }
        _ => {}
    }
    fs::create_dir_all(dir).context(|| format!("cannot create {}", dir.display()))
}

/// One entry of the layer as a file, for those who read trees. Owners stay behind: changing them would take root.
fn unpack(tree: &Path, entry: &Entry) -> Result<()> {
    let path = tree.join(&entry.path);
    let wrote = match &entry.kind {
        EntryKind::Directory => fs::create_dir_all(&path),
        EntryKind::File(bytes) => fs::write(&path, bytes),
        EntryKind::Symlink(target) => return Ok(symlink(target, &path)?),
        EntryKind::Hardlink(target) => fs::hard_link(tree.join(target), &path),
        // There is nothing below to take away from.
        EntryKind::Whiteout | EntryKind::OpaqueDirectory => return Ok(()),
    };
    wrote.context(|| format!("cannot write {}", path.display()))?;
    fs::set_permissions(&path, fs::Permissions::from_mode(entry.mode))
        .context(|| format!("cannot chmod {}", path.display()))
}
