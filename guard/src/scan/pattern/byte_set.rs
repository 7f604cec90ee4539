//! A set of bytes.

/// A set of bytes, one bit for each.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub(in crate::scan) struct ByteSet([u64; 4]);

impl ByteSet {
    /// The set of these bytes.
    pub(super) const fn of(bytes: &[u8]) -> Self {
        let mut set = [0; 4];
        let mut at = 0;
        while at < bytes.len() {
            set[bytes[at] as usize / 64] |= 1 << (bytes[at] % 64);
            at += 1;
        }
        Self(set)
    }

    /// Whether it holds a byte.
    #[inline]
    pub(super) const fn has(self, byte: u8) -> bool {
        self.0[byte as usize / 64] >> (byte % 64) & 1 == 1
    }

    /// Whether it holds none.
    #[inline]
    pub(super) fn is_empty(self) -> bool {
        self == Self::default()
    }

    /// Its bytes.
    pub(super) fn bytes(self) -> impl Iterator<Item = u8> {
        (0..=255).filter(move |byte| self.has(*byte))
    }

    /// Where the first of its bytes stands in `text`.
    #[inline]
    pub(super) fn first_in(self, text: &[u8]) -> Option<usize> {
        match self {
            Self::NONE => None,
            Self::SPACE => memchr::memchr(b' ', text),
            _ => text.iter().position(|b| self.has(*b)),
        }
    }

    /// Where the last of its bytes stands in `text`.
    #[inline]
    pub(super) fn last_in(self, text: &[u8]) -> Option<usize> {
        match self {
            Self::NONE => None,
            Self::SPACE => memchr::memrchr(b' ', text),
            _ => text.iter().rposition(|b| self.has(*b)),
        }
    }

    const NONE: Self = Self([0; 4]);
    /// What ends a token.
    pub(super) const SPACE: Self = Self::of(b" ");
}

#[cfg(test)]
mod tests {
    use super::ByteSet;

    #[test]
    fn finds_its_bytes_only() {
        for set in [ByteSet::default(), ByteSet::SPACE, ByteSet::of(b":\"\xff\0")] {
            let text: Vec<u8> = (0..=255).chain(0..=255).collect();
            assert_eq!(set.first_in(&text), text.iter().position(|b| set.has(*b)));
            assert_eq!(set.last_in(&text), text.iter().rposition(|b| set.has(*b)));
            assert_eq!(set.is_empty(), set.bytes().next().is_none());
        }
        assert_eq!(ByteSet::of(b":a").bytes().collect::<Vec<_>>(), b":a");
    }
}
