//! Sinks for images: directory, archive, daemon.
