//! A connection to `nf_tables` over netlink: the few message numbers that are needed, as
//! `include/uapi/linux/netfilter/nf_tables.h` and `include/uapi/linux/netlink.h` have them.

use std::io;
use std::ops::ControlFlow;
use std::os::fd::AsFd;

use netlink_sys::{Socket, SocketAddr};
use rustix::net::sockopt::{set_socket_send_buffer_size, set_socket_send_buffer_size_force};

use super::attributes::{Attributes, Read, u16_at, u32_at};
use super::batch::{Batch, close, header};

/// `NETLINK_NETFILTER`.
pub(super) const PROTOCOL: isize = 12;
/// `NFNLGRP_NFTABLES`: every change of the rule set is told to this group.
pub(super) const GROUP: u32 = 7;
/// `NFPROTO_INET`.
pub(super) const INET: u8 = 1;
/// `NFNL_SUBSYS_NFTABLES`, the high byte of a message's type.
pub(super) const SUBSYSTEM: u16 = 10 << 8;

pub(super) const REQUEST: u16 = 0x1;
pub(super) const ACK: u16 = 0x4;
const DUMP: u16 = 0x300;
/// `NLM_F_DUMP_INTR`: the set changed while it was read.
const INTERRUPTED: u16 = 0x10;
const ERROR: u16 = 2;
const DONE: u16 = 3;
/// Length of `nlmsghdr`, and of `nfgenmsg` behind it.
pub(super) const HEADER: usize = 16;
pub(super) const FAMILY_HEADER: usize = 4;

/// Room for a transaction, which is one datagram. The kernel doubles it for its own needs.
const SEND_BUFFER: usize = 4 << 20;

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

/// A message: its type, its flags, and what follows the header.
#[derive(Clone, Copy, Debug)]
pub(super) struct Message<'a> {
    /// Its type.
    pub(super) kind: u16,
    pub(super) flags: u16,
    pub(super) sequence: u32,
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
        // Complaints need not bring back what they are about, up to 64 KiB each.
        socket.set_cap_ack(true)?;
        let this = Self { socket, sequence: 0, buffer: vec![0; 1 << 16] };
        // Where it is not given, transactions become smaller.
        let _ = this.ask_for_room(SEND_BUFFER);
        Ok(this)
    }

    /// Asks for so much room for a transaction, beyond the system's limit where that is allowed.
    pub(super) fn ask_for_room(&self, bytes: usize) -> io::Result<()> {
        set_socket_send_buffer_size_force(self.socket.as_fd(), bytes)
            .or_else(|_| set_socket_send_buffer_size(self.socket.as_fd(), bytes))?;
        Ok(())
    }

    /// Asks for one thing; `None` if it does not exist.
    pub(super) fn get<T>(
        &mut self,
        what: Get,
        attributes: impl FnOnce(Attributes) -> Attributes,
        mut read: impl FnMut(Read<'_>) -> Option<T>,
    ) -> io::Result<Option<T>> {
        let mut found = None;
        // No receipt is asked for: there is an answer or an error.
        let read = |answer: Read<'_>| {
            found = read(answer);
            ControlFlow::Break(())
        };
        match self.request(what, 0, attributes, read) {
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
        attributes: impl FnOnce(Attributes) -> Attributes,
        mut read: impl FnMut(Read<'_>),
    ) -> io::Result<()> {
        self.dump_while(what, attributes, |answer| {
            read(answer);
            ControlFlow::Continue(())
        })
    }

    /// As [`Self::dump`], as long as `read` goes on. After a break nothing else can be asked over this connection.
    pub(super) fn dump_while(
        &mut self,
        what: Get,
        attributes: impl FnOnce(Attributes) -> Attributes,
        read: impl FnMut(Read<'_>) -> ControlFlow<()>,
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
        attributes: impl FnOnce(Attributes) -> Attributes,
        mut read: impl FnMut(Read<'_>) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let sequence = self.number(1);
        let mut bytes = Vec::with_capacity(128);
        header(&mut bytes, SUBSYSTEM | what as u16, REQUEST | flags, sequence, INET);
        let mut bytes = attributes(Attributes::behind(bytes)).into_bytes();
        close(&mut bytes, 0);
        send(&self.socket, &bytes)?;
        let mut interrupted = false;
        loop {
            let length = self.receive(0)?;
            for message in Message::all(&self.buffer[..length]) {
                // The rest of an earlier answer that ended in an error.
                if message.sequence != sequence {
                    continue;
                }
                interrupted |= message.flags & INTERRUPTED != 0;
                if matches!(message.kind, ERROR | DONE) {
                    message.outcome()?;
                    return if interrupted { Err(io::ErrorKind::Interrupted.into()) } else { Ok(()) };
                }
                if read(message.attributes()).is_break() {
                    return Ok(());
                }
            }
        }
    }

    /// Makes a transaction take effect, or answers the first complaint about it, after which nothing of it has.
    /// `ERESTART` says that the rule set is not at this `generation` (0 for any) any more.
    ///
    /// The kernel works on a transaction while it is sent, so every answer is there as soon as it has been. If
    /// answers were lost, which is an error too, the transaction may have taken effect.
    pub(super) fn transact(&mut self, batch: &mut Batch, generation: u32) -> io::Result<()> {
        let first = self.number(batch.messages());
        let (bytes, last) = batch.sealed(first, generation);
        send(&self.socket, bytes)?;
        let mut refused = None;
        loop {
            let length = match self.receive(libc::MSG_DONTWAIT) {
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                // Some were lost. The others are read, or they would take the room of the next answers.
                Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {
                    refused = refused.or(Some(error));
                    continue;
                }
                length => length?,
            };
            for message in Message::all(&self.buffer[..length]) {
                let is_ours = message.sequence.wrapping_sub(first) <= last.wrapping_sub(first);
                if !is_ours || message.kind != ERROR {
                    continue;
                }
                refused = refused.or(message.outcome().err());
                if message.sequence == last {
                    return refused.map_or(Ok(()), Err);
                }
            }
        }
        Err(refused.unwrap_or_else(|| io::Error::other("the kernel did not answer")))
    }

    /// The first of so many new sequence numbers.
    fn number(&mut self, count: u32) -> u32 {
        let first = self.sequence.wrapping_add(1);
        self.sequence = self.sequence.wrapping_add(count);
        first
    }

    /// Fills the buffer with what the kernel has to say, and answers how much it is.
    fn receive(&mut self, flags: i32) -> io::Result<usize> {
        loop {
            let mut free = &mut self.buffer[..];
            match self.socket.recv(&mut free, flags) {
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                outcome => return outcome,
            }
        }
    }
}

fn send(socket: &Socket, bytes: &[u8]) -> io::Result<()> {
    loop {
        match socket.send(bytes, 0) {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome.map(drop),
        }
    }
}
