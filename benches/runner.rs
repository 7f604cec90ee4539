//! Programs that are timed as whole processes.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};

/// A program and how long it took.
pub struct Runner {
    /// What the row says.
    pub name: &'static str,
    /// How long it may take.
    pub goal: Option<Goal>,
    /// Absent: the program is not there.
    command: Option<Command>,
    times: Vec<Duration>,
}

/// How long a program may take.
#[derive(Clone, Copy, Debug)]
pub struct Goal {
    /// In times of another one.
    pub at_most: f64,
    /// The other one's name.
    pub of: &'static str,
}

impl Runner {
    /// A program that has not run yet.
    pub fn new(name: &'static str, command: Option<Command>) -> Self {
        Self { name, goal: None, command, times: Vec::new() }
    }

    /// The same, with a goal.
    pub fn with_goal(mut self, at_most: f64, of: &'static str) -> Self {
        self.goal = Some(Goal { at_most, of });
        self
    }

    /// Whether the program is there.
    pub fn is_there(&self) -> bool {
        self.command.is_some()
    }

    /// The time it takes; `None` if it has not run.
    pub fn median(&self) -> Option<Duration> {
        let mut times = self.times.clone();
        times.sort_unstable();
        times.get(times.len() / 2).copied()
    }

    /// Forgets its times, as another log is read.
    pub fn forget(&mut self) {
        self.times.clear();
    }

    /// Runs the program, if it is there.
    pub fn run(&mut self) -> anyhow::Result<()> {
        if let Some(command) = &mut self.command {
            self.times.push(time(command).context(self.name)?);
        }
        Ok(())
    }
}

/// Runs programs in turn, after one round to warm up.
pub fn measure(runners: &mut [Runner], rounds: usize) -> anyhow::Result<()> {
    for round in 0..=rounds {
        for runner in runners.iter_mut() {
            if round == 1 {
                runner.forget();
            }
            runner.run()?;
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
