//! Where log lines come from: files and the journal. A source delivers borrowed bytes with their position; it
//! never looks inside a line.
//!
//! Each source runs on a thread of its own ([`file::FileReader`], [`journald::JournalReader`]), scans what it reads in
//! place and sends [`Batch`]es of sightings over a bounded channel. A batch is plain data with the text it needs copied
//! out of the read buffer, so that reader and scanner can move to an unprivileged process without a change to what they
//! send.

use std::net::IpAddr;

use crate::sighting::{Kind, PatternId, Points, Request, Sighting, SourceId};
use crate::time::Wall;

pub mod file;
pub mod health;
pub mod journald;
mod open;
mod watch;

/// Longest line that is scanned. What is longer is cut here, counted, and skipped to its newline.
pub const MAX_LINE: usize = 64 * 1024;

/// What looks inside the lines: implemented by the scanner, called by the sources, once per chunk of a file and
/// once per journal entry.
pub trait Scan: Send {
    /// Looks through the lines of a chunk in order and calls `hit` for each sighting. Every line ends with a
    /// newline, except that a cut line and the last line of a rotated file may end without one, always as the
    /// last of their chunk. No line is longer than [`MAX_LINE`] without its newline. `reading` is what stamps without a
    /// year or zone are read against.
    fn lines(&mut self, chunk: &[u8], reading: Reading, hit: &mut dyn FnMut(&Sighting<'_>)) -> Scanned;

    /// Whether any filter takes journal entries with this `SYSLOG_IDENTIFIER`. Asked once per file and
    /// identifier; entries of other identifiers are never read.
    fn wants(&self, identifier: &[u8]) -> bool;

    /// Whether any filter believes an entry of this identifier from this sender. Anything else is refused and counted
    /// as untrusted, because anybody may choose an identifier.
    fn trusts(&self, identifier: &[u8], sender: &Sender<'_>) -> bool;

    /// Looks at one trusted journal entry.
    fn entry<'a>(&'a mut self, entry: &Entry<'a>) -> Option<Sighting<'a>>;
}

/// What the stamps of a chunk are read against.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Reading {
    /// When it was read.
    pub at: Wall,
    /// By how many milliseconds stamps that name no zone stand back behind this machine's time, because whoever writes
    /// them lives by another zone.
    pub behind: i64,
}

/// What one call of [`Scan::lines`] went through.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Scanned {
    /// Lines.
    pub lines: u64,
    /// Lines that may be of a program filters read, as far as their first bytes tell.
    pub known: u64,
    /// Lines that a pattern matched.
    pub matched: u64,
    /// Stamps of such lines that say which zone they are of.
    pub zoned: u64,
}

/// Who sent a journal entry, as the kernel told journald.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Sender<'a> {
    /// `_UID`.
    pub uid: u32,
    /// `_SYSTEMD_UNIT`, from the control group; empty if absent. A user's own processes are in `user@….service`.
    pub unit: &'a [u8],
    /// `_COMM`, empty if journald could not read it any more. A process chooses it freely, so it proves nothing; it
    /// keeps out what other programs of a trusted account relay under the identifier.
    pub command: &'a [u8],
    /// `_TRANSPORT`, if it says so.
    pub transport: Option<Transport>,
}

/// How an entry came to journald (`systemd.journal-fields(7)`).
#[derive(Clone, Copy, Debug, PartialEq, Eq, serde::Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Transport {
    /// From the kernel's audit subsystem.
    Audit,
    /// From journald itself.
    Driver,
    /// A datagram to `/dev/log`: one message, one entry.
    Syslog,
    /// Journald's own protocol: one message, one entry.
    Journal,
    /// Standard output or error of a service. A newline ends an entry, whoever wrote it.
    Stdout,
    /// From the kernel.
    Kernel,
}

impl Transport {
    /// The transport that `_TRANSPORT` names.
    pub(crate) fn of(name: &[u8]) -> Option<Self> {
        Some(match name {
            b"audit" => Self::Audit,
            b"driver" => Self::Driver,
            b"syslog" => Self::Syslog,
            b"journal" => Self::Journal,
            b"stdout" => Self::Stdout,
            b"kernel" => Self::Kernel,
            _ => return None,
        })
    }
}

/// A journal entry, as much of it as filters need. Fields whose name starts with an underscore are set by
/// journald from the sender's kernel credentials; the others are the sender's own words.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Entry<'a> {
    /// When journald received it (`__REALTIME_TIMESTAMP`).
    pub at: Wall,
    /// `SYSLOG_IDENTIFIER`.
    pub identifier: &'a [u8],
    /// Who sent it, which [`Scan::trusts`] has accepted.
    pub sender: Sender<'a>,
    /// `_PID`, 0 if absent.
    pub pid: u32,
    /// `MESSAGE`, at most [`MAX_LINE`] bytes; may hold newlines and is one record all the same.
    pub message: &'a [u8],
}

/// What a source hands over at once: the sightings of some lines, and how far it has read.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Which source.
    pub source: SourceId,
    /// What was read since the last batch.
    pub read: ReadCount,
    /// `CLOCK_BOOTTIME` in nanoseconds when the oldest of these lines was read.
    pub read_at: u64,
    /// Where to go on after a restart once this batch has been decided: opaque outside the source.
    pub position: Option<Position>,
    sightings: Vec<Packed>,
    text: Vec<u8>,
}

/// Counters of a source. Everything that was not looked at is in one of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ReadCount {
    /// Lines, or journal entries.
    pub lines: u64,
    /// Lines that may be of a program filters read; of journal entries, those that filters were asked about.
    pub known: u64,
    /// Bytes of them all.
    pub bytes: u64,
    /// Lines that a pattern matched.
    pub matched: u64,
    /// Lines cut at [`MAX_LINE`].
    pub cut: u64,
    /// Journal entries refused because their trusted fields did not fit.
    pub untrusted: u64,
    /// Gaps: bytes or entries that were lost to truncation, rotation or vacuum before they could be read.
    pub gaps: u64,
}

impl ReadCount {
    /// Adds another count to this one.
    pub fn add(&mut self, other: &Self) {
        self.lines += other.lines;
        self.known += other.known;
        self.bytes += other.bytes;
        self.matched += other.matched;
        self.cut += other.cut;
        self.untrusted += other.untrusted;
        self.gaps += other.gaps;
    }
}

/// A place in a source, kept in the store under the source's name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Position {
    /// Name of the source: the file's path, or `journald`.
    pub source: String,
    /// The source's own encoding of the place; versioned by the source.
    pub place: String,
}

#[derive(Clone, Copy, Debug)]
struct Packed {
    at: Option<Wall>,
    address: IpAddr,
    kind: Kind,
    points: Points,
    pattern: PatternId,
    pid: u32,
    port: u16,
    line: (u32, u32),
    account: Option<(u32, u32)>,
    service: (u32, u32),
    request: Option<PackedRequest>,
}

#[derive(Clone, Copy, Debug)]
struct PackedRequest {
    path: Option<(u32, u32)>,
    status: Option<u16>,
}

impl Batch {
    /// Adds a sighting, with at most [`crate::encode::EVIDENCE`] bytes of each of its texts, and one more that shows that
    /// it was cut.
    pub fn push(&mut self, s: &Sighting<'_>) {
        let line = self.keep(s.line);
        let account = s.account.map(|account| self.keep(account));
        let service = self.keep(s.service);
        let request = s
            .request
            .map(|Request { path, status }| PackedRequest { path: path.map(|path| self.keep(path)), status });
        self.sightings.push(Packed {
            at: s.at,
            address: s.address,
            kind: s.kind,
            points: s.points,
            pattern: s.pattern,
            pid: s.pid,
            port: s.port,
            line,
            account,
            service,
            request,
        });
    }

    /// The sightings, in the order of their lines.
    pub fn sightings(&self) -> impl Iterator<Item = Sighting<'_>> {
        self.sightings.iter().map(|p| Sighting {
            at: p.at,
            address: p.address,
            kind: p.kind,
            points: p.points,
            pattern: p.pattern,
            pid: p.pid,
            port: p.port,
            account: p.account.map(|span| self.text(span)),
            service: self.text(p.service),
            request: p.request.map(|PackedRequest { path, status }| Request {
                path: path.map(|span| self.text(span)),
                status,
            }),
            line: self.text(p.line),
        })
    }

    /// Takes all sightings away and keeps the room they had.
    pub fn clear(&mut self) {
        self.sightings.clear();
        self.text.clear();
    }

    /// Number of sightings.
    pub fn len(&self) -> usize {
        self.sightings.len()
    }

    /// Whether there is no sighting.
    pub fn is_empty(&self) -> bool {
        self.sightings.is_empty()
    }

    fn keep(&mut self, bytes: &[u8]) -> (u32, u32) {
        let start = self.text.len();
        self.text.extend_from_slice(&bytes[..bytes.len().min(crate::encode::EVIDENCE + 1)]);
        (start as u32, self.text.len() as u32)
    }

    fn text(&self, (start, end): (u32, u32)) -> &[u8] {
        &self.text[start as usize..end as usize]
    }
}

/// How a source is doing, for status, doctor and metrics.
#[derive(Clone, Debug, Default, PartialEq, Eq, serde::Serialize, serde::Deserialize)]
pub struct SourceStatus {
    /// Name: the file's path, or `journald`.
    pub name: String,
    /// `reading`, or what is wrong and what guard does about it.
    pub state: String,
    /// Whether lines can arrive at this moment.
    pub healthy: bool,
    /// Bytes (files) or entries (journal) that exist but have not been read yet.
    pub behind: u64,
}

/// What a source thread sends to the engine's thread.
#[derive(Debug)]
pub enum Delivery {
    /// Lines were read.
    Batch(Batch),
    /// The state of a source changed.
    Status(SourceId, SourceStatus),
    /// The source is read no more, because what it read has gone.
    Gone(SourceId),
}

impl Delivery {
    /// The source it is of.
    pub const fn source(&self) -> SourceId {
        match self {
            Self::Batch(batch) => batch.source,
            Self::Status(source, _) | Self::Gone(source) => *source,
        }
    }
}

/// Takes what sources deliver. Blocks while the engine is behind, so that lines wait in their file and not in
/// memory; an error means the engine has gone and the source must end.
pub trait Sink: Send {
    /// Hands one delivery over.
    fn deliver(&mut self, delivery: Delivery) -> Result<(), Closed>;
}

/// The engine has gone.
#[derive(Clone, Copy, Debug, thiserror::Error)]
#[error("the engine has stopped")]
pub struct Closed;

/// A stop signal a source can wait for together with its descriptors: readable once set.
#[derive(Clone, Debug)]
pub struct Stop(std::sync::Arc<std::os::fd::OwnedFd>);

impl Stop {
    /// A signal that has not been given yet.
    pub fn new() -> std::io::Result<Self> {
        let fd = rustix::event::eventfd(
            0,
            rustix::event::EventfdFlags::CLOEXEC | rustix::event::EventfdFlags::NONBLOCK,
        )?;
        Ok(Self(std::sync::Arc::new(fd)))
    }

    /// Gives the signal, for good.
    pub fn set(&self) {
        // Only fails when the counter is at its maximum, and then the signal has been given.
        let _ = rustix::io::write(&*self.0, &1u64.to_ne_bytes());
    }

    /// Waits until it is given or the time is over; answers whether it was given.
    pub fn wait(&self, timeout: std::time::Duration) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let end = std::time::Instant::now() + timeout;
        loop {
            let left = end.saturating_duration_since(std::time::Instant::now());
            let timeout = Timespec {
                tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
                tv_nsec: left.subsec_nanos().into(),
            };
            match poll(&mut [PollFd::new(&*self.0, PollFlags::IN)], Some(&timeout)) {
                Ok(0) => return false,
                Ok(_) => return true,
                // Interrupted: the rest is still to be waited for.
                Err(_) if left.is_zero() => return false,
                Err(_) => {}
            }
        }
    }

    /// Whether it was given.
    pub fn is_set(&self) -> bool {
        use rustix::event::{PollFd, PollFlags, Timespec, poll};
        let mut fds = [PollFd::new(&*self.0, PollFlags::IN)];
        poll(&mut fds, Some(&Timespec { tv_sec: 0, tv_nsec: 0 })).is_ok_and(|n| n > 0)
    }
}

impl std::os::fd::AsFd for Stop {
    fn as_fd(&self) -> std::os::fd::BorrowedFd<'_> {
        std::os::fd::AsFd::as_fd(&*self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_batch_gives_back_what_it_was_given_up_to_a_bound() {
        let long = vec![b'x'; 2000];
        let request = Request { path: Some(&long), status: Some(404) };
        let sighting = Sighting {
            at: Some(Wall(7)),
            address: "2001:db8::1".parse().unwrap(),
            kind: Kind::Probe,
            points: Points(1),
            pattern: PatternId { filter: 2, pattern: 3 },
            pid: 4,
            port: 5,
            account: Some(b""),
            service: b"nginx",
            request: Some(Request { path: Some(b"/x"), status: None }),
            line: b"line",
        };
        let plain = Sighting { account: None, service: b"", request: None, ..sighting };
        let mut batch = Batch::default();
        let cut_off = Sighting { request: Some(request), line: &long, ..plain };
        for sighting in [sighting, plain, cut_off] {
            batch.push(&sighting);
        }
        let back: Vec<_> = batch.sightings().collect();
        assert_eq!(back[..2], [sighting, plain]);
        let cut = crate::encode::EVIDENCE + 1;
        assert_eq!((back[2].line.len(), back[2].request.unwrap().path.unwrap().len()), (cut, cut));
    }
}
