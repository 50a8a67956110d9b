//! Every query there is, by table. Each takes a connection, so that several fit into one transaction.

pub mod archive;
pub mod counts;
pub mod due;
pub mod integrity;
pub mod media;
pub mod owner;
pub mod posts;
pub mod reading;
pub mod revisions;
pub mod search;
pub mod second_factor;
pub mod sessions;
pub mod shelves;
pub mod site;
pub mod tokens;
pub mod transfer;
pub mod trash;
pub mod writing;
