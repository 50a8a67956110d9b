//! What the program was told: a flag wins over the environment, which wins over the default.

use std::ffi::OsString;
use std::net::SocketAddr;

use crate::cli::Failure;
use crate::domain::Zone;
use crate::words::Preference;

/// Options given on the command line, still as typed.
#[derive(Debug, Default)]
pub struct Flags {
    pub listen: Option<OsString>,
    pub database: Option<OsString>,
    pub title: Option<OsString>,
    pub base_url: Option<OsString>,
    pub insecure_cookie: bool,
}

/// The settings in force.
#[derive(Debug, Clone)]
pub struct Settings {
    pub listen: SocketAddr,
    pub database: String,
    pub title: String,
    /// Without a slash at the end; empty when links are relative.
    pub base_url: String,
    pub secure_cookie: bool,
    /// The language of the interface.
    pub lang: Preference,
    /// What times are shown in.
    pub zone: Zone,
    pub owner_password: Option<OwnerPassword>,
}

/// The first password, from the environment. Its `Debug` shows nothing, so it cannot reach a log.
#[derive(Clone)]
pub struct OwnerPassword(pub String);

impl std::fmt::Debug for OwnerPassword {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("OwnerPassword(..)")
    }
}

/// Reads one environment variable. A parameter, so that tests need not change the process.
pub type Environment<'a> = &'a dyn Fn(&str) -> Option<OsString>;

impl Settings {
    pub fn resolve(flags: Flags, env: Environment<'_>) -> Result<Self, Failure> {
        let pick = |flag: Option<OsString>, option: &str, variable: &str, default: &str| {
            let (value, source) = match flag {
                Some(value) => (value, option),
                // A variable set to nothing counts as not set: that is how compose files unset one.
                None => match env(variable).filter(|value| !value.is_empty()) {
                    Some(value) => (value, variable),
                    None => (OsString::from(default), option),
                },
            };
            value
                .into_string()
                .map(|value| (value, source.to_owned()))
                .map_err(|_| Failure::usage(format!("{source} is not valid UTF-8"), ""))
        };

        let (listen, source) = pick(flags.listen, "--listen", "BLOG_LISTEN", "127.0.0.1:8080")?;
        let listen = listen.parse().map_err(|_| {
            Failure::usage(
                format!("{source}: `{listen}` is not an address and port"),
                "write an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080",
            )
        })?;

        let (database, _) = pick(flags.database, "--database", "BLOG_DATABASE", "./blog.db")?;
        let (title, source) = pick(flags.title, "--title", "BLOG_TITLE", "Blog")?;
        if title.trim().is_empty() || title.chars().any(char::is_control) {
            return Err(Failure::usage(
                format!("{source} is blank or has control characters"),
                "write one line of text",
            ));
        }

        let (base_url, source) = pick(flags.base_url, "--base-url", "BLOG_BASE_URL", "")?;
        let base_url = base_url.trim_end_matches('/').to_owned();
        let rest = base_url
            .strip_prefix("http://")
            .or_else(|| base_url.strip_prefix("https://"));
        let plain =
            |url: &str| !url.is_empty() && url.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>?#".contains(&b));
        if !base_url.is_empty() && !rest.is_some_and(plain) {
            return Err(Failure::usage(
                format!("{source}: `{base_url}` is not a web address"),
                "write it as in http://example.onion, without a query",
            ));
        }

        let (lang, source) = pick(None, "BLOG_LANG", "BLOG_LANG", "auto")?;
        let lang = Preference::parse(&lang).ok_or_else(|| {
            Failure::usage(
                format!("{source}: `{lang}` is not a language of the interface"),
                "write auto, en or ja",
            )
        })?;

        let (zone, source) = pick(None, "BLOG_UTC_OFFSET", "BLOG_UTC_OFFSET", "UTC")?;
        let zone = Zone::parse(&zone).ok_or_else(|| {
            Failure::usage(
                format!("{source}: `{zone}` is not a distance from UTC"),
                "write it as in +09:00, -03:30 or UTC",
            )
        })?;

        let insecure = match env("BLOG_INSECURE_COOKIE") {
            None => false,
            Some(value) => match value.to_str() {
                Some("1" | "true" | "yes" | "on") => true,
                Some("" | "0" | "false" | "no" | "off") => false,
                _ => {
                    return Err(Failure::usage(
                        "BLOG_INSECURE_COOKIE is neither 1 nor 0".to_owned(),
                        "set it to 1 to sign in over plain http, or leave it out",
                    ));
                }
            },
        };

        let owner_password = match env("BLOG_OWNER_PASSWORD").filter(|value| !value.is_empty()) {
            None => None,
            Some(value) => {
                Some(OwnerPassword(value.into_string().map_err(|_| {
                    Failure::usage("BLOG_OWNER_PASSWORD is not valid UTF-8".to_owned(), "")
                })?))
            }
        };

        Ok(Self {
            listen,
            database,
            title: title.trim().to_owned(),
            base_url,
            lang,
            zone,
            secure_cookie: !(flags.insecure_cookie || insecure),
            owner_password,
        })
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    fn with(flags: Flags, vars: &[(&str, &str)]) -> Result<Settings, Failure> {
        Settings::resolve(flags, &|name| {
            vars.iter()
                .find(|(key, _)| *key == name)
                .map(|(_, value)| OsString::from(value))
        })
    }

    #[test]
    fn flag_beats_environment_beats_default() {
        let settings = with(Flags::default(), &[]).unwrap();
        assert_eq!(settings.listen.to_string(), "127.0.0.1:8080");
        assert_eq!(settings.database, "./blog.db");
        assert!(settings.secure_cookie);

        let vars = [("BLOG_TITLE", "from env"), ("BLOG_LISTEN", "[::1]:99")];
        assert_eq!(with(Flags::default(), &vars).unwrap().title, "from env");

        let flags = Flags {
            title: Some("from flag".into()),
            ..Flags::default()
        };
        let settings = with(flags, &vars).unwrap();
        assert_eq!(settings.title, "from flag");
        assert_eq!(settings.listen.port(), 99);
    }

    #[test]
    fn a_bad_value_names_its_source() {
        let message = |vars: &[(&str, &str)]| with(Flags::default(), vars).unwrap_err().message;
        assert!(message(&[("BLOG_LISTEN", "8080")]).contains("BLOG_LISTEN"));
        assert!(message(&[("BLOG_BASE_URL", "ftp://x")]).contains("BLOG_BASE_URL"));
        assert!(message(&[("BLOG_BASE_URL", "http://x/\"><b>")]).contains("BLOG_BASE_URL"));
        assert!(message(&[("BLOG_TITLE", "a\u{1}")]).contains("BLOG_TITLE"));
        assert!(message(&[("BLOG_INSECURE_COOKIE", "maybe")]).contains("BLOG_INSECURE_COOKIE"));
    }

    #[test]
    fn the_base_url_loses_its_slash() {
        let settings = with(Flags::default(), &[("BLOG_BASE_URL", "http://x.onion/")]).unwrap();
        assert_eq!(settings.base_url, "http://x.onion");
    }

    #[test]
    fn the_password_is_not_in_debug_output() {
        let settings = with(Flags::default(), &[("BLOG_OWNER_PASSWORD", "correct horse")]).unwrap();
        assert!(!format!("{settings:?}").contains("horse"));
    }
}
