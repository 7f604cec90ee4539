//! Journals whose long fields are compressed as the systemd of the machine does not write them.

use std::io::Read as _;

use super::*;
use crate::source::journald::format::{LZ4, XZ};

/// Where the header of a journal tells what a reader must know to read it.
const INCOMPATIBLE_FLAGS: usize = 12;

#[test]
fn fields_of_every_compression_read_as_they_were_written() {
    let journals = [
        (LZ4, &include_bytes!("compressed/lz4.journal.zst")[..]),
        (XZ, &include_bytes!("compressed/xz.journal.zst")[..]),
    ];
    for (compression, packed) in journals {
        let mut journal = Vec::new();
        ruzstd::decoding::StreamingDecoder::new(packed).unwrap().read_to_end(&mut journal).unwrap();
        // The header has a bit for each compression in the file: for these two the one that objects have.
        assert_eq!(journal[INCOMPATIBLE_FLAGS] & (LZ4 | XZ), compression);
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("system.journal"), &journal).unwrap();

        let mut run = Run::all(dir.path());
        run.until("all entries", |run| run.count.lines >= 299);
        let (rows, count, _) = run.end();
        assert!(rows.iter().any(|row| row.1 > 1000), "one is compressed");
        assert_eq!(rows, journalctl(dir.path()));
        assert_eq!((count.gaps, count.untrusted), (0, 299 / 15));
    }
}
