//! A log in chunks of whole lines.

use std::io::{self, Read};

use crate::source::MAX_LINE;

/// Bytes read at once: small enough to stay in the processor's cache.
pub(super) const BUFFER: usize = 256 * 1024;

/// Reads logs chunk by chunk.
pub(super) struct Chunks {
    buffer: Vec<u8>,
    /// Bytes read.
    pub(super) bytes: u64,
    /// Lines cut because they are longer than guard reads.
    pub(super) cut: u64,
}

impl Default for Chunks {
    fn default() -> Self {
        Self { buffer: vec![0; BUFFER], bytes: 0, cut: 0 }
    }
}

impl Chunks {
    /// Reads `input` to its end and hands it over in chunks of whole lines; a cut line and the last one may have no
    /// newline, always as the last of their chunk.
    #[inline]
    pub(super) fn read(
        &mut self,
        input: &mut dyn Read,
        mut take: impl FnMut(&[u8]) -> io::Result<()>,
    ) -> io::Result<()> {
        let mut filled = 0;
        // The rest of a line that was cut is skipped up to its newline.
        let mut skipping = false;
        let mut first = true;
        loop {
            let count = match input.read(&mut self.buffer[filled..]) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
                read => read?,
            };
            self.bytes += count as u64;
            let text = &self.buffer[..filled + count];
            if std::mem::take(&mut first)
                && let Some(tool) = unpacker(text)
            {
                let hint = format!("it is compressed; `{tool} FILE | guardctl replay -` reads what is in it");
                return Err(io::Error::new(io::ErrorKind::InvalidData, hint));
            }
            if count == 0 {
                return if skipping { Ok(()) } else { take(text) };
            }
            let mut start = 0;
            if skipping {
                let Some(end) = memchr::memchr(b'\n', text) else {
                    filled = 0;
                    continue;
                };
                (start, skipping) = (end + 1, false);
            }
            let mut end = memchr::memrchr(b'\n', &text[start..]).map_or(start, |last| start + last + 1);
            take(&text[start..end])?;
            if text.len() - end > MAX_LINE {
                take(&text[end..end + MAX_LINE])?;
                self.cut += 1;
                skipping = true;
                end = text.len();
            }
            filled = text.len() - end;
            self.buffer.copy_within(end..end + filled, 0);
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
