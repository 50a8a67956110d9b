//! Every query there is, by table. Each takes a connection, so that several fit into one transaction.

pub mod media;
pub mod owner;
pub mod posts;
pub mod sessions;
pub mod site;
