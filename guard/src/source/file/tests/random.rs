//! Random actions and kills: what was written is what arrives.

use super::*;

/// Small, seeded, and the same everywhere.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, sides: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % sides
    }
}

/// A log, and the lines that were written to it and its predecessors.
struct Log {
    path: PathBuf,
    lines: Vec<String>,
    /// Whether the last line has no newline yet.
    half: bool,
    rotations: u32,
}

impl Log {
    /// Writes some lines, the first of them behind half a line if there is one.
    fn write(&mut self, what: &str, count: u64) {
        for _ in 0..count {
            let text = format!("{what} {}", self.lines.len());
            match self.lines.last_mut().filter(|_| self.half) {
                Some(last) => last.push_str(&text),
                None => self.lines.push(text.clone()),
            }
            self.half = false;
            append(&self.path, &format!("{text}\n"));
        }
    }

    fn write_half(&mut self, what: &str) {
        if !self.half {
            let text = format!("half {what} ");
            append(&self.path, &text);
            self.lines.push(text);
            self.half = true;
        }
    }

    /// By rename; half a line stays the last of its file.
    fn rotate(&mut self) {
        if self.path.exists() {
            self.rotations += 1;
            fs::rename(&self.path, beside(&self.path, &format!(".{}", self.rotations))).unwrap();
            append(&self.path, "");
            self.half = false;
        }
    }
}

/// Goes on where a reader that has ended was, and keeps what it delivered.
fn again(log: &Log, dead: Run, options: Options, left: usize) -> Run {
    let mut run = Run::with(&log.path, dead.position, options, left);
    run.lines = dead.lines;
    run.count = dead.count;
    run
}

#[test]
fn random_actions_with_random_kills_and_pauses_equal_the_written_lines() {
    for seed in 0..40 {
        let (_dir, path) = place();
        append(&path, "");
        let options = Options { linger: Duration::from_millis(5), ..Options::default() };
        let mut dice = Dice(seed);
        let mut run = Run::with(&path, None, options, usize::MAX).reading();
        let mut log = Log { path, lines: Vec::new(), half: false, rotations: 0 };
        for step in 0..120 {
            let what = format!("{seed} {step}");
            let is_whole = !log.half && log.path.exists();
            match dice.roll(9) {
                0..=2 => log.write(&what, 1 + dice.roll(5)),
                3 => log.write_half(&what),
                4 => log.rotate(),
                // By copy and truncation, when the reader has everything: what it has not is lost by nature.
                5 if is_whole => {
                    run.until("before truncation", |run| run.lines.len() >= log.lines.len());
                    fs::copy(&log.path, beside(&log.path, ".copy")).unwrap();
                    File::options().write(true).truncate(true).open(&log.path).unwrap();
                }
                // A kill: what was delivered stands, the rest comes again from the last position.
                6 => {
                    let left = if dice.roll(2) == 0 { usize::MAX } else { 3 };
                    run = again(&log, run.end(), options, left);
                    if left != usize::MAX {
                        run = again(&log, run.end(), options, usize::MAX);
                    }
                }
                // Deleted, when the reader has everything; for a while nothing is there.
                7 if is_whole => {
                    run.until("before deletion", |run| run.lines.len() >= log.lines.len());
                    fs::remove_file(&log.path).unwrap();
                }
                // A pause: the log goes on while no reader is there.
                8 => {
                    let dead = run.end();
                    for action in 0..=dice.roll(6) {
                        let what = format!("{what} away {action}");
                        match dice.roll(4) {
                            0 | 1 => log.write(&what, 1 + dice.roll(5)),
                            2 => log.write_half(&what),
                            _ => log.rotate(),
                        }
                    }
                    run = again(&log, dead, options, usize::MAX);
                }
                _ => {}
            }
        }
        if log.half {
            append(&log.path, "\n");
        }
        run.until(&format!("seed {seed}"), |run| run.lines.len() >= log.lines.len());
        let run = run.end();
        let (mut got, mut expected) = (run.lines, log.lines);
        got.sort();
        expected.sort();
        assert_eq!(got, expected, "seed {seed}");
    }
}

#[test]
fn a_kill_at_any_batch_loses_and_doubles_nothing() {
    let (_dir, log) = place();
    append(&log, "");
    let first = Run::new(&log, None).reading().end();
    let mut file = OpenOptions::new().append(true).open(&log).unwrap();
    for n in 0..30_000 {
        writeln!(file, "{n} {}", "x".repeat(n % 300)).unwrap();
    }
    let (mut position, mut lines) = (first.position, Vec::new());
    for left in (0..1000).map(|n| n % 4) {
        let run = Run::with(&log, position, Options::default(), left);
        let run = Run { status: None, ..run };
        let ended = {
            let mut run = run;
            while let Ok(delivery) = run.from.recv() {
                run.take(delivery);
                if run.lines.len() + lines.len() >= 30_000 {
                    run.stop.set();
                }
            }
            let _ = run.thread.take().unwrap().join().unwrap();
            run
        };
        position = ended.position;
        lines.extend(ended.lines);
        if lines.len() >= 30_000 {
            break;
        }
    }
    let numbers = lines.iter().map(|line| line.split(' ').next().unwrap().parse::<usize>().unwrap());
    assert!(numbers.eq(0..30_000), "{}", lines.len());
}
