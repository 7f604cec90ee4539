//! A journal file of the past: read once, from its first entry to its last.

use std::fs::File;

use super::fields::{Fields, Known};
use super::format::MAGIC;
use super::journal::{Journal, JournalError};
use crate::sighting::Take;
use crate::source::{ReadCount, Scan};

/// Whether a file with this beginning is a journal.
pub(crate) fn is_journal(beginning: &[u8]) -> bool {
    beginning.starts_with(MAGIC)
}

/// Has the scan look at each entry it wants, whose sender it believes, and hands over what it sees, in the file's order.
///
/// # Errors
/// Where the file cannot be read further.
pub(crate) fn replay(
    file: File,
    scan: &mut dyn Scan,
    take: &mut dyn Take,
) -> Result<ReadCount, JournalError> {
    let mut journal = Journal::open(file, 0, &mut |name| scan.wants(name))?;
    let (mut fields, mut known) = (Fields::default(), Known::default());
    let mut count = ReadCount { lines: journal.header().entries, ..ReadCount::default() };
    while let Some(found) = journal.next()? {
        if let Some(sighting) = fields.sighting(&mut journal, &mut known, &found, scan, &mut count)? {
            take.take(&sighting);
        }
    }
    Ok(count)
}
