//! What a ban is in the kernel.

/// Deadline of a ban without end.
pub const FOREVER: u64 = u64::MAX;

/// A ban as the kernel holds it.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Entry {
    /// `CLOCK_BOOTTIME` in nanoseconds from which on the ban is over; [`FOREVER`] if it does not end.
    pub deadline: u64,
    /// Identity of the ban in user space.
    pub id: u64,
    /// Packets dropped by this entry.
    pub packets: u64,
    /// Bytes dropped by this entry, from the Ethernet header on.
    pub bytes: u64,
}

/// A banned prefix as the kernel holds it.
///
/// An LPM trie answers with the longest prefix only. When that ban is over, the program asks again for one that is
/// shorter than [`length`](Self::length), so that an ended ban never hides a wider one that goes on.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct PrefixEntry {
    /// The ban.
    pub entry: Entry,
    /// Length of the prefix in bits, as in its key.
    pub length: u32,
    /// Zero.
    pub reserved: u32,
}

/// Switches that the program reads for each packet that hit a ban.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Settings {
    /// [`crate::ABI`] of the user space that filled the maps.
    pub abi: u32,
    /// 0: count what would be dropped and pass it (observe); 1: drop.
    pub enforce: u32,
}

const _: () = assert!(size_of::<Entry>() == 32 && align_of::<Entry>() == 8);
const _: () = assert!(size_of::<PrefixEntry>() == 40 && align_of::<PrefixEntry>() == 8);
const _: () = assert!(size_of::<Settings>() == 8);
