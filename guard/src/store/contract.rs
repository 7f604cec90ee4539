//! What every store must do alike: each case runs on SQLite and on the one in memory.

use std::net::{IpAddr, Ipv4Addr};
use std::time::Duration;

use super::*;
use crate::ban::BanId;
use crate::source::Position;
use crate::target::HostName;

/// Runs each case on an empty store of every backend.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod memory {
            $(#[test]
            fn $case() {
                super::$case(&mut super::Memory::new());
            })*
        }

        #[cfg(feature = "sqlite")]
        mod sqlite {
            $(#[test]
            fn $case() {
                let folder = tempfile::tempdir().unwrap();
                let (mut store, notes) = super::Sqlite::open(folder.path()).unwrap();
                assert_eq!(notes, Vec::<String>::new());
                super::$case(&mut store);
            })*
        }
    };
}

contract!(
    nothing_comes_of_nothing,
    the_last_write_of_a_thing_counts,
    bans_come_back_in_the_order_of_their_ends,
    a_reader_of_bans_may_stop,
    names_and_their_addresses_come_back,
    ids_are_never_given_out_twice,
    a_whole_set_replaces_all_but_places_events_and_the_engines_state,
    the_state_of_the_engine_is_kept_once_and_bounded,
    bans_that_ended_become_events_once,
    events_are_numbered_and_come_newest_first,
    events_are_chosen_by_what_they_say,
    events_of_a_target_are_those_that_share_an_address,
    a_search_goes_on_where_it_stopped,
    what_is_past_its_age_is_forgotten,
    strikes_are_kept_until_they_are_forgiven,
    events_beyond_a_number_are_forgotten,
    events_give_way_to_size_and_nothing_else_does,
    the_newest_event_stays,
);

fn target(n: u32) -> Target {
    Target::host(Ipv4Addr::from(0x0b00_0000 + n).into())
}

fn ban(n: u32, until: Option<i64>) -> StoredBan {
    StoredBan {
        id: BanId(u64::from(n) + 1),
        target: target(n),
        since: Wall(1000),
        until: until.map(Wall),
        origin: "filter:sshd".into(),
        score: 5000,
        strike: 1,
        reason: "5 points within 10m".into(),
    }
}

fn strikes(n: u32, last: i64) -> Write {
    Write::Strikes(StoredStrikes {
        target: target(n),
        strikes: 2,
        last: Wall(last),
        recent: vec![Wall(last)],
    })
}

fn login(n: u32, last: Option<i64>) -> StoredLogin {
    StoredLogin { address: target(n).address(), last: last.map(Wall), accounts: 0x8000_0001 }
}

fn score(n: u32, points: i32, settled: i64) -> StoredScore {
    StoredScore { address: target(n).address(), points, settled: Wall(settled) }
}

fn allow(n: u32, until: Option<i64>) -> Write {
    Write::Allow { target: target(n), until: until.map(Wall), comment: "why".into() }
}

fn name(text: &str) -> HostName {
    text.parse().unwrap()
}

fn allow_name(text: &str, until: Option<i64>) -> Write {
    Write::AllowName(StoredName { name: name(text), until: until.map(Wall), comment: "why".into() })
}

fn resolved(text: &str, addresses: &[(u32, i64)]) -> Write {
    let addresses = addresses.iter().map(|(n, seen)| (target(*n).address(), Wall(*seen))).collect();
    Write::Resolved { name: name(text), addresses }
}

/// The allowed names with their ends.
fn names(snapshot: &Snapshot) -> Vec<(&str, Option<i64>)> {
    snapshot.allowed_names.iter().map(|one| (one.name.as_str(), one.until.map(|until| until.0))).collect()
}

/// What each name was resolved to, and when.
fn known(snapshot: &Snapshot) -> Vec<(&str, IpAddr, i64)> {
    snapshot.resolved.iter().map(|one| (one.name.as_str(), one.address, one.seen.0)).collect()
}

fn event(at: i64, kind: &str, target: Option<&str>) -> StoredEvent {
    let target = target.map(|text| text.parse().unwrap());
    StoredEvent { at: Wall(at), kind: kind.into(), target, detail: format!("{{\"at\":{at}}}") }
}

fn write_events(store: &mut dyn Store, events: impl IntoIterator<Item = StoredEvent>) {
    let writes: Vec<Write> = events.into_iter().map(Write::Event).collect();
    store.write(&writes).unwrap();
}

fn bans(store: &mut dyn Store, now: i64) -> Vec<StoredBan> {
    let mut all = Vec::new();
    let mut each = |chunk: Vec<StoredBan>| {
        assert!(!chunk.is_empty());
        all.extend(chunk);
        true
    };
    store.bans(Wall(now), &mut each).unwrap();
    all
}

/// All that a question finds, however many looks it takes.
fn found(store: &mut dyn Store, query: &EventQuery) -> Vec<KeptEvent> {
    let mut query = query.clone();
    let mut all = Vec::new();
    loop {
        let page = store.events(&query).unwrap();
        assert!(page.events.len() <= query.limit);
        query.limit -= page.events.len();
        all.extend(page.events);
        match page.next {
            Some(next) if query.limit > 0 => {
                assert!(query.before.is_none_or(|before| next < before), "each look leads on");
                query.before = Some(next);
            }
            _ => break,
        }
    }
    assert!(all.is_sorted_by(|a, b| a.number > b.number));
    all
}

fn times(store: &mut dyn Store, query: &EventQuery) -> Vec<i64> {
    found(store, query).iter().map(|kept| kept.event.at.0).collect()
}

/// Prunes until there is nothing more to do.
fn prune(store: &mut dyn Store, retention: Retention) {
    let mut steps = 0;
    while store.prune(retention).unwrap() {
        steps += 1;
        assert!(steps < 100_000, "it comes to an end");
    }
}

/// The times of no event.
const NONE: [i64; 0] = [];

const KEEP_ALL: Retention = Retention {
    keep_from: Wall(0),
    now: Wall(0),
    forgive_after: Duration::from_secs(1),
    max_events: u64::MAX,
    max_bytes: u64::MAX,
};

fn nothing_comes_of_nothing(store: &mut dyn Store) {
    let snapshot = store.snapshot().unwrap();
    assert!(snapshot.strikes.is_empty() && snapshot.positions.is_empty() && snapshot.allowed.is_empty());
    assert!(snapshot.scores.is_empty() && snapshot.logins.is_empty());
    assert!(snapshot.engine.is_none() && snapshot.last_id == 0);
    assert_eq!(bans(store, 0), []);
    assert_eq!(store.ban_count().unwrap(), 0);
    assert_eq!(store.events(&EventQuery::default()).unwrap(), EventPage::default());
    store.write(&[]).unwrap();
    store.write(&[Write::Unban(target(1)), Write::Disallow(target(1))]).unwrap();
    prune(store, KEEP_ALL);
    assert!(store.is_writable());
    assert_eq!(store.take_notes(), Vec::<String>::new());
}

fn the_last_write_of_a_thing_counts(store: &mut dyn Store) {
    let position =
        |source: &str, place: &str| Write::Position(Position { source: source.into(), place: place.into() });
    store
        .write(&[
            Write::Ban(ban(1, Some(9000))),
            Write::Ban(ban(1, None)),
            Write::Ban(ban(2, None)),
            Write::Unban(target(2)),
            strikes(1, 1),
            strikes(1, 2),
            position("/var/log/auth.log", "1"),
            position("/var/log/auth.log", "2"),
            position("/var/log/gone.log", "1"),
            Write::ForgetPosition("/var/log/gone.log".into()),
            Write::ForgetPosition("/var/log/never.log".into()),
            allow(1, None),
            allow(1, Some(5)),
            allow(2, None),
            Write::Disallow(target(2)),
            Write::Scores(vec![score(1, 1000, 1), score(2, 1000, 1)]),
            Write::Scores(vec![score(1, 2000, 2), score(2, 0, 2)]),
            Write::Logins(vec![login(1, Some(1)), login(2, Some(1))]),
            Write::Logins(vec![login(1, Some(2)), login(2, None), login(3, None)]),
        ])
        .unwrap();
    assert_eq!(bans(store, 0), [ban(1, None)]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.strikes.iter().map(|past| past.last.0).collect::<Vec<_>>(), [2]);
    assert_eq!(snapshot.positions.iter().map(|position| &*position.place).collect::<Vec<_>>(), ["2"]);
    let allowed = StoredAllow { target: target(1), until: Some(Wall(5)), comment: "why".into() };
    assert_eq!(snapshot.allowed, [allowed]);
    assert_eq!(snapshot.scores, [score(1, 2000, 2)]);
    assert_eq!(snapshot.logins, [login(1, Some(2))]);
}

fn bans_come_back_in_the_order_of_their_ends(store: &mut dyn Store) {
    let ends = (0..5000).map(|n| Some(10_000 + i64::from(n * 7919 % 5000))).chain([None]);
    let writes: Vec<Write> = ends.zip(0..).map(|(end, n)| Write::Ban(ban(n, end))).collect();
    store.write(&writes).unwrap();
    assert_eq!(store.ban_count().unwrap(), 5001);
    let all = bans(store, 12_000);
    assert_eq!(all.len(), 2999 + 1, "those that end later than now");
    assert!(all.iter().map(|ban| ban.until.map_or(i64::MAX, |until| until.0)).is_sorted_by(|a, b| a >= b));
}

fn names_and_their_addresses_come_back(store: &mut dyn Store) {
    store
        .write(&[
            allow_name("a.org", Some(5)),
            allow_name("a.org", Some(9)),
            allow_name("b.org", None),
            allow_name("c.org", None),
            Write::DisallowName(name("c.org")),
            resolved("a.org", &[(1, 1), (2, 1)]),
            resolved("a.org", &[(2, 2), (3, 2)]),
            resolved("b.org", &[(2, 7)]),
            resolved("c.org", &[(4, 7)]),
            resolved("c.org", &[]),
        ])
        .unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!(names(&snapshot), [("a.org", Some(9)), ("b.org", None)]);
    let of = |n| target(n).address();
    assert_eq!(known(&snapshot), [("a.org", of(2), 2), ("a.org", of(3), 2), ("b.org", of(2), 7)]);
    prune(store, Retention { keep_from: Wall(10), ..KEEP_ALL });
    assert_eq!(names(&store.snapshot().unwrap()), [("b.org", None)]);
    store.replace(&[allow_name("d.org", None), resolved("d.org", &[(1, 1)])]).unwrap();
    let snapshot = store.snapshot().unwrap();
    assert_eq!((names(&snapshot), known(&snapshot)), (vec![("d.org", None)], vec![("d.org", of(1), 1)]));
}

fn a_reader_of_bans_may_stop(store: &mut dyn Store) {
    let writes: Vec<Write> = (0..10_000).map(|n| Write::Ban(ban(n, None))).collect();
    store.write(&writes).unwrap();
    let (mut chunks, mut seen) = (0, 0);
    store
        .bans(Wall(0), &mut |chunk| {
            chunks += 1;
            seen += chunk.len();
            chunks < 2
        })
        .unwrap();
    assert_eq!(chunks, 2);
    assert!(seen < 10_000, "they come in chunks");
}

fn ids_are_never_given_out_twice(store: &mut dyn Store) {
    store.write(&[Write::Ban(ban(41, None)), Write::Ban(ban(7, None)), Write::Unban(target(41))]).unwrap();
    assert_eq!(store.snapshot().unwrap().last_id, 42);
    let forced = StoredBan { id: BanId(43).forced(), ..ban(1, None) };
    store.write(&[Write::Ban(forced)]).unwrap();
    assert_eq!(store.snapshot().unwrap().last_id, 43, "what marks it is no part of its number");
    store.write(&[Write::Ban(ban(40, None))]).unwrap();
    store.replace(&[]).unwrap();
    assert_eq!(store.snapshot().unwrap().last_id, 43);
}

fn a_whole_set_replaces_all_but_places_events_and_the_engines_state(store: &mut dyn Store) {
    let old = [
        Write::Ban(ban(1, None)),
        allow(1, None),
        Write::Scores(vec![score(1, 1000, 1)]),
        Write::Logins(vec![login(1, Some(1))]),
        strikes(1, 1),
        Write::Engine(Box::new([1])),
        Write::Event(event(1, "ban", None)),
    ];
    store.write(&old).unwrap();
    store
        .replace(&[
            Write::Ban(ban(2, None)),
            strikes(2, 1),
            allow(2, None),
            Write::Scores(vec![score(2, 1, 1)]),
            Write::Logins(vec![login(2, Some(1))]),
        ])
        .unwrap();
    assert_eq!(bans(store, 0), [ban(2, None)]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.allowed.iter().map(|allow| allow.target).collect::<Vec<_>>(), [target(2)]);
    assert_eq!(snapshot.scores, [score(2, 1, 1)]);
    assert_eq!(snapshot.logins, [login(2, Some(1))]);
    assert_eq!(snapshot.strikes.iter().map(|past| past.target).collect::<Vec<_>>(), [target(2)]);
    assert_eq!(snapshot.engine, Some(vec![1]), "this stays");
    assert_eq!(times(store, &EventQuery::default()), [1]);
}

fn the_state_of_the_engine_is_kept_once_and_bounded(store: &mut dyn Store) {
    store.write(&[Write::Engine(Box::new([1; 100])), Write::Engine(Box::new([2; 50]))]).unwrap();
    assert_eq!(store.snapshot().unwrap().engine, Some(vec![2; 50]));
    store.write(&[Write::Engine(vec![3; ENGINE_STATE].into())]).unwrap();
    assert_eq!(store.snapshot().unwrap().engine.map(|state| state.len()), Some(ENGINE_STATE));
    store.write(&[Write::Engine(vec![3; ENGINE_STATE + 1].into())]).unwrap();
    assert_eq!(store.snapshot().unwrap().engine, None, "none rather than one that is out of date");
}

fn bans_that_ended_become_events_once(store: &mut dyn Store) {
    let ends = [None, Some(10), Some(20), Some(30)];
    let writes: Vec<Write> = (0..).zip(ends).map(|(n, end)| Write::Ban(ban(n, end))).collect();
    store.write(&writes).unwrap();
    assert_eq!(store.end_bans(Wall(20)).unwrap(), 2);
    assert_eq!(bans(store, 0).len(), 2, "one is for good, and one goes on");
    let told = found(store, &EventQuery::default());
    let told: Vec<_> = told.iter().map(|e| (e.event.at.0, e.event.kind.as_str(), e.event.target)).collect();
    assert_eq!(told, [(20, "expire", Some(target(2))), (10, "expire", Some(target(1)))]);
    assert_eq!(store.end_bans(Wall(20)).unwrap(), 0);
    assert_eq!(found(store, &EventQuery::default()).len(), 2);
}

fn events_are_numbered_and_come_newest_first(store: &mut dyn Store) {
    write_events(store, (1..=5).map(|at| event(at, "ban", Some("203.0.113.7"))));
    // The wall clock stepped back: the order of writing counts.
    write_events(store, [event(2, "unban", None)]);
    let all = found(store, &EventQuery::default());
    assert_eq!(all.iter().map(|kept| kept.event.at.0).collect::<Vec<_>>(), [2, 5, 4, 3, 2, 1]);
    assert_eq!(all.iter().map(|kept| kept.number).collect::<Vec<_>>(), [6, 5, 4, 3, 2, 1]);
    assert_eq!(all[0].event, event(2, "unban", None));
    let limited = |limit| EventQuery { limit, ..EventQuery::default() };
    assert_eq!(times(store, &limited(2)), [2, 5]);
    assert_eq!(times(store, &limited(0)), NONE);
}

fn events_are_chosen_by_what_they_say(store: &mut dyn Store) {
    let kinds = ["ban", "unban", "expire"];
    write_events(store, (0..9).map(|at| event(at * 10, kinds[at as usize % 3], None)));
    let all = EventQuery::default();
    let of = |kinds: &[&str]| kinds.iter().map(|kind| (*kind).to_owned()).collect();
    assert_eq!(times(store, &EventQuery { kinds: of(&["unban"]), ..all.clone() }), [70, 40, 10]);
    assert_eq!(
        times(store, &EventQuery { kinds: of(&["ban", "expire"]), limit: 3, ..all.clone() }),
        [80, 60, 50]
    );
    let since = Some(Wall(30));
    assert_eq!(times(store, &EventQuery { since, until: Some(Wall(60)), ..all.clone() }), [50, 40, 30]);
    assert_eq!(times(store, &EventQuery { after: 7, ..all.clone() }), [80, 70]);
    assert_eq!(times(store, &EventQuery { before: Some(3), ..all.clone() }), [10, 0]);
    assert_eq!(times(store, &EventQuery { after: 1, before: Some(4), ..all.clone() }), [20, 10]);
    assert_eq!(times(store, &EventQuery { after: u64::MAX, ..all.clone() }), NONE);
    assert_eq!(times(store, &EventQuery { before: Some(0), ..all }), NONE);
}

fn events_of_a_target_are_those_that_share_an_address(store: &mut dyn Store) {
    let about = [
        "203.0.113.7",
        "203.0.113.0/24",
        "203.0.0.0/16",
        "203.0.113.9",
        "2001:db8::/48",
        "2001:db8::7",
        "2001:db9::",
    ];
    write_events(store, about.iter().zip(1..).map(|(text, at)| event(at, "ban", Some(text))));
    write_events(store, [event(99, "reload", None)]);
    for (asked, wanted) in [
        ("203.0.113.7", vec![3, 2, 1]),
        ("203.0.113.8", vec![3, 2]),
        ("203.0.113.0/24", vec![4, 3, 2, 1]),
        ("203.0.113.8/29", vec![4, 3, 2]),
        ("0.0.0.0/0", vec![4, 3, 2, 1]),
        ("2001:db8::7", vec![6, 5]),
        ("2001:db8::/32", vec![6, 5]),
        ("::/0", vec![7, 6, 5]),
        ("198.51.100.1", vec![]),
    ] {
        let query = EventQuery { target: Some(asked.parse().unwrap()), ..EventQuery::default() };
        assert_eq!(times(store, &query), wanted, "{asked}");
        let limited = EventQuery { limit: 2, ..query.clone() };
        assert_eq!(times(store, &limited), wanted[..wanted.len().min(2)], "{asked}");
        let kinds = vec!["unban".to_owned()];
        assert_eq!(times(store, &EventQuery { kinds, ..query }), NONE, "{asked}");
    }
}

fn a_search_goes_on_where_it_stopped(store: &mut dyn Store) {
    // More than one look of any backend; the rare ones are far apart.
    let rare = |at: i64| at % 20_000 == 1;
    let kind = |at| if rare(at) { "unban" } else { "ban" };
    write_events(store, (0..70_000).map(|at| event(at, kind(at), Some("203.0.113.7"))));
    let wanted: Vec<i64> = (0..70_000).filter(|at| rare(*at)).rev().collect();
    for target in [None, Some("203.0.113.7".parse().unwrap()), Some("203.0.113.0/24".parse().unwrap())] {
        let query = EventQuery { kinds: vec!["unban".into()], target, ..EventQuery::default() };
        assert_eq!(times(store, &query), wanted, "{target:?}");
        assert_eq!(times(store, &EventQuery { limit: 3, ..query }), wanted[..3], "{target:?}");
    }
}

fn what_is_past_its_age_is_forgotten(store: &mut dyn Store) {
    let writes = [
        Write::Ban(ban(1, Some(999))),
        Write::Ban(ban(2, Some(1000))),
        Write::Ban(ban(3, None)),
        allow(1, Some(999)),
        allow(2, None),
        Write::Scores(vec![score(1, 1, 999), score(2, 1, 1000)]),
        Write::Position(Position { source: "a".into(), place: "b".into() }),
        Write::Event(event(999, "ban", None)),
        Write::Event(event(1000, "ban", None)),
    ];
    store.write(&writes).unwrap();
    prune(store, Retention { keep_from: Wall(1000), ..KEEP_ALL });
    assert_eq!(bans(store, 0), [ban(3, None), ban(2, Some(1000))]);
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.allowed.iter().map(|allow| allow.target).collect::<Vec<_>>(), [target(2)]);
    assert_eq!(snapshot.scores, [score(2, 1, 1000)]);
    assert_eq!(snapshot.positions.len(), 1, "a place in a log has no age");
    assert_eq!(times(store, &EventQuery::default()), [1000]);
}

/// Whatever else is past its age: the ladder of who comes back goes by what is not forgiven, and by nothing else.
fn strikes_are_kept_until_they_are_forgiven(store: &mut dyn Store) {
    let many: Vec<Write> = (100..40_000).map(|n| strikes(n, 1000)).collect();
    store.write(&many).unwrap();
    // Two strikes each: forgiven after two seconds.
    let writes = [strikes(1, 2001), strikes(2, 2000), strikes(3, 1000), Write::Ban(ban(3, None))];
    store.write(&writes).unwrap();
    let later = Retention { keep_from: Wall(1_000_000), now: Wall(4001), ..KEEP_ALL };
    prune(store, later);
    let kept = |store: &mut dyn Store| {
        let strikes = store.snapshot().unwrap().strikes;
        strikes.iter().map(|past| past.target).collect::<Vec<_>>()
    };
    assert_eq!(kept(store), [target(1), target(3)], "one is not forgiven, of one a ban stands");
    store.write(&[Write::Unban(target(3))]).unwrap();
    prune(store, later);
    assert_eq!(kept(store), [target(1)]);
    let forgotten = StoredStrikes { target: target(1), strikes: 0, last: Wall(0), recent: Vec::new() };
    store.write(&[Write::Strikes(forgotten)]).unwrap();
    assert_eq!(kept(store), []);
}

fn events_beyond_a_number_are_forgotten(store: &mut dyn Store) {
    write_events(store, (0..10_000).map(|at| event(at, "ban", None)));
    prune(store, Retention { max_events: 40, ..KEEP_ALL });
    assert_eq!(times(store, &EventQuery::default()), (9960..10_000).rev().collect::<Vec<_>>());
    write_events(store, [event(1, "ban", None)]);
    assert_eq!(found(store, &EventQuery { limit: 1, ..EventQuery::default() })[0].number, 10_001);
}

fn events_give_way_to_size_and_nothing_else_does(store: &mut dyn Store) {
    let writes: Vec<Write> = (0..100).flat_map(|n| [Write::Ban(ban(n, None)), strikes(n, 1)]).collect();
    store.write(&writes).unwrap();
    write_events(store, (0..20_000).map(|at| event(at, "ban", Some("203.0.113.7"))));
    prune(store, Retention { max_bytes: 1 << 20, ..KEEP_ALL });
    let left = times(store, &EventQuery::default());
    assert!((1..15_000).contains(&left.len()), "{}", left.len());
    assert_eq!(left, (20_000 - left.len() as i64..20_000).rev().collect::<Vec<_>>(), "the newest stay");
    assert_eq!(store.take_notes(), Vec::<String>::new());
    prune(store, Retention { max_bytes: 0, ..KEEP_ALL });
    assert_eq!(bans(store, 0).len(), 100);
    assert_eq!(store.snapshot().unwrap().strikes.len(), 100);
}

fn the_newest_event_stays(store: &mut dyn Store) {
    write_events(store, (1..=3).map(|at| event(at, "ban", None)));
    prune(store, Retention { keep_from: Wall(1_000_000), max_events: 0, max_bytes: 0, ..KEEP_ALL });
    assert_eq!(times(store, &EventQuery::default()), [3]);
    write_events(store, [event(4, "ban", None)]);
    assert_eq!(found(store, &EventQuery::default())[0].number, 4, "numbers go on");
}
