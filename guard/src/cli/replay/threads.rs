//! One file, many scanners. A thread reads the file and deals its parts out in turn, each scanner has a thread, and the
//! calling thread decides what they saw, taking from them in the same turn: so in the order of the log.
//!
//! Chunks are cut as one thread cuts them, and what a scanner learns makes it faster but changes nothing it finds, so
//! the outcome is that of one thread. Every channel holds one part: what has not been decided bounds what is read.

use std::fs::File;
use std::io;
use std::sync::mpsc::{Receiver, Sender, SyncSender, channel, sync_channel};
use std::thread;

use super::Side;
use super::chunks::{BUFFER, Chunks};
use crate::scan::Scanner;
use crate::sighting::Sighting;
use crate::source::Batch;
use crate::time::Wall;

/// Bytes of a part. Each scanner has at most four: one that waits for it, one it scans, and two it has scanned.
const PART: usize = 1024 * 1024;
/// Parts that wait in one channel.
const WAITING: usize = 1;

/// Chunks that are scanned together.
#[derive(Default)]
struct Part {
    text: Vec<u8>,
    /// Where each chunk ends.
    ends: Vec<usize>,
}

/// What one side's scanner saw in a part.
struct Seen {
    sightings: Batch,
    lines: u64,
    matched: u64,
}

/// Replays a file with so many scanners.
pub(super) fn replay(
    sides: &mut [Side],
    chunks: &mut Chunks,
    file: &mut File,
    reference: Wall,
    count: usize,
) -> io::Result<()> {
    thread::scope(|scope| {
        let (empty, empties) = channel();
        let (mut inputs, mut outputs) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let (input, parts) = sync_channel(WAITING);
            let (seen, output) = sync_channel(WAITING);
            let scanners = sides.iter().map(|side| side.scanner.clone()).collect();
            let empty = empty.clone();
            scope.spawn(move || scan(scanners, reference, &parts, &seen, &empty));
            inputs.push(input);
            outputs.push(output);
        }
        drop(empty);
        let reader = scope.spawn(move || read(chunks, file, &inputs, &empties));
        // The first scanner without another part has been dealt the last one before: none has any after it.
        for output in outputs.iter().cycle() {
            let Ok(seen) = output.recv() else { break };
            for (side, seen) in sides.iter_mut().zip::<Vec<Seen>>(seen) {
                seen.sightings.sightings().for_each(|sighting| side.judge.take(&sighting));
                side.lines += seen.lines;
                side.matched += seen.matched;
            }
        }
        // Nobody waits for room in them any more.
        drop(outputs);
        reader.join().unwrap_or_else(|_| Err(io::Error::other("the reading thread ended in a panic")))
    })
}

/// Reads the file into parts and deals them out in turn.
fn read(
    chunks: &mut Chunks,
    file: &mut File,
    inputs: &[SyncSender<Part>],
    empties: &Receiver<Part>,
) -> io::Result<()> {
    let mut part = Part::default();
    let mut turn = inputs.iter().cycle();
    let mut deal = |part: &mut Part| {
        let next = empties.try_recv().unwrap_or_default();
        let full = std::mem::replace(part, next);
        let sent = turn.next().is_some_and(|input| input.send(full).is_ok());
        if sent { Ok(()) } else { Err(io::Error::other("a scanner has ended")) }
    };
    chunks.read(file, |chunk| {
        if part.text.len() + chunk.len() > PART {
            deal(&mut part)?;
        }
        if part.text.capacity() == 0 {
            part.text.reserve_exact(PART.max(BUFFER));
        }
        part.text.extend_from_slice(chunk);
        part.ends.push(part.text.len());
        Ok(())
    })?;
    deal(&mut part)
}

/// Scans parts until there are no more.
fn scan(
    mut scanners: Vec<Scanner>,
    reference: Wall,
    parts: &Receiver<Part>,
    seen: &SyncSender<Vec<Seen>>,
    empty: &Sender<Part>,
) {
    for mut part in parts {
        let all = scanners.iter_mut().map(|scanner| look(scanner, &part, reference)).collect();
        part.text.clear();
        part.ends.clear();
        // The reader has gone when the file has ended.
        let _ = empty.send(part);
        if seen.send(all).is_err() {
            return;
        }
    }
}

fn look(scanner: &mut Scanner, part: &Part, reference: Wall) -> Seen {
    let mut seen = Seen { sightings: Batch::default(), lines: 0, matched: 0 };
    let mut start = 0;
    for &end in &part.ends {
        let scanned = scanner.scan(&part.text[start..end], reference, |sighting| {
            // A replay keeps no evidence.
            seen.sightings.push(&Sighting { line: &[], ..*sighting });
        });
        seen.lines += scanned.lines;
        seen.matched += scanned.matched;
        start = end;
    }
    seen
}
