//! Images: shown to whoever may see a post that shows them, and sent in by the owner.

mod body;
pub mod show;
