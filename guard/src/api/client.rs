//! The other end of the control socket: what guardctl and tests ask through. Blocking, one request at a time.

use std::io::{self, BufRead, BufReader, ErrorKind, Read, Write};
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::time::Duration;

use thiserror::Error;

use super::{Answer, Request};

/// How long an answer may take.
pub const PATIENCE: Duration = Duration::from_secs(130);

/// Longest answer that is read: a page of 10,000 bans is a few MiB.
const LONGEST: u64 = 64 << 20;

/// Why there is no answer.
#[derive(Debug, Error)]
pub enum ClientError {
    /// Nobody listens.
    #[error(
        "the daemon is not reachable at {}: {reason}\nIs it running? See: systemctl status guard; another socket is named with --socket or --config",
        socket.display()
    )]
    NotReachable {
        /// The socket.
        socket: PathBuf,
        /// What the system said.
        reason: String,
    },
    /// The caller may not use the socket.
    #[error("{}: permission denied; ask as root (sudo), or as a member of the group that `api.group` names", socket.display())]
    Denied {
        /// The socket.
        socket: PathBuf,
    },
    /// The connection broke, or what came was no answer.
    #[error("{}: {reason}", socket.display())]
    Broken {
        /// The socket.
        socket: PathBuf,
        /// In words.
        reason: String,
    },
}

/// A connection to the daemon.
#[derive(Debug)]
pub struct Client {
    stream: BufReader<UnixStream>,
    socket: PathBuf,
}

impl Client {
    /// Connects; answers may take as long as [`PATIENCE`].
    pub fn connect(socket: &Path) -> Result<Self, ClientError> {
        Self::connect_with(socket, PATIENCE)
    }

    /// Connects; answers may take as long as `patience`.
    pub fn connect_with(socket: &Path, patience: Duration) -> Result<Self, ClientError> {
        let stream = UnixStream::connect(socket).map_err(|error| match error.kind() {
            ErrorKind::PermissionDenied => ClientError::Denied { socket: socket.into() },
            _ => ClientError::NotReachable { socket: socket.into(), reason: plain(&error) },
        })?;
        let client = Self { stream: BufReader::new(stream), socket: socket.into() };
        let stream = client.stream.get_ref();
        stream
            .set_read_timeout(Some(patience))
            .and_then(|()| stream.set_write_timeout(Some(patience)))
            .map_err(|error| client.broken(&error))?;
        Ok(client)
    }

    /// Asks, and waits for the answer.
    pub fn ask(&mut self, request: &Request) -> Result<Answer, ClientError> {
        let mut line = serde_json::to_vec(request)
            .map_err(|error| self.broken(&io::Error::new(ErrorKind::InvalidInput, error)))?;
        line.push(b'\n');
        // A daemon that refuses us answers and closes without reading: what it said is still to be read.
        let written = self.stream.get_mut().write_all(&line);
        let mut answer = Vec::new();
        let read = self.stream.by_ref().take(LONGEST).read_until(b'\n', &mut answer);
        if answer.last() != Some(&b'\n') {
            written.map_err(|error| self.broken(&error))?;
            read.map_err(|error| self.broken(&error))?;
            return Err(self.said("the daemon closed the connection without an answer"));
        }
        serde_json::from_slice(&answer).map_err(|error| {
            self.said(&format!(
                "the answer is not understood ({error}); are daemon and guardctl of one version?"
            ))
        })
    }

    fn broken(&self, error: &io::Error) -> ClientError {
        self.said(&match error.kind() {
            ErrorKind::WouldBlock | ErrorKind::TimedOut => "the daemon did not answer in time".into(),
            ErrorKind::BrokenPipe | ErrorKind::ConnectionReset => {
                "the daemon closed the connection without an answer".into()
            }
            _ => plain(error),
        })
    }

    fn said(&self, reason: &str) -> ClientError {
        ClientError::Broken { socket: self.socket.clone(), reason: reason.into() }
    }
}

/// A system error in words, without its number.
fn plain(error: &io::Error) -> String {
    match error.kind() {
        ErrorKind::NotFound => "there is no such socket".into(),
        ErrorKind::ConnectionRefused => "nobody listens there".into(),
        _ => error.to_string(),
    }
}
