//! A transaction as it is sent: messages between a begin and an end, all of which take effect together or none.
//!
//! Numbers as in `include/uapi/linux/netfilter/nfnetlink.h` and `nf_tables.h`.

use super::attributes::Attributes;
use super::netlink::{ACK, FAMILY_HEADER, HEADER, INET, REQUEST, SUBSYSTEM};

/// `NFNL_MSG_BATCH_BEGIN` and `NFNL_MSG_BATCH_END`.
const BEGIN: u16 = 16;
const END: u16 = 17;
/// `NFNL_BATCH_GENID`: the generation on which the transaction builds.
const GENERATION: u16 = 1;

/// `NLM_F_CREATE`: makes what is not there. Without `NLM_F_EXCL` what is there already is no error.
const CREATE: u16 = 0x400;
/// `NLM_F_APPEND`: a rule comes after those that are there.
const APPEND: u16 = 0x800;

/// What a message makes or takes away: `NFT_MSG_NEW…` and `NFT_MSG_DEL…`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verb {
    NewTable = 0,
    DeleteTable = 2,
    NewChain = 3,
    NewRule = 6,
    DeleteRules = 8,
    NewSet = 9,
    DeleteSet = 11,
    NewElements = 12,
    DeleteElements = 14,
    NewObject = 18,
}

impl Verb {
    fn flags(self) -> u16 {
        match self {
            Self::NewRule => CREATE | APPEND,
            Self::NewTable | Self::NewChain | Self::NewSet | Self::NewElements | Self::NewObject => CREATE,
            Self::DeleteTable | Self::DeleteRules | Self::DeleteSet | Self::DeleteElements => 0,
        }
    }
}

/// A transaction in the making.
#[derive(Debug)]
pub(super) struct Batch {
    bytes: Vec<u8>,
    /// Where the last message begins.
    last: usize,
    messages: u32,
}

impl Batch {
    /// One without messages.
    pub(super) fn new() -> Self {
        let mut this = Self { bytes: Vec::with_capacity(512), last: 0, messages: 0 };
        // The generation is filled in when it is sent; 0 means any.
        this.frame(BEGIN, REQUEST, 0, |begin| begin.u32(GENERATION, 0));
        this
    }

    /// Number of messages, the begin among them.
    pub(super) fn messages(&self) -> u32 {
        self.messages
    }

    /// Appends a message.
    pub(super) fn message(&mut self, verb: Verb, attributes: impl FnOnce(Attributes) -> Attributes) {
        self.frame(SUBSYSTEM | verb as u16, REQUEST | verb.flags(), INET, attributes);
    }

    /// The bytes to send, and the sequence number of the last message, whose receipt is asked for: the kernel
    /// gives it whether that message was right or not, behind every complaint. With a `generation` the kernel
    /// refuses a transaction that does not build on it. Messages are numbered from `sequence`.
    pub(super) fn sealed(&mut self, sequence: u32, generation: u32) -> (&[u8], u32) {
        let (last, messages) = (self.last, self.messages);
        // 16 bytes of header, 4 of family, 4 of the attribute's header: see `new`.
        let at = HEADER + FAMILY_HEADER + 4;
        self.bytes[at..at + 4].copy_from_slice(&generation.to_be_bytes());
        let mut start = 0;
        for number in 0..messages {
            let length = self.length_at(start);
            self.bytes[start + 8..start + 12].copy_from_slice(&sequence.wrapping_add(number).to_ne_bytes());
            start += length;
        }
        let flags = u16::from_ne_bytes([self.bytes[last + 6], self.bytes[last + 7]]) | ACK;
        self.bytes[last + 6..last + 8].copy_from_slice(&flags.to_ne_bytes());
        if self.bytes.len() == start {
            self.frame(END, REQUEST, 0, |end| end);
            (self.last, self.messages) = (last, messages);
        }
        (&self.bytes, sequence.wrapping_add(messages - 1))
    }

    fn length_at(&self, start: usize) -> usize {
        let bytes = &self.bytes[start..start + 4];
        u32::from_ne_bytes([bytes[0], bytes[1], bytes[2], bytes[3]]) as usize
    }

    fn frame(
        &mut self,
        kind: u16,
        flags: u16,
        family: u8,
        attributes: impl FnOnce(Attributes) -> Attributes,
    ) {
        let start = self.bytes.len();
        let mut bytes = std::mem::take(&mut self.bytes);
        header(&mut bytes, kind, flags, 0, family);
        if family == 0 {
            // Begin and end name the subsystem in place of a resource, in network order.
            let at = start + HEADER + 2;
            bytes[at..at + 2].copy_from_slice(&(SUBSYSTEM >> 8).to_be_bytes());
        }
        let mut bytes = attributes(Attributes::behind(bytes)).into_bytes();
        close(&mut bytes, start);
        self.bytes = bytes;
        (self.last, self.messages) = (start, self.messages + 1);
    }
}

/// Appends `nlmsghdr` and `nfgenmsg`; [`close`] fills the length in.
pub(super) fn header(bytes: &mut Vec<u8>, kind: u16, flags: u16, sequence: u32, family: u8) {
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&kind.to_ne_bytes());
    bytes.extend_from_slice(&flags.to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[family, 0, 0, 0]);
}

/// Ends the message that begins at `start`.
pub(super) fn close(bytes: &mut [u8], start: usize) {
    let length = (bytes.len() - start) as u32;
    bytes[start..start + 4].copy_from_slice(&length.to_ne_bytes());
}

#[cfg(test)]
mod tests {
    use super::super::netlink::Message;
    use super::*;

    #[test]
    fn messages_stand_between_begin_and_end_and_the_last_is_acknowledged() {
        let mut batch = Batch::new();
        batch.message(Verb::NewTable, |table| table.text(1, "guard"));
        batch.message(Verb::DeleteTable, |table| table.text(1, "guard"));
        // Sent twice, as after a refusal of its generation.
        for (sequence, generation) in [(7, 99), (40, 0)] {
            let (bytes, last) = batch.sealed(sequence, generation);
            let messages: Vec<_> = Message::all(bytes).collect();
            let kinds: Vec<u16> = messages.iter().map(|message| message.kind).collect();
            assert_eq!(kinds, [BEGIN, 0xa00, 0xa02, END]);
            let numbers: Vec<u32> = messages.iter().take(3).map(|message| message.sequence).collect();
            assert_eq!(numbers, [sequence, sequence + 1, sequence + 2]);
            assert_eq!(last, sequence + 2);
            let receipts: Vec<bool> = messages.iter().map(|message| message.flags & ACK != 0).collect();
            assert_eq!(receipts, [false, false, true, false]);
            assert_eq!(messages[0].attributes().u32(GENERATION), Some(generation));
        }
    }
}
