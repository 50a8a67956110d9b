//! Micropub (W3C Recommendation of 23 May 2017): what programs send, read into values, and what they mean for this blog.
//! Nothing here touches a request, the database or the disk.

pub mod meaning;
pub mod properties;
pub mod request;

pub use meaning::{Meaning, Photo};
pub use properties::Properties;
pub use request::{Changes, Request};

/// Why a request means nothing here; one English sentence for whoever wrote the program.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invalid(pub String);

impl Invalid {
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }
}
