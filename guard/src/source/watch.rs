//! Waiting for files and folders to change: inotify and the stop signal in one `poll`.

use std::ffi::OsStr;
use std::io;
use std::mem::MaybeUninit;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::os::unix::ffi::OsStrExt;
use std::path::Path;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::inotify::{self, CreateFlags, ReadFlags, Reader, WatchFlags};
use rustix::io::Errno;

use super::Stop;

/// A watched file or folder, numbered by the kernel; never reused within one [`Watch`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct WatchId(i32);

/// What changed.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Change<'a> {
    /// The watched file was written to, truncated, or changed its attributes.
    File(WatchId),
    /// This name in the watched folder appeared, went, moved or changed its attributes.
    Name(WatchId, &'a OsStr),
    /// The watch ended, because what it watched is gone.
    Ended(WatchId),
    /// The kernel's queue was full: anything may have changed.
    Overflow,
}

/// Why [`Watch::wait`] returned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Wake {
    /// Changes can be read.
    Changed,
    /// One of the other descriptors became readable or ended.
    Other,
    /// The time was up.
    Timeout,
    /// The source must end.
    Stop,
}

/// An inotify instance.
#[derive(Debug)]
pub(super) struct Watch(OwnedFd);

impl Watch {
    pub(super) fn new() -> io::Result<Self> {
        Ok(Self(inotify::init(CreateFlags::CLOEXEC | CreateFlags::NONBLOCK)?))
    }

    /// Watches an open file by its descriptor, so that a rename in between cannot put another file in its place.
    pub(super) fn file(&self, file: impl AsFd) -> io::Result<WatchId> {
        let path = format!("/proc/self/fd/{}", file.as_fd().as_raw_fd());
        let mask = WatchFlags::MODIFY | WatchFlags::ATTRIB;
        Ok(WatchId(inotify::add_watch(&self.0, path, mask)?))
    }

    /// Watches the names in a folder. Asking again for the same folder answers the same number.
    pub(super) fn folder(&self, path: &Path) -> io::Result<WatchId> {
        let mask = WatchFlags::CREATE
            | WatchFlags::MOVE
            | WatchFlags::DELETE
            | WatchFlags::ATTRIB
            | WatchFlags::DELETE_SELF
            | WatchFlags::MOVE_SELF
            | WatchFlags::ONLYDIR;
        Ok(WatchId(inotify::add_watch(&self.0, path, mask)?))
    }

    /// Ends a watch.
    pub(super) fn remove(&self, id: WatchId) {
        // Fails only if the kernel has ended it already.
        let _ = inotify::remove_watch(&self.0, id.0);
    }

    /// Waits for a change, the stop signal, or the end of `timeout`.
    pub(super) fn wait(&self, stop: &Stop, timeout: Duration) -> io::Result<Wake> {
        self.wait_also(stop, std::iter::empty(), timeout)
    }

    /// The same, and for other descriptors.
    pub(super) fn wait_also<'a>(
        &'a self,
        stop: &'a Stop,
        others: impl Iterator<Item = BorrowedFd<'a>>,
        timeout: Duration,
    ) -> io::Result<Wake> {
        let mut fds = vec![PollFd::new(&self.0, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        fds.extend(others.map(|other| PollFd::from_borrowed_fd(other, PollFlags::IN)));
        let timeout = Timespec {
            tv_sec: i64::try_from(timeout.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: timeout.subsec_nanos().into(),
        };
        match poll(&mut fds, Some(&timeout)) {
            Ok(_) | Err(Errno::INTR) => {}
            Err(e) => return Err(e.into()),
        }
        Ok(if !fds[1].revents().is_empty() {
            Wake::Stop
        } else if !fds[0].revents().is_empty() {
            Wake::Changed
        } else if fds[2..].iter().any(|fd| !fd.revents().is_empty()) {
            Wake::Other
        } else {
            Wake::Timeout
        })
    }

    /// Hands every change that is waiting to `each`; does not block.
    pub(super) fn changes(&self, mut each: impl FnMut(Change<'_>)) -> io::Result<()> {
        let mut buffer = [MaybeUninit::uninit(); 16 * 1024];
        let mut reader = Reader::new(&self.0, &mut buffer);
        loop {
            match reader.next() {
                Ok(event) => {
                    let id = WatchId(event.wd());
                    let what = event.events();
                    if what.contains(ReadFlags::QUEUE_OVERFLOW) {
                        each(Change::Overflow);
                    } else if what.intersects(ReadFlags::IGNORED | ReadFlags::MOVE_SELF) {
                        each(Change::Ended(id));
                    } else if let Some(name) = event.file_name() {
                        each(Change::Name(id, OsStr::from_bytes(name.to_bytes())));
                    } else {
                        each(Change::File(id));
                    }
                }
                Err(Errno::AGAIN) => return Ok(()),
                Err(Errno::INTR) => {}
                Err(e) => return Err(e.into()),
            }
        }
    }
}
