//! Files that rotation has moved away: read to their end, read on, and never read twice.

use super::*;
use crate::source::file::folder::Listings;

/// Takes lines, and writes more while it does so.
struct Writing(PathBuf, Vec<&'static str>);

impl Scan for Writing {
    fn lines(&mut self, chunk: &[u8], reading: Reading, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        self.1.pop().into_iter().for_each(|text| append(&self.0, text));
        EveryLine.lines(chunk, reading, hit)
    }

    fn wants(&self, _: &[u8]) -> bool {
        false
    }

    fn trusts(&self, _: &[u8], _: &Sender<'_>) -> bool {
        false
    }

    fn entry<'a>(&'a mut self, _: &Entry<'a>) -> Option<Sighting<'a>> {
        None
    }
}

fn marks(run: &Run) -> Vec<position::Mark> {
    let position = run.position.as_ref().unwrap();
    position::decode(&position.place).unwrap()
}

/// Waits until a file has been read to its end and closed.
fn until_closed(run: &mut Run) {
    run.until("closed", |run| marks(run).iter().any(|mark| mark.ended));
}

fn quick() -> Options {
    Options { linger: Duration::from_millis(50), rescan: Duration::from_millis(100), ..Options::default() }
}

/// Gives a running reader a file that was found, and waits until it is followed.
fn find(run: &mut Run, number: u16, path: &Path, since: Wall) {
    let origin = Origin::Found { since: Some(since) };
    run.inbox.add(Followed { origin, ..Followed::named(SourceId(number), path.to_owned()) });
    let name = path.to_string_lossy().into_owned();
    run.until("followed", |run| run.status.as_ref().is_some_and(|status| status.name == name));
}

#[test]
fn a_line_that_comes_while_a_file_is_ended_is_read() {
    let (_dir, log) = place();
    append(&log, "");
    let scan = Writing(beside(&log, ".1"), vec!["four", "three\n", "two\n"]);
    let (_, waiting) = inbox().unwrap();
    let options = Options { linger: Duration::ZERO, ..Options::default() };
    let files = vec![Followed::named(SourceId(0), log.clone())];
    let mut reader = FileReader::new(files, waiting, options, Box::new(scan)).unwrap();
    reader.attach();
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "");
    append(&beside(&log, ".1"), "one\n");
    reader.rescan();
    reader.attach();
    let (to, from) = sync_channel(100);
    let mut sink = Channel { to, left: usize::MAX, begun: Arc::default() };
    for _ in 0..8 {
        reader.read_once(&mut sink, &mut 0).unwrap();
    }
    let mut lines = Vec::new();
    for delivery in from.try_iter() {
        if let Delivery::Batch(batch) = delivery {
            lines.extend(batch.sightings().map(|s| String::from_utf8(s.line.to_vec()).unwrap()));
        }
    }
    assert_eq!(lines, ["one", "two", "three", "four"]);
}

#[test]
fn what_is_written_to_a_rotated_file_late_is_read() {
    let (_dir, log) = place();
    append(&log, "");
    // A look is hours away: the kernel tells.
    let options = Options { rescan: Duration::from_secs(3600), ..quick() };
    let mut run = Run::with(&log, None, options, usize::MAX).reading();
    let mut writer = OpenOptions::new().append(true).open(&log).unwrap();
    writer.write_all(b"a\n").unwrap();
    run.expect(&["a"]);
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "");
    until_closed(&mut run);
    writer.write_all(b"b\n").unwrap();
    run.expect(&["a", "b"]);
    until_closed(&mut run);
    // Renamed once more: found at a look. Also after a restart, and with what was written meanwhile.
    fs::rename(beside(&log, ".1"), beside(&log, ".2")).unwrap();
    writer.write_all(b"c\n").unwrap();
    let mut run = Run::with(&log, run.end().position, quick(), usize::MAX);
    run.expect(&["c"]);
    until_closed(&mut run);
    fs::rename(beside(&log, ".2"), beside(&log, ".3")).unwrap();
    writer.write_all(b"d\n").unwrap();
    run.expect(&["c", "d"]);
    until_closed(&mut run);
    let run = run.end();
    assert_eq!(run.count.gaps, 0);
    // It goes at last, and nothing is lost with it.
    fs::remove_file(beside(&log, ".3")).unwrap();
    let mut run = Run::with(&log, run.position, quick(), usize::MAX).reading();
    append(&log, "e\n");
    run.expect(&["e"]);
    assert_eq!(run.end().count.gaps, 0);
}

#[test]
fn other_bytes_behind_the_end_of_a_closed_file_are_a_gap() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::with(&log, None, quick(), usize::MAX).reading();
    append(&log, "a\n");
    run.expect(&["a"]);
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "");
    until_closed(&mut run);
    fs::write(beside(&log, ".1"), "b and more\n").unwrap();
    append(&log, "c\n");
    run.expect(&["a", "c"]);
    run.until("a gap", |run| run.count.gaps > 0);
    assert_eq!(run.end().count.gaps, 1);
}

#[test]
fn a_file_that_was_read_to_its_end_is_no_gap_when_it_has_gone() {
    let (_dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, "a\n");
    run.expect(&["a"]);
    fs::remove_file(&log).unwrap();
    until_closed(&mut run);
    let mut position = run.end().position;
    for _ in 0..2 {
        let mut run = Run::new(&log, position);
        run.says("waiting");
        let run = run.end();
        assert_eq!(run.count.gaps, 0);
        position = run.position;
    }
    // One that went unread is told of once.
    append(&log, "b\n");
    let mut run = Run::new(&log, position);
    run.expect(&["b"]);
    let mut position = run.end().position;
    fs::remove_file(&log).unwrap();
    for gaps in [1, 0] {
        let mut run = Run::new(&log, position);
        run.says("waiting");
        let run = run.end();
        assert_eq!(run.count.gaps, gaps);
        position = run.position;
    }
}

#[test]
fn a_place_of_an_older_version_is_understood() {
    let (_dir, log) = place();
    append(&log, "a\nb\n");
    let identity::Identity { device, inode, born } = identity::Identity::of(&log.metadata().unwrap());
    let read = identity::fingerprint(b"a\n");
    let place = format!("1 {device:x}:{inode:x}:{born:x}:2:0:{read:x}:{read:x}:5");
    let position = Position { source: log.to_string_lossy().into_owned(), place };
    let mut run = Run::new(&log, Some(position));
    run.expect(&["b"]);
    assert_eq!(run.end().count.gaps, 0);
}

#[test]
fn logs_with_numbers_side_by_side_are_read_once_each() {
    let (dir, log) = place();
    let second = dir.path().join("auth-2.log");
    append(&log, "");
    let since = Wall::now();
    std::thread::sleep(Duration::from_millis(20));
    let mut run = Run::with(&log, None, quick(), usize::MAX).reading();
    append(&log, "a\n");
    run.expect(&["a"]);
    append(&second, "first of the second\n");
    find(&mut run, 1, &second, since);
    run.expect(&["a", "first of the second"]);
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&second, "b\n");
    run.until("b", |run| run.lines.len() == 3);
    append(&log, "c\n");
    run.expect(&["a", "first of the second", "b", "c"]);
    append(&log, "d\n");
    run.expect(&["a", "first of the second", "b", "c", "d"]);
    assert_eq!(run.end().count.gaps, 0);
}

#[test]
fn numbered_files_that_are_found_after_a_rotation_are_not_read_again() {
    let (dir, log) = place();
    let numbered = |number: u16| dir.path().join(format!("auth.{number}.log"));
    append(&log, "");
    let since = Wall::now();
    std::thread::sleep(Duration::from_millis(20));
    let mut run = Run::with(&log, None, quick(), usize::MAX).reading();
    let mut expected = Vec::new();
    for rotation in 1..5 {
        append(&log, &format!("{rotation}\n"));
        expected.push(rotation.to_string());
        run.until("a line", |run| run.lines.len() >= expected.len());
        for number in (1..rotation).rev() {
            fs::rename(numbered(number), numbered(number + 1)).unwrap();
        }
        fs::rename(&log, numbered(1)).unwrap();
        append(&log, "");
        find(&mut run, rotation, &numbered(rotation), since);
        std::thread::sleep(Duration::from_millis(300));
    }
    // Whoever has it open now, a line comes once.
    for number in 1..5 {
        append(&numbered(number), &format!("late {number}\n"));
        expected.push(format!("late {number}"));
        run.until("a late line", |run| run.lines.len() >= expected.len());
        std::thread::sleep(Duration::from_millis(300));
    }
    // By copy: the log itself begins anew.
    append(&log, "short\n");
    expected.push("short".to_owned());
    run.until("a line", |run| run.lines.len() >= expected.len());
    fs::copy(&log, dir.path().join("auth-7.log")).unwrap();
    File::options().write(true).truncate(true).open(&log).unwrap();
    append(&log, "end\n");
    expected.push("end".to_owned());
    run.until("a line", |run| run.lines.len() >= expected.len());
    find(&mut run, 7, &dir.path().join("auth-7.log"), since);
    std::thread::sleep(Duration::from_millis(300));
    let run = run.end();
    assert_eq!(run.lines, expected);
    assert_eq!(run.count.gaps, 0);
}

#[test]
fn a_file_that_moves_after_its_folder_was_listed_is_found() {
    let (dir, log) = place();
    append(&log, "");
    let mut run = Run::new(&log, None).reading();
    append(&log, "a\n");
    run.expect(&["a"]);
    let position = run.end().position;
    let mut listings = Listings::default();
    assert_eq!(listings.find(dir.path(), identity::Identity::of(&log.metadata().unwrap())).len(), 1);
    fs::rename(&log, beside(&log, ".1")).unwrap();
    append(&log, "");
    let followed = Followed { position, ..Followed::named(SourceId(0), log) };
    let mut tail = Tail::new(followed, 0, &mut listings);
    assert_eq!(tail.last_batch().read.gaps, 0);
    assert!(tail.marks().any(|mark| mark.offset == 2), "it goes on where it was");
}

#[test]
fn waiting_asks_the_kernel_nothing() {
    let (_dir, log) = place();
    append(&log, "a\n");
    let files = vec![Followed::named(SourceId(0), log.clone())];
    let (_, waiting) = inbox().unwrap();
    let mut reader = FileReader::new(files, waiting, Options::default(), Box::new(EveryLine)).unwrap();
    let (to, _from) = sync_channel(100);
    let mut sink = Channel { to, left: usize::MAX, begun: Arc::default() };
    reader.attach();
    fs::rename(&log, beside(&log, ".1")).unwrap();
    reader.rescan();
    reader.attach();
    fs::remove_file(beside(&log, ".1")).unwrap();
    // What has happened is found when it is read, not each time somebody asks how long to wait.
    assert_eq!(reader.tails[0].deadline(Duration::ZERO), None);
    reader.read_once(&mut sink, &mut 0).unwrap();
    reader.rescan();
    assert!(reader.tails[0].deadline(Duration::from_secs(9)).is_some());
}
