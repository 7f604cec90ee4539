//! What cannot be brought about from outside: old kernels, small sockets, changes by others at the wrong moment.

#![allow(unsafe_code, reason = "rustix marks every use of unshare unsafe because of one flag")]

use super::reading::read;
use super::*;
use crate::ban::{Ban, BanId, BanTable};
use crate::target::Target;
use batch::Verb;
use elements::Element;

/// How kernels before 6.12 are served, on whatever kernel this is.
#[test]
fn replacing_renews_as_well() {
    alone(|enforcer| {
        enforcer.renewal = Renewal::Replace;
        let target: Target = "192.0.2.0/24".parse().unwrap();
        for seconds in [Some(100), Some(500), Some(500), None, Some(50)] {
            let until = seconds.map(|seconds| Moment::now() + Duration::from_secs(seconds));
            enforcer.apply(&[Change::Ban { target, id: BanId(1), until }]).unwrap();
            let verdict = enforcer.check([192, 0, 2, 9].into(), Moment::now()).unwrap();
            assert!(verdict.dropped);
            let left = verdict.entries[0].seconds_left;
            assert_eq!(left.map(|left| left.div_ceil(10) * 10), seconds);
        }
        enforcer.apply(&[Change::Unban(target)]).unwrap();
        assert!(!enforcer.check([192, 0, 2, 9].into(), Moment::now()).unwrap().dropped);
    });
}

/// The comment says at any time what the last change did, however renewals are made.
#[test]
fn an_element_tells_whether_its_ban_was_forced() {
    alone(|enforcer| {
        let target = address(1);
        let mut bans = BanTable::default();
        for renewal in [Renewal::InPlace, Renewal::Replace] {
            enforcer.renewal = renewal;
            for id in [BanId(1), BanId(2).forced(), BanId(3).forced(), BanId(4), BanId(5)] {
                enforcer.apply(&[Change::Ban { target, id, until: None }]).unwrap();
                let told = BanId(enforcer.live().unwrap()[0].id);
                assert_eq!(told.is_forced(), id.is_forced(), "{renewal:?}");
            }
            let reconciled = [(BanId(5), 0), (BanId(6).forced(), 1), (BanId(7), 1), (BanId(8).forced(), 1)];
            for (id, changed) in reconciled {
                enforcer.known = None;
                enforcer.read.may = Instant::now();
                bans.set(Ban { id, until: None, ..ban(1) });
                let desired = Desired { bans: &bans, allowed: &[], now: Moment::now() };
                assert_eq!(enforcer.reconcile(desired).unwrap(), Drift { changed, ..Drift::default() });
                let told = BanId(enforcer.live().unwrap()[0].id);
                assert_eq!(told.is_forced(), id.is_forced(), "{renewal:?}");
            }
            enforcer.apply(&[Change::Unban(target)]).unwrap();
        }
        // So does the comment of an earlier run, once it has been read.
        enforcer.apply(&[Change::Ban { target, id: BanId(8).forced(), until: None }]).unwrap();
        let mut next = Nftables::open(&Config::default(), "").unwrap();
        next.reconcile(desired(&bans)).unwrap();
        next.apply(&[Change::Ban { target, id: BanId(9), until: None }]).unwrap();
        assert!(!BanId(next.live().unwrap()[0].id).is_forced());
    });
}

#[test]
fn what_does_not_fit_the_socket_is_sent_in_parts() {
    alone(|enforcer| {
        // The least the kernel gives is a few KiB: some 50 elements.
        enforcer.live.netlink.ask_for_room(1).unwrap();
        for renewal in [Renewal::InPlace, Renewal::Replace] {
            enforcer.renewal = renewal;
            enforcer.apply(&(0..3000).map(host).collect::<Vec<_>>()).unwrap();
            assert_eq!(enforcer.live().unwrap().len(), 3000);
        }
        enforcer.apply(&(0..3000).map(|n| Change::Unban(address(n))).collect::<Vec<_>>()).unwrap();
        assert_eq!(enforcer.live().unwrap().len(), 0);
    });
}

#[test]
fn a_change_by_others_between_ours_is_noticed() {
    alone(|enforcer| {
        let none = BanTable::default();
        let desired = || Desired { bans: &none, allowed: &[], now: Moment::now() };
        enforcer.reconcile(desired()).unwrap();
        assert!(enforcer.known.is_some());
        enforcer.apply(&[host(1)]).unwrap();
        enforcer.apply(&[Change::Ban { target: address(2), id: BanId(1), until: None }]).unwrap();
        let known = enforcer.known;
        assert!(known.is_some(), "nobody else was there");

        // What is there already needs no change, and may leave the generation as it is.
        enforcer.apply(&[Change::Ban { target: address(2), id: BanId(1), until: None }]).unwrap();
        assert_eq!(enforcer.known, Some(enforcer.live.generation().unwrap()));

        let mut others = Live::open("other").unwrap();
        let mut batch = Batch::new();
        batch.message(Verb::NewTable, |table| table.text(1, "other"));
        others.transact(&mut batch, None).unwrap();
        enforcer.apply(&[host(3)]).unwrap();
        assert_eq!(enforcer.known, None, "everything is to be compared");
        assert_eq!(enforcer.live().unwrap().len(), 3, "the change took effect");
    });
}

#[test]
fn a_change_to_a_table_that_is_gone_fails_and_the_reconciliation_repeats_it() {
    alone(|enforcer| {
        let mut bans = BanTable::default();
        assert!(nftables_remove("guard").unwrap());
        let error = enforcer.apply(&[host(1)]).unwrap_err();
        let EnforceError::Transient { source, .. } = error else { panic!("{error}") };
        assert_eq!(source.raw_os_error(), Some(libc::ENOENT));

        bans.set(ban(1));
        let drift = enforcer.reconcile(Desired { bans: &bans, allowed: &[], now: Moment::now() }).unwrap();
        assert_eq!((drift.attachments, drift.missing), (1, 1));
        assert!(enforcer.check(address(1).address(), Moment::now()).unwrap().dropped);
    });
}

#[test]
fn a_change_that_fails_is_repeated_by_the_next_reconciliation_whether_it_compares_already_or_not() {
    alone(|enforcer| {
        let mut bans = BanTable::default();
        for (n, is_comparing) in [(1, false), (2, true)] {
            all_compared_a_moment_ago(enforcer, &bans);
            if is_comparing {
                enforcer.begin_round().unwrap();
            }
            let table = std::mem::replace(&mut enforcer.table, "no_such_table".into());
            enforcer.apply(&[host(n)]).unwrap_err();
            enforcer.table = table;
            bans.set(ban(n));
            let drift = enforcer.reconcile(desired(&bans)).unwrap();
            assert_eq!(drift, Drift { missing: 1, ..Drift::default() }, "comparing: {is_comparing}");
            assert!(enforcer.check(address(n).address(), Moment::now()).unwrap().dropped);
        }
    });
}

#[test]
fn a_comparison_without_a_result_leaves_what_it_was_begun_for_to_the_next_one() {
    alone(|enforcer| {
        let mut bans = BanTable::default();
        bans.set(ban(1));
        // The thread cannot read; or there were so many changes that the comparison is given up.
        for is_too_busy in [false, true] {
            enforcer.apply(&[host(1)]).unwrap();
            all_compared_a_moment_ago(enforcer, &bans);
            flush_by_others();
            enforcer.read.may = Instant::now();
            if is_too_busy {
                assert!(enforcer.begin_if_due().unwrap());
                // None of these is in a set that is there, so the kernel is spared them.
                let networks = (0..=1 << 17).map(|n| std::net::Ipv4Addr::from(0x0a00_0000 + 2 * n).into());
                let many: Vec<Change> =
                    networks.filter_map(|network| Target::prefix(network, 31)).map(Change::Unban).collect();
                enforcer.apply(&many).unwrap();
            } else {
                // No table can have this name.
                let table = std::mem::replace(&mut enforcer.table, "x".repeat(300));
                enforcer.reconcile(desired(&bans)).unwrap_err();
                enforcer.table = table;
            }
            let drift = enforcer.reconcile(desired(&bans)).unwrap();
            assert_eq!(drift, Drift { missing: 1, ..Drift::default() }, "too busy: {is_too_busy}");
        }
    });
}

/// A set that is needed cannot be added to a table that others have made theirs: it is made anew, without its elements.
#[test]
fn a_table_that_was_made_anew_gets_its_bans_back_at_once() {
    alone(|enforcer| {
        let mut bans = BanTable::default();
        bans.set(ban(1));
        enforcer.apply(&[host(1)]).unwrap();
        all_compared_a_moment_ago(enforcer, &bans);
        let mut batch = Batch::new();
        skeleton::delete(&mut batch, "guard");
        batch.message(Verb::NewTable, |table| table.text(1, "guard"));
        // NF_INET_LOCAL_IN
        let hook = |hook: attributes::Attributes| hook.u32(1, 1).u32(2, 0);
        batch.message(Verb::NewChain, |chain| {
            chain.text(1, "guard").text(3, skeleton::HOOK_CHAIN).text(7, "filter").nested(4, hook)
        });
        Live::open("guard").unwrap().transact(&mut batch, None).unwrap();
        let network = Ban { target: "192.0.2.0/31".parse().unwrap(), ..ban(2) };
        enforcer
            .apply(&[Change::Ban { target: network.target, id: network.id, until: network.until }])
            .unwrap();
        bans.set(network);
        assert_eq!(enforcer.live().unwrap().len(), 1);
        assert_eq!(enforcer.reconcile(desired(&bans)).unwrap().missing, 1);
        assert_eq!(enforcer.live().unwrap().len(), 2);
    });
}

#[test]
fn reading_ends_when_nobody_waits_for_it_any_more() {
    alone(|enforcer| {
        enforcer.apply(&(0..20_000).map(host).collect::<Vec<_>>()).unwrap();
        let sets = enforcer.structure.sets.clone();
        let asked_until = |last: usize| {
            let mut asked = 0;
            let elements = read("guard", &sets, || {
                asked += 1;
                asked < last
            });
            (elements.unwrap().map(|elements| elements.all.len()), asked)
        };
        assert_eq!(asked_until(3), (None, 3), "it does not go on");
        let (read, asked) = asked_until(usize::MAX);
        assert!(read == Some(20_000) && asked > 10, "{read:?}, {asked} times");
    });
}

#[test]
fn a_transaction_takes_effect_whole_or_not_at_all() {
    alone(|enforcer| {
        let mut batch = Batch::new();
        let there = [Element::plain(address(1), None)];
        elements::put(&mut batch, "guard", Set::BASE[0], &there, Renewal::InPlace);
        batch.message(Verb::DeleteSet, |message| message.text(1, "guard").text(2, "ban6_64"));
        let error = enforcer.live.transact(&mut batch, None).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::EBUSY), "a rule looks the set up");
        assert!(enforcer.live().unwrap().is_empty());

        let generation = enforcer.live.generation().unwrap();
        let mut batch = Batch::new();
        elements::put(&mut batch, "guard", Set::BASE[0], &there, Renewal::InPlace);
        let error = enforcer.live.transact(&mut batch, Some(generation.wrapping_add(1))).unwrap_err();
        assert_eq!(error.raw_os_error(), Some(libc::ERESTART));
        assert!(enforcer.live().unwrap().is_empty());
        enforcer.live.transact(&mut batch, Some(generation)).unwrap();
        assert_eq!(enforcer.live().unwrap().len(), 1);
    });
}

#[test]
fn more_complaints_than_the_socket_holds_are_a_failure() {
    alone(|enforcer| {
        let mut batch = Batch::new();
        for _ in 0..4000 {
            batch.message(Verb::DeleteSet, |message| message.text(1, "guard").text(2, "no_such_set"));
        }
        let error = enforcer.live.transact(&mut batch, None).unwrap_err();
        assert!(matches!(error.raw_os_error(), Some(libc::ENOENT | libc::ENOBUFS)), "{error}");
        // What was left unread does not mix with what comes next.
        enforcer.apply(&[host(1)]).unwrap();
        assert_eq!(enforcer.live().unwrap().len(), 1);
    });
}

/// Runs with an enforcer in a network namespace of its own, where one can be made.
fn alone(test: impl FnOnce(&mut Nftables) + Send) {
    if let Some(reason) = harness::missing_for_namespaces() {
        return harness::skip(&reason);
    }
    std::thread::scope(|scope| {
        let inside = scope.spawn(|| {
            let flags = rustix::thread::UnshareFlags::NEWNET;
            // SAFETY: the function is unsafe because of `UnshareFlags::FILES`, which is not given.
            unsafe { rustix::thread::unshare_unsafe(flags) }.unwrap();
            test(&mut Nftables::open(&Config::default(), "").unwrap());
        });
        inside.join().unwrap();
    });
}

/// Everything was compared, and need not be again for a long time.
fn all_compared_a_moment_ago(enforcer: &mut Nftables, bans: &BanTable) {
    enforcer.read.may = Instant::now();
    enforcer.known = None;
    enforcer.reconcile(desired(bans)).unwrap();
    assert!(enforcer.known.is_some());
    let later = Instant::now() + Duration::from_secs(3600);
    enforcer.read = Schedule { may: later, must: later };
}

fn flush_by_others() {
    let mut batch = Batch::new();
    elements::take(&mut batch, "guard", Set::BASE[0], &[Element::plain(address(1), None)]);
    Live::open("guard").unwrap().transact(&mut batch, None).unwrap();
}

fn desired(bans: &BanTable) -> Desired<'_> {
    Desired { bans, allowed: &[], now: Moment::now() }
}

fn address(n: u32) -> Target {
    Target::host(std::net::Ipv4Addr::from(0x0a00_0000 + n).into())
}

fn host(n: u32) -> Change {
    let Ban { id, target, until, .. } = ban(n);
    Change::Ban { target, id, until }
}

fn ban(n: u32) -> Ban {
    let now = Moment::now();
    Ban {
        id: BanId(1),
        target: address(n),
        since: now,
        until: Some(now + Duration::from_secs(1000)),
        origin: crate::ban::Origin::Manual(0),
        score: crate::sighting::Points(0),
        strike: 1,
        reason: "test".into(),
    }
}
