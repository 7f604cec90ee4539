//! What stays, grows and is repaired.

use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::time::{Duration, Instant};

use guard::ban::BanTable;
use guard::config::Interfaces;
use guard::enforce::{Change, Desired, Enforcer};
use guard::target::Target;
use guard::time::Moment;

use crate::frame::frame;
use crate::world::{World, ahead, ban, target, wanted};

fn host4(number: u32) -> Target {
    Target::host(Ipv4Addr::from(0x0b00_0000 + number).into())
}

fn host6(number: u32) -> Target {
    Target::host(Ipv6Addr::new(0x2001, 0xdb8, (number >> 16) as u16, number as u16, 0, 0, 0, 1).into())
}

fn net6(number: u32) -> Target {
    let address = Ipv6Addr::new(0x2001, 0xdb9, (number >> 16) as u16, number as u16, 0, 0, 0, 0);
    Target::prefix(address.into(), 64).unwrap()
}

/// Targets far from each other: of those that share a network, a few mark what all of them would.
fn far_host4(number: u32) -> Target {
    Target::host(Ipv4Addr::from(0x4000_0000 | number.wrapping_mul(0x9e37_79b1) >> 2).into())
}

fn far_host6(number: u32) -> Target {
    Target::host(Ipv6Addr::from_bits((0x2a << 120) | u128::from(number) << 80 | 7).into())
}

fn far_net6(number: u32) -> Target {
    Target::prefix(Ipv6Addr::from_bits((0x2b << 120) | u128::from(number) << 80).into(), 64).unwrap()
}

fn drops(world: &World, address: IpAddr) -> bool {
    world.drops(&frame(&address.to_string(), &[]))
}

/// How often this thread was put off the processor although it had work.
fn times_turned_out() -> u64 {
    let status = fs::read_to_string("/proc/thread-self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("nonvoluntary_ctxt_switches:"));
    line.unwrap().trim().parse().unwrap()
}

#[test]
fn growth_keeps_every_ban_and_its_counters() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 256, false);
    world.ban(&["203.0.113.7"]);
    assert!(world.drops(&frame("203.0.113.7", &[])));
    for make in [host4, host6, net6] {
        for from in (0..4000).step_by(500) {
            let changes: Vec<Change> = (from..from + 500).map(|n| ban(make(n), n.into(), ahead())).collect();
            world.xdp().apply(&changes).unwrap();
        }
        assert!((0..4000).all(|n| drops(&world, make(n).address())));
        assert!(!drops(&world, make(4000).address()));
    }
    let maps = world.xdp().status().maps;
    assert_eq!(maps.iter().map(|map| map.entries).collect::<Vec<_>>(), [4001, 4000, 4000, 0, 0]);
    assert!(maps[..3].iter().all(|map| map.capacity >= 4096), "{maps:?}");
    let verdict = world.xdp().check("203.0.113.7".parse().unwrap(), Moment::now()).unwrap();
    assert_eq!(verdict.entries[0].packets, Some(1));
}

#[test]
fn what_is_pinned_is_taken_over() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 256, false);
    let changes: Vec<Change> = (0..3000).map(|n| ban(host4(n), n.into(), None)).collect();
    world.xdp().apply(&changes).unwrap();
    world.ban(&["2001:db8::/40"]);
    world.xdp().apply(&[Change::Allow(host4(5))]).unwrap();
    world.reopen();
    assert!((0..3000).all(|n| drops(&world, host4(n).address()) == (n != 5)));
    assert!(world.drops(&frame("2001:db8:ff::1", &[])));
    let maps = world.xdp().status().maps;
    assert_eq!((maps[0].entries, maps[4].entries), (3000, 1));
}

#[test]
fn a_larger_capacity_is_taken_at_start() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 256, false);
    world.ban(&["203.0.113.7"]);
    world.capacity = 5000;
    world.reopen();
    assert!(world.xdp().status().maps[0].capacity >= 5000);
    assert!(world.drops(&frame("203.0.113.7", &[])));
}

#[test]
fn a_hundred_thousand_in_one_batch() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let changes: Vec<Change> = (0..100_000).map(|n| ban(host4(n * 7), n.into(), None)).collect();
    world.xdp().apply(&changes).unwrap();
    assert!((0..100_000).step_by(997).all(|n| drops(&world, host4(n * 7).address())));
    assert!(!drops(&world, host4(3).address()));
    let back: Vec<Change> = (0..100_001).map(|n| Change::Unban(host4(n * 7))).collect();
    world.xdp().apply(&back).unwrap();
    assert!(!(0..100_000).step_by(997).any(|n| drops(&world, host4(n * 7).address())));
    assert_eq!(world.xdp().status().maps[0].entries, 0);
}

/// A map of a million, and the bitmap before it, are exchanged for larger ones beside what goes on: bans and their ends
/// meanwhile are in the larger one, and none of them waits for it.
#[test]
fn a_large_map_grows_while_bans_come_and_go() {
    const FULL: u32 = 940_000;
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 1 << 20, false);
    for from in (0..FULL).step_by(20_000) {
        let chunk: Vec<Change> = (from..from + 20_000).map(|n| ban(far_host4(n), n.into(), None)).collect();
        world.xdp().restore(&chunk, u64::from(FULL - from)).unwrap();
    }
    let sizes = |world: &mut World| {
        let maps = world.xdp().datapath().maps();
        (maps.hosts4.capacity(), maps.bits4.words())
    };
    let before = sizes(&mut world);
    let (mut rounds, mut longest, mut grew) = (0, Duration::ZERO, None);
    let begin = Instant::now();
    let end = begin + Duration::from_secs(60);
    // Until some time after the exchange.
    let mut left = 3000;
    while left > 0 && Instant::now() < end {
        if sizes(&mut world).0 > before.0 {
            grew.get_or_insert_with(|| begin.elapsed());
            left -= 1;
        }
        // Two come, one goes that was there before, one that came gets another end.
        let new = FULL + rounds * 2;
        let changes = [
            ban(far_host4(new), new.into(), None),
            ban(far_host4(new + 1), 1, None),
            Change::Unban(far_host4(rounds)),
            ban(far_host4(new), new.into(), ahead()),
        ];
        let (start, turned_out) = (Instant::now(), times_turned_out());
        world.xdp().apply(&changes).unwrap();
        let took = start.elapsed();
        // Time that the processor was given to others says nothing.
        if times_turned_out() == turned_out {
            longest = longest.max(took);
        }
        rounds += 1;
    }
    let grew = grew.unwrap();
    println!("{rounds} rounds; the map grew in {grew:?}, the longest round took {longest:?}");
    assert!(longest * 8 < grew, "{longest:?} of {grew:?}");
    let dropped = |n: u32| drops(&world, far_host4(n).address());
    assert!((0..rounds).all(|n| !dropped(n)), "what went has gone");
    assert!((rounds..FULL).step_by(97).all(dropped) && (FULL..FULL + 2 * rounds).all(dropped));
    let entries = world.xdp().live().unwrap();
    assert_eq!(entries.len() as u32, FULL + rounds);
    let ends = entries.iter().filter(|entry| entry.seconds_left.is_some()).count();
    assert_eq!(ends as u32, rounds, "each later end is in the larger map");
}

/// The bitmaps grow with hosts, networks and prefixes, and what was marked before stays so.
#[test]
fn bitmaps_grow_with_the_bans() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&[
        "203.0.113.7",
        "198.51.100.0/23",
        "100.64.0.0/10",
        "2001:db8::/47",
        "2002:aa00::/28",
        "2a00::/63",
    ]);
    let before =
        ["203.0.113.9", "198.51.101.9", "100.127.0.9", "2001:db8:1::9", "2002:aa0f::9", "2a00:0:0:1::9"];
    let banned = |world: &World| before.map(|source| world.drops(&frame(source, &[])));
    let dropped = [false, true, true, true, true, true];
    assert_eq!(banned(&world), dropped);
    let words = |world: &mut World| {
        let maps = world.xdp().datapath().maps();
        [maps.bits4.words(), maps.bits6.words()]
    };
    let least = words(&mut world);
    for make in [far_host4 as fn(u32) -> Target, far_host6, far_net6] {
        for from in (0..40_000).step_by(5000) {
            let changes: Vec<Change> =
                (from..from + 5000).map(|n| ban(make(n * 3), n.into(), ahead())).collect();
            world.xdp().apply(&changes).unwrap();
            assert_eq!(banned(&world), dropped);
        }
        assert!((0..40_000).step_by(7).all(|n| drops(&world, make(n * 3).address())));
    }
    let grown = words(&mut world);
    assert!(grown[0] > least[0] && grown[1] > least[1], "{least:?} {grown:?}");
    world.reopen();
    assert_eq!(words(&mut world), grown, "taken over as large as they are");
    assert_eq!(banned(&world), dropped);
    assert!((0..40_000).step_by(97).all(|n| drops(&world, far_host4(n * 3).address())));
    assert!(!drops(&world, far_host4(1).address()));
}

#[test]
fn reconciling_puts_right_what_differs() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut bans = BanTable::default();
    for (id, text) in ["203.0.113.7", "198.51.100.0/24", "2001:db8::/64", "2001:db8::7", "2001:db8::/40"]
        .into_iter()
        .enumerate()
    {
        bans.set(wanted(target(text), id as u64 + 1, None));
    }
    let allowed = [target("10.0.0.0/8"), target("fe80::/10")];
    let drift = world.reconcile(&bans, &allowed);
    assert_eq!((drift.missing, drift.foreign, drift.changed), (7, 0, 0));
    assert!(world.drops(&frame("198.51.100.1", &[])) && world.drops(&frame("2001:db8::9", &[])));

    world.reopen();
    let changes = [
        Change::Unban(target("203.0.113.7")),
        ban(target("192.0.2.1"), 9, None),
        ban(target("2001:db8::7"), 4, ahead()),
        Change::Disallow(target("10.0.0.0/8")),
        Change::Allow(target("192.0.2.0/24")),
    ];
    world.xdp().apply(&changes).unwrap();
    let drift = world.reconcile(&bans, &allowed);
    assert_eq!((drift.missing, drift.foreign, drift.changed), (2, 2, 1));
    assert!(world.drops(&frame("203.0.113.7", &[])) && !world.drops(&frame("192.0.2.1", &[])));

    world.reopen();
    assert!(world.reconcile(&bans, &allowed).is_none());
    let maps = world.xdp().datapath().maps();
    for (address, is_marked) in [("203.0.113.7", true), ("198.51.100.1", true), ("192.0.2.1", false)] {
        assert_eq!(maps.bits4.is_marked(address.parse().unwrap()), is_marked, "{address}");
    }
}

#[test]
fn a_comparison_in_parts_puts_all_right_while_bans_come_and_go() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut bans = BanTable::default();
    // Held and wanted, held and foreign, wanted and missing: 20,000 of each.
    let held: Vec<Change> = (0..40_000).map(|n| ban(host4(n * 3), n.into(), None)).collect();
    world.xdp().apply(&held).unwrap();
    for n in (0..20_000).chain(40_000..60_000) {
        bans.set(wanted(host4(n * 3), n.into(), None));
    }
    let (mut parts, mut drift) = (0, None);
    while drift.is_none() {
        let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
        drift = world.xdp().reconcile_part(desired).unwrap();
        // One comes, one that was there goes, one that was missing is banned anew.
        let (new, gone, again) = (100_000 + parts, parts, 40_000 + parts);
        for n in [new, again] {
            bans.set(wanted(host4(n * 3), n.into(), None));
        }
        bans.remove(host4(gone * 3));
        let changes = [
            ban(host4(new * 3), new.into(), None),
            Change::Unban(host4(gone * 3)),
            ban(host4(again * 3), again.into(), None),
        ];
        world.xdp().apply(&changes).unwrap();
        parts += 1;
    }
    assert!(parts > 3, "40,000 entries were compared in {parts} parts");
    let drift = drift.unwrap();
    assert!(drift.foreign == 20_000 && drift.missing <= 20_000, "{drift:?}");
    let mut live: Vec<Target> = world.xdp().live().unwrap().iter().map(|entry| entry.target).collect();
    live.sort();
    let desired: Vec<Target> = bans.page(None, usize::MAX).iter().map(|ban| ban.target).collect();
    assert_eq!(live.len(), desired.len());
    assert!(live == desired);
    assert!(desired.iter().step_by(97).all(|target| drops(&world, target.address())), "no bit is missing");
    assert!(world.xdp().status().maps[0].entries >= live.len() as u64);
}

#[test]
fn a_start_finds_what_only_the_kernel_knows_and_what_it_lacks() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let held: Vec<Change> = (0..10_000).map(|n| ban(host4(n), n.into(), ahead())).collect();
    world.xdp().apply(&held).unwrap();
    world.reopen();
    // The store gives back all but the first hundred, and others that the kernel has lost.
    let mut bans = BanTable::default();
    for n in 100..12_000 {
        bans.set(wanted(host4(n), n.into(), ahead()));
    }
    let stored: Vec<Change> = (100..12_000).map(|n| ban(host4(n), n.into(), ahead())).collect();
    world.xdp().restore(&stored, 0).unwrap();
    let mut unknown = Vec::new();
    loop {
        let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
        let part = world.xdp().unknown(desired).unwrap();
        unknown.extend(part.entries.iter().map(|entry| entry.target));
        if !part.more {
            break;
        }
    }
    unknown.sort();
    assert_eq!(unknown, (0..100).map(host4).collect::<Vec<_>>());
    assert!((0..12_000).step_by(50).all(|n| drops(&world, host4(n).address())), "nothing was taken out");

    // One of them is adopted, the others are not.
    bans.set(wanted(host4(7), 7, ahead()));
    let drift = world.reconcile(&bans, &[]);
    assert_eq!((drift.missing, drift.foreign), (2_000, 99));
    assert!(drops(&world, host4(7).address()) && !drops(&world, host4(8).address()));
}

/// Bans of a feed come while a start reads what the maps hold: each is in force at once, and those that the maps held
/// already keep their counters.
#[test]
fn a_ban_that_comes_while_taken_over_maps_are_read_is_in_force_at_once() {
    const HELD: u32 = 40_000;
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let held: Vec<Change> = (0..HELD).map(|n| ban(host4(n), n.into(), None)).collect();
    world.xdp().apply(&held).unwrap();
    assert!(drops(&world, host4(0).address()));
    world.reopen();
    let mut bans = BanTable::default();
    for n in 1000..HELD {
        bans.set(wanted(host4(n), n.into(), None));
    }
    let mut parts = 0;
    loop {
        let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
        let more = world.xdp().unknown(desired).unwrap().more;
        parts += 1;
        // One that nobody had, and one that only the kernel has.
        let came = [host4(HELD + parts), host4(parts - 1)];
        for target in came {
            bans.set(wanted(target, 7, None));
        }
        world.xdp().restore(&came.map(|target| ban(target, 7, None)), 0).unwrap();
        assert!(drops(&world, came[0].address()), "part {parts}");
        if !more {
            break;
        }
    }
    assert!(parts > 3, "{HELD} entries were read in {parts} parts");
    let gaps: Vec<u32> = (1..parts)
        .filter(|n| !drops(&world, host4(n - 1).address()) || !drops(&world, host4(HELD + n).address()))
        .collect();
    assert!(gaps.is_empty(), "of {parts} parts: {gaps:?}");
    let verdict = world.xdp().check(host4(0).address(), Moment::now()).unwrap();
    assert_eq!(verdict.entries[0].packets, Some(2));
    let drift = world.reconcile(&bans, &[]);
    assert_eq!((drift.missing, drift.foreign, drift.changed), (0, u64::from(1000 - parts), 0));
    assert!((1..=parts).all(|n| drops(&world, host4(HELD + n).address())));
}

#[test]
fn what_only_the_kernel_knows_is_in_force_until_it_is_adopted() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let held = [target("203.0.113.7"), target("198.51.100.0/24"), target("2001:db8::7")];
    world.xdp().apply(&held.map(|target| ban(target, 1, None))).unwrap();
    world.reopen();
    let bans = BanTable::default();
    assert_eq!(world.unknown(&bans).len(), 3);
    assert!(held.iter().all(|target| drops(&world, target.address())));
    assert_eq!(world.reconcile(&bans, &[]).foreign, 3, "nobody wanted them");
    let maps = world.xdp().datapath().maps();
    assert!(!maps.bits4.is_marked(held[0].address()) && !maps.bits6.is_marked(held[2].address()));
}

/// As where another backend, or none, was in use while the table was filled.
#[test]
fn new_maps_that_lack_what_the_table_holds_get_it_at_once() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut bans = BanTable::default();
    for text in ["203.0.113.7", "2001:db8::/64"] {
        bans.set(wanted(target(text), 1, None));
    }
    assert_eq!(world.unknown(&bans), []);
    assert!(world.drops(&frame("203.0.113.7", &[])) && world.drops(&frame("2001:db8::9", &[])));
}

#[test]
fn bans_put_back_into_new_maps_are_in_force_at_once() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 1024, false);
    let mut to_come = 40_000;
    for from in (0..40_000).step_by(2000) {
        to_come -= 2000;
        let chunk: Vec<Change> = (from..from + 2000).map(|n| ban(host4(n), n.into(), None)).collect();
        world.xdp().restore(&chunk, to_come).unwrap();
        assert!(drops(&world, host4(from + 1).address()));
        let capacity = world.xdp().status().maps[0].capacity;
        assert!(capacity >= 40_000, "the map has room for what is to come: {capacity}");
    }
    assert_eq!(world.xdp().status().maps[0].entries, 40_000);
}

#[test]
fn pins_that_others_remove_come_back() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut bans = BanTable::default();
    bans.set(wanted(target("203.0.113.7"), 1, None));
    world.reconcile(&bans, &[]);
    fs::remove_file(world.bpffs.join(format!("v{}/maps/guard_hosts4", guard_common::ABI))).unwrap();
    assert_eq!(world.reconcile(&bans, &[]).attachments, 1);
    world.reopen();
    assert!(world.drops(&frame("203.0.113.7", &[])));
}

#[test]
fn a_removed_folder_comes_back_with_every_pin() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    let mut bans = BanTable::default();
    bans.set(wanted(target("203.0.113.7"), 1, None));
    world.reconcile(&bans, &[]);
    fs::remove_dir_all(&world.bpffs).unwrap();
    assert!(world.drops(&frame("203.0.113.7", &[])));
    assert_eq!(world.reconcile(&bans, &[]).attachments, 12);
    world.reopen();
    assert!(world.drops(&frame("203.0.113.7", &[])));
}

/// A program is loaded over what is pinned: in place of a map without a pin it would get an empty one.
#[test]
fn growth_after_pins_were_removed_keeps_every_ban() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::on(Interfaces::Named(Vec::new()), 256, false);
    world.ban(&["203.0.113.7"]);
    fs::remove_dir_all(&world.bpffs).unwrap();
    let changes: Vec<Change> = (0..1000).map(|n| ban(host6(n), n.into(), None)).collect();
    world.xdp().apply(&changes).unwrap();
    assert!(world.xdp().status().maps[1].capacity >= 1000);
    assert!(world.drops(&frame("203.0.113.7", &[])) && drops(&world, host6(999).address()));
}

#[test]
fn removal_leaves_nothing() {
    harness::skip_if!(crate::world::missing());
    let mut world = World::new();
    world.ban(&["203.0.113.7"]);
    world.xdp().remove().unwrap();
    assert!(!world.bpffs.exists());
}
