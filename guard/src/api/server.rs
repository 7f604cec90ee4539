//! The daemon's end of the control socket: checks who asks, reads one request a line, hands it to the engine's
//! thread and writes the answer. It decides nothing itself.

use std::future::Future;
use std::io;
use std::os::fd::AsFd;
use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::unix::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::{Semaphore, oneshot};
use tokio::time::timeout;

pub use super::listen::{ListenError, Listener};
use super::{Answer, Caller, ErrorClass, Request, peer};
use crate::source::Closed;

/// Longest request with its newline, in bytes.
pub const MAX_REQUEST: usize = 64 * 1024;
/// Connections served at once.
pub const MAX_CONNECTIONS: usize = 256;
/// How long a connection may take for its next request to be there as a whole.
pub const REQUEST_TIME: Duration = Duration::from_secs(10);
/// How long the engine may take to answer.
const ANSWER_TIME: Duration = Duration::from_secs(120);
/// How long a caller may take to read its answer.
const WRITE_TIME: Duration = Duration::from_secs(30);

/// A request on its way to the engine's thread.
#[derive(Debug)]
pub struct Asked {
    /// Who asks.
    pub caller: Caller,
    /// What is asked. Whether the caller may ask it has been checked.
    pub request: Request,
    /// Where the answer goes. Dropped without one, the caller is told that the daemon is stopping.
    pub reply: oneshot::Sender<Answer>,
}

/// What the server has counted since its start.
#[derive(Debug, Default)]
pub struct ApiCount {
    /// Requests handed on.
    pub requests: AtomicU64,
    /// Connections and requests refused because of who asked.
    pub refused: AtomicU64,
    /// Who was refused last, if anybody was.
    pub refused_uid: AtomicU32,
    /// Requests that were malformed, too long or too slow.
    pub malformed: AtomicU64,
    /// Connections turned away because too many were open.
    pub turned_away: AtomicU64,
}

/// Serves the control socket until `stop` is ready. `send` must not block; an error means the engine has gone.
/// Must run inside a tokio runtime with I/O and time.
pub async fn serve<S>(
    listener: Listener,
    count: Arc<ApiCount>,
    send: S,
    stop: impl Future<Output = ()>,
) -> io::Result<()>
where
    S: Fn(Asked) -> Result<(), Closed> + Clone + Send + Sync + 'static,
{
    let sockets = UnixListener::from_std(listener.socket.try_clone()?)?;
    let places = Arc::new(Semaphore::new(MAX_CONNECTIONS));
    let mut stop = pin!(stop);
    loop {
        let accepted = tokio::select! {
            () = &mut stop => return Ok(()),
            accepted = sockets.accept() => accepted,
        };
        let stream = match accepted {
            Ok((stream, _)) => stream,
            Err(error) => {
                // Out of descriptors, most likely: the connections that are open must end first.
                tracing::warn!(%error, "control socket: a connection could not be accepted");
                tokio::time::sleep(Duration::from_millis(50)).await;
                continue;
            }
        };
        let Ok(place) = Arc::clone(&places).try_acquire_owned() else {
            count.turned_away.fetch_add(1, Ordering::Relaxed);
            turn_away(&stream);
            continue;
        };
        let session = Session { send: send.clone(), count: Arc::clone(&count), group: listener.group };
        tokio::spawn(async move {
            session.run(stream).await;
            drop(place);
        });
    }
}

/// One connection.
struct Session<S> {
    send: S,
    count: Arc<ApiCount>,
    group: Option<u32>,
}

impl<S: Fn(Asked) -> Result<(), Closed>> Session<S> {
    async fn run(&self, stream: UnixStream) {
        let Some((caller, may_change)) = self.admit(&stream) else {
            let (_, mut write) = stream.into_split();
            let _ = write_answer(&mut write, &denied("only root and the configured group may ask")).await;
            return;
        };
        let (read, mut write) = stream.into_split();
        let mut read = BufReader::new(read);
        loop {
            let (answer, go_on) = match next_line(&mut read).await {
                Line::Request(line) => (self.answer(caller, may_change, &line).await, true),
                Line::Ended => return,
                Line::Bad(message) => {
                    self.count.malformed.fetch_add(1, Ordering::Relaxed);
                    (usage(message.into()), false)
                }
            };
            if write_answer(&mut write, &answer).await.is_err() || !go_on {
                return;
            }
        }
    }

    /// Who the peer is, and whether it may change anything; `None` if it may not even read.
    fn admit(&self, stream: &UnixStream) -> Option<(Caller, bool)> {
        let Ok(credentials) = stream.peer_cred() else {
            self.count.refused.fetch_add(1, Ordering::Relaxed);
            return None;
        };
        let caller = Caller { uid: credentials.uid(), pid: credentials.pid().unwrap_or(0) };
        // The daemon's own user, when that is not root, could do the same through ptrace(2).
        let may_change = caller.uid == 0 || caller.uid == rustix::process::geteuid().as_raw();
        let in_group =
            |group| credentials.gid() == group || peer::in_group(stream.as_fd(), group).unwrap_or(false);
        if may_change || self.group.is_some_and(in_group) {
            return Some((caller, may_change));
        }
        self.refuse(caller, "a connection");
        None
    }

    fn refuse(&self, caller: Caller, what: &str) {
        self.count.refused_uid.store(caller.uid, Ordering::Relaxed);
        self.count.refused.fetch_add(1, Ordering::Relaxed);
        tracing::warn!(uid = caller.uid, pid = caller.pid, "control socket: {what} was refused");
    }

    async fn answer(&self, caller: Caller, may_change: bool, line: &[u8]) -> Answer {
        let request: Request = match serde_json::from_slice(line) {
            Ok(request) => request,
            Err(error) => {
                self.count.malformed.fetch_add(1, Ordering::Relaxed);
                return usage(format!("this is not a request: {error}"));
            }
        };
        if request.is_change() && !may_change {
            self.refuse(caller, "a change");
            return denied("only root may change anything; try again with sudo");
        }
        self.count.requests.fetch_add(1, Ordering::Relaxed);
        let (reply, answer) = oneshot::channel();
        if (self.send)(Asked { caller, request, reply }).is_err() {
            return failed("the daemon is stopping");
        }
        match timeout(ANSWER_TIME, answer).await {
            Ok(Ok(answer)) => answer,
            Ok(Err(_)) => failed("the daemon is stopping"),
            Err(_) => failed("the engine did not answer in time; see its log: journalctl -u guard"),
        }
    }
}

/// What came in.
enum Line {
    /// A whole line.
    Request(Vec<u8>),
    /// The peer has closed, or was silent for too long between requests.
    Ended,
    /// Something that cannot be gone on with.
    Bad(&'static str),
}

async fn next_line(read: &mut BufReader<OwnedReadHalf>) -> Line {
    let mut line = Vec::new();
    let mut limited = read.take(MAX_REQUEST as u64);
    match timeout(REQUEST_TIME, limited.read_until(b'\n', &mut line)).await {
        Ok(Ok(_)) if line.last() == Some(&b'\n') => Line::Request(line),
        Ok(Ok(_)) if line.len() >= MAX_REQUEST => Line::Bad("the request is longer than 64 KiB"),
        Ok(_) => Line::Ended,
        Err(_) if line.is_empty() => Line::Ended,
        Err(_) => Line::Bad("the request did not arrive within 10 seconds"),
    }
}

async fn write_answer(write: &mut OwnedWriteHalf, answer: &Answer) -> io::Result<()> {
    let mut line = encoded(answer);
    line.push(b'\n');
    timeout(WRITE_TIME, write.write_all(&line)).await?
}

/// Tells a connection that is not served why, as far as that takes no waiting.
fn turn_away(stream: &UnixStream) {
    let mut line = encoded(&failed("too many connections; try again in a moment"));
    line.push(b'\n');
    let _ = stream.try_write(&line);
}

fn encoded(answer: &Answer) -> Vec<u8> {
    // Every answer is maps with text keys, numbers and text, which JSON can always hold.
    serde_json::to_vec(answer).unwrap_or_else(|_| {
        br#"{"answer":"error","value":{"class":"failed","message":"the answer cannot be written as JSON"}}"#
            .to_vec()
    })
}

fn usage(message: String) -> Answer {
    Answer::Error { class: ErrorClass::Usage, message }
}

fn denied(message: &str) -> Answer {
    Answer::Error { class: ErrorClass::Denied, message: message.into() }
}

fn failed(message: &str) -> Answer {
    Answer::Error { class: ErrorClass::Failed, message: message.into() }
}
