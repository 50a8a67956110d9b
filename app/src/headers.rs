//! The headers that every answer has: what browsers may do with it.

use actix_web::http::header::{self, HeaderMap, HeaderName, HeaderValue};

/// On every response, errors and redirects too.
const HEADERS: [(HeaderName, &str); 5] = [
    (
        header::CONTENT_SECURITY_POLICY,
        "default-src 'none'; style-src 'self'; img-src 'self'; form-action 'self'; base-uri 'none'; \
         frame-ancestors 'none'",
    ),
    (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
    // Not "no-referrer": with it browsers send "Origin: null" with our own forms.
    (header::REFERRER_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_RESOURCE_POLICY, "same-origin"),
    (header::CROSS_ORIGIN_OPENER_POLICY, "same-origin"),
];

/// What is on every response, where it is not there already. Only who comes by here has the last of them.
pub fn add_headers(headers: &mut HeaderMap) {
    if headers.contains_key(header::CROSS_ORIGIN_OPENER_POLICY) {
        return;
    }
    for (name, value) in HEADERS {
        // Images come with a stricter policy of their own.
        if !headers.contains_key(&name) {
            headers.insert(name, HeaderValue::from_static(value));
        }
    }
}
