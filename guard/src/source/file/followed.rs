//! Which files a reader follows, and the way to give it more of them while it runs.

use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::mpsc::{Receiver, Sender, channel};

use rustix::event::{EventfdFlags, eventfd};

use crate::sighting::SourceId;
use crate::source::Position;
use crate::time::Wall;

/// A file to be followed.
#[derive(Clone, Debug)]
pub struct Followed {
    /// Number of the source it is.
    pub source: SourceId,
    /// Its path.
    pub path: PathBuf,
    /// Where its path comes from.
    pub origin: Origin,
    /// How far it was read before.
    pub position: Option<Position>,
}

/// Where the path of a file comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A person named it: it is waited for while it is not there, and without a position read from its end.
    Named,
    /// It was found in a folder: it is given up when it has gone.
    Found {
        /// Without a position, a file that was born later is read from its beginning, because nothing of it can have
        /// been read or been old when guard first looked. `None`: every file is read from its end.
        since: Option<Wall>,
    },
}

impl Followed {
    /// A file that a person named and that has never been read.
    pub fn named(source: SourceId, path: PathBuf) -> Self {
        Self { source, path, origin: Origin::Named, position: None }
    }
}

/// Gives a reader more files, while it runs or before.
#[derive(Clone, Debug)]
pub struct Inbox {
    files: Sender<Followed>,
    bell: Arc<OwnedFd>,
}

/// The reader's end of an [`Inbox`].
#[derive(Debug)]
pub struct Waiting {
    files: Receiver<Followed>,
    bell: Arc<OwnedFd>,
}

/// A way to give a reader files, and its end for the reader.
pub fn inbox() -> io::Result<(Inbox, Waiting)> {
    let bell = Arc::new(eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
    let (to, from) = channel();
    Ok((Inbox { files: to, bell: Arc::clone(&bell) }, Waiting { files: from, bell }))
}

impl Inbox {
    /// Gives the reader a file. One that has ended takes nothing any more.
    pub fn add(&self, file: Followed) {
        if self.files.send(file).is_ok() {
            // Fails only when the counter is at its maximum, and then the reader will look.
            let _ = rustix::io::write(&*self.bell, &1u64.to_ne_bytes());
        }
    }
}

impl Waiting {
    /// Takes the files that have been given.
    pub(super) fn take(&self) -> Vec<Followed> {
        // Fails when nobody has rung. Before the files are taken: one that comes in between rings again.
        let _ = rustix::io::read(&*self.bell, &mut [0; 8]);
        self.files.try_iter().collect()
    }

    /// Readable when there are files.
    pub(super) fn bell(&self) -> BorrowedFd<'_> {
        self.bell.as_fd()
    }
}
