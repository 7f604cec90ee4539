//! Word when addresses, routes or interfaces change (rtnetlink(7), multicast groups).

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use netlink_packet_core::NetlinkBuffer;
use netlink_sys::protocols::NETLINK_ROUTE;
use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, Timespec, poll};

use crate::source::Stop;

/// Changes come in bursts: one is told when nothing more came for this long …
const QUIET: Duration = Duration::from_millis(50);
/// … but not later than this after its beginning.
const LATEST: Duration = Duration::from_millis(400);

// Groups of linux/rtnetlink.h as bits of the address that is bound.
const RTMGRP_LINK: u32 = 0x1;
const RTMGRP_IPV4_IFADDR: u32 = 0x10;
const RTMGRP_IPV4_ROUTE: u32 = 0x40;
const RTMGRP_IPV6_IFADDR: u32 = 0x100;
const RTMGRP_IPV6_ROUTE: u32 = 0x400;

/// What changed since the last word.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Changed {
    /// Addresses came or went.
    pub addresses: bool,
    /// Routes came or went.
    pub routes: bool,
    /// Interfaces appeared, vanished, were renamed, went up or down.
    pub links: bool,
}

impl Changed {
    const ALL: Self = Self { addresses: true, routes: true, links: true };

    fn is_any(self) -> bool {
        self.addresses || self.routes || self.links
    }

    fn add(&mut self, message_type: u16) {
        match message_type {
            libc::RTM_NEWLINK | libc::RTM_DELLINK => self.links = true,
            libc::RTM_NEWADDR | libc::RTM_DELADDR => self.addresses = true,
            libc::RTM_NEWROUTE | libc::RTM_DELROUTE => self.routes = true,
            _ => {}
        }
    }
}

/// Starts a thread that calls `tell` within half a second of each change in the network namespace of the caller,
/// until `stop` is set. What changed before this returns is not told.
pub fn watch(
    stop: Stop,
    tell: impl FnMut(Changed) + Send + 'static,
) -> io::Result<JoinHandle<io::Result<()>>> {
    let mut socket = Socket::new(NETLINK_ROUTE)?;
    socket.set_non_blocking(true)?;
    let groups =
        RTMGRP_LINK | RTMGRP_IPV4_IFADDR | RTMGRP_IPV4_ROUTE | RTMGRP_IPV6_IFADDR | RTMGRP_IPV6_ROUTE;
    socket.bind(&SocketAddr::new(0, groups))?;
    std::thread::Builder::new().name("guard-netwatch".into()).spawn(move || follow(&socket, &stop, tell))
}

fn follow(socket: &Socket, stop: &Stop, mut tell: impl FnMut(Changed)) -> io::Result<()> {
    let mut changed = Changed::default();
    let mut began = Instant::now();
    loop {
        let wait = changed.is_any().then(|| QUIET.min(LATEST.saturating_sub(began.elapsed())));
        if !wait_for(socket, stop, wait)? {
            return Ok(());
        }
        let heard = listen(socket)?;
        if heard.is_any() && !changed.is_any() {
            began = Instant::now();
        }
        changed.addresses |= heard.addresses;
        changed.routes |= heard.routes;
        changed.links |= heard.links;
        if changed.is_any() && (!heard.is_any() || began.elapsed() >= LATEST) {
            tell(std::mem::take(&mut changed));
        }
    }
}

/// Waits for a message or the end of `wait`; `false` when it is time to stop.
fn wait_for(socket: &Socket, stop: &Stop, wait: Option<Duration>) -> io::Result<bool> {
    let timeout = wait.map(|w| Timespec { tv_sec: 0, tv_nsec: i64::from(w.subsec_nanos()) });
    let socket = borrow(socket);
    let mut fds = [PollFd::new(stop, PollFlags::IN), PollFd::new(&socket, PollFlags::IN)];
    match poll(&mut fds, timeout.as_ref()) {
        Ok(_) | Err(rustix::io::Errno::INTR) => Ok(!fds[0].revents().contains(PollFlags::IN)),
        Err(e) => Err(e.into()),
    }
}

/// Reads what has arrived.
fn listen(socket: &Socket) -> io::Result<Changed> {
    let mut changed = Changed::default();
    loop {
        match socket.recv_from_full() {
            Ok((bytes, from)) if from.port_number() == 0 => {
                let mut rest = &bytes[..];
                while let Ok(message) = NetlinkBuffer::new_checked(&rest) {
                    changed.add(message.message_type());
                    let length = (message.length() as usize).next_multiple_of(4).min(rest.len());
                    rest = &rest[length..];
                }
            }
            Ok(_) => {}
            // The kernel had more to say than the socket could hold: anything may have changed.
            Err(e) if e.raw_os_error() == Some(libc::ENOBUFS) => changed = Changed::ALL,
            Err(e) if e.kind() == io::ErrorKind::WouldBlock => return Ok(changed),
            Err(e) if e.kind() == io::ErrorKind::Interrupted => {}
            Err(e) => return Err(e),
        }
    }
}

#[allow(unsafe_code, reason = "netlink-sys shows its descriptor only as a number")]
fn borrow(socket: &Socket) -> BorrowedFd<'_> {
    // SAFETY: the descriptor is open as long as the socket lives, which the lifetime of the result is bound to.
    unsafe { BorrowedFd::borrow_raw(socket.as_raw_fd()) }
}
