//! One journal file: the entries of the wanted identifiers, in order.
//!
//! A journal keeps every distinct field value once and lists, for each value, the entries that have it. So only
//! those lists are followed: an entry of another identifier is never touched. Nothing in the file is trusted: an
//! object is checked before it is used, and every chain must go strictly up or down in the file, which ends it.
//!
//! The file may be written to meanwhile. journald links an entry before it counts it, and a link that is not
//! there yet reads as zero, which is the end for now.

use std::fs::File;
use std::io;
use std::os::unix::fs::FileExt;

use super::format::{
    ARRAY_ITEMS, ARRAY_NEXT, COMPRESSED, DATA, DATA_ENTRIES, DATA_ENTRY, DATA_ENTRY_ARRAY,
    DATA_NEXT_IN_FIELD, ENTRY, ENTRY_ARRAY, ENTRY_ITEMS, FIELD, FIELD_NAME, FIELD_NEXT_IN_BUCKET,
    FIELD_VALUES, HEADER, Header, HeaderError, OBJECT, id, le32, le64,
};
use super::window::Windows;

/// Name of the field with the identifier.
const IDENTIFIER: &[u8] = b"SYSLOG_IDENTIFIER";

/// Longest identifier that is looked at; longer ones are nobody's.
const IDENTIFIER_MAX: usize = 256;

/// Largest object that is believed, and largest hash table.
const OBJECT_MAX: u64 = 1 << 30;
const TABLE_MAX: u64 = 64 << 20;

/// Why a journal file cannot be read, or not further.
#[derive(Debug, thiserror::Error)]
pub(crate) enum JournalError {
    /// The header.
    #[error(transparent)]
    Header(#[from] HeaderError),
    /// The system.
    #[error("{0}")]
    Io(#[from] io::Error),
    /// The contents.
    #[error("damaged at byte {offset}: {what}")]
    Damaged {
        /// Where.
        offset: u64,
        /// What is wrong there.
        what: &'static str,
    },
}

/// An open journal file.
#[derive(Debug)]
pub(super) struct Journal {
    windows: Windows,
    header: Header,
    /// `FIELD` object of the identifier, 0 until there is one.
    identifiers: u64,
    /// Newest identifier that has been looked at.
    newest: u64,
    streams: Vec<Stream>,
    /// Whether the lists may have grown after they were looked at last.
    unsettled: bool,
}

/// The list of entries of one identifier.
#[derive(Debug)]
struct Stream {
    identifier: Vec<u8>,
    data: u64,
    available: u64,
    consumed: u64,
    /// Array in use, 0 before the first; how many items it can hold; the next one.
    array: u64,
    capacity: u64,
    index: u64,
    /// The next entry, if it is known.
    next: Option<u64>,
}

/// An entry that was found.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Found {
    pub(super) offset: u64,
    pub(super) size: u64,
    /// Index of its identifier, see [`Journal::identifier`].
    pub(super) stream: usize,
    pub(super) seqnum: u64,
    pub(super) realtime: u64,
    pub(super) monotonic: u64,
    pub(super) boot: u128,
}

/// Reads the header of a file.
pub(super) fn header(file: &File) -> Result<Header, JournalError> {
    let mut bytes = [0; HEADER];
    file.read_exact_at(&mut bytes, 0)?;
    Ok(Header::parse(&bytes)?)
}

impl Journal {
    /// Opens a file to read what comes after the entry numbered `after`.
    pub(super) fn open(
        file: File,
        after: u64,
        wants: &mut dyn FnMut(&[u8]) -> bool,
    ) -> Result<Self, JournalError> {
        let header = header(&file)?;
        let mut journal = Self {
            windows: Windows::new(file),
            header,
            identifiers: 0,
            newest: 0,
            streams: Vec::new(),
            unsettled: true,
        };
        journal.list(wants)?;
        for stream in 0..journal.streams.len() {
            journal.seek(stream, after)?;
        }
        Ok(journal)
    }

    pub(super) fn header(&self) -> &Header {
        &self.header
    }

    pub(super) fn file(&self) -> &File {
        self.windows.file()
    }

    pub(super) fn identifier(&self, stream: usize) -> &[u8] {
        &self.streams[stream].identifier
    }

    /// Entries of wanted identifiers that were not read yet.
    pub(super) fn behind(&self) -> u64 {
        self.streams.iter().fold(0, |sum: u64, s| sum.saturating_add(s.available - s.consumed))
    }

    /// Looks whether the file has grown; one system call if not. Answers whether there may be something to read.
    pub(super) fn refresh(&mut self, wants: &mut dyn FnMut(&[u8]) -> bool) -> Result<bool, JournalError> {
        let header = header(self.file())?;
        // The header is written before the lists: the look after a change is taken once more.
        let changed = header.entries != self.header.entries;
        let look = changed || self.unsettled;
        self.unsettled = changed;
        self.header = header;
        if look {
            self.windows.forget();
            self.list(wants)?;
        }
        Ok(look)
    }

    /// The next entry of any wanted identifier.
    pub(super) fn next(&mut self) -> Result<Option<Found>, JournalError> {
        let mut first: Option<(u64, usize)> = None;
        for stream in 0..self.streams.len() {
            if let Some(offset) = self.peek(stream)?
                && first.is_none_or(|(least, _)| offset < least)
            {
                first = Some((offset, stream));
            }
        }
        let Some((offset, stream)) = first else { return Ok(None) };
        // An entry with two wanted identifiers is in two lists, and one entry all the same.
        for other in &mut self.streams {
            if other.next == Some(offset) {
                other.pass();
            }
        }
        let size = self.object(offset, ENTRY, ENTRY_ITEMS)?;
        let head = self.windows.bytes(offset + OBJECT, 40)?;
        Ok(Some(Found {
            offset,
            size,
            stream,
            seqnum: le64(head),
            realtime: le64(&head[8..]),
            monotonic: le64(&head[16..]),
            boot: id(&head[24..]),
        }))
    }

    /// Where the file begins at present, if that can be read: its series, and the number of its first entry.
    pub(super) fn begin(&self) -> Option<(u128, u64)> {
        let header = header(self.file()).ok()?;
        Some((header.series, header.head_seqnum))
    }

    /// Passes over everything there is.
    pub(super) fn skip_to_end(&mut self) -> Result<(), JournalError> {
        for stream in 0..self.streams.len() {
            self.seek(stream, u64::MAX)?;
        }
        Ok(())
    }

    /// The object's items: offsets of its `DATA` objects.
    pub(super) fn items(&mut self, entry: &Found, items: &mut Vec<u64>) -> Result<(), JournalError> {
        /// What journald itself allows.
        const MOST: u64 = 1024;
        items.clear();
        let width = if self.header.compact { 4 } else { 16 };
        let count = ((entry.size - ENTRY_ITEMS) / width).min(MOST);
        let bytes = self.windows.bytes(entry.offset + ENTRY_ITEMS, (count * width) as usize)?;
        if self.header.compact {
            items.extend(bytes.chunks_exact(4).map(|item| u64::from(le32(item))));
        } else {
            items.extend(bytes.chunks_exact(16).map(le64));
        }
        Ok(())
    }

    /// A `DATA` object: its compression flags, in how many entries it is, and the first `limit` bytes of its
    /// payload as stored (all of it, up to [`OBJECT_MAX`], where it is compressed and `limit` allows).
    pub(super) fn data(&mut self, offset: u64, limit: usize) -> Result<(u8, u64, &[u8]), JournalError> {
        let start = if self.header.compact { 72 } else { 64 };
        let size = self.object(offset, DATA, start)?;
        let length = ((size - start) as usize).min(limit);
        let bytes = self.windows.bytes(offset, start as usize + length)?;
        Ok((bytes[1], le64(&bytes[DATA_ENTRIES as usize..]), &bytes[start as usize..]))
    }

    /// Brings the lists up to date: new identifiers, and how many entries each has.
    fn list(&mut self, wants: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), JournalError> {
        if self.identifiers == 0 {
            self.identifiers = self.find_identifiers()?;
        }
        if self.identifiers != 0 {
            self.list_values(wants)?;
        }
        let mut grown = false;
        for stream in 0..self.streams.len() {
            let available = self.number(self.streams[stream].data + DATA_ENTRIES)?;
            let stream = &mut self.streams[stream];
            stream.available = available.max(stream.consumed);
            grown |= stream.available > stream.consumed;
        }
        if grown {
            // journald counts an entry after it has written and listed it: what was read before the counts may be older.
            self.windows.forget();
        }
        Ok(())
    }

    /// Looks for the identifier among the file's fields.
    fn find_identifiers(&mut self) -> Result<u64, JournalError> {
        let (table, size) = (self.header.field_table, self.header.field_table_size);
        if table == 0 {
            return Ok(0);
        }
        if size > TABLE_MAX {
            return Err(JournalError::Damaged { offset: table, what: "the field table is too large" });
        }
        for bucket in 0..size / 16 {
            let mut field = self.number(table.saturating_add(bucket * 16))?;
            while field != 0 {
                let size = self.object(field, FIELD, FIELD_NAME)?;
                let length = (size - FIELD_NAME) as usize;
                if length == IDENTIFIER.len() && self.windows.bytes(field + FIELD_NAME, length)? == IDENTIFIER
                {
                    return Ok(field);
                }
                let next = self.number(field + FIELD_NEXT_IN_BUCKET)?;
                if next != 0 && next <= field {
                    return Err(JournalError::Damaged { offset: field, what: "its hash chain goes back" });
                }
                field = next;
            }
        }
        Ok(0)
    }

    /// Looks at the identifiers that are new: the newest is the head of their chain.
    fn list_values(&mut self, wants: &mut dyn FnMut(&[u8]) -> bool) -> Result<(), JournalError> {
        let newest = self.number(self.identifiers + FIELD_VALUES)?;
        let mut value = newest;
        while value != 0 && value != self.newest {
            let (flags, _, payload) = self.data(value, IDENTIFIER.len() + 1 + IDENTIFIER_MAX + 1)?;
            let plain = flags & COMPRESSED == 0;
            let name = payload.strip_prefix(IDENTIFIER).and_then(|rest| rest.strip_prefix(b"="));
            if let Some(name) = name.filter(|name| plain && name.len() <= IDENTIFIER_MAX && wants(name)) {
                let identifier = name.to_vec();
                self.streams.push(Stream::new(identifier, value));
            }
            let next = self.number(value + DATA_NEXT_IN_FIELD)?;
            if next >= value {
                return Err(JournalError::Damaged { offset: value, what: "its field chain goes forward" });
            }
            value = next;
        }
        self.newest = newest;
        Ok(())
    }

    /// The next entry of a stream, without passing it.
    fn peek(&mut self, at: usize) -> Result<Option<u64>, JournalError> {
        let stream = &self.streams[at];
        if stream.next.is_some() || stream.consumed >= stream.available {
            return Ok(stream.next);
        }
        let next = if stream.consumed == 0 {
            self.number(stream.data + DATA_ENTRY)?
        } else if self.enter_array(at)? {
            let stream = &self.streams[at];
            self.item(stream.array, stream.index)?
        } else {
            0
        };
        self.streams[at].next = (next != 0).then_some(next);
        Ok(self.streams[at].next)
    }

    /// Makes the stream's array the one its next item is in. Answers whether there is one.
    fn enter_array(&mut self, at: usize) -> Result<bool, JournalError> {
        let stream = &self.streams[at];
        if stream.array != 0 && stream.index < stream.capacity {
            return Ok(true);
        }
        let (array, data) = (stream.array, stream.data);
        let link = if array == 0 { data + DATA_ENTRY_ARRAY } else { array + ARRAY_NEXT };
        let next = self.number(link)?;
        if next == 0 {
            return Ok(false);
        }
        if next <= array {
            return Err(JournalError::Damaged { offset: array, what: "its array chain goes back" });
        }
        let size = self.object(next, ENTRY_ARRAY, ARRAY_ITEMS)?;
        let stream = &mut self.streams[at];
        stream.array = next;
        stream.capacity = (size - ARRAY_ITEMS) / if self.header.compact { 4 } else { 8 };
        stream.index = 0;
        Ok(stream.capacity > 0)
    }

    fn item(&mut self, array: u64, index: u64) -> Result<u64, JournalError> {
        if self.header.compact {
            Ok(u64::from(le32(self.windows.bytes(array + ARRAY_ITEMS + index * 4, 4)?)))
        } else {
            self.number(array + ARRAY_ITEMS + index * 8)
        }
    }

    /// Passes over the entries up to number `last`: whole arrays at a time, then by bisection.
    fn seek(&mut self, at: usize, last: u64) -> Result<(), JournalError> {
        if self.streams[at].consumed == 0 {
            let Some(first) = self.peek(at)? else { return Ok(()) };
            if self.seqnum(first)? > last {
                return Ok(());
            }
            self.streams[at].pass();
        }
        self.streams[at].next = None;
        while self.streams[at].consumed < self.streams[at].available && self.enter_array(at)? {
            let s = &self.streams[at];
            let (array, start) = (s.array, s.index);
            let end = s.capacity.min(start + (s.available - s.consumed));
            let past = self.first_after(array, start, end, last)?;
            let stream = &mut self.streams[at];
            stream.consumed += past - start;
            stream.index = past;
            if past < end {
                break;
            }
        }
        Ok(())
    }

    /// The first item of an array whose entry has a number above `last`.
    fn first_after(&mut self, array: u64, start: u64, end: u64, last: u64) -> Result<u64, JournalError> {
        let (mut low, mut high) = (start, end);
        // Most arrays are passed as a whole.
        let mut middle = end - 1;
        while low < high {
            let offset = self.item(array, middle)?;
            if offset != 0 && self.seqnum(offset)? <= last {
                low = middle + 1;
            } else {
                high = middle;
            }
            middle = low + (high.saturating_sub(low)) / 2;
        }
        Ok(low)
    }

    fn seqnum(&mut self, entry: u64) -> Result<u64, JournalError> {
        self.object(entry, ENTRY, ENTRY_ITEMS)?;
        self.number(entry + OBJECT)
    }

    /// Checks that there is an object of a kind; answers its size.
    fn object(&mut self, offset: u64, kind: u8, least: u64) -> Result<u64, JournalError> {
        let damaged = |what| JournalError::Damaged { offset, what };
        // Offsets above this are no file's, and sums with them must not overflow.
        if offset < self.header.size || !offset.is_multiple_of(8) || offset > i64::MAX as u64 / 2 {
            return Err(damaged("no object can be there"));
        }
        let head = self.windows.bytes(offset, OBJECT as usize)?;
        let (found, size) = (head[0], le64(&head[8..]));
        if found != kind {
            return Err(damaged("it is an object of another kind"));
        }
        if !(least..=OBJECT_MAX).contains(&size) {
            return Err(damaged("its size is impossible"));
        }
        Ok(size)
    }

    fn number(&mut self, offset: u64) -> Result<u64, JournalError> {
        if offset > i64::MAX as u64 / 2 {
            return Err(JournalError::Damaged { offset, what: "it is beyond every file" });
        }
        Ok(le64(self.windows.bytes(offset, 8)?))
    }
}

impl Stream {
    fn new(identifier: Vec<u8>, data: u64) -> Self {
        Self { identifier, data, available: 0, consumed: 0, array: 0, capacity: 0, index: 0, next: None }
    }

    /// Goes on to the next entry.
    fn pass(&mut self) {
        self.next = None;
        if self.consumed > 0 {
            self.index += 1;
        }
        self.consumed += 1;
    }
}
