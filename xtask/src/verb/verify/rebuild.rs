//! The same image once more, from the revision that its label names, by the pipeline of that revision.

use std::fs;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde_json::Value;

use crate::cache::key_of;
use crate::compile;
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::claims::Claim;
use crate::oci::layer::Limits;
use crate::oci::layout::{list_images, load};
use crate::oci::time;
use crate::publish::layout;
use crate::source::Store;
use crate::target::Base;
use crate::verify::compare::compare;

/// The label that names the commit.
const REVISION: &str = "org.opencontainers.image.revision";

/// What became of it.
#[derive(Debug, Serialize)]
pub(super) struct Rebuilt {
    /// Digest of the image that was rebuilt.
    pub image: String,
    /// The commit.
    pub revision: String,
    /// Digest of what it makes.
    pub digest: String,
    /// The first difference; `None` when there is none.
    pub difference: Option<Parted>,
}

/// Where an image and its rebuild part.
#[derive(Debug, Serialize)]
pub(super) struct Parted {
    /// `layer 2, usr/local/bin/blog`.
    pub place: String,
    /// `mode in the tar header`.
    pub field: String,
    /// What the image has.
    pub found: String,
    /// What the rebuilt one has.
    pub rebuilt: String,
}

/// With which options.
struct Options {
    base: String,
    with: Vec<String>,
    std: String,
    epoch: u64,
    /// Whether SQLite was Debian's library.
    system_sqlite: bool,
}

/// Builds an image again and compares. `asked` is what its provenance says was asked for.
///
/// # Errors
///
/// When nobody can build it again, or this machine cannot.
pub(super) fn rebuild(cx: &Cx, store: &Store, claim: &Claim, asked: Option<&Value>) -> Result<Rebuilt> {
    let revision = revision(cx, claim)?;
    let options = options(claim, asked)?;
    let platform = claim
        .platform
        .context(|| format!("{} is no platform of this product", claim.said))?;
    let _lock = cx.cache.lock(&format!("rebuild-{revision}"))?;
    let tree = worktree(cx, &revision)?;
    let out = tree.join("target/rebuilt");
    let _ = fs::remove_dir_all(&out);
    let mut command = compile::cargo_at(cx, &tree)
        .args([
            "xtask",
            "image",
            "--base",
            &options.base,
            "--platform",
            &platform.to_string(),
        ])
        .args(["--std", &options.std])
        .args(options.with.iter().flat_map(|package| ["--with", package]))
        .args(
            options
                .system_sqlite
                .then_some(["--sqlite", "system"])
                .into_iter()
                .flatten(),
        )
        .arg("--to")
        .arg("oci:target/rebuilt")
        .env("SOURCE_DATE_EPOCH", options.epoch.to_string())
        .env("XTASK_CACHE_DIR", cx.cache.root());
    if cx.offline {
        command = command.arg("--offline");
    }
    // Which engine happens to answer must not decide.
    if std::env::var_os("XTASK_BUILDER").is_none() {
        command = command.env("XTASK_BUILDER", "host");
    }
    cx.ui.step("Rebuilding", &format!("{revision} in {}", tree.display()));
    let status = command.lines(|line| {
        cx.ui.note(line);
        Ok(())
    })?;
    match status.code() {
        Some(0) => {}
        Some(1) => {
            return Err(
                Error::new(format!("the audit of {revision} refuses what that revision makes"))
                    .hint("what it found is above; waivers are part of a revision, too"),
            );
        }
        _ => {
            return Err(Error::new(format!("{revision} cannot be built here")).hint(format!(
                "what failed is above; the source of that revision is in {}",
                tree.display()
            )));
        }
    }
    let made = layout::open(&out)?;
    let listed = list_images(&made)?;
    let [listed] = &listed[..] else {
        return Err(Error::new(format!(
            "{revision} made {} images, one was asked for",
            listed.len()
        )));
    };
    let limits = Limits::default();
    let rebuilt = load(&made, &listed.manifest, platform, &limits)?;
    let label = rebuilt.config_json()["config"]["Labels"][REVISION]
        .as_str()
        .unwrap_or_default()
        .to_owned();
    if label.ends_with("-dirty") {
        return Err(Error::new(format!(
            "building {revision} changes files that git tracks, so it is not that revision any more"
        ))
        .hint(format!(
            "`git -C {} diff` shows which; is Cargo.lock of that revision complete?",
            tree.display()
        )));
    }
    let image = load(store, &claim.manifest, platform, &limits)?;
    Ok(Rebuilt {
        image: image.manifest().digest().to_string(),
        revision,
        digest: rebuilt.manifest().digest().to_string(),
        difference: compare(&image, &rebuilt).map(|difference| Parted {
            place: difference.place,
            field: difference.field,
            found: difference.a,
            rebuilt: difference.b,
        }),
    })
}

/// The commit that an image names, if this clone has it.
fn revision(cx: &Cx, claim: &Claim) -> Result<String> {
    let label = REVISION;
    let revision = claim.label(label).filter(|text| !text.is_empty());
    let revision = revision.context(|| format!("it names no revision in the label {label}")).hint(
        "an image that is built outside git cannot be rebuilt by its label: compare it with one of `cargo xtask image`",
    )?;
    if let Some(commit) = revision.strip_suffix("-dirty") {
        return Err(Error::new(format!(
            "it was built from {commit} with changes that are in no commit, so nobody can build it again"
        ))
        .hint("commit the changes, and make the image anew"));
    }
    let plain = revision.len() >= 40 && revision.bytes().all(|byte| byte.is_ascii_hexdigit());
    if !plain {
        return Err(
            Error::new(format!("its label {label} is `{}`, no commit", revision.escape_debug()))
                .hint("the label is set by the build argument REVISION of the Dockerfile"),
        );
    }
    let commit = git(
        cx,
        &cx.root,
        &["rev-parse", "--verify", "--quiet", &format!("{revision}^{{commit}}")],
    )
    .map_err(|_| Error::new(format!("this clone does not have the commit {revision}")))
    .hint("`git fetch --all --tags` may bring it; else the image is of another repository")?;
    Ok(commit)
}

/// What was asked for then: by the provenance, else by name, labels and time of the image.
fn options(claim: &Claim, asked: Option<&Value>) -> Result<Options> {
    let text = |key: &str| asked.and_then(|asked| asked[key].as_str()).map(str::to_owned);
    if let Some(image) = text("baseImage") {
        return Err(Error::new(format!(
            "its base was given with --base-image ({image}), and is not part of any revision"
        ))
        .hint("build it with that base, and compare the digests"));
    }
    let sqlite = text("sqlite");
    if sqlite.as_deref().is_some_and(|sqlite| sqlite != "system") {
        return Err(Error::new(
            "its SQLite is a library of the builder's own (--sqlite DIR), and is not part of any revision",
        )
        .hint("build it with that library, and compare: `cargo xtask audit --compare`"));
    }
    let tag = claim.tag.as_deref().unwrap_or_default();
    let by_name = || {
        Base::ALL
            .into_iter()
            .find(|base| tag.starts_with(base.name()))
            .map(|base| base.name().to_owned())
    };
    let base = text("base").or_else(by_name).context(|| "neither provenance nor tag says on which base it is").hint(
        "the tags of `cargo xtask image` begin with the base; the provenance lies beside the layout, or in the index",
    )?;
    let known = Base::ALL.iter().any(|known| known.name() == base);
    if !known {
        return Err(Error::new(format!(
            "its provenance names the base `{}`, which is not known",
            base.escape_debug()
        )));
    }
    let created = claim.config["created"].as_str().and_then(time::seconds);
    let epoch = asked.and_then(|asked| asked["sourceDateEpoch"].as_u64()).or(created);
    let std = claim.label("xtask.rust-std").unwrap_or_default();
    Ok(Options {
        base,
        with: asked
            .and_then(|asked| asked["with"].as_array())
            .into_iter()
            .flatten()
            .filter_map(|package| package.as_str().map(str::to_owned))
            // Not an option of ours, whatever the document says.
            .filter(|package| !package.starts_with('-'))
            .collect(),
        std: match std {
            "source" | "prebuilt" => std.to_owned(),
            _ => "auto".to_owned(),
        },
        system_sqlite: sqlite.is_some(),
        epoch: epoch.context(|| "neither provenance nor configuration says its SOURCE_DATE_EPOCH")?,
    })
}

/// The source of a commit. It lies in the cache and not below target/, since cargo would add the settings of every
/// `.cargo/config.toml` above it.
fn worktree(cx: &Cx, commit: &str) -> Result<PathBuf> {
    let key = key_of([cx.root.as_os_str().as_encoded_bytes(), commit.as_bytes()]);
    let above = cx.cache.work("rebuild", &key)?;
    let tree = above.join("tree");
    let whole = || -> bool {
        let head = git(cx, &tree, &["rev-parse", "HEAD"]);
        let changed = git(cx, &tree, &["status", "--porcelain", "--untracked-files=all"]);
        head.is_ok_and(|head| head == commit) && changed.is_ok_and(|changed| changed.is_empty())
    };
    if tree.join(".git").exists() && whole() {
        cx.cache.used(&above);
        return Ok(tree);
    }
    // A killed run left a part of it, or the cache was emptied.
    if tree.exists() {
        fs::remove_dir_all(&tree).context(|| format!("cannot delete {}", tree.display()))?;
    }
    git(cx, &cx.root, &["worktree", "prune"])?;
    let path = tree.to_string_lossy();
    git(
        cx,
        &cx.root,
        &["worktree", "add", "--quiet", "--force", "--detach", &path, commit],
    )
    .context(|| format!("cannot check out {commit}"))?;
    Ok(tree)
}

fn git(cx: &Cx, dir: &Path, args: &[&str]) -> Result<String> {
    let command = cx
        .shell
        .command("git")
        // Hooks of this clone are made for its owner's work.
        .args(["-c", "core.hooksPath=/dev/null"])
        .args(args)
        .current_dir(dir)
        .env("LC_ALL", "C")
        .env("GIT_OPTIONAL_LOCKS", "0");
    command.read().map(|text| text.trim().to_owned())
}
