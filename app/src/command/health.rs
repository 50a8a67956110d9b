//! `blog health`: asks the running blog whether it is well. It is the image's health check.

use std::io::{Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs};
use std::time::Duration;

use super::{Command, Operands, Opt};
use crate::cli::{Failure, Invocation, Outcome};

pub const COMMAND: Command = Command {
    name: "health",
    summary: "ask the running blog whether it is well",
    about: "Exit code 0 when it is, else 1. It asks where --listen says that the blog listens, or at --url.",
    operands: Operands::NONE,
    options: &[Opt {
        long: "url",
        value: "URL",
        meaning: "ask here instead, as in http://127.0.0.1:8080/healthz",
    }],
    json: false,
    examples: &["blog health", "blog health --url http://127.0.0.1:8080/healthz"],
    run,
};

const PATIENCE: Duration = Duration::from_secs(5);

fn run(invocation: &Invocation) -> Result<Outcome, Failure> {
    match invocation.value("url")? {
        Some(url) => check_url(url)?,
        None => check(invocation.settings()?.listen)?,
    }
    Ok(Outcome::Fine)
}

/// Asks the blog that listens on `listen`.
fn check(listen: SocketAddr) -> Result<(), Failure> {
    // "Any address" is a place to listen, not one to connect to.
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    ask(SocketAddr::new(ip, listen.port()), "/healthz")
}

/// Asks at an `http://host:port/path` address.
fn check_url(url: &str) -> Result<(), Failure> {
    let bad = || Failure::usage(format!("--url: `{url}` is not an http://host:port/ address"), "");
    let rest = url.strip_prefix("http://").ok_or_else(bad)?;
    let (host, path) = match rest.find('/') {
        Some(slash) => rest.split_at(slash),
        None => (rest, "/healthz"),
    };
    if !path.bytes().all(|byte| byte.is_ascii_graphic()) {
        return Err(bad());
    }
    let address = host.to_socket_addrs().ok().and_then(|mut all| all.next());
    ask(address.ok_or_else(bad)?, path)
}

fn ask(address: SocketAddr, path: &str) -> Result<(), Failure> {
    let talk = || -> std::io::Result<Vec<u8>> {
        let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
        stream.set_read_timeout(Some(PATIENCE))?;
        stream.set_write_timeout(Some(PATIENCE))?;
        let request = format!("GET {path} HTTP/1.1\r\nHost: {address}\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes())?;
        let mut answer = Vec::new();
        stream.take(512).read_to_end(&mut answer)?;
        Ok(answer)
    };
    match talk() {
        Ok(answer) if answer.starts_with(b"HTTP/1.1 200 ") => Ok(()),
        Ok(answer) => {
            let line = answer.split(|byte| *byte == b'\r').next().unwrap_or_default();
            let line = String::from_utf8_lossy(line);
            Err(Failure::finding(format!("{address} is not well: {line}"), ""))
        }
        Err(error) => Err(Failure::finding(format!("{address} does not answer: {error}"), "")),
    }
}
