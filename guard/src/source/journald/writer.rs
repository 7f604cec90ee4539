//! When journald has worked.
//!
//! journald writes entries through a memory map, which inotify does not see, and tells its readers of them by a timer,
//! up to a quarter of a second late (`POST_CHANGE_TIMER_INTERVAL_USEC` in systemd's sources). Between messages it
//! sleeps, and the kernel can tell whenever a task goes to sleep: a software event of `perf_event_open(2)`, which
//! costs nothing while there is none. Where it is refused (`CAP_PERFMON` is needed), the reader looks on its own beat.
#![allow(unsafe_code, reason = "the system call takes a pointer, and the event wants a memory map")]

use std::fs;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, FromRawFd, OwnedFd};
use std::os::unix::fs::MetadataExt;
use std::path::Path;
use std::ptr::{self, NonNull};

use rustix::event::{PollFd, PollFlags, Timespec, poll};
use rustix::mm::{MapFlags, ProtFlags, mmap, munmap};

/// journald's name as the kernel cuts it (`TASK_COMM_LEN` in `include/linux/sched.h`).
const COMM: &str = "systemd-journal\n";
/// Processes that are watched at most: journald has one for each of its namespaces.
const MOST: usize = 8;

/// `PERF_TYPE_SOFTWARE` in `include/uapi/linux/perf_event.h`.
const SOFTWARE: u32 = 1;
/// `PERF_COUNT_SW_CONTEXT_SWITCHES`.
const CONTEXT_SWITCHES: u64 = 3;
/// `PERF_FLAG_FD_CLOEXEC`.
const CLOSE_ON_EXEC: libc::c_ulong = 8;
/// A page for the kernel's notes and one for records, which nobody reads.
const PAGES: usize = 2;

/// The processes that write journals.
#[derive(Debug, Default)]
pub(super) struct Writers(Vec<Writer>);

/// A process whose context switches make a descriptor readable.
#[derive(Debug)]
struct Writer {
    event: OwnedFd,
    map: NonNull<libc::c_void>,
    length: usize,
}

// SAFETY: the memory map belongs to this value, and nothing reads or writes it through the pointer.
unsafe impl Send for Writer {}

impl Writers {
    /// Looks for them, if none is watched.
    pub(super) fn find(&mut self) {
        if !self.0.is_empty() {
            return;
        }
        let Ok(processes) = fs::read_dir("/proc") else { return };
        let writers = processes.flatten().filter(|process| is_journald(&process.path()));
        let pids = writers.filter_map(|process| process.file_name().to_str()?.parse().ok());
        self.0 = pids.take(MOST).filter_map(|pid| Writer::open(pid).ok()).collect();
    }

    /// Whether any is watched.
    pub(super) fn are_watched(&self) -> bool {
        !self.0.is_empty()
    }

    /// What becomes readable when one has worked, and stays so until [`check`](Self::check) or another poll.
    pub(super) fn descriptors(&self) -> impl Iterator<Item = BorrowedFd<'_>> {
        self.0.iter().map(|writer| writer.event.as_fd())
    }

    /// Lets all go if one has ended, so that its successor is looked for; whether that was so.
    pub(super) fn check(&mut self) -> bool {
        let mut fds: Vec<_> = self.0.iter().map(|writer| PollFd::new(&writer.event, PollFlags::IN)).collect();
        let now = Timespec { tv_sec: 0, tv_nsec: 0 };
        let gone = PollFlags::HUP | PollFlags::ERR;
        let ended = poll(&mut fds, Some(&now)).is_ok() && fds.iter().any(|fd| fd.revents().intersects(gone));
        drop(fds);
        if ended {
            self.0.clear();
        }
        ended
    }
}

/// Whether a process is root's and bears journald's name. Another one would only wake the reader for nothing.
fn is_journald(process: &Path) -> bool {
    fs::read_to_string(process.join("comm")).is_ok_and(|comm| comm == COMM)
        && fs::metadata(process).is_ok_and(|meta| meta.uid() == 0)
}

/// `struct perf_event_attr`, first version.
#[repr(C)]
#[derive(Default)]
struct Attributes {
    kind: u32,
    size: u32,
    config: u64,
    sample_period: u64,
    sample_type: u64,
    read_format: u64,
    flags: u64,
    wakeup_events: u32,
    breakpoint: u32,
    config1: u64,
}

const _: () = assert!(size_of::<Attributes>() == 64);

impl Writer {
    fn open(pid: libc::pid_t) -> io::Result<Self> {
        let attributes = Attributes {
            kind: SOFTWARE,
            size: size_of::<Attributes>() as u32,
            config: CONTEXT_SWITCHES,
            sample_period: 1,
            wakeup_events: 1,
            ..Attributes::default()
        };
        // SAFETY: the attributes are a live structure of the size they tell; the other arguments are numbers.
        let fd = unsafe {
            libc::syscall(libc::SYS_perf_event_open, ptr::from_ref(&attributes), pid, -1, -1, CLOSE_ON_EXEC)
        };
        if fd < 0 {
            return Err(io::Error::last_os_error());
        }
        // SAFETY: the kernel has just made this descriptor for us.
        let event = unsafe { OwnedFd::from_raw_fd(fd as i32) };
        let length = PAGES * rustix::param::page_size();
        // Without a map an event never becomes readable; one that cannot be written to needs no reader.
        // SAFETY: a new mapping at an address the kernel chooses touches nothing else.
        let map = unsafe { mmap(ptr::null_mut(), length, ProtFlags::READ, MapFlags::SHARED, &event, 0) }?;
        let map = NonNull::new(map).ok_or_else(|| io::Error::from_raw_os_error(libc::ENOMEM))?;
        Ok(Self { event, map, length })
    }
}

impl Drop for Writer {
    fn drop(&mut self) {
        // SAFETY: the mapping is this value's own. Nothing can be done about a failure.
        let _ = unsafe { munmap(self.map.as_ptr(), self.length) };
    }
}
