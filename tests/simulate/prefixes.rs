//! Prefixes and hosts that are banned, allowed, taken back and ended in any order, by people and by lines that lead from
//! hosts to their prefixes, against a set of addresses that knows what ought to come of it.

use std::collections::{BTreeMap, BTreeSet};
use std::net::IpAddr;
use std::time::Duration;

use guard::config::Config;
use guard::judge::{Asker, Judge, Voucher};
use guard::protect::Protection;
use guard::sighting::{Kind, PatternId, Points, Sighting, SourceId};
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

/// Hosts, or prefixes, that are enough for a prefix of hosts, and of prefixes, and addresses that fail in a /64.
const HOSTS: usize = 3;
const CHILDREN: usize = 2;
const FAILING: usize = 2 * HOSTS;
/// For how long, in seconds, what lines lead to is banned: a host, a prefix.
const HOST_LENGTH: u64 = 900;
const PREFIX_LENGTH: u64 = 600;
/// Within how many seconds hosts make a prefix.
const WITHIN: i64 = 300;

/// Who was seen in a prefix, and in which second last.
type Crowd = BTreeMap<Target, BTreeMap<Target, i64>>;

/// What ought to be: each target with its end, and what may yet make prefixes.
#[derive(Debug, Default)]
struct Naive {
    bans: BTreeMap<Target, i64>,
    allowed: BTreeMap<Target, i64>,
    banned: Crowd,
    failing: Crowd,
    /// Prefixes that were banned, by their lengths.
    prefixes: BTreeMap<u8, usize>,
}

/// The prefix that a host or prefix is counted in.
fn parent(target: Target) -> Option<Target> {
    let wider = match (target.address().is_ipv4(), target.length()) {
        (true, 32) => 24,
        (false, 128) => 64,
        (false, 64) => 56,
        (false, 56) => 48,
        _ => return None,
    };
    Target::prefix(target.address(), wider)
}

/// A member was seen; the prefix that has enough of them lately, and begins anew with that.
fn crowd(all: &mut Crowd, member: Target, enough: usize, within: i64, now: i64) -> Option<Target> {
    let (prefix, second) = (parent(member)?, now / 1000);
    let members = all.entry(prefix).or_default();
    members.insert(member, second);
    if members.values().filter(|seen| second - **seen <= within).count() < enough {
        return None;
    }
    members.clear();
    Some(prefix)
}

impl Naive {
    fn ban(&mut self, target: Target, until: i64) {
        if !self.is_allowed(target) {
            let end = self.bans.entry(target).or_insert(until);
            *end = (*end).max(until);
        }
    }

    fn is_allowed(&self, target: Target) -> bool {
        self.allowed.keys().any(|allowed| allowed.overlaps(target))
    }

    fn allow(&mut self, target: Target, until: i64) {
        self.allowed.insert(target, until);
        self.bans.retain(|ban, _| !ban.overlaps(target));
    }

    fn pass(&mut self, now: i64) {
        self.bans.retain(|_, until| *until > now);
        self.allowed.retain(|_, until| *until > now);
    }

    /// A host has guessed five times.
    fn guess(&mut self, host: Target, now: i64) {
        for guess in 1..=5 {
            let failing = if host.address().is_ipv6() {
                crowd(&mut self.failing, host, FAILING, WITHIN, now)
            } else {
                None
            };
            if guess == 5 {
                self.lead_to(host, now);
            }
            if let Some(prefix) = failing {
                self.lead_to(prefix, now);
            }
        }
    }

    /// Lines have led to a target, which may lead to its prefix in turn. What is in a ban is not banned once more.
    fn lead_to(&mut self, target: Target, now: i64) {
        let covers = |ban: &Target| ban.length() <= target.length() && ban.covers(target.address());
        if self.bans.keys().any(covers) || self.is_allowed(target) {
            return;
        }
        let is_host = target.is_host();
        let length = if is_host { HOST_LENGTH } else { PREFIX_LENGTH };
        self.bans.insert(target, now + length as i64 * 1000);
        *self.prefixes.entry(target.length()).or_default() += 1;
        let (enough, within) = if is_host { (HOSTS, WITHIN) } else { (CHILDREN, PREFIX_LENGTH as i64) };
        if let Some(prefix) = crowd(&mut self.banned, target, enough, within, now) {
            self.lead_to(prefix, now);
        }
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

/// The /64 that hosts guess from: of three /56 of one /48.
const NETS: [u128; 6] = [0, 1, 2, 0x100, 0x101, 0x200];

/// A host of one of them.
fn host_of(net: u128, host: u64) -> IpAddr {
    std::net::Ipv6Addr::from_bits((0x2001_0db8_0f00_u128 << 80) + (net << 64) + u128::from(host)).into()
}

/// Some hosts that lie near each other guess a password, one after the other, until that is a ban.
fn guesses(judge: &mut Judge, naive: &mut Naive, chance: &mut Chance, clock: Clock) {
    let hosts = chance.within(1..=4) as u64;
    let (first, net) = (chance.below(8), *chance.pick(&NETS));
    let is_ipv6 = chance.one_in(2);
    for host in first..first + hosts {
        let address = if is_ipv6 {
            host_of(net, host)
        } else {
            std::net::Ipv4Addr::from_bits(0x2d00_0000 + host as u32 * 16).into()
        };
        for _ in 0..5 {
            let guess = Sighting {
                at: None,
                address,
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
        naive.guess(Target::host(address), clock.moment.0);
    }
}

/// Every target has the same end whenever lines lead to it, so that it can be told beforehand.
fn config() -> Config {
    let mut config = Config::default();
    config.allow.private = false;
    let decide = &mut config.decide;
    (decide.prefix_hosts, decide.prefix_children, decide.storm_bans) = (HOSTS, CHILDREN, 0);
    decide.prefix_within = Duration::from_secs(WITHIN as u64);
    decide.prefix_length = Duration::from_secs(PREFIX_LENGTH);
    decide.ladder = vec![Some(Duration::from_secs(HOST_LENGTH))];
    (decide.jitter_permille, decide.recidive_bans) = (0, 0);
    decide.known_offender = Points(0);
    config
}

#[test]
fn bans_and_allowances_in_any_order_are_a_set_of_addresses() {
    let mut prefixes = BTreeMap::<u8, usize>::new();
    for seed in 0..COURSES {
        let mut chance = Chance::new(seed, "prefixes");
        let clock = |now: i64| Clock { wall: Wall(1_795_176_000_000 + now), moment: Moment(now) };
        let config = config();
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
            match chance.below(18) {
                10.. => guesses(&mut judge, &mut naive, &mut chance, clock(now)),
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
                9 if chance.one_in(4) => {
                    judge.unban_all(0, clock(now));
                    naive.bans.clear();
                }
                _ => {}
            }
            kernel.take(&std::mem::take(&mut judge.outcome().changes));
            let bans = judge.bans().page(None, usize::MAX);
            let end = |until: Option<Moment>| until.expect("all of them end").0;
            let table: Vec<_> = bans.iter().map(|ban| (ban.target, end(ban.until))).collect();
            let wanted: Vec<_> = naive.bans.iter().map(|(target, until)| (*target, *until)).collect();
            assert_eq!(table, wanted, "seed {seed}, step {step}");
            let nets = NETS.iter().flat_map(|net| [0, 5, 99].map(|host| host_of(*net, host)));
            for address in nets.chain([host_of(0x8000, 1), host_of(1 << 16, 1)]) {
                let dropped = kernel.drops(address, Moment(now));
                assert_eq!(dropped, naive.drops(address), "seed {seed}, step {step}: {address}");
            }
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
        for (length, count) in naive.prefixes {
            *prefixes.entry(length).or_default() += count;
        }
    }
    let led_to = |length| prefixes.get(&length).copied().unwrap_or(0);
    let all = [24, 64, 56, 48].map(led_to);
    assert!(all.iter().all(|led_to| *led_to > 30), "/24, /64, /56 and /48: {all:?}");
}
