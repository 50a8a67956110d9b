//! Which tags a repository has (distribution-spec, "Listing Tags"). No registry counts that as a pull.

use serde::Deserialize;

use super::{Push, denied};
use crate::error::{Context, Error, Result};
use crate::http::{Request, StatusCode, same_origin, shown};

/// Longest page that is read.
const PAGE: u64 = 4 << 20;
/// Most pages that are read.
const PAGES: u64 = 200;

/// The tags of a repository.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Listing {
    /// None where the registry does not list them.
    pub tags: Option<Vec<String>>,
    /// Requests that it took.
    pub requests: u64,
}

#[derive(Deserialize)]
struct Page {
    /// `null` in a repository without tags, as docker-registry says it.
    tags: Option<Vec<String>>,
}

impl Push<'_> {
    /// All tags of the repository, over all pages.
    ///
    /// # Errors
    ///
    /// When the registry does not answer, or not with a list. One that refuses to list is no error.
    pub fn tags(&self) -> Result<Listing> {
        let mut url = self.registry.url(self.cx, self.to, "tags/list")?;
        let mut found = Vec::new();
        for requests in 1..=PAGES {
            let response = self.send(None, &Request::get(url.clone()))?;
            let next = response.text_header("link").and_then(next).map(str::to_owned);
            match response.status() {
                StatusCode::OK => {}
                StatusCode::NOT_FOUND => {
                    // A repository that is not there yet.
                    let tags = Some(found);
                    return Ok(Listing { tags, requests });
                }
                StatusCode::UNAUTHORIZED
                | StatusCode::FORBIDDEN
                | StatusCode::BAD_REQUEST
                | StatusCode::METHOD_NOT_ALLOWED
                | StatusCode::NOT_IMPLEMENTED => return Ok(Listing { tags: None, requests }),
                _ => return Err(denied(response, self.to)),
            }
            let malformed = || format!("{}: the list of tags is malformed", shown(&url));
            let page: Page = serde_json::from_slice(&response.into_bytes(PAGE)?).context(malformed)?;
            found.extend(page.tags.unwrap_or_default());
            let Some(next) = next else {
                let tags = Some(found);
                return Ok(Listing { tags, requests });
            };
            let following = url.join(&next).context(malformed)?;
            if !same_origin(&following, &url) || following == url {
                return Err(Error::new(format!(
                    "{}: the list of tags goes on at {}",
                    shown(&url),
                    shown(&following)
                )));
            }
            url = following;
        }
        Err(Error::new(format!(
            "{}: the list of tags has more than {PAGES} pages",
            self.to.name()
        )))
    }
}

/// `</v2/a/b/tags/list?last=1.0&n=100>; rel="next"` (RFC 8288).
fn next(link: &str) -> Option<&str> {
    link.split(',').find_map(|one| {
        let (target, parameters) = one.trim().strip_prefix('<')?.split_once('>')?;
        let relation = parameters.split(';').map(str::trim);
        let is_next = |parameter: &str| matches!(parameter, "rel=next" | "rel=\"next\"");
        relation.into_iter().any(is_next).then_some(target)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_next_page_is_found() {
        assert_eq!(
            next(r#"</v2/a/tags/list?last=b&n=2>; rel="next""#),
            Some("/v2/a/tags/list?last=b&n=2")
        );
        assert_eq!(next("<x>; rel=prev, <y>; rel=next"), Some("y"));
        for none in ["", "<x>", "x; rel=next", r#"<x>; rel="prev""#, "<x; rel=next"] {
            assert_eq!(next(none), None, "{none}");
        }
    }
}
