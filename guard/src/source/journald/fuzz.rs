//! The journal's reader as a function of a file's bytes, with small journals to begin with.

use std::fs::File;
use std::io::Write as _;

use super::decompress;
use super::fields::{Fields, Known};
use super::format::{ARRAY_ITEMS, DATA, ENTRY, ENTRY_ARRAY, FIELD, HEADER, LZ4, MAGIC, XZ, ZSTD};
use super::journal::{Journal, JournalError};
use crate::source::MAX_LINE;

/// What a decompressed field may take: the limit of its kind that allows most.
const MOST_DECOMPRESSED: usize = 1 << 20;

/// Entries that are read of one file: damage can make the same ones come again, but never without end.
const ENTRIES: usize = 2_000;

/// A journal file: entries, or an error; and the same once more, as after a change.
pub(crate) fn file(bytes: &[u8]) {
    let fd = rustix::fs::memfd_create("journal", rustix::fs::MemfdFlags::CLOEXEC).expect("memory for a file");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("memory for a file");
    let _ = read(file, bytes.len());
}

fn read(file: File, size: usize) -> Result<(), JournalError> {
    let mut wants = |name: &[u8]| name.starts_with(b"s");
    let mut journal = Journal::open(file, 0, &mut wants)?;
    let (mut fields, mut known) = (Fields::default(), Known::default());
    for _ in 0..ENTRIES {
        let Some(found) = journal.next()? else { break };
        assert!(found.offset < size as u64);
        let _ = journal.identifier(found.stream);
        if fields.read(&mut journal, &mut known, &found).is_ok() {
            assert!(fields.message.len() <= MAX_LINE);
            let _ = fields.sender();
        }
    }
    let _ = journal.behind();
    journal.refresh(&mut wants)?;
    journal.skip_to_end()?;
    journal.next()?;
    Ok(())
}

/// A compressed field behind a byte with the kind of compression.
pub(crate) fn compressed(bytes: &[u8]) {
    let Some((flags, payload)) = bytes.split_first() else { return };
    let mut out = Vec::new();
    for limit in [8, MAX_LINE] {
        if decompress::prefix(*flags, payload, limit, &mut out).is_some() {
            assert!(out.len() <= limit);
        }
        assert!(out.len() <= MOST_DECOMPRESSED);
    }
}

/// Compressed fields of each kind.
pub(crate) fn payloads() -> Vec<Vec<u8>> {
    let long = b"MESSAGE=Failed password for root ".repeat(20);
    let all = [XZ, LZ4, ZSTD].into_iter().flat_map(|kind| [compress(kind, b"x"), compress(kind, &long)]);
    all.collect()
}

/// The kind of compression, then the compressed text.
fn compress(kind: u8, text: &[u8]) -> Vec<u8> {
    let mut out = vec![kind];
    match kind {
        XZ => lzma_rs::xz_compress(&mut &text[..], &mut out).expect("memory is written to"),
        LZ4 => {
            out.extend((text.len() as u64).to_le_bytes());
            out.extend(lz4_flex::block::compress(text));
        }
        _ => {
            let level = ruzstd::encoding::CompressionLevel::Fastest;
            out.extend(ruzstd::encoding::compress_to_vec(text, level));
        }
    }
    out
}

/// Journals of a few entries: in both widths, plain and compressed.
pub(crate) fn files() -> Vec<Vec<u8>> {
    let mut all = Vec::new();
    for compact in [false, true] {
        for kind in [0, XZ, LZ4, ZSTD] {
            all.push(Builder::new(compact).journal(kind));
        }
    }
    all
}

/// Writes a journal file as <https://systemd.io/JOURNAL_FILE_FORMAT/> has it, without hashes: the reader does not use
/// them.
struct Builder {
    bytes: Vec<u8>,
    compact: bool,
}

impl Builder {
    fn new(compact: bool) -> Self {
        let mut bytes = vec![0; HEADER];
        bytes[..8].copy_from_slice(MAGIC);
        bytes[12] = if compact { 4 | 8 | 16 } else { 4 | 8 };
        Self { bytes, compact }
    }

    fn set(&mut self, at: usize, value: u64) {
        self.bytes[at..at + 8].copy_from_slice(&value.to_le_bytes());
    }

    /// An object: its own numbers from byte 16 on, then whatever follows. Answers its place.
    fn object(&mut self, kind: u8, flags: u8, numbers: &[u64], rest: &[u8]) -> u64 {
        self.bytes.resize(self.bytes.len().next_multiple_of(8), 0);
        let at = self.bytes.len();
        let size = (16 + numbers.len() * 8 + rest.len()) as u64;
        self.bytes.extend([kind, flags, 0, 0, 0, 0, 0, 0]);
        self.bytes.extend(size.to_le_bytes());
        self.bytes.extend(numbers.iter().flat_map(|number| number.to_le_bytes()));
        self.bytes.extend(rest);
        at as u64
    }

    fn data(&mut self, flags: u8, next: u64, payload: &[u8]) -> u64 {
        let numbers = if self.compact { &[0, 0, next, 0, 0, 1, 0][..] } else { &[0, 0, next, 0, 0, 1] };
        self.object(DATA, flags, numbers, payload)
    }

    fn places(&self, places: &[u64], hashed: bool) -> Vec<u8> {
        let place = |place: &u64| match (self.compact, hashed) {
            (true, _) => (*place as u32).to_le_bytes().to_vec(),
            (false, false) => place.to_le_bytes().to_vec(),
            (false, true) => [place.to_le_bytes(), [0; 8]].concat(),
        };
        places.iter().flat_map(place).collect()
    }

    fn journal(mut self, compression: u8) -> Vec<u8> {
        const HASH_TABLE: u8 = 5;
        let table = self.object(HASH_TABLE, 0, &[0; 8], b"");
        let field = self.object(FIELD, 0, &[0, 0, 0], b"SYSLOG_IDENTIFIER");
        self.set(table as usize + 16 + 16, field);
        let message = b"MESSAGE=Failed password for root from 192.0.2.1 port 22 ssh2";
        let message = match compression {
            0 => self.data(0, 0, message),
            kind => self.data(kind, 0, &compress(kind, message)[1..]),
        };
        let [uid, pid, comm, unit] = [&b"_UID=0"[..], b"_PID=7", b"_COMM=sshd", b"_SYSTEMD_UNIT=ssh.service"]
            .map(|text| self.data(0, 0, text));
        let mut newest = 0;
        let mut entries = 0;
        for name in [&b"SYSLOG_IDENTIFIER=sudo"[..], b"SYSLOG_IDENTIFIER=sshd", b"SYSLOG_IDENTIFIER=cron"] {
            newest = self.data(0, newest, name);
            let items = self.places(&[newest, message, uid, pid, comm, unit], true);
            let mut own = Vec::new();
            for _ in 0..3 {
                entries += 1;
                let realtime = 1_795_132_800_000_000 + entries;
                own.push(self.object(ENTRY, 0, &[entries, realtime, entries, 1, 2, 0], &items));
            }
            let others = self.places(&own[1..], false);
            let array = self.object(ENTRY_ARRAY, 0, &[0], &others);
            debug_assert_eq!(ARRAY_ITEMS, 24);
            let data = newest as usize;
            self.set(data + 40, own[0]);
            self.set(data + 48, array);
            self.set(data + 56, own.len() as u64);
        }
        self.set(field as usize + 32, newest);
        let size = self.bytes.len() as u64;
        for (at, value) in [
            (88, HEADER as u64),
            (96, size - HEADER as u64),
            (120, table + 16),
            (128, 64),
            (152, entries),
            (160, entries),
            (168, 1),
            (184, 1_795_132_800_000_000),
            (192, 1_795_132_800_000_000 + entries),
        ] {
            self.set(at, value);
        }
        self.bytes
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_journals_to_begin_with_are_read_to_their_end() {
        for bytes in files() {
            let size = bytes.len();
            let fd = rustix::fs::memfd_create("journal", rustix::fs::MemfdFlags::CLOEXEC).unwrap();
            let mut file = File::from(fd);
            file.write_all(&bytes).unwrap();
            let mut journal =
                Journal::open(file.try_clone().unwrap(), 0, &mut |name| name.starts_with(b"s")).unwrap();
            let (mut fields, mut known, mut seen) = (Fields::default(), Known::default(), 0);
            while let Some(found) = journal.next().unwrap() {
                fields.read(&mut journal, &mut known, &found).unwrap();
                assert!(fields.message.starts_with(b"Failed password"), "{:?}", fields.message);
                assert_eq!(fields.sender().unwrap().unit, b"ssh.service");
                seen += 1;
            }
            assert_eq!(seen, 6);
            read(file, size).unwrap();
        }
    }
}
