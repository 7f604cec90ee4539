//! The power fails: whatever of the files has reached the disk, what was answered as kept is there.

use std::collections::HashSet;

use proptest::prelude::*;

use super::*;

const PAGE: usize = 4096;

/// The files as they were on the disk: the database and its log.
#[derive(Clone)]
struct Disk {
    database: Vec<u8>,
    log: Vec<u8>,
}

impl Disk {
    fn of(folder: &Path) -> Self {
        let read = |name| fs::read(folder.join(name)).unwrap_or_default();
        Self { database: read("guard.db"), log: read("guard.db-wal") }
    }

    /// What a start makes of them: the ids of the bans. Nothing of it may count as damaged.
    fn bans(&self) -> HashSet<u64> {
        let folder = tempfile::tempdir().unwrap();
        fs::write(folder.path().join("guard.db"), &self.database).unwrap();
        fs::write(folder.path().join("guard.db-wal"), &self.log).unwrap();
        // The last owner did not give it back, so all of the file is checked.
        fs::write(folder.path().join("lock"), "1").unwrap();
        let mut store = open_quietly(folder.path());
        let ids = bans(&mut store, 0).iter().map(|ban| ban.id.0).collect();
        write_bans(&mut store, 9000..9001);
        ids
    }
}

/// A state whose log holds what was written, and how long the log was after each write.
fn written(batches: u64) -> (tempfile::TempDir, Sqlite, Vec<(usize, u64)>) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    write_bans(&mut store, 0..200);
    store.connection.execute_batch("PRAGMA wal_checkpoint(TRUNCATE); PRAGMA wal_autocheckpoint = 0").unwrap();
    let mut kept = vec![(0, 200)];
    for n in 0..batches {
        let first = 200 + n * 7;
        write_bans(&mut store, first..first + 7);
        kept.push((Disk::of(folder.path()).log.len(), first + 7));
    }
    (folder, store, kept)
}

/// Bans that were answered as kept before the log was longer than `length`.
fn kept_within(kept: &[(usize, u64)], length: usize) -> u64 {
    kept.iter().rev().find(|(end, _)| *end <= length).map_or(0, |(_, bans)| *bans)
}

#[test]
fn a_log_cut_anywhere_keeps_every_write_that_was_whole() {
    let (folder, store, kept) = written(12);
    let disk = Disk::of(folder.path());
    drop(store);
    let runner = &mut proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(48));
    let ends = kept.iter().map(|(end, _)| *end).collect::<Vec<_>>();
    let cut = prop_oneof![0..=disk.log.len(), proptest::sample::select(ends)];
    // What is behind the cut: nothing, what the disk had there before, or zeros.
    let rest = prop_oneof![Just(None), Just(Some(0x00)), Just(Some(0xff)), Just(Some(0x5a))];
    runner
        .run(&(cut, rest), |(cut, rest)| {
            let mut torn = disk.clone();
            match rest {
                None => torn.log.truncate(cut),
                Some(byte) => torn.log[cut..].fill(byte),
            }
            let found = torn.bans();
            let wanted = kept_within(&kept, cut);
            prop_assert!(
                (1..=wanted).all(|id| found.contains(&id)),
                "cut at {cut}: {} of {wanted}",
                found.len()
            );
            Ok(())
        })
        .unwrap();
}

#[test]
fn a_checkpoint_torn_anywhere_loses_nothing() {
    let (folder, store, kept) = written(12);
    let before = Disk::of(folder.path());
    store.connection.execute_batch("PRAGMA wal_checkpoint(PASSIVE)").unwrap();
    let after = Disk::of(folder.path());
    assert_ne!(before.database, after.database);
    drop(store);
    let all = kept.last().unwrap().1;
    let pages = after.database.len() / PAGE;
    let runner = &mut proptest::test_runner::TestRunner::new(ProptestConfig::with_cases(32));
    runner
        .run(&proptest::collection::vec(any::<bool>(), pages), |reached| {
            // Pages reach the disk in any order; the log is there until all have.
            let mut database = before.database.clone();
            for (page, _) in reached.iter().enumerate().filter(|(_, reached)| **reached) {
                let (from, to) = (page * PAGE, (page + 1) * PAGE);
                database.resize(database.len().max(to), 0);
                database[from..to].copy_from_slice(&after.database[from..to]);
            }
            let found = Disk { database, log: before.log.clone() }.bans();
            prop_assert!((1..=all).all(|id| found.contains(&id)), "{} of {all}", found.len());
            Ok(())
        })
        .unwrap();
}

#[test]
fn the_files_as_they_are_between_any_two_writes_are_whole() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    // Checkpoints fall between the writes too.
    store.connection.execute_batch("PRAGMA wal_autocheckpoint = 20").unwrap();
    for n in 0..40 {
        write_bans(&mut store, n * 11..(n + 1) * 11);
        let found = Disk::of(folder.path()).bans();
        assert_eq!(found.len() as u64, (n + 1) * 11);
    }
}
