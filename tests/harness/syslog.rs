//! Log files, and the syslog daemon that writes one.

use std::fs::{self, OpenOptions};
use std::io::Write as _;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use tempfile::TempDir;

use crate::process::{appears, find};
use crate::room::{LOG_SOCKET, Room};
use crate::{Background, poll_until};

/// rsyslogd, configured as on Debian: authentication messages go to `auth.log`.
#[derive(Debug)]
pub struct Rsyslog {
    file: PathBuf,
    _daemon: Background,
}

impl Rsyslog {
    /// Starts it in a room and waits until it listens.
    pub(crate) fn start(room: &Room) -> Self {
        let file = room.path("auth.log");
        fs::write(&file, "").expect("the folder is ours");
        let socket = room.run_folder().join(LOG_SOCKET);
        let configuration = room.path("rsyslog.conf");
        let text = format!(
            "global(workDirectory=\"{folder}\" net.enableDNS=\"off\")\n\
             module(load=\"imuxsock\" SysSock.Use=\"off\")\n\
             input(type=\"imuxsock\" Socket=\"{socket}\")\n\
             auth,authpriv.* action(type=\"omfile\" file=\"{file}\")\n",
            folder = room.path("run").display(),
            socket = socket.display(),
            file = file.display(),
        );
        fs::write(&configuration, text).expect("the folder is ours");
        let program = find("rsyslogd").expect("rsyslogd is installed");
        let daemon = Background::start(
            room.command(&program)
                .args(["-n", "-i", "NONE", "-f"])
                .arg(&configuration)
                .stdout(Stdio::null())
                .stderr(Stdio::null()),
        );
        poll_until(Duration::from_secs(10), "rsyslogd listens", || appears(&socket));
        Self { file, _daemon: daemon }
    }

    /// The file it writes.
    pub fn file(&self) -> &Path {
        &self.file
    }
}

/// A log file that the test writes itself, in the traditional syslog format (RFC 3164).
#[derive(Debug)]
pub struct LogFile {
    path: PathBuf,
    /// By how many seconds the clock of its writer's zone stands back behind this machine's.
    behind: i64,
    _folder: TempDir,
}

impl LogFile {
    /// An empty one.
    pub fn new() -> Self {
        Self::of_another_zone(0)
    }

    /// An empty one whose writer lives by a zone so many seconds behind this machine's.
    pub fn of_another_zone(behind: i64) -> Self {
        let folder = TempDir::with_prefix("guard-log-").expect("a temporary folder can be made");
        let path = folder.path().join("auth.log");
        fs::write(&path, "").expect("the folder is ours");
        Self { path, behind, _folder: folder }
    }

    /// Its path.
    pub fn path(&self) -> &Path {
        &self.path
    }

    /// Adds a line of sshd, stamped with the time now, as its writer's zone has it.
    pub fn sshd(&self, pid: u32, message: &str) {
        let now = rustix::time::clock_gettime(rustix::time::ClockId::Realtime).tv_sec;
        let line = format!("{} host sshd[{pid}]: {message}\n", traditional_stamp(now - self.behind));
        let mut file = OpenOptions::new().append(true).open(&self.path).expect("the file is there");
        file.write_all(line.as_bytes()).expect("the line can be written");
    }

    /// Adds what sshd writes when an address guesses passwords of as many different connections.
    pub fn guesses(&self, address: IpAddr, count: u32) {
        for number in 0..count {
            let port = 40_000 + number;
            self.sshd(1000 + number, &format!("Failed password for root from {address} port {port} ssh2"));
        }
    }
}

impl Default for LogFile {
    fn default() -> Self {
        Self::new()
    }
}

/// `Nov 20 21:31:07` in local time, as syslog daemons write it.
#[allow(unsafe_code, reason = "the C library knows the machine's time zone")]
fn traditional_stamp(seconds: i64) -> String {
    const MONTHS: [&str; 12] =
        ["Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec"];
    // SAFETY: `tm` is plain integers and one pointer that may be null; all zeroes is a valid value.
    let mut tm: libc::tm = unsafe { std::mem::zeroed() };
    // SAFETY: both pointers are to live values of the right types, and `localtime_r` keeps neither.
    unsafe { libc::localtime_r(&raw const seconds, &raw mut tm) };
    format!(
        "{} {:>2} {:02}:{:02}:{:02}",
        MONTHS[tm.tm_mon as usize], tm.tm_mday, tm.tm_hour, tm.tm_min, tm.tm_sec
    )
}
