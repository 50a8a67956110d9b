//! Tools from Python wheels: fetched by pip as it is configured, checked against the pinned hashes, unpacked into the cache.

use std::fs;
use std::io::{Read, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Component, Path, PathBuf};

use crate::cache::{hash_file, key_of};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::policy::Tool;
use crate::shell::Command;
use crate::toolchain::debs;
use crate::ui;

const UNREACHABLE: &str = "is the package index reachable from here (proxy, `pip config list`)? A wheel placed in a directory that PIP_FIND_LINKS names serves as well";
const BROKEN: &str = "install python3-pip (the wheel of pip needs a module that this python3 lacks)";
const DISTRUST: &str =
    "the download was damaged or replaced; try again, and distrust the package index if it happens twice";

/// The path that a tool has, or will have, in the cache.
pub fn program(cx: &Cx, name: &str, tool: &Tool) -> Option<PathBuf> {
    cx.cache
        .has_tree(name, &key(tool))
        .map(|tree| tree.join(&tool.program))
        .filter(|path| path.is_file())
}

fn key(tool: &Tool) -> String {
    format!("{}-{}", tool.version, key_of(&tool.sha256))
}

/// The tool's program, fetched first if it is not in the cache.
pub fn provision(cx: &Cx, name: &str, tool: &Tool) -> Result<PathBuf> {
    if let Some(tree) = cx.cache.has_tree(name, &key(tool)) {
        let path = tree.join(&tool.program);
        if path.is_file() {
            cx.cache.used(&tree);
            return Ok(path);
        }
        // Somebody deleted a part of it.
        cx.cache.remove(&tree)?;
    }
    let tree = cx.cache.tree(name, &key(tool), |dir| {
        let wheel = fetch(cx, name, tool)?;
        cx.ui.step("Unpacking", &format!("{name} {}", tool.version));
        unpack(&wheel, dir).context(|| format!("cannot unpack {}", wheel.display()))?;
        let program = dir.join(&tool.program);
        let mode = fs::metadata(&program)
            .context(|| format!("the wheel of {name} {} has no `{}`", tool.version, tool.program))?
            .permissions()
            .mode();
        fs::set_permissions(&program, fs::Permissions::from_mode(mode | 0o755))?;
        Ok(())
    })?;
    Ok(tree.join(&tool.program))
}

/// The wheel in the cache, by any of its hashes; else downloaded.
fn fetch(cx: &Cx, name: &str, tool: &Tool) -> Result<PathBuf> {
    for hash in &tool.sha256 {
        if let Some(path) = cx.cache.get(hash)? {
            return Ok(path);
        }
    }
    let distribution = tool.distribution.as_deref().unwrap_or(name);
    if cx.offline {
        return Err(Error::new(format!(
            "{distribution} {} is not in the cache, and --offline forbids to fetch it",
            tool.version
        ))
        .hint("run once without --offline"));
    }
    let dir = cx.cache.temp_dir()?;
    let hashes: String = tool
        .sha256
        .iter()
        .map(|hash| format!(" --hash=sha256:{hash}"))
        .collect();
    let wanted = dir.path().join("requirements.txt");
    fs::write(&wanted, format!("{distribution}=={}{hashes}\n", tool.version))?;
    cx.ui
        .step("Fetching", &format!("{distribution} {} through pip", tool.version));
    let bar = if cx.ui.is_terminal() && cx.ui.verbosity() > ui::Verbosity::Quiet {
        "on"
    } else {
        "off"
    };
    pip(cx)?
        .args([
            "download",
            "--quiet",
            "--no-deps",
            "--only-binary",
            ":all:",
            "--require-hashes",
            "--progress-bar",
            bar,
        ])
        .arg("--dest")
        .arg(dir.path())
        .arg("--requirement")
        .arg(&wanted)
        .output()
        .and_then(|output| {
            if output.status.success() {
                return Ok(());
            }
            let text = output.error_text();
            Err(Error::new(format!(
                "pip cannot fetch {distribution} {}\n  {}",
                tool.version,
                last_lines(&text)
            ))
            .hint(if text.contains("DO NOT MATCH THE HASHES") {
                DISTRUST
            } else if text.contains("ModuleNotFoundError") {
                BROKEN
            } else {
                UNREACHABLE
            }))
        })?;
    let wheel = fs::read_dir(dir.path())?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| path.extension().is_some_and(|extension| extension == "whl"))
        .context(|| {
            format!(
                "pip said that it fetched {distribution} {}, but there is no wheel",
                tool.version
            )
        })?;
    let hash = hash_file(&wheel)?;
    if !tool.sha256.contains(&hash) {
        return Err(Error::new(format!(
            "{}: sha256 is {hash}, expected {}",
            wheel.file_name().unwrap_or_default().to_string_lossy(),
            tool.sha256.join(" or ")
        ))
        .hint(DISTRUST));
    }
    let (_, path) = cx.cache.put_file(&wheel, Some(&hash))?;
    Ok(path)
}

/// pip: the module of python3, else the wheel that Debian ships for virtual environments, run where it lies.
fn pip(cx: &Cx) -> Result<Command> {
    let python = cx
        .shell
        .which("python3")
        .context(|| "python3 is not in PATH; pip, which fetches the tools, needs it")
        .hint("install python3 (Debian and Ubuntu: the package python3)")?;
    if cx
        .shell
        .command(&python)
        .args(["-m", "pip", "--version"])
        .output()
        .is_ok_and(|output| output.status.success())
    {
        return Ok(cx.shell.command(python).args(["-m", "pip"]));
    }
    let tree = debs::fetch(cx, "python3-pip-whl", &["usr/share/python-wheels"]).map_err(|error| {
        // What is missing is pip; the package is but one way to it.
        Error::new(format!(
            "python3 has no pip module, and Debian's wheel of it cannot be had: {error}"
        ))
        .hint("install pip (Debian and Ubuntu: the package python3-pip)")
    })?;
    let wheels = tree.join("usr/share/python-wheels");
    let wheel = fs::read_dir(&wheels)
        .context(|| format!("cannot read {}", wheels.display()))?
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .find(|path| {
            path.file_name()
                .is_some_and(|name| name.to_string_lossy().starts_with("pip-"))
        })
        .context(|| format!("there is no wheel of pip in {}", wheels.display()))?;
    Ok(cx.shell.command(python).arg(wheel.join("pip")))
}

fn unpack(wheel: &Path, dir: &Path) -> Result<()> {
    let mut archive = zip::ZipArchive::new(fs::File::open(wheel)?)?;
    let mut buffer = vec![0; 1 << 16];
    for index in 0..archive.len() {
        let mut member = archive.by_index(index)?;
        let name = PathBuf::from(member.name()?.into_owned());
        if !name.components().all(|part| matches!(part, Component::Normal(_))) {
            return Err(Error::new(format!(
                "member `{}` would leave the directory",
                name.display()
            )));
        }
        let path = dir.join(&name);
        if member.is_dir() {
            fs::create_dir_all(&path)?;
            continue;
        }
        if let Some(parent) = path.parent() {
            fs::create_dir_all(parent)?;
        }
        let mut file = fs::File::create(&path).map_err(|error| crate::cache::full_disk(error, dir))?;
        loop {
            let count = member.read(&mut buffer)?;
            if count == 0 {
                break;
            }
            file.write_all(&buffer[..count])
                .map_err(|error| crate::cache::full_disk(error, dir))?;
        }
        if member.unix_mode().is_some_and(|mode| mode & 0o111 != 0) {
            fs::set_permissions(&path, fs::Permissions::from_mode(0o755))?;
        }
    }
    Ok(())
}

fn last_lines(text: &str) -> String {
    let lines: Vec<&str> = text.lines().filter(|line| !line.trim().is_empty()).collect();
    lines[lines.len().saturating_sub(6)..].join("\n  ")
}
