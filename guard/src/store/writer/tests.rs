use std::sync::mpsc;

use super::*;
use crate::ban::BanId;
use crate::source::Position;
use crate::store::{KeptEvent, Retention, Snapshot, StoredBan, StoredEvent, StoredScore};
use crate::target::Target;
use crate::time::Wall;

const SOON: Duration = Duration::from_secs(20);

/// What a [`Disk`] holds, and how it behaves.
#[derive(Debug, Default)]
#[expect(clippy::struct_excessive_bools, reason = "each is a fault of its own")]
struct State {
    writes: Vec<Write>,
    batches: usize,
    full: bool,
    poison: bool,
    /// Another program holds it locked.
    locked: bool,
    /// Rows were lost.
    has_lost: bool,
    asked: usize,
    attempts: usize,
    replaced: usize,
}

/// A store in memory whose disk can be full.
#[derive(Clone, Debug, Default)]
struct Disk(Arc<Mutex<State>>);

impl Disk {
    fn state(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap()
    }

    fn bans(&self) -> Vec<u64> {
        let ids = |w: &Write| if let Write::Ban(ban) = w { Some(ban.id.0) } else { None };
        self.state().writes.iter().filter_map(ids).collect()
    }

    fn has_position(&self) -> bool {
        self.state().writes.iter().any(|w| matches!(w, Write::Position(_)))
    }
}

impl Store for Disk {
    fn snapshot(&mut self) -> Result<Snapshot, StoreError> {
        Ok(Snapshot::default())
    }

    fn end_bans(&mut self, _: Wall) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn ban_count(&mut self) -> Result<u64, StoreError> {
        Ok(0)
    }

    fn bans(&mut self, _: Wall, _: &mut dyn FnMut(Vec<StoredBan>) -> bool) -> Result<(), StoreError> {
        Ok(())
    }

    fn write(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        let mut state = self.state();
        state.attempts += 1;
        if state.full {
            return Err(StoreError::Full { operation: "writing", path: "disk".into() });
        }
        if state.locked {
            return Err(StoreError::Unavailable {
                operation: "writing",
                path: "disk".into(),
                reason: "locked".into(),
            });
        }
        if state.poison && writes.contains(&ban(666)) {
            return Err(StoreError::Failed {
                operation: "writing",
                path: "disk".into(),
                reason: "poison".into(),
            });
        }
        state.batches += 1;
        state.writes.extend_from_slice(writes);
        Ok(())
    }

    fn replace(&mut self, writes: &[Write]) -> Result<(), StoreError> {
        {
            let mut state = self.state();
            if !state.full {
                state.writes.retain(|w| !matches!(w, Write::Ban(_) | Write::Unban(_)));
                state.replaced += 1;
            }
        }
        self.write(writes)
    }

    fn events(&mut self, query: &EventQuery) -> Result<EventPage, StoreError> {
        self.state().asked += 1;
        let event = |w: &Write| if let Write::Event(e) = w { Some(e.clone()) } else { None };
        let all: Vec<_> = self.state().writes.iter().filter_map(event).zip(1..).collect();
        let kept = |(event, number)| KeptEvent { number, event };
        Ok(EventPage { events: all.into_iter().rev().map(kept).take(query.limit).collect(), next: None })
    }

    fn prune(&mut self, _: Retention) -> Result<bool, StoreError> {
        Ok(false)
    }

    fn take_losses(&mut self) -> bool {
        std::mem::take(&mut self.state().has_lost)
    }
}

fn ban(n: u64) -> Write {
    Write::Ban(StoredBan {
        id: BanId(n),
        target: Target::host(std::net::Ipv4Addr::from(n as u32).into()),
        since: Wall(0),
        until: None,
        origin: "manual:0".into(),
        score: 0,
        strike: 1,
        reason: "".into(),
    })
}

fn event(n: i64) -> Write {
    Write::Event(StoredEvent { at: Wall(n), kind: "ban".into(), target: None, detail: "{}".into() })
}

fn position(n: u64) -> Write {
    Write::Position(Position { source: "log".into(), place: n.to_string() })
}

fn scores(points: impl IntoIterator<Item = (u32, i32)>) -> Write {
    let score = |(host, points)| StoredScore {
        address: std::net::Ipv4Addr::from(host).into(),
        points,
        settled: Wall(0),
    };
    Write::Scores(points.into_iter().map(score).collect())
}

fn options() -> WriterOptions {
    WriterOptions {
        capacity: 100,
        pause: (Duration::from_millis(1), Duration::from_millis(5)),
        ..WriterOptions::default()
    }
}

fn eventually(what: &str, mut holds: impl FnMut() -> bool) {
    let deadline = Instant::now() + SOON;
    while !holds() {
        assert!(Instant::now() < deadline, "{what}");
        std::thread::yield_now();
    }
}

#[test]
fn writes_come_in_order_and_in_few_batches() {
    let disk = Disk::default();
    let slow = WriterOptions { linger: Duration::from_secs(60), capacity: 5000, ..options() };
    let writer = Writer::start(Box::new(disk.clone()), slow).unwrap();
    for n in 0..1000 {
        writer.write(ban(n));
    }
    assert_eq!(disk.state().batches, 0, "they wait for company");
    assert!(writer.flush(SOON));
    assert_eq!(disk.bans(), (0..1000).collect::<Vec<_>>());
    assert_eq!(disk.state().batches, 1);
    assert_eq!(writer.status().written, 1000);
    assert_eq!(writer.status().queued, 0);
}

#[test]
fn a_ban_does_not_wait_for_more_than_its_linger() {
    let disk = Disk::default();
    let lazy = WriterOptions { linger_notes: Duration::from_secs(60), ..options() };
    let writer = Writer::start(Box::new(disk.clone()), lazy).unwrap();
    writer.write(event(1));
    writer.write(ban(1));
    eventually("the ban is not durable", || disk.bans() == [1]);
    drop(writer);
}

#[test]
fn a_position_can_be_written_without_waiting_for_company() {
    let disk = Disk::default();
    let lazy = WriterOptions { linger_notes: Duration::from_secs(60), ..options() };
    let writer = Writer::start(Box::new(disk.clone()), lazy).unwrap();
    writer.write(position(1));
    writer.hurry();
    eventually("the position is written", || disk.has_position());
    writer.stop();
}

#[test]
fn stopping_writes_what_waits() {
    let disk = Disk::default();
    let slow = WriterOptions { linger: Duration::from_secs(60), ..options() };
    let writer = Writer::start(Box::new(disk.clone()), slow).unwrap();
    writer.write_all((0..50).map(ban));
    assert_eq!(writer.stop(), 0);
    assert_eq!(disk.bans().len(), 50);
}

#[test]
fn stopping_with_a_full_disk_ends_and_counts_what_is_lost() {
    let disk = Disk::default();
    disk.state().full = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write_all((0..50).map(ban));
    assert!(!writer.flush(Duration::from_millis(50)));
    assert_eq!(writer.stop(), 50);
}

#[test]
fn a_full_disk_is_told_and_loses_nothing() {
    let disk = Disk::default();
    disk.state().full = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write_all((0..20).map(ban));
    eventually("no second attempt", || disk.state().attempts >= 2);
    let status = writer.status();
    assert!(status.problem.unwrap().contains("no space is left"));
    assert!(status.failures >= 1);
    writer.write_all((20..40).map(ban));
    disk.state().full = false;
    assert!(writer.flush(SOON));
    assert_eq!(disk.bans(), (0..40).collect::<Vec<_>>());
    assert_eq!(writer.status().problem, None);
    assert!(!writer.needs_resync());
}

#[test]
fn more_than_fits_is_asked_for_again() {
    let disk = Disk::default();
    disk.state().full = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write(ban(0));
    eventually("no attempt", || writer.status().problem.is_some());
    for n in 1..1000 {
        writer.write(ban(n));
        writer.write(position(n));
    }
    assert!(writer.status().queued <= 250);
    assert!(!writer.needs_resync(), "there is no use while the disk is full");
    disk.state().full = false;
    eventually("it is not asked for", || writer.needs_resync());
    assert!(!disk.has_position(), "nothing may say that lost lines were dealt with");

    writer.resync((0..1000).map(ban).collect());
    writer.write(ban(1000));
    writer.write(position(1000));
    assert!(writer.flush(SOON));
    assert_eq!(disk.bans(), (0..=1000).collect::<Vec<_>>());
    assert!(disk.has_position());
    assert!(!writer.needs_resync());
    assert_eq!(disk.state().replaced, 1);
    assert!(writer.status().overflows >= 1);
}

/// A whole set says nothing of places, so their end must reach the store by itself.
#[test]
fn a_place_that_was_forgotten_stays_so_when_everything_is_written_anew() {
    let disk = Disk::default();
    disk.state().full = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    let forgotten = Write::ForgetPosition("/var/log/gone.log".into());
    writer.write_all([ban(1), forgotten.clone()]);
    writer.resync(vec![ban(1)]);
    disk.state().full = false;
    assert!(writer.flush(SOON));
    assert_eq!((disk.bans(), disk.state().replaced), (vec![1], 1));
    assert!(disk.state().writes.contains(&forgotten));
}

#[test]
fn a_batch_that_never_works_does_not_stop_the_rest() {
    let disk = Disk::default();
    disk.state().poison = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write(ban(666));
    eventually("it is not given up", || writer.needs_resync());
    writer.resync(vec![ban(1)]);
    assert!(writer.flush(SOON));
    assert_eq!(disk.bans(), [1]);
}

#[test]
fn what_is_locked_is_never_given_up() {
    let disk = Disk::default();
    disk.state().locked = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write_all([event(1), ban(1)]);
    eventually("no attempts", || disk.state().attempts >= 20);
    disk.state().locked = false;
    assert!(writer.flush(SOON));
    assert_eq!((disk.bans(), writer.status().lost_events), (vec![1], 0));
    assert!(!writer.needs_resync());
}

#[test]
fn questions_do_not_shorten_the_pause_after_a_failure() {
    let disk = Disk::default();
    disk.state().full = true;
    let patient = WriterOptions { pause: (Duration::from_secs(600), Duration::from_secs(600)), ..options() };
    let writer = Writer::start(Box::new(disk.clone()), patient).unwrap();
    writer.write(ban(1));
    eventually("no attempt", || writer.status().problem.is_some());
    let (sender, answers) = mpsc::channel();
    for _ in 0..50 {
        let sender = sender.clone();
        writer.after_writes(move || sender.send(()).unwrap());
        answers.recv_timeout(SOON).unwrap();
    }
    let mut state = disk.state();
    assert_eq!((state.asked, state.attempts), (50, 1));
    state.full = false;
    drop(state);
    assert_eq!(writer.stop(), 0, "the end does not wait for it");
}

#[test]
fn what_a_damage_has_cost_is_asked_for_again() {
    let disk = Disk::default();
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write(ban(1));
    assert!(writer.flush(SOON) && !writer.needs_resync());
    disk.state().has_lost = true;
    writer.write_all([ban(2), position(2)]);
    eventually("it is not asked for", || writer.needs_resync());
    writer.resync(vec![ban(1), ban(2)]);
    assert!(writer.flush(SOON) && !writer.needs_resync());
    assert_eq!((disk.bans(), disk.state().replaced), (vec![1, 2], 1));
}

#[test]
fn a_note_is_told_as_long_as_it_is_news() {
    let now = Instant::now();
    let mut queue = Queue::new(10, Duration::ZERO);
    let hours = |hours: u64| now + Duration::from_secs(hours * 3600);
    queue.note(vec!["once".into(), "again".into()], now);
    queue.note(vec!["again".into()], hours(20));
    assert_eq!(queue.status_at(hours(20)).notes, ["once", "again"]);
    assert_eq!(queue.status_at(hours(25)).notes, ["again"]);
    assert_eq!(queue.status_at(hours(45)).notes, [] as [&str; 0]);
}

#[test]
fn a_flood_of_one_address_is_one_row_for_each_commit() {
    let disk = Disk::default();
    let slow = WriterOptions { linger: SOON * 3, linger_notes: SOON * 3, ..options() };
    let writer = Writer::start(Box::new(disk.clone()), slow).unwrap();
    for n in 1..=10_000 {
        writer.write_all([scores([(7, n), (8, 1)]), position(n as u64)]);
    }
    assert_eq!(writer.status().queued, 3);
    assert!(writer.flush(SOON));
    let state = disk.state();
    assert_eq!(state.batches, 1);
    let [Write::Scores(kept), last] = &state.writes[..] else { panic!("{:?}", state.writes) };
    let mut points: Vec<_> = kept.iter().map(|score| (score.address.to_string(), score.points)).collect();
    points.sort();
    assert_eq!(points, [("0.0.0.7".to_owned(), 10_000), ("0.0.0.8".to_owned(), 1)]);
    assert_eq!(*last, position(10_000));
}

#[test]
fn what_a_batch_of_lines_leads_to_is_never_torn_apart() {
    let disk = Disk::default();
    let options = WriterOptions {
        linger: Duration::ZERO,
        linger_notes: Duration::ZERO,
        capacity: 100_000,
        ..options()
    };
    let writer = Writer::start(Box::new(disk.clone()), options).unwrap();
    for n in 1..=2000 {
        let bans = (0..20).map(|ban_of_batch| ban(n * 100 + ban_of_batch));
        writer.write_all(bans.chain([scores([(7, n as i32)]), position(n)]));
        if n == 1000 {
            eventually("nothing is written meanwhile", || disk.state().batches > 0);
        }
    }
    assert!(writer.flush(SOON));
    let state = disk.state();
    let mut bans = 0;
    let mut score = 0;
    for write in &state.writes {
        match write {
            Write::Ban(_) => bans += 1,
            Write::Scores(kept) => score = kept[0].points,
            Write::Position(position) => {
                let batches: u64 = position.place.parse().unwrap();
                assert_eq!((bans, score as u64), (batches * 20, batches), "as of the same batch");
            }
            _ => {}
        }
    }
    assert_eq!(bans, 40_000);
    assert!(state.batches > 1);
}

#[test]
fn lost_scores_come_back_with_the_whole_set_before_any_position() {
    let disk = Disk::default();
    disk.state().full = true;
    let writer = Writer::start(Box::new(disk.clone()), options()).unwrap();
    writer.write(ban(0));
    eventually("no attempt", || writer.status().problem.is_some());
    for n in 1..=1000 {
        writer.write_all([scores([(n, 1)]), position(u64::from(n))]);
    }
    disk.state().full = false;
    eventually("the whole set is not asked for", || writer.needs_resync());
    assert!(!disk.has_position());
    writer.resync(vec![ban(0), scores((1..=1000).map(|n| (n, 1)))]);
    assert!(writer.flush(SOON));
    let state = disk.state();
    assert!(state.writes.contains(&position(1000)), "the last position before the set");
    let kept = |w: &Write| if let Write::Scores(kept) = w { kept.len() } else { 0 };
    assert_eq!(state.writes.iter().map(kept).max(), Some(1000));
}

#[test]
fn answers_know_what_was_written_before() {
    let disk = Disk::default();
    let slow = WriterOptions { linger: Duration::from_secs(60), linger_notes: SOON * 3, ..options() };
    let writer = Writer::start(Box::new(disk), slow).unwrap();
    writer.write(event(1));
    writer.write(event(2));
    let (sender, answer) = mpsc::channel();
    let query = EventQuery { limit: 1, ..EventQuery::default() };
    writer.events(query, move |found| sender.send(found).unwrap());
    let found = answer.recv_timeout(SOON).unwrap().unwrap();
    assert_eq!(found.events.iter().map(|e| e.event.at).collect::<Vec<_>>(), [Wall(2)]);
}

#[cfg(feature = "sqlite")]
#[test]
fn bans_are_durable_within_fifty_milliseconds_of_a_working_disk() {
    let folder = tempfile::tempdir().unwrap();
    let (store, _) = crate::store::Sqlite::open(folder.path()).unwrap();
    let writer = Writer::start(Box::new(store), WriterOptions::default()).unwrap();
    let mut best = Duration::MAX;
    for n in 0..10 {
        let began = Instant::now();
        writer.write(ban(n));
        eventually("the ban is not durable", || writer.status().written > n);
        best = best.min(began.elapsed());
    }
    // The best of ten: other tests share the disk.
    assert!(best < Duration::from_millis(50), "{best:?}");
}
