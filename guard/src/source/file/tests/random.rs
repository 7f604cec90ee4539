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

#[test]
fn random_actions_with_random_kills_equal_the_written_lines() {
    for seed in 0..40 {
        let (_dir, log) = place();
        append(&log, "");
        let options = Options { linger: Duration::from_millis(5), ..Options::default() };
        let mut dice = Dice(seed);
        let mut written = Vec::new();
        let mut run = Run::with(&log, None, options, usize::MAX).reading();
        let (mut half, mut rotations) = (false, 0);
        for step in 0..120 {
            match dice.roll(9) {
                0..=2 => {
                    for _ in 0..=dice.roll(5) {
                        let text = format!("{seed} {step} {}", written.len());
                        if half {
                            written.last_mut().map(|last: &mut String| last.push_str(&text)).unwrap();
                            half = false;
                        } else {
                            written.push(text.clone());
                        }
                        append(&log, &format!("{text}\n"));
                    }
                }
                3 if !half => {
                    written.push(format!("half {step} "));
                    append(&log, written.last().unwrap());
                    half = true;
                }
                // By rename; half a line stays the last of its file.
                4 if log.exists() => {
                    rotations += 1;
                    fs::rename(&log, beside(&log, &format!(".{rotations}"))).unwrap();
                    append(&log, "");
                    half = false;
                }
                // By copy and truncation, when the reader has everything: what it has not is lost by nature.
                5 if !half && log.exists() => {
                    let all = written.len();
                    run.until("before truncation", |run| run.lines.len() >= all);
                    fs::copy(&log, beside(&log, ".copy")).unwrap();
                    File::options().write(true).truncate(true).open(&log).unwrap();
                }
                // Deleted, when the reader has everything; for a while nothing is there.
                7 if !half && log.exists() => {
                    let all = written.len();
                    run.until("before deletion", |run| run.lines.len() >= all);
                    fs::remove_file(&log).unwrap();
                }
                // A kill: what was delivered stands, the rest comes again from the last position.
                6 => {
                    let left = if dice.roll(2) == 0 { usize::MAX } else { 3 };
                    let before = run.end();
                    run = Run::with(&log, before.position, options, left);
                    run.lines = before.lines;
                    run.count = before.count;
                    if left != usize::MAX {
                        let dead = run.end();
                        run = Run::with(&log, dead.position, options, usize::MAX);
                        run.lines = dead.lines;
                        run.count = dead.count;
                    }
                }
                _ => {}
            }
        }
        if half {
            append(&log, "\n");
        }
        let all = written.len();
        run.until(&format!("seed {seed}"), |run| run.lines.len() >= all);
        let run = run.end();
        let (mut got, mut expected) = (run.lines, written);
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
