//! What a process costs, as `/proc` has it (proc(5)).

use std::fs;
use std::time::Duration;

use anyhow::Context as _;
use rustix::process::Pid;

/// Resident memory in bytes: all of it, and the part that is not backed by files.
#[derive(Clone, Copy, Debug)]
pub struct Resident {
    /// `VmRSS`.
    pub all: u64,
    /// `RssAnon`: without the program's text, which is shared and can be dropped at any time.
    pub anonymous: u64,
}

/// Resident memory of a process now.
pub fn resident(pid: Pid) -> anyhow::Result<Resident> {
    let status = fs::read_to_string(format!("/proc/{}/status", pid.as_raw_nonzero()))?;
    let field = |name: &str| -> anyhow::Result<u64> {
        let line = status.lines().find_map(|line| line.strip_prefix(name)).context("no such field")?;
        Ok(line.trim().trim_end_matches(" kB").parse::<u64>()? * 1024)
    };
    Ok(Resident { all: field("VmRSS:")?, anonymous: field("RssAnon:")? })
}

/// Processor time a process has had, its threads included, in nanosecond precision.
pub fn processor_time(pid: Pid) -> anyhow::Result<Duration> {
    let mut total = Duration::ZERO;
    for thread in fs::read_dir(format!("/proc/{}/task", pid.as_raw_nonzero()))? {
        let text = fs::read_to_string(thread?.path().join("schedstat"))?;
        let nanoseconds = text.split(' ').next().unwrap_or_default().parse()?;
        total += Duration::from_nanos(nanoseconds);
    }
    Ok(total)
}

/// Bytes in MiB, as the tables show them.
pub fn mib(bytes: u64) -> String {
    format!("{:.1} MiB", bytes as f64 / f64::from(1 << 20))
}
