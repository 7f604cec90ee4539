//! A web server that serves one list, as those who publish lists do: with an entity tag.

use std::io::{BufRead, BufReader, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};

use crate::Namespace;

/// Serves a list on loopback of a namespace until it is dropped.
#[derive(Debug)]
pub struct FeedServer {
    address: SocketAddr,
    served: Arc<Mutex<Served>>,
    namespace: std::path::PathBuf,
}

/// What is served, and what was asked.
#[derive(Debug, Default)]
struct Served {
    body: Arc<[u8]>,
    version: u64,
    whole: u64,
    unchanged: u64,
    is_over: bool,
}

impl FeedServer {
    /// Serves a text.
    pub fn new(namespace: &Namespace, body: impl Into<Vec<u8>>) -> Self {
        let listener = namespace.enter(|| TcpListener::bind("127.0.0.1:0")).expect("loopback is up");
        let address = listener.local_addr().expect("it is bound");
        let served = Arc::new(Mutex::new(Served { body: body.into().into(), ..Served::default() }));
        let mine = Arc::clone(&served);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                if lock(&mine).is_over {
                    return;
                }
                // A client that goes away has heard enough.
                let _ = answer(stream, &mine);
            }
        });
        Self { address, served, namespace: namespace.path().into() }
    }

    /// Where it serves.
    pub fn url(&self) -> String {
        format!("http://{}/list", self.address)
    }

    /// Serves another text.
    pub fn set(&self, body: impl Into<Vec<u8>>) {
        let mut served = lock(&self.served);
        served.version += 1;
        served.body = body.into().into();
    }

    /// How often the text was served, and how often it was said that it is unchanged.
    pub fn asked(&self) -> (u64, u64) {
        let served = lock(&self.served);
        (served.whole, served.unchanged)
    }
}

impl Drop for FeedServer {
    fn drop(&mut self) {
        lock(&self.served).is_over = true;
        // The thread waits for a connection: one from inside its namespace ends it.
        let (path, address) = (self.namespace.clone(), self.address);
        let woken = std::thread::spawn(move || {
            let file = std::fs::File::open(path).ok()?;
            let kind = Some(rustix::thread::LinkNameSpaceType::Network);
            rustix::thread::move_into_link_name_space(std::os::fd::AsFd::as_fd(&file), kind).ok()?;
            TcpStream::connect(address).ok()
        });
        let _ = woken.join();
    }
}

fn lock(served: &Mutex<Served>) -> std::sync::MutexGuard<'_, Served> {
    served.lock().unwrap_or_else(PoisonError::into_inner)
}

fn answer(mut stream: TcpStream, served: &Mutex<Served>) -> std::io::Result<()> {
    let mut head = String::new();
    let mut lines = BufReader::new(stream.try_clone()?);
    while !head.ends_with("\r\n\r\n") {
        if lines.read_line(&mut head)? == 0 {
            return Ok(());
        }
    }
    let (body, status, tag) = {
        let mut served = lock(served);
        let tag = format!("\"v{}\"", served.version);
        if head.to_lowercase().contains(&format!("if-none-match: {tag}\r\n")) {
            served.unchanged += 1;
            (Arc::default(), "304 Not Modified", tag)
        } else {
            served.whole += 1;
            (Arc::clone(&served.body), "200 OK", tag)
        }
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status}\r\nETag: {tag}\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n"
    )?;
    stream.write_all(&body)
}
