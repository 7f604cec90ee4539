use std::fs;
use std::io::{BufRead, BufReader, Seek, SeekFrom, Write as _};
use std::os::unix::fs::PermissionsExt;
use std::process::{Command, Stdio};

use super::*;
use crate::ban::BanId;
use crate::source::Position;
use crate::store::{StoredAllow, StoredEvent, StoredScore, StoredStrikes};
use crate::target::Target;

mod cut;
mod month;

fn ban(n: u64) -> StoredBan {
    let address = std::net::Ipv4Addr::from(0x0b00_0000 + n as u32);
    StoredBan {
        id: BanId(n + 1),
        target: Target::host(address.into()),
        since: Wall(1_000_000),
        until: (!n.is_multiple_of(10)).then_some(Wall(2_000_000 + n as i64)),
        origin: "filter:sshd".into(),
        score: 5000,
        strike: 1,
        reason: "5 points within 10 minutes".into(),
    }
}

fn bans(store: &mut Sqlite, now: i64) -> Vec<StoredBan> {
    let mut all = Vec::new();
    let mut each = |chunk: Vec<StoredBan>| {
        all.extend(chunk);
        true
    };
    store.bans(Wall(now), &mut each).unwrap();
    all
}

fn events(store: &mut Sqlite, target: Option<Target>, limit: usize) -> Vec<StoredEvent> {
    let page = store.events(&EventQuery { target, limit, ..EventQuery::default() }).unwrap();
    page.events.into_iter().map(|kept| kept.event).collect()
}

/// A time at which everything is forgiven.
const ALL_IS_OLD: Retention = Retention {
    keep_from: Wall(i64::MAX - 1),
    now: Wall(3_000_000),
    forgive_after: Duration::from_secs(1),
    max_events: 1,
    max_bytes: 0,
};

fn prune(store: &mut Sqlite, retention: Retention) {
    while store.prune(retention).unwrap() {}
}

fn write_bans(store: &mut Sqlite, range: std::ops::Range<u64>) {
    let writes: Vec<Write> = range.map(|n| Write::Ban(ban(n))).collect();
    store.write(&writes).unwrap();
}

fn open_quietly(folder: &Path) -> Sqlite {
    let (store, notes) = Sqlite::open(folder).unwrap();
    assert_eq!(notes, Vec::<String>::new());
    store
}

fn event(at: i64, target: Option<&str>) -> StoredEvent {
    let target = target.map(|t| t.parse().unwrap());
    StoredEvent { at: Wall(at), kind: "ban".into(), target, detail: format!("{{\"at\":{at}}}") }
}

/// What the damage tests do: a state with bans that was closed in order, then spoiled, then opened again.
fn spoiled(bans: u64, spoil: impl FnOnce(&Path)) -> (tempfile::TempDir, Sqlite, Vec<String>) {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    write_bans(&mut store, 0..bans);
    drop(store);
    spoil(&folder.path().join("guard.db"));
    let (store, notes) = Sqlite::open(folder.path()).unwrap();
    (folder, store, notes)
}

fn damaged_copies(folder: &Path) -> usize {
    let names = fs::read_dir(folder).unwrap().map(|e| e.unwrap().file_name().into_string().unwrap());
    names
        .filter(|n| n.starts_with("guard.db.damaged-") && !n.ends_with("-wal") && !n.ends_with("-shm"))
        .count()
}

#[test]
fn everything_comes_back_as_it_was() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("state/deep");
    let mut store = open_quietly(&path);
    let mut net = ban(3);
    net.target = "2001:db8::/48".parse().unwrap();
    net.reason = "naïve \u{1F980} '; DROP TABLE ban".into();
    let strikes =
        StoredStrikes { target: net.target, strikes: 3, last: Wall(77), recent: vec![Wall(-7), Wall(77)] };
    let position = Position { source: "/var/log/auth.log".into(), place: "1:2:3".into() };
    let allow =
        StoredAllow { target: "10.0.0.0/8".parse().unwrap(), until: Some(Wall(9)), comment: "vpn".into() };
    let score =
        |address: &str, points| StoredScore { address: address.parse().unwrap(), points, settled: Wall(78) };
    let scores = [score("203.0.113.7", 4000), score("2001:db8::7", 200)];
    store
        .write(&[
            Write::Scores(vec![score("203.0.113.8", 1), score("203.0.113.7", 1)]),
            Write::Scores(scores.to_vec()),
            Write::Scores(vec![score("203.0.113.8", 0)]),
            Write::Ban(net.clone()),
            Write::Ban(ban(10)),
            Write::Ban(ban(11)),
            Write::Unban(ban(11).target),
            Write::Strikes(strikes.clone()),
            Write::Position(Position { place: "old".into(), ..position.clone() }),
            Write::Position(position.clone()),
            Write::Allow { target: allow.target, until: allow.until, comment: allow.comment.clone() },
            Write::Allow { target: "10.9.9.9".parse().unwrap(), until: None, comment: String::new() },
            Write::Disallow("10.9.9.9".parse().unwrap()),
            Write::Event(event(5, Some("2001:db8::/48"))),
            Write::Event(event(6, None)),
        ])
        .unwrap();
    drop(store);

    let mut store = open_quietly(&path);
    assert_eq!(bans(&mut store, 0), [ban(10), net.clone()], "for good first");
    let snapshot = store.snapshot().unwrap();
    assert_eq!(snapshot.strikes, [strikes]);
    assert_eq!(snapshot.positions, [position]);
    assert_eq!(snapshot.allowed, [allow]);
    assert_eq!(snapshot.scores, [scores[1], scores[0]], "the last ones, by address");
    assert_eq!(snapshot.last_id, 12, "also of bans that were lifted");
    assert_eq!(events(&mut store, None, 10), [event(6, None), event(5, Some("2001:db8::/48"))]);
    assert_eq!(events(&mut store, Some(net.target), 10), [event(5, Some("2001:db8::/48"))]);
    assert_eq!(events(&mut store, None, 1).len(), 1);
}

#[test]
fn a_ban_that_changes_its_end_is_one_ban() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    let mut again = ban(1);
    again.until = Some(Wall(9_000_000));
    store.write(&[Write::Ban(ban(1)), Write::Ban(again.clone())]).unwrap();
    assert_eq!(bans(&mut store, 0), [again.clone()]);
    assert_eq!(bans(&mut store, 9_000_000), []);
    store.replace(&[Write::Ban(ban(2))]).unwrap();
    assert_eq!(bans(&mut store, 0), [ban(2)]);
}

#[test]
fn bans_come_latest_end_first_and_stop_when_told() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    let total = CHUNK as u64 * 2 + 5;
    write_bans(&mut store, 0..total);
    let all = bans(&mut store, 0);
    assert_eq!(all.len() as u64, total);
    assert!(all.iter().map(|b| b.until.map_or(i64::MAX, |u| u.0)).is_sorted_by(|a, b| a >= b));
    let mut chunks = 0;
    store
        .bans(Wall(0), &mut |_| {
            chunks += 1;
            false
        })
        .unwrap();
    assert_eq!(chunks, 1);
}

#[test]
fn what_is_old_is_forgotten() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    let strikes = |n, last| {
        Write::Strikes(StoredStrikes {
            target: ban(n).target,
            strikes: 1,
            last: Wall(last),
            recent: Vec::new(),
        })
    };
    let writes = [Write::Ban(ban(1)), Write::Ban(ban(10)), strikes(1, 5), strikes(2, 3_000_000)];
    store.write(&writes).unwrap();
    let many: Vec<Write> = (0..100).map(|n| Write::Event(event(3_000_000 + n, None))).collect();
    store.write(&[Write::Event(event(1, None))]).unwrap();
    store.write(&many).unwrap();
    let keep_from = Wall(3_000_000);
    prune(&mut store, Retention { keep_from, max_events: 40, max_bytes: u64::MAX, ..ALL_IS_OLD });
    assert_eq!(bans(&mut store, 0), [ban(10)]);
    assert_eq!(store.snapshot().unwrap().strikes.len(), 1);
    let left = events(&mut store, None, 1000);
    assert_eq!(left.len(), 40);
    assert_eq!(left[0], event(3_000_099, None));
}

#[test]
fn only_the_owner_may_read_it() {
    let folder = tempfile::tempdir().unwrap();
    let state = folder.path().join("state");
    let mut store = open_quietly(&state);
    write_bans(&mut store, 0..1);
    let mode = |path: &Path| fs::metadata(path).unwrap().permissions().mode() & 0o777;
    assert_eq!(mode(&state), 0o700);
    for entry in fs::read_dir(&state).unwrap() {
        let path = entry.unwrap().path();
        assert_eq!(mode(&path), 0o600, "{}", path.display());
    }
}

#[test]
fn a_second_daemon_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let store = open_quietly(folder.path());
    match Sqlite::open(folder.path()) {
        Err(StoreError::Busy { pid, .. }) => assert_eq!(pid, std::process::id()),
        other => panic!("{other:?}"),
    }
    drop(store);
    open_quietly(folder.path());
}

#[test]
fn a_newer_schema_is_refused_and_left_alone() {
    let folder = tempfile::tempdir().unwrap();
    drop(open_quietly(folder.path()));
    let path = folder.path().join("guard.db");
    Connection::open(&path).unwrap().pragma_update(None, "user_version", 99).unwrap();
    let before = fs::read(&path).unwrap();
    let error = Sqlite::open(folder.path()).unwrap_err();
    assert!(matches!(error, StoreError::TooNew { found: 99, .. }), "{error}");
    assert_eq!(fs::read(&path).unwrap(), before);
    assert_eq!(damaged_copies(folder.path()), 0);
}

#[test]
fn a_page_of_garbage_costs_only_itself() {
    let (folder, mut store, notes) = spoiled(20_000, |path| {
        // A page in the middle of the file, past the schema and the roots.
        let mut file = OpenOptions::new().write(true).open(path).unwrap();
        let page = file.metadata().unwrap().len() / 4096 / 2;
        file.seek(SeekFrom::Start(page * 4096)).unwrap();
        file.write_all(&[0xa5; 4096]).unwrap();
    });
    let found = bans(&mut store, 0);
    let notes = [notes, store.take_notes()].concat();
    assert!(found.len() > 10_000, "{}", found.len());
    // Reading may not have come across the page, but a check of the whole file does.
    drop(store);
    fs::write(folder.path().join("lock"), "1").unwrap();
    let (mut store, later) = Sqlite::open(folder.path()).unwrap();
    let notes = [notes, later].concat();
    assert_eq!(notes.len(), 1, "{notes:?}");
    assert!(notes[0].contains("damaged"), "{notes:?}");
    assert_eq!(damaged_copies(folder.path()), 1);
    assert!(bans(&mut store, 0).len() > 19_000, "{notes:?}");
    write_bans(&mut store, 30_000..30_010);
    assert!(bans(&mut store, 0).iter().any(|b| b.id == BanId(30_005)));
}

#[test]
fn damage_found_while_writing_is_repaired_and_the_write_done() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    write_bans(&mut store, 0..20_000);
    drop(store);
    let path = folder.path().join("guard.db");
    let mut store = open_quietly(folder.path());
    let size = fs::metadata(&path).unwrap().len();
    // Everything behind the first page: each table's root is gone.
    let mut file = OpenOptions::new().write(true).open(&path).unwrap();
    file.seek(SeekFrom::Start(4096)).unwrap();
    file.write_all(&vec![0x5a; size as usize - 4096]).unwrap();
    drop(file);
    write_bans(&mut store, 50_000..50_001);
    assert_eq!(bans(&mut store, 0), [ban(50_000)]);
    assert_eq!(store.take_notes().len(), 1);
    assert!(store.take_losses() && !store.take_losses(), "who knows more is to give it again");
    assert!(store.snapshot().unwrap().last_id > 50_000);
}

#[test]
fn files_that_are_no_state_are_set_aside() {
    type Spoil = fn(&Path);
    let spoils: [(&str, Spoil); 5] = [
        ("garbage", |p| fs::write(p, b"this is no database, ".repeat(500)).unwrap()),
        ("truncated", |p| OpenOptions::new().write(true).open(p).unwrap().set_len(5000).unwrap()),
        ("short garbage", |p| fs::write(p, b"x").unwrap()),
        ("a directory", |p| {
            fs::remove_file(p).unwrap();
            fs::create_dir(p).unwrap();
        }),
        ("another program's", |p| {
            fs::remove_file(p).unwrap();
            let other = Connection::open(p).unwrap();
            other.execute_batch("CREATE TABLE ban (x); PRAGMA user_version = 1").unwrap();
        }),
    ];
    for (name, spoil) in spoils {
        let (folder, mut store, mut notes) = spoiled(500, spoil);
        write_bans(&mut store, 1000..1010);
        assert!(bans(&mut store, 0).len() >= 10, "{name}");
        notes.extend(store.take_notes());
        assert_eq!(notes.len(), 1, "{name}: {notes:?}");
        assert_eq!(damaged_copies(folder.path()), 1, "{name}");
        drop(store);
        open_quietly(folder.path());
    }
}

#[test]
fn an_empty_file_is_a_new_state() {
    let (_folder, mut store, notes) = spoiled(10, |path| fs::write(path, b"").unwrap());
    assert_eq!(notes, Vec::<String>::new());
    assert_eq!(bans(&mut store, 0), []);
}

#[test]
fn ruins_do_not_fill_the_disk() {
    let folder = tempfile::tempdir().unwrap();
    for n in 0..6 {
        drop(Sqlite::open(folder.path()).unwrap());
        fs::write(folder.path().join("guard.db"), format!("garbage {n}").repeat(200)).unwrap();
    }
    drop(Sqlite::open(folder.path()).unwrap());
    assert_eq!(damaged_copies(folder.path()), 3);
}

/// The child of [`kill_nine_loses_nothing_committed`]: writes bans one by one and says so after each.
#[test]
#[ignore = "run by another test in a process of its own"]
fn writes_until_killed() {
    let Some(folder) = std::env::var_os("GUARD_TEST_STATE") else { return };
    let (mut store, _) = Sqlite::open(Path::new(&folder)).unwrap();
    let from = store.snapshot().unwrap().last_id;
    for n in from.. {
        write_bans(&mut store, n..n + 1);
        println!("kept {n}");
    }
}

#[test]
fn kill_nine_loses_nothing_committed() {
    let folder = tempfile::tempdir().unwrap();
    let mut kept = 0;
    for round in 0..12u64 {
        let mut child = Command::new(std::env::current_exe().unwrap())
            .args(["--exact", "store::sqlite::tests::writes_until_killed", "--ignored", "--nocapture"])
            .env("GUARD_TEST_STATE", folder.path())
            .stdout(Stdio::piped())
            .spawn()
            .unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines();
        // At another point of the work each time: after so many lines, wherever it is then.
        for line in lines.by_ref().take((3 + round * 7 % 23) as usize) {
            line.unwrap();
        }
        child.kill().unwrap();
        child.wait().unwrap();
        for line in lines.map_while(Result::ok) {
            // The last line can be cut in two.
            if let Some(n) = line.strip_prefix("kept ").and_then(|n| n.parse::<u64>().ok()) {
                kept = kept.max(n);
            }
        }
        let (mut store, notes) = Sqlite::open(folder.path()).unwrap();
        assert_eq!(notes, Vec::<String>::new());
        let found = bans(&mut store, 0).len() as u64;
        assert!(found > kept, "{found} bans, {kept} were kept");
        assert_eq!(store.snapshot().unwrap().last_id, found);
    }
}

/// In a mount namespace of its own thread: a small file system in `folder`, gone with the thread.
fn on_small_disk(work: impl FnOnce(&Path) + Send + 'static) {
    if !rustix::process::geteuid().is_root() {
        return harness::skip("mount namespaces need root");
    }
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().to_owned();
    let inside = std::thread::spawn(move || {
        #[allow(unsafe_code, reason = "rustix marks only some flags as safe")]
        // SAFETY: a new mount namespace for this thread changes nothing that other threads rely on.
        unsafe { rustix::thread::unshare_unsafe(rustix::thread::UnshareFlags::NEWNS) }.unwrap();
        mount(&["--make-rprivate", "/"]);
        mount(&["-t", "tmpfs", "-o", "size=2m", "tmpfs", path.to_str().unwrap()]);
        work(&path);
    });
    inside.join().unwrap();
}

fn mount(arguments: &[&str]) {
    assert!(Command::new("mount").args(arguments).status().unwrap().success(), "{arguments:?}");
}

#[test]
fn a_read_only_disk_is_read_and_written_again_when_it_can_be() {
    on_small_disk(|disk| {
        let state = disk.join("state");
        let mut store = open_quietly(&state);
        write_bans(&mut store, 0..100);
        drop(store);
        mount(&["-o", "remount,ro", disk.to_str().unwrap()]);

        let (mut store, notes) = Sqlite::open(&state).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(bans(&mut store, 0).len(), 100);
        let error = store.write(&[Write::Ban(ban(200))]).unwrap_err();
        assert!(matches!(error, StoreError::ReadOnly { .. }), "{error:?}");
        assert_eq!(error.class(), crate::store::StoreErrorClass::Permission);

        let (mut nowhere, notes) = Sqlite::open(&disk.join("never")).unwrap();
        assert_eq!(notes.len(), 1, "{notes:?}");
        assert_eq!(bans(&mut nowhere, 0), []);

        mount(&["-o", "remount,rw", disk.to_str().unwrap()]);
        write_bans(&mut store, 200..201);
        assert_eq!(bans(&mut store, 0).len(), 101);
    });
}

#[test]
fn a_full_disk_refuses_whole_batches_and_recovers() {
    on_small_disk(|disk| {
        let mut store = open_quietly(&disk.join("state"));
        write_bans(&mut store, 0..100);
        fs::write(disk.join("ballast"), vec![0; 1 << 20]).unwrap();
        let writes: Vec<Write> = (1000..30_000).map(|n| Write::Ban(ban(n))).collect();
        let error = store.write(&writes).unwrap_err();
        assert_eq!(error.class(), crate::store::StoreErrorClass::Transient, "{error:?}");
        assert_eq!(bans(&mut store, 0).len(), 100);
        fs::remove_file(disk.join("ballast")).unwrap();
        write_bans(&mut store, 200..201);
        assert_eq!(bans(&mut store, 0).len(), 101);
        drop(store);
        assert_eq!(bans(&mut open_quietly(&disk.join("state")), 0).len(), 101);
    });
}

#[test]
fn a_lock_of_another_program_may_pass() {
    let folder = tempfile::tempdir().unwrap();
    let mut store = open_quietly(folder.path());
    let other = Connection::open(folder.path().join("guard.db")).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let error = store.write(&[Write::Ban(ban(1))]).unwrap_err();
    assert!(matches!(error, StoreError::Unavailable { .. }), "{error}");
    other.execute_batch("ROLLBACK").unwrap();
    write_bans(&mut store, 1..2);
    assert!(!store.take_losses());
}
