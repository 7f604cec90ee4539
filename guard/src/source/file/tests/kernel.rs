//! What the kernel refuses and what it does not tell.

use std::fs::Permissions;
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};

use super::*;

#[test]
fn what_the_kernel_did_not_tell_is_found_by_a_look() {
    let (_dir, log) = place();
    append(&log, "");
    let (to, from) = sync_channel(100);
    let mut sink = Channel { to, left: usize::MAX, begun: Arc::default() };
    let files = vec![Followed::named(SourceId(0), log.clone())];
    let (_, waiting) = inbox().unwrap();
    let mut reader = FileReader::new(files, waiting, Options::default(), Box::new(EveryLine)).unwrap();
    reader.attach();
    reader.read_once(&mut sink, &mut 0).unwrap();
    append(&log, "a\n");
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "b\n");
    // As if the queue had overflowed: every event is lost.
    reader.watch.changes(|_| {}).unwrap();
    reader.read_once(&mut sink, &mut 0).unwrap();
    assert!(from.try_iter().all(|d| matches!(d, Delivery::Batch(b) if b.is_empty())));
    reader.rescan();
    reader.attach();
    for _ in 0..3 {
        reader.read_once(&mut sink, &mut 0).unwrap();
    }
    let lines: Vec<_> = from
        .try_iter()
        .filter_map(|d| if let Delivery::Batch(batch) = d { Some(batch) } else { None })
        .flat_map(|batch| batch.sightings().map(|s| s.line.to_vec()).collect::<Vec<_>>())
        .collect();
    assert_eq!(lines, [b"a".to_vec(), b"b".to_vec()]);
}

#[test]
fn a_queue_that_overflows_hides_nothing() {
    let (dir, log) = place();
    append(&log, "");
    // Only the overflow itself makes the reader look again.
    let options = Options { rescan: Duration::from_secs(3600), ..Options::default() };
    let (to, from) = sync_channel(0);
    let begun = Arc::new(AtomicUsize::new(0));
    let channel = Channel { to, left: usize::MAX, begun: begun.clone() };
    let mut run = Run::start(&log, None, options, (channel, from), || {}).reading();
    // Held: it has a line in its hands that nobody takes.
    let held = begun.load(Ordering::SeqCst) + 1;
    append(&log, "a\n");
    let deadline = Instant::now() + PATIENCE;
    while begun.load(Ordering::SeqCst) < held {
        assert!(Instant::now() < deadline, "the reader has not read");
        std::thread::yield_now();
    }
    let most = fs::read_to_string("/proc/sys/fs/inotify/max_queued_events").unwrap();
    let most: u32 = most.trim().parse().unwrap();
    for number in 0..=most / 2 {
        let name = dir.path().join(format!("other-{number}"));
        File::create(&name).unwrap();
        fs::remove_file(&name).unwrap();
    }
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "b\n");
    fs::rename(&log, beside(&log, ".2")).unwrap();
    append(&log, "c\n");
    run.expect(&["a", "b", "c"]);
    append(&log, "d\n");
    run.expect(&["a", "b", "c", "d"]);
    assert_eq!(run.end().count.gaps, 0);
}

/// Gives up the rights of root in this thread, and no other: modes of files hold for it then (capabilities(7)).
fn become_nobody() {
    let nobody = rustix::process::Uid::from_raw(65534);
    if rustix::process::geteuid().is_root() {
        rustix::thread::set_thread_res_uid(nobody, nobody, nobody).unwrap();
    }
}

#[test]
fn a_permission_that_is_taken_away_and_given_back_costs_no_line() {
    let (dir, log) = place();
    let mode = |path: &Path, mode| fs::set_permissions(path, Permissions::from_mode(mode)).unwrap();
    let create = |mode| OpenOptions::new().append(true).create_new(true).mode(mode).open(&log).unwrap();
    mode(dir.path(), 0o755);
    let mut writer = create(0o644);
    let options = Options { linger: Duration::from_millis(50), ..Options::default() };
    let (to, from) = sync_channel(4);
    let channel = Channel { to, left: usize::MAX, begun: Arc::default() };
    let mut run = Run::start(&log, None, options, (channel, from), become_nobody).reading();
    writer.write_all(b"a\n").unwrap();
    run.expect(&["a"]);
    // What is open stays so.
    mode(&log, 0);
    writer.write_all(b"b\n").unwrap();
    run.expect(&["a", "b"]);
    // The next file is not to be had.
    fs::rename(&log, beside(&log, ".1")).unwrap();
    let mut writer = create(0);
    run.says("ermission");
    writer.write_all(b"c\n").unwrap();
    mode(&log, 0o644);
    run.expect(&["a", "b", "c"]);
    run.says("reading");
    // Nor is anything in the folder.
    mode(dir.path(), 0);
    run.says("ermission");
    writer.write_all(b"d\n").unwrap();
    mode(dir.path(), 0o755);
    run.expect(&["a", "b", "c", "d"]);
    run.says("reading");
    assert_eq!(run.end().count.gaps, 0);
}
