//! Runs one command: without a shell, for so long.

use std::io;
use std::os::unix::process::CommandExt;
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::process::{Pid, PidfdFlags, Signal, kill_process_group, pidfd_open};

use super::orders::Failure;
use crate::rules::action;
use crate::source::Stop;

/// Where programs find others.
pub(super) const PATH: &str = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin";

/// Runs a command with these variables until it ends, its time is over, or guard's.
pub(super) fn run(
    command: &action::Command,
    environment: &[(&str, String)],
    stop: &Stop,
) -> Result<(), Failure> {
    let program = command.program.display();
    let mut child = Command::new(&command.program)
        .args(&command.arguments)
        .env_clear()
        .env("PATH", PATH)
        .envs(environment.iter().map(|(name, text)| (name, text)))
        .current_dir("/")
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .process_group(0)
        .spawn()
        .map_err(|cause| Failure::Other(format!("{program} cannot be started: {cause}")))?;
    // It must not outlive others for guard's sake when memory is short. It may have ended already.
    let _ = std::fs::write(format!("/proc/{}/oom_score_adj", child.id()), "0");
    let ended = wait(&child, command.timeout, stop);
    if !matches!(ended, Ok(true)) {
        // Its number is its own until it is waited for, and its group's.
        let _ = kill_process_group(Pid::from_child(&child), Signal::KILL);
    }
    let status = child.wait();
    match (ended, status) {
        (Ok(true), Ok(status)) if status.success() => Ok(()),
        (Ok(true), Ok(status)) => Err(Failure::Other(format!("{program} ended with {status}"))),
        (Ok(false), _) if stop.is_set() => Err(Failure::Other(format!("{program} was ended with guard"))),
        (Ok(false), _) => {
            let timeout = crate::config::units::show_duration(command.timeout);
            Err(Failure::Timeout(format!("{program} was killed after {timeout}")))
        }
        (Err(cause), _) | (_, Err(cause)) => {
            Err(Failure::Other(format!("{program} cannot be waited for: {cause}")))
        }
    }
}

/// Waits until a process has ended; `false` if its time was over first, or guard's.
fn wait(child: &Child, timeout: Duration, stop: &Stop) -> io::Result<bool> {
    let process = pidfd_open(Pid::from_child(child), PidfdFlags::empty())?;
    let deadline = Instant::now() + timeout;
    loop {
        let left = deadline.saturating_duration_since(Instant::now());
        let timeout = Timespec {
            tv_sec: i64::try_from(left.as_secs()).unwrap_or(i64::MAX),
            tv_nsec: left.subsec_nanos().into(),
        };
        let mut both = [PollFd::new(&process, PollFlags::IN), PollFd::new(stop, PollFlags::IN)];
        match poll(&mut both, Some(&timeout)) {
            Ok(0) => return Ok(false),
            Ok(_) => return Ok(!both[0].revents().is_empty()),
            Err(rustix::io::Errno::INTR) => {}
            Err(cause) => return Err(cause.into()),
        }
    }
}
