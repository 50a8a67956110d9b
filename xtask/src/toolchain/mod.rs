//! Tools that the pipeline needs and fetches itself.

pub mod debs;
