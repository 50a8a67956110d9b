//! The two cookie headers, by hand: values are hexadecimal, so nothing needs quoting.

use actix_web::HttpRequest;
use actix_web::http::header;

/// Finds a cookie the browser sent.
pub fn read<'a>(request: &'a HttpRequest, name: &str) -> Option<&'a str> {
    request
        .headers()
        .get_all(header::COOKIE)
        .filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='))
        .find_map(|(key, value)| (key == name).then_some(value))
}

/// A `Set-Cookie` value. Out of reach of scripts and of requests from elsewhere; 0 seconds removes it.
pub fn write(name: &str, value: &str, seconds: i64, secure: bool) -> String {
    let secure = if secure { "; Secure" } else { "" };
    format!("{name}={value}; Path=/; Max-Age={seconds}; HttpOnly; SameSite=Strict{secure}")
}

#[cfg(test)]
mod tests {
    use super::*;
    use actix_web::test::TestRequest;

    #[test]
    fn reads_one_of_many() {
        let request = TestRequest::default()
            .insert_header(("Cookie", "a=1; blog=22;c=3"))
            .to_http_request();
        assert_eq!(read(&request, "blog"), Some("22"));
        assert_eq!(read(&request, "log"), None);
    }

    #[test]
    fn writes_every_attribute() {
        let cookie = write("blog", "22", 60, true);
        assert_eq!(cookie, "blog=22; Path=/; Max-Age=60; HttpOnly; SameSite=Strict; Secure");
        assert!(!write("blog", "22", 60, false).contains("Secure"));
    }
}
