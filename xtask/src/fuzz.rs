//! `cargo xtask fuzz`: every parser against libFuzzer.
//!
//! The crate in `fuzz/` is built with the coverage counters that libFuzzer steers by, with the toolchain that runs
//! xtask: rustc passes these flags on to LLVM. What a target has learnt stays in `target/fuzz/corpus/TARGET`; an input
//! that breaks one is kept in `target/fuzz/found/TARGET`. Once mended, it belongs into `fuzz/regressions/TARGET`, which
//! every later run and a plain test of the guard crate replay.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitCode, Stdio};
use std::sync::Mutex;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::workspace::{self, Workspace};
use crate::{packages, process};

/// What the compiler is told: count edges and compared values, for libFuzzer to read.
const FLAGS: [&str; 6] = [
    "--cfg=fuzzing",
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
];

/// One input may take so many seconds: the program is built for checks, not for speed, and the machine may be busy.
const LONGEST: u32 = 10;

/// Mebibytes that one allocation, and a target as a whole, may have.
const ALLOCATION: u32 = 128;
const MEMORY: u32 = 1024;

/// Bytes of an input: large enough for a small journal.
const INPUT: u32 = 8192;

/// What to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Only this target, for example json or journal
    target: Option<String>,
    /// How long each target is fuzzed
    #[arg(long, default_value_t = 30)]
    seconds: u64,
}

/// Fuzzes and says what was found.
pub fn run(workspace: &Workspace, options: &Options) -> Result<ExitCode> {
    packages::ensure(packages::FUZZ)?;
    let fuzzer = Fuzzer::build(workspace)?;
    let mut targets = fuzzer.targets()?;
    if let Some(name) = &options.target {
        if !targets.contains(name) {
            bail!("there is no target `{name}`; there are {}", targets.join(", "));
        }
        targets.retain(|target| target == name);
    }
    let broken = fuzzer.fuzz(&targets, Duration::from_secs(options.seconds))?;
    Ok(if broken.is_empty() { ExitCode::SUCCESS } else { ExitCode::FAILURE })
}

/// The built program and its folders.
#[derive(Debug)]
pub struct Fuzzer {
    program: PathBuf,
    /// `target/fuzz`.
    folder: PathBuf,
    regressions: PathBuf,
}

impl Fuzzer {
    /// Builds it.
    pub fn build(workspace: &Workspace) -> Result<Self> {
        let host = host()?;
        let folder = workspace.target.join("fuzz");
        let mut command = Command::new(workspace::cargo());
        // With `--target`, what runs during the build is built without the flags.
        command
            .current_dir(workspace.fuzz_crate())
            .args(["build", "--release", "--locked", "--target", &host])
            .env("CARGO_TARGET_DIR", &folder)
            .env("CARGO_ENCODED_RUSTFLAGS", FLAGS.join("\u{1f}"))
            .env("GUARD_EBPF_OBJECT", "none")
            .env_remove("RUSTFLAGS");
        process::run(&mut command)?;
        let program = folder.join(host).join("release/guard-fuzz");
        Ok(Self { program, folder, regressions: workspace.fuzz_crate().join("regressions") })
    }

    /// Names of the targets.
    pub fn targets(&self) -> Result<Vec<String>> {
        let names = process::output(Command::new(&self.program).env("GUARD_FUZZ_LIST", "1"))?;
        Ok(names.lines().map(str::to_owned).collect())
    }

    /// Fuzzes targets, as many at a time as there are processors. Answers those that broke.
    pub fn fuzz(&self, targets: &[String], time: Duration) -> Result<Vec<String>> {
        let next = Mutex::new(targets.iter());
        let results = Mutex::new(Vec::new());
        let processors = std::thread::available_parallelism().map_or(1, usize::from);
        std::thread::scope(|scope| {
            for _ in 0..processors.min(targets.len()) {
                scope.spawn(|| {
                    while let Some(target) = next.lock().ok().and_then(|mut next| next.next()) {
                        let result = self.fuzz_one(target, time);
                        if let Ok(mut results) = results.lock() {
                            results.push((target, result));
                        }
                    }
                });
            }
        });
        let mut broken = Vec::new();
        for (target, result) in results.into_inner().unwrap_or_default() {
            if !result? {
                broken.push(target.clone());
            }
        }
        Ok(broken)
    }

    /// Fuzzes one target; answers whether it held.
    fn fuzz_one(&self, target: &str, time: Duration) -> Result<bool> {
        let [corpus, found] = ["corpus", "found"].map(|name| self.folder.join(name).join(target));
        let regressions = self.regressions.join(target);
        for folder in [&corpus, &found] {
            fs::create_dir_all(folder).with_context(|| format!("cannot make {}", folder.display()))?;
        }
        process::output(self.command(target).env("GUARD_FUZZ_SEEDS", &corpus))
            .with_context(|| format!("{target}: the seeds were not written"))?;
        let mut command = self.command(target);
        command
            .arg(format!("-max_total_time={}", time.as_secs().max(1)))
            .arg(format!("-timeout={LONGEST}"))
            .arg(format!("-rss_limit_mb={MEMORY}"))
            .arg(format!("-malloc_limit_mb={ALLOCATION}"))
            .arg(format!("-max_len={INPUT}"))
            .arg(format!("-artifact_prefix={}/", found.display()))
            .args(["-print_final_stats=1", "-verbosity=1"])
            .arg(&corpus)
            .args(Some(&regressions).filter(|folder| folder.is_dir()))
            .stderr(Stdio::piped());
        let output = command.output().with_context(|| format!("cannot start {}", self.program.display()))?;
        let said = String::from_utf8_lossy(&output.stderr);
        if output.status.success() {
            eprintln!("{target:<12} {}", summary(&said));
            return Ok(true);
        }
        eprintln!("{target:<12} BROKEN\n{}", last_lines(&said, 40));
        for input in inputs(&found) {
            eprintln!("{target}: once mended, keep it: mv {} {}/", input.display(), regressions.display());
        }
        Ok(false)
    }

    fn command(&self, target: &str) -> Command {
        let mut command = Command::new(&self.program);
        command.env("GUARD_FUZZ_TARGET", target).env("RUST_BACKTRACE", "1");
        command
    }
}

/// The platform that rustc builds for without being told.
fn host() -> Result<String> {
    let rustc = std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into());
    let said = process::output(Command::new(rustc).arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc does not say what it builds for")?.to_owned())
}

/// How much was tried and seen, from what libFuzzer says at its end.
fn summary(said: &str) -> String {
    let number =
        |name: &str| said.lines().find_map(|line| line.strip_prefix(name)).map_or("?", str::trim).to_owned();
    let covered = said.lines().rev().find_map(|line| line.split_once(" cov: ")?.1.split(' ').next());
    format!(
        "{} inputs, {} edges, {} MiB",
        number("stat::number_of_executed_units:"),
        covered.unwrap_or("?"),
        number("stat::peak_rss_mb:")
    )
}

fn last_lines(text: &str, most: usize) -> String {
    let lines: Vec<&str> = text.lines().collect();
    lines[lines.len().saturating_sub(most)..].join("\n")
}

fn inputs(folder: &Path) -> Vec<PathBuf> {
    fs::read_dir(folder).into_iter().flatten().flatten().map(|entry| entry.path()).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_libfuzzer_says_is_summed_up() {
        let said = "#2\tINITED cov: 17 ft: 18 corp: 1/1b\n#9\tDONE   cov: 812 ft: 18 corp: 4/9b lim: 4\n\
                    stat::number_of_executed_units: 9\nstat::average_exec_per_sec:     4\nstat::peak_rss_mb:              61\n";
        assert_eq!(summary(said), "9 inputs, 812 edges, 61 MiB");
        assert_eq!(summary(""), "? inputs, ? edges, ? MiB");
        assert_eq!(last_lines("a\nb\nc", 2), "b\nc");
    }
}
