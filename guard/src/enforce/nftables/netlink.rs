//! Reading `nf_tables` over netlink: the few message and attribute numbers that are needed, as
//! `include/uapi/linux/netfilter/nf_tables.h` and `include/uapi/linux/netlink.h` have them.
//!
//! Reads go past `nft` because it fetches every element of a table even where one is asked for.

use std::io;

use netlink_sys::{Socket, SocketAddr};

/// `NETLINK_NETFILTER`.
pub(super) const PROTOCOL: isize = 12;
/// `NFNLGRP_NFTABLES`: every change of the rule set is told to this group.
pub(super) const GROUP: u32 = 7;
/// `NFPROTO_INET`.
const INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`, the high byte of a message's type.
const SUBSYSTEM: u16 = 10 << 8;

const REQUEST: u16 = 0x1;
const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the set changed while it was read.
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Length of `nlmsghdr`, and of `nfgenmsg` behind it.
const HEADER: usize = 16;
const FAMILY_HEADER: usize = 4;

/// What is asked for: `NFT_MSG_GET…`.
#[derive(Clone, Copy, Debug)]
pub(super) enum Get {
    Table = 1,
    Chain = 4,
    Rule = 7,
    Set = 10,
    Element = 13,
    Generation = 16,
    Object = 19,
}

/// `NFT_MSG_NEWGEN`, as a message's type.
pub(super) const NEW_GENERATION: u16 = SUBSYSTEM | 15;

/// Attributes of a request, appended one after the other.
#[derive(Debug, Default)]
pub(super) struct Attributes(Vec<u8>);

impl Attributes {
    /// Adds a text.
    pub(super) fn text(self, kind: u16, text: &str) -> Self {
        let mut bytes = text.as_bytes().to_vec();
        bytes.push(0);
        self.bytes(kind, &bytes)
    }

    /// Adds attributes inside an attribute.
    pub(super) fn nested(self, kind: u16, inner: &Self) -> Self {
        self.bytes(kind | 0x8000, &inner.0)
    }

    /// Adds plain bytes.
    pub(super) fn bytes(mut self, kind: u16, value: &[u8]) -> Self {
        let length = value.len() as u16 + 4;
        self.0.extend_from_slice(&length.to_ne_bytes());
        self.0.extend_from_slice(&kind.to_ne_bytes());
        self.0.extend_from_slice(value);
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
            let kind = u16_at(rest, 2)? & 0x3fff;
            let value = rest.get(4..length)?;
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

/// A message: its type, its flags, and what follows the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Its type.
    pub(super) kind: u16,
    flags: u16,
    sequence: u32,
    body: &'a [u8],
}

impl<'a> Message<'a> {
    /// The messages in what was received at once.
    pub(super) fn all(mut received: &'a [u8]) -> impl Iterator<Item = Self> {
        std::iter::from_fn(move || {
            let length = u32_at(received, 0)? as usize;
            let message = Self {
                kind: u16_at(received, 4)?,
                flags: u16_at(received, 6)?,
                sequence: u32_at(received, 8)?,
                body: received.get(HEADER..length)?,
            };
            received = received.get(length.next_multiple_of(4)..).unwrap_or_default();
            Some(message)
        })
    }

    /// Its attributes.
    pub(super) fn attributes(&self) -> Read<'a> {
        Read(self.body.get(FAMILY_HEADER..).unwrap_or_default())
    }

    /// The outcome that an `NLMSG_ERROR` or `NLMSG_DONE` tells.
    fn outcome(&self) -> io::Result<()> {
        match u32_at(self.body, 0).map(|code| code as i32) {
            Some(code) if code < 0 => Err(io::Error::from_raw_os_error(-code)),
            _ => Ok(()),
        }
    }
}

/// A connection to `nf_tables` of the network namespace it was opened in.
#[derive(Debug)]
pub(super) struct Netlink {
    socket: Socket,
    sequence: u32,
    buffer: Vec<u8>,
}

impl Netlink {
    /// Opens it.
    pub(super) fn open() -> io::Result<Self> {
        let mut socket = Socket::new(PROTOCOL)?;
        socket.bind_auto()?;
        socket.connect(&SocketAddr::new(0, 0))?;
        Ok(Self { socket, sequence: 0, buffer: vec![0; 1 << 16] })
    }

    /// Asks for one thing; `None` if it does not exist.
    pub(super) fn get<T>(
        &mut self,
        what: Get,
        attributes: &Attributes,
        mut read: impl FnMut(Read<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        match self.request(what, ACK, attributes, |answer| found = found.take().or_else(|| read(answer))) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(None),
            Err(error) => Err(error),
            Ok(()) => Ok(found),
        }
    }

    /// Asks for everything of a kind; nothing if what it should be in does not exist. An error of kind
    /// `Interrupted` says that it changed meanwhile and what was read is not whole.
    pub(super) fn dump(
        &mut self,
        what: Get,
        attributes: &Attributes,
        read: impl FnMut(Read<'_>),
    ) -> io::Result<()> {
        match self.request(what, DUMP, attributes, read) {
            Err(error) if error.raw_os_error() == Some(libc::ENOENT) => Ok(()),
            outcome => outcome,
        }
    }

    fn request(
        &mut self,
        what: Get,
        flags: u16,
        attributes: &Attributes,
        mut read: impl FnMut(Read<'_>),
    ) -> io::Result<()> {
        self.sequence = self.sequence.wrapping_add(1);
        self.socket.send(&request(what, flags, self.sequence, attributes), 0)?;
        let mut interrupted = false;
        loop {
            let mut free = &mut self.buffer[..];
            let length = self.socket.recv(&mut free, 0)?;
            for message in Message::all(&self.buffer[..length]) {
                // The rest of an earlier answer that ended in an error.
                if message.sequence != self.sequence {
                    continue;
                }
                interrupted |= message.flags & INTERRUPTED != 0;
                match message.kind {
                    ERROR | DONE => {
                        message.outcome()?;
                        return if interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) };
                    }
                    _ => read(message.attributes()),
                }
            }
        }
    }
}

fn request(what: Get, flags: u16, sequence: u32, attributes: &Attributes) -> Vec<u8> {
    let length = (HEADER + FAMILY_HEADER + attributes.0.len()) as u32;
    let mut bytes = Vec::with_capacity(length as usize);
    bytes.extend_from_slice(&length.to_ne_bytes());
    bytes.extend_from_slice(&(SUBSYSTEM | what as u16).to_ne_bytes());
    bytes.extend_from_slice(&(REQUEST | flags).to_ne_bytes());
    bytes.extend_from_slice(&sequence.to_ne_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&[INET, 0, 0, 0]);
    bytes.extend_from_slice(&attributes.0);
    bytes
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_ne_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_ne_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}
