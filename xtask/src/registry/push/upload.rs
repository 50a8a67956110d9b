//! One blob into one repository: a state machine that the registry's answers drive (distribution-spec, "Pushing blobs").

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use indicatif::ProgressBar;
use url::Url;

use super::{Content, Push, denied};
use crate::error::{Context, Error, Result};
use crate::http::{Body, HeaderValue, Method, Request, Response, StatusCode, Watch, header, shown};
use crate::oci::Reference;

/// Largest chunk that is sent because a registry wants it (`OCI-Chunk-Min-Length`).
const LARGEST: usize = 256 << 20;

/// What became of a blob or a document.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sent {
    /// The repository had it.
    Present,
    /// Another repository of the registry had it.
    Mounted,
    /// It was uploaded.
    Uploaded,
}

/// How an upload goes on.
enum Step {
    /// The registry has this much, and wants the rest here.
    At(Url, usize),
    /// It has all of it.
    Done,
    /// It knows nothing of this upload any more.
    Lost,
    /// It says no, and will say it again.
    Refused(Error),
}

/// A request that failed, and may not fail the next time.
struct Setback {
    error: Error,
    after: Option<Duration>,
}

impl From<Error> for Setback {
    fn from(error: Error) -> Self {
        Setback { error, after: None }
    }
}

impl Push<'_> {
    /// Puts a blob into the repository, unless it is there.
    pub fn blob(&self, content: &Content) -> Result<Sent> {
        if self.has(self.to, content)? {
            self.forget(content)?;
            return Ok(Sent::Present);
        }
        let size = usize::try_from(content.size())?;
        let mut tries = self.registry.client.tries();
        // Only large ones are in the journal: a small one is sent again as soon as it is asked for.
        let before = self.journal.as_ref().filter(|_| size > self.chunk);
        let mut before = match before.and_then(|journal| journal.get(self.to, content.digest(), content.size())) {
            Some(entry) => self.resumable(&entry.url)?,
            None => None,
        };
        loop {
            let resumed = before.is_some();
            let (mut step, mut chunk) = match before.take() {
                Some(url) => (self.progress(&url, size)?, self.chunk),
                None => self.begin(content)?,
            };
            if let Step::Done = step {
                return Ok(Sent::Mounted);
            }
            if let (true, Step::At(_, at)) = (resumed, &step) {
                let text = format!("{} from byte {at} of {size}", content.label());
                self.cx.ui.step("Resuming", &text);
            }
            if size <= self.chunk && size <= chunk {
                chunk = size.max(1);
            } else if let Step::At(url, at) = &step {
                // Before the first byte: who dies after it knows where to ask.
                self.note(content, url, *at)?;
            }
            let bar = Bar::new(self, content);
            let lost = loop {
                step = match step {
                    Step::Lost => break true,
                    Step::Refused(_) if resumed => break true,
                    Step::Refused(error) => return Err(error),
                    Step::Done => break false,
                    Step::At(url, at) => {
                        bar.at(at);
                        let end = at.saturating_add(chunk).min(size);
                        // All of it in one request, or the rest after what was sent in pieces.
                        let result = match at == size || at == 0 && end == size {
                            true => self.close(&url, content, at, &bar),
                            false => self.patch(&url, content, at, end, &bar),
                        };
                        match result {
                            Ok(step) => {
                                if let Step::At(url, now) = &step {
                                    if *now > at {
                                        tries.progress();
                                    }
                                    self.note(content, url, *now)?;
                                }
                                step
                            }
                            Err(Setback { error, after }) => {
                                // Whether it can be gone on with is what the registry says now, not what failed before.
                                tries.pause(&self.registry.client, self.cx, error, after)?;
                                self.progress(&url, size)?
                            }
                        }
                    }
                }
            };
            drop(bar);
            // Uploads run out; what was sent is gone with it. It may also have been complete.
            self.forget(content)?;
            if self.has(self.to, content)? {
                return Ok(Sent::Uploaded);
            }
            let name = self.to.name();
            if !lost {
                return Err(Error::new(format!(
                    "{name}: the registry took blob {} and does not have it",
                    content.digest()
                ))
                .hint("try again; if it stays so, the registry is damaged"));
            }
            // What an earlier process began had no claim to be there still.
            if !resumed {
                let error = Error::new(format!("{name}: the registry lost the upload of {}", content.digest()));
                tries.pause(&self.registry.client, self.cx, error, None)?;
            }
        }
    }

    /// Whether a repository has a blob, of the right size.
    pub(super) fn has(&self, repository: &Reference, content: &Content) -> Result<bool> {
        let digest = content.digest();
        let url = self.registry.url(self.cx, repository, &format!("blobs/{digest}"))?;
        let from = (repository != self.to).then_some(repository);
        let response = self.send(from, &Request::head(url))?;
        match response.status() {
            StatusCode::OK => match response.content_length() {
                Some(length) if length != content.size() => Err(Error::new(format!(
                    "{} has {digest} with {length} bytes, and it has {}",
                    repository.name(),
                    content.size()
                ))),
                _ => Ok(true),
            },
            StatusCode::NOT_FOUND => Ok(false),
            _ => Err(denied(response, repository)),
        }
    }

    /// The repository that is asked for a mount: where the blob is known to be, else the first that has it.
    pub(super) fn mountable(&self, content: &Content) -> Option<&Reference> {
        let of = |from: &Reference| {
            let known = content.repository()?;
            (known.registry() == from.registry() && known.repository() == from.repository()).then_some(())
        };
        if let Some(from) = self.mounts.iter().find(|from| of(from).is_some()) {
            return Some(from);
        }
        match &self.mounts[..] {
            // No need to ask: what is not there begins an upload.
            [from] => Some(from),
            several => several.iter().find(|from| self.has(from, content).unwrap_or(false)),
        }
    }

    /// An address of the journal, if an upload may go on there.
    fn resumable(&self, url: &str) -> Result<Option<Url>> {
        let own = self.registry.url(self.cx, self.to, "")?;
        let url = Url::parse(url).ok().filter(|url| url.host().is_some());
        Ok(url.filter(|url| url.scheme() == "https" || url.scheme() == own.scheme()))
    }

    fn note(&self, content: &Content, url: &Url, acknowledged: usize) -> Result<()> {
        match &self.journal {
            Some(journal) => journal.put(self.to, content.digest(), content.size(), url, acknowledged as u64),
            None => Ok(()),
        }
    }

    fn forget(&self, content: &Content) -> Result<()> {
        match &self.journal {
            Some(journal) => journal.forget(self.to, content.digest()),
            None => Ok(()),
        }
    }

    /// Asks for an upload, or for a mount. Done means that it was mounted. With the size that chunks should have.
    fn begin(&self, content: &Content) -> Result<(Step, usize)> {
        if let Some(from) = self.mountable(content) {
            let response = self.ask(Some((from, content)))?;
            match response.status() {
                StatusCode::CREATED => return Ok((Step::Done, self.chunk)),
                StatusCode::ACCEPTED => return self.begun(&response),
                // Who may not read there, or a registry without mounts: an upload of its own.
                _ => {}
            }
        }
        let response = self.ask(None)?;
        match response.status() {
            StatusCode::ACCEPTED => self.begun(&response),
            _ => Err(denied(response, self.to)),
        }
    }

    fn ask(&self, mount: Option<(&Reference, &Content)>) -> Result<Response> {
        let mut url = self.registry.url(self.cx, self.to, "blobs/uploads/")?;
        if let Some((from, content)) = mount {
            url.query_pairs_mut()
                .append_pair("mount", &content.digest().to_string())
                .append_pair("from", from.repository());
        }
        // Begun twice, one of the two is forgotten by the registry after a while.
        let request = Request::new(Method::POST, url)
            .body(Body::Bytes(Arc::from([])))
            .repeatable();
        self.send(mount.map(|(from, _)| from), &request)
    }

    fn begun(&self, response: &Response) -> Result<(Step, usize)> {
        let least = response
            .text_header("oci-chunk-min-length")
            .and_then(|text| text.parse().ok());
        let chunk = least.unwrap_or(0).clamp(self.chunk, LARGEST.max(self.chunk));
        let named = || format!("{} begins an upload and does not say where", shown(response.url()));
        Ok((Step::At(location(response)?.context(named)?, 0), chunk))
    }

    fn patch(&self, url: &Url, content: &Content, at: usize, end: usize, bar: &Bar) -> Result<Step, Setback> {
        let range = format!("{at}-{}", end - 1);
        let request = Request::new(Method::PATCH, url.clone())
            .header(
                header::CONTENT_RANGE,
                HeaderValue::from_str(&range).map_err(Error::from)?,
            )
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(self.body(content, at, end, bar)?);
        let response = self.send(None, &request)?;
        match response.status() {
            StatusCode::CREATED => Ok(Step::Done),
            StatusCode::ACCEPTED | StatusCode::NO_CONTENT => {
                let next = location(&response)?.unwrap_or_else(|| url.clone());
                // It may have taken less than it was sent, never more.
                let have = acknowledged(&response)?.unwrap_or(end);
                match have <= end {
                    true => Ok(Step::At(next, have)),
                    false => Err(Error::new(format!("{} says that it has {have} bytes of {end}", shown(url))).into()),
                }
            }
            StatusCode::NOT_FOUND => Ok(Step::Lost),
            status if is_final(status) => Ok(Step::Refused(denied(response, self.to))),
            _ => Err(self.setback(response)),
        }
    }

    fn close(&self, url: &Url, content: &Content, at: usize, bar: &Bar) -> Result<Step, Setback> {
        let mut closing = url.clone();
        closing
            .query_pairs_mut()
            .append_pair("digest", &content.digest().to_string());
        let request = Request::new(Method::PUT, closing)
            .header(
                header::CONTENT_TYPE,
                HeaderValue::from_static("application/octet-stream"),
            )
            .body(self.body(content, at, usize::try_from(content.size()).map_err(Error::from)?, bar)?)
            .once();
        let response = self.send(None, &request)?;
        match response.status() {
            StatusCode::CREATED | StatusCode::NO_CONTENT | StatusCode::OK => Ok(Step::Done),
            StatusCode::NOT_FOUND => Ok(Step::Lost),
            status if is_final(status) => Ok(Step::Refused(denied(response, self.to))),
            _ => Err(self.setback(response)),
        }
    }

    fn setback(&self, response: Response) -> Setback {
        Setback {
            after: response.retry_after(self.registry.client.timer().now()),
            error: denied(response, self.to),
        }
    }

    fn body(&self, content: &Content, at: usize, end: usize, bar: &Bar) -> Result<Body> {
        let (bytes, range) = content.part(self.registry, self.cx, at..end)?;
        Ok(Body::Part {
            bytes,
            range,
            watch: bar.watch(&self.sent),
        })
    }

    /// How much of an upload the registry has.
    fn progress(&self, url: &Url, size: usize) -> Result<Step> {
        let response = self.send(None, &Request::get(url.clone()))?;
        match response.status() {
            StatusCode::NO_CONTENT | StatusCode::OK | StatusCode::ACCEPTED => {
                let next = location(&response)?.unwrap_or_else(|| url.clone());
                match acknowledged(&response)?.unwrap_or(0) {
                    have if have <= size => Ok(Step::At(next, have)),
                    // More than there is can only be something else.
                    _ => Ok(Step::Lost),
                }
            }
            // Gone, or a registry that does not tell: from the start.
            _ => Ok(Step::Lost),
        }
    }
}

/// A bar that grows as bytes go out, and goes away when the upload is over; lines where there is no terminal.
struct Bar(ProgressBar);

impl Bar {
    fn new(push: &Push<'_>, content: &Content) -> Self {
        let bar = push.cx.ui.bytes_bar("Uploading", content.size());
        bar.set_message(format!("{} {}", content.label(), super::short(content.digest())));
        if !push.cx.ui.is_terminal() && content.size() > push.chunk as u64 {
            let size = crate::ui::bytes(content.size());
            push.cx.ui.step("Uploading", &format!("{} ({size})", content.label()));
        }
        Bar(bar)
    }

    fn at(&self, bytes: usize) {
        self.0.set_position(bytes as u64);
    }

    fn watch(&self, sent: &Arc<AtomicU64>) -> Watch {
        let (bar, sent) = (self.0.clone(), Arc::clone(sent));
        Watch::new(move |count| {
            sent.fetch_add(count, Ordering::SeqCst);
            bar.inc(count);
        })
    }
}

impl Drop for Bar {
    fn drop(&mut self) {
        self.0.finish_and_clear();
    }
}

/// An answer that no waiting changes. 408 and 429 pass, 416 means that we disagree on how much is there.
fn is_final(status: StatusCode) -> bool {
    status.is_client_error()
        && !matches!(
            status,
            StatusCode::REQUEST_TIMEOUT | StatusCode::TOO_MANY_REQUESTS | StatusCode::RANGE_NOT_SATISFIABLE
        )
}

/// `Location`, which may be relative. Nothing that began by HTTPS goes on without.
pub(super) fn location(response: &Response) -> Result<Option<Url>> {
    let Some(text) = response.text_header("location") else {
        return Ok(None);
    };
    let named = || format!("{} goes on at no address", shown(response.url()));
    let url = response.url().join(text).context(named)?;
    match (url.scheme(), response.url().scheme()) {
        ("https", _) | ("http", "http") if url.host().is_some() => Ok(Some(url)),
        _ => Err(Error::new(named())),
    }
}

/// `Range: 0-99` means 100 bytes; `0-0` is what registries say of none, and of one.
fn acknowledged(response: &Response) -> Result<Option<usize>> {
    let Some(text) = response.text_header("range") else {
        return Ok(None);
    };
    let end = text
        .trim()
        .trim_start_matches("bytes=")
        .strip_prefix("0-")
        .and_then(|end| end.parse::<usize>().ok());
    match end {
        // One byte sent twice does no harm where offsets are checked, and no chunk is that short.
        Some(0) => Ok(Some(0)),
        Some(end) => Ok(Some(end + 1)),
        None => Err(Error::new(format!(
            "{} says that it has the range `{}`",
            shown(response.url()),
            crate::http::clean(text)
        ))),
    }
}
