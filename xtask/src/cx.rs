//! What every effectful function is given: how to run commands, print, cache, and where the workspace is.

use std::path::{Path, PathBuf};

use crate::cache::Cache;
use crate::shell::Shell;
use crate::ui::Ui;

/// The effects of one run.
#[derive(Debug)]
pub struct Cx {
    /// Starts processes.
    pub shell: Shell,
    /// Prints.
    pub ui: Ui,
    /// Keeps what was fetched.
    pub cache: Cache,
    /// Root of the workspace (the directory of the root Cargo.toml).
    pub root: PathBuf,
    /// `--offline`: nothing may be fetched.
    pub offline: bool,
}

impl Cx {
    /// A path inside the workspace, for messages: relative where possible.
    pub fn show(&self, path: &Path) -> String {
        path.strip_prefix(&self.root).unwrap_or(path).display().to_string()
    }
}
