//! Images: shown to whoever may see a post that shows them, and sent in by the owner.

pub mod add;
mod body;
pub mod delete;
pub mod fields;
pub mod list;
pub mod show;

pub use fields::Images;
