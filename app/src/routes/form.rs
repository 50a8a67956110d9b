//! Fields of a form or of a query, read by hand: two functions instead of a deserialiser.

use std::future::Future;
use std::pin::Pin;

use actix_web::dev::Payload;
use actix_web::http::header;
use actix_web::rt::time::timeout;
use actix_web::{FromRequest, HttpRequest, web};

use crate::domain::percent;
use crate::error::AppError;
use crate::startup::state;

#[derive(Debug, Default)]
pub struct Form(Vec<(String, String)>);

impl Form {
    /// Reads `name=value&name=value`.
    pub fn parse(text: &[u8]) -> Self {
        let pairs = text
            .split(|byte| *byte == b'&')
            .filter(|pair| !pair.is_empty())
            .map(|pair| {
                let mut halves = pair.splitn(2, |byte| *byte == b'=');
                let mut half = || decode(halves.next().unwrap_or_default());
                (half(), half())
            });
        // Our forms have a dozen fields, and five for each image.
        Self(pairs.take(80).collect())
    }

    /// Adds a field at the end.
    pub fn push(&mut self, name: String, value: String) {
        self.0.push((name, value));
    }

    /// The number of fields.
    pub fn len(&self) -> usize {
        self.0.len()
    }

    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    pub fn get(&self, name: &str) -> Option<&str> {
        self.0
            .iter()
            .find_map(|(key, value)| (key == name).then_some(value.as_str()))
    }

    /// Every name and value, as they came.
    pub fn fields(&self) -> impl Iterator<Item = (&str, &str)> {
        self.0.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// The value, or nothing; the form is not needed any more.
    pub fn take(self, name: &str) -> String {
        self.0
            .into_iter()
            .find_map(|(key, value)| (key == name).then_some(value))
            .unwrap_or_default()
    }
}

/// What is not UTF-8 becomes a visible replacement character: a form never fails because of one byte.
fn decode(text: &[u8]) -> String {
    let spaced: Vec<u8> = text
        .iter()
        .map(|byte| if *byte == b'+' { b' ' } else { *byte })
        .collect();
    match String::from_utf8(percent::decode(&spaced)) {
        Ok(text) => text,
        Err(error) => String::from_utf8_lossy(error.as_bytes()).into_owned(),
    }
}

impl FromRequest for Form {
    type Error = AppError;
    type Future = Pin<Box<dyn Future<Output = Result<Self, AppError>>>>;

    fn from_request(request: &HttpRequest, payload: &mut Payload) -> Self::Future {
        let is_form = content_type(request).eq_ignore_ascii_case("application/x-www-form-urlencoded");
        let request = request.clone();
        let payload = web::Payload::from_request(&request, payload);
        Box::pin(async move {
            if !is_form {
                return Err(AppError::NotAForm);
            }
            let payload = payload.await.map_err(|_| AppError::BadRequest)?;
            Ok(Self::parse(&body(&request, payload).await?))
        })
    }
}

/// What the request says its body is, without parameters; empty when it does not say.
pub fn content_type(request: &HttpRequest) -> &str {
    let kind = request.headers().get(header::CONTENT_TYPE);
    let kind = kind.and_then(|value| value.to_str().ok()).unwrap_or_default();
    kind.split(';').next().unwrap_or_default().trim()
}

/// A body that is at most as large and takes at most as long as a form may.
///
/// # Errors
/// `TooLarge`, `TooSlow`, `BadRequest` when it ends too early.
pub async fn body(request: &HttpRequest, payload: web::Payload) -> Result<web::Bytes, AppError> {
    let limits = state(request)?.limits;
    let announced = request.headers().get(header::CONTENT_LENGTH);
    let announced = announced.and_then(|length| length.to_str().ok()?.parse::<u64>().ok());
    if announced.is_some_and(|announced| announced > limits.form_bytes as u64) {
        return Err(AppError::TooLarge);
    }
    match timeout(limits.body_time, payload.to_bytes_limited(limits.form_bytes)).await {
        Ok(Ok(Ok(bytes))) => Ok(bytes),
        Ok(Ok(Err(_))) => Err(AppError::BadRequest),
        Ok(Err(_)) => Err(AppError::TooLarge),
        Err(_) => Err(AppError::TooSlow),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fields() {
        let form = Form::parse(b"a=1+2&b=%E3%81%82%0D%0A&&c&d=x=y&a=again");
        assert_eq!(form.get("a"), Some("1 2"));
        assert_eq!(form.get("b"), Some("あ\r\n"));
        assert_eq!(form.get("c"), Some(""));
        assert_eq!(form.get("d"), Some("x=y"));
        assert_eq!(form.get("e"), None);
    }

    #[test]
    fn broken_escapes_stay_as_they_are() {
        assert_eq!(Form::parse(b"a=100%&b=%zz&c=%f").get("a"), Some("100%"));
        assert_eq!(Form::parse(b"b=%zz").get("b"), Some("%zz"));
        assert_eq!(Form::parse(b"b=%4").get("b"), Some("%4"));
        assert_eq!(Form::parse(b"b=%ff").get("b"), Some("\u{fffd}"));
        assert_eq!(Form::parse(b"b=%+1").get("b"), Some("% 1"));
    }
}
