//! What each platform can execute.
