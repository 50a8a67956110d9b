//! The image configuration that a Dockerfile's final stage describes.

use std::collections::{BTreeMap, BTreeSet};

/// What the stage changes in the configuration of its base.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct ConfigEdits {
    /// `ENV`, in the order of the file, each name once.
    pub env: Vec<(String, String)>,
    /// `LABEL`.
    pub labels: BTreeMap<String, String>,
    /// `USER`.
    pub user: Option<String>,
    /// `WORKDIR`, absolute and without `.` and `..`.
    pub working_dir: Option<String>,
    /// `EXPOSE`: `8080/tcp`.
    pub exposed_ports: BTreeSet<String>,
    /// `VOLUME`.
    pub volumes: BTreeSet<String>,
    /// `HEALTHCHECK`.
    pub healthcheck: Option<Healthcheck>,
    /// `STOPSIGNAL`: `SIGTERM` or a number.
    pub stop_signal: Option<String>,
    /// `ENTRYPOINT`; an empty one takes the base's away.
    pub entrypoint: Option<Vec<String>>,
    /// `CMD`; an empty one takes the base's away, which `ENTRYPOINT` does by itself.
    pub cmd: Option<Vec<String>>,
}

/// `HEALTHCHECK`: Docker's extension of the configuration. Times are in nanoseconds, as Docker stores them.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Healthcheck {
    /// `["CMD", ...]`, `["CMD-SHELL", text]` or `["NONE"]`.
    pub test: Vec<String>,
    /// `--interval`.
    pub interval: Option<u64>,
    /// `--timeout`.
    pub timeout: Option<u64>,
    /// `--start-period`.
    pub start_period: Option<u64>,
    /// `--start-interval`.
    pub start_interval: Option<u64>,
    /// `--retries`.
    pub retries: Option<u32>,
}

/// `1m30s`, `1.5h`, `300ms` (Go's `time.ParseDuration`) in nanoseconds; at least a millisecond, as Docker wants it.
pub(super) fn duration(text: &str) -> Result<u64, String> {
    let wrong = || format!("`{text}` is not a duration such as `30s`, `1m30s` or `500ms`");
    let mut rest = text;
    let mut total: f64 = 0.0;
    while !rest.is_empty() {
        let digits = rest
            .find(|c: char| !c.is_ascii_digit() && c != '.')
            .filter(|at| *at > 0)
            .ok_or_else(wrong)?;
        let value: f64 = rest[..digits].parse().map_err(|_| wrong())?;
        rest = &rest[digits..];
        let end = rest
            .find(|c: char| c.is_ascii_digit() || c == '.')
            .unwrap_or(rest.len());
        let unit = match &rest[..end] {
            "ns" => 1.0,
            "us" | "µs" | "μs" => 1e3,
            "ms" => 1e6,
            "s" => 1e9,
            "m" => 60e9,
            "h" => 3600e9,
            _ => return Err(wrong()),
        };
        rest = &rest[end..];
        total += value * unit;
    }
    if !(1e6..9e18).contains(&total) {
        return Err(format!(
            "the duration `{text}` must be at least 1ms and less than 285 years"
        ));
    }
    Ok(total.round() as u64)
}

/// `8080`, `53/udp`, `8000-8010/tcp` as the keys of `ExposedPorts`.
pub(super) fn ports(text: &str) -> Result<Vec<String>, String> {
    let wrong = || format!("`{text}` is not a port: expected PORT[-PORT][/tcp|udp|sctp] with ports from 1 to 65535");
    let (range, protocol) = text.split_once('/').unwrap_or((text, "tcp"));
    let protocol = protocol.to_ascii_lowercase();
    if !["tcp", "udp", "sctp"].contains(&protocol.as_str()) {
        return Err(wrong());
    }
    let (first, last) = range.split_once('-').unwrap_or((range, range));
    let port = |text: &str| match text.parse::<u16>() {
        Ok(port) if port > 0 && text.bytes().all(|byte| byte.is_ascii_digit()) => Ok(port),
        _ => Err(wrong()),
    };
    let (first, last) = (port(first)?, port(last)?);
    if first > last {
        return Err(wrong());
    }
    Ok((first..=last).map(|port| format!("{port}/{protocol}")).collect())
}

/// A signal by name or number.
pub(super) fn signal(text: &str) -> Result<String, String> {
    const NAMES: [&str; 31] = [
        "HUP", "INT", "QUIT", "ILL", "TRAP", "ABRT", "BUS", "FPE", "KILL", "USR1", "SEGV", "USR2", "PIPE", "ALRM",
        "TERM", "STKFLT", "CHLD", "CONT", "STOP", "TSTP", "TTIN", "TTOU", "URG", "XCPU", "XFSZ", "VTALRM", "PROF",
        "WINCH", "IO", "PWR", "SYS",
    ];
    let name = text.strip_prefix("SIG").unwrap_or(text);
    let real_time = |prefix| {
        let rest = name.strip_prefix(prefix)?;
        rest.is_empty()
            .then_some(0)
            .or_else(|| rest.strip_prefix(['+', '-'])?.parse::<u8>().ok())
            .filter(|number| *number <= 15)
    };
    let number = text.parse::<u8>().is_ok_and(|number| (1..=64).contains(&number));
    if number || NAMES.contains(&name) || real_time("RTMIN").is_some() || real_time("RTMAX").is_some() {
        return Ok(text.to_owned());
    }
    Err(format!(
        "`{text}` is not a signal: expected a name such as SIGTERM or a number from 1 to 64"
    ))
}

/// `UID[:GID]`; one number is both, as in Docker.
pub(super) fn owner(text: &str) -> Result<(u64, u64), String> {
    let (user, group) = text.split_once(':').unwrap_or((text, text));
    let id = |text: &str| {
        text.parse::<u32>().map(u64::from).ok().filter(|_| text.bytes().all(|byte| byte.is_ascii_digit())).ok_or_else(|| {
            format!("--chown: `{text}` is not a number from 0 to 4294967295 (names are not taken: bases differ in what they mean)")
        })
    };
    Ok((id(user)?, id(group)?))
}

/// `0755`: octal digits only.
pub(super) fn mode(text: &str) -> Result<u32, String> {
    let octal = (1..=5).contains(&text.len()) && text.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    octal
        .then(|| u32::from_str_radix(text, 8).ok())
        .flatten()
        .filter(|mode| *mode <= 0o7777)
        .ok_or_else(|| format!("--chmod: `{text}` is not an octal mode such as 0755"))
}

/// `path` seen from `dir`, absolute, without `.`, `..` and empty components.
pub(super) fn join(dir: &str, path: &str) -> String {
    let from = if path.starts_with('/') { "" } else { dir };
    let mut parts: Vec<&str> = Vec::new();
    for part in from.split('/').chain(path.split('/')) {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop();
            }
            part => parts.push(part),
        }
    }
    format!("/{}", parts.join("/"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_gos() {
        assert_eq!(duration("30s"), Ok(30_000_000_000));
        assert_eq!(duration("1m30s"), Ok(90_000_000_000));
        assert_eq!(duration("1.5h"), Ok(5_400_000_000_000));
        assert_eq!(duration("500ms"), Ok(500_000_000));
        for wrong in [
            "",
            "30",
            "s",
            "0s",
            "-1s",
            "1x",
            "1ns",
            "1..2s",
            "1s2",
            "99999999999h",
            "µ",
        ] {
            assert!(duration(wrong).is_err(), "{wrong}");
        }
    }

    #[test]
    fn ports_signals_owners_and_modes_are_checked() {
        assert_eq!(ports("8080"), Ok(vec!["8080/tcp".to_owned()]));
        assert_eq!(ports("53/UDP"), Ok(vec!["53/udp".to_owned()]));
        assert_eq!(ports("1-3").map(|ports| ports.len()), Ok(3));
        for wrong in ["", "0", "65536", "+1", "3-1", "80/http", "80/", "a", "1-", "-1"] {
            assert!(ports(wrong).is_err(), "{wrong}");
        }
        for fine in ["SIGTERM", "TERM", "9", "SIGRTMIN+3", "64"] {
            assert!(signal(fine).is_ok(), "{fine}");
        }
        for wrong in ["", "SIG", "0", "65", "sigterm", "SIGRTMIN+99", "SIGRTMINx"] {
            assert!(signal(wrong).is_err(), "{wrong}");
        }
        assert_eq!(owner("65532"), Ok((65532, 65532)));
        assert_eq!(owner("1:2"), Ok((1, 2)));
        for wrong in ["", "root", "1:", ":1", "1:2:3", "-1", "+1", "4294967296"] {
            assert!(owner(wrong).is_err(), "{wrong}");
        }
        assert_eq!(mode("0755"), Ok(0o755));
        assert_eq!(mode("04755"), Ok(0o4755));
        for wrong in ["", "0888", "u+x", "77777", "755 ", "0o755"] {
            assert!(mode(wrong).is_err(), "{wrong}");
        }
        assert_eq!(join("/data", "x/../y/"), "/data/y");
        assert_eq!(join("/data", "/../.."), "/");
    }
}
