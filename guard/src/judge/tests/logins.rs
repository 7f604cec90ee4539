//! Logins by key and their sessions: what tells of them is believed as far as it can be, and the store keeps them.

use super::*;
use serde_json::{Value, json};

use crate::protect::Connection;
use crate::sighting::{Kind, PatternId, Sighting, SourceId};
use crate::store::{EventQuery, StoredAllow};

const OWNER: &str = "203.0.113.7";
const PORT: u16 = 50_122;

fn owner() -> IpAddr {
    OWNER.parse().unwrap()
}

fn session() -> Connection {
    Connection { local_port: 22, peer: owner(), peer_port: PORT }
}

/// A line of sshd about the owner's port.
fn line(kind: Kind) -> Sighting<'static> {
    Sighting {
        at: None,
        address: owner(),
        kind,
        points: kind.default_points(),
        pattern: PatternId::default(),
        pid: 0,
        port: PORT,
        account: Some(b"root"),
        service: b"sshd",
        request: None,
        line: b"a line",
    }
}

impl World {
    fn tell(&mut self, kind: Kind, voucher: Voucher<'_>, clock: Clock) {
        self.judge.sighting(&line(kind), SourceId(0), voucher, clock);
        self.settle();
    }

    /// Sessions are looked at: the owner's is there or not.
    fn look(&mut self, is_there: bool, clock: Clock) {
        let connections = if is_there { vec![session()] } else { Vec::new() };
        self.judge.live_connections(&connections, clock);
        self.judge.expire_protections(clock);
        self.settle();
    }

    fn is_refused(&mut self, clock: Clock) -> bool {
        self.judge.protection().refusal(target(OWNER), clock.moment).is_some()
    }

    /// Ten hosts beside the owner, of each the failures that ban it; whether that bans their prefix.
    fn bans_prefix(&mut self, clock: Clock) -> bool {
        for host in 0..10u8 {
            let address = IpAddr::from([203, 0, 113, 100 + host]);
            for pid in 1..=5 {
                let failure = Sighting { address, pid, port: 0, ..line(Kind::FailedPassword) };
                self.judge.sighting(&failure, SourceId(0), Voucher::Kernel, clock);
            }
        }
        self.settle();
        assert!(self.banned.contains(&target("203.0.113.105")));
        self.banned.contains(&target("203.0.113.0/24"))
    }

    /// What comes after each batch of lines: all of it is one transaction.
    fn keep(&mut self, clock: Clock) {
        self.judge.keep(clock);
        self.settle();
    }

    fn stored(&mut self) -> Vec<StoredAllow> {
        self.store.snapshot().unwrap().allowed
    }
}

/// Past the time that a login by key protects by itself.
const LATER: i64 = 30 * 24 * 3600;

#[test]
fn what_anybody_can_write_into_a_file_ends_no_session() {
    let forged = Voucher::Sockets(&|_, _| Some(true));
    let mut world = World::new(&[]);
    world.tell(Kind::KeyLogin, Voucher::Kernel, START);
    world.look(true, after(LATER));
    world.tell(Kind::SessionEnd, forged, after(LATER + 1));
    world.tell(Kind::PasswordLogin, forged, after(LATER + 2));
    world.judge.recorded_logins(&[owner()].into(), &[session()]);
    world.look(true, after(LATER + 3));
    assert!(world.is_refused(after(LATER + 3)));
    // A record of the owner's other session is not spoiled either, as long as the port is that of a session.
    world.tell(Kind::SessionEnd, Voucher::Kernel, after(LATER + 4));
    assert!(world.is_refused(after(LATER + 4)), "by the record");
    world.judge.recorded_logins(&[].into(), &[session()]);
    // The kernel's word would end it at once: what is left is the time that the store was told.
    world.look(false, after(2 * LATER));
    assert!(!world.is_refused(after(2 * LATER)));
}

#[test]
fn a_login_that_a_file_tells_of_is_believed_if_its_connection_exists_or_cannot_be_looked_for() {
    for (answer, believed) in [(Some(true), true), (None, true), (Some(false), false)] {
        let mut world = World::new(&[]);
        world.tell(Kind::KeyLogin, Voucher::Sockets(&|_, _| answer), START);
        assert_eq!(world.is_refused(after(1)), believed, "{answer:?}");
    }
}

#[test]
fn the_store_keeps_a_login_as_long_as_it_protects_or_its_session_lives() {
    let mut world = World::new(&[]);
    world.tell(Kind::KeyLogin, Voucher::Kernel, START);
    assert_eq!(world.stored().len(), 1);
    // The session outlasts its time, and a restart.
    world.look(true, after(LATER));
    let kept = world.stored();
    assert_eq!(kept_logins(&kept, after(LATER + 1).wall), [owner()].into());
    let mut world = World::start(world.config, world.store, after(LATER + 1));
    assert!(world.is_refused(after(LATER + 1)), "until it is known which connections are sessions");
    world.judge.protection_mut().found_session(owner(), PORT, after(LATER + 1).moment);
    world.look(true, after(2 * LATER));
    assert!(world.is_refused(after(2 * LATER)));
    assert_eq!(world.stored().len(), 1, "the next restart is to know it too");

    world.look(false, after(3 * LATER));
    assert!(!world.is_refused(after(3 * LATER)));
    assert_eq!(world.stored(), []);
    let events = world.store.events(&EventQuery::default()).unwrap().events;
    assert!(events.iter().all(|kept| kept.event.kind != "disallow"), "nobody had allowed it: {events:?}");
}

#[test]
fn a_store_that_lost_writes_is_told_of_logins_and_what_a_person_takes_back_leaves_them() {
    let mut world = World::new(&[]);
    world.tell(Kind::KeyLogin, Voucher::Kernel, START);
    let login = world.stored();
    let everything = world.judge.everything(after(1));
    let mut other = Memory::new();
    other.write(&everything).unwrap();
    assert_eq!(other.snapshot().unwrap().allowed, login);

    world.judge.allow(&[target(OWNER)], None, "office", 0, after(2));
    world.settle();
    assert_eq!(world.stored()[0].comment, "office");
    world.judge.disallow(target(OWNER), 0, after(3)).unwrap();
    world.settle();
    assert_eq!(world.stored(), login);
}

#[test]
fn logins_that_are_not_believed_are_one_event_in_a_quarter_of_an_hour() {
    let mut world = World::new(&[]);
    for second in 0..1000 {
        world.tell(Kind::KeyLogin, Voucher::Sockets(&|_, _| Some(false)), after(second));
        world.judge.expire(after(second));
    }
    world.settle();
    let query = EventQuery { kinds: vec!["doubt".into()], ..EventQuery::default() };
    let told = world.store.events(&query).unwrap().events;
    let told: Vec<&str> = told.iter().map(|stored| stored.event.detail.as_str()).collect();
    assert_eq!(told.len(), 2, "{told:?}");
    assert!(told[0].contains("\"times\":900") && !told[1].contains("times"), "{told:?}");
}

#[test]
fn a_login_outlives_a_crash() {
    let mut world = World::new(&[]);
    assert!(world.bans_prefix(START), "nobody logs in from there");
    for kind in [Kind::PasswordLogin, Kind::KeyLogin] {
        let mut world = World::new(&[]);
        world.judge.keep_recalled(START);
        world.tell(kind, Voucher::Kernel, START);
        world.keep(START);
        // Past the hour for which a key protects.
        let mut world = World::start(world.config, world.store, after(2 * 3600));
        assert!(!world.bans_prefix(after(2 * 3600)), "{kind:?}");
    }
}

#[test]
fn logins_of_long_ago_leave_the_store_and_one_that_lost_writes_is_told_of_the_others() {
    let mut world = World::new(&[]);
    world.tell(Kind::PasswordLogin, Voucher::Kernel, START);
    world.keep(START);
    let kept = world.store.snapshot().unwrap().logins;
    assert_eq!(kept.len(), 1);
    let mut other = Memory::new();
    other.replace(&world.judge.everything(after(1))).unwrap();
    assert_eq!(other.snapshot().unwrap().logins, kept);

    let mut world = World::start(world.config, world.store, after(25 * 3600));
    world.settle();
    assert_eq!(world.store.snapshot().unwrap().logins, []);
}

#[test]
fn who_stays_logged_in_is_remembered_for_a_day_after_he_has_gone() {
    let mut world = World::new(&[]);
    world.tell(Kind::PasswordLogin, Voucher::Kernel, START);
    for hour in 0..72 {
        world.judge.live_connections(&[session()], after(hour * 3600));
        world.judge.recorded_logins(&[].into(), &[session()]);
    }
    world.keep(after(72 * 3600));
    let mut world = World::start(world.config, world.store, after(90 * 3600));
    assert!(!world.bans_prefix(after(90 * 3600)));
    let later = after(72 * 3600 + 25 * 3600);
    let mut world = World::start(world.config, world.store, later);
    assert!(world.bans_prefix(later));
}

#[test]
fn a_login_that_is_doubted_clears_nothing_and_spares_nobody() {
    let forged = Voucher::Sockets(&|_, _| Some(false));
    for kind in [Kind::KeyLogin, Kind::PasswordLogin] {
        let mut world = World::new(&[]);
        for pid in 1..=5 {
            world.tell(kind, forged, START);
            let failure = Sighting { pid, port: 0, ..line(Kind::FailedPassword) };
            world.judge.sighting(&failure, SourceId(0), forged, START);
        }
        world.settle();
        assert!(world.drops(OWNER), "{kind:?}");
        assert!(world.bans_prefix(START), "{kind:?}");
        let doubts = EventQuery { kinds: vec!["doubt".into()], ..EventQuery::default() };
        assert_eq!(world.store.events(&doubts).unwrap().events.len(), 1, "{kind:?}");
    }
}

/// A local user writes into the log as often as he likes.
#[test]
fn incidents_that_only_a_log_file_tells_of_do_not_fill_the_history() {
    let forged = Voucher::Sockets(&|_, _| Some(false));
    let mut world = World::new(&[]);
    for pid in 1..=4 {
        let failure = Sighting { pid, port: 0, ..line(Kind::FailedPassword) };
        world.judge.sighting(&failure, SourceId(0), forged, START);
    }
    for _ in 0..200 {
        world.tell(Kind::PasswordLogin, forged, START);
    }
    let incidents = EventQuery { kinds: vec!["incident".into()], ..EventQuery::default() };
    let told = |world: &mut World| world.store.events(&incidents).unwrap().events;
    assert_eq!(told(&mut world).len(), 1);
    world.judge.tell_all_repeats(START);
    world.settle();
    let times: Vec<_> = told(&mut world)
        .iter()
        .map(|kept| {
            let detail: Value = serde_json::from_str(&kept.event.detail).unwrap();
            detail["times"].as_u64()
        })
        .collect();
    assert_eq!(times, [Some(199), None], "with their number");
}

/// Accounts are told apart by a seed that is kept elsewhere than logins.
#[test]
fn logins_of_another_seed_tell_no_accounts_apart() {
    let mut world = World::new(&[]);
    world.tell(Kind::PasswordLogin, Voucher::Kernel, START);
    world.judge.keep_recalled(START);
    world.keep(START);
    let accounts =
        |world: &World| world.judge.engine.logins().map(|login| login.accounts.0).collect::<Vec<_>>();
    let [known] = accounts(&world)[..] else { panic!("one login") };
    assert_ne!(known, 0);
    let mut world = World::start(world.config, world.store, after(60));
    assert_eq!(accounts(&world), [known]);
    world.keep(after(60));
    world.store.write(&[Write::Engine(Box::new([0; 8]))]).unwrap();
    let mut world = World::start(world.config, world.store, after(120));
    assert_eq!(accounts(&world), [0], "nothing is known of them");
    assert!(!world.bans_prefix(after(120)), "and yet somebody has logged in from there");
}

#[test]
fn a_login_at_a_service_without_sessions_is_not_doubted() {
    let mut world = World::new(&[]);
    let pattern = PatternId { filter: 7, pattern: 0 };
    let login = Sighting { pattern, ..line(Kind::PasswordLogin) };
    world.judge.sighting(&login, SourceId(0), Voucher::Sockets(&|_, _| Some(false)), START);
    assert!(!world.bans_prefix(START));
    // Nor does it say how the owner's own session was opened.
    world.judge.recorded_logins(&[owner()].into(), &[session()]);
    assert!(world.is_refused(START));
}

#[test]
fn a_guessed_password_is_told_though_who_guessed_it_has_gone_before_anybody_looked() {
    let mut world = World::new(&[]);
    for guess in 0..8 {
        let failure = Sighting { pid: 1 + guess as u32, port: 0, ..line(Kind::FailedPassword) };
        world.judge.sighting(&failure, SourceId(0), Voucher::Kernel, after(guess * 200));
    }
    world.tell(Kind::PasswordLogin, Voucher::Sockets(&|_, _| Some(false)), after(1700));
    assert_eq!(world.judge.count().incidents.get("success-after-failures"), Some(&1));
}

#[test]
fn a_guessed_password_is_told_of_with_the_lines_that_led_to_it() {
    let mut world = World::new(&[]);
    for guess in 0..4 {
        let failure = Sighting {
            pid: 10 + guess as u32,
            port: 0,
            account: Some(b"anna"),
            line: b"wrong password for anna",
            ..line(Kind::FailedPassword)
        };
        world.judge.sighting(&failure, SourceId(0), Voucher::Kernel, after(guess * 3));
    }
    let login =
        Sighting { account: Some(b"anna"), line: b"right password for anna", ..line(Kind::PasswordLogin) };
    world.judge.sighting(&login, SourceId(0), Voucher::Kernel, after(20));
    world.settle();
    let event = world.last_event();
    let detail: Value = serde_json::from_str(&event.detail).unwrap();
    assert_eq!((event.kind.as_str(), event.target), ("incident", Some(target(OWNER))));
    assert_eq!(
        (&detail["incident"], &detail["severity"], &detail["account"], &detail["guesses"]),
        (&json!("success-after-failures"), &json!("critical"), &json!("anna"), &json!(4))
    );
    let lines = detail["lines"].as_array().unwrap();
    let told: Vec<_> = lines.iter().map(|line| (&line["kind"], &line["points"], &line["line"])).collect();
    assert_eq!(told.len(), 5, "{detail}");
    for wrong in &told[..4] {
        assert_eq!(*wrong, (&json!("failed-password"), &json!(1.0), &json!("wrong password for anna")));
    }
    assert_eq!(told[4], (&json!("password-login"), &json!(0.0), &json!("right password for anna")));
}
