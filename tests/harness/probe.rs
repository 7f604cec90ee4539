//! Packets: does one get through?

use std::net::{IpAddr, SocketAddr, UdpSocket};
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::io::Errno;
use rustix::net::{AddressFamily, SocketFlags, SocketType, bind, connect, socket_with, sockopt};

use crate::Namespace;

/// Whether an echo request from one address to another is answered within a second.
pub fn pings(namespace: &Namespace, from: IpAddr, to: IpAddr) -> bool {
    namespace.enter(|| {
        Command::new("ping")
            .args(["-n", "-c1", "-W1", "-I", &from.to_string(), &to.to_string()])
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .status()
            .is_ok_and(|status| status.success())
    })
}

/// Whether a TCP connection from an address comes about within `limit`.
pub fn connects(namespace: &Namespace, from: IpAddr, to: SocketAddr, limit: Duration) -> bool {
    namespace.enter(|| connect_from(from, to, limit).is_ok())
}

fn connect_from(from: IpAddr, to: SocketAddr, limit: Duration) -> rustix::io::Result<()> {
    let family = if from.is_ipv4() { AddressFamily::INET } else { AddressFamily::INET6 };
    let flags = SocketFlags::CLOEXEC | SocketFlags::NONBLOCK;
    let socket = socket_with(family, SocketType::STREAM, flags, None)?;
    bind(&socket, &SocketAddr::new(from, 0))?;
    match connect(&socket, &to) {
        Err(Errno::INPROGRESS) => {}
        other => return other,
    }
    let mut sockets = [PollFd::new(&socket, PollFlags::OUT)];
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: limit.subsec_nanos().into() };
    if poll(&mut sockets, Some(&limit))? == 0 {
        return Err(Errno::TIMEDOUT);
    }
    sockopt::socket_error(&socket)?
}

/// Counts UDP datagrams that arrive at an address, until the returned counter is dropped everywhere else.
pub fn counter(namespace: &Namespace, at: SocketAddr) -> Arc<AtomicU64> {
    let socket = namespace.enter(|| UdpSocket::bind(at)).expect("the address is free");
    socket.set_read_timeout(Some(Duration::from_millis(100))).expect("a time-out can be set");
    let count = Arc::new(AtomicU64::new(0));
    let mine = Arc::clone(&count);
    std::thread::spawn(move || {
        let mut datagram = [0; 64];
        while Arc::strong_count(&mine) > 1 {
            if socket.recv(&mut datagram).is_ok() {
                mine.fetch_add(1, Ordering::Relaxed);
            }
        }
    });
    count
}

/// Sends datagrams from an address as fast as one thread can, until it is stopped.
#[derive(Debug)]
pub struct Flood {
    sent: Arc<AtomicU64>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Flood {
    /// Starts to send.
    pub fn start(namespace: &Namespace, from: IpAddr, to: SocketAddr) -> Self {
        let socket =
            namespace.enter(|| UdpSocket::bind(SocketAddr::new(from, 0))).expect("the address is ours");
        socket.connect(to).expect("the address can be reached");
        let sent = Arc::new(AtomicU64::new(0));
        let stop = Arc::new(AtomicBool::new(false));
        let (count, stopped) = (Arc::clone(&sent), Arc::clone(&stop));
        let thread = std::thread::spawn(move || {
            while !stopped.load(Ordering::Relaxed) {
                if socket.send(b"guard").is_ok() {
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
        });
        Self { sent, stop, thread: Some(thread) }
    }

    /// Datagrams sent so far.
    pub fn sent(&self) -> u64 {
        self.sent.load(Ordering::Relaxed)
    }
}

impl Drop for Flood {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}
