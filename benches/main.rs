//! `guard-bench`: the figures of `docs/performance.md`, each with its goal or its peer beside it.
#![allow(clippy::print_stdout, reason = "printing figures is what this program does")]
#![allow(unreachable_pub, reason = "in a program, `pub` says what other modules use")]

mod attack;
mod cost;
mod enforce;
mod engine;
mod environment;
mod figures;
mod journal;
mod latency;
mod memory;
mod table;

use std::path::PathBuf;

use anyhow::{Context as _, bail};
use clap::Parser;

use table::Section;

/// A benchmark: its name on the command line, and what runs it.
type Benchmark = (&'static str, fn() -> anyhow::Result<Section>);

/// Every benchmark, in the order of the page.
const BENCHMARKS: [Benchmark; 5] = [
    ("latency", latency::run),
    ("enforce", enforce::run),
    ("memory", memory::run),
    ("journal", figures::journal),
    ("engine", figures::engine),
];

/// Measures guard on this machine. Everything happens in network namespaces and folders of its own.
#[derive(Debug, Parser)]
#[command(name = "guard-bench")]
struct Arguments {
    /// What to measure: `all`, or names separated by spaces.
    #[arg(default_value = "all", value_parser = names())]
    what: Vec<String>,
    /// Writes the page to this file, too.
    #[arg(long, value_name = "FILE")]
    write: Option<PathBuf>,
}

fn names() -> clap::builder::PossibleValuesParser {
    std::iter::once("all").chain(BENCHMARKS.iter().map(|(name, _)| *name)).collect::<Vec<_>>().into()
}

fn main() -> anyhow::Result<()> {
    let arguments = Arguments::parse();
    let wanted = |name: &str| arguments.what.iter().any(|what| what == "all" || what == name);
    let mut page = environment::heading();
    let mut failed = Vec::new();
    for (name, run) in BENCHMARKS.iter().filter(|(name, _)| wanted(name)) {
        match run() {
            Ok(section) => {
                let text = section.markdown();
                println!("{text}");
                page.push('\n');
                page.push_str(&text);
            }
            Err(error) => {
                println!("{name}: {error:#}\n");
                failed.push(*name);
            }
        }
    }
    if !failed.is_empty() {
        bail!("could not measure {}", failed.join(", "));
    }
    if let Some(path) = arguments.write {
        std::fs::write(&path, page).with_context(|| format!("cannot write {}", path.display()))?;
    }
    Ok(())
}
