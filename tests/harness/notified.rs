//! A service manager's ear: the socket that `sd_notify(3)` speaks to.

use std::ffi::OsString;
use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// Hears what a service says of itself.
#[derive(Debug)]
pub struct Notified {
    socket: UnixDatagram,
    folder: TempDir,
}

impl Notified {
    /// Listens.
    pub fn new() -> Self {
        let folder = TempDir::with_prefix("guard-notify-").expect("a temporary folder can be made");
        let socket = UnixDatagram::bind(folder.path().join("notify")).expect("the folder is ours");
        Self { socket, folder }
    }

    /// What a service is started with so that it speaks here, and is to be heard at least this often.
    pub fn environment(&self, watchdog: Duration) -> Vec<(&'static str, OsString)> {
        vec![
            ("NOTIFY_SOCKET", self.folder.path().join("notify").into()),
            ("WATCHDOG_USEC", watchdog.as_micros().to_string().into()),
        ]
    }

    /// Waits for a message with this line and answers the whole message.
    #[track_caller]
    pub fn hear(&self, line: &str, limit: Duration) -> String {
        let deadline = Instant::now() + limit;
        let mut message = [0; 4096];
        loop {
            let left = deadline.saturating_duration_since(Instant::now()).max(Duration::from_millis(1));
            self.socket.set_read_timeout(Some(left)).expect("a time-out can be set");
            let length = self
                .socket
                .recv(&mut message)
                .unwrap_or_else(|error| panic!("{line} was not said within {limit:?}: {error}"));
            let text = String::from_utf8_lossy(&message[..length]);
            if text.lines().any(|said| said == line) {
                return text.into_owned();
            }
        }
    }
}

impl Default for Notified {
    fn default() -> Self {
        Self::new()
    }
}
