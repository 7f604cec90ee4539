//! Network namespaces without names: a descriptor keeps one alive, so nothing is left behind even by a killed test.

use std::fs::File;
use std::os::fd::{AsFd as _, AsRawFd as _};
use std::process::Command;
use std::thread;

use rustix::thread::{LinkNameSpaceType, UnshareFlags, move_into_link_name_space};

use crate::run;

/// A network namespace with loopback up.
#[derive(Debug)]
pub struct Namespace(File);

impl Namespace {
    /// Makes one.
    pub fn new() -> Self {
        let file = thread::scope(|scope| scope.spawn(make).join().expect("a namespace can be made"));
        let namespace = Self(file);
        namespace.ip("link set lo up");
        namespace
    }

    /// Runs a closure on a thread inside: its sockets and the processes it starts belong to the namespace.
    pub fn enter<T: Send>(&self, work: impl FnOnce() -> T + Send) -> T {
        thread::scope(|scope| {
            let inside = thread::Builder::new()
                // Panics and skips are told under the test's name.
                .name(thread::current().name().unwrap_or("namespace").to_owned())
                .spawn_scoped(scope, || {
                    move_into_link_name_space(self.0.as_fd(), Some(LinkNameSpaceType::Network))
                        .expect("a namespace can be entered");
                    work()
                })
                .expect("a thread can be started");
            inside.join().unwrap_or_else(|panic| std::panic::resume_unwind(panic))
        })
    }

    /// Runs `ip` with arguments separated by spaces.
    #[track_caller]
    pub fn ip(&self, arguments: &str) -> String {
        self.enter(|| run(Command::new("ip").args(arguments.split(' '))))
    }

    /// A path by which other programs find the namespace while this value lives.
    pub fn path(&self) -> String {
        format!("/proc/{}/fd/{}", std::process::id(), self.0.as_raw_fd())
    }
}

impl Default for Namespace {
    fn default() -> Self {
        Self::new()
    }
}

/// On a thread of its own: moves it into a new namespace and keeps a descriptor of that.
#[allow(unsafe_code, reason = "rustix marks every use of unshare unsafe because of one flag")]
fn make() -> File {
    // SAFETY: the function is unsafe because of `UnshareFlags::FILES`, which is not given.
    unsafe { rustix::thread::unshare_unsafe(UnshareFlags::NEWNET) }.expect("root may make namespaces");
    File::open("/proc/thread-self/ns/net").expect("proc is mounted")
}
