//! The reader beside the real thing: journals written by systemd's own programs, compared with `journalctl`.
//!
//! journald runs in a mount namespace of its own, where `/run`, `/var/log` and `/dev` are its own too; only its
//! journal folder is shared with the test.

use std::fmt::Write as _;
use std::fs;
use std::io::Write as _;
use std::net::{IpAddr, Ipv4Addr};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::sync::mpsc::{Receiver, SyncSender, sync_channel};
use std::thread::JoinHandle;

use super::*;
use crate::sighting::{Kind, PatternId, Points, Sighting};
use crate::source::{Entry, ReadCount, Reading, Scanned, Sender};

mod compressed;
mod many;
mod transport;

const REMOTE: &str = "/lib/systemd/systemd-journal-remote";
const JOURNALD: &str = "/lib/systemd/systemd-journald";
/// A program of root that relays what others say.
const RELAY: &str = "relay";
const PATIENCE: Duration = Duration::from_secs(60);

/// Takes every entry of sshd for a sighting, with the command name as its account.
struct Sshd;

impl Scan for Sshd {
    fn lines(&mut self, _: &[u8], _: Reading, _: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        Scanned::default()
    }

    fn wants(&self, identifier: &[u8]) -> bool {
        identifier == b"sshd"
    }

    fn trusts(&self, identifier: &[u8], sender: &Sender<'_>) -> bool {
        assert_eq!(identifier, b"sshd");
        sender.uid == 0 && sender.command != RELAY.as_bytes()
    }

    fn entry<'a>(&'a mut self, entry: &Entry<'a>) -> Option<Sighting<'a>> {
        Some(Sighting {
            at: Some(entry.at),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            kind: Kind::FailedPassword,
            points: Points(1000),
            pattern: PatternId::default(),
            pid: entry.pid,
            port: entry.message.len() as u16,
            account: Some(entry.sender.command),
            service: &[],
            request: None,
            line: entry.message,
        })
    }
}

/// Whether a program cannot be run here, which the test then says it is skipped for. journald needs root.
fn lacks(program: &str) -> bool {
    if !Path::new(program).exists() {
        harness::skip(&format!("{program} is not installed"));
    } else if program == JOURNALD && !rustix::process::geteuid().is_root() {
        harness::skip("mount namespaces need root");
    } else {
        return false;
    }
    true
}

struct Channel(SyncSender<Delivery>);

impl Sink for Channel {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        self.0.send(delivery).map_err(|_| Closed)
    }
}

/// A sighting as the tests compare it: message (its first bytes), its length, pid, comm, milliseconds.
type Row = (String, u16, u32, String, i64);

struct Run {
    stop: Stop,
    thread: JoinHandle<Result<(), ReadError>>,
    from: Receiver<Delivery>,
    rows: Vec<Row>,
    count: ReadCount,
    position: Option<Position>,
    status: Option<SourceStatus>,
}

impl Run {
    fn new(folder: &Path, position: Option<Position>) -> Self {
        Self::with(folder, position, Options::default())
    }

    fn with(folder: &Path, position: Option<Position>, options: Options) -> Self {
        Self::scanned(folder, position, options, Box::new(Sshd))
    }

    fn scanned(folder: &Path, position: Option<Position>, options: Options, scan: Box<dyn Scan>) -> Self {
        let (to, from) = sync_channel(4);
        let stop = Stop::new().unwrap();
        let folders = vec![folder.to_owned()];
        let reader = JournalReader::new(SourceId(0), folders, position.as_ref(), options, scan).unwrap();
        let signal = stop.clone();
        let thread = std::thread::spawn(move || reader.run(&mut Channel(to), &signal));
        Self { stop, thread, from, rows: vec![], count: ReadCount::default(), position, status: None }
    }

    /// From the first entry on, also of what is there already.
    fn all(folder: &Path) -> Self {
        Self::new(folder, Some(Position { source: NAME.into(), place: Cursor::default().encode() }))
    }

    fn take(&mut self, delivery: Delivery) {
        match delivery {
            Delivery::Status(_, status) => self.status = Some(status),
            Delivery::Gone(_) => {}
            Delivery::Batch(batch) => {
                self.rows.extend(batch.sightings().map(|s| {
                    let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
                    (text(s.line), s.port, s.pid, text(s.account.unwrap_or_default()), s.at.unwrap().0)
                }));
                self.count.add(&batch.read);
                self.position = batch.position;
            }
        }
    }

    fn until(&mut self, what: &str, mut done: impl FnMut(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            match self.from.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
                Ok(delivery) => self.take(delivery),
                Err(e) => {
                    panic!("{what}: {e}; {} rows, {:?}, {:?}", self.rows.len(), self.count, self.status)
                }
            }
        }
    }

    fn reading(mut self) -> Self {
        self.until("reading", |run| run.status.as_ref().is_some_and(|s| s.healthy));
        self
    }

    fn messages(&self) -> Vec<&str> {
        self.rows.iter().map(|row| &row.0[..]).collect()
    }

    fn expect(&mut self, messages: &[&str]) {
        self.until(&format!("expecting {messages:?}"), |run| run.rows.len() >= messages.len());
        assert_eq!(self.messages(), messages);
    }

    fn end(self) -> (Vec<Row>, ReadCount, Option<Position>) {
        self.stop.set();
        let mut run = self;
        while let Ok(delivery) = run.from.recv() {
            run.take(delivery);
        }
        run.thread.join().unwrap().unwrap();
        (run.rows, run.count, run.position)
    }
}

/// What `journalctl` says of the trusted sshd entries of these files, oldest first.
fn journalctl(folder: &Path) -> Vec<Row> {
    let out = Command::new("journalctl")
        .args(["-o", "json", "--all", "--no-pager", "-D"])
        .arg(folder)
        .args(["SYSLOG_IDENTIFIER=sshd", "_UID=0"])
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    let rows = out.stdout.split(|b| *b == b'\n').filter(|line| !line.is_empty()).map(|line| {
        let entry: serde_json::Value = serde_json::from_slice(line).unwrap();
        let text = |name: &str| entry[name].as_str().unwrap_or_default().to_owned();
        let message = match &entry["MESSAGE"] {
            serde_json::Value::Array(bytes) => bytes.iter().map(|b| b.as_u64().unwrap() as u8).collect(),
            message => message.as_str().unwrap().as_bytes().to_vec(),
        };
        let kept = &message[..message.len().min(crate::encode::EVIDENCE + 1)];
        let at: i64 = text("__REALTIME_TIMESTAMP").parse().unwrap();
        let pid = text("_PID").parse().unwrap_or(0);
        (String::from_utf8_lossy(kept).into_owned(), message.len() as u16, pid, text("_COMM"), at / 1000)
    });
    rows.collect()
}

/// Entries of a boot in the export format, every fifth from an unprivileged sender and some so long that they are
/// compressed.
fn export(boot: u128, entries: impl Iterator<Item = u64>) -> String {
    let mut out = String::new();
    for n in entries {
        let identifier = ["sshd", "CRON", "sudo"][(n % 3) as usize];
        let uid = if n % 5 == 0 { 1000 } else { 0 };
        let long = if n % 97 == 0 { "long text ".repeat(n as usize / 2) } else { String::new() };
        writeln!(
            out,
            "__REALTIME_TIMESTAMP={}\n__MONOTONIC_TIMESTAMP={}\n_BOOT_ID={boot:032x}\n\
             SYSLOG_IDENTIFIER={identifier}\n_UID={uid}\n_COMM={identifier}\n_PID={}\n\
             _SYSTEMD_UNIT=ssh.service\nMESSAGE=Failed password for root from 192.0.2.{} port {n}{long}\n",
            1_700_000_000_000_000 + n * 1000,
            1_000_000 + n * 1000,
            n / 3,
            n % 250,
        )
        .unwrap();
    }
    out
}

/// Writes a journal with systemd's own writer.
fn write_journal(path: &Path, compact: bool, entries: std::ops::Range<u64>) {
    write_boot(path, compact, 0x0123_4567_89ab_cdef, entries);
}

/// The same, of a boot of its own.
fn write_boot(path: &Path, compact: bool, boot: u128, entries: impl Iterator<Item = u64>) {
    let input = path.with_extension("export");
    fs::write(&input, export(boot, entries)).unwrap();
    let out = Command::new(REMOTE)
        .env("SYSTEMD_JOURNAL_COMPACT", if compact { "1" } else { "0" })
        .env("SYSTEMD_JOURNAL_KEYED_HASH", if compact { "1" } else { "0" })
        .arg("-o")
        .arg(path)
        .arg(&input)
        .output()
        .unwrap();
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    fs::remove_file(input).unwrap();
}

#[test]
fn every_format_reads_as_journalctl_reads_it() {
    if lacks(REMOTE) {
        return;
    }
    for compact in [true, false] {
        let dir = tempfile::tempdir().unwrap();
        write_journal(&dir.path().join("system.journal"), compact, 1..10_000);
        let expected = journalctl(dir.path());
        assert!(expected.iter().any(|row| row.1 > 8000) && expected.len() > 2000);
        let mut run = Run::all(dir.path());
        run.until("all entries", |run| run.count.lines >= 9_999);
        let (rows, count, _) = run.end();
        assert_eq!(rows, expected);
        assert_eq!((count.lines, count.matched, count.gaps), (9_999, expected.len() as u64, 0));
        assert_eq!(count.untrusted, 9_999 / 15);
    }
}

#[test]
fn it_goes_on_where_it_stopped_through_any_position() {
    if lacks(REMOTE) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_journal(&dir.path().join("system.journal"), true, 1..9_000);
    let all = journalctl(dir.path());
    let mut whole = Run::all(dir.path());
    let mut positions = Vec::new();
    while whole.rows.len() < all.len() {
        let delivery = whole.from.recv_timeout(PATIENCE).unwrap();
        whole.take(delivery);
        positions.push((whole.rows.len(), whole.position.clone()));
    }
    assert!(positions.len() > 2);
    for (read, position) in positions {
        let mut run = Run::new(dir.path(), position);
        run.until("the rest", |run| run.rows.len() >= all.len() - read);
        assert_eq!(run.end().0, all[read..]);
    }
}

#[test]
fn damage_is_reported_and_the_other_files_are_read() {
    if lacks(REMOTE) {
        return;
    }
    let dir = tempfile::tempdir().unwrap();
    write_journal(&dir.path().join("system.journal"), true, 600..1200);
    let expected = journalctl(dir.path());
    let other = tempfile::tempdir().unwrap();
    write_journal(&other.path().join("system.journal"), true, 1..600);
    let bytes = fs::read(other.path().join("system.journal")).unwrap();
    let used = bytes.iter().rposition(|b| *b != 0).unwrap();
    // Objects begin behind the hash tables, which are nearly empty: most of the damage goes where data is.
    let objects = used - used.min(300_000);
    let mut seed = 7_u64;
    for round in 0..60_usize {
        let mut damaged = bytes.clone();
        for n in 0..=round * 20 {
            seed = seed.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
            let start = if n % 8 == 0 { 16 } else { objects };
            damaged[start + (seed >> 20) as usize % (used - start)] = (seed >> 56) as u8;
        }
        let path = dir.path().join("system@0123-01-02.journal");
        fs::write(&path, &damaged[..if round % 4 == 0 { used / 2 } else { damaged.len() }]).unwrap();
        let mut run = Run::all(dir.path());
        // The damaged file is read first and may give anything; then comes all of the good one.
        run.until(&format!("round {round}"), |run| run.rows.ends_with(&expected));
        drop(run.end());
        fs::remove_file(path).unwrap();
    }
    fs::write(dir.path().join("system@0123-01-03.journal"), "no journal at all").unwrap();
    let mut run = Run::all(dir.path()).reading();
    run.until("all", |run| run.rows.len() >= expected.len());
    assert!(run.status.as_ref().unwrap().state.contains("system@0123-01-03.journal"));
    assert!(run.end().1.gaps > 0);
}

/// A real journald.
struct Journald {
    child: Child,
    dir: tempfile::TempDir,
}

const NAMESPACE: &str = r#"
set -e
mount -t tmpfs none /run
mkdir -p /run/systemd/journal /run/systemd/journald.conf.d /run/log /run/dev
[ "$2" = early ] || touch /run/systemd/journal/flushed
printf '[Journal]\nStorage=persistent\nRateLimitIntervalSec=0\nSystemMaxFiles=1000\nReadKMsg=no\nAudit=no\n' \
    > /run/systemd/journald.conf.d/test.conf
mount -t tmpfs none /var/log
mkdir -p /var/log/journal
mount --bind "$1/var" /var/log/journal
mkdir -p /run/log/journal
mount --bind "$1/run" /run/log/journal
mount -t tmpfs none /run/dev
for node in null zero full random urandom; do touch /run/dev/$node; mount --bind /dev/$node /run/dev/$node; done
ln -s /run/systemd/journal/dev-log /run/dev/log
mount --rbind /run/dev /dev
exec /lib/systemd/systemd-journald
"#;

impl Journald {
    fn start(mode: &str) -> Self {
        let dir = tempfile::tempdir().unwrap();
        fs::create_dir(dir.path().join("var")).unwrap();
        fs::create_dir(dir.path().join("run")).unwrap();
        let child = Command::new("unshare")
            .args(["-m", "--propagation", "private", "sh", "-c", NAMESPACE, "journald"])
            .arg(dir.path())
            .arg(mode)
            .stdin(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .unwrap();
        let journald = Self { child, dir };
        journald.until("the socket", |j| j.inside(&["test", "-S", "/run/systemd/journal/dev-log"]));
        journald
    }

    fn until(&self, what: &str, done: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + PATIENCE;
        while !done(self) {
            assert!(Instant::now() < deadline, "{what}");
            std::thread::yield_now();
        }
    }

    fn inside(&self, command: &[&str]) -> bool {
        let mut enter = Command::new("nsenter");
        enter.args(["-m", "-t", &self.child.id().to_string()]).args(command);
        enter.stderr(Stdio::null()).status().unwrap().success()
    }

    fn log(&self, message: &str) {
        assert!(self.inside(&["logger", "-t", "sshd", message]));
    }

    fn forge(&self, message: &str) {
        let nobody = ["setpriv", "--reuid=65534", "--clear-groups", "logger", "-t", "sshd", message];
        assert!(self.inside(&nobody));
    }

    /// A program of root that sends a message and lives until its input is closed: of a process that is gone when
    /// journald reads its message there is no command name.
    fn relay(&self, message: &str) -> Child {
        fs::copy("/usr/bin/logger", self.dir.path().join("run").join(RELAY)).unwrap();
        let program = Path::new("/run/log/journal").join(RELAY);
        let mut enter = Command::new("nsenter");
        enter.args(["-m", "-t", &self.child.id().to_string()]).arg(program).args(["-t", "sshd"]);
        let mut relay = enter.stdin(Stdio::piped()).spawn().unwrap();
        writeln!(relay.stdin.as_mut().unwrap(), "{message}").unwrap();
        relay
    }

    fn signal(&self, name: &str) {
        assert!(Command::new("kill").args([name, &self.child.id().to_string()]).status().unwrap().success());
    }

    fn var(&self) -> PathBuf {
        self.dir.path().join("var")
    }

    fn journals(&self) -> usize {
        let machine = fs::read_dir(self.var()).unwrap().flatten().next();
        machine.map_or(0, |machine| fs::read_dir(machine.path()).unwrap().count())
    }
}

impl Drop for Journald {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[test]
fn a_real_journald_is_followed_through_rotation_and_vacuum_and_forgeries_are_refused() {
    if lacks(JOURNALD) {
        return;
    }
    let journald = Journald::start("late");
    journald.log("before");
    let var = journald.var();
    journald.until("a journal", |j| j.journals() > 0);
    journald.until("an entry", |_| !journalctl(&var).is_empty());
    let mut run = Run::new(&var, None).reading();
    journald.log("one");
    journald.forge("forged");
    let mut relay = journald.relay("relayed");
    run.until("both are refused", |run| run.count.untrusted == 2);
    drop(relay.stdin.take());
    assert!(relay.wait().unwrap().success());
    journald.log("two");
    run.expect(&["one", "two"]);
    let mut expected = vec!["one".to_owned(), "two".to_owned()];
    for round in 0..5 {
        let before = journald.journals();
        for n in 0..20 {
            expected.push(format!("{round} {n}"));
            journald.log(expected.last().unwrap());
        }
        journald.signal("-USR2");
        journald.until("rotation", |j| j.journals() > before);
    }
    run.until("all", |run| run.rows.len() >= expected.len());
    assert_eq!(run.messages(), expected);
    assert_eq!(run.count.gaps, 0);
    let position = run.position.clone();
    drop(run.end());
    // Of root there are also the entry before the start and the relayed one.
    let written = expected.len() + 2;
    assert_eq!(journalctl(&var).len(), written);
    // Read on from a place that is gone.
    journald.log("lost");
    journald.until("lost", |_| journalctl(&var).len() == written + 1);
    let before = journald.journals();
    journald.signal("-USR2");
    journald.until("rotation", |j| j.journals() > before);
    journald.log("kept");
    journald.until("kept", |_| journalctl(&var).len() == written + 2);
    let vacuum = Command::new("journalctl").arg("-D").arg(&var).arg("--vacuum-files=1").output().unwrap();
    assert!(vacuum.status.success());
    let mut run = Run::new(&var, position);
    run.expect(&["kept"]);
    assert!(run.count.gaps > 0);
}

#[test]
fn a_file_that_came_and_went_while_nobody_looked_is_a_gap_and_a_users_entries_are_none() {
    if lacks(JOURNALD) {
        return;
    }
    let journald = Journald::start("late");
    let var = journald.var();
    let log = |message: &str| {
        let before = journalctl(&var).len();
        journald.log(message);
        journald.until(message, |_| journalctl(&var).len() > before);
    };
    // Answers the file that was put away.
    let rotate = || {
        let machine = fs::read_dir(&var).unwrap().flatten().next().unwrap().path();
        let archived = || -> Vec<PathBuf> {
            let files = fs::read_dir(&machine).unwrap().flatten().map(|entry| entry.path());
            files.filter(|path| path.to_string_lossy().contains("/system@")).collect()
        };
        let before = archived();
        journald.signal("-USR2");
        journald.until("rotation", |_| archived().len() > before.len());
        archived().into_iter().find(|path| !before.contains(path)).unwrap()
    };
    log("before");
    let (to, from) = sync_channel(100);
    let (mut sink, stop) = (Channel(to), Stop::new().unwrap());
    let mut reader =
        JournalReader::new(SourceId(0), vec![var.clone()], None, Options::default(), Box::new(Sshd)).unwrap();
    let mut read = |reader: &mut JournalReader| {
        reader.take_changes().unwrap();
        reader.look_around();
        // A look after a change is taken once more.
        for _ in 0..2 {
            reader.read(&mut sink, &stop).unwrap();
        }
        reader.saved = Instant::now().checked_sub(SAVE).unwrap();
        reader.save(&mut sink).unwrap();
        let (mut messages, mut gaps) = (Vec::new(), 0);
        for delivery in from.try_iter() {
            if let Delivery::Batch(batch) = delivery {
                gaps += batch.read.gaps;
                messages.extend(batch.sightings().map(|s| String::from_utf8_lossy(s.line).into_owned()));
            }
        }
        (messages, gaps)
    };
    assert_eq!(read(&mut reader), (vec![], 0));
    log("one");
    assert_eq!(read(&mut reader), (vec!["one".into()], 0));
    // A user's entries take numbers that no system journal has; what has been read may go.
    let user = ["setpriv", "--reuid=1000", "--clear-groups", "logger", "-t", "sshd", "of a user"];
    assert!(journald.inside(&user));
    let first = rotate();
    assert!(journald.inside(&user));
    log("two");
    fs::remove_file(first).unwrap();
    assert_eq!(read(&mut reader), (vec!["two".into()], 0));
    // What is open is read to its end although it goes; the file behind it nobody has seen.
    log("three");
    let open = rotate();
    log("lost");
    let unseen = rotate();
    log("four");
    fs::remove_file(open).unwrap();
    fs::remove_file(unseen).unwrap();
    assert_eq!(read(&mut reader), (vec!["three".into(), "four".into()], 1));
    log("five");
    assert_eq!(read(&mut reader), (vec!["five".into()], 0));
}

#[test]
fn entries_copied_when_the_disk_is_there_are_not_counted_twice() {
    if lacks(JOURNALD) {
        return;
    }
    let journald = Journald::start("early");
    let (tx, from) = sync_channel(4);
    let stop = Stop::new().unwrap();
    let folders = vec![journald.var(), journald.dir.path().join("run")];
    let reader = JournalReader::new(SourceId(0), folders, None, Options::default(), Box::new(Sshd)).unwrap();
    let signal = stop.clone();
    let thread = std::thread::spawn(move || reader.run(&mut Channel(tx), &signal));
    let mut run =
        Run { stop, thread, from, rows: vec![], count: ReadCount::default(), position: None, status: None };
    run = run.reading();
    journald.log("early");
    run.expect(&["early"]);
    journald.signal("-USR1");
    journald.until("the copy", |j| journalctl(&j.var()).len() == 1);
    journald.log("later");
    run.expect(&["early", "later"]);
}

/// How long it takes from the moment an entry is handed to journald until it is delivered, each after a silence.
fn delays(options: Options, silence: Duration, entries: usize) -> Vec<Duration> {
    let journald = Journald::start("late");
    // The socket as journald's own namespace sees it.
    let socket = format!("/proc/{}/root/run/systemd/journal/dev-log", journald.child.id());
    let sender = std::os::unix::net::UnixDatagram::unbound().unwrap();
    let mut run = Run::with(&journald.var(), None, options).reading();
    let mut took = Vec::new();
    for number in 0..=entries {
        std::thread::sleep(silence);
        let sent = Instant::now();
        sender.send_to(format!("<38>sshd[1]: {number}").as_bytes(), &socket).unwrap();
        run.until("an entry", |run| run.rows.len() > number);
        took.push(sent.elapsed());
    }
    // The first entry makes the file and its lists.
    took.remove(0);
    took.sort();
    took
}

#[test]
fn an_entry_is_delivered_when_journald_has_written_it() {
    if lacks(JOURNALD) {
        return;
    }
    // Nothing but journald's work, and its own notice a quarter of a second later, can bring an entry so early.
    let never = Options { poll: PATIENCE, rescan: PATIENCE, ..Options::default() };
    let took = delays(never, Duration::from_millis(5), 50);
    println!("handed to journald to delivered: median {:?}, worst {:?}", took[25], took[49]);
    assert!(took[25] < Duration::from_millis(100), "{took:?}");
}

#[test]
fn without_a_sign_the_beat_follows_the_entries() {
    let dir = tempfile::tempdir().unwrap();
    let folders = vec![dir.path().to_owned()];
    let mut reader =
        JournalReader::new(SourceId(0), folders, None, Options::default(), Box::new(Sshd)).unwrap();
    write_journal(&dir.path().join("system.journal"), true, 1..10);
    reader.look_around();
    reader.writers = Writers::default();
    assert_eq!(reader.patience(), Duration::from_millis(100));
    let mut after = |silence: u64| {
        reader.busy_since = Instant::now().checked_sub(Duration::from_millis(silence));
        reader.patience()
    };
    assert_eq!(after(10), Duration::from_millis(1));
    assert!((Duration::from_millis(4)..Duration::from_millis(10)).contains(&after(2000)));
    assert_eq!(after(100_000), Duration::from_millis(100));
}
