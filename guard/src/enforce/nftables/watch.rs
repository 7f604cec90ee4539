//! Hearing of changes to the rule set.
//!
//! Whose a transaction was is not asked: the kernel names its process by a number that means nothing inside a pid
//! namespace. Our own are told too, and cost the reconciliation a look at the generation number.

use std::io;
use std::thread::JoinHandle;

use netlink_sys::{Socket, SocketAddr};
use rustix::event::{PollFd, PollFlags, poll};

use super::netlink::{GROUP, Message, NEW_GENERATION, PROTOCOL};
use crate::source::Stop;

/// Calls back after transactions in the network namespace of the caller, and when messages were lost, so that a
/// flush by others is repaired at once. The callback runs on a thread of its own and should only wake whoever
/// reconciles. Ends when the answer is dropped.
pub fn watch(callback: impl FnMut() + Send + 'static) -> io::Result<Watch> {
    let mut socket = Socket::new(PROTOCOL)?;
    socket.bind(&SocketAddr::new(0, 0))?;
    socket.add_membership(GROUP)?;
    socket.set_non_blocking(true)?;
    let stop = Stop::new()?;
    let heard = stop.clone();
    let thread = std::thread::Builder::new()
        .name("guard-nft-watch".into())
        .spawn(move || listen(&socket, &heard, callback))?;
    Ok(Watch { stop, thread: Some(thread) })
}

/// A running [`watch`].
#[derive(Debug)]
pub struct Watch {
    stop: Stop,
    thread: Option<JoinHandle<()>>,
}

impl Watch {
    /// Whether nothing more will be told, because its thread has ended.
    pub fn is_over(&self) -> bool {
        self.thread.as_ref().is_none_or(JoinHandle::is_finished)
    }
}

impl Drop for Watch {
    fn drop(&mut self) {
        self.stop.set();
        if let Some(thread) = self.thread.take() {
            // It can only have ended by a panic of the callback, which has been printed.
            let _ = thread.join();
        }
    }
}

fn listen(socket: &Socket, stop: &Stop, mut callback: impl FnMut()) {
    let mut buffer = vec![0; 1 << 16];
    while wait(socket, stop) {
        let mut changed = false;
        loop {
            let mut free = &mut buffer[..];
            match socket.recv(&mut free, 0) {
                Ok(length) => changed |= Message::all(&buffer[..length]).any(|m| m.kind == NEW_GENERATION),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => break,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                // ENOBUFS: more was told than fits.
                Err(_) => {
                    changed = true;
                    break;
                }
            }
        }
        if changed {
            callback();
        }
    }
}

/// Waits for messages; false when it is time to end.
fn wait(socket: &Socket, stop: &Stop) -> bool {
    loop {
        match poll(&mut [PollFd::new(socket, PollFlags::IN), PollFd::new(stop, PollFlags::IN)], None) {
            Ok(_) => return !stop.is_set(),
            Err(rustix::io::Errno::INTR) => {}
            Err(_) => return false,
        }
    }
}
