//! Tables of what other benchmarks measured as plain figures.

use crate::table::{Section, verdict};
use crate::{engine, journal};

/// Entries in the journal that is read.
const ENTRIES: u64 = 500_000;
/// Times it is read in each way.
const ROUNDS: usize = 5;

/// Reading a journal, beside systemd's own reader.
pub fn journal() -> anyhow::Result<Section> {
    let figures = journal::run(ENTRIES, ROUNDS)?;
    let mut section = Section::new("Reading the journal", &["", "entries a second", "goal", ""]);
    let goal = "above `journalctl -o cat`";
    for (name, rate) in [
        ("guard, every entry a sighting", figures.guard),
        ("guard, every shipped filter", figures.guard_filters),
        ("guard, one entry in a hundred wanted", figures.guard_sparse),
    ] {
        section.row([name, &thousands(rate), goal, verdict(rate > figures.journalctl[0])]);
    }
    for (output, rate) in journal::OUTPUTS.into_iter().zip(figures.journalctl) {
        section.row([&format!("`journalctl -o {output}` into `/dev/null`"), &thousands(rate), "", ""]);
    }
    section.note(format!(
        "A journal of {} entries of sshd, written by systemd's own program; medians of {ROUNDS}.",
        figures.entries
    ));
    section.note(
        "guard reads the journal's files itself, without a child process. Without filters every wanted entry becomes a \
         sighting unread; with them each is a failed login that sshd's filter reads.",
    );
    Ok(section)
}

/// The engine and the ban table by themselves.
pub fn engine() -> anyhow::Result<Section> {
    let mut section = Section::new("Engine and ban table", &["", "measured", "unit", "goal", ""]);
    for figure in engine::measure()? {
        let (goal, met) = figure.goal();
        let value = format!("{:.0}", figure.value);
        section.row([figure.name, value, figure.unit.to_owned(), goal, met.to_owned()]);
    }
    section.note("Time of one call, and bytes of one record with its share of the table.");
    section.note(
        "Every detector: half of the sources are of IPv6, and lines name accounts and are kept as \
         evidence.",
    );
    Ok(section)
}

fn thousands(rate: f64) -> String {
    format!("{:.0}k", rate / 1000.0)
}
