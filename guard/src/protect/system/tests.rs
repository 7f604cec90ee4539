use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use super::*;
use crate::source::Stop;

/// Runs in a network namespace of its own thread; it is gone with the thread and those it started.
fn in_namespace(work: impl FnOnce() + Send + 'static) {
    if let Some(reason) = harness::missing_for_namespaces() {
        return harness::skip(&reason);
    }
    let inside = std::thread::spawn(|| {
        #[allow(unsafe_code, reason = "rustix marks only some flags as safe")]
        // SAFETY: a new network namespace for this thread changes nothing that other threads rely on.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNET) }.unwrap();
        ip("link set lo up");
        work();
    });
    inside.join().unwrap();
}

fn ip(arguments: &str) {
    assert!(Command::new("ip").args(arguments.split(' ')).status().unwrap().success(), "ip {arguments}");
}

fn read() -> SystemAddresses {
    let (system, errors) = SystemAddresses::read(&SystemAddresses::default());
    assert!(errors.is_empty(), "{errors:?}");
    system
}

fn address(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn own_addresses_and_gateways_of_every_table() {
    in_namespace(|| {
        ip("link add left type veth peer name right");
        ip("link set left up");
        ip("link set right up");
        ip("addr add 192.0.2.2/24 brd 192.0.2.255 dev left");
        ip("addr add 192.0.2.77 peer 198.51.100.77/32 dev left");
        ip("-6 addr add 2001:db8::2/64 dev left nodad");
        ip("route add default via 192.0.2.1");
        ip("route add 203.0.113.0/24 nexthop via 192.0.2.3 nexthop via 192.0.2.4");
        ip("route add 198.18.0.0/16 via 192.0.2.5 table 77");
        ip("-6 route add default via 2001:db8::1");
        ip("route add 198.19.0.0/16 via inet6 2001:db8::9 dev left");
        let system = read();
        let own = |a: &str, i: &str| system.own.contains(&(address(a), i.to_owned()));
        assert!(
            own("192.0.2.2", "left") && own("2001:db8::2", "left") && own("127.0.0.1", "lo"),
            "{system:?}"
        );
        assert!(own("192.0.2.77", "left"));
        assert!(system.broadcast.contains(&(address("192.0.2.255"), "left".into())));
        let gateways = [
            "192.0.2.1",
            "192.0.2.3",
            "192.0.2.4",
            "192.0.2.5",
            "198.51.100.77",
            "2001:db8::1",
            "2001:db8::9",
        ];
        assert_eq!(system.gateways, gateways.map(address).into());
    });
}

#[test]
fn changes_are_told_within_a_second() {
    in_namespace(|| {
        let stop = Stop::new().unwrap();
        let (sender, changes) = mpsc::channel();
        let watcher = watch(stop.clone(), move |changed| sender.send(changed).unwrap()).unwrap();
        let expect = |act: &str, seen: fn(Changed) -> bool| {
            let began = Instant::now();
            ip(act);
            while !seen(changes.recv_timeout(Duration::from_secs(5)).expect(act)) {}
            let took = began.elapsed();
            assert!(took < Duration::from_secs(1), "{act}: {took:?}");
        };
        expect("link add left type veth peer name right", |c| c.links);
        expect("link set left up", |c| c.links);
        expect("link set right up", |c| c.links);
        expect("addr add 192.0.2.2/24 dev left", |c| c.addresses);
        assert!(read().own.contains(&(address("192.0.2.2"), "left".into())));
        expect("route add default via 192.0.2.1", |c| c.routes);
        assert!(read().gateways.contains(&address("192.0.2.1")));
        expect("link set dev right name renamed", |c| c.links);
        expect("link del left", |c| c.links && c.addresses);
        stop.set();
        watcher.join().unwrap().unwrap();
    });
}

#[test]
fn a_stream_of_changes_does_not_delay_the_word() {
    in_namespace(|| {
        let stop = Stop::new().unwrap();
        let (sender, changes) = mpsc::channel();
        let watcher = watch(stop.clone(), move |_| sender.send(Instant::now()).unwrap()).unwrap();
        let began = Instant::now();
        let mut n = 0u32;
        while began.elapsed() < Duration::from_millis(1500) {
            ip(&format!("addr add 127.1.{}.{}/32 dev lo", n / 250, 1 + n % 250));
            n += 1;
        }
        let first = changes.recv_timeout(Duration::from_secs(5)).unwrap();
        assert!(first.duration_since(began) < Duration::from_secs(1));
        stop.set();
        watcher.join().unwrap().unwrap();
    });
}

#[test]
fn connections_are_seen_and_gone() {
    in_namespace(|| {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let port = listener.local_addr().unwrap().port();
        let client = TcpStream::connect(("127.0.0.1", port)).unwrap();
        let (server, peer) = listener.accept().unwrap();
        let wanted = Connection { local_port: port, peer: peer.ip(), peer_port: peer.port() };
        assert!(connections().unwrap().contains(&wanted));
        drop((client, server));
        eventually("the connection is still there", || !connections().unwrap().contains(&wanted));
    });
}

#[test]
fn what_cannot_be_read_stays_as_it_was_known() {
    let address = |text: &str| text.parse().unwrap();
    let known = SystemAddresses {
        own: [(address("192.0.2.1"), "eth0".to_owned())].into(),
        gateways: [address("192.0.2.254")].into(),
        resolvers: [address("192.0.2.53")].into(),
        ssh_ports: [2222].into(),
        ssh_unseen: true,
        ..SystemAddresses::default()
    };
    let new = SystemAddresses {
        own: [(address("198.51.100.1"), "eth0".to_owned())].into(),
        resolvers: [address("198.51.100.53")].into(),
        ..SystemAddresses::default()
    };
    let mut kept = new.clone();
    kept.keep(&known, &[Part::Resolvers]);
    assert_eq!(kept.resolvers, &new.resolvers | &known.resolvers);
    assert_eq!((&kept.own, &kept.gateways, kept.ssh_unseen), (&new.own, &new.gateways, false));
    kept.keep(&known, &[Part::Routes, Part::SshPorts]);
    assert_eq!((kept.own, kept.gateways), (&new.own | &known.own, known.gateways));
    assert_eq!((kept.ssh_ports, kept.ssh_unseen), (known.ssh_ports, true));
}
