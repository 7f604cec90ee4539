//! The network interfaces of this namespace, and news about them (rtnetlink(7)).

use std::io;
use std::os::fd::{AsFd, AsRawFd, BorrowedFd, OwnedFd};
use std::thread::{self, JoinHandle};

use netlink_packet_core::{NLM_F_DUMP, NLM_F_REQUEST, NetlinkHeader, NetlinkMessage, NetlinkPayload};
use netlink_packet_route::RouteNetlinkMessage;
use netlink_packet_route::link::{
    InfoKind, LinkAttribute, LinkFlags, LinkInfo, LinkLayerType, LinkMessage, LinkXdp, XdpAttached,
};
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, poll};
use rustix::pipe::{PipeFlags, pipe_with};

use super::error::DatapathError;

/// `RTMGRP_LINK` in `include/uapi/linux/rtnetlink.h`.
const GROUP_LINK: u32 = 1;

/// A network interface.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Interface {
    /// Its index.
    pub index: u32,
    /// Its name.
    pub name: String,
    /// Whether it is up.
    pub up: bool,
    /// Whether it is a loopback device.
    pub loopback: bool,
    /// Whether its packets start with an Ethernet header.
    pub ethernet: bool,
    /// What it is a port of: the index of a bridge, bond or team.
    pub controller: Option<u32>,
    /// The interface below it, for VLAN devices and their like.
    pub lower: Option<u32>,
    /// The word of its kind: `bridge`, `veth`, `vlan` …; empty for hardware.
    pub kind: String,
    /// How an XDP program is attached to it, and which; guard's or another.
    pub xdp: Option<XdpState>,
}

/// An XDP program on an interface.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct XdpState {
    /// Whether it runs in the driver; else in the stack, behind the allocation of a socket buffer.
    pub native: bool,
    /// The program's id; 0 where several are attached.
    pub program: u32,
}

/// Every interface of the calling thread's network namespace.
pub fn list() -> Result<Vec<Interface>, DatapathError> {
    dump().map_err(DatapathError::system("listing the network interfaces"))
}

fn dump() -> io::Result<Vec<Interface>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.bind_auto()?;
    socket.connect(&SocketAddr::new(0, 0))?;
    let mut header = NetlinkHeader::default();
    header.flags = NLM_F_DUMP | NLM_F_REQUEST;
    let request = RouteNetlinkMessage::GetLink(LinkMessage::default());
    let mut request = NetlinkMessage::new(header, NetlinkPayload::from(request));
    request.finalize();
    let mut bytes = vec![0; request.buffer_len()];
    request.serialize(&mut bytes);
    socket.send(&bytes, 0)?;

    let mut interfaces = Vec::new();
    loop {
        let (datagram, _) = socket.recv_from_full()?;
        let mut rest = &datagram[..];
        while !rest.is_empty() {
            let message =
                NetlinkMessage::<RouteNetlinkMessage>::deserialize(rest).map_err(io::Error::other)?;
            match message.payload {
                NetlinkPayload::Done(_) => return Ok(interfaces),
                NetlinkPayload::Error(error) => return Err(error.to_io()),
                NetlinkPayload::InnerMessage(RouteNetlinkMessage::NewLink(link)) => {
                    interfaces.push(interface(&link));
                }
                _ => {}
            }
            let length = (message.header.length as usize).next_multiple_of(4);
            rest = rest.get(length..).unwrap_or_default();
        }
    }
}

fn interface(link: &LinkMessage) -> Interface {
    let mut interface = Interface {
        index: link.header.index,
        name: String::new(),
        up: link.header.flags.contains(LinkFlags::Up),
        loopback: link.header.flags.contains(LinkFlags::Loopback),
        ethernet: link.header.link_layer_type == LinkLayerType::Ether,
        controller: None,
        lower: None,
        kind: String::new(),
        xdp: None,
    };
    for attribute in &link.attributes {
        match attribute {
            LinkAttribute::IfName(name) => interface.name.clone_from(name),
            LinkAttribute::Controller(index) => {
                interface.controller = Some(*index).filter(|index| *index != 0);
            }
            LinkAttribute::Link(index) => interface.lower = Some(*index).filter(|index| *index != 0),
            LinkAttribute::LinkInfo(infos) => {
                for info in infos {
                    if let LinkInfo::Kind(kind) = info {
                        interface.kind = word(kind);
                    }
                }
            }
            LinkAttribute::Xdp(attributes) => interface.xdp = xdp(attributes),
            _ => {}
        }
    }
    interface
}

fn word(kind: &InfoKind) -> String {
    kind.to_string()
}

fn xdp(attributes: &[LinkXdp]) -> Option<XdpState> {
    let mut attached = None;
    let mut program = 0;
    for attribute in attributes {
        match attribute {
            LinkXdp::Attached(XdpAttached::None) => return None,
            LinkXdp::Attached(how) => attached = Some(how),
            LinkXdp::ProgId(id) => program = *id,
            _ => {}
        }
    }
    attached.map(|how| XdpState { native: !matches!(how, XdpAttached::SocketBuffer), program })
}

/// Watches for interfaces that come, go, are renamed or go up and down. Ends when dropped.
#[derive(Debug)]
pub struct Watch {
    stop: Option<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// Calls `changed` on a thread of its own after each change to the interfaces of the calling thread's network
/// namespace. Changes that come together are told once; a lost message counts as a change.
pub fn watch(changed: impl FnMut() + Send + 'static) -> Result<Watch, DatapathError> {
    let start = || -> io::Result<Watch> {
        let mut socket = Socket::new(NETLINK_ROUTE)?;
        socket.bind(&SocketAddr::new(0, GROUP_LINK))?;
        socket.set_non_blocking(true)?;
        let (stopped, stop) = pipe_with(PipeFlags::CLOEXEC)?;
        let thread =
            thread::Builder::new().name("links".into()).spawn(move || follow(&socket, &stopped, changed))?;
        Ok(Watch { stop: Some(stop), thread: Some(thread) })
    };
    start().map_err(DatapathError::system("watching the network interfaces"))
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.take();
        if let Some(thread) = self.thread.take() {
            // The callback's panic is its own; there is nobody left to tell.
            let _ = thread.join();
        }
    }
}

/// Until the other end of `stopped` is closed.
fn follow(socket: &Socket, stopped: &OwnedFd, mut changed: impl FnMut()) {
    loop {
        let news = Descriptor(socket);
        let mut wait =
            [PollFd::new(&news, PollFlags::IN), PollFd::new(stopped, PollFlags::IN | PollFlags::HUP)];
        match poll(&mut wait, None) {
            Err(rustix::io::Errno::INTR) => continue,
            Err(_) => return,
            Ok(_) => {}
        }
        if !wait[1].revents().is_empty() {
            return;
        }
        drain(socket);
        changed();
    }
}

/// Reads what is there. The messages only say that something changed; what is, [`list`] tells.
fn drain(socket: &Socket) {
    let mut buffer = Vec::with_capacity(32 * 1024);
    loop {
        buffer.clear();
        match socket.recv(&mut buffer, 0) {
            Ok(_) => {}
            // Messages were lost; the ones behind them are still there.
            Err(error) if error.raw_os_error() == Some(libc::ENOBUFS) => {}
            Err(_) => return,
        }
    }
}

/// A netlink socket as something to wait for.
struct Descriptor<'a>(&'a Socket);

impl AsFd for Descriptor<'_> {
    #[allow(unsafe_code, reason = "netlink-sys lends its descriptor as a number only")]
    fn as_fd(&self) -> BorrowedFd<'_> {
        // SAFETY: the socket lives as long as this borrow and keeps its descriptor open.
        unsafe { BorrowedFd::borrow_raw(self.0.as_raw_fd()) }
    }
}
