//! Values that are valid once they exist: parse at the edge, trust afterwards.

pub mod calendar;
#[cfg(test)]
pub mod chance;
pub mod content;
pub mod crc;
pub mod cursor;
pub mod fold;
pub mod hex;
pub mod json;
pub mod marks;
pub mod markup;
pub mod percent;
pub mod post_kind;
pub mod post_text;
pub mod random;
pub mod sought;
pub mod tag;
pub mod time;
pub mod zone;

pub use content::{Content, Problem, Typed};
pub use cursor::Cursor;
pub use post_kind::{Kind, State, Visibility};
pub use post_text::{PostText, PostTextError};
pub use tag::Tag;
pub use time::Stamp;
pub use zone::Zone;
