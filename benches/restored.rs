//! What a start takes over from its store, without the kernel: bans into the table, and what the engine knows of them.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::ensure;
use guard::ban::BanId;
use guard::config::Config;
use guard::judge::Judge;
use guard::protect::Protection;
use guard::scan::{FilterSet, Mode};
use guard::store::{Sqlite, Store, StoredBan, StoredScore, StoredStrikes, Write};
use guard::target::Target;
use guard::time::{Clock, Wall};

use crate::engine::{Figure, address};

/// Rows of one transaction.
const BATCH: u32 = 50_000;

/// Bans, strikes and scores of so many hosts come back from a file that was closed.
pub fn measure(count: u32, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let clock = Clock::now();
    let mut store = Sqlite::open(folder.path())?.0;
    for start in (0..count).step_by(BATCH as usize) {
        store.write(&writes(start..count.min(start + BATCH), clock))?;
    }
    drop(store);
    let config = Config::default();
    let filters = Arc::new(FilterSet::shipped(Mode::Normal)?);

    let begin = Instant::now();
    let mut store = Sqlite::open(folder.path())?.0;
    let protection = Protection::new(&config.allow, clock);
    let mut judge = Judge::new(&config, filters, protection, &store.snapshot()?, 1, clock);
    let small = begin.elapsed();
    let mut to_come = store.ban_count()?;
    let mut restored = 0;
    store.bans(clock.wall, &mut |bans| {
        to_come = to_come.saturating_sub(bans.len() as u64);
        restored += judge.restore(&bans, to_come, clock).len();
        true
    })?;
    let all = begin.elapsed();
    ensure!(restored == count as usize, "{restored} of {count} bans came back");
    let milliseconds = |time: Duration| time.as_secs_f64() * 1e3;
    figures.push(Figure::new(
        format!("restore, {count} bans: strikes and scores"),
        milliseconds(small),
        "ms",
    ));
    figures.push(Figure::new(format!("restore, {count} bans: all of it"), milliseconds(all), "ms"));
    Ok(())
}

fn writes(numbers: std::ops::Range<u32>, clock: Clock) -> Vec<Write> {
    let mut writes = Vec::new();
    let mut scores = Vec::new();
    for number in numbers {
        let target = Target::host(address(number));
        let strikes = StoredStrikes { target, strikes: 1, last: clock.wall, recent: Vec::new() };
        writes.push(Write::Ban(StoredBan {
            id: BanId(u64::from(number) + 1),
            target,
            since: clock.wall,
            until: Some(Wall(clock.wall.0 + 86_400_000)),
            origin: "filter:sshd".into(),
            score: 5000,
            strike: 1,
            reason: "sshd: 5 points in 10 minutes".into(),
        }));
        writes.push(Write::Strikes(strikes));
        scores.push(StoredScore { address: address(number), points: 5000, settled: clock.wall });
    }
    writes.push(Write::Scores(scores));
    writes
}
