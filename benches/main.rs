//! `guard-bench`: the figures of `docs/performance.md`, each with its goal or its peer beside it.
#![allow(clippy::print_stdout, reason = "printing figures is what this program does")]
#![allow(unreachable_pub, reason = "in a program, `pub` says what other modules use")]

mod attack;
mod authlog;
mod cost;
mod detectors;
mod enforce;
mod engine;
mod environment;
mod feed_swap;
mod figures;
mod journal;
mod latency;
mod memory;
mod more_filters;
mod page;
mod peers;
mod restored;
mod rules;
mod runner;
mod scan;
mod table;
mod xdp;

use std::path::PathBuf;
use std::sync::mpsc::{self, RecvTimeoutError};
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail, ensure};
use clap::Parser;
use harness::Namespace;

use table::Section;

/// A benchmark: its name on the command line, and what runs it.
type Benchmark = (&'static str, fn() -> anyhow::Result<Section>);

/// How long everything may take. Most benchmarks take a minute; the slowest of guard's peers takes several for its logs.
const LIMIT: Duration = Duration::from_secs(25 * 60);

/// Every benchmark, in the order of the page.
const BENCHMARKS: [Benchmark; 9] = [
    ("scan", scan::run),
    ("latency", latency::run),
    ("xdp", xdp::run),
    ("enforce", enforce::run),
    ("memory", memory::run),
    ("feed-swap", feed_swap::run),
    ("journal", figures::journal),
    ("engine", figures::engine),
    ("rules", rules::run),
];

/// Measures guard on this machine. Everything happens in network namespaces and folders of its own.
#[derive(Debug, Parser)]
#[command(name = "guard-bench")]
struct Arguments {
    /// What to measure: `all`, or names separated by spaces.
    #[arg(default_value = "all", value_parser = names())]
    what: Vec<String>,
    /// Writes the page to this file, too; what stands there about where the time goes is kept
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn names() -> clap::builder::PossibleValuesParser {
    std::iter::once("all").chain(BENCHMARKS.iter().map(|(name, _)| *name)).collect::<Vec<_>>().into()
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.what.iter().any(|what| what == "all" || what == name);
    let deadline = Instant::now() + LIMIT;
    let mut sections = Vec::new();
    let mut failed = Vec::new();
    for &(name, run) in BENCHMARKS.iter().filter(|(name, _)| wanted(name)) {
        match bounded(name, run, deadline) {
            Ok(section) => {
                let text = section.markdown();
                println!("{text}");
                sections.push(text);
            }
            Err(error) => {
                println!("{name}: {error:#}\n");
                failed.push(name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("could not measure {}", failed.join(", "));
    }
    if let Some(path) = arguments.write {
        page::write(&path, &sections).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}

/// Runs a benchmark in a network namespace of its own. One that is not finished at the deadline is left behind, and
/// none is started after it.
fn bounded(name: &str, run: fn() -> anyhow::Result<Section>, deadline: Instant) -> anyhow::Result<Section> {
    ensure!(Instant::now() < deadline, "no time left: all together have {LIMIT:?}");
    let (done, outcome) = mpsc::channel();
    thread::Builder::new().name(name.to_owned()).spawn(move || {
        // The receiver has gone only when the deadline has passed.
        let _ = done.send(Namespace::new().enter(run));
    })?;
    match outcome.recv_timeout(deadline.saturating_duration_since(Instant::now())) {
        Ok(outcome) => outcome,
        Err(RecvTimeoutError::Timeout) => bail!("not finished within {LIMIT:?}"),
        Err(RecvTimeoutError::Disconnected) => bail!("the benchmark panicked"),
    }
}
