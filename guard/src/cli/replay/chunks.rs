//! A log in chunks of whole lines.

use std::io::{self, Read};
use std::ops::Range;

use crate::source::MAX_LINE;

/// Bytes read at once: small enough to stay in the processor's cache.
const BUFFER: usize = 256 * 1024;

/// Whole lines; a cut line and the last one may have no newline, always as the last of their chunk.
pub(super) struct Chunk {
    buffer: Box<[u8]>,
    lines: Range<usize>,
}

impl Chunk {
    /// An empty one, to be read into.
    pub(super) fn new() -> Self {
        Self { buffer: vec![0; BUFFER].into(), lines: 0..0 }
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

/// Reads a log chunk by chunk.
pub(super) struct Chunks<'a> {
    input: &'a mut (dyn Read + Send),
    /// The beginning of a line whose end has not been read.
    rest: Vec<u8>,
    /// The rest of a line that was cut is skipped up to its newline.
    skipping: bool,
    volume: Volume,
}

impl<'a> Chunks<'a> {
    /// The chunks of a log.
    pub(super) fn of(input: &'a mut (dyn Read + Send)) -> Self {
        Self { input, rest: Vec::new(), skipping: false, volume: Volume::default() }
    }

    /// How much has been read.
    pub(super) fn volume(&self) -> Volume {
        self.volume
    }

    /// Reads the next chunk, and answers whether there was one.
    pub(super) fn next(&mut self, chunk: &mut Chunk) -> io::Result<bool> {
        loop {
            let kept = self.rest.len();
            chunk.buffer[..kept].copy_from_slice(&self.rest);
            let count = match self.input.read(&mut chunk.buffer[kept..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            let text = &chunk.buffer[..kept + count];
            if self.volume.bytes == 0
                && let Some(tool) = unpacker(text)
            {
                let hint = format!("it is compressed; `{tool} FILE | guardctl replay -` reads what is in it");
                return Err(io::Error::new(io::ErrorKind::InvalidData, hint));
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
