//! Who may write: the password, the session it opens, and the proof that a form is ours.

pub mod bearer;
pub mod check;
pub mod cookie;
pub mod csrf;
pub mod device;
pub mod owner;
pub mod password;
pub mod scope;
pub mod session;
pub mod throttle;
pub mod totp;

pub use owner::{Owner, OwnerForm, OwnerUpload, Visitor};
