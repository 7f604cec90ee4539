use proptest::prelude::*;

use super::*;
use crate::config::Allowance;
use crate::time::Wall;

const NOW: Moment = Moment(1_000_000);

/// The wall clock shows a billion seconds at [`NOW`].
const CLOCK: Clock = Clock { wall: Wall(1_000_000_000_000), moment: NOW };

fn at(seconds: i64) -> Moment {
    Moment(NOW.0 + seconds * 1000)
}

fn ip(text: &str) -> IpAddr {
    text.parse().unwrap()
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn connection(peer: &str, peer_port: u16) -> Connection {
    Connection { local_port: 22, peer: ip(peer), peer_port }
}

fn plain() -> Protection {
    let mut protection = Protection::new(&Allow::default(), CLOCK);
    protection.set_system(SystemAddresses {
        own: [(ip("203.0.113.1"), "eth0".to_owned()), (ip("2001:db8::1"), "eth0".to_owned())].into(),
        broadcast: [(ip("203.0.113.63"), "eth0".to_owned())].into(),
        gateways: [ip("203.0.113.62")].into(),
        resolvers: [ip("198.51.100.53")].into(),
        ssh_ports: [2222].into(),
        ssh_unseen: false,
    });
    protection
}

fn refusal(protection: &Protection, text: &str) -> Option<String> {
    protection.refusal(target(text), NOW)
}

#[test]
fn refusals_say_what_protects() {
    let mut protection = plain();
    protection.configure(&Allow { targets: vec![target("192.0.2.0/25").into()], ..Allow::default() }, CLOCK);
    protection.key_login(ip("198.51.100.9"), 50122, NOW);
    protection.found_session(ip("198.51.100.10"), 50123, NOW);
    protection.allow_runtime(target("198.51.100.11"), None, "office");
    for (asked, said) in [
        ("127.0.0.1", "127.0.0.1 is in 127.0.0.0/8, loopback"),
        ("::1", "::1 is loopback"),
        ("203.0.113.1", "203.0.113.1 is an own address of eth0"),
        ("::ffff:203.0.113.1", "203.0.113.1 is an own address of eth0"),
        ("203.0.113.62", "203.0.113.62 is a gateway"),
        ("203.0.113.63", "203.0.113.63 is the broadcast address of eth0"),
        ("198.51.100.53", "198.51.100.53 is a resolver"),
        ("192.0.2.77", "192.0.2.77 is allowed by the configuration (192.0.2.0/25)"),
        ("10.1.2.3", "10.1.2.3 is in 10.0.0.0/8, a private range"),
        ("198.51.100.9", "198.51.100.9 has a live SSH session authenticated by key (port 50122)"),
        ("198.51.100.10", "198.51.100.10 has a live SSH session from before guard started (port 50123)"),
        (
            "198.51.100.11",
            "198.51.100.11 was allowed: office (198.51.100.11, `guardctl allow remove 198.51.100.11` takes it back)",
        ),
        ("203.0.113.0/26", "203.0.113.0/26 covers 203.0.113.1: 203.0.113.1 is an own address of eth0"),
        (
            "192.0.2.0/24",
            "192.0.2.0/24 covers 192.0.2.0/25: 192.0.2.0/25 is allowed by the configuration (192.0.2.0/25)",
        ),
    ] {
        assert_eq!(refusal(&protection, asked).as_deref(), Some(said), "{asked}");
    }
    for free in
        ["203.0.113.2", "192.0.2.128/25", "2001:db8::2", "198.51.100.12", "8.0.0.0/8", "172.32.0.0/16"]
    {
        assert_eq!(refusal(&protection, free), None, "{free}");
    }
    for wide in ["0.0.0.0/0", "::/0", "2001:db8::/32", "::/80"] {
        assert!(refusal(&protection, wide).is_some(), "{wide}");
    }
}

#[test]
fn private_ranges_are_an_option_but_loopback_is_not() {
    let protection = Protection::new(&Allow { private: false, ..Allow::default() }, CLOCK);
    for free in ["10.1.2.3", "192.168.0.0/16", "fe80::1", "fd00::/8", "100.64.0.1"] {
        assert_eq!(refusal(&protection, free), None, "{free}");
    }
    for kept in ["127.0.0.1", "::", "0.0.0.0", "224.0.0.1", "ff02::1", "255.255.255.255"] {
        assert!(refusal(&protection, kept).is_some(), "{kept}");
    }
}

#[test]
fn a_session_protects_while_its_connection_lives_and_the_login_for_a_while() {
    let mut protection = plain();
    protection.key_login(ip("198.51.100.9"), 50122, NOW);
    let last = at(2 * 3600);
    // Seen alive after the hour.
    protection.set_live_sessions(&[connection("198.51.100.9", 50122)], last);
    protection.expire(last);
    assert!(protection.refusal(target("198.51.100.9"), last).is_some());
    // Another connection from there is not the session.
    protection.set_live_sessions(&[connection("198.51.100.9", 50999)], last);
    protection.expire(last);
    assert_eq!(protection.refusal(target("198.51.100.9"), last), None);
    assert!(!protection.has_sessions());
}

#[test]
fn the_log_of_an_end_ends_the_session_but_not_the_time_after_it() {
    let mut protection = plain();
    protection.key_login(ip("198.51.100.9"), 50122, NOW);
    protection.session_end(ip("198.51.100.9"), 50122);
    assert!(!protection.has_sessions());
    assert_eq!(
        protection.refusal(target("198.51.100.9"), at(60)).unwrap(),
        "198.51.100.9 had a key login, protected for another 59 min"
    );
    assert_eq!(protection.refusal(target("198.51.100.9"), at(3600)), None);
}

#[test]
fn a_login_newer_than_the_look_at_connections_stays() {
    let mut protection = plain();
    protection.key_login(ip("198.51.100.9"), 50122, at(1));
    protection.set_live_sessions(&[], NOW);
    assert!(protection.has_sessions());
    protection.set_live_sessions(&[], at(2));
    assert!(!protection.has_sessions());
}

#[test]
fn without_a_port_any_connection_to_the_ssh_server_stands_for_it() {
    let mut protection = plain();
    protection.key_login(ip("198.51.100.9"), 0, NOW);
    let to = |local_port| [Connection { local_port, ..connection("198.51.100.9", 7) }];
    protection.session_end(ip("198.51.100.9"), 0);
    for port in [22, 2222] {
        protection.set_live_sessions(&to(port), at(10));
        assert!(protection.has_sessions(), "{port}");
    }
    protection.set_live_sessions(&to(443), at(10));
    assert!(!protection.has_sessions());
}

#[test]
fn where_the_ports_of_the_ssh_server_are_out_of_sight_any_connection_stands_for_the_session() {
    let mut protection = plain();
    assert_eq!(protection.unknown(), None);
    protection.set_system(SystemAddresses { ssh_unseen: true, ..SystemAddresses::default() });
    assert!(protection.unknown().is_some(), "it is told");
    protection.key_login(ip("198.51.100.9"), 0, NOW);
    let elsewhere = Connection { local_port: 2200, ..connection("198.51.100.9", 7) };
    protection.set_live_sessions(&[elsewhere], at(10));
    assert!(protection.has_sessions());
    protection.set_live_sessions(&[], at(20));
    assert!(!protection.has_sessions());
}

#[test]
fn allowances_end() {
    let mut protection = plain();
    protection.allow_runtime(target("198.51.100.0/24"), Some(at(60)), "audit");
    assert!(protection.allowed(NOW).contains(&(
        target("198.51.100.0/24"),
        "allowed: audit".into(),
        Some(60)
    )));
    assert_eq!(protection.expire(at(59)), []);
    assert!(protection.refusal(target("198.51.100.7"), at(59)).is_some());
    assert_eq!(protection.refusal(target("198.51.100.7"), at(60)), None);
    assert_eq!(protection.expire(at(60)), [target("198.51.100.0/24")]);
    protection.allow_runtime(target("198.51.100.0/24"), None, "");
    assert!(protection.disallow_runtime(target("198.51.100.0/24")));
    assert!(!protection.disallow_runtime(target("198.51.100.0/24")));
    assert_eq!(refusal(&protection, "198.51.100.7"), None);
}

#[test]
fn changes_are_told_once_and_collisions_are_found() {
    let mut protection = plain();
    let first = protection.take_changes(NOW);
    assert_eq!(first.allow, protection.targets(NOW));
    assert!(protection.take_changes(NOW).is_empty());

    protection.key_login(ip("198.51.100.9"), 1, NOW);
    protection.key_login(ip("10.0.0.9"), 1, NOW); // inside a range that is allowed already
    let changes = protection.take_changes(NOW);
    assert_eq!(changes, Changes { allow: vec![target("198.51.100.9")], disallow: vec![] });
    let bans = ["198.51.100.9", "198.51.100.0/24", "192.0.2.1"].map(target);
    let hit: Vec<Target> = protection.conflicts(bans, NOW).into_iter().map(|(t, _)| t).collect();
    assert_eq!(hit, bans[..2]);

    protection.session_end(ip("198.51.100.9"), 1);
    assert!(protection.take_changes(at(10)).is_empty());
    let ended = protection.take_changes(at(3600));
    assert_eq!(ended, Changes { allow: vec![], disallow: vec![target("198.51.100.9")] });
}

#[test]
fn memory_is_bounded_and_the_living_stay() {
    let mut protection = plain();
    protection.key_login(ip("198.51.100.9"), 7, NOW);
    for n in 0..MAX_ADDRESSES as u32 + 3 {
        let address = IpAddr::from(std::net::Ipv4Addr::from(0x0800_0000 + n));
        protection.passing(address).login_until = Some(at(1 + i64::from(n)));
        if n % 10_000 == 0 {
            protection.expire(NOW);
        }
    }
    assert_eq!(protection.passing.len(), MAX_ADDRESSES);
    assert_eq!(protection.evicted(), 4);
    assert!(refusal(&protection, "198.51.100.9").is_some());
    assert_eq!(refusal(&protection, "8.0.0.0"), None);
}

fn any_target() -> impl Strategy<Value = Target> {
    prop_oneof![
        (any::<u32>(), 8u8..=32).prop_map(|(a, l)| Target::prefix(
            std::net::Ipv4Addr::from(a & 0x0f0f_0fff).into(),
            l
        )
        .unwrap()),
        (any::<u128>(), 8u8..=128).prop_map(|(a, l)| {
            Target::prefix(std::net::Ipv6Addr::from(0x2001_0db8 << 96 | a & 0xfff).into(), l).unwrap()
        }),
    ]
}

proptest! {
    #[test]
    fn no_ban_ever_overlaps_what_is_protected(
        configured in prop::collection::vec(any_target(), 0..8),
        allowed in prop::collection::vec(any_target(), 0..8),
        logins in prop::collection::vec(any_target(), 0..8),
        own in prop::collection::vec(any_target(), 0..8),
        asked in prop::collection::vec(any_target(), 1..32),
    ) {
        let mut protection = Protection::new(&Allow { targets: configured.iter().copied().map(Into::into).collect(), ..Allow::default() }, CLOCK);
        let addresses = own.iter().map(|t| (t.address(), "eth0".to_owned())).collect();
        protection.set_system(SystemAddresses { own: addresses, ..SystemAddresses::default() });
        for t in &allowed { protection.allow_runtime(*t, Some(at(5)), "x"); }
        for t in &logins { protection.key_login(t.address(), 5, NOW); }

        let hosts = logins.iter().chain(&own).map(|t| Target::host(t.address()));
        let known: Vec<Target> = configured.iter().chain(&allowed).copied().chain(hosts).collect();
        let listed = protection.targets(NOW);
        for t in asked {
            let expected = listed.iter().any(|p| p.overlaps(t));
            prop_assert_eq!(protection.refusal(t, NOW).is_some(), expected, "{}", t);
            prop_assert!(expected || !known.iter().any(|p| p.overlaps(t)), "{}", t);
        }
        // The kernel's list covers all of it, without an entry inside another.
        prop_assert!(known.iter().all(|t| listed.iter().any(|p| p.overlaps(*t) && p.length() <= t.length())));
        prop_assert!(listed.iter().enumerate().all(|(n, a)| listed[n + 1..].iter().all(|b| !a.overlaps(*b))));
    }
}

#[test]
fn what_the_configuration_allows_until_a_time_ends_by_itself() {
    let until = Some(Wall(CLOCK.wall.0 + 60_000));
    let pentest = Allowance { target: target("192.0.2.0/24").into(), until, comment: "pentest".into() };
    let over = Allowance {
        target: target("198.51.100.0/24").into(),
        until: Some(CLOCK.wall),
        comment: String::new(),
    };
    let allow = Allow { targets: vec![pentest, over, target("203.0.113.9").into()], ..Allow::default() };
    let protection = Protection::new(&allow, CLOCK);
    let said = "192.0.2.7 is allowed by the configuration (192.0.2.0/24, pentest)";
    assert_eq!(refusal(&protection, "192.0.2.7").as_deref(), Some(said));
    assert_eq!(refusal(&protection, "198.51.100.7"), None, "it has ended already");
    let listed = protection.allowed(NOW);
    assert!(
        listed.contains(&(target("192.0.2.0/24"), "configuration: pentest".into(), Some(60))),
        "{listed:?}"
    );
    assert!(listed.contains(&(target("203.0.113.9"), "configuration".into(), None)));
    assert!(!listed.iter().any(|(listed, ..)| *listed == target("198.51.100.0/24")));
    assert!(protection.targets(NOW).contains(&target("192.0.2.0/24")));
    assert!(!protection.targets(at(60)).contains(&target("192.0.2.0/24")));
    assert_eq!(protection.refusal(target("192.0.2.7"), at(60)), None);
    let told: Vec<String> = allow.ended(CLOCK.wall).collect();
    assert_eq!(told.len(), 1);
    assert!(told[0].contains("198.51.100.0/24 ended at"), "{told:?}");
}

#[test]
fn a_forced_ban_makes_a_hole_in_what_may_pass() {
    let allow = Allow { targets: vec![target("192.0.2.0/24").into()], ..Allow::default() };
    let mut protection = Protection::new(&allow, CLOCK);
    protection.take_changes(NOW);
    protection.force(target("192.0.2.128/25"));
    let changes = protection.take_changes(NOW);
    assert_eq!(
        (changes.allow, changes.disallow),
        (vec![target("192.0.2.0/25")], vec![target("192.0.2.0/24")])
    );
    assert!(refusal(&protection, "192.0.2.200").is_some(), "nobody but a person may");
    assert_eq!(
        protection.conflicts([target("192.0.2.128/25"), target("192.0.2.3")], NOW).len(),
        1,
        "it stays"
    );
    protection.unforce(target("192.0.2.128/25"));
    let changes = protection.take_changes(NOW);
    assert_eq!(
        (changes.allow, changes.disallow),
        (vec![target("192.0.2.0/24")], vec![target("192.0.2.0/25")])
    );
}

#[test]
fn nobody_can_ban_loopback() {
    for text in ["127.0.0.1", "0.0.0.0/0", "0.0.0.0/1", "::1", "::/0", "::/1", "224.0.0.1", "255.255.255.255"]
    {
        assert!(Protection::never(target(text)).is_some(), "{text}");
    }
    for text in ["128.0.0.0/2", "10.0.0.1", "fe80::1", "203.0.113.7"] {
        assert_eq!(Protection::never(target(text)), None, "{text}");
    }
}

#[test]
fn who_is_logged_in_and_connected_is_protected_unless_by_a_password() {
    let mut protection = plain();
    let records = BTreeSet::from([ip("198.51.100.1"), ip("198.51.100.2"), ip("198.51.100.3")]);
    let connections = [
        connection("198.51.100.1", 5000),
        connection("198.51.100.2", 5000),
        connection("198.51.100.2", 5001),
    ];
    protection.password_login(ip("198.51.100.2"), 5001);
    protection.set_recorded_logins(&records, &connections);
    let said = "198.51.100.1 has a login session in the system's records";
    assert_eq!(refusal(&protection, "198.51.100.1").as_deref(), Some(said));
    assert!(refusal(&protection, "198.51.100.0/30").is_some(), "nor a prefix that covers it");
    assert_eq!(refusal(&protection, "198.51.100.2"), None, "a password earns no trust");
    assert_eq!(refusal(&protection, "198.51.100.3"), None, "a record without a connection is out of date");

    // The connection that a password opened is over, the other one is not.
    protection.set_recorded_logins(&records, &connections[..2]);
    assert!(refusal(&protection, "198.51.100.2").is_some());
    assert!(protection.has_sessions());
    protection.set_recorded_logins(&BTreeSet::new(), &connections);
    assert_eq!(refusal(&protection, "198.51.100.1"), None, "logged out");
    assert!(!protection.has_sessions());
}

/// Something that changes who is protected.
#[derive(Clone, Debug)]
enum Step {
    Login(IpAddr, u16),
    Found(IpAddr, u16),
    End(IpAddr, u16),
    Live(Vec<(IpAddr, u16)>),
    Allow(Target, Option<i64>),
    Disallow(Target),
    Expire,
    Configure(Target, i64),
    Recorded(Vec<(IpAddr, u16)>),
    Force(Target),
    Unforce(Target),
}

fn any_host() -> impl Strategy<Value = IpAddr> {
    (0..6u8).prop_map(|host| IpAddr::from([198, 51, 100, host]))
}

fn near_target() -> impl Strategy<Value = Target> {
    (any_host(), 28..=32u8).prop_map(|(host, length)| Target::prefix(host, length).unwrap())
}

fn any_step() -> impl Strategy<Value = Step> {
    prop_oneof![
        (any_host(), 0..3u16).prop_map(|(host, port)| Step::Login(host, port)),
        (any_host(), 0..3u16).prop_map(|(host, port)| Step::Found(host, port)),
        (any_host(), 0..3u16).prop_map(|(host, port)| Step::End(host, port)),
        prop::collection::vec((any_host(), 0..3u16), 0..4).prop_map(Step::Live),
        (near_target(), prop::option::of(0..3000i64)).prop_map(|(target, end)| Step::Allow(target, end)),
        near_target().prop_map(Step::Disallow),
        Just(Step::Expire),
        (near_target(), 0..3000i64).prop_map(|(target, end)| Step::Configure(target, end)),
        prop::collection::vec((any_host(), 0..3u16), 0..4).prop_map(Step::Recorded),
        near_target().prop_map(Step::Force),
        near_target().prop_map(Step::Unforce),
    ]
}

proptest! {
    #[test]
    fn what_the_kernel_was_told_is_what_is_protected(
        steps in prop::collection::vec((any_step(), 0..1000i64), 0..60),
    ) {
        let mut protection = plain();
        let (mut now, mut told) = (NOW, BTreeSet::new());
        for (step, wait) in steps {
            now = Moment(now.0 + wait * 1000);
            match step {
                Step::Login(host, port) => protection.key_login(host, port, now),
                Step::Found(host, port) => protection.found_session(host, port, now),
                Step::End(host, port) => protection.session_end(host, port),
                Step::Live(live) => {
                    let connection = |(peer, peer_port)| Connection { local_port: 2222, peer, peer_port };
                    let live: Vec<_> = live.into_iter().map(connection).collect();
                    protection.set_live_sessions(&live, now);
                }
                Step::Allow(target, end) => {
                    protection.allow_runtime(target, end.map(|end| Moment(now.0 + end * 1000)), "");
                }
                Step::Disallow(target) => {
                    protection.disallow_runtime(target);
                }
                Step::Expire => drop(protection.expire(now)),
                Step::Configure(target, end) => {
                    let clock = Clock { moment: now, wall: Wall(now.0) };
                    let until = Some(Wall(now.0 + end * 1000));
                    let targets = vec![Allowance { target: target.into(), until, comment: String::new() }];
                    protection.configure(&Allow { targets, ..Allow::default() }, clock);
                }
                Step::Recorded(live) => {
                    let records = live.iter().map(|(peer, _)| *peer).collect();
                    let connection = |(peer, peer_port)| Connection { local_port: 2222, peer, peer_port };
                    let live: Vec<_> = live.into_iter().map(connection).collect();
                    protection.set_recorded_logins(&records, &live);
                }
                Step::Force(target) => protection.force(target),
                Step::Unforce(target) => protection.unforce(target),
            }
            let changes = protection.take_changes(now);
            told.retain(|target| !changes.disallow.contains(target));
            told.extend(changes.allow);
            let wanted: BTreeSet<Target> = protection.targets(now).into_iter().collect();
            prop_assert_eq!(&told, &wanted);
        }
    }
}

/// Each of a hundred /24 with its hosts, four times over, and the wider ranges around them; some with ends.
#[test]
fn a_huge_allowlist_that_overlaps_and_contradicts_itself_protects_all_it_names() {
    let minute = Some(Wall(CLOCK.wall.0 + 60_000));
    let entry = |target: Target, until| Allowance { target: target.into(), until, comment: String::new() };
    let host = |net: u8, host: u8| Target::host(IpAddr::from([20, 0, net, host]));
    let mut targets = Vec::new();
    for net in 0..100 {
        for last in 0..=254 {
            // One that has ended, one that ends, and for every other host one that does not.
            targets.extend([entry(host(net, last), Some(CLOCK.wall)), entry(host(net, last), minute)]);
            if last % 2 == 0 {
                targets.extend([entry(host(net, last), None), entry(host(net, last), minute)]);
            }
        }
        targets.push(entry(Target::prefix(IpAddr::from([20, 0, net, 0]), 24).unwrap(), minute));
    }
    targets.push(entry(target("20.0.0.0/8"), Some(CLOCK.wall)));
    let count = targets.len();
    assert!(count > 70_000, "{count}");
    let protection = Protection::new(&Allow { targets, ..Allow::default() }, CLOCK);
    for net in [0u8, 57, 99] {
        for last in [0u8, 1, 254, 255] {
            let known = |at| protection.refusal(host(net, last), at).is_some();
            assert!(known(NOW), "{net} {last}");
            assert_eq!(known(at(60)), last % 2 == 0 && last < 255, "{net} {last}: what has no end goes on");
        }
    }
    assert_eq!(protection.refusal(target("20.0.100.1"), NOW), None, "what has ended allows nothing");
    assert!(protection.refusal(target("20.0.0.0/9"), at(60)).is_some(), "it covers many of them");
    assert_eq!(
        protection.targets(at(60)).iter().filter(|t| target("20.0.0.0/8").overlaps(**t)).count(),
        12_800
    );
}
