//! Reading a file that another process writes to and may truncate: through system calls into a few windows.
//! A memory map would be ended by SIGBUS there.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

const WINDOW: usize = 16 * 1024;
const SLOTS: usize = 16;

/// A file through windows that remember what was read.
#[derive(Debug)]
pub(super) struct Windows {
    file: File,
    slots: [Slot; SLOTS],
    scratch: Vec<u8>,
}

#[derive(Debug, Default)]
struct Slot {
    /// Index of the window plus one, 0 if there is none.
    window: u64,
    length: usize,
    bytes: Vec<u8>,
}

impl Windows {
    pub(super) fn new(file: File) -> Self {
        Self { file, slots: Default::default(), scratch: Vec::new() }
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Forgets what was read, because the file may have changed.
    pub(super) fn forget(&mut self) {
        for slot in &mut self.slots {
            slot.window = 0;
        }
    }

    /// `length` bytes at `offset`; `UnexpectedEof` if the file ends before. The caller bounds `length`.
    pub(super) fn bytes(&mut self, offset: u64, length: usize) -> io::Result<&[u8]> {
        let (window, at) = (offset / WINDOW as u64, (offset % WINDOW as u64) as usize);
        if at + length > WINDOW {
            self.scratch.resize(length, 0);
            self.file.read_exact_at(&mut self.scratch, offset)?;
            return Ok(&self.scratch);
        }
        let slot = &mut self.slots[(window % SLOTS as u64) as usize];
        if slot.window != window + 1 {
            slot.fill(&self.file, window)?;
        }
        slot.bytes[..slot.length].get(at..at + length).ok_or_else(|| io::ErrorKind::UnexpectedEof.into())
    }
}

impl Slot {
    fn fill(&mut self, file: &File, window: u64) -> io::Result<()> {
        self.bytes.resize(WINDOW, 0);
        self.window = 0;
        self.length = file.read_at(&mut self.bytes, window * WINDOW as u64)?;
        self.window = window + 1;
        Ok(())
    }
}
