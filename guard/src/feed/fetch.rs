//! Getting the bytes of a feed, if they are not what they were.

use std::fs::File;
use std::io::Read;
use std::os::unix::fs::{MetadataExt, OpenOptionsExt};
use std::path::Path;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use thiserror::Error;

use crate::config::units::show_size;
use crate::config::{Feed, FeedSource, writable_by_others};

/// What was got.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Fetched {
    /// It is as it was seen last.
    Unchanged,
    /// It is this.
    New {
        /// All of it, unpacked.
        bytes: Vec<u8>,
        /// By what it is known again.
        seen: Seen,
    },
}

/// By what a feed is known again: the server's validators (RFC 9110, 8.8), or what the file system says of a file.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Seen {
    /// The entity tag.
    pub(super) etag: Option<String>,
    /// When it was last modified, as the server writes it.
    pub(super) modified: Option<String>,
}

/// Why there are no bytes.
#[derive(Debug, Error)]
pub(super) enum FetchError {
    /// The server answered with something else.
    #[cfg(feature = "feeds")]
    #[error("the server answered with status {status}")]
    Status {
        /// The status.
        status: u16,
        /// How long it wants to be left alone.
        wait: Option<Duration>,
    },
    /// It is longer than allowed.
    #[error("it is longer than {}; raise max_bytes if that is meant", show_size(*most))]
    TooLong {
        /// Bytes allowed.
        most: u64,
    },
    /// The server could not be reached, or broke off.
    #[cfg(feature = "feeds")]
    #[error("{reason}")]
    Network {
        /// In words.
        reason: String,
    },
    /// Nobody could vouch for the server.
    #[cfg(feature = "feeds")]
    #[error("the certificates in {} cannot be used: {reason}", path.display())]
    Authorities {
        /// The file of its `ca`.
        path: std::path::PathBuf,
        /// Why.
        reason: String,
    },
    /// The unit lets the daemon reach nobody but this machine.
    #[cfg(feature = "feeds")]
    #[error(
        "the system lets guard reach nobody: under systemd, install the drop-in config/systemd/feeds.conf as /etc/systemd/system/guard.service.d/feeds.conf"
    )]
    Sandbox,
    /// The file cannot be read.
    #[error("it cannot be read: {reason}")]
    Unreadable {
        /// Why.
        reason: String,
    },
    /// Others could change the file, and with it who is banned.
    #[error("{reason}; put it right with: {remedy}")]
    Unsafe {
        /// Who could.
        reason: String,
        /// The command that puts it right.
        remedy: String,
    },
    /// This guard cannot fetch.
    #[error("this guard was built without the feature `feeds`: it reads feeds from files only")]
    #[cfg(not(feature = "feeds"))]
    NoClient,
}

impl FetchError {
    /// How long the server wants to be left alone, if it says so.
    pub(super) const fn wait(&self) -> Option<Duration> {
        match self {
            #[cfg(feature = "feeds")]
            Self::Status { wait, .. } => *wait,
            _ => None,
        }
    }
}

/// Gets a feed, unless it is as it was seen.
pub(super) fn fetch(feed: &Feed, seen: &Seen) -> Result<Fetched, FetchError> {
    match &feed.from {
        FeedSource::Path(path) => read(path, feed.max_bytes, seen),
        #[cfg(feature = "feeds")]
        FeedSource::Url(url) => super::http::fetch(feed, url, seen),
        #[cfg(not(feature = "feeds"))]
        FeedSource::Url(_) => Err(FetchError::NoClient),
    }
}

fn read(path: &Path, most: u64, seen: &Seen) -> Result<Fetched, FetchError> {
    let unreadable = |error: std::io::Error| FetchError::Unreadable { reason: error.to_string() };
    // Without O_NONBLOCK, opening a FIFO would wait for a writer.
    let file = File::options().read(true).custom_flags(libc::O_NONBLOCK | libc::O_CLOEXEC).open(path);
    let file = file.map_err(unreadable)?;
    let meta = file.metadata().map_err(unreadable)?;
    if !meta.is_file() {
        return Err(FetchError::Unreadable { reason: "it is not a regular file".into() });
    }
    if let Some((reason, remedy)) = writable_by_others(path, &meta) {
        return Err(FetchError::Unsafe { reason, remedy });
    }
    let modified = format!("{}.{:09} {} {}", meta.mtime(), meta.mtime_nsec(), meta.size(), meta.ino());
    if seen.modified.as_ref() == Some(&modified) {
        return Ok(Fetched::Unchanged);
    }
    let mut bytes = Vec::new();
    file.take(most + 1).read_to_end(&mut bytes).map_err(unreadable)?;
    if bytes.len() as u64 > most {
        return Err(FetchError::TooLong { most });
    }
    Ok(Fetched::New { bytes, seen: Seen { etag: None, modified: Some(modified) } })
}
