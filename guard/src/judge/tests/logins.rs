//! Logins by key and their sessions: what tells of them is believed as far as it can be, and the store keeps them.

use super::*;
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
