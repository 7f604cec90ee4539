//! What the daemon itself costs, from `/proc/self` (proc(5)).

/// The cost of this process.
#[derive(Clone, Copy, Debug, Default, PartialEq)]
pub struct Process {
    /// User and system time in seconds.
    pub cpu_seconds: f64,
    /// Resident memory in bytes.
    pub resident_bytes: u64,
    /// Open file descriptors.
    pub open_fds: u64,
    /// Start in seconds since the Unix epoch.
    pub started: f64,
}

impl Process {
    /// Reads it now. What `/proc` does not tell is 0.
    pub fn read() -> Self {
        let Ok(process) = procfs::process::Process::myself() else {
            return Self::default();
        };
        let open_fds = process.fd_count().unwrap_or(0) as u64;
        let Ok(stat) = process.stat() else {
            return Self { open_fds, ..Self::default() };
        };
        let ticks = procfs::ticks_per_second() as f64;
        let boot = procfs::boot_time_secs().unwrap_or(0) as f64;
        Self {
            cpu_seconds: (stat.utime + stat.stime) as f64 / ticks,
            resident_bytes: stat.rss * procfs::page_size(),
            open_fds,
            started: boot + stat.starttime as f64 / ticks,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_is_plausible() {
        let process = Process::read();
        assert!(process.resident_bytes > 1 << 20 && process.open_fds >= 3, "{process:?}");
        let now = crate::time::Wall::now().seconds() as f64;
        assert!(process.started > now - 1e8 && process.started <= now + 2.0, "{process:?}");
    }
}
