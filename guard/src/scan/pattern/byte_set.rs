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

    /// The bytes that both sets hold.
    #[inline]
    pub(super) fn and(self, other: Self) -> Self {
        Self(std::array::from_fn(|word| self.0[word] & other.0[word]))
    }

    /// The bytes it does not hold.
    pub(super) fn not(self) -> Self {
        Self(self.0.map(|word| !word))
    }

    /// One of its bytes, if possible one that can be shown.
    pub(super) fn readable(self) -> u8 {
        let shown = (b'a'..=b'z').chain(b'0'..=b'9').chain([b' ']).chain(b'!'..=b'~').chain(0..=255);
        shown.into_iter().find(|byte| self.has(*byte)).unwrap_or(b'?')
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
            assert_eq!(set.is_empty(), set.first_in(&text).is_none());
            assert!(set.is_empty() || set.has(set.readable()));
        }
        let (both, neither) = (ByteSet::of(b":a").and(ByteSet::of(b"ab")), ByteSet::of(b":a").not());
        assert!(both.has(b'a') && !both.has(b':') && !both.has(b'b'));
        assert!(neither.has(b'b') && !neither.has(b'a'));
    }
}
