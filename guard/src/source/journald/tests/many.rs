//! Many files: which entries of them are read, in which order, and how soon after they were written.

use std::os::unix::net::UnixDatagram;

use super::*;

/// Archived files beside the one in use.
const ARCHIVED: usize = 500;
/// How soon a new entry is delivered.
const SOON: Duration = Duration::from_secs(1);

#[test]
fn files_of_two_boots_whose_clocks_overlap_are_read_whole_and_one_after_the_other() {
    if lacks(REMOTE) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let (odd, even) = ((1..6000).step_by(2), (2..6000).step_by(2));
    let archived = dir.path().join("system@0123-01-02.journal");
    write_boot(&archived, true, 1, odd);
    let first = journalctl(dir.path());
    write_boot(&dir.path().join("system.journal"), true, 2, even);
    let all = journalctl(dir.path());
    assert!(first.len() > 500 && all.len() > 1000);
    let is_first = |row: &Row| first.contains(row);
    assert!(
        all.iter().take(100).any(is_first) && !all.iter().take(100).all(is_first),
        "they are interleaved"
    );

    let mut run = Run::all(dir.path());
    run.until("all entries", |run| run.count.lines >= 5_999);
    let (rows, count, position) = run.end();
    assert_eq!(
        rows[..first.len()],
        first,
        "the file whose first entry is older comes first, in its own order"
    );
    let second: Vec<_> = all.iter().filter(|row| !is_first(row)).cloned().collect();
    assert_eq!(rows[first.len()..], second, "then the other");
    assert_eq!((count.lines, count.gaps), (5_999, 0));

    let (rows, count, _) = Run::new(dir.path(), position).reading().end();
    assert_eq!((rows, count.gaps), (vec![], 0), "nothing is read twice");
}

/// Makes an archived file many, as sparse as the bytes behind its last entry allow.
fn copy_archived(var: &Path, count: usize) {
    let machine = fs::read_dir(var).unwrap().flatten().next().unwrap().path();
    let files = fs::read_dir(&machine).unwrap().flatten().map(|entry| entry.path());
    let archived = |path: &PathBuf| path.file_name().unwrap().to_string_lossy().starts_with("system@");
    let bytes = fs::read(files.into_iter().find(archived).unwrap()).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap() + 1;
    for number in 1..count {
        let copy = fs::File::create(machine.join(format!("system@{number:032x}-1-1.journal"))).unwrap();
        (&copy).write_all(&bytes[..used]).unwrap();
        copy.set_len(bytes.len() as u64).unwrap();
    }
}

#[test]
fn beside_five_hundred_archived_files_a_new_entry_is_delivered_within_a_second() {
    if lacks(JOURNALD) {
        return;
    }
    let journald = Journald::start("late");
    let socket = format!("/proc/{}/root/run/systemd/journal/dev-log", journald.child.id());
    let sender = UnixDatagram::unbound().unwrap();
    let send = |message: &str| sender.send_to(format!("<38>sshd[1]: {message}").as_bytes(), &socket).unwrap();
    send("old");
    journald.until("a journal", |j| j.journals() > 0);
    journald.until("an entry", |j| !journalctl(&j.var()).is_empty());
    journald.signal("-USR2");
    journald.until("rotation", |j| j.journals() > 1);
    copy_archived(&journald.var(), ARCHIVED);
    let expect = |run: &mut Run, message: &str| {
        let sent = Instant::now();
        send(message);
        run.until("the new entry", |run| run.messages().last() == Some(&message));
        assert!(sent.elapsed() < SOON, "{:?}", sent.elapsed());
    };

    let begun = Instant::now();
    let mut run = Run::new(&journald.var(), None).reading();
    assert!(begun.elapsed() < SOON, "{:?} until the journal is followed", begun.elapsed());
    expect(&mut run, "new");
    // A rotation makes the folder be looked at again.
    let before = journald.journals();
    journald.signal("-USR2");
    journald.until("rotation", |j| j.journals() > before);
    expect(&mut run, "newer");
    assert_eq!(run.messages(), ["new", "newer"]);
    let (_, count, position) = run.end();
    assert_eq!(count.gaps, 0);

    send("meanwhile");
    let begun = Instant::now();
    let mut run = Run::new(&journald.var(), position);
    run.expect(&["meanwhile"]);
    assert!(begun.elapsed() < SOON, "{:?} after a restart", begun.elapsed());
}

#[test]
fn a_boot_whose_clock_is_behind_is_read_though_its_numbers_say_nothing() {
    if lacks(REMOTE) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("system.journal");
    write_boot(&path, true, 1, 5000..5600);
    let mut run = Run::all(dir.path());
    run.until("the old boot", |run| run.count.lines >= 600);
    let (_, _, position) = run.end();
    // A journal in memory ends with its boot.
    fs::remove_file(&path).unwrap();
    write_boot(&path, true, present_boot(), 1..600);
    let new = journalctl(dir.path());
    assert!(new.len() > 100);
    let mut run = Run::new(dir.path(), position);
    run.until("the new boot", |run| run.rows.len() >= new.len());
    assert_eq!(run.end().0, new);
}

#[test]
fn the_file_in_use_is_tried_again_after_it_could_not_be_read() {
    if lacks(REMOTE) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("system.journal");
    write_journal(&path, true, 1..3000);
    let (all, bytes) = (journalctl(dir.path()), fs::read(&path).unwrap());
    let used = bytes.iter().rposition(|b| *b != 0).unwrap();
    let file = fs::File::options().write(true).open(&path).unwrap();
    file.set_len(used as u64 * 3 / 4).unwrap();
    let mut run = Run::all(dir.path());
    run.until("the damage", |run| run.count.gaps > 0);
    assert!(run.rows.len() < all.len());
    (&file).write_all(&bytes).unwrap();
    run.until("the rest", |run| run.rows.len() >= all.len());
    let (rows, count, _) = run.end();
    assert_eq!(rows, all);
    assert_eq!(count.gaps, 1, "however often it was tried");
}
