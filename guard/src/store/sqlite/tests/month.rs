//! Thirty days of heavy use: the disk that all of it takes up is bounded, and gets less when there is less to keep.

use super::*;

const HOUR: i64 = 3_600_000;
const MIB: u64 = 1 << 20;

/// Bytes of the database and its log.
fn on_disk(folder: &Path) -> u64 {
    let length = |name| fs::metadata(folder.join(name)).map_or(0, |meta| meta.len());
    length("guard.db") + length("guard.db-wal")
}

/// An hour of an attacked machine: bans that come and go, with their events, strikes and scores.
fn hour(now: i64, bans: u64) -> Vec<Write> {
    let first = now.unsigned_abs() / HOUR as u64 * bans;
    let lines = "Failed password for root from 203.0.113.7 port 40000 ssh2 ".repeat(8);
    let mut writes = Vec::new();
    for n in first..first + bans {
        let target = ban(n % 3_000_000).target;
        let until = Some(Wall(now + HOUR));
        let banned = StoredBan { since: Wall(now), until, target, ..ban(n) };
        let event = |kind: &str, at, detail: &str| {
            Write::Event(StoredEvent {
                at: Wall(at),
                kind: kind.into(),
                target: Some(target),
                detail: detail.into(),
            })
        };
        writes.push(Write::Ban(banned));
        writes.push(event("ban", now, &lines));
        writes.push(Write::Strikes(StoredStrikes {
            target,
            strikes: 1,
            last: Wall(now),
            recent: Vec::new(),
        }));
        let score = StoredScore { address: target.address(), points: 1000, settled: Wall(now) };
        writes.push(Write::Scores(vec![score]));
        if n >= bans {
            let ended = ban((n - bans) % 3_000_000).target;
            writes.push(Write::Unban(ended));
            writes.push(event("expire", now, "{\"strike\":1}"));
        }
    }
    writes
}

#[test]
fn thirty_days_of_heavy_use_stay_within_the_size() {
    const MOST: u64 = 6 * MIB;
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    let mut most = 0;
    for n in 0..30 * 24 {
        let now = n * HOUR;
        store.write(&hour(now, 80)).unwrap();
        let keep_from = Wall(now - 10 * 24 * HOUR);
        prune(
            &mut store,
            Retention {
                keep_from,
                now: Wall(now),
                forgive_after: Duration::from_secs(10 * 24 * 3600),
                max_events: 1_000_000,
                max_bytes: MOST,
            },
        );
        most = most.max(on_disk(folder.path()));
    }
    // Besides the database there is its log, of a few MiB.
    assert!(most < MOST + 8 * MIB, "{most}");
    assert_eq!(bans(&mut store, 0).len(), 80);
    let newest = events(&mut store, None, 1);
    assert_eq!(newest.len(), 1, "the newest events are there");
    assert_eq!(store.take_notes(), Vec::<String>::new());
}

#[test]
fn the_file_gets_smaller_when_there_is_less_to_keep() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    for n in 0..10 {
        store.write(&hour(n * HOUR, 2000)).unwrap();
    }
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE)").unwrap();
    let large = on_disk(folder.path());
    prune(&mut store, Retention { now: Wall(i64::MAX - 1), max_bytes: u64::MAX, ..ALL_IS_OLD });
    let small = on_disk(folder.path());
    assert!(small < large / 4, "{large} bytes before, {small} after");
    assert_eq!(
        store.connection.query_row("PRAGMA quick_check", [], |row| row.get::<_, String>(0)).unwrap(),
        "ok"
    );
}

#[test]
fn bans_that_need_more_than_the_size_stay_and_people_are_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    write_bans(&mut store, 0..20_000);
    store.write(&[Write::Event(event(1, None)), Write::Event(event(2, None))]).unwrap();
    let small = Retention { keep_from: Wall(0), max_events: 100, max_bytes: MIB, ..ALL_IS_OLD };
    prune(&mut store, small);
    assert_eq!(bans(&mut store, 0).len(), 20_000);
    let notes = store.take_notes();
    assert!(notes.len() == 1 && notes[0].contains("store.max_size"), "{notes:?}");
    prune(&mut store, small);
    assert_eq!(store.take_notes(), notes, "as long as it holds");
    prune(&mut store, Retention { max_bytes: u64::MAX, ..small });
    assert_eq!(store.take_notes(), Vec::<String>::new());
}

#[test]
fn forgetting_goes_in_small_steps() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    for n in 0..10 {
        store.write(&hour(n * HOUR, 2000)).unwrap();
    }
    let all = Retention { now: Wall(i64::MAX - 1), ..ALL_IS_OLD };
    let rows = |store: &Sqlite| {
        let count =
            "SELECT (SELECT count(*) FROM event) + (SELECT count(*) FROM ban) + (SELECT count(*) FROM score)";
        store.connection.query_row(count, [], |row| row.get::<_, i64>(0)).unwrap()
    };
    let mut before = rows(&store);
    while store.prune(all).unwrap() {
        let left = rows(&store);
        assert!(before - left <= 16_384, "{} rows at once", before - left);
        before = left;
    }
    assert_eq!(before, 1, "the newest event");
}
