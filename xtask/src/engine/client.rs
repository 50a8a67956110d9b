//! Docker's own client, where it is asked for what only it does: `docker build`.

use std::path::PathBuf;

use crate::error::{Error, Result};
use crate::shell::Shell;

/// Before this version the client had BuildKit itself; from it on it wants the component buildx.
const WITHOUT: u32 = 23;

/// The first `docker` on PATH that builds with BuildKit.
///
/// # Errors
///
/// When there is none.
pub fn with_buildkit(shell: &Shell) -> Result<PathBuf> {
    let able = |docker: &PathBuf| {
        let said = |args: &[&str]| {
            let output = shell.command(docker).args(args).output().ok()?;
            output.status.success().then(|| output.text())
        };
        let old = said(&["version", "--format", "{{.Client.Version}}"]).is_some_and(|version| {
            let major = version
                .trim()
                .split('.')
                .next()
                .and_then(|major| major.parse::<u32>().ok());
            major.is_some_and(|major| major < WITHOUT)
        });
        old || said(&["buildx", "version"]).is_some()
    };
    shell.every("docker").into_iter().find(able).ok_or_else(|| {
        Error::new("there is no `docker` on PATH that builds with BuildKit")
            .hint("Debian's package docker-buildx brings the component; the client of Docker 20.10 needs none")
    })
}
