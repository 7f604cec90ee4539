//! Reading a journal: guard's reader beside `journalctl`, on the same file in the same run.

use std::io::{BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr};
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use guard::scan::{FilterSet, Mode, Scanner};
use guard::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use guard::source::journald::{JournalReader, NAME, Options};
use guard::source::{Closed, Delivery, Entry, Position, Reading, Scan, Scanned, Sender, Sink, Stop};

/// systemd's own writer of journals (Debian package `systemd-journal-remote`).
const WRITER: &str = "/lib/systemd/systemd-journal-remote";

/// Medians of reading a whole journal.
#[derive(Clone, Copy, Debug, serde::Serialize)]
pub struct JournalFigures {
    /// Entries in the journal, all of sshd.
    pub entries: u64,
    /// Entries a second, guard: every entry wanted, decoded and made a sighting.
    pub guard: f64,
    /// Entries a second, guard, when one entry in a hundred is wanted.
    pub guard_sparse: f64,
    /// Entries a second, guard with every shipped filter.
    pub guard_filters: f64,
    /// Entries a second of `journalctl` into `/dev/null`, for each of [`OUTPUTS`].
    pub journalctl: [f64; OUTPUTS.len()],
}

/// What `journalctl` can write: the message alone, and everything in two forms.
pub const OUTPUTS: [&str; 3] = ["cat", "export", "json"];

/// Writes a journal of that many entries, reads it `rounds` times each way, and removes it.
pub fn run(entries: u64, rounds: usize) -> Result<JournalFigures> {
    let dir = tempfile::tempdir()?;
    write(dir.path(), entries)?;
    let filters = Arc::new(FilterSet::shipped(Mode::Normal)?);
    let mut times: [Vec<Duration>; 3 + OUTPUTS.len()] = Default::default();
    for _ in 0..rounds {
        let scanner = Scanner::new(Arc::clone(&filters));
        times[0].push(guard(dir.path(), Box::new(Every(b"sshd")), entries)?);
        times[1].push(guard(dir.path(), Box::new(Every(b"rare")), entries)?);
        times[2].push(guard(dir.path(), Box::new(scanner), entries)?);
        for (times, output) in times[3..].iter_mut().zip(OUTPUTS) {
            times.push(journalctl(dir.path(), output)?);
        }
    }
    let [guard, guard_sparse, guard_filters, journalctl @ ..] = times.map(|mut times| {
        times.sort();
        entries as f64 / times[times.len() / 2].as_secs_f64()
    });
    Ok(JournalFigures { entries, guard, guard_sparse, guard_filters, journalctl })
}

fn write(folder: &Path, entries: u64) -> Result<()> {
    let mut child = Command::new(WRITER)
        .arg("-o")
        .arg(folder.join("system.journal"))
        .arg("-")
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .context("systemd-journal-remote is not installed")?;
    let mut out = BufWriter::new(child.stdin.take().context("no pipe to the writer")?);
    for n in 0..entries {
        let identifier = if n % 100 == 99 { "rare" } else { "sshd" };
        write!(
            out,
            "__REALTIME_TIMESTAMP={at}\n__MONOTONIC_TIMESTAMP={at}\n\
             _BOOT_ID=0123456789abcdef0123456789abcdef\n_TRANSPORT=syslog\nPRIORITY=6\nSYSLOG_FACILITY=4\n\
             SYSLOG_IDENTIFIER={identifier}\nSYSLOG_PID={pid}\n_PID={pid}\n_UID=0\n_GID=0\n_COMM=sshd\n\
             _EXE=/usr/sbin/sshd\n_CAP_EFFECTIVE=1ffffffffff\n_SYSTEMD_CGROUP=/system.slice/ssh.service\n\
             _SYSTEMD_UNIT=ssh.service\n_SYSTEMD_SLICE=system.slice\n_HOSTNAME=bench\n\
             _MACHINE_ID=0123456789abcdef0123456789abcdef\n_SOURCE_REALTIME_TIMESTAMP={at}\n\
             MESSAGE=Failed password for invalid user admin{n} from 192.0.2.{host} port {port} ssh2\n\n",
            at = 1_700_000_000_000_000 + n * 1000,
            pid = 1000 + n / 4,
            host = n % 250,
            port = n % 60_000,
        )?;
    }
    drop(out);
    ensure!(child.wait()?.success(), "systemd-journal-remote failed");
    Ok(())
}

/// Wants one identifier, and makes a sighting of each of its entries.
struct Every(&'static [u8]);

impl Scan for Every {
    fn lines(&mut self, _: &[u8], _: Reading, _: &mut dyn FnMut(&Sighting<'_>)) -> Scanned {
        Scanned::default()
    }

    fn wants(&self, identifier: &[u8]) -> bool {
        identifier == self.0
    }

    fn trusts(&self, _: &[u8], sender: &Sender<'_>) -> bool {
        sender.uid == 0
    }

    fn entry<'a>(&'a mut self, entry: &Entry<'a>) -> Option<Sighting<'a>> {
        Some(Sighting {
            at: Some(entry.at),
            address: IpAddr::V4(Ipv4Addr::LOCALHOST),
            kind: Kind::FailedPassword,
            points: Points(1000),
            pattern: PatternId::default(),
            pid: entry.pid,
            port: 0,
            account: None,
            service: &[],
            request: None,
            line: entry.message,
        })
    }
}

/// Counts until every entry was passed.
struct Until {
    lines: u64,
    stop: Stop,
}

impl Sink for Until {
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed> {
        if let Delivery::Batch(batch) = delivery {
            self.lines = self.lines.saturating_sub(batch.read.lines);
            if self.lines == 0 {
                self.stop.set();
            }
        }
        Ok(())
    }
}

fn guard(folder: &Path, scan: Box<dyn Scan>, entries: u64) -> Result<Duration> {
    let stop = Stop::new()?;
    // A place before everything.
    let start = Position { source: NAME.into(), place: "1 0:0:0".into() };
    let begun = Instant::now();
    let folders = vec![folder.to_owned()];
    let reader = JournalReader::new(SourceId(0), folders, Some(&start), Options::default(), scan)?;
    reader.run(&mut Until { lines: entries, stop: stop.clone() }, &stop)?;
    Ok(begun.elapsed())
}

fn journalctl(folder: &Path, output: &str) -> Result<Duration> {
    let begun = Instant::now();
    let status = Command::new("journalctl")
        .args(["-o", output, "--no-pager", "--quiet", "-D"])
        .arg(folder)
        .stdout(Stdio::null())
        .status()
        .context("journalctl is not installed")?;
    ensure!(status.success(), "journalctl failed");
    Ok(begun.elapsed())
}
