//! Reading logs: `guardctl replay` as a whole process beside the search that sets its goal, and beside its peers.
//!
//! The programs of one log take turns, so that a machine that slows down slows all of them down.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use harness::program;

use crate::authlog::{self, Recipe};
use crate::table::{Section, verdict};

/// Lines of the logs on which start-up does not count.
const LONG: u32 = 5_000_000;
/// Lines of the logs that the slower peers can read.
const SHORT: u32 = 200_000;
/// Runs of each program on a long log, after one to warm up.
const LONG_ROUNDS: usize = 5;
/// Runs of each program on a short log, after one to warm up.
const SHORT_ROUNDS: usize = 3;
/// What a search has to find at least.
const PATTERN: &str = "Failed password|Invalid user|authentication failure|maximum authentication";
/// Where distributions put sshguard's own programs.
const SSHGUARD: [&str; 3] = ["/usr/libexec/sshguard", "/usr/lib/sshguard", "/usr/local/libexec"];
/// A share of attack lines in percent, and how long guard may take, in times of the search.
const SHARES: [(u32, f64); 2] = [(2, 1.0), (50, 2.0)];

/// Whole processes on long and on short logs.
pub fn run() -> anyhow::Result<Section> {
    let columns = ["log", "program", "time", "lines/s", "× `rg`", "goal", ""];
    let mut section = Section::new("Reading a log file", &columns);
    let folder = tempfile::Builder::new().prefix("guard-bench-").tempdir()?;
    let config = folder.path().join("guard.toml");
    std::fs::write(&config, "")?;
    let log = folder.path().join("auth.log");
    for (attacks, goal) in SHARES {
        authlog::write(&log, Recipe { lines: LONG, attacks, seed: u64::from(attacks) })?;
        let mut runners = vec![guard(&config, &log), search(&log), count(&log)];
        measure(&mut runners, LONG_ROUNDS)?;
        report(&mut section, LONG, attacks, &runners, Some(goal));
    }
    for (attacks, _) in SHARES {
        authlog::write(&log, Recipe { lines: SHORT, attacks, seed: u64::from(attacks) })?;
        let mut runners = vec![guard(&config, &log), search(&log), sshguard(&log), fail2ban(&log)];
        measure(&mut runners, SHORT_ROUNDS)?;
        report(&mut section, SHORT, attacks, &runners, None);
    }
    section.note(format!(
        "Whole processes, output to `/dev/null`, the log in the page cache; medians of {LONG_ROUNDS} (long logs) and \
         {SHORT_ROUNDS} runs (short logs) after one to warm up, the programs taking turns."
    ));
    section.note(format!("`rg` is `rg -c '{PATTERN}'`: it counts lines and extracts nothing."));
    section.note(
        "guard is `guardctl replay --json` with every shipped filter: header, time, patterns, address, score, decision. \
         Short logs measure its start too, which compiles the filters.",
    );
    Ok(section)
}

/// A program on a log.
struct Runner {
    name: &'static str,
    /// Absent: not installed.
    command: Option<Command>,
    times: Vec<Duration>,
}

impl Runner {
    fn new(name: &'static str, command: Option<Command>) -> Self {
        Self { name, command, times: Vec::new() }
    }

    fn median(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }
}

fn guard(config: &Path, log: &Path) -> Runner {
    let mut command = Command::new(program("guardctl"));
    command.arg("--config").arg(config).args(["replay", "--json"]).arg(log);
    Runner::new("guard", Some(command))
}

fn search(log: &Path) -> Runner {
    Runner::new("`rg -c`", installed("rg", |command| command.args(["-c", PATTERN]).arg(log)))
}

fn count(log: &Path) -> Runner {
    Runner::new("`wc -l`", installed("wc", |command| command.arg("-l").arg(log)))
}

fn fail2ban(log: &Path) -> Runner {
    let command = installed("fail2ban-regex", |command| command.arg(log).arg("sshd"));
    Runner::new("fail2ban-regex, sshd filter", command)
}

/// It reads standard input only, and the shell gives it the file from the start each time.
fn sshguard(log: &Path) -> Runner {
    let parser =
        SSHGUARD.iter().map(|folder| Path::new(folder).join("sshg-parser")).find(|path| path.exists());
    let command = parser.map(|parser| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" < \"$1\""]).arg(parser).arg(log);
        command
    });
    Runner::new("sshguard's parser", command)
}

fn installed(name: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Option<Command> {
    let found = find(name)?;
    let mut command = Command::new(found);
    arguments(&mut command);
    Some(command)
}

fn find(name: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH")?;
    std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())
}

fn measure(runners: &mut [Runner], rounds: usize) -> anyhow::Result<()> {
    for round in 0..=rounds {
        for runner in runners.iter_mut() {
            let Some(command) = &mut runner.command else { continue };
            let time = time(command).context(runner.name)?;
            if round > 0 {
                runner.times.push(time);
            }
        }
    }
    Ok(())
}

fn time(command: &mut Command) -> anyhow::Result<Duration> {
    command.stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null());
    let start = Instant::now();
    let status = command.status()?;
    let time = start.elapsed();
    ensure!(status.success(), "ended with {status}");
    Ok(time)
}

fn report(section: &mut Section, lines: u32, attacks: u32, runners: &[Runner], goal: Option<f64>) {
    let log = format!("{}, {attacks} % attacks", size(lines));
    let limit = runners.iter().find(|runner| runner.name == "`rg -c`").and_then(Runner::median);
    for runner in runners {
        let Some(time) = runner.median() else {
            section.row([&log, runner.name, "not installed", "", "", "", ""]);
            continue;
        };
        let ratio = limit.map(|limit| time.as_secs_f64() / limit.as_secs_f64());
        let goal = goal.filter(|_| runner.name == "guard");
        section.row([
            log.clone(),
            runner.name.to_owned(),
            format!("{:.1} ms", time.as_secs_f64() * 1e3),
            rate(f64::from(lines) / time.as_secs_f64()),
            ratio.map_or_else(String::new, |ratio| format!("{ratio:.2}")),
            goal.map_or_else(String::new, |goal| format!("≤ {goal:.1}")),
            goal.zip(ratio).map_or("", |(goal, ratio)| verdict(ratio <= goal)).to_owned(),
        ]);
    }
}

fn size(lines: u32) -> String {
    if lines >= 1_000_000 {
        format!("{}M lines", lines / 1_000_000)
    } else {
        format!("{}k lines", lines / 1000)
    }
}

fn rate(per_second: f64) -> String {
    if per_second >= 1e6 { format!("{:.1}M", per_second / 1e6) } else { format!("{:.0}k", per_second / 1e3) }
}
