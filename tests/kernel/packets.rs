//! Every way a packet can look, and what must come of it.

use std::collections::HashMap;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard::config::Interfaces;
use guard::enforce::{Change, Enforcer};
use guard::target::Target;
use guard::time::Moment;

use crate::frame::{ethernet, frame, with_header, with_next_header};
use crate::world::{World, ahead, ban, past, target};

#[test]
fn banned_sources_drop_and_neighbours_pass() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&[
        "203.0.113.7",
        "198.51.100.0/24",
        "192.0.2.128/25",
        "100.64.0.0/10",
        "2001:db8::7",
        "2001:db8:1::/64",
        "2001:db8:2::/56",
        "2001:db9::/32",
        "2002:aa00::/28",
    ]);
    for (source, dropped) in [
        ("203.0.113.7", true),
        ("203.0.113.6", false),
        ("203.0.113.8", false),
        ("198.51.100.0", true),
        ("198.51.100.255", true),
        ("198.51.101.0", false),
        ("198.51.99.255", false),
        ("192.0.2.127", false),
        ("192.0.2.128", true),
        ("100.63.255.255", false),
        ("100.64.0.0", true),
        ("100.127.255.255", true),
        ("100.128.0.0", false),
        ("2001:db8::7", true),
        ("2001:db8::8", false),
        ("2001:db8:1::ffff", true),
        ("2001:db8:1:1::1", false),
        ("2001:db8:2:ff::1", true),
        ("2001:db8:2:100::1", false),
        ("2001:db9:ffff::1", true),
        ("2001:dba::1", false),
        ("2002:aa0f:ffff::1", true),
        ("2002:aa10::1", false),
    ] {
        assert_eq!(world.drops(&frame(source, &[])), dropped, "{source}");
        let verdict = world.xdp().check(source.parse().unwrap(), Moment::now()).unwrap();
        assert_eq!(!verdict.entries.is_empty(), dropped, "check {source}");
    }
}

#[test]
fn tags_are_looked_through_to_four() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "2001:db8::7"]);
    for source in ["203.0.113.7", "2001:db8::7"] {
        for kinds in [[0x8100, 0x8100, 0x8100, 0x8100], [0x88a8, 0x8100, 0x9100, 0x8100]] {
            for depth in 0..=4 {
                assert!(world.drops(&frame(source, &kinds[..depth])), "{source} under {depth} tags");
            }
        }
        let before = world.counted("vlan_too_deep");
        assert!(!world.drops(&frame(source, &[0x8100; 5])));
        assert_eq!(world.counted("vlan_too_deep"), before + 1);
    }
}

/// A banned neighbour must still be asked and answered about link addresses: a router may be its only way.
#[test]
fn neighbour_discovery_is_never_dropped() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["fe80::7", "2001:db8::/64"]);
    for source in ["fe80::7", "2001:db8::7"] {
        for kind in 133..=137 {
            let discovery = |kind: u8, hops: u8| {
                let mut packet = frame(source, &[0x8100]);
                (packet[18 + 6], packet[18 + 7], packet[18 + 40]) = (58, hops, kind);
                packet
            };
            let before = world.counted("neighbour");
            assert!(!world.drops(&discovery(kind, 255)), "{source}, type {kind}");
            assert_eq!(world.counted("neighbour"), before + 1);
            // From beyond a router, or of another type, it is a packet like any other.
            assert!(world.drops(&discovery(kind, 254)), "{source}, type {kind} from afar");
            assert!(world.drops(&discovery(128, 255)), "{source}, echo request");
        }
    }
}

#[test]
fn options_fragments_and_extension_headers_change_nothing() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "2001:db8::7"]);
    for words in 0..=10 {
        assert!(
            world.drops(&with_header(&[], "203.0.113.7", &vec![1; words * 4])),
            "{words} words of options"
        );
        assert!(!world.drops(&with_header(&[], "203.0.113.9", &vec![1; words * 4])));
    }
    for (flags, offset) in [(0x20, 0), (0x20, 100), (0, 185)] {
        let mut fragment = frame("203.0.113.7", &[]);
        fragment[14 + 6] = flags;
        fragment[14 + 7] = offset;
        assert!(world.drops(&fragment), "fragment {flags:#x} {offset}");
    }
    for length in 0..=10 {
        let chain: Vec<u8> = (0..length).flat_map(|_| [60, 0, 1, 4, 0, 0, 0, 0]).collect();
        assert!(world.drops(&with_header(&[], "2001:db8::7", &chain)), "{length} extension headers");
        assert!(!world.drops(&with_header(&[], "2001:db8::9", &chain)));
    }
}

/// Next header type of a fragment (RFC 8200).
const FRAGMENT: u8 = 44;

/// Hop-by-hop options, routing, fragments first and later, authentication, destination options (RFC 8200, RFC 4302),
/// each alone and in a chain, at every depth of tags: the source is before all of them.
#[test]
fn no_extension_header_hides_the_source() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["2001:db8::7"]);
    let pad = [1, 4, 0, 0, 0, 0];
    let header = |next: u8, body: [u8; 6]| [[next, 0].as_slice(), &body].concat();
    let fragment = |offset: u16, more: u16| {
        let [high, low] = (offset << 3 | more).to_be_bytes();
        [high, low, 0, 0, 0, 9]
    };
    // An authentication header counts its length in words of four bytes beyond two.
    let authentication = |next: u8| [[next, 4].as_slice(), &[0; 22]].concat();
    let mut cases: Vec<(u8, Vec<u8>)> = vec![
        (0, header(6, pad)),
        (43, header(6, [4, 0, 0, 0, 0, 0])),
        (FRAGMENT, header(6, fragment(0, 1))),
        (FRAGMENT, header(6, fragment(1, 1))),
        (FRAGMENT, header(6, fragment(185, 1))),
        (FRAGMENT, header(6, fragment(8191, 0))),
        (51, authentication(6)),
        (60, header(6, pad)),
        (59, Vec::new()),
        (255, vec![0xff; 8]),
    ];
    cases.push((
        0,
        [
            header(60, pad),
            header(43, pad),
            header(FRAGMENT, pad),
            header(51, fragment(185, 0)),
            authentication(60),
            header(6, pad),
        ]
        .concat(),
    ));
    for (next, extra) in cases {
        for depth in 0..=4 {
            let from = |source| with_next_header(&[0x8100; 4][..depth], source, next, &extra);
            assert!(world.drops(&from("2001:db8::7")), "{next} {extra:?} under {depth} tags");
            assert!(!world.drops(&from("2001:db8::9")), "{next} {extra:?} under {depth} tags");
        }
    }
}

#[test]
fn truncated_frames_are_judged_by_what_they_hold() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "2001:db8::7"]);
    for (source, header) in [("203.0.113.7", 16), ("2001:db8::7", 24)] {
        for depth in 0..=4 {
            let whole = frame(source, &[0x8100, 0x88a8, 0x8100, 0x9100][..depth]);
            let end = 14 + 4 * depth + header;
            // The kernel runs no program on less than an Ethernet header, and no driver delivers it.
            for length in 14..=whole.len() {
                let told = world.counted("truncated");
                assert_eq!(
                    world.drops(&whole[..length]),
                    length >= end,
                    "{source}, {depth} tags, {length} bytes"
                );
                assert_eq!(world.counted("truncated"), told + u64::from(length < end));
            }
        }
    }
}

#[test]
fn what_is_not_ip_passes() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["0.0.0.0/0", "::/0"]);
    for kind in [0x0806, 0x88cc, 0x8035, 0x888e, 0x0004] {
        assert!(!world.drops(&ethernet(&[], kind, &[0; 60])), "{kind:#x}");
    }
    assert_eq!(world.counted("not_ip"), 5);
    assert!(world.drops(&frame("8.8.8.8", &[])) && world.drops(&frame("2a00::1", &[])));
}

#[test]
fn the_allowlist_is_over_any_ban() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "203.0.113.0/24", "2001:db8::/32", "2001:db8::7"]);
    world
        .xdp()
        .apply(&[Change::Allow(target("203.0.113.7")), Change::Allow(target("2001:db8:0:1::/64"))])
        .unwrap();
    assert!(!world.drops(&frame("203.0.113.7", &[])));
    assert!(world.drops(&frame("203.0.113.8", &[])));
    assert!(!world.drops(&frame("2001:db8:0:1::5", &[])));
    assert!(world.drops(&frame("2001:db8::7", &[])));
    assert_eq!(world.counted("allowed"), 2);
    let verdict = world.xdp().check("2001:db8:0:1::5".parse().unwrap(), Moment::now()).unwrap();
    assert_eq!(verdict.allowed_by, Some(target("2001:db8:0:1::/64")));
    world.xdp().apply(&[Change::Disallow(target("203.0.113.7"))]).unwrap();
    assert!(world.drops(&frame("203.0.113.7", &[])));
}

#[test]
fn an_ended_ban_passes_and_never_hides_a_wider_one() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut set = |text: &str, until| world.xdp().apply(&[ban(target(text), 1, until)]).unwrap();
    set("203.0.113.7", past());
    set("198.51.100.7", past());
    set("198.51.100.0/25", past());
    set("198.51.100.0/24", past());
    set("198.51.0.0/16", ahead());
    set("2001:db8::7", past());
    set("2001:db8::/64", past());
    set("2001:db8::/72", past());
    set("2001:db8::/48", past());
    set("2001:db8::/32", None);
    assert!(!world.drops(&frame("203.0.113.7", &[])));
    assert_eq!(world.counted("expired"), 1);
    for source in
        ["198.51.100.7", "198.51.100.8", "198.51.100.200", "198.51.7.7", "2001:db8::7", "2001:db8::8"]
    {
        assert!(world.drops(&frame(source, &[])), "{source}");
    }
    let verdict = world.xdp().check("2001:db8::7".parse().unwrap(), Moment::now()).unwrap();
    let lengths: Vec<u8> = verdict.entries.iter().map(|entry| entry.target.length()).collect();
    assert_eq!(lengths, [128, 72, 64, 48, 32], "narrowest first");
}

#[test]
fn every_length_may_be_nested() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let chain = |text: &str, longest: u8| -> Vec<Change> {
        let address: IpAddr = text.parse().unwrap();
        let prefix = |length| Target::prefix(address, length).unwrap();
        (0..=longest).map(|length| ban(prefix(length), 1, if length == 0 { None } else { past() })).collect()
    };
    let changes =
        [chain("255.255.255.255", 32), chain("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", 128)].concat();
    world.xdp().apply(&changes).unwrap();
    assert!(world.drops(&frame("255.255.255.255", &[])));
    assert!(world.drops(&frame("ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff", &[])));
}

#[test]
fn observing_counts_and_passes() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 1024, true);
    world.ban(&["203.0.113.7"]);
    assert!(!world.drops(&frame("203.0.113.7", &[])));
    assert_eq!(world.counted("observed"), 1);
    let verdict = world.xdp().check("203.0.113.7".parse().unwrap(), Moment::now()).unwrap();
    assert!(!verdict.dropped);
    assert_eq!(verdict.entries[0].packets, Some(1));
}

#[test]
fn each_ban_counts_its_packets_and_extension_keeps_them() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "198.51.100.0/24"]);
    let packet = frame("203.0.113.7", &[]);
    world.xdp().datapath().test_run(&packet, 10).unwrap();
    world.xdp().datapath().test_run(&frame("198.51.100.9", &[]), 3).unwrap();
    world.xdp().apply(&[ban(target("203.0.113.7"), 1, ahead())]).unwrap();
    world.xdp().datapath().test_run(&packet, 1).unwrap();
    let verdict = world.xdp().check("203.0.113.7".parse().unwrap(), Moment::now()).unwrap();
    assert_eq!(verdict.entries[0].packets, Some(11));
    assert_eq!(verdict.entries[0].bytes, Some(11 * packet.len() as u64));
    assert!(verdict.entries[0].seconds_left.is_some_and(|left| (3590..=3600).contains(&left)));
    let verdict = world.xdp().check("198.51.100.9".parse().unwrap(), Moment::now()).unwrap();
    assert_eq!(verdict.entries[0].packets, Some(3));
    assert_eq!((world.counted("host"), world.counted("prefix")), (11, 3));
    let drops = world.xdp().counters().unwrap().drops;
    assert!(drops.iter().any(|(_, reason, packets, _)| reason == "host" && *packets == 11), "{drops:?}");
}

/// Each length alone, so that no wider ban helps: its first and last address drop, those beside it pass.
#[test]
fn every_length_covers_exactly_its_addresses() {
    harness::skip_if!(crate::world::missing());
    for (text, longest) in [("203.0.113.7", 32_u8), ("2001:db8:5:6:7:8:9:a", 128)] {
        for length in 1..=longest {
            let mut world = World::new();
            let prefix = Target::prefix(text.parse().unwrap(), length).unwrap();
            world.xdp().apply(&[ban(prefix, 1, None)]).unwrap();
            let net = prefix.net();
            let (before, behind): (IpAddr, IpAddr) = match (net.network(), net.broadcast()) {
                (IpAddr::V4(first), IpAddr::V4(last)) => (
                    Ipv4Addr::from_bits(first.to_bits().wrapping_sub(1)).into(),
                    Ipv4Addr::from_bits(last.to_bits().wrapping_add(1)).into(),
                ),
                (IpAddr::V6(first), IpAddr::V6(last)) => (
                    Ipv6Addr::from_bits(first.to_bits().wrapping_sub(1)).into(),
                    Ipv6Addr::from_bits(last.to_bits().wrapping_add(1)).into(),
                ),
                _ => unreachable!("both ends of a prefix are of one family"),
            };
            let sources = [net.network(), net.broadcast(), before, behind];
            let dropped = sources.map(|source| world.drops(&frame(&source.to_string(), &[])));
            assert_eq!(dropped, [true, true, false, false], "{prefix}");
        }
    }
}

/// The header's length decides nothing: what is counted is the frame, padding and further buffers included.
#[test]
fn bytes_are_those_of_the_frame() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7", "2001:db8::7"]);
    let mut sum = 0;
    for source in ["203.0.113.7", "2001:db8::7"] {
        let ip = frame(source, &[]).len() - 14;
        for length in [60, 1514, 9000] {
            for told in [0, 1, ip as u16, length as u16 - 14, u16::MAX] {
                let mut packet = frame(source, &[]);
                packet.resize(packet.len().max(length), 0);
                let field = if source.contains(':') { 14 + 4 } else { 14 + 2 };
                packet[field..field + 2].copy_from_slice(&told.to_be_bytes());
                // Shorter than the frame, a header may hide its further buffers.
                if length < 4096 || told >= length as u16 - 14 - 40 {
                    assert!(world.drops(&packet));
                    sum += packet.len() as u64;
                }
            }
        }
    }
    let counters = world.xdp().counters().unwrap();
    assert_eq!(counters.reasons.iter().find(|(name, ..)| name == "host").unwrap().2, sum);
}

/// Random bans, extensions, ends and removals against the naive model: a list that is searched from end to end.
#[test]
fn the_program_agrees_with_a_naive_model() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 64, false);
    let mut random = Random(0x5eed);
    let mut model: HashMap<Target, bool> = HashMap::new();
    for round in 0..300 {
        let changes: Vec<Change> = (0..8)
            .map(|_| {
                let target = random.target();
                if random.below(4) == 0 {
                    model.remove(&target);
                    Change::Unban(target)
                } else {
                    let live = random.below(3) != 0;
                    model.insert(target, live);
                    ban(target, round, if live { ahead() } else { past() })
                }
            })
            .collect();
        world.xdp().apply(&changes).unwrap();
        for _ in 0..20 {
            let source = random.address();
            let banned = model.iter().any(|(target, live)| *live && target.covers(source));
            assert_eq!(world.drops(&frame(&source.to_string(), &[])), banned, "{source} in round {round}");
        }
    }
}

/// A small generator (splitmix64) over a few crowded networks, so that targets nest and repeat.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }

    fn address(&mut self) -> IpAddr {
        if self.below(2) == 0 {
            Ipv4Addr::new(203, 0, self.below(4) as u8, self.below(8) as u8).into()
        } else {
            let parts = [0x2001, 0xdb8, self.below(2) as u16, self.below(3) as u16];
            Ipv6Addr::new(parts[0], parts[1], parts[2], parts[3], 0, 0, 0, self.below(4) as u16).into()
        }
    }

    fn target(&mut self) -> Target {
        let address = self.address();
        let lengths: &[u8] = match address {
            IpAddr::V4(_) => &[32, 32, 32, 31, 29, 24, 23, 22],
            IpAddr::V6(_) => &[128, 128, 127, 64, 64, 63, 48, 47],
        };
        Target::prefix(address, lengths[self.below(lengths.len() as u64) as usize]).unwrap()
    }
}
