//! Caddy's log in its console format (`zapcore.NewConsoleEncoder`): columns with a tab between them, the last of them JSON.
//!
//! ```text
//! stamp<tab>LEVEL<tab>logger<tab>message<tab>{"request": {"remote_ip": "192.0.2.1", …}, …}
//! ```
//! The message stands there as it came, and that of `http.stdlib` holds the name that a client asked for in TLS: a
//! newline in it makes a line of its own, like a real one in every byte. So no such line counts.

use super::whole_stamp;
use crate::scan::timestamp::Stamp;

/// An entry, as far as it is asked for.
pub(super) struct Entry<'a> {
    pub(super) stamp: Stamp<'a>,
    pub(super) logger: &'a [u8],
    /// What else is known of it, in JSON.
    pub(super) object: &'a [u8],
}

/// Reads a line; `None` if it has not the form.
pub(super) fn read(line: &[u8]) -> Option<Entry<'_>> {
    let mut columns = line.splitn(5, |b| *b == b'\t');
    let (stamp, _level, logger) = (columns.next()?, columns.next()?, columns.next()?);
    let (_message, object) = (columns.next()?, columns.next()?);
    Some(Entry { stamp: whole_stamp(stamp)?, logger, object })
}
