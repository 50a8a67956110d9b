//! xtask.toml: what is allowed, expected and affordable. Pure: from text to values, every unknown key refused.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::audit::accuse::Allowance;
use crate::audit::waive::{CodeWaiver, Subject};
use crate::audit::{Rule, Waiver};
use crate::target::{Base, Platform, Target};

/// The whole of xtask.toml.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Policy {
    /// What is built and put into images.
    pub image: ImagePolicy,
    /// What `cargo xtask image` makes when not told otherwise.
    pub defaults: Defaults,
    /// What a release consists of.
    pub release: ReleasePolicy,
    /// What `cargo xtask push` publishes, and where.
    pub push: PushPolicy,
    /// What the audit allows.
    pub audit: AuditPolicy,
    /// How bases are composed.
    pub base: BasePolicies,
    /// The image that compiles.
    pub builder: BuilderPolicy,
    /// The emulated Pi Zero.
    pub boot: BootPolicy,
    /// What an image of a base may weigh.
    pub budget: BTreeMap<Base, Budget>,
    /// Pinned tools.
    pub tools: BTreeMap<String, Tool>,
}

/// An entry of `[budget]`, in bytes: a number is that for the whole pull, a table names it `pull`.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct Budget {
    /// Manifest, configuration and all layers, compressed.
    pub pull: u64,
    /// The layers of the app, compressed.
    pub app: Option<u64>,
    /// The layers of the base, compressed.
    pub base: Option<u64>,
    /// Content of all files.
    pub unpacked: Option<u64>,
    /// The program's file.
    pub program: Option<u64>,
    /// What packages of the base take of the pull.
    pub packages: BTreeMap<String, u64>,
    /// What crates have in the program's file.
    pub crates: BTreeMap<String, u64>,
}

impl<'de> Deserialize<'de> for Budget {
    fn deserialize<D: serde::Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        #[derive(Deserialize)]
        #[serde(deny_unknown_fields)]
        struct Table {
            pull: u64,
            app: Option<u64>,
            base: Option<u64>,
            unpacked: Option<u64>,
            program: Option<u64>,
            #[serde(default)]
            packages: BTreeMap<String, u64>,
            #[serde(default)]
            crates: BTreeMap<String, u64>,
        }
        // Not `untagged`: its only message would be that no variant matched.
        struct Either;
        impl<'de> serde::de::Visitor<'de> for Either {
            type Value = Budget;

            fn expecting(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
                f.write_str("bytes, or a table with `pull`")
            }

            fn visit_i64<E: serde::de::Error>(self, pull: i64) -> Result<Budget, E> {
                let pull = u64::try_from(pull).map_err(|_| E::custom("a budget is not below 0"))?;
                self.visit_u64(pull)
            }

            fn visit_u64<E: serde::de::Error>(self, pull: u64) -> Result<Budget, E> {
                Ok(Budget {
                    pull,
                    ..Budget::default()
                })
            }

            fn visit_map<A: serde::de::MapAccess<'de>>(self, map: A) -> Result<Budget, A::Error> {
                let table = Table::deserialize(serde::de::value::MapAccessDeserializer::new(map))?;
                Ok(Budget {
                    pull: table.pull,
                    app: table.app,
                    base: table.base,
                    unpacked: table.unpacked,
                    program: table.program,
                    packages: table.packages,
                    crates: table.crates,
                })
            }
        }
        deserializer.deserialize_any(Either)
    }
}

/// `[image]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ImagePolicy {
    /// Cargo package that is compiled.
    pub package: String,
    /// Its binary target.
    pub binary: String,
    /// Repository name of the images, without tag.
    pub name: String,
    /// Where the binary lies in the `compile` stage of the Dockerfile.
    pub compiled: String,
    /// An empty directory there, for the volume.
    pub data: String,
    /// Path of the Dockerfile in the workspace.
    pub dockerfile: String,
    /// Stage that describes the image.
    pub stage: String,
    /// Port that the image listens on.
    pub port: u16,
    /// Another port, which is for the owner; absent when there is only one.
    #[serde(rename = "admin-port", default, skip_serializing_if = "Option::is_none")]
    pub admin_port: Option<u16>,
    /// Directory that holds the data.
    pub volume: String,
    /// Path that answers GET with success as soon as the server serves.
    pub ready: String,
}

/// `[defaults]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Defaults {
    /// `--base`.
    pub bases: Vec<Base>,
    /// `--platform`.
    pub platforms: Vec<Platform>,
    /// `--sqlite`.
    #[serde(default)]
    pub sqlite: SqliteChoice,
}

/// `--sqlite`: which SQLite the program is linked with.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(try_from = "String", into = "String")]
pub enum SqliteChoice {
    /// The source that the crate libsqlite3-sys carries along.
    #[default]
    Bundled,
    /// The static library of Debian's archive.
    System,
    /// The static library in a directory.
    Own(String),
}

impl TryFrom<String> for SqliteChoice {
    type Error = String;

    fn try_from(text: String) -> Result<Self, String> {
        text.parse()
    }
}

impl From<SqliteChoice> for String {
    fn from(choice: SqliteChoice) -> Self {
        choice.to_string()
    }
}

impl std::fmt::Display for SqliteChoice {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            SqliteChoice::Bundled => "bundled",
            SqliteChoice::System => "system",
            SqliteChoice::Own(dir) => dir,
        })
    }
}

impl std::str::FromStr for SqliteChoice {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "" => Err("expected bundled, system, or a directory".to_owned()),
            "bundled" => Ok(SqliteChoice::Bundled),
            "system" => Ok(SqliteChoice::System),
            dir => Ok(SqliteChoice::Own(dir.to_owned())),
        }
    }
}

/// `[release]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct ReleasePolicy {
    /// Bases of the images.
    pub bases: Vec<Base>,
    /// Platforms; each base has those of them that exist for it.
    pub platforms: Vec<Platform>,
}

/// `[push]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct PushPolicy {
    /// `--repository`: where images go, without a tag. Empty says nothing.
    pub repositories: Vec<String>,
    /// `--base`.
    pub bases: Vec<Base>,
    /// The base whose tags stand without its name, and which `latest` means.
    #[serde(rename = "default-base")]
    pub default_base: Base,
    /// `--platform`; what a base has no program for is left out.
    pub platforms: Vec<Platform>,
}

/// `[audit]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AuditPolicy {
    /// DT_NEEDED that a binary for a base may have; `*` stands for any run of characters.
    pub needed: BTreeMap<Base, Vec<String>>,
    /// Findings that are known to be harmless.
    #[serde(default)]
    pub waivers: Vec<TargetWaiver>,
    /// Code that a chip lacks and that is not executed there.
    #[serde(default, rename = "code-waivers")]
    pub code_waivers: Vec<CodeWaiverPolicy>,
    /// Extensions that every chip of a platform is taken to have.
    #[serde(default)]
    pub allow: Vec<AllowPolicy>,
    /// The same as `waivers` for files of bases.
    #[serde(default, rename = "base-waivers")]
    pub base_waivers: Vec<BaseWaiver>,
}

/// `[[audit.allow]]`: for the code of programs; files of bases have waivers.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct AllowPolicy {
    /// Platform that it holds for.
    pub platform: Platform,
    /// The extension, as the report words it: `registers d16 to d31`.
    pub needs: String,
    /// Why every chip that the images meet has it.
    pub reason: String,
}

/// `[[audit.code-waivers]]`: one of `crate`, `part` and `package` says whose code it is.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct CodeWaiverPolicy {
    /// Platform that it holds for.
    pub platform: Platform,
    /// A crate, by its package's name.
    #[serde(rename = "crate")]
    pub krate: Option<String>,
    /// A part of the tool chain: `musl`, `libunwind`, `compiler_rt`, `std`.
    pub part: Option<String>,
    /// A package of a base, together with `file`.
    pub package: Option<String>,
    /// Path of the file of the package, without the first `/`.
    pub file: Option<String>,
    /// The version that was looked at.
    pub version: String,
    /// Symbols of functions; `*` stands for any run of characters.
    pub symbols: Vec<String>,
    /// What keeps the code from being executed.
    pub guard: String,
    /// Why that is enough.
    pub reason: String,
}

impl CodeWaiverPolicy {
    fn waiver(&self) -> Result<CodeWaiver, String> {
        let subject = match (&self.krate, &self.part, &self.package) {
            (Some(name), None, None) => Subject::Crate(name.clone()),
            (None, Some(name), None) => Subject::Part(name.clone()),
            (None, None, Some(name)) => Subject::Package(name.clone()),
            _ => return Err("audit.code-waivers: each names one of crate, part and package".to_owned()),
        };
        if self.package.is_some() != self.file.is_some() {
            return Err("audit.code-waivers: `package` and `file` go together".to_owned());
        }
        let waiver = CodeWaiver {
            subject,
            version: self.version.clone(),
            symbols: self.symbols.clone(),
            guard: self.guard.clone(),
            reason: self.reason.clone(),
        };
        let words = [&self.version, &self.guard, &self.reason];
        if self.symbols.is_empty() || words.iter().any(|words| words.trim().is_empty()) {
            return Err(format!(
                "audit.code-waivers: the waiver of {} needs a version, symbols, a guard and a reason",
                waiver.describe()
            ));
        }
        Ok(waiver)
    }
}

/// `[[audit.base-waivers]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BaseWaiver {
    /// Platform of the image.
    pub platform: Platform,
    /// Path of the file in the image, without the first `/`.
    pub file: String,
    /// Identifier of the rule.
    pub rule: String,
    /// What is found, word for word.
    pub found: String,
    /// Why it is harmless.
    pub reason: String,
}

/// `[[audit.waivers]]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct TargetWaiver {
    /// The triple that it holds for.
    pub triple: String,
    /// Identifier of the rule.
    pub rule: String,
    /// What is found, word for word.
    pub found: String,
    /// Why it is harmless.
    pub reason: String,
}

/// `[builder]`: `--builder docker`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BuilderPolicy {
    /// `auto`, `host` or `docker`, when nothing else is said.
    pub default: BuilderChoice,
    /// Stage of the Dockerfile that is the image.
    pub stage: String,
    /// What the image below it has when it is made from Debian's archive: everything essential, and apt.
    pub packages: Vec<String>,
}

/// `--builder`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize, Deserialize, clap::ValueEnum)]
#[serde(rename_all = "lowercase")]
pub enum BuilderChoice {
    /// Docker if an engine answers that has the builder image, or has or can pull what it is made on; else the host.
    #[default]
    Auto,
    /// cargo on this machine.
    Host,
    /// A container of the builder image, which is made first if need be.
    Docker,
}

/// `[base.*]`.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BasePolicies {
    /// Days after which a build says that what docker/bases.lock names is old.
    #[serde(rename = "max-age-days")]
    pub max_age_days: u64,
    /// `[base.debian]`.
    pub debian: DebianPolicy,
    /// `[base.raspbian]`.
    pub raspbian: RaspbianPolicy,
}

/// `[base.raspbian]`: what is taken from Raspbian's archive.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RaspbianPolicy {
    /// Code name of the release.
    pub suite: String,
    /// What the base has.
    pub packages: Vec<String>,
    /// What stays out although something depends on it.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Fingerprint of the primary key that signs the archive.
    pub key: String,
    /// Take a release whose `Valid-Until` is past, with a warning.
    #[serde(default, rename = "accept-expired")]
    pub accept_expired: bool,
    /// `[base.raspbian.rebuild]`.
    pub rebuild: RebuildPolicy,
}

/// `[base.raspbian.rebuild]`: what of Debian's glibc is compiled, and with what.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct RebuildPolicy {
    /// Code name of the release of Debian that sources and tools are from.
    pub suite: String,
    /// Its other names on a mirror.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// Major version of its gcc.
    pub gcc: String,
    /// Packages with the tools, headers and gcc's source, without what they depend on.
    pub tools: Vec<String>,
    /// Libraries that the base has, besides the loader.
    pub libraries: Vec<String>,
}

impl RebuildPolicy {
    /// The package with gcc's source.
    pub fn gcc_source(&self) -> String {
        format!("gcc-{}-source", self.gcc)
    }
}

/// `[base.debian]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct DebianPolicy {
    /// Code name of the release.
    pub suite: String,
    /// Its other names on a mirror.
    #[serde(default)]
    pub aliases: Vec<String>,
    /// What every image has.
    pub packages: Vec<String>,
    /// What stays out although something depends on it.
    #[serde(default)]
    pub omit: Vec<String>,
    /// Glob patterns of paths that stay out.
    #[serde(default)]
    pub exclude: Vec<String>,
    /// Exceptions from `exclude`.
    #[serde(default)]
    pub keep: Vec<String>,
}

/// `[boot]`: what the emulated Pi Zero is made of, and how a visitor of the server behaves.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BootPolicy {
    /// Releases of Debian to take kernel and shell from; the first that works.
    pub sources: Vec<BootSource>,
    /// Packages with the kernel, its modules and device trees, and a static busybox.
    pub packages: Vec<String>,
    /// What stays out although one of them depends on it.
    #[serde(default)]
    pub omit: Vec<String>,
    /// File name of the board's device tree.
    #[serde(rename = "device-tree")]
    pub device_tree: String,
    /// Kernel modules to load, in this order, each after what it depends on.
    pub modules: Vec<String>,
    /// Size of the SD card in MiB; QEMU takes powers of two only.
    #[serde(rename = "card-mib")]
    pub card_mib: u64,
    /// What `--check` does; without it there is nothing to check.
    pub check: Option<BootCheck>,
}

/// `[[boot.sources]]`.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BootSource {
    /// Code name of the release.
    pub suite: String,
    /// Its other names on a mirror.
    #[serde(default)]
    pub aliases: Vec<String>,
}

/// `[boot.check]`: pages and forms of the server.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct BootCheck {
    /// Variable that gives the server its password.
    pub password: String,
    /// Other variables.
    #[serde(default)]
    pub env: BTreeMap<String, String>,
    /// Page whose form has the field for the password.
    #[serde(rename = "sign-in")]
    pub sign_in: String,
    /// Page whose form has the field for a text.
    pub write: String,
    /// Page that shows the text afterwards.
    pub read: String,
}

/// `[tools.*]`: a program inside a Python wheel.
#[derive(Clone, Debug, Deserialize, Serialize)]
#[serde(deny_unknown_fields)]
pub struct Tool {
    /// Name of the distribution when it differs from the table's name.
    pub distribution: Option<String>,
    /// Exact version.
    pub version: String,
    /// SHA-256 of the wheels that are accepted.
    pub sha256: Vec<String>,
    /// Path of the program inside the wheel.
    pub program: String,
}

/// A pinned tool by its name.
///
/// # Errors
/// When `[tools]` has no such table.
pub fn policy_tool<'a>(policy: &'a Policy, name: &str) -> Result<&'a Tool, String> {
    policy
        .tools
        .get(name)
        .ok_or_else(|| format!("xtask.toml pins no tool `{name}`"))
}

impl Policy {
    /// Parses xtask.toml. The error names line and key.
    pub fn parse(text: &str) -> Result<Policy, String> {
        let policy: Policy = toml::from_str(text).map_err(|error| error.to_string())?;
        for (name, tool) in &policy.tools {
            let wrong = tool
                .sha256
                .iter()
                .find(|hash| hash.len() != 64 || !hash.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f')));
            if let Some(hash) = wrong {
                return Err(format!("tools.{name}: `{hash}` is not a SHA-256 in lower-case hex"));
            }
            if tool.sha256.is_empty() {
                return Err(format!("tools.{name}: sha256 is empty: nothing could ever match"));
            }
        }
        for waiver in &policy.audit.waivers {
            if !Rule::ALL.iter().any(|rule| rule.id() == waiver.rule) {
                return Err(format!("audit.waivers: there is no rule `{}`", waiver.rule));
            }
            if Target::from_triple(&waiver.triple).is_none() {
                return Err(format!("audit.waivers: there is no triple `{}`", waiver.triple));
            }
            if waiver.reason.trim().is_empty() {
                return Err(format!(
                    "audit.waivers: the waiver of {} for {} gives no reason",
                    waiver.rule, waiver.triple
                ));
            }
        }
        for allowed in &policy.audit.allow {
            if allowed.reason.trim().is_empty() {
                return Err(format!("audit.allow: `{}` gives no reason", allowed.needs));
            }
            if allowed.platform == Platform::ArmV6 {
                return Err(format!(
                    "audit.allow: linux/arm/v6 is one chip, which does not have {}",
                    allowed.needs
                ));
            }
        }
        for waiver in &policy.audit.code_waivers {
            waiver.waiver()?;
        }
        for waiver in &policy.audit.base_waivers {
            if !Rule::ALL.iter().any(|rule| rule.id() == waiver.rule) {
                return Err(format!("audit.base-waivers: there is no rule `{}`", waiver.rule));
            }
            if waiver.reason.trim().is_empty() || waiver.file.starts_with('/') {
                return Err(format!(
                    "audit.base-waivers: the waiver of {} for {} needs a reason and a file without the first `/`",
                    waiver.rule, waiver.file
                ));
            }
        }
        if !policy.boot.card_mib.is_power_of_two() {
            return Err(format!(
                "boot.card-mib: {} is not a power of two, which QEMU wants of an SD card",
                policy.boot.card_mib
            ));
        }
        if policy.boot.sources.is_empty() {
            return Err("boot.sources: at least one release is needed".to_owned());
        }
        if policy.defaults.bases.is_empty() || policy.defaults.platforms.is_empty() {
            return Err("defaults: at least one base and one platform are needed".to_owned());
        }
        if policy.push.bases.is_empty() || policy.push.platforms.is_empty() {
            return Err("push: at least one base and one platform are needed".to_owned());
        }
        Ok(policy)
    }

    /// The waivers for a triple.
    pub fn waivers(&self, triple: &str) -> Vec<Waiver> {
        let waiver = |waiver: &TargetWaiver| Waiver {
            rule: waiver.rule.clone(),
            found: waiver.found.clone(),
            reason: waiver.reason.clone(),
        };
        self.audit
            .waivers
            .iter()
            .filter(|waiver| waiver.triple == triple)
            .map(waiver)
            .collect()
    }

    /// The waivers for code of the program on a platform.
    pub fn code_waivers(&self, platform: Platform) -> Vec<CodeWaiver> {
        self.audit
            .code_waivers
            .iter()
            .filter(|waiver| waiver.platform == platform && waiver.package.is_none())
            .filter_map(|waiver| waiver.waiver().ok())
            .collect()
    }

    /// What programs for a platform may need on top of its name.
    pub fn allowed(&self, platform: Platform) -> Vec<Allowance> {
        let allowed = self.audit.allow.iter().filter(|allowed| allowed.platform == platform);
        allowed
            .map(|allowed| Allowance {
                needs: allowed.needs.clone(),
                reason: allowed.reason.clone(),
            })
            .collect()
    }

    /// The waivers for code of a file of a base.
    pub fn base_code_waivers(&self, platform: Platform, file: &str) -> Vec<CodeWaiver> {
        self.audit
            .code_waivers
            .iter()
            .filter(|waiver| waiver.platform == platform && waiver.file.as_deref() == Some(file))
            .filter_map(|waiver| waiver.waiver().ok())
            .collect()
    }

    /// The waivers for a file of a base.
    pub fn base_waivers(&self, platform: Platform, file: &str) -> Vec<Waiver> {
        let waiver = |waiver: &BaseWaiver| Waiver {
            rule: waiver.rule.clone(),
            found: waiver.found.clone(),
            reason: waiver.reason.clone(),
        };
        let holds = |waiver: &&BaseWaiver| waiver.platform == platform && waiver.file == file;
        self.audit.base_waivers.iter().filter(holds).map(waiver).collect()
    }

    /// DT_NEEDED allowed on `base`.
    pub fn needed(&self, base: Base) -> &[String] {
        self.audit.needed.get(&base).map_or(&[], Vec::as_slice)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str = include_str!("../../xtask.toml");

    #[test]
    fn the_policy_of_this_repository_is_sound() {
        let policy = Policy::parse(TEXT).unwrap();
        for base in Base::ALL {
            assert!(policy.budget.contains_key(&base), "no budget for {base}");
            assert!(
                policy.audit.needed.contains_key(&base),
                "no DT_NEEDED policy for {base}"
            );
        }
        assert!(
            policy.needed(Base::Scratch).is_empty() && policy.needed(Base::Alpine).is_empty(),
            "the program of a scratch image, and so that of an alpine image, needs no library"
        );
    }

    #[test]
    fn a_budget_is_a_number_or_a_table() {
        let with = |budget: &str| {
            let budget_of_scratch = |line: &str| {
                line.strip_prefix("scratch = ")
                    .is_some_and(|rest| rest.starts_with(|c: char| c.is_ascii_digit()))
            };
            let text = TEXT.lines().filter(|line| !budget_of_scratch(line));
            let text: Vec<&str> = text.collect();
            Policy::parse(
                &text
                    .join("\n")
                    .replace("[budget]", &format!("[budget]\nscratch = {budget}")),
            )
        };
        let budget = |text| with(text).map(|policy| policy.budget[&Base::Scratch].clone());
        assert_eq!(budget("5").map(|budget| (budget.pull, budget.app)), Ok((5, None)));
        let table = budget("{ pull = 5, app = 4, crates = { diesel = 3 } }").unwrap();
        assert_eq!((table.pull, table.app, table.crates["diesel"]), (5, Some(4), 3));
        for (wrong, why) in [
            ("-1", "not below 0"),
            ("\"5\"", "a table with `pull`"),
            ("{ app = 5 }", "missing field `pull`"),
            ("{ pull = 5, aps = 5 }", "unknown field `aps`"),
        ] {
            let error = with(wrong).unwrap_err();
            assert!(error.contains(why), "{wrong}: {error}");
        }
    }

    #[test]
    fn a_waiver_for_code_says_whose_which_and_why() {
        let parse = |waiver: &str| {
            Policy::parse(&format!(
                "{TEXT}\n[[audit.code-waivers]]\nplatform = 'linux/arm/v6'\nreason = 'r'\n{waiver}\n"
            ))
        };
        let policy = parse("crate = 'ring'\nversion = '0.17.14'\nsymbols = ['*_neon']\nguard = 'AT_HWCAP'").unwrap();
        assert_eq!(policy.code_waivers(Platform::ArmV6).len(), 1);
        assert!(policy.code_waivers(Platform::ArmV7).is_empty());
        for (waiver, problem) in [
            ("version = '1'\nsymbols = ['a']\nguard = 'g'", "one of"),
            (
                "crate = 'a'\npart = 'b'\nversion = '1'\nsymbols = ['a']\nguard = 'g'",
                "one of",
            ),
            (
                "package = 'libc6'\nversion = '1'\nsymbols = ['a']\nguard = 'g'",
                "go together",
            ),
            ("crate = 'a'\nversion = ''\nsymbols = ['a']\nguard = 'g'", "version"),
            ("crate = 'a'\nversion = '1'\nsymbols = []\nguard = 'g'", "symbols"),
            ("crate = 'a'\nversion = '1'\nsymbols = ['a']", "guard"),
        ] {
            let error = parse(waiver).unwrap_err();
            assert!(error.contains(problem), "{waiver}: {error}");
        }
    }

    #[test]
    fn a_key_that_nobody_reads_is_refused() {
        let error = Policy::parse(&format!(
            "{TEXT}\n[tools.x]\nversion='1'\nsha256=['{}']\nprogram='p'\ncolour='red'\n",
            "0".repeat(64)
        ));
        assert!(error.is_err_and(|message| message.contains("colour")));
    }

    #[test]
    fn a_card_that_qemu_would_refuse_is_refused_here() {
        let error = Policy::parse(&TEXT.replace("card-mib = 256", "card-mib = 100"));
        assert!(error.is_err_and(|message| message.contains("power of two")));
    }
}
