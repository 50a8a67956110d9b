//! What the program was told: a flag wins over the environment, which wins over the file, which wins over the default.
//!
//! [`TABLE`] is the one list of settings. Flags, variables, keys of the file, `--help`, `blog config` and the table in
//! README.md follow from it.

use std::ffi::OsString;
use std::path::PathBuf;
use std::time::Duration;

use crate::auth::password::Cost;
use crate::cli::Failure;
use crate::domain::Zone;
use crate::listen::{Audience, Listen};
use crate::media::Store;
use crate::words::Preference;

pub mod file;
mod table;
mod value;

pub use table::TABLE;

/// One setting: how it is called, what it may be, and where it goes.
#[derive(Debug)]
pub struct Setting {
    /// The key in the file; `--key` is the flag, `BLOG_KEY` (upper case, `_` for `-`) the variable.
    pub key: &'static str,
    /// What its value is called in `--help`.
    pub value: &'static str,
    /// As it would be typed; empty for none.
    pub default: &'static str,
    /// What the image sets; empty where that is the default.
    pub image: &'static str,
    pub meaning: &'static str,
    /// Given as a flag, it needs no value.
    pub is_switch: bool,
    /// Secrets are no flags: everybody on the machine sees the arguments of a process.
    pub is_flag: bool,
    /// Takes the value in, or says what is wrong with it.
    set: fn(&mut Settings, &str) -> Result<(), Problem>,
}

impl Setting {
    pub fn of_flag(name: &str) -> Option<&'static Self> {
        TABLE.iter().find(|setting| setting.is_flag && setting.key == name)
    }

    /// The environment variable.
    pub fn variable(&self) -> String {
        format!("BLOG_{}", self.key.to_ascii_uppercase().replace('-', "_"))
    }
}

/// What is wrong with a value, without its source, and how it should look.
#[derive(Debug)]
pub struct Problem {
    message: String,
    hint: &'static str,
}

/// What was given on the command line, as typed.
#[derive(Debug, Default)]
pub struct Given {
    /// `--config`.
    pub config: Option<OsString>,
    pub flags: Vec<(&'static Setting, OsString)>,
}

/// Where a value comes from.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Source {
    Default,
    /// File and line.
    File(String, usize),
    Variable(String),
    Flag(&'static str),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Default => f.write_str("default"),
            Self::File(path, line) => write!(f, "{path}:{line}"),
            Self::Variable(name) => f.write_str(name),
            Self::Flag(key) => write!(f, "--{key}"),
        }
    }
}

/// A value in force, as it was typed.
#[derive(Debug, Clone)]
pub struct InForce {
    pub setting: &'static Setting,
    /// Of a secret only whether there is one.
    pub shown: String,
    pub source: Source,
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    /// For readers.
    pub listen: Listen,
    /// For the owner. Equal to `listen`, it is one listener for everybody.
    pub admin_listen: Listen,
    /// Of sockets in the file system.
    pub socket_mode: u32,
    /// Names that the blog answers to, besides those in its addresses.
    pub hosts: Vec<String>,
    pub database: String,
    pub media: Media,
    pub title: String,
    /// Without a slash at the end; empty when links are relative.
    pub base_url: String,
    /// As `base_url`, for the owner's listener.
    pub admin_url: String,
    pub secure_cookie: bool,
    /// The language of the interface.
    pub lang: Preference,
    /// What times are shown in.
    pub zone: Zone,
    pub owner_password: Option<OwnerPassword>,
    /// Of hashes that are made from now on.
    pub password_cost: Cost,
    pub limits: Limits,
    /// Whether each answer gets a line in the log.
    pub log_requests: bool,
    pub backup: BackupSettings,
    /// Every setting with its source, in the order of [`TABLE`].
    pub in_force: Vec<InForce>,
    /// Variables that look like settings and are none.
    pub unknown_variables: Vec<String>,
}

/// Backups that the running blog makes by itself.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BackupSettings {
    /// Where to; `None`: it makes none.
    pub to: Option<PathBuf>,
    pub every: Duration,
    /// How many are kept.
    pub keep: usize,
}

/// Bounds that keep the server within one core and 512 MB.
#[derive(Debug, Clone, Copy)]
pub struct Limits {
    /// Threads that answer requests.
    pub workers: usize,
    /// Connections at once.
    pub connections: usize,
    /// Threads for the database and for passwords.
    pub blocking_threads: usize,
    /// For the head of a request to arrive.
    pub header_time: Duration,
    /// For the body of a request to arrive, and for a reader to take some of an answer.
    pub body_time: Duration,
    /// Until an idle connection is closed.
    pub keep_alive: Duration,
    /// For requests that are being answered when the server is asked to stop.
    pub stop_time: Duration,
    /// Largest form, in bytes.
    pub form_bytes: usize,
}

/// Where images lie, and what is too much.
#[derive(Debug, Clone)]
pub struct Media {
    pub directory: PathBuf,
    pub limits: crate::media::Limits,
}

impl Media {
    /// Makes the directory when it is not there.
    pub fn open(&self) -> Result<Store, Failure> {
        Store::open(&self.directory, self.limits)
    }
}

/// The first password. Its `Debug` shows nothing, so it cannot reach a log.
#[derive(Clone)]
pub struct OwnerPassword(pub String);

impl std::fmt::Debug for OwnerPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerPassword(..)")
    }
}

/// Variables with their values. A parameter, so that tests need not change the process.
pub type Environment = Vec<(String, OsString)>;

/// The variables of this process that begin with `BLOG_`.
pub fn environment() -> Environment {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value)))
        .filter(|(name, _)| name.starts_with("BLOG_"))
        .collect()
}

impl Settings {
    /// Decides what is in force.
    ///
    /// # Errors
    /// A value that is not valid, with its source; a file that cannot be read, with the line; an unknown key in it.
    pub fn resolve(given: &Given, environment: &Environment) -> Result<Self, Failure> {
        // A variable set to nothing counts as not set: that is how compose files unset one.
        let variable = |name: &str| {
            let found = environment.iter().find(|(key, _)| key == name);
            found.map(|(_, value)| value).filter(|value| !value.is_empty())
        };
        let path = given.config.as_ref().or_else(|| variable("BLOG_CONFIG"));
        let lines = match path {
            Some(path) => file::read(&PathBuf::from(path))?,
            None => Vec::new(),
        };

        let mut settings = Self::blank();
        for setting in TABLE {
            let name = setting.variable();
            let flag = given.flags.iter().rev().find(|(flag, _)| flag.key == setting.key);
            let line = lines.iter().find(|line| line.key == setting.key);
            let (typed, source) = if let Some((flag, value)) = flag {
                (text(value, &format!("--{}", flag.key))?, Source::Flag(flag.key))
            } else if let Some(value) = variable(&name) {
                (text(value, &name)?, Source::Variable(name))
            } else if let Some(line) = line {
                (line.value.clone(), Source::File(line.path.clone(), line.number))
            } else {
                (setting.default.to_owned(), Source::Default)
            };
            (setting.set)(&mut settings, &typed)
                .map_err(|problem| Failure::usage(format!("{source}: {}", problem.message), problem.hint))?;
            let shown = match (setting.is_flag, typed.is_empty()) {
                (true, _) => typed,
                (false, true) => "(not set)".to_owned(),
                (false, false) => "(set)".to_owned(),
            };
            settings.in_force.push(InForce { setting, shown, source });
        }
        if settings.media.directory.as_os_str().is_empty() {
            settings.media.directory = Store::beside(&settings.database);
        }
        if settings.listeners().all(|(_, listen, _)| *listen == Listen::Off) {
            return Err(Failure::usage(
                "listen and admin-listen are both off: nothing would be served".to_owned(),
                "give one of them an address",
            ));
        }
        settings.unknown_variables = environment
            .iter()
            .map(|(name, _)| name)
            .filter(|name| *name != "BLOG_CONFIG" && TABLE.iter().all(|setting| setting.variable() != **name))
            .cloned()
            .collect();
        Ok(settings)
    }

    /// Where to listen, for whom, and the setting that says so.
    pub fn listeners(&self) -> impl Iterator<Item = (&'static str, &Listen, Audience)> {
        let same = self.listen == self.admin_listen;
        let readers = (!same).then_some(("listen", &self.listen, Audience::Readers));
        let key = if same { "listen" } else { "admin-listen" };
        readers
            .into_iter()
            .chain([(key, &self.admin_listen, Audience::Everybody)])
    }

    /// Before the table has filled it in; every field is set by its row, as a test checks.
    fn blank() -> Self {
        let zero = Duration::ZERO;
        Self {
            listen: Listen::Off,
            admin_listen: Listen::Off,
            socket_mode: 0,
            hosts: Vec::new(),
            database: String::new(),
            media: Media {
                directory: PathBuf::new(),
                limits: crate::media::Limits { bytes: 0, pixels: 0 },
            },
            title: String::new(),
            base_url: String::new(),
            admin_url: String::new(),
            secure_cookie: true,
            lang: Preference::default(),
            zone: Zone::default(),
            owner_password: None,
            password_cost: Cost { memory: 1, passes: 1 },
            limits: Limits {
                workers: 0,
                connections: 0,
                blocking_threads: 0,
                header_time: zero,
                body_time: zero,
                keep_alive: zero,
                stop_time: zero,
                form_bytes: 0,
            },
            log_requests: true,
            backup: BackupSettings {
                to: None,
                every: zero,
                keep: 1,
            },
            in_force: Vec::new(),
            unknown_variables: Vec::new(),
        }
    }
}

fn text(value: &OsString, source: &str) -> Result<String, Failure> {
    let valid = value.to_str().map(ToOwned::to_owned);
    valid.ok_or_else(|| Failure::usage(format!("{source} is not valid UTF-8"), ""))
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(flags: &[(&str, &str)], vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        let given = Given {
            config: None,
            flags: flags
                .iter()
                .map(|(key, value)| (Setting::of_flag(key).unwrap(), value.into()))
                .collect(),
        };
        let vars = vars.iter().map(|(key, value)| ((*key).to_owned(), value.into()));
        Settings::resolve(&given, &vars.collect())
    }

    #[test]
    fn flag_beats_environment_beats_file_beats_default() {
        let settings = with(&[], &[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.listeners().count(), 2);
        assert_eq!(settings.database, "./blog.db");
        assert_eq!(settings.media.directory, PathBuf::from("./blog.db.media"));
        assert_eq!(
            with(&[("media", "/x")], &[]).unwrap().media.directory,
            PathBuf::from("/x")
        );
        assert!(settings.secure_cookie);

        let directory = tempfile::tempdir().unwrap();
        let path = directory.path().join("blog.conf");
        std::fs::write(
            &path,
            "# the blog\n\ntitle = \"from file\"\nlisten = [::1]:98\nworkers = 2\n",
        )
        .unwrap();
        let config = ("BLOG_CONFIG", path.to_str().unwrap());
        let settings = with(&[], &[config]).unwrap();
        assert_eq!(
            (settings.title.as_str(), settings.listen.to_string()),
            ("from file", "[::1]:98".to_owned())
        );
        assert_eq!(settings.limits.workers, 2);

        let vars = [config, ("BLOG_TITLE", "from env"), ("BLOG_LISTEN", "[::1]:99")];
        assert_eq!(with(&[], &vars).unwrap().title, "from env");
        let settings = with(&[("title", "from flag")], &vars).unwrap();
        assert_eq!(
            (settings.title.as_str(), settings.listen.to_string()),
            ("from flag", "[::1]:99".to_owned())
        );
        let source = |key: &str| {
            let found = settings.in_force.iter().find(|value| value.setting.key == key);
            found.unwrap().source.to_string()
        };
        assert_eq!(source("title"), "--title");
        assert_eq!(source("listen"), "BLOG_LISTEN");
        assert_eq!(source("workers"), format!("{}:5", path.display()));
        assert_eq!(source("database"), "default");
    }

    #[test]
    fn a_bad_value_names_its_source() {
        for (name, value) in [
            ("BLOG_LISTEN", "8080"),
            ("BLOG_ADMIN_LISTEN", "unix:relative"),
            ("BLOG_HOSTS", "http://x"),
            ("BLOG_SOCKET_MODE", "9"),
            ("BLOG_BASE_URL", "ftp://x"),
            ("BLOG_BASE_URL", "http://x/\"><b>"),
            ("BLOG_TITLE", "a\u{1}"),
            ("BLOG_INSECURE_COOKIE", "maybe"),
            ("BLOG_WORKERS", "0"),
            ("BLOG_FORM_BYTES", "lots"),
            ("BLOG_BODY_TIME", "-1"),
        ] {
            let failure = with(&[], &[(name, value)]).unwrap_err();
            assert!(
                failure.message.contains(name) && !failure.hint.is_empty(),
                "{failure:?}"
            );
            assert_eq!(failure.code, 2);
        }
    }

    #[test]
    fn listeners_by_audience() {
        let listeners = |listen, admin| {
            with(&[("listen", listen), ("admin-listen", admin)], &[]).map(|settings| {
                let all = settings.listeners();
                all.map(|(_, listen, audience)| (listen.to_string(), audience))
                    .collect::<Vec<_>>()
            })
        };
        assert_eq!(
            listeners("127.0.0.1:0", "127.0.0.1:0").unwrap(),
            [("127.0.0.1:0".to_owned(), Audience::Everybody)]
        );
        assert_eq!(
            listeners("off", "unix:/run/blog/admin").unwrap()[1],
            ("unix:/run/blog/admin".to_owned(), Audience::Everybody)
        );
        assert_eq!(
            listeners("[::1]:80", "off").unwrap()[0],
            ("[::1]:80".to_owned(), Audience::Readers)
        );
        assert!(listeners("off", "off").is_err());
    }

    #[test]
    fn a_variable_that_is_no_setting_is_told() {
        let settings = with(&[], &[("BLOG_TITEL", "x"), ("BLOG_TITLE", "")]).unwrap();
        assert_eq!(settings.unknown_variables, ["BLOG_TITEL"]);
        assert_eq!(settings.title, "Blog");
    }

    #[test]
    fn the_base_url_loses_its_slash() {
        let settings = with(&[], &[("BLOG_BASE_URL", "http://x.onion/")]).unwrap();
        assert_eq!(settings.base_url, "http://x.onion");
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        let settings = with(&[], &[("BLOG_OWNER_PASSWORD", "correct horse")]).unwrap();
        assert!(!format!("{settings:?}").contains("horse"));
        assert_eq!(settings.owner_password.unwrap().0, "correct horse");
    }

    #[test]
    fn keys_are_unique_and_defaults_are_valid() {
        for (at, setting) in TABLE.iter().enumerate() {
            assert!(
                TABLE[..at].iter().all(|other| other.key != setting.key),
                "{}",
                setting.key
            );
            assert!(
                setting.image.is_empty() || (setting.set)(&mut Settings::blank(), setting.image).is_ok(),
                "{}",
                setting.key
            );
        }
        let limits = with(&[], &[]).unwrap().limits;
        assert!(limits.workers > 0 && limits.connections > 0 && limits.blocking_threads > 0 && limits.form_bytes > 0);
        assert_eq!(with(&[], &[]).unwrap().media.limits, crate::media::Limits::default());
        assert!(!limits.header_time.is_zero() && !limits.body_time.is_zero());
        assert!(!limits.keep_alive.is_zero() && !limits.stop_time.is_zero());
    }
}
