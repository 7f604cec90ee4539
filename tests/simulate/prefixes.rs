//! Prefixes and hosts that are banned, allowed, taken back and ended in any order, against a set of addresses.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use guard::ban::Origin;
use guard::config::Config;
use guard::judge::{Asker, Judge, Voucher};
use guard::protect::Protection;
use guard::sighting::{Kind, PatternId, Sighting, SourceId};
use guard::store::Snapshot;
use guard::target::Target;
use guard::time::{Clock, Moment, Wall};

use crate::chance::Chance;
use crate::facts::FILTERS;
use crate::kernel::Kernel;

/// Courses that are tried.
const COURSES: u64 = 300;
/// Steps of each.
const STEPS: u64 = 60;

/// What ought to be: each target with its end.
#[derive(Debug, Default)]
struct Naive {
    bans: BTreeMap<Target, i64>,
    allowed: BTreeMap<Target, i64>,
}

impl Naive {
    fn ban(&mut self, target: Target, until: i64) {
        if !self.allowed.keys().any(|allowed| allowed.overlaps(target)) {
            let end = self.bans.entry(target).or_insert(until);
            *end = (*end).max(until);
        }
    }

    fn allow(&mut self, target: Target, until: i64) {
        self.allowed.insert(target, until);
        self.bans.retain(|ban, _| !ban.overlaps(target));
    }

    fn pass(&mut self, now: i64) {
        self.bans.retain(|_, until| *until > now);
        self.allowed.retain(|_, until| *until > now);
    }

    /// Takes over what lines have led to, of which it knows only where it must not be: hosts, and prefixes of which
    /// enough hosts were banned. Answers how many prefixes.
    fn take(&mut self, judge: &Judge) -> usize {
        let mut prefixes = 0;
        for ban in judge.bans().iter().filter(|ban| matches!(ban.origin, Origin::Filter(_) | Origin::Prefix))
        {
            let until = ban.until.expect("what lines lead to ends").0;
            assert!(!self.allowed.keys().any(|allowed| allowed.overlaps(ban.target)), "{}", ban.target);
            prefixes += usize::from(self.bans.insert(ban.target, until).is_none() && !ban.target.is_host());
        }
        prefixes
    }

    fn drops(&self, address: IpAddr) -> bool {
        self.bans.keys().any(|ban| ban.covers(address))
    }
}

/// A target among few: hosts and prefixes of both families that lie in each other.
fn any_target(chance: &mut Chance) -> Target {
    let host = chance.below(16);
    let (address, lengths): (IpAddr, &[u8]) = if chance.one_in(3) {
        let bits = (0x2001_0db8_0f00_u128 << 80) + (u128::from(host) << 62);
        (std::net::Ipv6Addr::from_bits(bits).into(), &[128, 128, 64, 62, 56, 48])
    } else {
        (std::net::Ipv4Addr::from_bits(0x2d00_0000 + (host as u32) * 16).into(), &[32, 32, 30, 28, 26, 24])
    };
    Target::prefix(address, *chance.pick(lengths)).expect("a length of the family")
}

/// Ten hosts of the IPv4 prefix guess a password, one after the other, until that is a ban.
fn guesses(judge: &mut Judge, chance: &mut Chance, clock: Clock) {
    let first = chance.below(246) as u32;
    for host in 0..10 {
        for _ in 0..5 {
            let guess = Sighting {
                at: None,
                address: std::net::Ipv4Addr::from_bits(0x2d00_0000 + first + host).into(),
                kind: Kind::FailedPassword,
                points: Kind::FailedPassword.default_points(),
                pattern: PatternId::default(),
                pid: chance.below(1 << 30) as u32,
                port: 0,
                account: None,
                service: b"sshd",
                request: None,
                line: b"a line",
            };
            judge.sighting(&guess, SourceId(0), Voucher::Kernel, clock);
        }
    }
}

#[test]
fn bans_and_allowances_in_any_order_are_a_set_of_addresses() {
    let mut prefixes = 0;
    for seed in 0..COURSES {
        let mut chance = Chance::new(seed, "prefixes");
        let clock = |now: i64| Clock { wall: Wall(1_795_176_000_000 + now), moment: Moment(now) };
        let mut config = Config::default();
        config.allow.private = false;
        let protection = Protection::new(&config.allow, clock(0));
        let mut judge =
            Judge::new(&config, FILTERS.clone(), protection, &Snapshot::default(), seed, clock(0));
        judge.restored();
        let (mut naive, mut kernel, mut now) = (Naive::default(), Kernel::default(), 0);
        let asker = Asker { uid: 0, from: BTreeSet::new(), force: false };
        for step in 0..STEPS {
            now += chance.within(0..=40_000);
            naive.pass(now);
            judge.expire(clock(now));
            judge.expire_protections(clock(now));
            let target = any_target(&mut chance);
            let seconds = chance.within(1..=300) as u64;
            let until = now + seconds as i64 * 1000;
            let length = Some(Duration::from_secs(seconds));
            match chance.below(11) {
                10 => guesses(&mut judge, &mut chance, clock(now)),
                0..5 => {
                    let _ = judge.ban(target, length, None, &asker, clock(now));
                    naive.ban(target, until);
                }
                5 => {
                    let _ = judge.unban(target, 0, clock(now));
                    naive.bans.remove(&target);
                }
                6 | 7 => {
                    judge.allow(&[target], length, "", 0, clock(now));
                    naive.allow(target, until);
                }
                8 => {
                    let _ = judge.disallow(target, 0, clock(now));
                    naive.allowed.remove(&target);
                    judge.sync_allowed(clock(now));
                }
                _ => {
                    judge.unban_all(0, clock(now));
                    naive.bans.clear();
                }
            }
            prefixes += naive.take(&judge);
            kernel.take(&std::mem::take(&mut judge.outcome().changes));
            let table: Vec<Target> =
                judge.bans().page(None, usize::MAX).iter().map(|ban| ban.target).collect();
            let wanted: Vec<Target> = naive.bans.keys().copied().collect();
            assert_eq!(table, wanted, "seed {seed}, step {step}");
            for host in 0..256u32 {
                let v4 = IpAddr::from((0x2d00_0000 + host).to_be_bytes());
                let v6 =
                    std::net::Ipv6Addr::from_bits((0x2001_0db8_0f00_u128 << 80) + (u128::from(host) << 62));
                for address in [v4, v6.into()] {
                    let dropped = kernel.drops(address, Moment(now));
                    assert_eq!(dropped, naive.drops(address), "seed {seed}, step {step}: {address}");
                }
            }
        }
    }
    assert!(prefixes > COURSES as usize / 2, "hosts have led to {prefixes} prefixes");
}
