//! A log in chunks of whole lines, which several threads take one after the other.

use std::fs::File;
use std::io::{self, Read};
use std::ops::Range;
use std::sync::{Mutex, PoisonError};

use super::parts::Parts;
use crate::source::MAX_LINE;

/// Bytes read at once: small enough to stay in the processor's cache.
pub(super) const BUFFER: usize = 256 * 1024;

/// Whole lines; a cut line and the last one may have no newline, always as the last of their chunk.
pub(super) struct Chunk {
    /// Room for [`BUFFER`] bytes and for the rest of the line they end in, up to where it is cut.
    pub(super) buffer: Box<[u8]>,
    pub(super) lines: Range<usize>,
}

impl Chunk {
    /// An empty one, to be read into.
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER + MAX_LINE + 1].into(), lines: 0..0 }
    }

    /// Its lines.
    pub(super) fn text(&self) -> &[u8] {
        &self.buffer[self.lines.clone()]
    }
}

/// How much was read.
#[derive(Clone, Copy, Debug, Default)]
pub(super) struct Volume {
    pub(super) bytes: u64,
    /// Lines cut because they are longer than guard reads.
    pub(super) cut: u64,
}

/// A log.
pub(super) enum Log<'a> {
    /// What can be read at any place: threads read at the same time.
    Parts(Parts<'a>),
    /// What comes once and in order: they read in turns.
    Stream(Mutex<Stream<'a>>),
}

impl<'a> Log<'a> {
    /// A file. What has no length, like a device or a pipe, is a stream.
    pub(super) fn file(file: &'a mut File) -> io::Result<Self> {
        let about = file.metadata()?;
        if about.is_file() && about.len() > 0 {
            return Ok(Self::Parts(Parts::of(file, about.len(), BUFFER)));
        }
        Ok(Self::stream(file))
    }

    /// What is read as it comes.
    pub(super) fn stream(input: &'a mut (dyn Read + Send)) -> Self {
        Self::Stream(Mutex::new(Stream { chunks: Chunks::of(input), taken: 0, outcome: Ok(()) }))
    }

    /// Reads the next chunk and answers its number; `None` at the end of the log, and once it could not be read.
    pub(super) fn next(&self, chunk: &mut Chunk) -> Option<u64> {
        match self {
            Self::Parts(parts) => parts.next(chunk),
            Self::Stream(stream) => stream.lock().unwrap_or_else(PoisonError::into_inner).next(chunk),
        }
    }

    /// How much was read, or why that failed.
    pub(super) fn volume(self) -> io::Result<Volume> {
        match self {
            Self::Parts(parts) => parts.volume(),
            Self::Stream(stream) => {
                let stream = stream.into_inner().unwrap_or_else(PoisonError::into_inner);
                stream.outcome.map(|()| stream.chunks.volume)
            }
        }
    }
}

/// A stream, and how many of its chunks have been taken.
pub(super) struct Stream<'a> {
    chunks: Chunks<'a>,
    taken: u64,
    /// Why it could not be read to its end.
    outcome: io::Result<()>,
}

impl Stream<'_> {
    fn next(&mut self, chunk: &mut Chunk) -> Option<u64> {
        if self.outcome.is_err() {
            return None;
        }
        match self.chunks.next(chunk) {
            Ok(true) => {
                self.taken += 1;
                Some(self.taken - 1)
            }
            Ok(false) => None,
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }
}

/// Reads a stream chunk by chunk.
struct Chunks<'a> {
    input: &'a mut (dyn Read + Send),
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// The rest of a line that was cut is skipped up to its newline.
    skipping: bool,
    volume: Volume,
}

impl<'a> Chunks<'a> {
    /// The chunks of a stream.
    fn of(input: &'a mut (dyn Read + Send)) -> Self {
        Self { input, rest: Vec::new(), skipping: false, volume: Volume::default() }
    }

    /// Reads the next chunk, and answers whether there was one.
    fn next(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        loop {
            let kept = self.rest.len();
            chunk.buffer[..kept].copy_from_slice(&self.rest);
            let count = match self.input.read(&mut chunk.buffer[kept..BUFFER]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let text = &chunk.buffer[..kept + count];
            if self.volume.bytes == 0 {
                refuse_packed(text)?;
            }
            self.volume.bytes += count as u64;
            self.rest.clear();
            if count == 0 {
                chunk.lines = 0..text.len();
                return Ok(!text.is_empty());
            }
            let mut start = 0;
            if self.skipping {
                let Some(end) = memchr::memchr(b'\n', text) else { continue };
                (start, self.skipping) = (end + 1, false);
            }
            let mut end = memchr::memrchr(b'\n', &text[start..]).map_or(start, |last| start + last + 1);
            if text.len() - end > MAX_LINE {
                end += MAX_LINE;
                self.volume.cut += 1;
                self.skipping = true;
            } else {
                self.rest.extend_from_slice(&text[end..]);
            }
            chunk.lines = start..end;
            return Ok(true);
        }
    }
}

/// Refuses a log that begins like a compressed one.
pub(super) fn refuse_packed(text: &[u8]) -> io::Result<()> {
    let Some(tool) = unpacker(text) else { return Ok(()) };
    let hint = format!("it is compressed; `{tool} FILE | guardctl replay -` reads what is in it");
    Err(io::Error::new(io::ErrorKind::InvalidData, hint))
}

/// What unpacks a file that begins like this; `None` if it is not compressed.
fn unpacker(text: &[u8]) -> Option<&'static str> {
    const PACKED: [(&[u8], &str); 5] = [
        (b"\x1f\x8b", "zcat"),
        (b"\xfd7zXZ\0", "xzcat"),
        (b"\x28\xb5\x2f\xfd", "zstdcat"),
        (b"\x04\x22\x4d\x18", "lz4cat"),
        (b"BZh", "bzcat"),
    ];
    // A text may begin with these letters; in a compressed file six bytes of pi follow, or of its root if it is empty.
    let bzip = |text: &[u8]| [&b"1AY&SY"[..], b"\x17rE8P\x90"].contains(&text.get(4..10).unwrap_or_default());
    let (_, tool) = PACKED.into_iter().find(|(magic, _)| text.starts_with(magic))?;
    (tool != "bzcat" || bzip(text)).then_some(tool)
}
