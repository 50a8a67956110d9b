//! Debian's archive through the host's apt, in a private state that belongs to one run.
//!
//! apt does what it is good at: it verifies the signature of the release, the hashes of the indexes and of every
//! package, resolves dependencies, and knows the host's proxies, certificates and credentials. It runs without root and
//! never sees the host's own lists, status or architecture. What it decided is kept as a cache record, so that a second run
//! needs neither network nor apt.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

mod exact;
mod output;
mod pinned;

pub use exact::{SOURCE, resolve_exactly};
pub use pinned::locked;

use output::{complaints, described, installed, printed_uris, signed_release, simulated_installs};

use super::sources::{self, Mirrors};
use crate::cache::key_of;
use crate::cx::Cx;
use crate::error::{Context, Error, Result, redact};
use crate::shell::{Command, Output};

/// Changes whenever the meaning of a stored resolution does.
const RECORD_VERSION: &str = "2";
/// Where Debian's public keys are, in the order of preference.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.pgp",
    "/usr/share/keyrings/debian-archive-keyring.gpg",
];
/// Names the mirror as `--debian-mirror` does, for every verb that makes a base, and for the tests.
const MIRROR_VARIABLE: &str = "XTASK_DEBIAN_MIRROR";
const APT_HELPER: &str = "/usr/lib/apt/apt-helper";

/// What is asked of the archive.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request<'a> {
    /// Code name of the release (`trixie`). Whatever name it is reached by, this is what its signed `Codename` must be.
    pub suite: &'a str,
    /// Other names of that release on a mirror (`stable`), tried when the mirror is in the middle of an update.
    pub aliases: &'a [String],
    /// Debian architecture (`armel`).
    pub architecture: &'a str,
    /// Packages wanted; their dependencies come with them.
    pub packages: &'a [String],
    /// Packages that count as installed, so that they and what only they need stay out.
    pub omit: &'a [String],
    /// `URL[,SECURITY_URL]` instead of what the host's apt is configured with.
    pub mirror: Option<&'a str>,
}

/// Which of Debian's two archives a package comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Archive {
    /// The release and its updates.
    Main,
    /// The security archive.
    Security,
}

impl Archive {
    /// `main` or `security`.
    pub fn name(self) -> &'static str {
        match self {
            Archive::Main => "main",
            Archive::Security => "security",
        }
    }

    /// The archive of this name.
    pub fn from_name(name: &str) -> Option<Archive> {
        [Archive::Main, Archive::Security]
            .into_iter()
            .find(|archive| archive.name() == name)
    }
}

/// One package at one version, pinned by the hash in the signed index.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Deb {
    /// Package name.
    pub name: String,
    /// Debian version, with epoch and revision.
    pub version: String,
    /// `armel`, or `all`.
    pub architecture: String,
    /// Archive that serves it.
    pub archive: Archive,
    /// Path below the archive's base URI.
    pub filename: String,
    /// SHA-256 in hex.
    pub sha256: String,
    /// Bytes of the .deb.
    pub size: u64,
}

/// What apt decided.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Resolution {
    /// Code name, as signed.
    pub suite: String,
    /// Architecture asked for.
    pub architecture: String,
    /// `Version` and `Date` of the signed release: `13.7, Sat, 12 Sep 2026 07:55:41 UTC`.
    pub release: String,
    /// Sorted by name.
    pub packages: Vec<Deb>,
}

/// The packages that satisfy the request. Kept in the cache: only `refresh`, or another request, asks the archive again.
pub fn resolve(cx: &Cx, request: &Request<'_>, refresh: bool) -> Result<Resolution> {
    let key = record_key(request);
    let what = || format!("Debian {} {}", request.suite, request.architecture);
    if !refresh && let Some(known) = cx.cache.record::<Resolution>("debian", &key) {
        return Ok(known);
    }
    if cx.offline {
        return Err(Error::new(format!(
            "{}: the list of packages is not in the cache, and this run is offline",
            what()
        ))
        .hint("run once without --offline"));
    }
    let _lock = cx.cache.lock(&format!("debian-{key}"))?;
    if !refresh && let Some(known) = cx.cache.record::<Resolution>("debian", &key) {
        return Ok(known);
    }
    cx.ui.step("Resolving", &format!("{} packages", what()));
    let mirrors = mirrors(request.mirror)?;
    let state = State::open(cx, request.architecture)?;
    let release = state.update(cx, request, &mirrors)?;
    let packages = state.plan(cx, request, &mirrors)?;
    let resolution = Resolution {
        suite: request.suite.to_owned(),
        architecture: request.architecture.to_owned(),
        release,
        packages,
    };
    cx.cache.put_record("debian", &key, &resolution)?;
    Ok(resolution)
}

/// The files of a resolution, in its order. What the cache lacks, or holds damaged, is fetched again at the same version.
pub fn fetch(cx: &Cx, request: &Request<'_>, resolution: &Resolution) -> Result<Vec<PathBuf>> {
    let mut missing = Vec::new();
    for package in &resolution.packages {
        if cx.cache.get(&package.sha256)?.is_none() {
            missing.push(package);
        }
    }
    if !missing.is_empty() {
        let mut names: Vec<&str> = missing.iter().map(|package| package.name.as_str()).collect();
        // A source package has several files.
        names.dedup();
        if cx.offline {
            return Err(Error::new(format!(
                "not in the cache, and this run is offline: {} of Debian {} {}",
                names.join(", "),
                request.suite,
                request.architecture
            ))
            .hint("run once without --offline"));
        }
        let total: u64 = missing.iter().map(|package| package.size).sum();
        cx.ui.step(
            "Fetching",
            &format!(
                "{} of Debian {} {} ({})",
                names.join(", "),
                request.suite,
                request.architecture,
                crate::ui::bytes(total)
            ),
        );
        let mirrors = mirrors(request.mirror)?;
        let state = State::open(cx, request.architecture)?;
        for package in missing {
            state.fetch(cx, package, &mirrors)?;
        }
    }
    resolution
        .packages
        .iter()
        .map(|package| {
            cx.cache
                .get(&package.sha256)?
                .context(|| format!("{} {} vanished from the cache", package.name, package.version))
        })
        .collect()
}

fn record_key(request: &Request<'_>) -> String {
    let list = |items: &[String]| {
        let mut items = items.to_vec();
        items.sort();
        items.dedup();
        items.join(" ")
    };
    key_of([
        RECORD_VERSION,
        request.suite,
        request.architecture,
        &list(request.packages),
        &list(request.omit),
        chosen_mirror(request.mirror, mirror_variable())
            .as_deref()
            .unwrap_or("as apt is configured"),
    ])
}

fn mirror_variable() -> Option<String> {
    std::env::var(MIRROR_VARIABLE).ok()
}

/// The flag, else the variable unless it is empty.
fn chosen_mirror(flag: Option<&str>, variable: Option<String>) -> Option<String> {
    flag.map(str::to_owned)
        .or_else(|| variable.filter(|value| !value.is_empty()))
}

/// The mirrors that a run uses: `URL[,SECURITY_URL]` if given, by the argument or else by `XTASK_DEBIAN_MIRROR`; else those
/// of the host's apt.
pub fn mirrors(explicit: Option<&str>) -> Result<Mirrors> {
    if let Some(explicit) = chosen_mirror(explicit, mirror_variable()).as_deref() {
        let (main, security) = match explicit.split_once(',') {
            Some((main, security)) => (main, Some(security)),
            None => (explicit, None),
        };
        for url in std::iter::once(main).chain(security) {
            let scheme = url.split_once(':').map_or("", |(scheme, _)| scheme);
            if !["http", "https", "file", "copy"].contains(&scheme)
                || url.contains(|c: char| c.is_whitespace() || c.is_control() || "[]\"".contains(c))
            {
                return Err(Error::new(format!("`{}` is not the URL of a mirror", redact(url)))
                    .hint("--debian-mirror takes http://HOST/PATH or file:///PATH, below which `dists` lies"));
            }
        }
        let trim = |url: &str| url.trim_end_matches('/').to_owned();
        return Ok(Mirrors {
            main: trim(main),
            security: security.map(trim),
        });
    }
    let mut found = Vec::new();
    if let Ok(text) = fs::read_to_string("/etc/apt/sources.list") {
        found.extend(sources::one_line(&text));
    }
    let mut parts: Vec<PathBuf> = fs::read_dir("/etc/apt/sources.list.d")
        .into_iter()
        .flatten()
        .filter_map(|entry| entry.ok().map(|entry| entry.path()))
        .collect();
    parts.sort();
    for path in parts {
        let text = fs::read_to_string(&path).unwrap_or_default();
        match path.extension().and_then(|extension| extension.to_str()) {
            Some("list") => found.extend(sources::one_line(&text)),
            Some("sources") => found.extend(sources::deb822(&text)),
            _ => {}
        }
    }
    let os_release = fs::read_to_string("/etc/os-release").unwrap_or_default();
    let mut mirrors = sources::debian_mirrors(&found, &sources::os_id(&os_release))
        .context(|| "apt on this machine is not configured with a mirror of Debian (looked in /etc/apt/sources.list and /etc/apt/sources.list.d)")
        .hint("name one: --debian-mirror URL[,SECURITY_URL], or the same in XTASK_DEBIAN_MIRROR")?;
    mirrors.main = first_of_mirror_list(&mirrors.main);
    mirrors.security = mirrors.security.as_deref().map(first_of_mirror_list);
    Ok(mirrors)
}

/// Cloud images point apt at a file that lists mirrors (apt-transport-mirror(1)): its first line is as good as any.
fn first_of_mirror_list(uri: &str) -> String {
    let listed = uri.strip_prefix("mirror+file:").and_then(|path| {
        let text = fs::read_to_string(Path::new("/").join(path.trim_start_matches('/'))).ok()?;
        let line = text
            .lines()
            .map(str::trim)
            .find(|line| !line.is_empty() && !line.starts_with('#'))?;
        Some(line.split_whitespace().next()?.trim_end_matches('/').to_owned())
    });
    listed.unwrap_or_else(|| uri.to_owned())
}

/// A private apt: its own configuration, lists and dpkg status, gone when dropped.
#[derive(Debug)]
struct State {
    dir: tempfile::TempDir,
    config: PathBuf,
}

impl State {
    fn open(cx: &Cx, architecture: &str) -> Result<Self> {
        let dir = cx.cache.temp_dir()?;
        let root = dir.path().display().to_string();
        if root.contains(['"', '\\', '\n']) {
            return Err(Error::new(format!(
                "apt cannot be told of a directory with quotes in its name: {root}"
            ))
            .hint("choose another with --cache-dir DIR"));
        }
        for name in [
            "lists/partial",
            "archives/partial",
            "etc/apt.conf.d",
            "etc/preferences.d",
            "etc/trusted.gpg.d",
            "log",
        ] {
            fs::create_dir_all(dir.path().join(name)).context(|| format!("cannot write in {root}"))?;
        }
        for name in ["status", "extended_states", "sources.list"] {
            fs::write(dir.path().join(name), "").context(|| format!("cannot write in {root}"))?;
        }
        let host = host_acquire(cx)?;
        let text = format!(
            r#"{host}
Dir "{root}";
Dir::State "{root}";
Dir::State::lists "{root}/lists";
Dir::State::status "{root}/status";
Dir::State::extended_states "{root}/extended_states";
Dir::Cache "{root}";
Dir::Cache::archives "{root}/archives";
Dir::Etc "{root}/etc";
Dir::Etc::sourcelist "{root}/sources.list";
Dir::Etc::sourceparts "{root}/etc/none";
Dir::Etc::trusted "{root}/etc/none";
Dir::Etc::trustedparts "{root}/etc/trusted.gpg.d";
Dir::Etc::netrc "/etc/apt/auth.conf";
Dir::Etc::netrcparts "/etc/apt/auth.conf.d";
Dir::Log "{root}/log";
APT::Architecture "{architecture}";
APT::Architectures "{architecture}";
APT::Sandbox::User "";
APT::Install-Recommends "false";
APT::Get::AllowUnauthenticated "false";
APT::Update::Error-Mode "any";
Acquire::AllowInsecureRepositories "false";
Acquire::AllowWeakRepositories "false";
Acquire::AllowDowngradeToInsecureRepositories "false";
Acquire::Languages "none";
Acquire::Retries "3";
Debug::NoLocking "true";
"#
        );
        let config = dir.path().join("apt.conf");
        fs::write(&config, text).context(|| format!("cannot write {}", config.display()))?;
        Ok(State { dir, config })
    }

    fn command(&self, cx: &Cx, program: &str) -> Command {
        cx.shell
            .command(program)
            .env("APT_CONFIG", &self.config)
            .env("LC_ALL", "C.UTF-8")
            .env("LANGUAGE", "C")
    }

    fn write(&self, name: &str, text: &str) -> Result<()> {
        let path = self.dir.path().join(name);
        fs::write(&path, text).context(|| format!("cannot write {}", path.display()))
    }

    /// Makes these keys the only ones. `signed-by` would do the same, but apt takes a blank in its path for the end of it.
    fn trust(&self, keyring: &Path) -> Result<()> {
        let path = self.dir.path().join("etc/trusted.gpg.d/debian-archive-keyring.gpg");
        fs::copy(keyring, &path).context(|| format!("cannot copy {} to {}", keyring.display(), path.display()))?;
        Ok(())
    }

    /// Fetches the signed release and its index under the first of its names that the mirror serves consistently.
    fn update(&self, cx: &Cx, request: &Request<'_>, mirrors: &Mirrors) -> Result<String> {
        self.update_of(cx, request, mirrors, &["deb"])
    }

    /// The same for indexes of packages (`deb`), of sources (`deb-src`), or both.
    fn update_of(&self, cx: &Cx, request: &Request<'_>, mirrors: &Mirrors, kinds: &[&str]) -> Result<String> {
        self.trust(&keyring(cx)?)?;
        let names: Vec<&str> = std::iter::once(request.suite)
            .chain(request.aliases.iter().map(String::as_str))
            .collect();
        let mut first_failure = None;
        for name in names {
            let mut list = String::new();
            let mut line = |uri: &str, suite: &str| {
                for kind in kinds {
                    let _ = writeln!(list, "{kind} [arch={}] {uri} {suite} main", request.architecture);
                }
            };
            line(&mirrors.main, name);
            line(&mirrors.main, &format!("{name}-updates"));
            if let Some(security) = &mirrors.security {
                line(security, &format!("{name}-security"));
            }
            self.write("sources.list", &list)?;
            let lists = self.dir.path().join("lists");
            fs::remove_dir_all(&lists).and_then(|()| fs::create_dir_all(lists.join("partial")))?;
            let output = self.command(cx, "apt-get").args(["update", "-qq"]).output()?;
            let failure = if output.status.success() {
                match self.check_codename(request.suite) {
                    Ok(release) => {
                        if first_failure.is_some() {
                            cx.ui.warn(&format!(
                                "{}: the index of `{}` does not match its signed release (a mirror in the middle of an \
                                 update); using the same release under its name `{name}`: {release}",
                                redact(&mirrors.main),
                                request.suite
                            ));
                        }
                        return Ok(release);
                    }
                    Err(error) => Failure { error, retriable: true },
                }
            } else {
                update_failure(&output, mirrors, request)
            };
            let retriable = failure.retriable;
            first_failure.get_or_insert(failure.error);
            if !retriable {
                break;
            }
        }
        Err(first_failure.unwrap_or_else(|| Error::new("no suite was asked for")))
    }

    /// What the signed releases in the lists say of themselves; see [`signed_release`].
    fn check_codename(&self, suite: &str) -> Result<String> {
        let mut texts = Vec::new();
        for entry in fs::read_dir(self.dir.path().join("lists"))? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            if name.ends_with("Release") {
                texts.push(fs::read_to_string(&path).context(|| format!("cannot read {}", path.display()))?);
            }
        }
        signed_release(&texts, suite)
    }

    /// Lets apt's own resolver say what has to be installed.
    fn plan(&self, cx: &Cx, request: &Request<'_>, mirrors: &Mirrors) -> Result<Vec<Deb>> {
        let omitted: Vec<&String> = request
            .omit
            .iter()
            .filter(|name| !request.packages.contains(name))
            .collect();
        if !omitted.is_empty() {
            let shown = self
                .command(cx, "apt-cache")
                .args(["show", "--no-all-versions"])
                .args(&omitted)
                .output()?
                .text();
            self.write("status", &installed(&shown, &omitted, request.architecture))?;
        }
        let install = |mode: &str| {
            self.command(cx, "apt-get")
                .args(["install", mode, "-y", "-qq", "--no-install-recommends", "--"])
                .args(request.packages)
                .output()
        };
        let simulated = install("--simulate")?;
        if !simulated.status.success() {
            return Err(plan_failure(&simulated, request));
        }
        let chosen = simulated_installs(&simulated.text());
        // apt reads `NAME-` as a request to remove, and takes the one provider of a virtual name.
        for name in request.packages {
            if !chosen.iter().any(|(found, _)| found == name) {
                return Err(no_package(&[name], request));
            }
        }
        let uris = install("--print-uris")?;
        if !uris.status.success() {
            return Err(plan_failure(&uris, request));
        }
        let wanted: Vec<String> = chosen
            .iter()
            .map(|(name, version)| format!("{name}={version}"))
            .collect();
        let shown = self.command(cx, "apt-cache").arg("show").args(&wanted).read()?;
        let mut packages = described(&shown, &chosen, &printed_uris(&uris.text()), mirrors)?;
        packages.sort();
        Ok(packages)
    }

    /// Fetches one package by its hash; apt's helper verifies it and needs no index for that.
    fn fetch(&self, cx: &Cx, package: &Deb, mirrors: &Mirrors) -> Result<PathBuf> {
        let base = match package.archive {
            Archive::Main => &mirrors.main,
            Archive::Security => mirrors.security.as_ref().context(|| {
                format!(
                    "{} comes from the security archive, and no mirror of it is known",
                    package.name
                )
            })?,
        };
        // apt leaves `file:` where it is; `copy:` fetches it like everything else.
        let base = base
            .strip_prefix("file:")
            .map_or_else(|| base.clone(), |path| format!("copy:{path}"));
        let uri = format!("{base}/{}", package.filename);
        let target = self.dir.path().join("archives").join(&package.sha256);
        let output = self
            .command(cx, APT_HELPER)
            .args(["-o", "APT::Sandbox::User="])
            .args(["download-file", &uri])
            .arg(&target)
            .arg(format!("SHA256:{}", package.sha256))
            .output()?;
        if !output.status.success() {
            let text = complaints(&output);
            let error = Error::new(format!(
                "cannot fetch {} {} from {}: {text}",
                package.name,
                package.version,
                redact(&uri)
            ));
            return Err(
                if text.contains("404") || text.contains("not found") || text.contains("No such file") {
                    error.hint(
                        "a mirror keeps only the newest versions, and this one has moved on: \
                         `cargo xtask base update` takes those; --refresh does so for one image",
                    )
                } else {
                    error.hint("try again; --debian-mirror URL names another mirror")
                },
            );
        }
        Ok(cx.cache.put_file(&target, Some(&package.sha256))?.1)
    }
}

/// What the host's configuration says about fetching: proxies, certificates, time-outs.
fn host_acquire(cx: &Cx) -> Result<String> {
    let text = cx
        .shell
        .command("apt-config")
        .args(["dump", "Acquire"])
        .env("LC_ALL", "C")
        .read()
        .hint("the debian base is put together by apt: on Debian or Ubuntu it is always there, elsewhere install the package `apt`")?;
    Ok(without_weakness(&text))
}

/// Leaves out what would take an unsigned or weakly signed release (`Allow...`) or an unchecked certificate (`Verify-...`,
/// for one host or all). What the administrator says about dates stays, `Check-Valid-Until "false"` above all: mirrors that
/// are snapshots need it, and it means that a release which is signed but out of date is taken.
fn without_weakness(dump: &str) -> String {
    let kept = |line: &&str| {
        let name = line.split(' ').next().unwrap_or_default().to_ascii_lowercase();
        let last = name.rsplit("::").next().unwrap_or_default();
        !name.starts_with("acquire::indextargets")
            && !name.starts_with("acquire::languages")
            && !name.contains("::allow")
            && !last.starts_with("verify-")
    };
    dump.lines().filter(kept).fold(String::new(), |mut text, line| {
        text.push_str(line);
        text.push('\n');
        text
    })
}

/// Debian's public keys: the host's, or (Ubuntu, say) those of its package `debian-archive-keyring`.
pub fn keyring(cx: &Cx) -> Result<PathBuf> {
    if let Some(path) = KEYRINGS.iter().map(Path::new).find(|path| path.is_file()) {
        return Ok(path.to_owned());
    }
    let tree = crate::toolchain::debs::fetch(cx, "debian-archive-keyring", &["usr/share/keyrings"])
        .context(|| "Debian's archive keys, against which its signature is checked, are not here")
        .hint("install the package `debian-archive-keyring`")?;
    KEYRINGS
        .iter()
        .map(|path| tree.join(path.trim_start_matches('/')))
        .find(|path| path.is_file())
        .context(|| format!("no key ring in {}", tree.display()))
}

struct Failure {
    error: Error,
    /// Worth another name of the same release: the mirror is inconsistent, not untrusted or unreachable.
    retriable: bool,
}

fn update_failure(output: &Output, mirrors: &Mirrors, request: &Request<'_>) -> Failure {
    let text = complaints(output);
    let has = |needles: &[&str]| needles.iter().any(|needle| text.contains(needle));
    let error = Error::new(format!(
        "Debian {} {} from {}: {text}",
        request.suite,
        request.architecture,
        redact(&mirrors.main)
    ));
    // gpgv says the former, Sequoia the latter. A bad signature beside it is the worse news.
    if has(&["NO_PUBKEY", "Missing key"]) && !has(&["BADSIG", "Bad signature"]) {
        return Failure {
            error: error.hint(format!(
                "either the key ring of this machine is older than {}: install a newer debian-archive-keyring; \
                 or the signature of this mirror is not Debian's: name another with --debian-mirror URL",
                request.suite
            )),
            retriable: false,
        };
    }
    if has(&[
        "is not signed",
        "couldn't be verified",
        "BADSIG",
        "Bad signature",
        "NOSPLIT",
        "not valid",
        "weak",
        "Sub-process",
    ]) {
        return Failure {
            error: error.hint(
                "the signature of this mirror is not Debian's: distrust it and name another with --debian-mirror URL",
            ),
            retriable: false,
        };
    }
    if has(&["unexpected size", "Hash Sum mismatch", "Mirror sync"]) {
        return Failure {
            error: error.hint(
                "the mirror is in the middle of an update: try again later, or name another with --debian-mirror URL",
            ),
            retriable: true,
        };
    }
    Failure {
        error: error.hint("is the network there, and the mirror right? --debian-mirror URL names another"),
        retriable: false,
    }
}

fn plan_failure(output: &Output, request: &Request<'_>) -> Error {
    let text = complaints(output);
    let unknown: Vec<&str> = request
        .packages
        .iter()
        .map(String::as_str)
        .filter(|name| {
            text.contains(&format!("Unable to locate package {name}"))
                || text.contains(&format!("Package '{name}' has no installation candidate"))
                || text.contains(&format!("Couldn't find any package by glob '{name}'"))
                || text.contains(&format!("Couldn't find any package by regex '{name}'"))
        })
        .collect();
    if unknown.is_empty() {
        Error::new(format!(
            "apt cannot satisfy {} on Debian {} {}: {text}",
            request.packages.join(", "),
            request.suite,
            request.architecture
        ))
    } else {
        no_package(&unknown, request)
    }
}

fn no_package(names: &[&str], request: &Request<'_>) -> Error {
    Error::new(format!(
        "Debian {} {} has no package {}",
        request.suite,
        request.architecture,
        names.join(", ")
    ))
    .hint("is the name given with --with PACKAGE right, and the package built for this architecture?")
}

#[cfg(test)]
mod tests {
    use super::{chosen_mirror, mirrors, without_weakness};

    #[test]
    fn the_flag_wins_over_the_variable_and_an_empty_one_is_none() {
        let variable = |value: &str| Some(value.to_owned());
        assert_eq!(chosen_mirror(Some("a"), variable("b")).as_deref(), Some("a"));
        assert_eq!(chosen_mirror(None, variable("b")).as_deref(), Some("b"));
        assert_eq!(chosen_mirror(None, variable("")), None);
        assert_eq!(chosen_mirror(None, None), None);
    }

    #[test]
    fn the_hosts_settings_do_not_weaken_the_verification() {
        let kept = "Acquire \"\";\nAcquire::http::Proxy \"http://proxy.example:3128\";\n\
                    Acquire::https::CAInfo \"/etc/ca.pem\";\nAcquire::Check-Valid-Until \"false\";\n";
        let dump = format!(
            "{kept}Acquire::https::Verify-Peer \"false\";\nAcquire::https::Verify-Host \"false\";\n\
             Acquire::https::m.example::verify-peer \"false\";\nAcquire::AllowInsecureRepositories \"1\";\n\
             acquire::allowweakrepositories \"1\";\nAcquire::IndexTargets::deb \"\";\nAcquire::Languages \"en\";\n"
        );
        assert_eq!(without_weakness(&dump), kept);
    }

    #[test]
    fn a_mirror_must_be_a_url() {
        let found = mirrors(Some("http://m.example/debian/,http://m.example/sec")).unwrap();
        assert_eq!(found.main, "http://m.example/debian");
        assert_eq!(found.security.as_deref(), Some("http://m.example/sec"));
        for bad in [
            "",
            "m.example/debian",
            "http://a b",
            "ssh://x",
            "http://m.example [trusted=yes]",
        ] {
            assert!(mirrors(Some(bad)).is_err(), "{bad}");
        }
    }
}
