//! The one place that starts `nft`.

use std::fs::File;
use std::io::{self, Read, Seek, Write};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::fs::{MemfdFlags, memfd_create};
use rustix::process::{Pid, PidfdFlags, pidfd_open};

use super::EnforceError;

/// Where `nft` may be. The environment is not asked.
const FOLDERS: [&str; 5] = ["/usr/sbin", "/sbin", "/usr/bin", "/bin", "/usr/local/sbin"];

/// A transaction of 65,536 elements takes about a third of a second; one that takes longer than this is stuck.
const TIMEOUT: Duration = Duration::from_secs(30);

/// How much of a complaint is read.
const COMPLAINT: u64 = 4096;

/// The `nft` program.
#[derive(Clone, Debug)]
pub(super) struct Nft(PathBuf);

impl Nft {
    /// Finds it.
    pub(super) fn find() -> Result<Self, EnforceError> {
        FOLDERS
            .iter()
            .map(|folder| Path::new(folder).join("nft"))
            .find(|path| is_program(path))
            .map(Self)
            .ok_or_else(|| EnforceError::Unavailable {
                backend: "nftables",
                reason: format!(
                    "there is no `nft` in {}; install the package `nftables`",
                    FOLDERS.join(", ")
                ),
            })
    }

    /// Runs a script as one transaction: all of it takes effect, or nothing. `operation` is for the error.
    pub(super) fn run(&self, operation: &str, script: &str) -> Result<(), EnforceError> {
        let failed = |source| EnforceError::Transient { operation: operation.to_owned(), source };
        let complaint = self.feed(script).map_err(failed)?;
        match complaint {
            None => Ok(()),
            Some(text) if text.contains("Operation not permitted") => Err(EnforceError::Permission {
                operation: operation.to_owned(),
                hint: "changing nftables needs CAP_NET_ADMIN in this network namespace".to_owned(),
            }),
            Some(text) => Err(failed(io::Error::other(text))),
        }
    }

    /// Starts it on a script and answers what it complained about. Input and complaint are files in memory, so
    /// neither side ever waits for the other.
    fn feed(&self, script: &str) -> io::Result<Option<String>> {
        let mut input = memory()?;
        input.write_all(script.as_bytes())?;
        input.rewind()?;
        let mut complaint = memory()?;
        let mut command = Command::new(&self.0);
        command.args(["-f", "-"]).env_clear().current_dir("/");
        command.stdin(input).stdout(Stdio::null()).stderr(complaint.try_clone()?);
        let mut child = command.spawn()?;
        if !wait(&child, TIMEOUT)? {
            child.kill()?;
            child.wait()?;
            return Err(io::Error::new(io::ErrorKind::TimedOut, format!("no answer within {TIMEOUT:?}")));
        }
        let status = child.wait()?;
        if status.success() {
            return Ok(None);
        }
        complaint.rewind()?;
        let mut text = Vec::new();
        complaint.take(COMPLAINT).read_to_end(&mut text)?;
        let line = text.split(|&byte| byte == b'\n').find(|line| !line.is_empty()).unwrap_or_default();
        let line = crate::encode::printable(line, 200);
        Ok(Some(if line.is_empty() { format!("nft ended with {status}") } else { line }))
    }
}

fn memory() -> io::Result<File> {
    Ok(File::from(memfd_create("nft", MemfdFlags::CLOEXEC)?))
}

/// Waits for a child's end; false if it takes too long.
fn wait(child: &Child, limit: Duration) -> io::Result<bool> {
    let pid = Pid::from_child(child);
    let end = pidfd_open(pid, PidfdFlags::empty())?;
    let limit = Timespec { tv_sec: limit.as_secs() as i64, tv_nsec: 0 };
    loop {
        match poll(&mut [PollFd::new(&end, PollFlags::IN)], Some(&limit)) {
            Ok(ready) => return Ok(ready > 0),
            Err(rustix::io::Errno::INTR) => {}
            Err(error) => return Err(error.into()),
        }
    }
}

fn is_program(path: &Path) -> bool {
    path.metadata().is_ok_and(|file| file.is_file() && file.permissions().mode() & 0o111 != 0)
}
