//! Requests that can be sent again, and responses whose bodies have an end.

use std::fmt;
use std::fs::File;
use std::io::{Read, Seek, SeekFrom};
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime};

use ureq::http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use url::Url;

use super::failure::{Failure, clean};
use crate::error::{Context, Error, Result};

/// A body that can be sent more than once.
#[derive(Clone)]
pub enum Body {
    /// None.
    Empty,
    /// These bytes.
    Bytes(Arc<[u8]>),
    /// A part of a file.
    File {
        /// The file.
        path: PathBuf,
        /// The first byte.
        offset: u64,
        /// How many.
        length: u64,
    },
    /// A part of bytes that others use as well, and who wants to know how many of them went out.
    Part {
        /// All bytes.
        bytes: Arc<[u8]>,
        /// Those that are sent.
        range: Range<usize>,
        /// Is told of each read. A body that is sent again is counted again.
        watch: Watch,
    },
}

/// Is told how many bytes were just read to be sent.
#[derive(Clone)]
pub struct Watch(Arc<dyn Fn(u64) + Send + Sync>);

impl fmt::Debug for Watch {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("Watch")
    }
}

impl Watch {
    /// Calls `count` for each read.
    pub fn new(count: impl Fn(u64) + Send + Sync + 'static) -> Self {
        Watch(Arc::new(count))
    }
}

/// A part of shared bytes as a reader.
struct Part {
    bytes: Arc<[u8]>,
    left: Range<usize>,
    watch: Watch,
}

impl Read for Part {
    fn read(&mut self, buffer: &mut [u8]) -> std::io::Result<usize> {
        let count = buffer.len().min(self.left.len());
        buffer[..count].copy_from_slice(&self.bytes[self.left.start..self.left.start + count]);
        self.left.start += count;
        (self.watch.0)(count as u64);
        Ok(count)
    }
}

impl fmt::Debug for Body {
    /// It may hold a token.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Body({} bytes)", self.length())
    }
}

impl Body {
    /// Bytes.
    pub fn length(&self) -> u64 {
        match self {
            Body::Empty => 0,
            Body::Bytes(bytes) => bytes.len() as u64,
            Body::File { length, .. } => *length,
            Body::Part { range, .. } => range.len() as u64,
        }
    }

    /// The bytes from the start; `None` if there is no body at all.
    pub(super) fn open(&self) -> Result<Option<Box<dyn Read>>> {
        Ok(match self {
            Body::Empty => None,
            Body::Bytes(bytes) => Some(Box::new(std::io::Cursor::new(Arc::clone(bytes)))),
            Body::File { path, offset, length } => {
                let named = || format!("cannot read {}", path.display());
                let mut file = File::open(path).context(named)?;
                file.seek(SeekFrom::Start(*offset)).context(named)?;
                Some(Box::new(file.take(*length)))
            }
            Body::Part { bytes, range, watch } => {
                if range.start > range.end || range.end > bytes.len() {
                    return Err(Error::new(format!(
                        "there are {} bytes, and {range:?} of them are to be sent",
                        bytes.len()
                    )));
                }
                Some(Box::new(Part {
                    bytes: Arc::clone(bytes),
                    left: range.clone(),
                    watch: watch.clone(),
                }))
            }
        })
    }
}

/// A request.
#[derive(Clone, Debug)]
pub struct Request {
    method: Method,
    url: Url,
    headers: HeaderMap,
    body: Body,
    repeat: bool,
}

impl Request {
    /// A request without headers and body. GET, HEAD, PUT and DELETE may be sent again (RFC 9110, 9.2.2), others must say so.
    pub fn new(method: Method, url: Url) -> Self {
        Request {
            repeat: method.is_idempotent(),
            method,
            url,
            headers: HeaderMap::new(),
            body: Body::Empty,
        }
    }

    /// GET.
    pub fn get(url: Url) -> Self {
        Request::new(Method::GET, url)
    }

    /// HEAD.
    pub fn head(url: Url) -> Self {
        Request::new(Method::HEAD, url)
    }

    /// Adds a header; several of one name are sent in this order.
    #[must_use]
    pub fn header(mut self, name: HeaderName, value: HeaderValue) -> Self {
        self.headers.append(name, value);
        self
    }

    /// Sets `Authorization`, which `Debug` hides and which no redirect takes to another place.
    pub fn authorize(mut self, value: &str) -> Result<Self> {
        let mut value = HeaderValue::from_str(value)
            .map_err(|_| Error::new("the credentials have characters that no header may have"))?;
        value.set_sensitive(true);
        self.headers.insert(header::AUTHORIZATION, value);
        Ok(self)
    }

    /// Sets the body.
    #[must_use]
    pub fn body(mut self, body: Body) -> Self {
        self.body = body;
        self
    }

    /// Says that sending it twice does no harm.
    #[must_use]
    pub fn repeatable(mut self) -> Self {
        self.repeat = true;
        self
    }

    /// Says that only the caller can tell whether it may be sent again.
    #[must_use]
    pub fn once(mut self) -> Self {
        self.repeat = false;
        self
    }

    pub(super) fn may_repeat(&self) -> bool {
        self.repeat
    }

    /// The method.
    pub fn method(&self) -> &Method {
        &self.method
    }

    /// Where it goes.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// Its headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    pub(super) fn body_ref(&self) -> &Body {
        &self.body
    }

    /// The same request at another place, which gets no credentials if it belongs to somebody else.
    pub fn redirected(&self, target: Url) -> Result<Self> {
        let mut request = self.clone();
        if self.url.scheme() == "https" && target.scheme() != "https" {
            return Err(Error::new(format!(
                "{} redirects to {}, which is not HTTPS",
                shown(&self.url),
                shown(&target)
            )));
        }
        if !same_origin(&self.url, &target) {
            request.headers.remove(header::AUTHORIZATION);
            request.headers.remove(header::COOKIE);
        }
        request.url = target;
        Ok(request)
    }
}

/// Whether two addresses belong to one server: scheme, host and port.
pub fn same_origin(a: &Url, b: &Url) -> bool {
    a.scheme() == b.scheme() && a.host() == b.host() && a.port_or_known_default() == b.port_or_known_default()
}

/// A URL for messages: without user and password, and without the query, where signatures and tokens are.
pub fn shown(url: &Url) -> String {
    let mut clean = url.clone();
    let _ = clean.set_username("");
    let _ = clean.set_password(None);
    clean.set_query(None);
    clean.set_fragment(None);
    match url.query() {
        Some(_) => format!("{clean}?..."),
        None => clean.into(),
    }
}

/// An answer. The body is read when it is asked for.
pub struct Response {
    method: Method,
    url: Url,
    status: StatusCode,
    headers: HeaderMap,
    body: Option<ureq::BodyReader<'static>>,
    tries: u32,
}

impl fmt::Debug for Response {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Response")
            .field("url", &shown(&self.url))
            .field("status", &self.status)
            .finish_non_exhaustive()
    }
}

impl Response {
    pub(super) fn new(method: Method, url: Url, response: ureq::http::Response<ureq::Body>) -> Self {
        let (parts, body) = response.into_parts();
        Response {
            method,
            url,
            status: parts.status,
            headers: parts.headers,
            body: Some(body.into_reader()),
            tries: 1,
        }
    }

    pub(super) fn after(mut self, tries: u32) -> Self {
        self.tries = tries;
        self
    }

    /// The status.
    pub fn status(&self) -> StatusCode {
        self.status
    }

    /// The headers.
    pub fn headers(&self) -> &HeaderMap {
        &self.headers
    }

    /// A header as text.
    pub fn text_header(&self, name: &str) -> Option<&str> {
        self.headers.get(name)?.to_str().ok()
    }

    /// Where the answer came from, after redirects.
    pub fn url(&self) -> &Url {
        &self.url
    }

    /// `Content-Length`, if it is given.
    pub fn content_length(&self) -> Option<u64> {
        self.text_header("content-length")?.parse().ok()
    }

    /// How long the server asks to wait, if it does.
    pub fn retry_after(&self, now: SystemTime) -> Option<Duration> {
        super::retry::retry_after(&self.headers, now)
    }

    /// Where a redirect of GET or HEAD leads.
    pub(super) fn location(&self) -> Option<Result<Url>> {
        let redirects = matches!(self.status.as_u16(), 301 | 302 | 303 | 307 | 308);
        if !redirects || !matches!(self.method, Method::GET | Method::HEAD) {
            return None;
        }
        let named = || format!("{} redirects to no address", shown(&self.url));
        let target = self.text_header("location").context(named);
        Some(target.and_then(|text| {
            let target = self.url.join(text).context(named)?;
            match (target.scheme(), target.host()) {
                ("http" | "https", Some(_)) => Ok(target),
                _ => Err(Error::new(named())),
            }
        }))
    }

    /// Some of the body; 0 at its end.
    pub(super) fn read(&mut self, buffer: &mut [u8]) -> std::result::Result<usize, Failure> {
        let Some(body) = &mut self.body else { return Ok(0) };
        body.read(buffer).map_err(|error| Failure::body(&self.url, error))
    }

    /// The whole body. More than `limit` bytes are an error.
    pub(super) fn bytes(mut self, limit: u64) -> std::result::Result<Vec<u8>, Failure> {
        let too_long = || {
            let text = format!("{} has more than the {limit} bytes that make sense", shown(&self.url));
            Failure::fatal(Error::new(text))
        };
        if self.content_length().is_some_and(|length| length > limit) {
            return Err(too_long());
        }
        let mut bytes = Vec::new();
        let body = self.body.take();
        if let Some(body) = body {
            body.take(limit.saturating_add(1))
                .read_to_end(&mut bytes)
                .map_err(|error| Failure::body(&self.url, error))?;
        }
        match bytes.len() as u64 > limit {
            true => Err(too_long()),
            false => Ok(bytes),
        }
    }

    /// The whole body, at most `limit` bytes. For [`super::Client::get`] this is tried again when it breaks off; here it is not.
    pub fn into_bytes(self, limit: u64) -> Result<Vec<u8>> {
        Ok(self.bytes(limit)?)
    }

    /// The body as it comes. What breaks off is an error of the reader, and is not tried again.
    pub fn into_reader(self) -> Box<dyn Read> {
        match self.body {
            Some(body) => Box::new(body),
            None => Box::new(std::io::empty()),
        }
    }

    /// The start of the body, which is where a server says what it does not like.
    pub fn start(&mut self) -> Vec<u8> {
        let mut start = Vec::new();
        if let Some(body) = self.body.take() {
            // Half a sentence is better than none.
            let _ = body.take(4000).read_to_end(&mut start);
        }
        start
    }

    /// What the server said, for a message: the start of a plain-text or JSON body, on one line.
    pub fn said(&mut self) -> String {
        let start = self.start();
        match start.trim_ascii_start().starts_with(b"<") {
            // A page for a browser says nothing here.
            true => String::new(),
            false => clean(&String::from_utf8_lossy(&start)),
        }
    }

    /// The error for an answer that was not hoped for: method, URL, status, and what the server said.
    pub fn into_error(mut self) -> Error {
        let said = self.said();
        self.describe(&said)
    }

    /// The same, with words of the caller for what the server said.
    pub fn describe(&self, said: &str) -> Error {
        let tries = match self.tries {
            0 | 1 => String::new(),
            count => format!(" ({count} attempts)"),
        };
        let colon = if said.is_empty() { "" } else { ": " };
        let (method, url, status) = (&self.method, shown(&self.url), self.status);
        Error::new(format!("{method} {url} answers {status}{tries}{colon}{said}"))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn url(text: &str) -> Url {
        Url::parse(text).unwrap()
    }

    #[test]
    fn no_url_shows_its_secrets() {
        assert_eq!(
            shown(&url("https://me:pw@cdn.example/blob?X-Amz-Signature=abc#x")),
            "https://cdn.example/blob?..."
        );
        assert_eq!(shown(&url("http://localhost:5000/v2/")), "http://localhost:5000/v2/");
    }

    #[test]
    fn credentials_stay_with_their_server() {
        let request = Request::get(url("https://a.example/x"))
            .authorize("Bearer t0ken")
            .unwrap();
        assert!(!format!("{request:?}").contains("t0ken"));
        let kept = |target: &str| {
            let request = request.redirected(url(target)).unwrap();
            request.headers().contains_key(header::AUTHORIZATION)
        };
        assert!(kept("https://a.example/y"));
        assert!(kept("https://a.example:443/y"));
        assert!(!kept("https://a.example:444/y"));
        assert!(!kept("https://b.example/y"));
        let error = request.redirected(url("http://a.example/y")).unwrap_err();
        assert!(error.to_string().contains("not HTTPS"), "{error}");
    }

    #[test]
    fn only_what_is_idempotent_is_sent_again_unasked() {
        let repeats = |method| Request::new(method, url("http://h/")).may_repeat();
        assert!(repeats(Method::GET) && repeats(Method::HEAD) && repeats(Method::PUT) && repeats(Method::DELETE));
        assert!(!repeats(Method::POST) && !repeats(Method::PATCH));
    }
}
