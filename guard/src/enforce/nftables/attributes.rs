//! Netlink attributes: written one after the other, and read back.

/// Marks an attribute that holds attributes (`NLA_F_NESTED`).
const NESTED: u16 = 0x8000;
/// The bits of a type that are its number (`NLA_TYPE_MASK`).
const NUMBER: u16 = 0x3fff;
/// Length of `nlattr`.
const HEADER: usize = 4;

/// Attributes of a message, appended one after the other.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// Goes on behind bytes that are there already.
    pub(super) fn behind(bytes: Vec<u8>) -> Self {
        Self(bytes)
    }

    /// What has been written.
    pub(super) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Adds a text.
    pub(super) fn text(self, kind: u16, text: &str) -> Self {
        self.parts(kind, &[text.as_bytes(), &[0]])
    }

    /// Adds plain bytes.
    pub(super) fn bytes(self, kind: u16, value: &[u8]) -> Self {
        self.parts(kind, &[value])
    }

    /// Adds a 32-bit number in network order.
    pub(super) fn u32(self, kind: u16, value: u32) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds a 64-bit number in network order.
    pub(super) fn u64(self, kind: u16, value: u64) -> Self {
        self.bytes(kind, &value.to_be_bytes())
    }

    /// Adds an attribute with others inside, together less than 64 KiB: its length has 16 bits.
    pub(super) fn nested(mut self, kind: u16, inner: impl FnOnce(Self) -> Self) -> Self {
        let start = self.0.len();
        self.0.extend_from_slice(&[0; HEADER]);
        let mut this = inner(self);
        let length = (this.0.len() - start) as u16;
        this.0[start..start + 2].copy_from_slice(&length.to_ne_bytes());
        this.0[start + 2..start + HEADER].copy_from_slice(&(kind | NESTED).to_ne_bytes());
        this
    }

    fn parts(mut self, kind: u16, parts: &[&[u8]]) -> Self {
        let length = HEADER + parts.iter().map(|part| part.len()).sum::<usize>();
        self.0.extend_from_slice(&(length as u16).to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        for part in parts {
            self.0.extend_from_slice(part);
        }
        self.0.resize(self.0.len().next_multiple_of(4), 0);
        self
    }
}

/// Attributes of an answer.
#[derive(Clone, Copy, Debug)]
pub(super) struct Read<'a>(pub(super) &'a [u8]);

impl<'a> Read<'a> {
    /// Each attribute's number and value. Ends at the first that does not fit.
    pub(super) fn iter(self) -> impl Iterator<Item = (u16, &'a [u8])> {
        let mut rest = self.0;
        std::iter::from_fn(move || {
            let length = usize::from(u16_at(rest, 0)?);
            let kind = u16_at(rest, 2)? & NUMBER;
            let value = rest.get(HEADER..length)?;
            rest = rest.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some((kind, value))
        })
    }

    /// The value of an attribute.
    pub(super) fn get(self, kind: u16) -> Option<&'a [u8]> {
        self.iter().find(|&(k, _)| k == kind).map(|(_, value)| value)
    }

    /// The attributes inside an attribute; none if it is not there.
    pub(super) fn inside(self, kind: u16) -> Self {
        Self(self.get(kind).unwrap_or_default())
    }

    /// A text, without its final zero.
    pub(super) fn text(self, kind: u16) -> Option<&'a str> {
        std::str::from_utf8(self.get(kind)?.strip_suffix(b"\0")?).ok()
    }

    /// A 32-bit number in network order.
    pub(super) fn u32(self, kind: u16) -> Option<u32> {
        Some(u32::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }

    /// A 64-bit number in network order.
    pub(super) fn u64(self, kind: u16) -> Option<u64> {
        Some(u64::from_be_bytes(self.get(kind)?.try_into().ok()?))
    }
}

/// A 16-bit number in the machine's order, as headers have it.
pub(super) fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

/// A 32-bit number in the machine's order, as headers have it.
pub(super) fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_back() {
        let bytes = Attributes::default()
            .text(1, "guard")
            .nested(2, |inner| inner.u64(3, 1 << 40).nested(4, |inner| inner.bytes(5, &[1, 2, 3])))
            .u32(6, 7)
            .into_bytes();
        let read = Read(&bytes);
        assert_eq!(read.text(1), Some("guard"));
        assert_eq!(read.inside(2).u64(3), Some(1 << 40));
        assert_eq!(read.inside(2).inside(4).get(5), Some(&[1, 2, 3][..]));
        assert_eq!(read.u32(6), Some(7));
        assert_eq!(read.iter().count(), 3);
    }

    #[test]
    fn what_does_not_fit_ends_the_list() {
        for torn in [&[][..], &[8], &[8, 0, 1, 0, 9], &[3, 0, 1, 0]] {
            assert_eq!(Read(torn).iter().count(), 0, "{torn:?}");
        }
    }
}
