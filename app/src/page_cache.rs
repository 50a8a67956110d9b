//! Answers that readers get again and again, kept as long as nothing in the database changes.
//!
//! A blog is read far more often than it is written, and the Pi needs a hundred times longer to make a page than to
//! send one. What is kept is what anybody would get; pages of the owner never come here.

use std::collections::HashMap;
use std::io::Write;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use actix_web::body::BoxBody;
use actix_web::http::header::{self, HeaderMap, HeaderValue};
use actix_web::http::{Method, StatusCode};
use actix_web::web::Bytes;
use actix_web::{HttpRequest, HttpResponse};
use flate2::Compression;
use flate2::write::DeflateEncoder;
use sha2::{Digest, Sha256};

use crate::domain::crc::Crc;
use crate::domain::{Stamp, hex};
use crate::headers::add_headers;

/// For all kept answers together; then those go that nobody has asked for again.
const MOST_BYTES: usize = 1024 * 1024;
/// Of a page besides its body: the table of its headers has 16 places of some 200 bytes.
const HEAD: usize = 4096;
/// So many requests are known word for word, of at most so many bytes each: somebody who makes requests up has the others found the
/// longer way, and no more.
const MOST_ASKED: usize = 64;
const LONGEST_ASKED: usize = 300;
/// A smaller answer fits into one or two packets anyway.
const WORTH_COMPRESSING: usize = 900;

/// An answer, ready to be sent.
#[derive(Debug)]
pub struct Page {
    pub content_type: &'static str,
    body: Bytes,
    /// None when it would not be smaller.
    gzip: Option<Bytes>,
    /// A hash of the body, without quotes.
    hash: String,
    /// The hash as an entity tag, and that of the compressed bytes, which differ.
    tags: [HeaderValue; 2],
    modified: Option<HeaderValue>,
    /// The headers of every answer, those of [`add_headers`] too: they are made once.
    head: HeaderMap,
}

impl Page {
    /// `modified`: when what it shows was changed last.
    pub fn new(content_type: &'static str, body: String, modified: Option<Stamp>, by_language: bool) -> Self {
        let hash = hex::encode(&Sha256::digest(&body)[..8]);
        let gzip = (body.len() > WORTH_COMPRESSING)
            .then(|| compress(body.as_bytes()))
            .flatten()
            .filter(|gzip| gzip.len() < body.len());
        let modified = modified.map(|modified| value(&modified.http_date()));
        let mut head = HeaderMap::new();
        head.insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
        let vary = match by_language {
            true => "accept-encoding, accept-language",
            false => "accept-encoding",
        };
        head.insert(header::VARY, HeaderValue::from_static(vary));
        if let Some(modified) = &modified {
            head.insert(header::LAST_MODIFIED, modified.clone());
        }
        add_headers(&mut head);
        Self {
            content_type,
            body: body.into(),
            gzip: gzip.map(Into::into),
            tags: [format!("\"{hash}\""), format!("\"{hash}-gzip\"")].map(|tag| value(&tag)),
            hash,
            modified,
            head,
        }
    }

    /// What has its hash in its address.
    pub fn lasting(content_type: &'static str, body: &'static str) -> Self {
        let mut page = Self::new(content_type, body.to_owned(), None, false);
        // Its address changes when it does: nobody need ask for it again.
        let for_ever = HeaderValue::from_static("public, max-age=31536000, immutable");
        page.head.insert(header::CACHE_CONTROL, for_ever);
        page
    }

    /// Bytes in memory, about.
    fn size(&self) -> usize {
        self.body.len() + self.gzip.as_ref().map_or(0, Bytes::len) + HEAD
    }

    /// The answer to this request: all of it, compressed or not, or that nothing has changed.
    pub fn answer(&self, request: &HttpRequest) -> HttpResponse {
        let headers = request.headers();
        let gzip = self.gzip.as_ref().filter(|_| takes_gzip(headers));
        let mut response = HttpResponse::Ok().finish();
        let is_known = is_known(headers, &self.hash, self.modified.as_ref());
        let head = response.headers_mut();
        *head = self.head.clone();
        head.insert(header::ETAG, self.tags[usize::from(gzip.is_some())].clone());
        if is_known {
            *response.status_mut() = StatusCode::NOT_MODIFIED;
            return response;
        }
        head.insert(header::CONTENT_TYPE, HeaderValue::from_static(self.content_type));
        if gzip.is_some() {
            head.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        response.set_body(BoxBody::new(gzip.unwrap_or(&self.body).clone()))
    }
}

/// Of a hash or a date, which are plain ASCII.
fn value(text: &str) -> HeaderValue {
    HeaderValue::from_str(text).unwrap_or_else(|_| HeaderValue::from_static(""))
}

/// RFC 1952. The same bytes for the same text: no name, no time.
fn compress(body: &[u8]) -> Option<Vec<u8>> {
    let mut out = Vec::with_capacity(body.len() / 3);
    out.extend([0x1f, 0x8b, 8, 0, 0, 0, 0, 0, 0, 255]);
    let mut encoder = DeflateEncoder::new(out, Compression::new(6));
    encoder.write_all(body).ok()?;
    let mut out = encoder.finish().ok()?;
    out.extend(Crc::of(body).to_le_bytes());
    out.extend(u32::try_from(body.len()).ok()?.to_le_bytes());
    Some(out)
}

fn takes_gzip(headers: &HeaderMap) -> bool {
    let values = headers
        .get_all(header::ACCEPT_ENCODING)
        .filter_map(|value| value.to_str().ok());
    values.flat_map(|value| value.split(',')).any(|coding| {
        let (name, parameters) = coding.split_once(';').unwrap_or((coding, ""));
        let refused = parameters
            .trim()
            .strip_prefix("q=")
            .is_some_and(|weight| weight.trim().trim_matches(['0', '.']).is_empty());
        name.trim().eq_ignore_ascii_case("gzip") && !refused
    })
}

/// RFC 9110, 13.2.2: `If-Modified-Since` counts only without `If-None-Match`. It must be the very time that was sent
/// along: after a deletion the newest change may be an older one.
fn is_known(headers: &HeaderMap, hash: &str, modified: Option<&HeaderValue>) -> bool {
    let mut tags = headers.get_all(header::IF_NONE_MATCH).peekable();
    if tags.peek().is_none() {
        return modified.is_some() && headers.get(header::IF_MODIFIED_SINCE) == modified;
    }
    tags.filter_map(|value| value.to_str().ok())
        .flat_map(|value| value.split(','))
        .any(|tag| {
            let tag = tag.trim();
            let tag = tag.strip_prefix("W/").unwrap_or(tag).trim_matches('"');
            tag == "*" || tag.strip_suffix("-gzip").unwrap_or(tag) == hash
        })
}

/// Pages by what they are the answer to.
#[derive(Debug, Default)]
pub struct PageCache(Mutex<Kept>);

#[derive(Debug, Default)]
struct Kept {
    /// The state of the database that they show; see `Db::generation`.
    generation: u64,
    bytes: usize,
    pages: HashMap<String, One>,
    /// Keys of kept pages by what was asked for, word for word.
    asked: HashMap<String, String>,
}

#[derive(Debug)]
struct One {
    page: Arc<Page>,
    /// Since there was last need of room.
    asked_again: bool,
}

impl Kept {
    fn page(&mut self, key: &str) -> Option<Arc<Page>> {
        let one = self.pages.get_mut(key)?;
        one.asked_again = true;
        Some(one.page.clone())
    }

    /// Lets go of what was asked for once. So somebody who walks through the whole blog, or makes addresses up, takes
    /// nothing from those who read what everybody reads.
    fn make_room(&mut self) {
        self.pages.retain(|_, one| std::mem::take(&mut one.asked_again));
        self.bytes = self.pages.values().map(|one| one.page.size()).sum();
        if self.bytes > MOST_BYTES / 2 {
            self.empty();
        }
    }

    fn empty(&mut self) {
        self.pages = HashMap::new();
        self.asked = HashMap::new();
        self.bytes = 0;
    }
}

/// What a page depends on besides the listener, as the request has it: `None` where there is more to it than a path and languages,
/// or it is longer than any browser makes it.
fn asked(request: &HttpRequest) -> Option<String> {
    let mut languages = request.headers().get_all(header::ACCEPT_LANGUAGE);
    let language = languages.next().map_or(&b""[..], HeaderValue::as_bytes);
    let path = request.path();
    let plain = request.uri().query().is_none() && languages.next().is_none();
    let language = std::str::from_utf8(language).ok()?;
    (plain && path.len() + language.len() <= LONGEST_ASKED).then(|| [path, "\n", language].concat())
}

impl PageCache {
    /// The page that this very request got before.
    pub fn again(&self, generation: u64, request: &HttpRequest) -> Option<Arc<Page>> {
        let asked = asked(request)?;
        let mut kept = self.of(generation)?;
        let key = kept.asked.get(&asked)?.clone();
        kept.page(&key)
    }

    /// The page with a key. From now on the request gets it without asking for the key.
    pub fn get(&self, generation: u64, key: &str, request: &HttpRequest) -> Option<Arc<Page>> {
        let mut kept = self.of(generation)?;
        let page = kept.page(key)?;
        if let Some(asked) = asked(request).filter(|_| request.method() == Method::GET) {
            if kept.asked.len() >= MOST_ASKED {
                kept.asked.clear();
            }
            kept.asked.insert(asked, key.to_owned());
        }
        Some(page)
    }

    /// What is kept, if it shows that state of the database.
    fn of(&self, generation: u64) -> Option<MutexGuard<'_, Kept>> {
        let kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        (kept.generation == generation).then_some(kept)
    }

    /// `generation`: what it was before the page was made. A page that was overtaken by a change is not kept.
    pub fn put(&self, generation: u64, key: String, page: Arc<Page>) {
        let mut kept = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if kept.generation > generation || page.size() > MOST_BYTES / 4 {
            return;
        }
        if kept.generation != generation {
            kept.empty();
            kept.generation = generation;
        }
        if kept.bytes + page.size() > MOST_BYTES {
            kept.make_room();
        }
        kept.bytes += page.size();
        let one = One {
            page,
            asked_again: false,
        };
        if let Some(replaced) = kept.pages.insert(key, one) {
            kept.bytes -= replaced.page.size();
        }
    }
}

#[cfg(test)]
mod tests {
    #![allow(clippy::unwrap_used)]
    use actix_web::test::TestRequest;

    use super::*;

    fn page(text: &str) -> Page {
        Page::new("text/plain", text.to_owned(), Some(Stamp(1_783_260_180)), false)
    }

    fn status(headers: &[(&str, &str)]) -> u16 {
        let mut request = TestRequest::default();
        for header in headers {
            request = request.append_header(*header);
        }
        page("text").answer(&request.to_http_request()).status().as_u16()
    }

    #[test]
    fn nothing_new_is_304() {
        let tag = format!("\"{}\"", page("text").hash);
        let date = "Sun, 05 Jul 2026 14:03:00 GMT";
        assert_eq!(status(&[]), 200);
        assert_eq!(status(&[("if-none-match", &tag)]), 304);
        assert_eq!(status(&[("if-none-match", &format!("\"x\", W/{tag}"))]), 304);
        assert_eq!(
            status(&[("if-none-match", &tag.replace("\"", "").replace(' ', ""))]),
            304
        );
        assert_eq!(status(&[("if-none-match", "*")]), 304);
        assert_eq!(status(&[("if-none-match", "\"x\""), ("if-modified-since", date)]), 200);
        assert_eq!(status(&[("if-modified-since", date)]), 304);
        assert_eq!(status(&[("if-modified-since", "Sun, 05 Jul 2026 15:03:00 GMT")]), 200);
    }

    #[test]
    fn compressed_for_those_who_say_so() {
        let encoding = |accept: &str| {
            let request = TestRequest::default()
                .append_header(("accept-encoding", accept))
                .to_http_request();
            let response = page(&"text ".repeat(1000)).answer(&request);
            response
                .headers()
                .get("content-encoding")
                .map(|value| value.to_str().unwrap().to_owned())
        };
        assert_eq!(encoding("gzip, deflate").as_deref(), Some("gzip"));
        assert_eq!(encoding("br, GZIP;q=0.5").as_deref(), Some("gzip"));
        for accept in ["", "identity", "gzip;q=0", "gzip;q=0.000", "x-gzip"] {
            assert_eq!(encoding(accept), None, "{accept}");
        }
        assert!(page("short").gzip.is_none());
    }

    #[test]
    fn a_change_ends_what_is_kept() {
        let cache = PageCache::default();
        cache.put(1, "a".to_owned(), Arc::new(page("one")));
        assert!(cache.get(1, "a", &anybody()).is_some());
        assert!(cache.get(2, "a", &anybody()).is_none());
        cache.put(2, "b".to_owned(), Arc::new(page("two")));
        assert!(cache.get(1, "a", &anybody()).is_none());
        cache.put(1, "late".to_owned(), Arc::new(page("old")));
        assert!(cache.get(2, "late", &anybody()).is_none() && cache.get(2, "b", &anybody()).is_some());
    }

    fn anybody() -> HttpRequest {
        TestRequest::default().to_http_request()
    }

    fn request(path: &str, language: &str) -> HttpRequest {
        TestRequest::get()
            .uri(path)
            .append_header(("accept-language", language))
            .to_http_request()
    }

    #[test]
    fn the_same_request_gets_the_same_page_without_its_key() {
        let cache = PageCache::default();
        cache.put(1, "front en".to_owned(), Arc::new(page("one")));
        cache.put(1, "front ja".to_owned(), Arc::new(page("zwei")));
        let (en, ja) = (request("/", "en"), request("/", "ja"));
        assert!(cache.again(1, &en).is_none());
        assert!(cache.get(1, "front en", &en).is_some());
        assert!(cache.again(1, &ja).is_none(), "another language, another page");
        assert!(cache.get(1, "front ja", &ja).is_some());
        let body = |request| cache.again(1, request).map(|page| page.body.clone());
        assert_eq!(body(&en).as_deref(), Some(&b"one"[..]));
        assert_eq!(body(&ja).as_deref(), Some(&b"zwei"[..]));
        // What is more than a path goes the longer way, and so does what a page is not kept for any more.
        let query = request("/?lang=ja", "en");
        assert!(cache.get(1, "front ja", &query).is_some() && cache.again(1, &query).is_none());
        assert!(cache.again(2, &en).is_none());
        cache.put(2, "other".to_owned(), Arc::new(page("three")));
        assert!(cache.again(2, &en).is_none());
    }

    #[test]
    fn requests_that_are_made_up_are_not_kept_without_end() {
        let cache = PageCache::default();
        cache.put(1, "key".to_owned(), Arc::new(page("one")));
        for n in 0..1000 {
            cache.get(1, "key", &request("/", &format!("x-{n}")));
            assert!(cache.0.lock().unwrap().asked.len() <= MOST_ASKED);
        }
        let long = request(&format!("/{}", "x".repeat(LONGEST_ASKED)), "en");
        assert!(cache.get(1, "key", &long).is_some() && cache.again(1, &long).is_none());
    }

    #[test]
    fn what_is_asked_for_again_stays() {
        let cache = PageCache::default();
        let text = "x".repeat(30_000);
        cache.put(1, "/".to_owned(), Arc::new(page(&text)));
        for n in 0..200 {
            assert!(cache.get(1, "/", &anybody()).is_some(), "{n}");
            cache.put(1, format!("/posts/{n}"), Arc::new(page(&text)));
        }
        assert!(cache.get(1, "/posts/0", &anybody()).is_none());
        // Not for ever, when nobody asks.
        for n in 0..200 {
            cache.put(1, format!("/posts/{n}"), Arc::new(page(&text)));
        }
        assert!(cache.get(1, "/", &anybody()).is_none());
    }

    #[test]
    fn it_stays_small() {
        let cache = PageCache::default();
        let noise: String = (0..30_000_u32)
            .map(|n| char::from_u32(0x4e00 + n * 7919 % 20_000).unwrap())
            .collect();
        for n in 0..40 {
            cache.put(1, n.to_string(), Arc::new(page(&noise)));
            assert!(cache.0.lock().unwrap().bytes <= MOST_BYTES);
        }
        assert!(cache.get(1, "39", &anybody()).is_some());
        cache.put(1, "huge".to_owned(), Arc::new(page(&noise.repeat(6))));
        assert!(cache.get(1, "huge", &anybody()).is_none());
    }
}
