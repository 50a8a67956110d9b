//! `ssh://`: a socket of our own whose connections are `docker system dial-stdio` over there, as docker's client does it.

use std::fs;
use std::os::fd::OwnedFd;
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;

use super::Ssh;
use crate::error::{Context, Error, Result};
use crate::shell::{Command, Running, Shell};

/// Seconds until a machine that does not answer is given up; docker's client has the same.
const TIMEOUT: u8 = 30;

/// The socket, for as long as this lives.
#[derive(Debug)]
pub(super) struct Relay {
    dir: tempfile::TempDir,
    closing: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    said: PathBuf,
}

impl Relay {
    /// Listens; nothing is started before somebody connects.
    pub(super) fn open(shell: &Shell, ssh: &Ssh) -> Result<Relay> {
        let dir = tempfile::Builder::new()
            .prefix("xtask-ssh-")
            .tempdir()
            .context(|| "cannot make a directory for a socket")?;
        let path = dir.path().join("s");
        let listener = UnixListener::bind(&path).context(|| format!("cannot listen at {}", path.display()))?;
        let said = dir.path().join("stderr");
        let command = command(shell, ssh);
        let closing = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (closing, said) = (Arc::clone(&closing), said.clone());
            // They are killed when this thread ends.
            move || {
                let running: Mutex<Vec<Running>> = Mutex::default();
                for stream in listener.incoming() {
                    if closing.load(Ordering::SeqCst) {
                        break;
                    }
                    let started = stream
                        .map_err(Error::from)
                        .and_then(|stream| dial(&command, stream, &said));
                    let mut running = running.lock().unwrap_or_else(PoisonError::into_inner);
                    running.retain_mut(|child| matches!(child.try_wait(), Ok(None)));
                    match started {
                        Ok(child) => running.push(child),
                        Err(error) => {
                            let _ = fs::write(&said, error.to_string());
                        }
                    }
                }
            }
        });
        Ok(Relay {
            dir,
            closing,
            thread: Some(thread),
            said,
        })
    }

    /// The socket that speaks the engine's API.
    pub(super) fn socket(&self) -> PathBuf {
        self.dir.path().join("s")
    }

    /// What ssh, or docker over there, said last; for an error.
    pub(super) fn said(&self) -> Option<String> {
        let text = fs::read_to_string(&self.said).ok()?;
        let lines: Vec<&str> = text.lines().map(str::trim).filter(|line| !line.is_empty()).collect();
        (!lines.is_empty()).then(|| lines[lines.len().saturating_sub(3)..].join("; "))
    }
}

impl Drop for Relay {
    fn drop(&mut self) {
        self.closing.store(true, Ordering::SeqCst);
        // `accept` returns for this last connection.
        if UnixStream::connect(self.socket()).is_ok()
            && let Some(thread) = self.thread.take()
        {
            let _ = thread.join();
        }
    }
}

/// The connection is ssh's input and output: nothing is copied here.
fn dial(command: &Command, stream: UnixStream, said: &Path) -> Result<Running> {
    let (input, output) = (OwnedFd::from(stream.try_clone()?), OwnedFd::from(stream));
    let errors = fs::OpenOptions::new().create(true).append(true).open(said)?;
    command.spawn_with(|process| {
        process
            .stdin(Stdio::from(input))
            .stdout(Stdio::from(output))
            .stderr(Stdio::from(errors));
    })
}

fn command(shell: &Shell, ssh: &Ssh) -> Command {
    let mut command = shell
        .command("ssh")
        .args(["-o", &format!("ConnectTimeout={TIMEOUT}"), "-T"]);
    if let Some(user) = &ssh.user {
        command = command.args(["-l", user]);
    }
    if let Some(port) = ssh.port {
        command = command.args(["-p", &port.to_string()]);
    }
    command = command.args(["--", &ssh.host, "docker"]);
    if let Some(socket) = &ssh.socket {
        // ssh joins its arguments with blanks, and a shell over there reads the line.
        let quoted = format!("'unix://{}'", socket.replace('\'', r"'\''"));
        command = command.args(["--host", &quoted]);
    }
    command.args(["system", "dial-stdio"])
}

#[cfg(test)]
mod tests {
    use super::super::{Endpoint, parse};
    use super::*;

    fn line(text: &str) -> String {
        match parse(text, None).unwrap() {
            Endpoint::Ssh(ssh) => command(&Shell::default(), &ssh).line(),
            other => panic!("{other}"),
        }
    }

    #[test]
    fn the_command_is_the_one_of_dockers_client() {
        assert_eq!(
            line("ssh://pi"),
            "ssh -o ConnectTimeout=30 -T -- pi docker system dial-stdio"
        );
        assert!(line("ssh://me@pi:2222").contains(" -l me -p 2222 -- pi docker "));
        let quoted = line("ssh://pi/run/it's.sock");
        assert!(quoted.contains("--host"), "{quoted}");
    }

    #[test]
    fn a_relay_that_nobody_uses_goes_away() {
        let relay = Relay::open(
            &Shell::default(),
            &Ssh {
                user: None,
                host: "nowhere.invalid".to_owned(),
                port: None,
                socket: None,
            },
        )
        .unwrap();
        let socket = relay.socket();
        assert!(socket.exists() && relay.said().is_none());
        drop(relay);
        assert!(!socket.exists());
    }
}
