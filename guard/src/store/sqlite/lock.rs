//! One daemon for one state folder: an advisory lock on a file of its own, with the owner's pid in it.

use std::fs::{File, OpenOptions};
use std::io::{Read, Seek, Write};
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use rustix::fs::{FlockOperation, flock};

use crate::store::StoreError;

/// The lock, held while this lives and given back by the kernel even after `kill -9`.
#[derive(Debug)]
pub(super) struct Lock {
    file: File,
    /// Whether the last owner stopped without giving the lock back.
    pub(super) was_abandoned: bool,
}

impl Lock {
    /// Takes the lock of a state folder.
    pub(super) fn take(folder: &Path) -> Result<Self, StoreError> {
        let path = folder.join("lock");
        let failed = |e: &std::io::Error| StoreError::from_io("locking the state", &path, e);
        let mut file = OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .mode(0o600)
            .custom_flags(libc::O_NOFOLLOW)
            .open(&path)
            .map_err(|e| failed(&e))?;
        match flock(&file, FlockOperation::NonBlockingLockExclusive) {
            Ok(()) => {}
            Err(rustix::io::Errno::WOULDBLOCK) => {
                return Err(StoreError::Busy { path: folder.display().to_string(), pid: owner(&mut file) });
            }
            Err(e) => return Err(failed(&e.into())),
        }
        let was_abandoned = owner(&mut file) != 0;
        let lock = Self { file, was_abandoned };
        lock.sign(&std::process::id().to_string()).map_err(|e| failed(&e))?;
        Ok(lock)
    }

    fn sign(&self, text: &str) -> std::io::Result<()> {
        let mut file = &self.file;
        file.rewind()?;
        file.set_len(0)?;
        file.write_all(text.as_bytes())
    }
}

impl Drop for Lock {
    /// An empty lock file tells the next owner that the state was closed in order.
    fn drop(&mut self) {
        // If it fails, the next start only checks more than it had to.
        let _ = self.sign("");
        // Not left to the closing of the file: a child between fork and exec still holds a copy of it.
        let _ = flock(&self.file, FlockOperation::Unlock);
    }
}

/// The pid written into the file, 0 if there is none.
fn owner(file: &mut File) -> u32 {
    let mut text = String::new();
    let read = file.rewind().and_then(|()| Read::take(file, 16).read_to_string(&mut text));
    read.ok().and_then(|_| text.trim().parse().ok()).unwrap_or(0)
}
