//! Memory that runs out for what a process made, and for nobody else.

use std::fs;
use std::io;
use std::path::{Path, PathBuf};

use rustix::process::Pid;

/// A memory cgroup of its own. Maps are charged to the group that their maker was in when it made them, so a process
/// that is in it while it starts and is let go afterwards can run out of map memory alone.
#[derive(Debug)]
pub struct MemoryGroup {
    folder: PathBuf,
    /// The test's own group, where processes go back to.
    home: PathBuf,
    limit: &'static str,
    used: &'static str,
}

impl MemoryGroup {
    /// Makes one, or says why there is none here.
    pub fn new() -> Result<Self, String> {
        let mounted = |controller: &str| {
            let own = fs::read_to_string("/proc/self/cgroup").ok()?;
            own.lines().find_map(|line| {
                let (controllers, path) = line.split_once(':')?.1.split_once(':')?;
                (controllers == controller).then(|| path.trim_start_matches('/').to_owned())
            })
        };
        let (root, home, limit, used) = match mounted("memory") {
            Some(home) => {
                (Path::new("/sys/fs/cgroup/memory"), home, "memory.limit_in_bytes", "memory.usage_in_bytes")
            }
            None => {
                (Path::new("/sys/fs/cgroup"), mounted("").unwrap_or_default(), "memory.max", "memory.current")
            }
        };
        let folder = root.join(format!("guard-test-{}", std::process::id()));
        let make = || -> io::Result<()> {
            if limit == "memory.max" {
                fs::write(root.join("cgroup.subtree_control"), "+memory")?;
            }
            fs::create_dir(&folder)?;
            fs::metadata(folder.join(limit)).map(drop)
        };
        let group = Self { folder: folder.clone(), home: root.join(home), limit, used };
        make().map_err(|error| format!("no memory cgroup can be made at {}: {error}", folder.display()))?;
        Ok(group)
    }

    /// A shell command that moves the shell into the group.
    pub fn entry(&self) -> String {
        format!("echo $$ > '{}'", self.folder.join("cgroup.procs").display())
    }

    /// Takes a process out of the group; what it made so far stays charged to it.
    pub fn release(&self, process: Pid) {
        let pid = process.as_raw_nonzero().to_string();
        fs::write(self.home.join("cgroup.procs"), pid).expect("the process goes back to the test's group");
    }

    /// Allows no more than what is used, and `more` bytes.
    pub fn close(&self, more: u64) {
        let used = fs::read_to_string(self.folder.join(self.used)).expect("the group is there");
        let used: u64 = used.trim().parse().expect("a number of bytes");
        self.set_limit(&(used + more).to_string());
    }

    /// Allows as much as there is.
    pub fn open(&self) {
        self.set_limit(if self.limit == "memory.max" { "max" } else { "-1" });
    }

    fn set_limit(&self, bytes: &str) {
        fs::write(self.folder.join(self.limit), bytes).expect("the group is ours");
    }
}

impl Drop for MemoryGroup {
    /// A group that processes are still in stays; the harness ends its processes first.
    fn drop(&mut self) {
        let _ = fs::remove_dir(&self.folder);
    }
}
