//! Base images: where they come from.
