//! `cargo xtask simulate`: every seed of every scene, or one with its course.

use anyhow::Result;

use crate::process;
use crate::workspace::Workspace;

/// The test program that plays them.
pub const TEST: &str = "simulate";
/// What cargo is told to build it: optimised, because it plays thousands.
pub const BUILD: [&str; 6] = ["--profile", "simulate", "--package", "guard-tests", "--test", TEST];

/// Which simulations to run.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Show the course of this seed, of every scene (17) or of one (brute-force:17)
    #[arg(long)]
    seed: Option<String>,
    /// Only compare docs/decisions.md with what the simulations give
    #[arg(long)]
    check: bool,
}

/// Runs them, and writes the table of docs/decisions.md.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    let mut command = workspace.cargo("test");
    command.arg("--locked").args(BUILD).args(["--", "seeds"]);
    match &options.seed {
        Some(seed) => {
            command.arg("--nocapture").env("GUARD_SEED", seed);
        }
        None if !options.check => {
            command.env("UPDATE", "1");
        }
        None => {}
    }
    process::run(&mut command)
}
