//! What cannot be brought about from outside: old kernels, small sockets, changes by others at the wrong moment.

#![allow(unsafe_code, reason = "rustix marks every use of unshare unsafe because of one flag")]

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
            for id in [BanId(1), BanId(2).forced(), BanId(3).forced()] {
                enforcer.apply(&[Change::Ban { target, id, until: None }]).unwrap();
                let told = BanId(enforcer.live().unwrap()[0].id);
                assert_eq!(told.is_forced(), id.is_forced(), "{renewal:?}");
            }
            for (id, changed) in [(BanId(3).forced(), 0), (BanId(4), 1), (BanId(5).forced(), 1)] {
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
