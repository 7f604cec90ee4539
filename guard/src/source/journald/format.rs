//! Layout of journal files, as <https://systemd.io/JOURNAL_FILE_FORMAT/> and systemd's `journal-def.h` give it.
//! All numbers are little-endian.

/// Bytes of the header that are read: up to and with `tail_entry_monotonic`, which every version has.
pub(super) const HEADER: usize = 208;

/// Bytes before an object's own fields: type, flags, six reserved, size.
pub(super) const OBJECT: u64 = 16;

pub(super) const DATA: u8 = 1;
pub(super) const FIELD: u8 = 2;
pub(super) const ENTRY: u8 = 3;
pub(super) const ENTRY_ARRAY: u8 = 6;

/// `DATA`: first entry that has it, the array of the others, their number.
pub(super) const DATA_NEXT_IN_FIELD: u64 = 32;
pub(super) const DATA_ENTRY: u64 = 40;
pub(super) const DATA_ENTRY_ARRAY: u64 = 48;
pub(super) const DATA_ENTRIES: u64 = 56;

/// `FIELD`: next in its hash bucket, newest of its values, its name.
pub(super) const FIELD_NEXT_IN_BUCKET: u64 = 24;
pub(super) const FIELD_VALUES: u64 = 32;
pub(super) const FIELD_NAME: u64 = 40;

/// What a journal file begins with.
pub(super) const MAGIC: &[u8; 8] = b"LPKSHHRH";

/// `ENTRY`: items begin here, after seqnum, realtime, monotonic, boot id and hash.
pub(super) const ENTRY_ITEMS: u64 = 64;

/// `ENTRY_ARRAY`: next array, items.
pub(super) const ARRAY_NEXT: u64 = 16;
pub(super) const ARRAY_ITEMS: u64 = 24;

/// Compression flags of a `DATA` object.
pub(super) const XZ: u8 = 1;
pub(super) const LZ4: u8 = 2;
pub(super) const ZSTD: u8 = 4;

/// Any of them.
pub(super) const COMPRESSED: u8 = XZ | LZ4 | ZSTD;

const ANY_COMPRESSION: u32 = 1 | 2 | 8;
const KEYED_HASH: u32 = 4;
const COMPACT: u32 = 16;

/// Header state of a file that nobody will write to again.
const ARCHIVED: u8 = 2;

/// What the reader needs of a file's header.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Header {
    pub(super) compact: bool,
    pub(super) archived: bool,
    /// Identifies the numbering that `tail_seqnum` belongs to; shared by the files a rotation makes.
    pub(super) series: u128,
    pub(super) size: u64,
    pub(super) field_table: u64,
    pub(super) field_table_size: u64,
    pub(super) entries: u64,
    pub(super) tail_seqnum: u64,
    pub(super) head_seqnum: u64,
    /// Microseconds since the epoch.
    pub(super) head_realtime: u64,
    pub(super) tail_realtime: u64,
    pub(super) tail_boot: u128,
    /// Microseconds since boot.
    pub(super) tail_monotonic: u64,
}

/// Why a header is not one.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum HeaderError {
    /// Not a journal, or one that is being created.
    #[error("it has no journal header")]
    Signature,
    /// A newer format.
    #[error("it uses features this reader does not know (flags {flags:#x})")]
    Unsupported {
        /// The unknown incompatible flags.
        flags: u32,
    },
    /// A header size below what the format has.
    #[error("its header is damaged")]
    Damaged,
}

impl Header {
    pub(super) fn parse(bytes: &[u8; HEADER]) -> Result<Self, HeaderError> {
        if !bytes.starts_with(MAGIC) {
            return Err(HeaderError::Signature);
        }
        let u64_at = |at: usize| le64(&bytes[at..]);
        let flags = le32(&bytes[12..]);
        let unknown = flags & !(ANY_COMPRESSION | KEYED_HASH | COMPACT);
        if unknown != 0 {
            return Err(HeaderError::Unsupported { flags: unknown });
        }
        let size = u64_at(88);
        if !(HEADER as u64..=1 << 20).contains(&size) {
            return Err(HeaderError::Damaged);
        }
        Ok(Self {
            compact: flags & COMPACT != 0,
            archived: bytes[16] == ARCHIVED,
            series: id(&bytes[72..]),
            size,
            field_table: u64_at(120),
            field_table_size: u64_at(128),
            entries: u64_at(152),
            tail_seqnum: u64_at(160),
            head_seqnum: u64_at(168),
            head_realtime: u64_at(184),
            tail_realtime: u64_at(192),
            tail_boot: id(&bytes[56..]),
            tail_monotonic: u64_at(200),
        })
    }
}

/// A 64-bit number at the start of `bytes`; 0 if they are too few.
pub(super) fn le64(bytes: &[u8]) -> u64 {
    bytes.first_chunk().map_or(0, |b| u64::from_le_bytes(*b))
}

/// A 32-bit number at the start of `bytes`; 0 if they are too few.
pub(super) fn le32(bytes: &[u8]) -> u32 {
    bytes.first_chunk().map_or(0, |b| u32::from_le_bytes(*b))
}

/// A 128-bit id at the start of `bytes`, in the order people write it.
pub(super) fn id(bytes: &[u8]) -> u128 {
    bytes.first_chunk().map_or(0, |b| u128::from_be_bytes(*b))
}
