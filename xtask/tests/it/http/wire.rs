//! A wire between a client and a server: what a client sends is counted, and the wire can be cut.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;

type Cut = Box<dyn FnOnce() + Send>;

#[derive(Default)]
struct Shared {
    sent: AtomicUsize,
    stop: AtomicBool,
    /// At this many bytes, this is done, and the connection is reset.
    cut: Mutex<Option<(usize, Cut)>>,
}

/// A port of loopback that leads to another.
pub struct Wire {
    address: SocketAddr,
    shared: Arc<Shared>,
    thread: Option<std::thread::JoinHandle<()>>,
}

impl Wire {
    pub fn to(host: &str) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        let shared: Arc<Shared> = Arc::default();
        let (host, all) = (host.to_owned(), Arc::clone(&shared));
        let thread = std::thread::spawn(move || {
            for client in listener.incoming() {
                if all.stop.load(Ordering::SeqCst) {
                    return;
                }
                let (Ok(client), Ok(server)) = (client, TcpStream::connect(&host)) else {
                    continue;
                };
                let (up, down) = (client.try_clone().unwrap(), server.try_clone().unwrap());
                let shared = Arc::clone(&all);
                std::thread::spawn(move || carry(&up, &server, &shared));
                std::thread::spawn(move || {
                    let _ = std::io::copy(&mut &down, &mut &client);
                    let _ = client.shutdown(std::net::Shutdown::Write);
                });
            }
        });
        Wire {
            address,
            shared,
            thread: Some(thread),
        }
    }

    /// `127.0.0.1:PORT`.
    pub fn host(&self) -> String {
        self.address.to_string()
    }

    /// Bytes that clients have sent, heads of requests included.
    pub fn sent(&self) -> usize {
        self.shared.sent.load(Ordering::SeqCst)
    }

    /// After so many more bytes `then` is done, and the connection that sent the last of them is reset on both sides.
    pub fn cut_after(&self, bytes: usize, then: impl FnOnce() + Send + 'static) {
        *self.shared.cut.lock().unwrap() = Some((self.sent() + bytes, Box::new(then)));
    }
}

fn carry(client: &TcpStream, server: &TcpStream, shared: &Shared) {
    let mut buffer = [0; 16 << 10];
    loop {
        let Ok(count) = (&mut &*client).read(&mut buffer) else {
            return;
        };
        if count == 0 {
            let _ = server.shutdown(std::net::Shutdown::Write);
            return;
        }
        let total = shared.sent.fetch_add(count, Ordering::SeqCst) + count;
        let cut = {
            let mut cut = shared.cut.lock().unwrap();
            match &*cut {
                Some((at, _)) if total >= *at => cut.take(),
                _ => None,
            }
        };
        let Some((at, then)) = cut else {
            if (&mut &*server).write_all(&buffer[..count]).is_err() {
                return;
            }
            continue;
        };
        let part = count - (total - at).min(count);
        let _ = (&mut &*server).write_all(&buffer[..part]);
        then();
        // What was sent before must arrive, or the reset would overtake it.
        std::thread::sleep(Duration::from_millis(20));
        for side in [client, server] {
            let _ = socket2::SockRef::from(side).set_linger(Some(Duration::ZERO));
            let _ = side.shutdown(std::net::Shutdown::Both);
        }
        return;
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.shared.stop.store(true, Ordering::SeqCst);
        let _ = TcpStream::connect(self.address);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
