//! `blog health`: asks the running blog whether it is well. It is the image's health check.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream};
use std::os::unix::net::UnixStream;
use std::time::Duration;

use serde_json::json;

use super::{Command, Operands, Opt};
use crate::cli::{self, Failure, Invocation, Outcome};
use crate::listen::Listen;

pub const COMMAND: Command = Command {
    name: "health",
    summary: "ask the running blog whether it is well",
    about: "It asks wherever the settings say that the blog listens, or at --url, and prints what each answers. Exit code 0\n\
            when all are well, else 1. `degraded` is well enough for readers: the disk is full, or the clock is wrong.",
    operands: Operands::NONE,
    options: &[Opt {
        long: "url",
        value: "URL",
        meaning: "ask here instead, as in http://127.0.0.1:8080/healthz",
    }],
    json: true,
    examples: &[
        "blog health",
        "blog health --admin-listen unix:/run/blog/admin.sock --json",
        "blog health --url http://127.0.0.1:8080/healthz",
    ],
    run,
};

const PATIENCE: Duration = Duration::from_secs(5);

/// One place that was asked.
struct Answer {
    place: String,
    /// What it said, or why it said nothing.
    said: Result<String, String>,
}

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    let answers = match invocation.value("url")? {
        Some(url) => vec![ask_url(url)?],
        None => {
            let settings = invocation.settings()?;
            let places = settings.listeners().map(|(_, listen, _)| listen);
            places.filter(|place| **place != Listen::Off).map(ask).collect()
        }
    };
    let well = answers.iter().all(|answer| answer.said.is_ok());
    if invocation.json {
        let places: Vec<_> = answers
            .iter()
            .map(|answer| {
                let (Ok(said) | Err(said)) = &answer.said;
                json!({ "place": answer.place, "well": answer.said.is_ok(), "answer": said })
            })
            .collect();
        cli::print(&format!("{:#}\n", json!({ "well": well, "places": places })))?;
    } else {
        let lines = answers.iter().map(|answer| {
            let (Ok(said) | Err(said)) = &answer.said;
            format!("{}: {said}\n", answer.place)
        });
        cli::print(&lines.collect::<String>())?;
    }
    Ok(if well { Outcome::Fine } else { Outcome::Findings })
}

/// Asks the blog that listens there.
fn ask(listen: &Listen) -> Answer {
    let said = match listen {
        Listen::Off => Err("off".to_owned()),
        Listen::Tcp(address) => {
            // "Any address" is a place to listen, not one to connect to.
            let ip = match address.ip() {
                IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
                IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
                ip => ip,
            };
            ask_address(SocketAddr::new(ip, address.port()), None, "/healthz")
        }
        Listen::Unix(path) => UnixStream::connect(path)
            .and_then(|stream| {
                stream.set_read_timeout(Some(PATIENCE))?;
                stream.set_write_timeout(Some(PATIENCE))?;
                talk(stream, "localhost", "/healthz")
            })
            .map_err(|error| format!("does not answer: {error}"))
            .and_then(|answer| judge(&answer)),
    };
    Answer {
        place: listen.to_string(),
        said,
    }
}

/// Asks at an `http://ip:port/path` address. Names are not looked up: that would ask others on the network, and what does it
/// is 20 kB of the program.
fn ask_url(url: &str) -> Result<Answer, Failure> {
    let bad = || {
        Failure::usage(
            format!("--url: `{url}` is not an http:// address with an IP address and a port"),
            "as in http://127.0.0.1:8080/healthz; of names only localhost is known",
        )
    };
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/healthz"),
    };
    if !url.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let address = match host.strip_prefix("localhost:") {
        Some(port) => port
            .parse()
            .map(|port| SocketAddr::from((Ipv4Addr::LOCALHOST, port)))
            .ok(),
        None => host.parse().ok(),
    };
    Ok(Answer {
        place: url.to_owned(),
        said: ask_address(address.ok_or_else(bad)?, Some(host), path),
    })
}

fn ask_address(address: SocketAddr, host: Option<&str>, path: &str) -> Result<String, String> {
    let connected = TcpStream::connect_timeout(&address, PATIENCE).and_then(|stream| {
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        talk(stream, host.unwrap_or(&address.to_string()), path)
    });
    connected
        .map_err(|error| format!("does not answer: {error}"))
        .and_then(|answer| judge(&answer))
}

fn talk(mut stream: impl Read + Write, host: &str, path: &str) -> std::io::Result<Vec<u8>> {
    let request = format!("GET {path} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes())?;
    let mut answer = Vec::new();
    stream.take(4096).read_to_end(&mut answer)?;
    Ok(answer)
}

/// The text of a good answer; of any other its first line.
fn judge(answer: &[u8]) -> Result<String, String> {
    let text = String::from_utf8_lossy(answer);
    let (head, body) = text.split_once("\r\n\r\n").unwrap_or((&text, ""));
    let line = head.lines().next().unwrap_or_default();
    if !line.starts_with("HTTP/1.1 200") {
        return Err(format!("is not well: {line}"));
    }
    // A page of some other program is no more than a first line.
    let said = body.trim().lines().take(8).collect::<Vec<_>>().join("; ");
    Ok(said.chars().filter(|c| !c.is_control()).take(300).collect())
}
