//! A server on loopback whose answers, and accidents, a test decides.

use std::fmt;
use std::io::{self, BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, SystemTime};

use rustls::pki_types::{CertificateDer, PrivateKeyDer, PrivatePkcs8KeyDer};
use xtask::http::Timer;

/// A request as it came in.
#[derive(Clone, Debug)]
pub struct Seen {
    pub method: String,
    /// Path and query, or what else stands in the first line.
    pub target: String,
    /// Names in lower case.
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
}

impl Seen {
    pub fn header(&self, name: &str) -> Option<&str> {
        let found = self.headers.iter().find(|(header, _)| header == name);
        found.map(|(_, value)| value.as_str())
    }

    /// The first byte that `Range: bytes=N-` asks for.
    pub fn range(&self) -> Option<usize> {
        self.header("range")?
            .strip_prefix("bytes=")?
            .strip_suffix('-')?
            .parse()
            .ok()
    }
}

/// How an answer goes wrong, after so many bytes of its body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A reset by the other side (RST).
    Reset(usize),
    /// An orderly end that comes too early.
    Close(usize),
    /// Silence, until the client has had enough.
    Stall(usize),
}

/// An answer.
#[derive(Clone, Debug)]
pub struct Reply {
    pub status: u16,
    pub headers: Vec<(String, String)>,
    pub body: Vec<u8>,
    pub fault: Option<Fault>,
}

impl Reply {
    pub fn new(status: u16, body: impl Into<Vec<u8>>) -> Self {
        Reply {
            status,
            headers: Vec::new(),
            body: body.into(),
            fault: None,
        }
    }

    pub fn header(mut self, name: &str, value: impl fmt::Display) -> Self {
        self.headers.push((name.to_owned(), value.to_string()));
        self
    }

    pub fn fault(mut self, fault: Fault) -> Self {
        self.fault = Some(fault);
        self
    }

    /// The bytes, or the part of them that `Range` asks for.
    pub fn ranged(seen: &Seen, bytes: &[u8]) -> Self {
        match seen.range() {
            None => Reply::new(200, bytes),
            Some(start) if start < bytes.len() => Reply::new(206, &bytes[start..]).header(
                "Content-Range",
                format!("bytes {start}-{}/{}", bytes.len() - 1, bytes.len()),
            ),
            Some(_) => Reply::new(416, "").header("Content-Range", format!("bytes */{}", bytes.len())),
        }
    }
}

/// A certificate, its key, and the authority that signed it: all of them new.
pub struct Certificates {
    pub authority: String,
    pub certificate: String,
    pub key: String,
    der: (CertificateDer<'static>, PrivateKeyDer<'static>),
}

impl Certificates {
    /// For localhost and 127.0.0.1.
    pub fn new() -> Self {
        Certificates::valid(1975, 4096)
    }

    /// The same from the first day of one year to that of another.
    pub fn valid(from: i32, until: i32) -> Self {
        let key = rcgen::KeyPair::generate().unwrap();
        let mut params = rcgen::CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = rcgen::IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
        params
            .distinguished_name
            .push(rcgen::DnType::CommonName, "a company of its own");
        let authority = params.self_signed(&key).unwrap();
        let issuer = rcgen::Issuer::new(params, key);
        let key = rcgen::KeyPair::generate().unwrap();
        let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
        let mut params = rcgen::CertificateParams::new(names).unwrap();
        params.not_before = rcgen::date_time_ymd(from, 1, 1);
        params.not_after = rcgen::date_time_ymd(until, 1, 1);
        let signed = params.signed_by(&key, &issuer).unwrap();
        Certificates {
            authority: authority.pem(),
            certificate: signed.pem(),
            key: key.serialize_pem(),
            der: (
                signed.der().clone(),
                PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der())),
            ),
        }
    }

    fn config(&self) -> Arc<rustls::ServerConfig> {
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let config = rustls::ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .unwrap()
            .with_no_client_auth()
            .with_single_cert(vec![self.der.0.clone()], self.der.1.clone_key());
        Arc::new(config.unwrap())
    }
}

type Handler = dyn Fn(&Seen) -> Reply + Send + Sync;

/// The server; it stops when it is dropped.
pub struct Server {
    address: SocketAddr,
    scheme: &'static str,
    seen: Arc<Mutex<Vec<Seen>>>,
    connections: Arc<Mutex<usize>>,
    stop: Arc<AtomicBool>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Server {
    /// Plain HTTP.
    pub fn start(handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Server::with(None, handler)
    }

    /// HTTPS.
    pub fn start_tls(certificates: &Certificates, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        Server::with(Some(certificates.config()), handler)
    }

    fn with(tls: Option<Arc<rustls::ServerConfig>>, handler: impl Fn(&Seen) -> Reply + Send + Sync + 'static) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let scheme = if tls.is_some() { "https" } else { "http" };
        let (seen, stop): (Arc<Mutex<Vec<Seen>>>, Arc<AtomicBool>) = Default::default();
        let connections: Arc<Mutex<usize>> = Arc::default();
        let handler: Arc<Handler> = Arc::new(handler);
        let thread = {
            let (seen, stop, connections) = (Arc::clone(&seen), Arc::clone(&stop), Arc::clone(&connections));
            std::thread::spawn(move || {
                for stream in listener.incoming() {
                    if stop.load(Ordering::SeqCst) {
                        return;
                    }
                    let Ok(stream) = stream else { continue };
                    *connections.lock().unwrap() += 1;
                    let (seen, handler, tls) = (Arc::clone(&seen), Arc::clone(&handler), tls.clone());
                    std::thread::spawn(move || {
                        // A client that goes away is the client's business.
                        let _ = match tls {
                            None => serve(&stream, &stream, &seen, &*handler),
                            Some(config) => secure(&stream, config, &seen, &*handler),
                        };
                    });
                }
            })
        };
        Server {
            address,
            scheme,
            seen,
            connections,
            stop,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    pub fn url(&self, path: &str) -> String {
        format!("{}://{}{path}", self.scheme, self.address)
    }

    /// All requests so far.
    pub fn seen(&self) -> Vec<Seen> {
        self.seen.lock().unwrap().clone()
    }

    /// All connections so far.
    pub fn connections(&self) -> usize {
        *self.connections.lock().unwrap()
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn secure(
    raw: &TcpStream,
    config: Arc<rustls::ServerConfig>,
    seen: &Mutex<Vec<Seen>>,
    handler: &Handler,
) -> io::Result<()> {
    let connection = rustls::ServerConnection::new(config).map_err(io::Error::other)?;
    let stream = rustls::StreamOwned::new(connection, raw.try_clone()?);
    serve(stream, raw, seen, handler)
}

fn serve(stream: impl Read + Write, raw: &TcpStream, seen: &Mutex<Vec<Seen>>, handler: &Handler) -> io::Result<()> {
    let mut stream = BufReader::new(Both(stream));
    // The start of a TLS handshake: answered as Go's servers do it, or it would be read until a newline comes along.
    if stream.fill_buf()?.first() == Some(&0x16) {
        stream
            .get_mut()
            .0
            .write_all(b"HTTP/1.0 400 Bad Request\r\n\r\nthis is no TLS\n")?;
        return raw.shutdown(std::net::Shutdown::Write);
    }
    while let Some(request) = request(&mut stream)? {
        seen.lock().unwrap().push(request.clone());
        let reply = handler(&request);
        let out = stream.get_mut();
        write!(out.0, "HTTP/1.1 {} Because\r\n", reply.status)?;
        let has_length = reply
            .headers
            .iter()
            // Chunked is what comes without a length; only HEAD, which has no body, is answered so here.
            .any(|(name, _)| {
                name.eq_ignore_ascii_case("content-length") || name.eq_ignore_ascii_case("transfer-encoding")
            });
        for (name, value) in &reply.headers {
            write!(out.0, "{name}: {value}\r\n")?;
        }
        if !has_length && reply.status != 204 {
            write!(out.0, "Content-Length: {}\r\n", reply.body.len())?;
        }
        write!(out.0, "\r\n")?;
        let body = if request.method == "HEAD" { &[][..] } else { &reply.body };
        let Some(fault) = reply.fault else {
            out.0.write_all(body)?;
            out.0.flush()?;
            continue;
        };
        let (Fault::Reset(count) | Fault::Close(count) | Fault::Stall(count)) = fault;
        out.0.write_all(&body[..count.min(body.len())])?;
        out.0.flush()?;
        match fault {
            Fault::Reset(_) => {
                // What was sent before must arrive, or the reset would overtake it.
                std::thread::sleep(Duration::from_millis(20));
                socket2::SockRef::from(raw).set_linger(Some(Duration::ZERO))?;
            }
            Fault::Close(_) => raw.shutdown(std::net::Shutdown::Both)?,
            Fault::Stall(_) => {
                // Until the client closes.
                let _ = io::copy(&mut &*raw, &mut io::sink());
            }
        }
        return Ok(());
    }
    Ok(())
}

/// `BufReader` wants one value that reads and writes.
struct Both<S>(S);

impl<S: Read> Read for Both<S> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        self.0.read(buffer)
    }
}

fn request(stream: &mut impl BufRead) -> io::Result<Option<Seen>> {
    let mut line = String::new();
    if stream.read_line(&mut line)? == 0 {
        return Ok(None);
    }
    let mut words = line.split_whitespace().map(str::to_owned);
    let (method, target) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let mut headers = Vec::new();
    loop {
        let mut line = String::new();
        if stream.read_line(&mut line)? == 0 {
            return Ok(None);
        }
        let Some((name, value)) = line.trim_end().split_once(':') else {
            break;
        };
        headers.push((name.to_lowercase(), value.trim().to_owned()));
    }
    let mut seen = Seen {
        method,
        target,
        headers,
        body: Vec::new(),
    };
    let length = seen
        .header("content-length")
        .and_then(|text| text.parse().ok())
        .unwrap_or(0);
    seen.body = vec![0; length];
    stream.read_exact(&mut seen.body)?;
    Ok(Some(seen))
}

/// A clock that stands still but for the waits, which take no time and are written down.
#[derive(Debug)]
pub struct Waits {
    now: Mutex<SystemTime>,
    slept: Mutex<Vec<Duration>>,
}

impl Waits {
    pub fn new() -> Arc<Self> {
        let start = SystemTime::UNIX_EPOCH + Duration::from_secs(1_700_000_000);
        Arc::new(Waits {
            now: Mutex::new(start),
            slept: Mutex::default(),
        })
    }

    /// The waits so far, in seconds.
    pub fn seconds(&self) -> Vec<f64> {
        self.slept.lock().unwrap().iter().map(Duration::as_secs_f64).collect()
    }

    /// Lets time pass.
    pub fn pass(&self, time: Duration) {
        *self.now.lock().unwrap() += time;
    }
}

impl Timer for Waits {
    fn now(&self) -> SystemTime {
        *self.now.lock().unwrap()
    }

    fn sleep(&self, time: Duration) {
        self.pass(time);
        self.slept.lock().unwrap().push(time);
    }

    fn jitter(&self) -> f64 {
        1.0
    }
}
