//! Attachment to interfaces, each test in a network namespace of its own thread.
#![allow(unsafe_code, reason = "entering a network namespace and opening a packet socket need system calls")]

use std::fs;
use std::io;
use std::os::fd::{AsRawFd, FromRawFd, OwnedFd};
use std::process::{Child, Command};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};
use std::thread;
use std::time::Duration;

use guard::ban::BanTable;
use guard::config::Interfaces;
use guard::datapath::{DatapathError, Pins, links};
use guard::enforce::{Enforcer, InterfaceStatus};

use crate::frame::frame;
use crate::world::World;

/// Runs a test on a thread in a new network namespace, which ends with it.
fn in_namespace(test: impl FnOnce() + Send) {
    thread::scope(|scope| {
        let run = scope.spawn(|| {
            // SAFETY: only this thread's namespace changes.
            assert_eq!(unsafe { libc::unshare(libc::CLONE_NEWNET) }, 0, "{}", io::Error::last_os_error());
            test();
        });
        if let Err(panic) = run.join() {
            std::panic::resume_unwind(panic);
        }
    });
}

fn ip(arguments: &str) {
    let done = Command::new("ip").args(arguments.split(' ')).output().unwrap();
    assert!(done.status.success(), "ip {arguments}: {}", String::from_utf8_lossy(&done.stderr));
}

fn pair(here: &str, there: &str) {
    ip(&format!("link add {here} type veth peer name {there}"));
    ip(&format!("link set {here} up"));
    ip(&format!("link set {there} up"));
}

/// Sends a frame out of an interface.
fn send(interface: &str, frame: &[u8]) {
    let index = links::list().unwrap().into_iter().find(|one| one.name == interface).unwrap().index;
    // SAFETY: a new descriptor, owned at once; the address is a plain structure that outlives the call.
    unsafe {
        let socket = libc::socket(libc::AF_PACKET, libc::SOCK_RAW, 0);
        assert!(socket >= 0, "{}", io::Error::last_os_error());
        let socket = OwnedFd::from_raw_fd(socket);
        let mut address: libc::sockaddr_ll = std::mem::zeroed();
        address.sll_family = libc::AF_PACKET as u16;
        address.sll_ifindex = index as i32;
        let sent = libc::sendto(
            socket.as_raw_fd(),
            frame.as_ptr().cast(),
            frame.len(),
            0,
            std::ptr::from_ref(&address).cast(),
            size_of::<libc::sockaddr_ll>() as u32,
        );
        assert_eq!(sent, frame.len() as isize, "{}", io::Error::last_os_error());
    }
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    harness::poll_until(Duration::from_secs(5), what, || done().then_some(()));
}

fn named(name: &str) -> Interfaces {
    Interfaces::Named(vec![name.into()])
}

fn state(world: &mut World, name: &str) -> InterfaceStatus {
    world.xdp().status().interfaces.into_iter().find(|one| one.name == name).unwrap()
}

fn xdp_on(name: &str) -> Option<links::XdpState> {
    links::list().unwrap().into_iter().find(|one| one.name == name).unwrap().xdp
}

#[test]
fn native_on_veth_and_there_without_the_daemon() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        pair("g0", "g1");
        let mut world = World::on(named("g0"), 256, false);
        assert_eq!(state(&mut world, "g0").mode, "native");
        world.ban(&["203.0.113.7"]);
        send("g1", &frame("203.0.113.7", &[]));
        until("the drop", || world.counted("host") == 1);
        let first = xdp_on("g0").unwrap();

        world.xdp = None;
        assert_eq!(xdp_on("g0"), Some(first), "the pinned link holds the program");
        send("g1", &frame("203.0.113.7", &[]));

        world.reopen();
        until("the drop without a daemon", || world.counted("host") == 2);
        assert_ne!(xdp_on("g0").unwrap().program, first.program, "exchanged at the restart");
        send("g1", &frame("203.0.113.7", &[]));
        until("the drop after the restart", || world.counted("host") == 3);
        let drops = world.xdp().counters().unwrap().drops;
        assert!(drops.iter().any(|(name, _, packets, _)| name == "g0" && *packets == 3), "{drops:?}");
    });
}

/// The kernel takes the outermost tag out of the packet before it runs a program in generic mode.
#[test]
fn generic_mode_drops_what_native_mode_does() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        // Neither a bridge nor a macvlan has a native mode.
        ip("link add br0 address 02:00:00:00:00:01 type bridge mcast_snooping 0");
        ip("link set br0 up");
        pair("p0", "p1");
        ip("link set p0 master br0");
        pair("g0", "g1");
        ip("link add mv0 link g0 address 02:00:00:00:00:01 type macvlan");
        ip("link set mv0 up");
        for (interface, outside) in [("br0", "p1"), ("mv0", "g1")] {
            let mut world = World::on(named(interface), 256, false);
            let state = state(&mut world, interface);
            assert_eq!(state.mode, "generic", "{state:?}");
            assert!(state.reason.contains("its driver does not take the program"), "{state:?}");
            world.ban(&["203.0.113.7", "2001:db8::7", "198.51.100.0/24", "2001:db9::/32"]);
            let tags = [0x8100, 0x88a8, 0x8100, 0x9100];
            // A port forwards only once the bridge has heard that its wire is up.
            until("the wire", || {
                send(outside, &frame("198.51.100.7", &[]));
                world.counted("prefix") > 0
            });
            let (mut hosts, mut prefixes) = (0, world.counted("prefix"));
            for depth in 0..=tags.len() {
                for (banned, neighbour) in [("203.0.113.7", "203.0.113.9"), ("2001:db8::7", "2001:db8::9")] {
                    send(outside, &frame(neighbour, &tags[..depth]));
                    send(outside, &frame(banned, &tags[..depth]));
                    hosts += 1;
                    until(&format!("{banned} on {interface} under {depth} tags"), || {
                        world.counted("host") == hosts
                    });
                }
                for banned in ["198.51.100.9", "2001:db9::9"] {
                    send(outside, &frame(banned, &tags[..depth]));
                    prefixes += 1;
                    until(&format!("{banned} on {interface} under {depth} tags"), || {
                        world.counted("prefix") == prefixes
                    });
                }
            }
            assert_eq!((world.counted("host"), world.counted("prefix")), (hosts, prefixes));
        }
    });
}

#[test]
fn growth_under_traffic_lets_nothing_through() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        pair("g0", "g1");
        let mut world = World::on(named("g0"), 64, false);
        world.ban(&["203.0.113.7"]);
        let mut sent = 0;
        for round in 0..40_u32 {
            send("g1", &frame("203.0.113.7", &[]));
            sent += 1;
            let more: Vec<String> = (0..100).map(|n| format!("11.0.{round}.{n}")).collect();
            world.ban(&more.iter().map(String::as_str).collect::<Vec<_>>());
        }
        until("every drop", || world.counted("host") == sent);
        assert_eq!(world.counted("expired"), 0);
        assert!(world.xdp().status().maps[0].capacity >= 4096);
        assert_eq!(state(&mut world, "g0").mode, "native");
    });
}

#[test]
fn a_foreign_program_is_left_alone() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        pair("g0", "g1");
        let foreign = World::on(named("g0"), 256, false);
        let before = xdp_on("g0").unwrap();
        // Another guard over other pins is a foreign program like any other.
        let mut world = World::on(named("g0"), 256, false);
        let state = state(&mut world, "g0");
        assert_eq!(state.mode, "none");
        assert!(state.reason.contains("another XDP program"), "{}", state.reason);
        assert_eq!(xdp_on("g0"), Some(before));
        drop(world);
        assert_eq!(xdp_on("g0"), Some(before));
        drop(foreign);
        assert_eq!(xdp_on("g0"), None);
    });
}

#[test]
fn an_interface_that_comes_back_is_attached_again() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        pair("g0", "g1");
        let mut world = World::on(Interfaces::Auto, 256, false);
        let changes = Arc::new(AtomicU32::new(0));
        let seen = Arc::clone(&changes);
        let watch = links::watch(move || {
            seen.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        let index = state(&mut world, "g0").index;
        ip("link del g0");
        pair("g0", "g1");
        until("news of the interface", || changes.load(Ordering::Relaxed) > 0);
        let drift = world.reconcile(&BanTable::default(), &[]);
        assert!(drift.attachments >= 1, "{drift:?}");
        let again = state(&mut world, "g0");
        assert_eq!(again.mode, "native");
        assert_ne!(again.index, index);
        assert!(!world.bpffs.join(format!("v{}/links/{index}", guard_common::ABI)).exists());
        ip("link set g0 down");
        ip("link set g0 name g7");
        world.reconcile(&BanTable::default(), &[]);
        assert_eq!(state(&mut world, "g7").index, again.index);
        drop(watch);
    });
}

/// A process in a network namespace of its own, which ends with this value.
struct Elsewhere(Child);

impl Elsewhere {
    fn new() -> Self {
        let child = Command::new("unshare").args(["--net", "sleep", "60"]).spawn().unwrap();
        let namespace = |process: &str| fs::read_link(format!("/proc/{process}/ns/net")).unwrap();
        until("its namespace", || namespace(&child.id().to_string()) != namespace("thread-self"));
        Self(child)
    }

    fn pid(&self) -> u32 {
        self.0.id()
    }
}

impl Drop for Elsewhere {
    fn drop(&mut self) {
        let _ = self.0.kill();
        let _ = self.0.wait();
    }
}

#[test]
fn an_interface_with_the_index_of_one_that_was_moved_is_attached() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        let elsewhere = Elsewhere::new();
        pair("g0", "g1");
        let mut world = World::on(Interfaces::Auto, 256, false);
        let index = state(&mut world, "g0").index;
        ip(&format!("link set g0 netns {}", elsewhere.pid()));
        ip(&format!("link add h0 index {index} type veth peer name h1"));
        ip("link set h0 up");
        ip("link set h1 up");
        world.reconcile(&BanTable::default(), &[]);
        let newcomer = state(&mut world, "h0");
        assert_eq!((newcomer.index, newcomer.mode.as_str()), (index, "native"));
        assert!(xdp_on("h0").is_some(), "what is told as covered is covered");
        world.ban(&["203.0.113.7"]);
        send("h1", &frame("203.0.113.7", &[]));
        until("the drop", || world.counted("host") == 1);
    });
}

#[test]
fn auto_takes_no_loopback_and_no_port_of_a_bridge() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        ip("link set lo up");
        pair("g0", "g1");
        pair("p0", "p1");
        ip("link add br0 type bridge");
        ip("link set br0 up");
        ip("link set p0 master br0");
        ip("link set p1 down");
        ip("link add down0 type veth peer name down1");
        let mut world = World::on(Interfaces::Auto, 256, false);
        let mut names: Vec<(String, String)> =
            world.xdp().status().interfaces.into_iter().map(|one| (one.name, one.mode)).collect();
        names.sort();
        let expected = [("br0", "generic"), ("g0", "native"), ("g1", "native")];
        assert_eq!(names, expected.map(|(name, mode)| (name.to_owned(), mode.to_owned())));
        assert!(!state(&mut world, "br0").reason.is_empty());
    });
}

#[test]
fn a_missing_interface_is_told() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        let mut world = World::on(named("g0"), 256, false);
        assert_eq!(state(&mut world, "g0").mode, "none");
        pair("g0", "g1");
        assert_eq!(world.reconcile(&BanTable::default(), &[]).attachments, 1);
        assert_eq!(state(&mut world, "g0").mode, "native");
    });
}

#[test]
fn another_version_is_refused_with_the_way_out() {
    harness::skip_if!(crate::world::missing());
    in_namespace(|| {
        pair("g0", "g1");
        let mut world = World::on(named("g0"), 256, false);
        world.xdp = None;
        let (ours, other) = (world.bpffs.join(format!("v{}", guard_common::ABI)), world.bpffs.join("v9999"));
        fs::rename(ours, other).unwrap();
        let error = Pins::open(&world.bpffs).unwrap_err();
        assert!(matches!(error, DatapathError::OtherAbi { .. }), "{error}");
        assert!(error.to_string().contains("guardctl unlock"), "{error}");
    });
}
