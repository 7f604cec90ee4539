//! A log, one thread that reads it, and scanners. What is read next comes from the kernel while what was read before is
//! scanned; with one scanner the calling thread scans and decides. With more, each has a thread, chunks are dealt out to them
//! in turn, and the calling thread decides what they saw, taking from them in the same turn: so in the order of the log.
//!
//! What a scanner learns makes it faster but changes nothing it finds, so the outcome does not depend on their number.
//! A fixed number of chunks goes round: what has not been decided bounds what is read.

use std::io::{self, Read};
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread::{self, ScopedJoinHandle};

use super::Side;
use super::chunks::{Chunk, Chunks, Volume};
use crate::scan::Scanner;
use crate::sighting::{Sighting, Take};
use crate::source::Batch;
use crate::time::Wall;

/// Chunks for each scanner: one that is read, some that wait for it, one it scans.
const CHUNKS: usize = 4;
/// Scanned chunks of one scanner that wait to be decided on.
const WAITING: usize = 4;

/// What one side's scanner saw in a chunk.
struct Seen {
    sightings: Batch,
    lines: u64,
    matched: u64,
}

/// Replays a log with so many scanners.
pub(super) fn replay(
    sides: &mut [Side],
    input: &mut (dyn Read + Send),
    reference: Wall,
    count: usize,
) -> io::Result<Volume> {
    thread::scope(|scope| {
        let (empty, empties) = channel();
        for _ in 0..CHUNKS * count {
            // Its receiver stands beside it.
            let _ = empty.send(Chunk::new());
        }
        let (inputs, mut chunks): (Vec<_>, Vec<_>) = (0..count).map(|_| channel()).unzip();
        let reader = scope.spawn(move || read(input, &inputs, &empties));
        if count == 1 {
            for chunk in chunks.remove(0) {
                for side in &mut *sides {
                    side.scan(chunk.text(), reference);
                }
                // The reader has gone when the log has ended.
                let _ = empty.send(chunk);
            }
            return volume(reader);
        }
        let mut outputs = Vec::new();
        for chunks in chunks {
            let (seen, output) = sync_channel(WAITING);
            let scanners = sides.iter().map(|side| (side.scanner.clone(), side.asks_line)).collect();
            let empty = empty.clone();
            scope.spawn(move || scan(scanners, reference, &chunks, &seen, &empty));
            outputs.push(output);
        }
        drop(empty);
        // The first scanner without another chunk has been dealt the last one before: none has any after it.
        for output in outputs.iter().cycle() {
            let Ok(seen) = output.recv() else { break };
            for (side, seen) in sides.iter_mut().zip::<Vec<Seen>>(seen) {
                seen.sightings.sightings().for_each(|sighting| side.judge.expect(&sighting));
                seen.sightings.sightings().for_each(|sighting| side.judge.take(&sighting));
                side.lines += seen.lines;
                side.matched += seen.matched;
            }
        }
        // Nobody waits for room in them any more.
        drop(outputs);
        volume(reader)
    })
}

fn volume(reader: ScopedJoinHandle<'_, io::Result<Volume>>) -> io::Result<Volume> {
    reader.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread ended in a panic")))
}

/// Reads the log and deals its chunks out in turn.
fn read(input: &mut dyn Read, scanners: &[Sender<Chunk>], empties: &Receiver<Chunk>) -> io::Result<Volume> {
    let mut chunks = Chunks::of(input);
    for scanner in scanners.iter().cycle() {
        let Ok(mut chunk) = empties.recv() else { break };
        if !chunks.next(&mut chunk)? {
            return Ok(chunks.volume());
        }
        if scanner.send(chunk).is_err() {
            break;
        }
    }
    Err(io::Error::other("a scanner has ended"))
}

/// Scans chunks until there are no more.
fn scan(
    mut scanners: Vec<(Scanner, bool)>,
    reference: Wall,
    chunks: &Receiver<Chunk>,
    seen: &SyncSender<Vec<Seen>>,
    empty: &Sender<Chunk>,
) {
    for chunk in chunks {
        let all = scanners.iter_mut().map(|(scanner, lines)| look(scanner, *lines, chunk.text(), reference));
        let all = all.collect();
        // The reader has gone when the log has ended.
        let _ = empty.send(chunk);
        if seen.send(all).is_err() {
            return;
        }
    }
}

fn look(scanner: &mut Scanner, lines: bool, text: &[u8], reference: Wall) -> Seen {
    let mut sightings = Batch::default();
    let scanned = scanner.scan(text, reference, |sighting| {
        // A replay keeps no evidence; only rules may want to see it.
        let line = if lines { sighting.line } else { &[] };
        sightings.push(&Sighting { line, ..*sighting });
    });
    Seen { sightings, lines: scanned.lines, matched: scanned.matched }
}
