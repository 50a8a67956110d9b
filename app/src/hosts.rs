//! Which names the blog answers to. A page elsewhere whose name was pointed at this machine (DNS rebinding) is told
//! nothing, and no name that was made up gets into an answer.

use std::net::{IpAddr, Ipv6Addr};

use actix_web::http::Uri;
use actix_web::http::header::{HOST, HeaderMap};

/// Names without ports, in lower case.
#[derive(Debug, Clone, Default)]
pub struct Hosts(Vec<String>);

impl Hosts {
    /// The names in these web addresses, and these names.
    pub fn new<'a>(urls: &[&'a str], names: impl IntoIterator<Item = &'a str>) -> Self {
        let of_url = |url: &&'a str| {
            let rest = url.split_once("://")?.1;
            let authority = rest.split('/').next()?;
            name(authority.rsplit('@').next()?)
        };
        let mut all: Vec<String> = urls.iter().filter_map(of_url).collect();
        all.extend(names.into_iter().filter_map(name));
        Self(all)
    }

    /// Whether a request is for this blog: it names one host, and that is ours. Addresses and `localhost` always are:
    /// nobody can point those elsewhere.
    pub fn allow(&self, headers: &HeaderMap, uri: &Uri) -> bool {
        let mut hosts = headers.get_all(HOST);
        let (Some(host), None) = (hosts.next(), hosts.next()) else {
            return false;
        };
        let known = |text: &str| name(text).is_some_and(|name| self.knows(&name));
        // A request line may have a whole address, which would count instead of the header.
        host.to_str().is_ok_and(known) && uri.authority().is_none_or(|authority| known(authority.as_str()))
    }

    fn knows(&self, name: &str) -> bool {
        let bare = name.strip_prefix('[').and_then(|rest| rest.strip_suffix(']'));
        name == "localhost"
            || bare.map_or_else(|| name.parse::<IpAddr>().is_ok(), |v6| v6.parse::<Ipv6Addr>().is_ok())
            || self.0.iter().any(|known| known == name)
    }
}

/// The name without port and final dot; nothing when it cannot be one.
fn name(text: &str) -> Option<String> {
    let text = text.trim();
    let end = match text.rfind(']') {
        Some(bracket) => bracket + 1,
        None => text.find(':').unwrap_or(text.len()),
    };
    let (name, port) = text.split_at(end);
    let port_is_plain = port.is_empty()
        || port
            .strip_prefix(':')
            .is_some_and(|port| port.bytes().all(|byte| byte.is_ascii_digit()));
    let name = name.strip_suffix('.').unwrap_or(name);
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || b"-._[:]".contains(&byte);
    (port_is_plain && !name.is_empty() && name.bytes().all(plain)).then(|| name.to_ascii_lowercase())
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use super::*;
    use actix_web::http::header::HeaderValue;

    fn allowed(hosts: &[&'static str], uri: &str) -> bool {
        let ours = Hosts::new(
            &["http://Blog.onion:8080/of/mine", "", "https://admin.example"],
            ["other.lan", ""],
        );
        let mut headers = HeaderMap::new();
        for host in hosts {
            headers.append(HOST, HeaderValue::from_static(host));
        }
        ours.allow(&headers, &uri.parse().unwrap())
    }

    #[test]
    fn names_that_are_ours() {
        for host in [
            "blog.onion",
            "BLOG.onion:80",
            "blog.onion.",
            "admin.example",
            "other.lan:8080",
            "localhost:8080",
            "127.0.0.1",
            "192.168.1.7:8081",
            "[::1]:8080",
            "[fe80::1]",
        ] {
            assert!(allowed(&[host], "/"), "{host}");
        }
        assert!(allowed(&["blog.onion"], "http://blog.onion/x"));
    }

    #[test]
    fn all_others_are_not() {
        for host in [
            "",
            "evil.example",
            "blog.onion.evil",
            "evil.example:80@blog.onion",
            "blog.onion:80:80",
            "blog.onion:x",
            "xlocalhost",
            "[blog.onion]",
            "[::1",
            "127.0.0.1.evil.example",
            "of",
        ] {
            assert!(!allowed(&[host], "/"), "{host}");
        }
        assert!(!allowed(&[], "/"));
        assert!(!allowed(&["blog.onion", "blog.onion"], "/"));
        assert!(!allowed(&["blog.onion"], "http://evil.example/"));
    }
}
