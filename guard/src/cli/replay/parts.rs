//! A log that can be read at any place, in parts that threads read at the same time.
//!
//! A part has the lines that begin behind its newlines, and the first one that of the log's beginning. So no thread needs to
//! know what another has read: it goes on to the first newline of its part, and reads beyond the part to the end of the
//! last line.

use std::fs::File;
use std::io;
use std::ops::Range;
use std::os::unix::fs::FileExt as _;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use super::chunks::{Chunk, Volume, refuse_packed};
use crate::source::MAX_LINE;

/// Bytes that are read beyond a part, in which most lines end.
const BEYOND: usize = 512;

/// The parts of a file.
pub(super) struct Parts<'a> {
    file: &'a File,
    /// Its length when it was opened. What is written to it later is not read.
    length: u64,
    /// Bytes of a part, at most those that a chunk has room for besides the rest of a line.
    size: usize,
    /// Parts that have been taken.
    taken: AtomicU64,
    bytes: AtomicU64,
    cut: AtomicU64,
    /// Why a part could not be read. None is taken from then on.
    outcome: Mutex<io::Result<()>>,
}

impl<'a> Parts<'a> {
    /// The parts of a file of this length, so many bytes each.
    pub(super) fn of(file: &'a File, length: u64, size: usize) -> Self {
        let (taken, bytes, cut) = (AtomicU64::new(0), AtomicU64::new(0), AtomicU64::new(0));
        Self { file, length, size, taken, bytes, cut, outcome: Mutex::new(Ok(())) }
    }

    /// Reads the next part and answers its number; `None` at the end of the log, and once it could not be read.
    pub(super) fn next(&self, chunk: &mut Chunk) -> Option<u64> {
        let number = self.taken.fetch_add(1, Ordering::Relaxed);
        let begin = number.checked_mul(self.size as u64).filter(|begin| *begin < self.length)?;
        match self.read(begin, chunk) {
            Ok(()) => Some(number),
            Err(error) => {
                self.taken.store(self.length, Ordering::Relaxed);
                *self.outcome.lock().unwrap_or_else(PoisonError::into_inner) = Err(error);
                None
            }
        }
    }

    /// How much was read, or why that failed.
    pub(super) fn volume(self) -> io::Result<Volume> {
        let (bytes, cut) = (self.bytes.into_inner(), self.cut.into_inner());
        self.outcome.into_inner().unwrap_or_else(PoisonError::into_inner).map(|()| Volume { bytes, cut })
    }

    /// Reads the lines of the part that begins at this place.
    fn read(&self, begin: u64, chunk: &mut Chunk) -> io::Result<()> {
        chunk.lines = 0..0;
        let buffer = &mut chunk.buffer[..];
        let mut filled = self.fill(buffer, 0..self.size + BEYOND, begin)?;
        if begin == 0 {
            refuse_packed(&buffer[..filled])?;
        }
        let part = &buffer[..filled.min(self.size)];
        self.bytes.fetch_add(part.len() as u64, Ordering::Relaxed);
        let behind = |newline: usize| newline + 1;
        let Some(start) = (if begin == 0 { Some(0) } else { memchr::memchr(b'\n', part).map(behind) }) else {
            return Ok(());
        };
        // The last line that begins here; it may be empty, at the end of the log.
        let last = memchr::memrchr(b'\n', part).map_or(start, behind);
        let most = last + MAX_LINE + 1;
        if memchr::memchr(b'\n', &buffer[last..filled]).is_none() {
            filled = self.fill(buffer, filled..most, begin)?;
        }
        let line = &buffer[last..filled.min(most)];
        let length = match memchr::memchr(b'\n', line) {
            Some(newline) => newline + 1,
            None if line.len() > MAX_LINE => {
                self.cut.fetch_add(1, Ordering::Relaxed);
                MAX_LINE
            }
            None => line.len(),
        };
        chunk.lines = start..last + length;
        Ok(())
    }

    /// Reads on, from the first of these places in the buffer to the second or to the end of the log, and answers up to
    /// where there is something.
    fn fill(&self, buffer: &mut [u8], places: Range<usize>, begin: u64) -> io::Result<usize> {
        let rest = usize::try_from(self.length - begin).unwrap_or(usize::MAX);
        let (mut filled, end) = (places.start, places.end.min(rest));
        while filled < end {
            match self.file.read_at(&mut buffer[filled..end], begin + filled as u64) {
                Ok(0) => break,
                Ok(count) => filled += count,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        Ok(filled)
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write as _;

    use proptest::prelude::*;

    use super::*;

    /// What is in the chunks of a file of this text, in their order.
    fn chunks(text: &[u8], size: usize) -> (Vec<Vec<u8>>, Volume) {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(text).unwrap();
        let parts = Parts::of(&file, text.len() as u64, size);
        let (mut chunk, mut all) = (Chunk::new(), Vec::new());
        while let Some(number) = parts.next(&mut chunk) {
            assert_eq!(number, all.len() as u64);
            all.push(chunk.text().to_vec());
        }
        (all, parts.volume().unwrap())
    }

    proptest! {
        #[test]
        fn each_line_is_in_one_part(
            text in proptest::collection::vec(prop_oneof![1 => Just(b'\n'), 6 => any::<u8>()], 0..300),
            size in 1usize..40,
        ) {
            let (chunks, volume) = chunks(&text, size);
            prop_assert_eq!((volume.bytes, volume.cut), (text.len() as u64, 0));
            let ends = |chunk: &&Vec<u8>| chunk.is_empty() || chunk.ends_with(b"\n");
            prop_assert!(chunks.iter().filter(|chunk| !ends(chunk)).count() <= 1, "the last line of all");
            prop_assert_eq!(chunks.concat(), text);
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_cut_once() {
        for length in [MAX_LINE - 1, MAX_LINE, MAX_LINE + 1, 5 * MAX_LINE] {
            let long = [vec![b'x'; length], b"\n".to_vec()].concat();
            let text = [b"before\n".to_vec(), long.clone(), b"after\n".to_vec()].concat();
            let (chunks, volume) = chunks(&text, 1000);
            let cut = length > MAX_LINE;
            assert_eq!(volume.cut, u64::from(cut), "{length}");
            let kept = if cut { &long[..MAX_LINE] } else { &long[..] };
            assert_eq!(chunks.concat(), [b"before\n", kept, b"after\n"].concat(), "{length}");
            assert!(!cut || chunks[0].len() == 7 + MAX_LINE, "it ends its chunk");
        }
    }

    #[test]
    fn what_is_written_later_is_not_read_and_what_has_gone_is_not_missed() {
        let mut file = tempfile::tempfile().unwrap();
        file.write_all(b"one\ntwo\nthree\n").unwrap();
        let parts = Parts::of(&file, 8, 4);
        let (mut chunk, mut all) = (Chunk::new(), Vec::new());
        while parts.next(&mut chunk).is_some() {
            all.extend_from_slice(chunk.text());
        }
        assert_eq!(all, b"one\ntwo\n");
        let parts = Parts::of(&file, 1000, 100);
        let mut numbers = 0;
        while let Some(number) = parts.next(&mut chunk) {
            assert_eq!(chunk.text().is_empty(), number > 0);
            numbers += 1;
        }
        assert_eq!((numbers, parts.volume().unwrap().bytes), (10, 14));
    }
}
