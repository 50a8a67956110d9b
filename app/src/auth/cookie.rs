//! The two cookie headers, by hand: values are hexadecimal, so nothing needs quoting.

use actix_web::HttpRequest;
use actix_web::http::header;

/// Browsers take a cookie of this name only over a secure connection and for this one host, so that no other host of the
/// domain can plant one.
fn prefix(secure: bool) -> &'static str {
    if secure { "__Host-" } else { "" }
}

/// Finds a cookie the browser sent.
pub fn read<'a>(request: &'a HttpRequest, name: &str, secure: bool) -> Option<&'a str> {
    request
        .headers()
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key.strip_prefix(prefix(secure)) == Some(name)).then_some(value))
}

/// A `Set-Cookie` value. Out of reach of scripts and of requests from elsewhere; 0 seconds removes it.
pub fn write(name: &str, value: &str, seconds: i64, secure: bool) -> String {
    let (prefix, flag) = (prefix(secure), if secure { "; Secure" } else { "" });
    format!("{prefix}{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{flag}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn reads_one_of_many() {
        let request = TestRequest::default()
            .insert_header(("Cookie", "a=1; blog=22;c=3; __Host-blog=33"))
            .to_http_request();
        assert_eq!(read(&request, "blog", false), Some("22"));
        assert_eq!(read(&request, "blog", true), Some("33"));
        assert_eq!(read(&request, "log", false), None);
        assert_eq!(read(&request, "a", true), None, "anybody's cookie");
    }

    #[test]
    fn writes_every_attribute() {
        let cookie = write("blog", "22", 60, true);
        let rest = "Path=/; Max-Age=60; HttpOnly; SameSite=Strict";
        assert_eq!(cookie, format!("__Host-blog=22; {rest}; Secure"));
        assert_eq!(write("blog", "22", 60, false), format!("blog=22; {rest}"));
    }
}
