//! The restart of a judge from its store equals no restart: through SQLite, with everything that decides.

use proptest::prelude::*;

use super::*;
use crate::config::Adapt;
use crate::sighting::{Kind, PatternId, Sighting, SourceId};
use crate::store::Sqlite;

/// Accounts that are tried; of the last one nobody is.
const ACCOUNTS: [&str; 5] = ["root", "admin", "anna", "git", "oracle"];

/// One line: whose, what, at which account, and how long after the line before.
type Step = (u8, u8, u8, i64);

fn any_step() -> impl Strategy<Value = Step> {
    // Most are guesses: a few logins and lines of other kinds between them.
    let what = prop_oneof![12 => Just(0u8), 2 => Just(1), 1 => Just(2), 1 => Just(3), 1 => Just(4)];
    let account = prop_oneof![20 => 0..4u8, 1 => Just(4)];
    let wait = prop_oneof![4 => 0..20_000i64, 2 => 0..300_000i64, 1 => 0..7_200_000i64];
    (0..24u8, what, account, wait)
}

/// Twelve hosts in two /24, six in a /64 each of one /56, and six in one /64.
fn address(host: u8) -> IpAddr {
    match host {
        0..12 => [203, 0, 113 - host % 2, host].into(),
        12..18 => format!("2001:db8:0:10{:x}::{host:x}", host % 4).parse().unwrap(),
        _ => format!("2001:db8:1::{host:x}").parse().unwrap(),
    }
}

fn config() -> Config {
    let mut config = Config::default();
    let decide = &mut config.decide;
    (decide.prefix_hosts, decide.prefix_children) = (3, 2);
    (decide.storm_bans, decide.account_addresses, decide.adapt) = (5, 4, Adapt::Both);
    decide.decoys = vec!["oracle".into()];
    config
}

/// A judge with a store on a disk.
struct Machine {
    judge: Judge,
    folder: tempfile::TempDir,
    /// What was told, but for the lines, and what is told once in a while only.
    told: Vec<(String, Option<Target>, Value)>,
}

impl Machine {
    fn new(clock: Clock) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let judge = Self::open(folder.path(), clock);
        Self { judge, folder, told: Vec::new() }
    }

    /// A judge that knows what the store in a folder has.
    fn open(folder: &std::path::Path, clock: Clock) -> Judge {
        let (mut store, notes) = Sqlite::open(folder).unwrap();
        assert!(notes.is_empty(), "{notes:?}");
        let config = config();
        let protection = Protection::new(&config.allow, clock);
        let mut judge = Judge::new(&config, filters(), protection, &store.snapshot().unwrap(), 7, clock);
        let mut bans = Vec::new();
        store.bans(clock.wall, &mut |chunk| (bans.extend(chunk), true).1).unwrap();
        judge.restore(&bans, 0, clock);
        judge.release_presumed();
        judge.restored();
        judge.sync_allowed(clock);
        judge
    }

    fn see(&mut self, (host, what, account, _): Step, pid: u32, clock: Clock) {
        let kind = [
            Kind::FailedPassword,
            Kind::InvalidUser,
            Kind::PreauthClose,
            Kind::PasswordLogin,
            Kind::KeyLogin,
        ];
        let kind = kind[usize::from(what)];
        let sighting = Sighting {
            at: Some(clock.wall),
            address: address(host),
            kind,
            points: kind.default_points(),
            pattern: PatternId::default(),
            pid,
            port: 0,
            account: Some(ACCOUNTS[usize::from(account)].as_bytes()),
            service: b"sshd",
            request: None,
            line: b"a line",
        };
        self.judge.expire(clock);
        self.judge.sighting(&sighting, SourceId(0), Voucher::Kernel, clock);
        self.judge.live_connections(&[], clock);
        self.judge.expire_protections(clock);
    }

    /// What waits for the store, of which the events are taken note of.
    fn writes(&mut self) -> Vec<Write> {
        let writes = std::mem::take(self.judge.outcome()).writes;
        for write in &writes {
            if let Write::Event(event) = write
                && !["refuse", "doubt"].contains(&event.kind.as_str())
            {
                let mut detail: Value = serde_json::from_str(&event.detail).unwrap();
                detail.as_object_mut().unwrap().remove("lines");
                self.told.push((event.kind.clone(), event.target, detail));
            }
        }
        writes
    }

    /// The daemon ends in an orderly way, and another one begins.
    fn restart(&mut self, clock: Clock) {
        self.judge.keep(clock);
        self.judge.keep_recalled(clock);
        let writes = self.writes();
        Sqlite::open(self.folder.path()).unwrap().0.write(&writes).unwrap();
        self.judge = Self::open(self.folder.path(), clock);
    }

    /// What is known in the end: bans, scores, strikes, and who is spared.
    fn knows(&self, clock: Clock) -> impl PartialEq + std::fmt::Debug + use<> {
        let bans: Vec<_> = self.judge.bans().iter().map(crate::ban::BanRef::to_ban).collect();
        let mut bans: Vec<_> =
            bans.into_iter().map(|b| (b.target, b.since, b.until, b.score, b.strike, b.reason)).collect();
        bans.sort();
        let engine = self.judge.engine();
        let hosts = (0..24).map(address);
        let of_hosts: Vec<_> = hosts
            .map(|host| {
                let target = Target::host(host);
                let refused = self.judge.protection().refusal(target, clock.moment).is_some();
                let threshold = engine.threshold_of(target, clock.moment);
                (engine.score(host, clock.moment), threshold, engine.strikes(target, clock.moment), refused)
            })
            .collect();
        let mut logins: Vec<_> = engine.logins().collect();
        logins.sort();
        (bans, of_hosts, logins)
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, max_shrink_iters: 2000, ..ProptestConfig::default() })]

    #[test]
    fn a_restart_through_sqlite_equals_none(
        log in prop::collection::vec(any_step(), 1..160),
        restarts in prop::collection::vec(any::<prop::sample::Index>(), 1..4),
    ) {
        let restarts: Vec<usize> = restarts.iter().map(|at| at.index(log.len())).collect();
        let mut now = START;
        let (mut one, mut other) = (Machine::new(now), Machine::new(now));
        for (number, &step) in log.iter().enumerate() {
            now = Clock { wall: Wall(now.wall.0 + step.3), moment: Moment(now.moment.0 + step.3) };
            one.see(step, 1 + number as u32, now);
            other.see(step, 1 + number as u32, now);
            if restarts.contains(&number) {
                other.restart(now);
            }
        }
        one.writes();
        other.writes();
        let apart = one.told.iter().zip(&other.told).position(|(one, other)| one != other);
        if let Some(apart) = apart {
            let near = apart.saturating_sub(2)..;
            prop_assert_eq!(&one.told[near.clone()], &other.told[near], "restarts after {:?}", restarts);
        }
        prop_assert_eq!(one.told.len(), other.told.len());
        prop_assert_eq!(one.knows(now), other.knows(now));
    }
}
