//! Which file is which: device, inode and time of birth, and fingerprints of what has been read of it.

use std::fs::Metadata;
use std::os::unix::fs::MetadataExt;
use std::time::UNIX_EPOCH;

use crate::time::Wall;

/// Bytes at the start of a file, and just before the place read to, that its fingerprints cover.
pub(super) const FINGERPRINT: usize = 256;

/// A file as the kernel knows it. An inode number is given again after its file is gone, hence the time of birth.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(super) struct Identity {
    /// Device number.
    pub(super) device: u64,
    /// Inode number.
    pub(super) inode: u64,
    /// Birth in nanoseconds since the epoch, 0 where the file system does not keep it.
    pub(super) born: u64,
}

impl Identity {
    pub(super) fn of(meta: &Metadata) -> Self {
        let born = meta.created().ok().and_then(|t| t.duration_since(UNIX_EPOCH).ok());
        Self {
            device: meta.dev(),
            inode: meta.ino(),
            born: born.map_or(0, |t| u64::try_from(t.as_nanos()).unwrap_or(u64::MAX)),
        }
    }

    /// Whether both are one file. Device numbers may change with a reboot; a birth in nanoseconds together with the inode
    /// number does not.
    pub(super) fn is_same(self, other: Self) -> bool {
        self.inode == other.inode
            && self.born == other.born
            && (self.born != 0 || self.device == other.device)
    }

    /// Whether the file was born later than `then`, as far as its file system tells.
    pub(super) fn is_born_after(self, then: Wall) -> bool {
        self.born == 0 || i128::from(self.born) > i128::from(then.0) * 1_000_000
    }
}

/// Last write to a file in nanoseconds since the epoch.
pub(super) fn modified(meta: &Metadata) -> i128 {
    i128::from(meta.mtime()) * 1_000_000_000 + i128::from(meta.mtime_nsec())
}

/// FNV-1a: short, and the same in every version, because it is stored. Chance is its only adversary: who may
/// rewrite a log file needs no collision.
pub(super) fn fingerprint(bytes: &[u8]) -> u64 {
    bytes
        .iter()
        .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn fingerprint_is_the_published_function() {
        assert_eq!(fingerprint(b""), 0xcbf2_9ce4_8422_2325);
        assert_eq!(fingerprint(b"foobar"), 0x8594_4171_f739_67e8);
    }

    #[test]
    fn identity_outlives_a_rename_and_tells_files_apart() {
        let dir = tempfile::tempdir().unwrap();
        let (a, b) = (dir.path().join("a"), dir.path().join("b"));
        std::fs::write(&a, "x").unwrap();
        let before = Identity::of(&a.metadata().unwrap());
        std::fs::rename(&a, &b).unwrap();
        std::fs::write(&a, "x").unwrap();
        assert_eq!(before, Identity::of(&b.metadata().unwrap()));
        assert_ne!(before, Identity::of(&a.metadata().unwrap()));
    }
}
