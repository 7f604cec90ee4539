//! `cargo xtask test`: everything that must hold, on a machine that need not have any of the tools.

mod binaries;
mod checks;
mod tally;

use std::process::ExitCode;
use std::time::{Duration, Instant};

use anyhow::Result;
use clap::ValueEnum;

use crate::fuzz::Fuzzer;
use crate::workspace::Workspace;
use crate::{ebpf, mounts, packages, process};
pub use binaries::Suite;
pub use tally::Tally;

/// How long `cargo xtask test` fuzzes each target.
const FUZZED: Duration = Duration::from_secs(2);

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only these steps; the eBPF object is then built only if one of them needs it
    #[arg(long, value_delimiter = ',')]
    only: Vec<Step>,
    /// Only tests whose name contains this
    #[arg(long)]
    filter: Option<String>,
    /// A skipped test fails the run; on by itself if CI is set, or for root on a kernel with BTF
    #[arg(long)]
    strict: bool,
}

/// The parts of a run, in their order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
enum Step {
    /// Formatting
    Fmt,
    /// Lints, with and without the optional parts
    Clippy,
    /// Documentation builds without warnings
    Docs,
    /// Licences, forbidden crates, sources, advisories
    Licences,
    /// Tests of the crates, documentation examples included
    Unit,
    /// The parsers against what fuzzing has found, and a few seconds of new inputs
    Fuzz,
    /// Tests of the built programs on real kernels, servers and journals
    E2e,
}

impl Step {
    fn needs_build(self) -> bool {
        !matches!(self, Self::Fmt | Self::Licences | Self::Fuzz)
    }

    fn runs_programs(self) -> bool {
        matches!(self, Self::Unit | Self::E2e)
    }
}

/// Runs the steps and prints `N passed, M failed, K skipped` at the end. Every step runs, whatever came before.
pub fn run(workspace: &Workspace, options: &Options) -> ExitCode {
    let steps: Vec<Step> = Step::value_variants()
        .iter()
        .copied()
        .filter(|s| options.only.is_empty() || options.only.contains(s))
        .collect();
    let strict = options.strict || is_strict();
    let mut report = Report::default();

    report.time("set-up", || set_up(workspace, &steps));
    // One build serves the unit and the end-to-end tests.
    let mut suite = None;
    if steps.iter().any(|step| step.runs_programs()) {
        report.time("build", || {
            suite = Some(binaries::build(workspace)?);
            Ok(Tally::default())
        });
    }
    for step in steps {
        let filter = options.filter.as_deref();
        match (step, &suite) {
            (Step::Fmt, _) => report.time("fmt", || checks::fmt(workspace)),
            (Step::Clippy, _) => report.time("clippy", || checks::clippy(workspace)),
            (Step::Docs, _) => report.time("docs", || checks::docs(workspace)),
            (Step::Licences, _) => report.time("licences", || checks::licences(workspace)),
            (Step::Unit, Some(suite)) => {
                report.time("unit", || suite.run_unit(workspace, filter));
                report.time("doc examples", || binaries::run_doc_examples(workspace, filter));
            }
            (Step::Fuzz, _) => {
                let mut fuzzer = None;
                report.time("fuzz build", || build_fuzzer(workspace, &mut fuzzer));
                if let Some(fuzzer) = fuzzer {
                    report.time("fuzz", || fuzz_briefly(&fuzzer, filter));
                }
            }
            (Step::E2e, Some(suite)) => report.time("e2e", || suite.run_e2e(workspace, filter)),
            // The build has failed and is counted.
            (Step::Unit | Step::E2e, None) => {}
        }
    }
    report.finish(strict)
}

/// Whether a skipped test means that something is wrong: in CI, and where everything can be run.
fn is_strict() -> bool {
    let ci = std::env::var("CI").is_ok_and(|value| !matches!(value.as_str(), "" | "0" | "false"));
    ci || (process::is_root() && std::path::Path::new("/sys/kernel/btf/vmlinux").exists())
}

fn set_up(workspace: &Workspace, steps: &[Step]) -> Result<Tally> {
    let mut tally = Tally::default();
    if !steps.iter().any(|step| step.needs_build()) {
        return Ok(tally);
    }
    packages::ensure(packages::BUILD)?;
    if steps.iter().any(|step| step.runs_programs()) {
        // Without them the tests that need them say so and are skipped.
        if let Err(error) = packages::ensure(packages::TEST) {
            tally.skip(format!("set-up: {error:#}"));
        }
        mounts::ensure()?;
    }
    // The tests of the packet program load the measuring variant too.
    let request = ebpf::Request { bench: true, force: false };
    if !ebpf::build_if_possible(workspace, request)? {
        tally.skip("set-up: the eBPF object cannot be built on this machine".to_owned());
    }
    Ok(tally)
}

fn build_fuzzer(workspace: &Workspace, fuzzer: &mut Option<Fuzzer>) -> Result<Tally> {
    let mut tally = Tally::default();
    match packages::ensure(packages::FUZZ) {
        Ok(()) => *fuzzer = Some(Fuzzer::build(workspace)?),
        Err(error) => tally.skip(format!("fuzz: {error:#}")),
    }
    Ok(tally)
}

/// Each target on all it has learnt, on what was found once, and on new inputs for a moment.
fn fuzz_briefly(fuzzer: &Fuzzer, filter: Option<&str>) -> Result<Tally> {
    let mut targets = fuzzer.targets()?;
    targets.retain(|target| filter.is_none_or(|filter| target.contains(filter)));
    let broken = fuzzer.fuzz(&targets, FUZZED)?;
    let failed: Vec<String> = broken.iter().map(|target| format!("fuzz {target}")).collect();
    Ok(Tally { passed: (targets.len() - failed.len()) as u64, failed, ..Tally::default() })
}

/// What the steps have given so far.
#[derive(Debug, Default)]
struct Report {
    total: Tally,
    times: Vec<(&'static str, Duration)>,
}

impl Report {
    fn time(&mut self, name: &'static str, step: impl FnOnce() -> Result<Tally>) {
        process::headline(name);
        let start = Instant::now();
        match step() {
            Ok(tally) => self.total.add(tally),
            Err(error) => {
                eprintln!("{name}: {error:#}");
                self.total.fail(format!("{name}: {error:#}"));
            }
        }
        self.times.push((name, start.elapsed()));
    }

    fn finish(mut self, strict: bool) -> ExitCode {
        process::headline("result");
        for (name, time) in &self.times {
            println!("{name:<14} {:>7.1} s", time.as_secs_f64());
        }
        for name in &self.total.ignored {
            println!("left out: {name}");
        }
        for name in &self.total.skipped {
            println!("skipped: {name}");
        }
        for name in &self.total.failed {
            println!("FAILED: {name}");
        }
        let skips_count = strict && !self.total.skipped.is_empty();
        if skips_count {
            println!("a skipped test is a failure here: this machine can run it, or CI is set");
        }
        self.total.failed.sort();
        println!("{}", self.total);
        if self.total.failed.is_empty() && !skips_count { ExitCode::SUCCESS } else { ExitCode::FAILURE }
    }
}
