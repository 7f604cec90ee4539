//! A log and the threads that read it. Each takes the next chunk from the log, scans it where it was read, and hands in
//! what it saw; what was handed in is decided in the order of the log, by whoever hands in what is next. So no thread does
//! only one of these things, and nobody waits for a turn. One thread does the same without handing anything in.
//!
//! What a scanner learns makes it faster but changes nothing it finds, so the outcome does not depend on their number.

use std::collections::BTreeMap;
use std::io::{self, Read};
use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};
use std::thread;

use super::Side;
use super::chunks::{Chunk, Chunks, Volume};
use crate::scan::Scanner;
use crate::sighting::{Sighting, Take};
use crate::source::Batch;
use crate::time::Wall;

/// Chunks of each thread that may have been scanned and wait for an earlier one.
const AHEAD: u64 = 3;
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
pub(super) fn replay(
    sides: &mut [Side],
    input: &mut (dyn Read + Send),
    reference: Wall,
    count: usize,
) -> io::Result<Volume> {
    let log = Log { chunks: Chunks::of(input), taken: 0, outcome: Ok(()) };
    if count <= 1 {
        return alone(sides, log.chunks, reference);
    }
    let scanners: Scanners = sides.iter().map(|side| (side.scanner.clone(), side.asks_line)).collect();
    let log = Mutex::new(log);
    let decided = Decided::new(sides, count as u64 * AHEAD);
    thread::scope(|scope| {
        for scanners in vec![scanners.clone(); count - 1] {
            scope.spawn(|| work(scanners, &log, &decided, reference));
        }
        work(scanners, &log, &decided, reference);
    });
    let log = log.into_inner().unwrap_or_else(PoisonError::into_inner);
    log.outcome.map(|()| log.chunks.volume())
}

/// Reads, scans and decides chunk by chunk.
fn alone(sides: &mut [Side], mut chunks: Chunks<'_>, reference: Wall) -> io::Result<Volume> {
    let mut chunk = Chunk::new();
    while chunks.next(&mut chunk)? {
        for side in &mut *sides {
            side.scan(chunk.text(), reference);
        }
    }
    Ok(chunks.volume())
}

/// One scanner for each side, and whether its rules look at the text of lines.
type Scanners = Vec<(Scanner, bool)>;

/// Scans chunks until there are no more.
fn work(mut scanners: Scanners, log: &Mutex<Log<'_>>, decided: &Decided<'_>, reference: Wall) {
    let mut chunk = Chunk::new();
    loop {
        let Some(number) = locked(log).next(&mut chunk) else { return };
        let mut seen = decided.spare();
        seen.resize_with(scanners.len(), Seen::default);
        for ((scanner, lines), seen) in scanners.iter_mut().zip(&mut seen) {
            seen.look(scanner, *lines, chunk.text(), reference);
        }
        decided.hand_in(number, seen);
    }
}

fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// The log, and how many of its chunks have been taken.
struct Log<'a> {
    chunks: Chunks<'a>,
    taken: u64,
    /// Why it could not be read to its end.
    outcome: io::Result<()>,
}

impl Log<'_> {
    /// Reads the next chunk and answers its number; `None` at the end of the log, and where it cannot be read.
    fn next(&mut self, chunk: &mut Chunk) -> Option<u64> {
        if self.outcome.is_err() {
            return None;
        }
        match self.chunks.next(chunk) {
            Ok(true) => {
                self.taken += 1;
                Some(self.taken - 1)
            }
            Ok(false) => None,
            Err(error) => {
                self.outcome = Err(error);
                None
            }
        }
    }
}

/// What has been seen, on its way to the judges.
struct Decided<'a> {
    queue: Mutex<Queue<'a>>,
    /// Something has been decided.
    moved: Condvar,
    /// Chunks that may have been scanned before the one that is decided next.
    ahead: u64,
}

struct Queue<'a> {
    /// The chunk that is decided next.
    next: u64,
    /// What was seen in chunks, by their number.
    waiting: BTreeMap<u64, Vec<Seen>>,
    /// What decides, unless somebody has it.
    sides: Option<&'a mut [Side]>,
    /// Decided, to be filled again.
    spare: Vec<Vec<Seen>>,
}

impl<'a> Decided<'a> {
    fn new(sides: &'a mut [Side], ahead: u64) -> Self {
        let queue = Queue { next: 0, waiting: BTreeMap::new(), sides: Some(sides), spare: Vec::new() };
        Self { queue: Mutex::new(queue), moved: Condvar::new(), ahead }
    }

    /// Something to be filled.
    fn spare(&self) -> Vec<Seen> {
        locked(&self.queue).spare.pop().unwrap_or_default()
    }

    /// Takes up what was seen in a chunk, and decides what is next as long as nobody else does. Waits while too much is
    /// ahead of what is decided: whoever has what is next never does.
    fn hand_in(&self, number: u64, seen: Vec<Seen>) {
        let mut queue = locked(&self.queue);
        queue.waiting.insert(number, seen);
        if let Some(sides) = queue.sides.take() {
            while let Some(mut seen) = queue.take_next() {
                drop(queue);
                for (side, seen) in sides.iter_mut().zip(&mut seen) {
                    seen.decide(side);
                }
                queue = locked(&self.queue);
                queue.next += 1;
                queue.spare.push(seen);
                self.moved.notify_all();
            }
            queue.sides = Some(sides);
        }
        let full = |queue: &mut Queue<'_>| number >= queue.next + self.ahead;
        drop(self.moved.wait_while(queue, full).unwrap_or_else(PoisonError::into_inner));
    }
}

impl Queue<'_> {
    fn take_next(&mut self) -> Option<Vec<Seen>> {
        self.waiting.remove(&self.next)
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
    use super::*;

    #[test]
    fn what_comes_first_is_decided_first_and_little_is_ahead() {
        let (threads, count, ahead) = (4, 200, 2);
        let decided = Decided::new(&mut [], ahead);
        thread::scope(|scope| {
            for first in 0..threads {
                let decided = &decided;
                scope.spawn(move || {
                    for number in (first..count).step_by(threads as usize) {
                        decided.hand_in(number, Vec::new());
                        let next = locked(&decided.queue).next;
                        assert!(number < next + ahead, "{number} was ahead of {next}");
                    }
                });
            }
        });
        let queue = locked(&decided.queue);
        assert_eq!((queue.next, queue.waiting.len()), (count, 0));
        assert!(!queue.spare.is_empty(), "what was decided is filled again");
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
        for count in [1, 2, 5] {
            let error = replay(&mut [], &mut Broken(30), Wall(0), count).unwrap_err();
            assert_eq!(error.to_string(), "broken", "{count} threads");
            let volume = replay(&mut [], &mut io::repeat(b'\n').take(1 << 24), Wall(0), count).unwrap();
            assert_eq!(volume.bytes, 1 << 24, "{count} threads");
        }
    }
}
