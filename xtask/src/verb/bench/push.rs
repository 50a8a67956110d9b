//! What a second push sends after a change of one byte in the program: by us, by skopeo, by docker; into one registry, over a
//! wire that counts.

use std::fs;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use super::assemble::{Ours, app_entries, empty};
use super::figures::{Goal, Row, Samples, Unit};
use super::{DIR, made};
use crate::cx::Cx;
use crate::error::{Context, Error, Result};
use crate::oci::layer::EntryKind;
use crate::oci::{Image, ImageIndex, ImageName, Reference};
use crate::publish::daemon::Daemon;
use crate::publish::layout;
use crate::registry::Registry;
use crate::shell::Running;
use crate::target::Base;

/// Most that may be sent, by the compressed layer that is new.
const TIMES: f64 = 1.02;

/// One row for what we send, and one for each of the others.
pub fn measure(cx: &Cx) -> Result<Vec<Row>> {
    let bench = cx.root.join(DIR).join("push");
    empty(&bench)?;
    let first = made(cx, Base::Scratch)?;
    let second = changed(cx, &first)?;
    let layer: u64 = second.app_layers().iter().map(|layer| layer.size()).sum();
    let note = "all bytes from client to registry on the second push, heads of requests included, after one byte of the program \
                changed; a Debian docker-registry; no attestations";
    let row = |against: Option<(&str, Option<Samples>)>, ours: Option<Samples>, goal, note: String| {
        Row::new("second push", Unit::Bytes, ours, against, goal, note)
    };
    if cx.shell.which("docker-registry").is_none() {
        return Ok(vec![row(
            None,
            None,
            None,
            "docker-registry is not installed".to_owned(),
        )]);
    }
    let server = Server::start(cx, &bench)?;
    cx.ui.step("Measuring", "bytes of a second push");
    let images = [&first, &second];
    let ours = ours(cx, &server, images).map(|bytes| Samples::new(vec![bytes]))?;
    let limit = Some(Goal::Limit(layer as f64 * TIMES));
    let mut rows = vec![row(
        None,
        ours.clone(),
        limit,
        format!("{note}; the limit is {TIMES} x the compressed layer"),
    )];
    for (name, theirs) in [
        ("skopeo copy", skopeo(cx, &server, &bench, images)),
        ("docker push", docker(cx, &server, images)),
    ] {
        rows.push(match theirs {
            Ok(bytes) => row(
                Some((name, Samples::new(vec![bytes]))),
                ours.clone(),
                None,
                note.to_owned(),
            ),
            Err(error) => row(Some((name, None)), ours.clone(), None, error.to_string()),
        });
    }
    Ok(rows)
}

/// The image with another last byte in its program.
fn changed(cx: &Cx, image: &Image) -> Result<Image> {
    let config = image.config_json();
    let program = config["config"]["Entrypoint"][0].as_str().unwrap_or_default();
    let program = program.trim_start_matches('/').to_owned();
    let mut entries = app_entries(image)?;
    for entry in entries.iter_mut().filter(|entry| entry.path == program) {
        if let EntryKind::File(bytes) = &mut entry.kind
            && let Some(last) = bytes.last_mut()
        {
            *last ^= 1;
        }
    }
    Ours::prepare(cx, &entries, &config)?.image()
}

fn ours(cx: &Cx, server: &Server, images: [&Image; 2]) -> Result<f64> {
    let registry = Registry::from_environment();
    let to: Reference = format!("{}/ours/blog:1", server.host()).parse()?;
    let mut before = 0;
    for image in images {
        before = server.sent();
        registry
            .push_to(cx, &to)
            .index(&ImageIndex::new(vec![image.clone()])?)?;
    }
    Ok((server.sent() - before) as f64)
}

fn skopeo(cx: &Cx, server: &Server, bench: &Path, images: [&Image; 2]) -> Result<f64> {
    if cx.shell.which("skopeo").is_none() {
        return Err(Error::new("skopeo is not installed"));
    }
    let mut before = 0;
    for (number, image) in images.into_iter().enumerate() {
        let dir = bench.join(format!("layout-{number}"));
        layout::write_index(
            &dir,
            &ImageName::new("blog", "1")?,
            &ImageIndex::new(vec![image.clone()])?,
        )?;
        before = server.sent();
        cx.shell
            .command("skopeo")
            .args([
                "copy",
                "--quiet",
                "--insecure-policy",
                "--all",
                "--preserve-digests",
                "--dest-tls-verify=false",
            ])
            .arg(format!("oci:{}:1", dir.display()))
            .arg(format!("docker://{}/skopeo/blog:1", server.host()))
            .read()?;
    }
    Ok((server.sent() - before) as f64)
}

fn docker(cx: &Cx, server: &Server, images: [&Image; 2]) -> Result<f64> {
    if cx.shell.which("docker").is_none() {
        return Err(Error::new("docker is not installed"));
    }
    let name: ImageName = format!("{}/docker/blog:1", server.host()).parse()?;
    let daemon = Daemon::from_environment()?;
    let mut before = 0;
    let mut pushed = Ok(());
    for image in images {
        daemon.load(&cx.ui, &name, image)?;
        before = server.sent();
        pushed = cx
            .shell
            .command("docker")
            .args(["push", "--quiet", &name.to_string()])
            .read()
            .map(drop);
        cx.shell
            .command("docker")
            .args(["image", "rm", &name.to_string()])
            .read()?;
        if pushed.is_err() {
            break;
        }
    }
    pushed.map(|()| (server.sent() - before) as f64)
}

/// A docker-registry behind a wire that counts what clients send.
struct Server {
    address: SocketAddr,
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
    /// Ends with it.
    _process: Running,
}

impl Server {
    fn start(cx: &Cx, dir: &Path) -> Result<Server> {
        let port = TcpListener::bind("127.0.0.1:0")?.local_addr()?.port();
        let config: PathBuf = dir.join("registry.yml");
        let text = format!(
            "version: 0.1\nlog:\n  level: error\nstorage:\n  filesystem:\n    rootdirectory: {}\nhttp:\n  addr: 127.0.0.1:{port}\n",
            dir.join("storage").display()
        );
        fs::write(&config, text).context(|| format!("cannot write {}", config.display()))?;
        let command = cx.shell.command("docker-registry").arg("serve").arg(&config);
        let process = command.spawn(Stdio::null(), Stdio::null())?;
        let end = Instant::now() + Duration::from_secs(20);
        while TcpStream::connect(("127.0.0.1", port)).is_err() {
            if Instant::now() > end {
                return Err(Error::new("docker-registry does not answer"));
            }
            std::thread::sleep(Duration::from_millis(20));
        }
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let (sent, stop): (Arc<AtomicU64>, Arc<AtomicBool>) = Default::default();
        let (count, ends) = (Arc::clone(&sent), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if ends.load(Ordering::SeqCst) {
                    return;
                }
                if let (Ok(client), Ok(server)) = (client, TcpStream::connect(("127.0.0.1", port))) {
                    carry(&client, &server, &count);
                }
            }
        });
        Ok(Server {
            address,
            sent,
            stop,
            thread: Some(thread),
            _process: process,
        })
    }

    fn host(&self) -> SocketAddr {
        self.address
    }

    fn sent(&self) -> u64 {
        self.sent.load(Ordering::SeqCst)
    }
}

/// Both ways, in threads that end with the connection.
fn carry(client: &TcpStream, server: &TcpStream, count: &Arc<AtomicU64>) {
    let pipe = |from: &TcpStream, to: &TcpStream, count: Option<Arc<AtomicU64>>| {
        let (Ok(mut from), Ok(mut to)) = (from.try_clone(), to.try_clone()) else {
            return;
        };
        std::thread::spawn(move || {
            let mut buffer = [0; 16 << 10];
            while let Ok(length @ 1..) = from.read(&mut buffer) {
                if let Some(count) = &count {
                    count.fetch_add(length as u64, Ordering::SeqCst);
                }
                if to.write_all(&buffer[..length]).is_err() {
                    break;
                }
            }
            let _ = to.shutdown(std::net::Shutdown::Write);
        });
    };
    pipe(client, server, Some(Arc::clone(count)));
    pipe(server, client, None);
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        // Wakes the thread that waits for the next client.
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
