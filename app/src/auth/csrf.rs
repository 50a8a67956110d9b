//! Proof that a form was ours: a token bound to the browser, and the headers that say where it came from.

use actix_web::HttpRequest;
use actix_web::http::header::{self, HeaderMap};
use subtle::ConstantTimeEq;

use crate::startup::state;

/// True when `sent` is the token this browser's forms carry and no header says the form came from elsewhere.
pub fn is_ours(request: &HttpRequest, expected: &str, sent: Option<&str>) -> bool {
    let same = sent.is_some_and(|sent| bool::from(sent.as_bytes().ct_eq(expected.as_bytes())));
    same && !is_foreign(request)
}

/// True when a header says that another site sent this.
pub fn is_foreign(request: &HttpRequest) -> bool {
    let ours = state(request).map_or(["", ""], |state| [state.base_url.as_str(), state.admin_url.as_str()]);
    comes_from_elsewhere(request.headers(), &ours)
}

/// Headers may deny, never allow: some browsers send none of them, and `Origin: null` says nothing.
/// A proxy may rewrite `Host`, so the addresses that the blog was told are ours as well.
fn comes_from_elsewhere(headers: &HeaderMap, urls: &[&str]) -> bool {
    let text = |name: header::HeaderName| headers.get(name).map(|value| value.to_str().unwrap_or("?"));
    if headers
        .get("sec-fetch-site")
        .is_some_and(|site| site.as_bytes() == b"cross-site")
    {
        return true;
    }
    let Some(origin) = text(header::ORIGIN).filter(|origin| *origin != "null") else {
        return false;
    };
    let mut ours = urls.iter().filter_map(|url| origin_of(url));
    if ours.any(|ours| origin.eq_ignore_ascii_case(ours)) {
        return false;
    }
    let host = origin.split_once("://").map(|(_, host)| host);
    match (host, text(header::HOST)) {
        (Some(origin), Some(host)) => !origin.eq_ignore_ascii_case(host),
        _ => true,
    }
}

/// Scheme, host and port of an address: what browsers send as `Origin`.
fn origin_of(url: &str) -> Option<&str> {
    let host = url.find("://")? + 3;
    let end = url[host..].find('/').map_or(url.len(), |path| host + path);
    Some(&url[..end])
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    fn ours(headers: &[(&'static str, &'static str)]) -> bool {
        let request = headers.iter().fold(
            TestRequest::default().insert_header(("Host", "blog.onion:80")),
            |request, header| request.insert_header(*header),
        );
        is_ours(&request.to_http_request(), "token", Some("token"))
    }

    #[test]
    fn the_address_that_the_blog_was_told_is_ours() {
        let elsewhere = |origin: &str, base_url: &str| {
            let request = TestRequest::default()
                .insert_header(("Host", "127.0.0.1:8080"))
                .insert_header(("Origin", origin))
                .to_http_request();
            comes_from_elsewhere(request.headers(), &["", base_url])
        };
        assert!(!elsewhere("https://blog.example", "https://blog.example"));
        assert!(!elsewhere("https://blog.example", "https://Blog.example/of/mine"));
        assert!(!elsewhere("http://127.0.0.1:8080", "https://blog.example"));
        assert!(elsewhere("http://blog.example", "https://blog.example"));
        assert!(elsewhere("https://blog.example.evil", "https://blog.example"));
        assert!(elsewhere("https://blog.example:8443", "https://blog.example"));
        assert!(elsewhere("https://evil.example", ""));
        assert!(elsewhere("", ""));
    }

    #[test]
    fn headers_deny_but_never_allow() {
        assert!(ours(&[]));
        assert!(ours(&[("Origin", "null")]));
        assert!(ours(&[
            ("Origin", "http://BLOG.onion:80"),
            ("Sec-Fetch-Site", "same-origin")
        ]));
        assert!(!ours(&[("Origin", "http://evil.onion")]));
        assert!(!ours(&[("Origin", "http://blog.onion:80.evil")]));
        assert!(!ours(&[("Origin", "blog.onion:80")]));
        assert!(!ours(&[("Origin", "")]));
        assert!(!ours(&[("Sec-Fetch-Site", "cross-site")]));

        let request = TestRequest::default()
            .insert_header(("Origin", "null"))
            .to_http_request();
        assert!(!is_ours(&request, "token", Some("other")));
        assert!(!is_ours(&request, "token", Some("")));
        assert!(!is_ours(&request, "token", None));
    }
}
