//! The nftables backend against real packets, each test in network namespaces of its own.

#![allow(clippy::unwrap_used, reason = "a test ends where it cannot go on")]

use std::collections::{HashMap, HashSet};
use std::io::{Read as _, Write as _};
use std::net::{IpAddr, Ipv4Addr, SocketAddr, TcpListener, TcpStream};
use std::process::Command;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use guard::ban::{Ban, BanId, BanTable, Origin};
use guard::config::Config;
use guard::enforce::nftables::watch;
use guard::enforce::{Change, Desired, Drift, Enforcer, Nftables, nftables_remove};
use guard::sighting::Points;
use guard::target::Target;
use guard::time::Moment;
use harness::{
    Arena, Flood, GUARDED_V4, GUARDED_V6, attacker_v4, attacker_v6, counter, pings, poll_until, run, skip_if,
};

const SOON: Duration = Duration::from_secs(10);

#[test]
fn a_banned_host_is_dropped_and_its_neighbour_passes() {
    guarded(|arena, enforcer| {
        assert!(passes(arena, 0) && passes6(arena, 0), "the wire works");
        enforcer.apply(&[ban("203.0.113.10", None), ban("2001:db8:71:10::10", Some(60))]).unwrap();
        assert!(!passes(arena, 0) && !passes6(arena, 0));
        assert!(passes(arena, 1) && passes6(arena, 1));

        let verdict = enforcer.check(attacker_v4(0), Moment::now()).unwrap();
        assert!(verdict.dropped);
        assert_eq!(verdict.entries[0].seconds_left, None);
        assert_eq!(verdict.entries[0].packets, Some(1));
        let verdict = enforcer.check(attacker_v6(0), Moment::now()).unwrap();
        assert!((55..=60).contains(&verdict.entries[0].seconds_left.unwrap()));
        assert!(!enforcer.check(attacker_v4(1), Moment::now()).unwrap().dropped);
        let reasons = enforcer.counters().unwrap().reasons;
        assert!(reasons.iter().any(|(name, packets, bytes)| name == "host" && *packets >= 2 && *bytes > 100));

        enforcer.apply(&[unban("203.0.113.10"), unban("2001:db8:71:10::10"), unban("192.0.2.99")]).unwrap();
        assert!(passes(arena, 0) && passes6(arena, 0));
    });
}

#[test]
fn prefixes_inside_each_other_are_each_enforced() {
    guarded(|arena, enforcer| {
        let all = ["203.0.113.10", "203.0.113.8/30", "203.0.113.8/29"];
        enforcer.apply(&all.map(|text| ban(text, None))).unwrap();
        enforcer.apply(&[ban("2001:db8:71:10::/64", None), ban("2001:db8:71:10::/63", None)]).unwrap();
        let verdict = enforcer.check(attacker_v4(0), Moment::now()).unwrap();
        assert_eq!(verdict.entries.iter().map(|entry| entry.target.to_string()).collect::<Vec<_>>(), all);
        assert!(!passes(arena, 0) && !passes(arena, 4) && passes(arena, 6));
        assert!(!passes6(arena, 0) && !passes6(arena, 1) && passes6(arena, 2));

        enforcer.apply(&[unban("203.0.113.8/29"), unban("2001:db8:71:10::/63")]).unwrap();
        assert!(!passes(arena, 0) && !passes(arena, 1) && passes(arena, 4));
        assert!(!passes6(arena, 0) && passes6(arena, 1));
        enforcer.apply(&[unban("203.0.113.8/30"), unban("2001:db8:71:10::/64")]).unwrap();
        assert!(!passes(arena, 0) && passes(arena, 1) && passes6(arena, 0));
    });
}

#[test]
fn an_allowance_wins_over_every_ban() {
    guarded(|arena, enforcer| {
        let bans = [ban("203.0.113.10", None), ban("203.0.113.0/24", None), ban("::/0", None)];
        enforcer.apply(&bans).unwrap();
        enforcer.apply(&[allow("203.0.113.8/30"), allow("203.0.113.12"), allow("2001:db8:71::/48")]).unwrap();
        assert!(passes(arena, 0) && passes(arena, 2) && !passes(arena, 3) && passes6(arena, 0));
        let verdict = enforcer.check(attacker_v4(0), Moment::now()).unwrap();
        assert!(!verdict.dropped && verdict.entries.len() == 2);
        assert_eq!(verdict.allowed_by, Some(target("203.0.113.8/30")));
        enforcer.apply(&[Change::Disallow(target("203.0.113.8/30"))]).unwrap();
        assert!(!passes(arena, 0) && passes(arena, 2));
    });
}

#[test]
fn bans_end_in_the_kernel_and_never_early() {
    guarded(|arena, enforcer| {
        let until = Moment::now() + Duration::from_millis(1500);
        let short = Change::Ban { target: target("203.0.113.8/29"), id: BanId(1), until: Some(until) };
        enforcer.apply(&[short, ban("203.0.113.11", None)]).unwrap();
        poll_until(SOON, "the ban ends", || {
            let passed = passes_quickly(arena, 0);
            assert!(!passed || Moment::now() >= until, "open before its end");
            passed.then_some(())
        });
        assert!(!passes(arena, 1), "the ban inside goes on");
        assert!(enforcer.check(attacker_v4(0), Moment::now()).unwrap().entries.is_empty());
    });
}

#[test]
fn a_second_ban_moves_the_end_and_keeps_the_counter() {
    guarded(|arena, enforcer| {
        let left = |enforcer: &mut Nftables| {
            enforcer.check(attacker_v4(0), Moment::now()).unwrap().entries[0].seconds_left
        };
        enforcer.apply(&[ban("203.0.113.10", Some(20))]).unwrap();
        assert!(!passes(arena, 0));
        for (seconds, expected) in [(Some(500), 495..=500), (Some(500), 499..=500), (Some(100), 98..=100)] {
            enforcer.apply(&[ban("203.0.113.10", seconds)]).unwrap();
            assert!(expected.contains(&left(enforcer).unwrap()), "{seconds:?}");
        }
        enforcer.apply(&[ban("203.0.113.10", None)]).unwrap();
        assert_eq!(left(enforcer), None);
        enforcer.apply(&[ban("203.0.113.10", Some(30 * 86400))]).unwrap();
        assert!(left(enforcer).unwrap() > 29 * 86400);
        assert!(!passes(arena, 0));
        let entry = enforcer.check(attacker_v4(0), Moment::now()).unwrap().entries.remove(0);
        // A kernel that does not renew an element in place begins its counter anew.
        let counted = if enforcer.renews_in_place() { 2 } else { 1 };
        assert!(entry.packets >= Some(counted), "{entry:?}");
    });
}

/// A crash between kernel and store leaves ends that the store does not know.
#[test]
fn a_start_shortens_no_ban_and_puts_what_the_table_lacks() {
    guarded(|arena, enforcer| {
        let (long, short, only_kernel, only_store) =
            ("203.0.113.10", "203.0.113.11", "203.0.113.12", "203.0.113.13");
        enforcer.apply(&[ban(long, Some(500)), ban(short, Some(50)), ban(only_kernel, None)]).unwrap();
        let mut started = Nftables::open(&Config::default(), "").unwrap();
        let stored = [(long, Some(100)), (short, Some(300)), (only_store, Some(200))];
        let mut bans = BanTable::default();
        for (text, seconds) in stored {
            bans.set(wanted(text, seconds));
        }
        started.restore(&stored.map(|(text, seconds)| ban(text, seconds)), 0).unwrap();
        let mut unknown = Vec::new();
        loop {
            let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
            let part = started.unknown(desired).unwrap();
            unknown.extend(part.entries);
            // What comes while the table is read is in force at once.
            bans.set(wanted("203.0.113.15", None));
            started.restore(&[ban("203.0.113.15", None)], 0).unwrap();
            assert!(!passes(arena, 5));
            if !part.more {
                break;
            }
        }
        unknown.sort_by_key(|entry| entry.target);
        let told: Vec<_> =
            unknown.iter().map(|entry| (entry.target.to_string(), entry.seconds_left)).collect();
        assert!(matches!(told[0].1, Some(495..=500)), "{told:?}");
        assert_eq!(told[1], (only_kernel.to_owned(), None));
        assert_eq!(told.len(), 2);

        let mut left = |text: &str| {
            started.check(target(text).address(), Moment::now()).unwrap().entries[0].seconds_left.unwrap()
        };
        assert!(left(long) > 490, "its end in the kernel is the later one");
        assert!((290..=300).contains(&left(short)) && (190..=200).contains(&left(only_store)));
        assert!(!passes(arena, 3) && passes(arena, 4));

        // Once the table is known, bans that come in numbers are written as they come.
        started.restore(&[ban("203.0.113.14", None)], 0).unwrap();
        assert!(!passes(arena, 4));
    });
}

#[test]
fn no_packet_passes_while_bans_are_renewed() {
    guarded(|arena, enforcer| {
        let port = SocketAddr::new(GUARDED_V4, 4000);
        let arrived = counter(&arena.host, port);
        let flood = Flood::start(&arena.outside, attacker_v4(0), port);
        poll_until(SOON, "datagrams arrive", || (arrived.load(Ordering::Relaxed) > 100).then_some(()));
        enforcer.apply(&[ban("203.0.113.10", Some(60))]).unwrap();
        let mut last = 0;
        poll_until(SOON, "what was queued has been read", || {
            (std::mem::replace(&mut last, arrived.load(Ordering::Relaxed)) == last).then_some(())
        });
        let (before, sent) = (arrived.load(Ordering::Relaxed), flood.sent());
        let (mut round, end) = (0, Instant::now() + SOON);
        while round < 1000 || (flood.sent() <= sent + 1000 && Instant::now() < end) {
            enforcer
                .apply(&[ban("203.0.113.10", Some(60 + round % 60)), ban("203.0.113.0/28", None)])
                .unwrap();
            enforcer.apply(&[unban("203.0.113.0/28"), ban("198.51.100.1", None)]).unwrap();
            round += 1;
        }
        assert!(flood.sent() > sent + 1000, "{} datagrams in {round} rounds", flood.sent() - sent);
        assert_eq!(arrived.load(Ordering::Relaxed), before);
    });
}

#[test]
fn an_established_connection_is_cut() {
    guarded(|arena, enforcer| {
        let listener = TcpListener::bind((GUARDED_V4, 4001)).unwrap();
        let mut client = arena.outside.enter(|| TcpStream::connect((GUARDED_V4, 4001)).unwrap());
        let from = client.local_addr().unwrap().ip();
        let (mut server, _) = listener.accept().unwrap();
        let mut byte = [0];
        client.write_all(b"x").unwrap();
        server.read_exact(&mut byte).unwrap();
        enforcer.apply(&[Change::Ban { target: Target::host(from), id: BanId(1), until: None }]).unwrap();
        client.write_all(b"y").unwrap();
        server.set_read_timeout(Some(Duration::from_millis(700))).unwrap();
        assert!(server.read_exact(&mut byte).is_err(), "nothing comes through");
        enforcer.apply(&[Change::Unban(Target::host(from))]).unwrap();
        server.set_read_timeout(Some(SOON)).unwrap();
        server.read_exact(&mut byte).unwrap();
    });
}

#[test]
fn what_others_take_away_is_put_back() {
    guarded(|arena, enforcer| {
        let mut bans = BanTable::default();
        for text in ["203.0.113.10", "203.0.113.12/31", "2001:db8:71:10::10"] {
            bans.set(wanted(text, Some(600)));
        }
        let allowed = [target("203.0.113.12")];
        let reconcile = |enforcer: &mut Nftables, bans: &BanTable| {
            // Elements are compared again only after a multiple of the time the last comparison took.
            poll_until(SOON, "drift is found", || {
                let drift =
                    enforcer.reconcile(Desired { bans, allowed: &allowed, now: Moment::now() }).unwrap();
                (!drift.is_none()).then_some(drift)
            })
        };
        let first = reconcile(enforcer, &bans);
        assert_eq!(first, Drift { missing: 4, ..Drift::default() });
        for (tamper, attachments) in [
            ("flush ruleset", 1),
            ("delete table inet guard", 1),
            ("flush chain inet guard prerouting", 1),
            ("add table inet guard { flags dormant; }", 1),
            ("insert rule inet guard prerouting accept", 1),
            ("flush set inet guard ban4_32", 0),
            ("delete element inet guard ban4_31 { 203.0.113.12 }", 0),
            ("add element inet guard ban4_32 { 203.0.113.15 }", 0),
            (
                "delete element inet guard ban4_32 { 203.0.113.10 }; add element inet guard ban4_32 { 203.0.113.10 timeout 1h expires 5s }",
                0,
            ),
            (
                "flush ruleset; add table inet guard; add chain inet guard prerouting { type filter hook input priority 0; policy accept; }",
                1,
            ),
        ] {
            run(Command::new("nft").arg(tamper));
            let drift = reconcile(enforcer, &bans);
            assert_eq!(drift.attachments, attachments, "{tamper}: {drift:?}");
            assert!(!passes_quickly(arena, 0) && !passes_quickly(arena, 3), "{tamper}");
            assert!(passes(arena, 2) && passes(arena, 5), "{tamper}");
            let left = enforcer.check(attacker_v4(0), Moment::now()).unwrap().entries[0].seconds_left;
            assert!(left > Some(500), "{tamper}: {left:?}");
            let quiet = enforcer.reconcile(Desired { bans: &bans, allowed: &allowed, now: Moment::now() });
            assert!(quiet.unwrap().is_none(), "{tamper}");
        }
        assert!(!passes6(arena, 0));
        bans.remove(target("203.0.113.12/31"));
        run(Command::new("nft").arg("add table inet other"));
        assert_eq!(reconcile(enforcer, &bans).foreign, 1);
        assert!(passes(arena, 3));
        assert!(
            !run(Command::new("nft").args(["list", "ruleset"])).contains("ban4_31"),
            "the empty set is gone"
        );
    });
}

#[test]
fn a_new_daemon_adopts_the_table() {
    guarded(|arena, enforcer| {
        enforcer.apply(&[ban("203.0.113.10", Some(600)), ban("203.0.113.12/31", None)]).unwrap();
        assert!(!passes(arena, 0));
        let mut bans = BanTable::default();
        bans.set(wanted("203.0.113.10", Some(600)));
        bans.set(wanted("203.0.113.12/31", None));
        let mut next = Nftables::open(&Config::default(), "").unwrap();
        let drift = next.reconcile(Desired { bans: &bans, allowed: &[], now: Moment::now() }).unwrap();
        assert!(drift.is_none(), "{drift:?}");
        let entry = next.check(attacker_v4(0), Moment::now()).unwrap().entries.remove(0);
        assert_eq!(entry.packets, Some(1), "the counter went on");
    });
}

#[test]
fn a_flush_by_others_is_heard_at_once() {
    guarded(|_, enforcer| {
        let heard = Arc::new(AtomicU64::new(0));
        let count = Arc::clone(&heard);
        let watching = watch(move || {
            count.fetch_add(1, Ordering::Relaxed);
        })
        .unwrap();
        enforcer.apply(&[ban("203.0.113.10", None)]).unwrap();
        poll_until(SOON, "our own change is heard", || (heard.swap(0, Ordering::Relaxed) > 0).then_some(()));
        run(Command::new("nft").args(["flush", "ruleset"]));
        poll_until(SOON, "the flush is heard", || (heard.load(Ordering::Relaxed) > 0).then_some(()));
        drop(watching);
    });
}

#[test]
fn tables_of_others_stay_as_they_are() {
    guarded(|_, enforcer| {
        let others = "table ip filter {
            set s { type ipv4_addr; elements = { 192.0.2.1 }; }
            chain input { type filter hook input priority 0; policy accept; ip saddr @s counter; }
        }
        table inet guarded { chain c { }; }
        table ip guard { chain d { }; }";
        run(Command::new("nft").arg(others));
        let list = || {
            let tables = [["ip", "filter"], ["inet", "guarded"], ["ip", "guard"]];
            tables.map(|[family, name]| run(Command::new("nft").args(["-a", "list", "table", family, name])))
        };
        let before = list();
        enforcer.apply(&[ban("203.0.113.10", None), ban("203.0.113.0/25", None)]).unwrap();
        run(Command::new("nft").args(["delete", "table", "inet", "guard"]));
        let nothing = BanTable::default();
        enforcer.reconcile(Desired { bans: &nothing, allowed: &[], now: Moment::now() }).unwrap();
        enforcer.remove().unwrap();
        assert_eq!(list(), before);
    });
}

#[test]
fn removal_leaves_nothing() {
    guarded(|arena, enforcer| {
        enforcer.apply(&[ban("203.0.113.10", None)]).unwrap();
        enforcer.remove().unwrap();
        assert_eq!(run(Command::new("nft").args(["list", "ruleset"])), "");
        assert!(passes(arena, 0));
        assert!(!enforcer.check(attacker_v4(0), Moment::now()).unwrap().dropped);
        assert!(!nftables_remove("guard").unwrap());
        let _next = Nftables::open(&Config::default(), "").unwrap();
        assert!(nftables_remove("guard").unwrap());
        assert!(nftables_remove("x; flush ruleset").is_err());
    });
}

#[test]
fn three_hundred_thousand_bans_in_one_call() {
    guarded(|arena, enforcer| {
        const MANY: u32 = 300_000;
        let address = |n: u32| IpAddr::V4(Ipv4Addr::from(0x0a00_0000 + n * 7));
        let end = Moment::now() + Duration::from_secs(3600);
        let many =
            |n| Change::Ban { target: Target::host(address(n)), id: BanId(n.into()), until: Some(end) };
        let mut changes: Vec<Change> = (0..MANY).map(many).collect();
        changes.push(ban("203.0.113.10", None));
        let start = Instant::now();
        enforcer.apply(&changes).unwrap();
        let applied = start.elapsed();
        assert!(applied < Duration::from_secs(20), "{applied:?}");
        assert!(!passes(arena, 0));
        let hosts = |enforcer: &mut Nftables| {
            let mut live: Vec<IpAddr> =
                enforcer.live().unwrap().iter().map(|entry| entry.target.address()).collect();
            live.sort_unstable();
            live
        };
        let expected: Vec<IpAddr> = (0..MANY).map(address).chain([attacker_v4(0)]).collect();
        assert!(hosts(enforcer) == expected, "every ban is there, and nothing else");

        let start = Instant::now();
        assert!(enforcer.check(address(5), Moment::now()).unwrap().dropped);
        let checked = start.elapsed();
        assert!(checked < Duration::from_millis(200), "one entry is read, not the set: {checked:?}");
        println!("{MANY} bans in {applied:?}, check in {checked:?}");

        let lift = |change: &Change| match change {
            Change::Ban { target, .. } => Change::Unban(*target),
            other => *other,
        };
        enforcer.apply(&changes.iter().map(lift).collect::<Vec<_>>()).unwrap();
        assert!(hosts(enforcer).is_empty() && passes(arena, 0));
    });
}

/// A large table is compared while bans come and go, and nobody waits long for it.
#[test]
fn a_comparison_in_parts_puts_all_right_while_bans_come_and_go() {
    const EACH: u32 = 60_000;
    guarded(|_, enforcer| {
        let host = |n: u32| Target::host(IpAddr::from((0x0a00_0000 + n * 3).to_be_bytes()));
        let put = |n: u32| Change::Ban { target: host(n), id: BanId(u64::from(n) + 1), until: None };
        let want = |n: u32| Ban { target: host(n), ..wanted("192.0.2.1", None) };
        // Held and wanted, held and foreign, wanted and missing.
        enforcer.apply(&(0..2 * EACH).map(put).collect::<Vec<_>>()).unwrap();
        run(Command::new("nft").arg("add table inet other"));
        let mut bans = BanTable::default();
        for n in (0..EACH).chain(2 * EACH..3 * EACH) {
            bans.set(want(n));
        }
        let start = Instant::now();
        let (mut parts, mut longest, mut drift) = (0, Duration::ZERO, None);
        while drift.is_none() {
            let part = Instant::now();
            let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
            drift = enforcer.reconcile_part(desired).unwrap();
            longest = longest.max(part.elapsed());
            // One comes, one that was there goes, one that was missing is banned anew.
            let (new, gone, again) = (4 * EACH + parts, parts, 2 * EACH + parts);
            for n in [new, again] {
                bans.set(want(n));
            }
            bans.remove(host(gone));
            enforcer.apply(&[put(new), Change::Unban(host(gone)), put(again)]).unwrap();
            parts += 1;
        }
        let took = start.elapsed();
        println!("{parts} parts in {took:?}, the longest took {longest:?}");
        assert!(parts > 20 && longest * 5 < took, "{parts} parts, {longest:?} of {took:?}");
        let held = |enforcer: &mut Nftables| {
            let live: HashSet<Target> = enforcer.live().unwrap().iter().map(|entry| entry.target).collect();
            live
        };
        let desired: HashSet<Target> = bans.iter().map(|ban| ban.target).collect();
        let drift = drift.unwrap();
        assert!(drift.changed == 0 && drift.missing <= u64::from(EACH), "{drift:?}");
        assert!(desired.is_subset(&held(enforcer)), "everything that is wanted is there");
        // What changes while it is read may hide what is foreign; it is found when nothing does.
        let mut next = Nftables::open(&Config::default(), "").unwrap();
        let rest = next.reconcile(Desired { bans: &bans, allowed: &[], now: Moment::now() }).unwrap();
        assert_eq!((rest.missing, rest.changed), (0, 0));
        assert!(rest.foreign < u64::from(EACH) / 10, "{rest:?}");
        assert!(desired == held(enforcer));
    });
}

/// What the table looks like is judged by `nft`: it shows ours as it shows one that it has made itself of text.
#[test]
fn nft_shows_the_table_as_its_own() {
    const NEIGHBOURS: &str = "icmpv6 type 133-137 ip6 hoplimit 255 accept";
    guarded(|_, enforcer| {
        let changes = [
            ban("203.0.113.10", Some(86400)),
            ban("203.0.113.11", None),
            Change::Ban { target: target("203.0.113.12"), id: BanId(7).forced(), until: None },
            ban("203.0.113.0/25", Some(3600)),
            ban("2001:db8::/33", None),
            ban("2001:db8:0:1::/64", Some(90_061)),
            ban("2001:db8::1", Some(30 * 86400)),
            allow("192.0.2.0/24"),
            allow("2001:db8:1::1"),
        ];
        enforcer.apply(&changes).unwrap();
        let judge = |counter: &str| {
            format!(
                "{NEIGHBOURS}; ip6 saddr @allow6_128 counter name allowed accept; \
                 ip saddr & 255.255.255.0 == @allow4_24 counter name allowed accept; counter name {counter} drop;"
            )
        };
        let set = |name: &str, kind: &str, elements: &str| {
            let counter = if name.starts_with("ban") { "counter;" } else { "" };
            format!("set {name} {{ type {kind}; flags timeout; {counter} elements = {{ {elements} }}; }}\n")
        };
        let twin = [
            "table inet twin {\n counter dropped_host { }\n counter dropped_prefix { }\n counter allowed { }\n"
                .to_owned(),
            set("ban4_32", "ipv4_addr", "203.0.113.10 timeout 1d, 203.0.113.11, 203.0.113.12 comment \"forced\""),
            set("ban6_64", "ipv6_addr", "2001:db8:0:1:: timeout 90061s"),
            set("ban6_128", "ipv6_addr", "2001:db8::1 timeout 30d"),
            set("ban4_25", "ipv4_addr", "203.0.113.0 timeout 1h"),
            set("ban6_33", "ipv6_addr", "2001:db8::"),
            set("allow4_24", "ipv4_addr", "192.0.2.0"),
            set("allow6_128", "ipv6_addr", "2001:db8:1::1"),
            format!("chain judge_host {{ {} }}\n", judge("dropped_host")),
            format!("chain judge_prefix {{ {} }}\n", judge("dropped_prefix")),
            "chain prerouting { type filter hook prerouting priority -450; policy accept;
                ip6 saddr @ban6_128 jump judge_host;
                ip6 saddr & ffff:ffff:ffff:ffff:: == @ban6_64 jump judge_prefix;
                ip6 saddr & ffff:ffff:8000:: == @ban6_33 jump judge_prefix;
                ip saddr @ban4_32 jump judge_host;
                ip saddr & 255.255.255.128 == @ban4_25 jump judge_prefix;
            }\n}"
            .to_owned(),
        ];
        run(Command::new("nft").arg(twin.concat()));
        assert_eq!(shown("guard"), shown("twin"));
    });
}

/// What `nft` says of a table, in an order of its own: each thing as text, without its number, the table's name
/// and the time that has passed.
fn shown(table: &str) -> Vec<String> {
    fn tidy(value: &mut serde_json::Value) {
        match value {
            serde_json::Value::Object(fields) => {
                fields.retain(|name, _| !["handle", "expires"].contains(&name.as_str()));
                fields.values_mut().for_each(tidy);
            }
            serde_json::Value::Array(list) => {
                list.iter_mut().for_each(tidy);
                if list.iter().all(|item| item.is_string() || item.get("elem").is_some()) {
                    list.sort_by_key(ToString::to_string);
                }
            }
            _ => {}
        }
    }
    let text = run(Command::new("nft").args(["-j", "list", "table", "inet", table]));
    let mut json: serde_json::Value = serde_json::from_str(&text).unwrap();
    tidy(&mut json);
    let things = json["nftables"].as_array().unwrap().iter();
    let mut chains: HashMap<String, Vec<String>> = HashMap::new();
    for thing in things.filter(|thing| thing.get("metainfo").is_none()) {
        let chain = thing["rule"]["chain"].as_str().unwrap_or_default().to_owned();
        chains.entry(chain).or_default().push(thing.to_string().replace(&format!("\"{table}\""), "\"\""));
    }
    // The order of rules counts, that of anything else does not.
    if let Some(others) = chains.get_mut("") {
        others.sort_unstable();
    }
    let mut sorted: Vec<(String, Vec<String>)> = chains.into_iter().collect();
    sorted.sort_unstable();
    sorted.into_iter().flat_map(|(_, things)| things).collect()
}

#[test]
fn random_changes_end_as_a_naive_model_has_them() {
    guarded(|arena, enforcer| {
        let mut random = Random(0x9e37_79b9_7f4a_7c15);
        let universe: Vec<Target> = (24..=32)
            .flat_map(|length| (8..24).map(move |host| Target::prefix([203, 0, 113, host].into(), length)))
            .chain((60..=68).flat_map(|length| (0..4).map(move |n| Target::prefix(attacker_v6(n), length))))
            .chain((0..8).map(|n| Some(Target::host(attacker_v6(n)))))
            .collect::<Option<HashSet<_>>>()
            .unwrap()
            .into_iter()
            .collect();
        let mut bans: HashMap<Target, Ban> = HashMap::new();
        let mut allowed: HashSet<Target> = HashSet::new();
        for round in 0..60 {
            let changes: Vec<Change> = (0..random.below(20))
                .map(|_| {
                    let target = universe[random.below(universe.len() as u64) as usize];
                    match random.below(10) {
                        0..4 => {
                            let seconds = [None, Some(100), Some(1000)][random.below(3) as usize];
                            let ban = wanted(&target.to_string(), seconds);
                            let until = ban.until;
                            bans.insert(target, ban);
                            Change::Ban { target, id: BanId(1), until }
                        }
                        4..8 => {
                            bans.remove(&target);
                            Change::Unban(target)
                        }
                        8 => {
                            allowed.insert(target);
                            Change::Allow(target)
                        }
                        _ => {
                            allowed.remove(&target);
                            Change::Disallow(target)
                        }
                    }
                })
                .collect();
            enforcer.apply(&changes).unwrap();
            if round % 10 == 9 {
                run(Command::new("nft").args(["flush", "ruleset"]));
                let mut table = BanTable::default();
                for ban in bans.values() {
                    table.set(ban.clone());
                }
                let list: Vec<Target> = allowed.iter().copied().collect();
                let drift =
                    enforcer.reconcile(Desired { bans: &table, allowed: &list, now: Moment::now() }).unwrap();
                assert_eq!(drift.attachments, 1);
            }
            for address in (0..8).flat_map(|n| [attacker_v4(n), attacker_v6(n)]) {
                let verdict = enforcer.check(address, Moment::now()).unwrap();
                let mut expected: Vec<Target> =
                    bans.keys().copied().filter(|ban| ban.covers(address)).collect();
                expected.sort_unstable_by_key(|target| std::cmp::Reverse(target.length()));
                let pass = expected.is_empty() || allowed.iter().any(|allow| allow.covers(address));
                let actual: Vec<Target> = verdict.entries.iter().map(|entry| entry.target).collect();
                assert_eq!(actual, expected, "round {round}, {address}");
                assert_eq!(verdict.dropped, !pass, "round {round}, {address}");
            }
            let (number, address) = (round % 8, attacker_v4(round % 8));
            assert_eq!(
                passes_quickly(arena, number),
                !enforcer.check(address, Moment::now()).unwrap().dropped
            );
        }
    });
}

/// A guarded host with an enforcer on it, and attackers who can try.
fn guarded(test: impl FnOnce(&Arena, &mut Nftables) + Send) {
    skip_if!(harness::missing_for_nftables_tests());
    let arena = Arena::new();
    arena.host.enter(|| test(&arena, &mut Nftables::open(&Config::default(), "").unwrap()));
}

fn passes(arena: &Arena, number: u8) -> bool {
    pings(&arena.outside, attacker_v4(number), GUARDED_V4)
}

fn passes6(arena: &Arena, number: u8) -> bool {
    pings(&arena.outside, attacker_v6(number), GUARDED_V6)
}

/// Whether the host refuses a connection at once: a closed port answers, a dropped packet does not.
fn passes_quickly(arena: &Arena, number: u8) -> bool {
    let closed = SocketAddr::new(GUARDED_V4, 9);
    let (start, limit) = (Instant::now(), Duration::from_millis(200) * harness::patience());
    harness::connects(&arena.outside, attacker_v4(number), closed, limit);
    start.elapsed() < limit * 3 / 4
}

fn target(text: &str) -> Target {
    text.parse().unwrap()
}

fn ban(text: &str, seconds: Option<u64>) -> Change {
    Change::Ban { target: target(text), id: BanId(1), until: after(seconds) }
}

fn unban(text: &str) -> Change {
    Change::Unban(target(text))
}

fn allow(text: &str) -> Change {
    Change::Allow(target(text))
}

fn after(seconds: Option<u64>) -> Option<Moment> {
    seconds.map(|seconds| Moment::now() + Duration::from_secs(seconds))
}

fn wanted(text: &str, seconds: Option<u64>) -> Ban {
    Ban {
        id: BanId(1),
        target: target(text),
        since: Moment::now(),
        until: after(seconds),
        origin: Origin::Manual(0),
        score: Points(0),
        strike: 1,
        reason: "test".into(),
    }
}

/// Xorshift: the same steps on every run.
struct Random(u64);

impl Random {
    fn below(&mut self, limit: u64) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0 % limit
    }
}
