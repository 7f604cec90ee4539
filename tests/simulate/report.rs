//! What came of all seeds of a scene, as one row of a table.

use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::people::{Role, Tally};

/// Figures of one scene.
#[derive(Debug, Default)]
pub(crate) struct Row {
    attackers: u64,
    banned: u64,
    /// Not banned, but told of.
    seen: u64,
    honest: u64,
    wrong: u64,
    shielded: u64,
    times: Vec<i64>,
    tries: Vec<u64>,
}

/// Heads of the columns.
pub(crate) const HEAD: [&str; 9] = [
    "scene",
    "attackers",
    "banned",
    "only seen",
    "missed",
    "time to ban (median, 99 %)",
    "tries let through (median, most)",
    "honest",
    "wrong",
];

impl Row {
    /// Adds one performance.
    pub(crate) fn add(&mut self, tallies: &[Tally]) {
        for tally in tallies {
            match tally.role {
                Role::Attacker => self.attacked(tally),
                Role::Honest => {
                    self.honest += 1;
                    self.wrong += u64::from(tally.dropped > 0);
                }
                Role::Shielded => self.shielded += 1,
            }
        }
    }

    /// Honest users who were dropped.
    pub(crate) fn wrong(&self) -> u64 {
        self.wrong
    }

    /// As cells of the table.
    pub(crate) fn cells(&mut self, name: &str) -> [String; 9] {
        self.times.sort_unstable();
        self.tries.sort_unstable();
        let attackers = match (self.attackers, self.shielded) {
            (0, 0) => String::new(),
            (0, shielded) => format!("{shielded} not to be banned"),
            (attackers, 0) => attackers.to_string(),
            (attackers, shielded) => format!("{attackers}, {shielded} not to be banned"),
        };
        let if_any = |text: String| if self.attackers > 0 { text } else { String::new() };
        let missed = self.attackers - self.banned - self.seen;
        let time = |place: Option<&i64>| place.map_or("never".to_owned(), |time| span(*time));
        let times = format!("{}, {}", time(at(&self.times, 50)), time(at(&self.times, 99)));
        let tries = |place: Option<&u64>| place.map_or(String::new(), u64::to_string);
        let tries = format!("{}, {}", tries(at(&self.tries, 50)), tries(self.tries.last()));
        [
            format!("`{name}`"),
            attackers,
            if_any(self.banned.to_string()),
            if_any(self.seen.to_string()),
            if_any(missed.to_string()),
            if_any(if self.times.is_empty() { "never".into() } else { times }),
            if_any(tries),
            if self.honest > 0 { self.honest.to_string() } else { String::new() },
            if self.honest > 0 { self.wrong.to_string() } else { String::new() },
        ]
    }

    fn attacked(&mut self, tally: &Tally) {
        // Who never got to try anything has not attacked; a ban of others covered him before.
        let Some(since) = tally.since.filter(|_| tally.tries > 0) else {
            if tally.dropped > 0 {
                (self.attackers, self.banned) = (self.attackers + 1, self.banned + 1);
                self.times.push(0);
                self.tries.push(0);
            }
            return;
        };
        self.attackers += 1;
        self.tries.push(tally.tries);
        if let Some(banned) = tally.banned {
            self.banned += 1;
            self.times.push((banned - since).max(0));
        } else {
            self.seen += u64::from(tally.seen);
        }
    }
}

/// What so many of a hundred sorted values do not exceed.
fn at<T>(sorted: &[T], percent: usize) -> Option<&T> {
    sorted.get((sorted.len() * percent / 100).min(sorted.len().saturating_sub(1)))
}

/// A time as people say it.
fn span(time: i64) -> String {
    match time {
        0..SECOND => format!("{time} ms"),
        SECOND..MINUTE => format!("{}.{} s", time / SECOND, time % SECOND / 100),
        MINUTE..HOUR => format!("{} min", time / MINUTE),
        HOUR..DAY => format!("{} h", time / HOUR),
        _ => format!("{} d", time / DAY),
    }
}

/// A table as Markdown, its columns of equal width.
pub(crate) fn table(rows: &[[String; 9]]) -> String {
    let mut all = vec![HEAD.map(str::to_owned)];
    all.extend_from_slice(rows);
    let width = |column: usize| all.iter().map(|row| row[column].chars().count()).max().unwrap_or_default();
    let line = |row: &[String; 9]| {
        let cells = row.iter().enumerate().map(|(column, cell)| format!(" {cell:<0$} |", width(column)));
        format!("|{}\n", cells.collect::<String>())
    };
    let rule: [String; 9] = std::array::from_fn(|column| "-".repeat(width(column)));
    let mut text = line(&all[0]) + &line(&rule);
    text.extend(all[1..].iter().map(line));
    text
}
