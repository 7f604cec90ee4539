//! A small HTTP/1.1 server for two pages: `GET /metrics` and `GET /healthz`. One request a connection.

use std::future::Future;
use std::io;
use std::net::SocketAddr;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Semaphore;
use tokio::time::timeout;

use super::{CONTENT_TYPE, Snapshot, render};

/// Longest request head in bytes.
const MAX_HEAD: usize = 8 * 1024;
/// Connections served at once; the rest waits in the kernel's queue.
const MAX_CONNECTIONS: usize = 64;
/// How long a whole connection may take, and how long the engine may.
const PATIENCE: Duration = Duration::from_secs(5);

/// Listens where the configuration says.
pub async fn bind(address: SocketAddr) -> io::Result<TcpListener> {
    TcpListener::bind(address).await
}

/// Serves until `stop` is ready. `ask` gets a snapshot from the engine's thread; `None` says that it has gone.
pub async fn serve<A, F>(listener: TcpListener, ask: A, stop: impl Future<Output = ()>)
where
    A: Fn() -> F + Clone + Send + Sync + 'static,
    F: Future<Output = Option<Snapshot>> + Send + 'static,
{
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let next = async {
            let place = Arc::clone(&places).acquire_owned().await;
            (place, listener.accept().await)
        };
        let (place, accepted) = tokio::select! {
            () = &mut stop => return,
            next = next => next,
        };
        let Ok((stream, _)) = accepted else {
            // Out of descriptors, most likely: the connections that are open must end first.
            tokio::time::sleep(Duration::from_millis(50)).await;
            continue;
        };
        let ask = ask.clone();
        tokio::spawn(async move {
            let _ = timeout(2 * PATIENCE, talk(stream, ask)).await;
            drop(place);
        });
    }
}

/// What is answered: status line, content type, body.
type Page = (&'static str, &'static str, String);

const PLAIN: &str = "text/plain; charset=utf-8";

async fn talk<A, F>(mut stream: TcpStream, ask: A) -> io::Result<()>
where
    A: Fn() -> F,
    F: Future<Output = Option<Snapshot>>,
{
    let head = match timeout(PATIENCE, read_head(&mut stream)).await {
        Ok(head) => head?,
        Err(_) => Head::TooSlow,
    };
    let (status, kind, body) = match head {
        Head::Whole(head) => page(&head, ask).await,
        Head::TooLong => told("431 Request Header Fields Too Large", "the request is longer than 8 KiB"),
        Head::TooSlow => told("408 Request Timeout", "the request did not arrive within 5 seconds"),
        Head::Ended => return Ok(()),
    };
    let allow = if status.starts_with("405") { "Allow: GET\r\n" } else { "" };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {kind}\r\nContent-Length: {}\r\n{allow}X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).await?;
    stream.write_all(body.as_bytes()).await?;
    stream.shutdown().await
}

/// The beginning of a request, up to its empty line.
enum Head {
    Whole(Vec<u8>),
    TooLong,
    TooSlow,
    Ended,
}

async fn read_head(stream: &mut (impl AsyncRead + Unpin)) -> io::Result<Head> {
    let mut head = Vec::with_capacity(1024);
    while !head.windows(4).any(|end| end == b"\r\n\r\n") {
        if head.len() >= MAX_HEAD {
            return Ok(Head::TooLong);
        }
        let mut limited = (&mut *stream).take((MAX_HEAD - head.len()) as u64);
        if limited.read_buf(&mut head).await? == 0 {
            return Ok(Head::Ended);
        }
    }
    Ok(Head::Whole(head))
}

async fn page<A, F>(head: &[u8], ask: A) -> Page
where
    A: Fn() -> F,
    F: Future<Output = Option<Snapshot>>,
{
    let line = head.split(|byte| *byte == b'\r').next().unwrap_or_default();
    let mut words = line.split(|byte| *byte == b' ');
    let (method, target, version, rest) = (words.next(), words.next(), words.next(), words.next());
    if rest.is_some() || !version.is_some_and(|version| version.starts_with(b"HTTP/1.")) {
        return told("400 Bad Request", "this is not HTTP/1.1");
    }
    if method != Some(b"GET") {
        return told("405 Method Not Allowed", "only GET");
    }
    let path = target.unwrap_or_default().split(|byte| *byte == b'?').next();
    let (metrics, health) = (path == Some(b"/metrics"), path == Some(b"/healthz"));
    if !metrics && !health {
        return told("404 Not Found", "there are /metrics and /healthz");
    }
    match timeout(PATIENCE, ask()).await {
        Ok(Some(snapshot)) if metrics => ("200 OK", CONTENT_TYPE, render(&snapshot)),
        Ok(Some(_)) => told("200 OK", "ok"),
        _ => told("503 Service Unavailable", "the engine does not answer"),
    }
}

fn told(status: &'static str, text: &str) -> Page {
    (status, PLAIN, format!("{text}\n"))
}
