//! Values of settings: text in, a checked value out.

use std::path::PathBuf;
use std::time::Duration;

use super::Problem;
use crate::auth::password::Cost;
use crate::domain::Zone;
use crate::listen::Listen;
use crate::words::Preference;

fn wrong<T>(message: String, hint: &'static str) -> Result<T, Problem> {
    Err(Problem { message, hint })
}

/// `ADDR:PORT`, `unix:PATH` or `off`.
pub fn listen(text: &str) -> Result<Listen, Problem> {
    if text == "off" {
        return Ok(Listen::Off);
    }
    if let Some(path) = text.strip_prefix("unix:") {
        // The kernel keeps the path in 108 bytes with a zero behind it.
        if path.starts_with('/') && path.len() < 108 {
            return Ok(Listen::Unix(PathBuf::from(path)));
        }
        return wrong(
            format!("`{path}` is not the path of a socket"),
            "write an absolute path of at most 107 bytes, as in unix:/run/blog/admin.sock",
        );
    }
    text.parse().map(Listen::Tcp).or_else(|_| {
        wrong(
            format!("`{text}` is not an address and port"),
            "write an IP address and a port, as in 127.0.0.1:8080 or [::1]:8080; or unix:PATH; or off",
        )
    })
}

/// `19M:2`.
pub fn cost(text: &str) -> Result<Cost, Problem> {
    Cost::parse(text).map_or_else(
        || {
            wrong(
                format!("`{text}` is not the cost of a password"),
                "write memory and passes, as in 19M:2 or 7M:5; `blog doctor` says how long it takes here",
            )
        },
        Ok,
    )
}

/// Permissions in octal.
pub fn mode(text: &str) -> Result<u32, Problem> {
    match u32::from_str_radix(text, 8) {
        Ok(mode @ 0..=0o777) => Ok(mode),
        _ => wrong(
            format!("`{text}` are no permissions"),
            "write three octal digits, as in 660",
        ),
    }
}

/// Names separated by commas.
pub fn hosts(text: &str) -> Result<Vec<String>, Problem> {
    let names = text.split(',').map(str::trim).filter(|name| !name.is_empty());
    names
        .map(|name| {
            let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._".contains(&byte);
            if name.bytes().all(plain) {
                return Ok(name.to_owned());
            }
            wrong(
                format!("`{name}` is not a name of a host"),
                "write names without ports, separated by commas",
            )
        })
        .collect()
}

pub fn title(text: &str) -> Result<String, Problem> {
    if text.trim().is_empty() || text.chars().any(char::is_control) {
        return wrong(
            "it is blank or has control characters".to_owned(),
            "write one line of text",
        );
    }
    Ok(text.trim().to_owned())
}

/// A web address without a slash at the end, or nothing.
pub fn url(text: &str) -> Result<String, Problem> {
    let url = text.trim_end_matches('/').to_owned();
    let rest = url.strip_prefix("http://").or_else(|| url.strip_prefix("https://"));
    let plain = |url: &str| !url.is_empty() && url.bytes().all(|b| b.is_ascii_graphic() && !b"\"'<>?#".contains(&b));
    if !url.is_empty() && !rest.is_some_and(plain) {
        return wrong(
            format!("`{url}` is not a web address"),
            "write it as in http://example.onion, without a query",
        );
    }
    Ok(url)
}

pub fn lang(text: &str) -> Result<Preference, Problem> {
    let language = Preference::parse(text);
    language.map_or_else(
        || {
            wrong(
                format!("`{text}` is not a language of the interface"),
                "write auto, en or ja",
            )
        },
        Ok,
    )
}

pub fn zone(text: &str) -> Result<Zone, Problem> {
    let zone = Zone::parse(text);
    zone.map_or_else(
        || {
            wrong(
                format!("`{text}` is not a distance from UTC"),
                "write it as in +09:00, -03:30 or UTC",
            )
        },
        Ok,
    )
}

/// Whether each answer gets a line in the log.
pub fn log(text: &str) -> Result<bool, Problem> {
    match text {
        "requests" => Ok(true),
        "events" => Ok(false),
        _ => wrong(format!("`{text}` is no kind of log"), "write requests or events"),
    }
}

pub fn yes_or_no(text: &str) -> Result<bool, Problem> {
    match text {
        "1" | "true" | "yes" | "on" => Ok(true),
        "" | "0" | "false" | "no" | "off" => Ok(false),
        _ => wrong(format!("`{text}` is neither 1 nor 0"), "write 1 for yes, 0 for no"),
    }
}

pub fn number(text: &str, least: usize, most: usize) -> Result<usize, Problem> {
    match text.parse::<usize>() {
        Ok(number) if (least..=most).contains(&number) => Ok(number),
        _ => wrong(
            format!("`{text}` is not a number from {least} to {most}"),
            "write it in digits alone",
        ),
    }
}

pub fn seconds(text: &str) -> Result<Duration, Problem> {
    match text.parse::<u64>() {
        Ok(seconds @ 1..=3600) => Ok(Duration::from_secs(seconds)),
        _ => wrong(
            format!("`{text}` is not a number of seconds from 1 to 3600"),
            "write it in digits alone",
        ),
    }
}

/// `90m`, `24h` or `7d`: from a minute to a year.
pub fn span(text: &str) -> Result<Duration, Problem> {
    let unit = match text.as_bytes().last() {
        Some(b'm') => 60,
        Some(b'h') => 3600,
        Some(b'd') => 86_400,
        _ => 0,
    };
    let digits = text.get(..text.len().saturating_sub(1)).unwrap_or_default();
    let seconds = digits.parse::<u64>().ok().and_then(|number| number.checked_mul(unit));
    match seconds {
        Some(seconds @ 60..=31_536_000) => Ok(Duration::from_secs(seconds)),
        _ => wrong(
            format!("`{text}` is not a time from 1m to 365d"),
            "write it as in 90m, 24h or 7d",
        ),
    }
}

/// `262144`, `256K` or `1M`, in powers of two.
pub fn bytes(text: &str, least: usize, most: usize) -> Result<usize, Problem> {
    let (digits, unit) = match text.as_bytes().last() {
        Some(b'K' | b'k') => (&text[..text.len() - 1], 1 << 10),
        Some(b'M' | b'm') => (&text[..text.len() - 1], 1 << 20),
        _ => (text, 1),
    };
    let value = digits.parse::<usize>().ok().and_then(|value| value.checked_mul(unit));
    match value {
        Some(value) if (least..=most).contains(&value) => Ok(value),
        _ => wrong(
            format!("`{text}` is not a number of bytes from {least} to {most}"),
            "write it as in 262144, 256K or 1M",
        ),
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;

    #[test]
    fn spans() {
        assert_eq!(span("90m").unwrap().as_secs(), 5400);
        assert_eq!(span("24h").unwrap().as_secs(), 86_400);
        assert_eq!(span("7d").unwrap().as_secs(), 604_800);
        for bad in ["", "7", "h", "0h", "-1h", "366d", "1é", "99999999999999999999d", "1.5h"] {
            span(bad).unwrap_err();
        }
    }

    #[test]
    fn sizes() {
        assert_eq!(bytes("256K", 1, 1 << 30).unwrap(), 262_144);
        assert_eq!(bytes("3m", 1, 1 << 30).unwrap(), 3 << 20);
        assert_eq!(bytes("17", 1, 1 << 30).unwrap(), 17);
        for bad in [
            "",
            "K",
            "1G",
            "-1",
            "1.5M",
            "99999999999999999999",
            "99999999999999999M",
        ] {
            bytes(bad, 1, 1 << 30).unwrap_err();
        }
    }
}
