//! One open log: whole lines out of it, in place, and the detection of everything that may happen to its bytes.
//!
//! Nothing is carried from one read to the next: a read starts at the last line that has not been delivered, so
//! that half a line is read again when the rest of it is there. Each read also takes the bytes before its start
//! along and compares them with what they were: a file that was truncated, or truncated and has grown past the
//! place again, shows in the same system call that brings the lines.

use std::fs::{File, Metadata};
use std::io;
use std::ops::Range;
use std::os::fd::AsRawFd;
use std::os::unix::fs::FileExt;
use std::path::PathBuf;

use memchr::{memchr, memrchr};

use super::identity::{FINGERPRINT, Identity, fingerprint};
use super::position::Mark;
use crate::source::{MAX_LINE, ReadCount};
use crate::time::Wall;

/// Bytes of a read: what is compared, and the lines.
pub(super) const BUFFER: usize = FINGERPRINT + 256 * 1024;

/// An open log and how far it was read.
#[derive(Debug)]
pub(super) struct Reader {
    file: File,
    identity: Identity,
    /// Where the next line starts.
    offset: u64,
    /// Whether `offset` is inside a cut line.
    skipping: bool,
    /// First bytes of the file, up to `offset`.
    head: Vec<u8>,
    /// Bytes just before `offset`.
    tail: Vec<u8>,
    /// End of what was seen, half a line included.
    seen: u64,
    /// When it was read last.
    read: Wall,
    /// How far the bytes were read that stood in the file before it was truncated.
    before: Option<Mark>,
}

/// What one [`Reader::step`] came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Step {
    /// The buffer was filled, or the file starts again: read on.
    More,
    /// The end of the file, for now.
    End,
}

impl Reader {
    /// Reads from the beginning.
    pub(super) fn from_start(file: File, meta: &Metadata) -> Self {
        Self {
            file,
            identity: Identity::of(meta),
            offset: 0,
            skipping: false,
            head: Vec::new(),
            tail: Vec::new(),
            seen: 0,
            read: Wall::now(),
            before: None,
        }
    }

    /// Reads from the beginning a file whose bytes are others than those that were read up to `mark`.
    pub(super) fn from_new_start(file: File, meta: &Metadata, mark: &Mark) -> Self {
        Self { before: Some(*mark), ..Self::from_start(file, meta) }
    }

    /// Reads from the first line that starts within the last `read_back` bytes.
    pub(super) fn from_end(file: File, meta: &Metadata, read_back: u64) -> io::Result<Self> {
        let mut reader = Self::from_start(file, meta);
        // The byte before is read as the rest of a line; if it is a newline, that rest is empty.
        if let Some(before) = meta.len().saturating_sub(read_back).checked_sub(1) {
            reader.place(before, true)?;
        }
        Ok(reader)
    }

    /// Reads on where `mark` ends; `None` if the bytes before it are not those that were read then.
    pub(super) fn resume(file: File, meta: &Metadata, mark: &Mark) -> io::Result<Option<Self>> {
        if meta.len() < mark.offset {
            return Ok(None);
        }
        let mut reader = Self::from_start(file, meta);
        reader.place(mark.offset, mark.skipping)?;
        let same = fingerprint(&reader.head) == mark.head && fingerprint(&reader.tail) == mark.tail;
        Ok(same.then_some(reader))
    }

    /// Whether a file begins like one that was read up to `mark`, if at least `least` bytes of it were.
    pub(super) fn begins_like(file: &File, mark: &Mark, least: u64) -> bool {
        let mut head = [0; FINGERPRINT];
        let head = &mut head[..mark.offset.min(FINGERPRINT as u64) as usize];
        mark.offset >= least && file.read_exact_at(head, 0).is_ok() && fingerprint(head) == mark.head
    }

    pub(super) fn identity(&self) -> Identity {
        self.identity
    }

    pub(super) fn metadata(&self) -> io::Result<Metadata> {
        self.file.metadata()
    }

    pub(super) fn file(&self) -> &File {
        &self.file
    }

    /// Bytes that are in the file and have not been read.
    pub(super) fn behind(&self) -> u64 {
        self.metadata().map_or(0, |meta| meta.len().saturating_sub(self.seen))
    }

    /// How far it was read, to be saved.
    pub(super) fn mark(&self) -> Mark {
        Mark {
            identity: self.identity,
            offset: self.offset,
            skipping: self.skipping,
            ended: false,
            head: fingerprint(&self.head),
            tail: fingerprint(&self.tail),
            read: self.read,
        }
    }

    /// How far the bytes were read that stood in the file before it was truncated.
    pub(super) fn before(&self) -> Option<Mark> {
        self.before
    }

    /// Where the file is, whatever its name has become.
    pub(super) fn path(&self) -> PathBuf {
        // Without an answer it is looked for.
        std::fs::read_link(format!("/proc/self/fd/{}", self.file.as_raw_fd())).unwrap_or_default()
    }

    /// Reads once into `buffer` ([`BUFFER`] bytes) and hands the whole lines of it to `each`.
    pub(super) fn step(
        &mut self,
        buffer: &mut [u8],
        count: &mut ReadCount,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Step> {
        let Some(data) = self.fill(buffer, count)? else { return Ok(Step::More) };
        let full = data.end == buffer.len();
        let data = &buffer[data];
        let taken = self.split(data, count, each);
        self.advance(&data[..taken]);
        Ok(if full { Step::More } else { Step::End })
    }

    /// Reads once, for a file that nobody may write to any more. It ends ([`Step::End`]) only with a read that brings no
    /// whole line: what that brings is the last one, without a newline.
    pub(super) fn finish(
        &mut self,
        buffer: &mut [u8],
        count: &mut ReadCount,
        each: &mut dyn FnMut(&[u8]),
    ) -> io::Result<Step> {
        let Some(data) = self.fill(buffer, count)? else { return Ok(Step::More) };
        let full = data.end == buffer.len();
        let rest = &buffer[data];
        if full || memchr(b'\n', rest).is_some() {
            let taken = self.split(rest, count, each);
            self.advance(&rest[..taken]);
            return Ok(Step::More);
        }
        if !rest.is_empty() && !self.skipping {
            let taken = self.split(rest, count, each);
            if !self.skipping {
                each(&rest[taken..]);
            }
        }
        self.advance(rest);
        Ok(Step::End)
    }

    /// Reads at the place. Answers where in the buffer the new bytes are; `None` if the file starts again.
    fn fill(&mut self, buffer: &mut [u8], count: &mut ReadCount) -> io::Result<Option<Range<usize>>> {
        let back = self.tail.len();
        let end = read_at(&self.file, buffer, self.offset - back as u64)?;
        self.read = Wall::now();
        if end < back || buffer[..back] != self.tail[..] {
            // Shorter than the place, everything known was read unless half a line waited. Longer, yet with
            // other bytes before the place: what stood between there and here is not known.
            let grown = end >= back;
            count.gaps += u64::from(grown || self.seen > self.offset);
            self.restart();
            return Ok(None);
        }
        let seen = self.offset + (end - back) as u64;
        count.gaps += u64::from(seen < self.seen);
        self.seen = seen;
        Ok(Some(back..end))
    }

    /// Hands over the whole lines of `data` in runs as long as possible; answers how much of it is done with.
    /// Lines that are too long are cut here. Costs one backward search per [`MAX_LINE`] bytes, not one per line.
    fn split(&mut self, data: &[u8], count: &mut ReadCount, each: &mut dyn FnMut(&[u8])) -> usize {
        let mut run = 0;
        let mut at = 0;
        loop {
            let rest = &data[at..];
            if self.skipping {
                let Some(newline) = memchr(b'\n', rest) else { return data.len() };
                self.skipping = false;
                at += newline + 1;
                run = at;
                continue;
            }
            let window = &rest[..rest.len().min(MAX_LINE + 1)];
            if let Some(newline) = memrchr(b'\n', window) {
                at += newline + 1;
                continue;
            }
            if window.len() <= MAX_LINE {
                if run < at {
                    each(&data[run..at]);
                }
                return at;
            }
            each(&data[run..at + MAX_LINE]);
            count.cut += 1;
            self.skipping = true;
            at += MAX_LINE;
            run = at;
        }
    }

    fn advance(&mut self, bytes: &[u8]) {
        self.offset += bytes.len() as u64;
        let missing = FINGERPRINT - self.head.len();
        self.head.extend_from_slice(&bytes[..bytes.len().min(missing)]);
        let kept = FINGERPRINT.saturating_sub(bytes.len()).min(self.tail.len());
        self.tail.drain(..self.tail.len() - kept);
        self.tail.extend_from_slice(&bytes[bytes.len().saturating_sub(FINGERPRINT)..]);
    }

    fn restart(&mut self) {
        self.before = Some(self.mark());
        self.offset = 0;
        self.seen = 0;
        self.skipping = false;
        self.head.clear();
        self.tail.clear();
    }

    /// Goes to a place and takes the bytes around it as they are now.
    fn place(&mut self, offset: u64, skipping: bool) -> io::Result<()> {
        let length = offset.min(FINGERPRINT as u64) as usize;
        self.head.resize(length, 0);
        self.file.read_exact_at(&mut self.head, 0)?;
        self.tail.resize(length, 0);
        self.file.read_exact_at(&mut self.tail, offset - length as u64)?;
        (self.offset, self.seen, self.skipping) = (offset, offset, skipping);
        Ok(())
    }
}

/// One read of as much as there is; a signal does not count.
fn read_at(file: &File, buffer: &mut [u8], offset: u64) -> io::Result<usize> {
    loop {
        match file.read_at(buffer, offset) {
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            read => return read,
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::Write;

    use super::*;

    struct Fixture {
        _dir: tempfile::TempDir,
        path: PathBuf,
        reader: Reader,
        count: ReadCount,
        lines: Vec<Vec<u8>>,
    }

    impl Fixture {
        fn new(content: &[u8]) -> Self {
            let dir = tempfile::tempdir().unwrap();
            let path = dir.path().join("log");
            std::fs::write(&path, content).unwrap();
            let file = File::open(&path).unwrap();
            let reader = Reader::from_start(file, &path.metadata().unwrap());
            Self { _dir: dir, path, reader, count: ReadCount::default(), lines: vec![] }
        }

        fn append(&self, bytes: &[u8]) {
            File::options().append(true).open(&self.path).unwrap().write_all(bytes).unwrap();
        }

        fn read(&mut self) -> Vec<Vec<u8>> {
            let mut buffer = vec![0; BUFFER];
            let lines = &mut self.lines;
            let mut each = |chunk: &[u8]| {
                lines.extend(chunk.split_inclusive(|b| *b == b'\n').map(<[u8]>::to_vec));
            };
            while self.reader.step(&mut buffer, &mut self.count, &mut each).unwrap() == Step::More {}
            std::mem::take(&mut self.lines)
        }
    }

    #[test]
    fn a_split_line_is_one_line() {
        let mut f = Fixture::new(b"one\ntw");
        assert_eq!(f.read(), [b"one\n".to_vec()]);
        f.append(b"o");
        assert!(f.read().is_empty());
        f.append(b"\nthree\n");
        assert_eq!(f.read(), [b"two\n".to_vec(), b"three\n".to_vec()]);
        assert_eq!(f.count.gaps, 0);
    }

    #[test]
    fn a_line_over_the_cap_is_cut_and_its_rest_is_never_a_line() {
        let mut f = Fixture::new(b"before\n");
        f.append(&vec![b'x'; MAX_LINE]);
        f.append(b"forged line\nafter\n");
        let lines = f.read();
        assert_eq!(lines.len(), 3);
        assert_eq!((lines[1].len(), &lines[2][..]), (MAX_LINE, &b"after\n"[..]));
        assert_eq!(f.count.cut, 1);
        // Exactly the cap is whole.
        f.append(&[vec![b'y'; MAX_LINE], b"\n".to_vec()].concat());
        assert_eq!(f.read()[0].len(), MAX_LINE + 1);
        assert_eq!(f.count.cut, 1);
    }

    #[test]
    fn a_line_without_end_takes_bounded_memory_and_resyncs() {
        let mut f = Fixture::new(b"");
        for _ in 0..64 {
            f.append(&vec![b'z'; 1 << 20]);
            assert!(f.read().iter().all(|line| line.len() == MAX_LINE));
        }
        f.append(b"\nnext\n");
        assert_eq!(f.read(), [b"next\n".to_vec()]);
        assert_eq!(f.count.cut, 1);
    }

    #[test]
    fn truncation_starts_again_and_counts_only_what_was_lost() {
        let mut f = Fixture::new(b"one\ntwo\n");
        f.read();
        std::fs::write(&f.path, b"three\n").unwrap();
        assert_eq!(f.read(), [b"three\n".to_vec()]);
        assert_eq!(f.count.gaps, 0);
        f.append(b"half");
        f.read();
        std::fs::write(&f.path, b"x\n").unwrap();
        assert_eq!(f.read(), [b"x\n".to_vec()]);
        assert_eq!(f.count.gaps, 1);
    }

    #[test]
    fn growth_past_the_old_place_is_detected() {
        let mut f = Fixture::new(b"one\ntwo\n");
        f.read();
        std::fs::write(&f.path, b"other line\nmore\n").unwrap();
        assert_eq!(f.read(), [b"other line\n".to_vec(), b"more\n".to_vec()]);
        assert_eq!(f.count.gaps, 1);
    }

    #[test]
    fn a_mark_resumes_only_the_same_bytes() {
        let mut f = Fixture::new(&b"some line\n".repeat(100));
        f.read();
        let mark = f.reader.mark();
        f.append(b"next\n");
        let again = |f: &Fixture| {
            let file = File::open(&f.path).unwrap();
            Reader::resume(file, &f.path.metadata().unwrap(), &mark).unwrap()
        };
        f.reader = again(&f).unwrap();
        assert_eq!(f.read(), [b"next\n".to_vec()]);
        std::fs::write(&f.path, b"some lime\n".repeat(200)).unwrap();
        assert!(again(&f).is_none());
        std::fs::write(&f.path, b"short\n").unwrap();
        assert!(again(&f).is_none());
    }

    #[test]
    fn the_end_is_the_first_line_within_reach() {
        let cases: [(u64, &[&[u8]]); 5] =
            [(0, &[]), (4, &[b"two\n"]), (5, &[b"two\n"]), (7, &[b"two\n"]), (8, &[b"one\n", b"two\n"])];
        for (back, expected) in cases {
            let mut f = Fixture::new(b"one\ntwo\n");
            let file = File::open(&f.path).unwrap();
            f.reader = Reader::from_end(file, &f.path.metadata().unwrap(), back).unwrap();
            assert_eq!(f.read(), expected, "{back}");
        }
    }

    #[test]
    fn a_last_line_without_newline_is_delivered_once() {
        let mut f = Fixture::new(b"one\nlast");
        assert_eq!(f.read().len(), 1);
        let mut got = vec![];
        for _ in 0..2 {
            let mut buffer = vec![0; BUFFER];
            let step = f.reader.finish(&mut buffer, &mut f.count, &mut |c| got.push(c.to_vec())).unwrap();
            assert_eq!(step, Step::End);
        }
        assert_eq!(got, [b"last".to_vec()]);
    }

    #[test]
    fn a_last_line_without_newline_keeps_the_cap() {
        let mut f = Fixture::new(&vec![b'x'; MAX_LINE + 100]);
        let (mut buffer, mut got) = (vec![0; BUFFER], vec![]);
        let step = f.reader.finish(&mut buffer, &mut f.count, &mut |c| got.push(c.len())).unwrap();
        assert_eq!((step, got, f.count.cut), (Step::End, vec![MAX_LINE], 1));
    }
}
