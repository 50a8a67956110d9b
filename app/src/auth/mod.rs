//! Who may write: the password, the session it opens, and the proof that a form is ours.

pub mod cookie;
pub mod csrf;
pub mod owner;
pub mod password;
pub mod session;
pub mod throttle;

pub use owner::{Owner, OwnerForm, OwnerUpload, Visitor};
