//! From the text of a post to safe HTML. CommonMark is read by pulldown-cmark; every element and attribute that comes
//! out is written here.
//!
//! Other than CommonMark: a line break is kept, `#words` become links to their tags, bare addresses become links, there
//! is no raw HTML, and no picture comes from elsewhere. `prepare` has the finer points.

mod events;
mod html;
mod link;
mod plain;
mod prepare;

pub use html::{html, html_at};
pub use plain::{excerpt, plain, tags};

/// The address as it may stand in a link: `http:` or `https:`, in plain ASCII. None for every other scheme.
pub fn web_address(typed: &str) -> Option<String> {
    match link::Target::parse(typed)? {
        link::Target::Web(url) => Some(url),
        _ => None,
    }
}

/// Where the HTML will stand.
#[derive(Debug, Clone, Copy)]
pub struct Place<'a> {
    /// Put before addresses of this blog; empty on its own pages.
    pub base: &'a str,
    /// The address of the post below `base`: away from its page, `#here` is a place in the post.
    pub permalink: &'a str,
    /// What the highest heading becomes: 2 below a title that is the page's h1, 3 in a list of posts with titles.
    pub heading: u8,
}

impl<'a> Place<'a> {
    /// The page of the post.
    pub const PAGE: Place<'static> = Place {
        base: "",
        permalink: "",
        heading: 2,
    };
    /// A list of posts.
    pub const LIST: Place<'static> = Place {
        base: "",
        permalink: "",
        heading: 3,
    };

    /// A list of posts, for one that has a title there or has none: headings follow on what is above them.
    pub fn listed(has_title: bool) -> Place<'static> {
        if has_title { Self::LIST } else { Self::PAGE }
    }

    /// A feed: readers do not know where `/posts/1` is, so addresses are whole if the blog knows its own.
    pub fn feed(base: &'a str, permalink: &'a str) -> Self {
        Self {
            base,
            permalink,
            heading: 3,
        }
    }
}

#[cfg(test)]
mod hostile;
