//! Reading logs: `guardctl replay` as a whole process beside the search that sets its goal, and beside its peers.
//!
//! The programs of one log take turns, so that a machine that slows down slows all of them down.

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::program;

use crate::authlog::{self, Recipe};
use crate::runner::{Runner, measure};
use crate::table::{Section, verdict};
use crate::{more_filters, peers};

/// Lines of the logs on which start-up does not count.
const LONG: u32 = 5_000_000;
/// Lines of the logs for peers that would take too long for those.
const MIDDLE: u32 = 1_000_000;
/// Lines of the logs that every program reads several times.
const SHORT: u32 = 200_000;
/// Runs of each program on a long log, after one to warm up.
const LONG_ROUNDS: usize = 5;
/// Runs of each program on a short log, after one to warm up.
const SHORT_ROUNDS: usize = 3;
/// How long a slow peer may take for a log.
const PATIENCE: Duration = Duration::from_secs(180);
/// A share of attack lines in percent, and how long guard may take, in times of the search.
const SHARES: [(u32, f64); 2] = [(2, 1.0), (50, 2.0)];
/// How long guard may take with more filters, in times of guard.
const MORE: f64 = 1.1;

const GUARD: &str = "guard";
const SEARCH: &str = "`rg -c`";

/// Whole processes on long and on short logs.
pub fn run() -> anyhow::Result<Section> {
    let columns = ["log", "program", "time", "lines/s", "× `rg`", "goal", ""];
    let mut section = Section::new("Reading a log file", &columns);
    let folder = tempfile::Builder::new().prefix("guard-bench-").tempdir()?;
    let guards = Guards::new(folder.path())?;
    let log = folder.path().join("auth.log");
    for (attacks, goal) in SHARES {
        let write = |lines| authlog::write(&log, Recipe { lines, attacks, seed: u64::from(attacks) });
        write(SHORT)?;
        let mut short = vec![
            guards.plain(&log),
            peers::search(SEARCH, &log),
            peers::sshguard(&log),
            peers::fail2ban(&log),
        ];
        measure(&mut short, SHORT_ROUNDS)?;
        let growth = f64::from(LONG) / f64::from(SHORT);
        let in_time = |peer: &Runner| peer.median().is_some_and(|time| time.mul_f64(growth) < PATIENCE);
        let slow = [peers::sshguard(&log), peers::fail2ban(&log)];
        let (slow, slower): (Vec<_>, Vec<_>) =
            slow.into_iter().zip(short[2..].iter().map(in_time)).partition(|(_, in_time)| *in_time);

        write(LONG)?;
        let mut long = guards.all(&log, goal);
        long.extend([peers::search(SEARCH, &log), peers::count(&log)]);
        measure(&mut long, LONG_ROUNDS)?;
        for (mut peer, _) in slow {
            peer.run()?;
            long.push(peer);
        }
        report(&mut section, LONG, attacks, &long);
        let mut middle: Vec<_> = slower.into_iter().map(|(peer, _)| peer).filter(Runner::is_there).collect();
        if !middle.is_empty() {
            write(MIDDLE)?;
            middle.push(peers::search(SEARCH, &log));
            middle.iter_mut().try_for_each(Runner::run)?;
            report(&mut section, MIDDLE, attacks, &middle);
        }
        report(&mut section, SHORT, attacks, &short);
    }
    std::fs::write(&log, "")?;
    let mut starts = vec![guards.plain(&log), guards.more(&log)];
    measure(&mut starts, SHORT_ROUNDS)?;
    report(&mut section, 0, 0, &starts);
    section.note(format!(
        "Whole processes, output to `/dev/null`, the log in the page cache; medians of {LONG_ROUNDS} (long logs) and \
         {SHORT_ROUNDS} runs (short logs) after one to warm up, the programs taking turns. sshguard's parser and \
         fail2ban-regex read the long log once, or one of {} lines if that would take more than {} s; they are \
         Debian's packages, unpacked.",
        size(MIDDLE),
        PATIENCE.as_secs()
    ));
    section.note(format!("`rg` is `rg -c '{}'`: it counts lines and extracts nothing.", peers::PATTERN));
    section.note(
        "guard is `guardctl replay --json` with every shipped filter: header, time, patterns, address, score, decision. \
         Short logs measure its start too, which compiles the filters.",
    );
    section.note(format!(
        "The {} more filters are those of programs that do not write this log; half of them have patterns that begin \
         with a field, a quarter reads records. Compiling them, and proving that no line has two readings, is part of \
         the start.",
        more_filters::COUNT
    ));
    Ok(section)
}

/// guard in its configurations.
struct Guards {
    shipped: PathBuf,
    only_sshd: PathBuf,
    more: PathBuf,
}

impl Guards {
    fn new(folder: &Path) -> anyhow::Result<Self> {
        let filters = folder.join("filters.d");
        more_filters::write(&filters)?;
        let config = |name: &str, filters: &Path, more: &str| {
            let path = folder.join(name);
            let text = format!("[filter]\nfolder = \"{}\"\n{more}", filters.display());
            std::fs::write(&path, text).map(|()| path)
        };
        let none = folder.join("none");
        Ok(Self {
            shipped: config("shipped.toml", &none, "")?,
            only_sshd: config("sshd.toml", &none, "enable = [\"sshd\"]\n")?,
            more: config("more.toml", &filters, "")?,
        })
    }

    fn plain(&self, log: &Path) -> Runner {
        replay(GUARD, &self.shipped, &[], log)
    }

    fn more(&self, log: &Path) -> Runner {
        replay("guard + 100 more filters", &self.more, &[], log)
    }

    fn all(&self, log: &Path, goal: f64) -> Vec<Runner> {
        vec![
            self.plain(log).with_goal(goal, SEARCH),
            self.more(log).with_goal(MORE, GUARD),
            replay("guard, sshd filter only", &self.only_sshd, &[], log),
            replay("guard, `--threads 1`", &self.shipped, &["--threads", "1"], log),
        ]
    }
}

fn replay(name: &'static str, config: &Path, options: &[&str], log: &Path) -> Runner {
    let mut command = Command::new(program("guardctl"));
    command.arg("--config").arg(config).args(["replay", "--json"]).args(options).arg(log);
    Runner::new(name, Some(command))
}

fn report(section: &mut Section, lines: u32, attacks: u32, runners: &[Runner]) {
    let log =
        if lines == 0 { "no line".to_owned() } else { format!("{} lines, {attacks} % attacks", size(lines)) };
    let median = |name: &str| runners.iter().find(|runner| runner.name == name).and_then(Runner::median);
    for runner in runners {
        let Some(time) = runner.median() else {
            section.row([&log, runner.name, "not there", "", "", "", ""]);
            continue;
        };
        let times = |name: &str| median(name).map(|other| time.as_secs_f64() / other.as_secs_f64());
        let goal = runner.goal.and_then(|goal| Some((goal, times(goal.of)?)));
        section.row([
            log.clone(),
            runner.name.to_owned(),
            format!("{:.1} ms", time.as_secs_f64() * 1e3),
            if lines == 0 { String::new() } else { rate(f64::from(lines) / time.as_secs_f64()) },
            times(SEARCH).map_or_else(String::new, |times| format!("{times:.2}")),
            goal.map_or_else(String::new, |(goal, _)| format!("≤ {:.1} × {}", goal.at_most, goal.of)),
            goal.map_or("", |(goal, times)| verdict(times <= goal.at_most)).to_owned(),
        ]);
    }
}

fn size(lines: u32) -> String {
    if lines >= 1_000_000 { format!("{}M", lines / 1_000_000) } else { format!("{}k", lines / 1000) }
}

fn rate(per_second: f64) -> String {
    if per_second >= 1e6 { format!("{:.1}M", per_second / 1e6) } else { format!("{:.0}k", per_second / 1e3) }
}
