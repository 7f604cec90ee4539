//! A log and the threads that read it. Each takes the next chunk from the log, scans it where it was read, and hands in
//! what it saw. One of them decides besides, in the order of the log: first what has been handed in, and where nothing
//! has it scans another chunk. So what decides stays in one processor's cache, and no thread waits for a turn. One thread
//! alone does the same without handing anything in.
//!
//! What a scanner learns makes it faster but changes nothing it finds, so the outcome does not depend on their number.

use std::collections::BTreeMap;
use std::io;
use std::sync::mpsc::{self, Receiver, Sender};
use std::thread;

use super::Side;
use super::chunks::{Chunk, Log, Volume};
use crate::scan::Scanner;
use crate::sighting::{Sighting, Take};
use crate::source::Batch;
use crate::time::Wall;

/// Chunks of each thread that may have been scanned and wait for their turn.
const AHEAD: usize = 6;
/// Sightings the judge is told of before their turn: enough for what they need to come, and few enough for it to be still
/// there.
const EXPECTED: usize = 16;

/// What one side's scanner saw in a chunk.
#[derive(Default)]
struct Seen {
    sightings: Batch,
    lines: u64,
    matched: u64,
}

/// Replays a log with so many threads, at least one.
pub(super) fn replay(sides: &mut [Side], log: Log<'_>, reference: Wall, count: usize) -> io::Result<Volume> {
    if count <= 1 {
        alone(sides, &log, reference);
    } else {
        together(sides, &log, reference, count);
    }
    log.volume()
}

/// Reads, scans and decides chunk by chunk.
fn alone(sides: &mut [Side], log: &Log<'_>, reference: Wall) {
    let mut chunk = Chunk::new();
    while log.next(&mut chunk).is_some() {
        for side in &mut *sides {
            side.scan(chunk.text(), reference);
        }
    }
}

/// The same with several threads, of which the present one decides.
fn together(sides: &mut [Side], log: &Log<'_>, reference: Wall, count: usize) {
    let scanners: Scanners = sides.iter().map(|side| (side.scanner.clone(), side.asks_line)).collect();
    let mut turns = Turns::new(sides);
    let (hand_in, handed_in) = mpsc::channel();
    thread::scope(|scope| {
        for _ in 1..count {
            let (mut worker, hand_in) = (turns.worker(&scanners, log, reference), hand_in.clone());
            scope.spawn(move || {
                while let Ok(room) = worker.rooms.recv()
                    && let Some(scanned) = worker.scan(room)
                    && hand_in.send(scanned).is_ok()
                {}
            });
        }
        drop(hand_in);
        let mut own = turns.worker(&scanners, log, reference);
        loop {
            for scanned in handed_in.try_iter() {
                turns.take(scanned);
            }
            let scanned = match own.rooms.try_recv() {
                Ok(room) => own.scan(room),
                // All of it waits for a chunk that another thread has taken.
                Err(_) => handed_in.recv().ok(),
            };
            let Some(scanned) = scanned else { break };
            turns.take(scanned);
        }
        // The log has ended: nobody has to wait for room.
        turns.homes.clear();
        for scanned in handed_in {
            turns.take(scanned);
        }
    });
}

/// One scanner for each side, and whether its rules look at the text of lines.
type Scanners = Vec<(Scanner, bool)>;
/// Room for what the scanners see in a chunk.
type Room = Vec<Seen>;

/// What takes chunks and scans them, on a thread of its own.
struct Worker<'a, 'l> {
    thread: usize,
    scanners: Scanners,
    log: &'a Log<'l>,
    reference: Wall,
    chunk: Chunk,
    /// Room for the next chunks. It comes back when they have been decided.
    rooms: Receiver<Room>,
}

impl Worker<'_, '_> {
    /// Scans the next chunk, if there is one.
    fn scan(&mut self, mut room: Room) -> Option<Scanned> {
        let number = self.log.next(&mut self.chunk)?;
        room.resize_with(self.scanners.len(), Seen::default);
        for ((scanner, lines), seen) in self.scanners.iter_mut().zip(&mut room) {
            seen.look(scanner, *lines, self.chunk.text(), self.reference);
        }
        Some(Scanned { number, thread: self.thread, room })
    }
}

/// What was seen in a chunk, and by which thread.
struct Scanned {
    number: u64,
    thread: usize,
    room: Room,
}

/// What decides, in the order of the log.
struct Turns<'a> {
    /// The chunk that is decided next.
    next: u64,
    /// Chunks behind it, by their number.
    waiting: BTreeMap<u64, Scanned>,
    sides: &'a mut [Side],
    /// Where each thread's room goes back to.
    homes: Vec<Sender<Room>>,
}

impl<'a> Turns<'a> {
    fn new(sides: &'a mut [Side]) -> Self {
        Self { next: 0, waiting: BTreeMap::new(), sides, homes: Vec::new() }
    }

    /// One more thread's worker.
    fn worker<'w, 'l>(&mut self, scanners: &Scanners, log: &'w Log<'l>, reference: Wall) -> Worker<'w, 'l> {
        let (home, rooms) = mpsc::channel();
        let thread = self.homes.len();
        self.homes.push(home);
        (0..AHEAD).for_each(|_| self.give_back(thread, Room::new()));
        Worker { thread, scanners: scanners.clone(), log, reference, chunk: Chunk::new(), rooms }
    }

    /// Takes up what was seen in a chunk, and decides what is next as far as it is there.
    fn take(&mut self, scanned: Scanned) {
        self.waiting.insert(scanned.number, scanned);
        while let Some(Scanned { thread, mut room, .. }) = self.waiting.remove(&self.next) {
            for (side, seen) in self.sides.iter_mut().zip(&mut room) {
                seen.decide(side);
            }
            self.next += 1;
            self.give_back(thread, room);
        }
    }

    fn give_back(&self, thread: usize, room: Room) {
        // At the end of the log nobody needs it.
        let _ = self.homes.get(thread).map(|home| home.send(room));
    }
}

impl Seen {
    /// Scans a chunk.
    fn look(&mut self, scanner: &mut Scanner, lines: bool, text: &[u8], reference: Wall) {
        let sightings = &mut self.sightings;
        let scanned = scanner.scan(text, reference, |sighting| {
            // A replay keeps no evidence; only rules may want to see it.
            let line = if lines { sighting.line } else { &[] };
            sightings.push(&Sighting { line, ..*sighting });
        });
        (self.lines, self.matched) = (scanned.lines, scanned.matched);
    }

    /// Hands everything to the judge, and is empty then.
    fn decide(&mut self, side: &mut Side) {
        self.tell(&mut side.judge);
        self.sightings.clear();
        side.lines += self.lines;
        side.matched += self.matched;
    }

    /// Tells the judge of every sighting in its turn, and of a few that come next.
    fn tell(&self, judge: &mut impl Take) {
        let mut coming = self.sightings.sightings();
        coming.by_ref().take(EXPECTED).for_each(|sighting| judge.expect(&sighting));
        for sighting in self.sightings.sightings() {
            if let Some(next) = coming.next() {
                judge.expect(&next);
            }
            judge.take(&sighting);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::fs::OpenOptions;
    use std::io::Read;

    use super::*;

    #[test]
    fn what_comes_first_is_decided_first_and_little_is_ahead() {
        let mut input = io::repeat(b'\n').take(1 << 24);
        let log = Log::stream(&mut input);
        let mut turns = Turns::new(&mut []);
        let mut worker = turns.worker(&Vec::new(), &log, Wall(0));
        let mut scanned = Vec::new();
        while let Ok(room) = worker.rooms.try_recv() {
            scanned.push(worker.scan(room).unwrap());
        }
        assert_eq!(scanned.len(), AHEAD);
        while let Some(last) = scanned.pop() {
            assert!(worker.rooms.try_recv().is_err(), "the first is not decided");
            turns.take(last);
        }
        assert_eq!((turns.next, turns.waiting.len()), (AHEAD as u64, 0));
        assert_eq!(worker.rooms.try_iter().count(), AHEAD, "what was decided is filled again");
    }

    /// A log that cannot be read to its end.
    struct Broken(usize);

    impl Read for Broken {
        fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
            self.0 = self.0.checked_sub(1).ok_or_else(|| io::Error::other("broken"))?;
            buffer.fill(b'\n');
            Ok(buffer.len())
        }
    }

    #[test]
    fn a_log_that_breaks_off_is_an_error() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("log");
        std::fs::write(&path, vec![b'\n'; 1 << 24]).unwrap();
        for count in [1, 2, 5] {
            let read = |log: Log<'_>| replay(&mut [], log, Wall(0), count);
            let error = read(Log::stream(&mut Broken(30))).unwrap_err();
            assert_eq!(error.to_string(), "broken", "{count} threads");
            let volume = read(Log::stream(&mut io::repeat(b'\n').take(1 << 24))).unwrap();
            assert_eq!(volume.bytes, 1 << 24, "{count} threads");
            let mut unreadable = OpenOptions::new().append(true).open(&path).unwrap();
            let error = read(Log::file(&mut unreadable).unwrap()).unwrap_err();
            assert_eq!(error.raw_os_error(), Some(libc::EBADF), "{count} threads");
            let mut readable = OpenOptions::new().read(true).open(&path).unwrap();
            assert_eq!(read(Log::file(&mut readable).unwrap()).unwrap().bytes, 1 << 24, "{count} threads");
        }
    }
}
