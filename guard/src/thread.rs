//! Threads that stand between a log line and the kernel.
#![allow(unsafe_code, reason = "sched_getattr(2) and sched_setattr(2) have no safe wrapper")]

/// The shortest turn on a processor that an ordinary task may ask for, in nanoseconds (`kernel/sched/syscalls.c`).
const SHORTEST: u64 = 100_000;

/// `struct sched_attr` in `include/uapi/linux/sched/types.h`, first version.
#[repr(C)]
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Attributes {
    size: u32,
    policy: u32,
    flags: u64,
    nice: i32,
    priority: u32,
    runtime: u64,
    deadline: u64,
    period: u64,
}

const _: () = assert!(size_of::<Attributes>() == 48);

/// Asks for short turns on the processor for the calling thread. The kernel's scheduler lets a task that wakes up and
/// wants a short turn run before one that has a long turn: no more of the processor, only sooner. On a busy machine
/// that decides whether a ban takes a fraction of a millisecond or tens of them.
///
/// Needs no privilege. Before Linux 6.12, or where it is refused, everything stays as it is.
pub(crate) fn take_short_turns() {
    if let Some(mut attributes) = attributes()
        && attributes.policy == libc::SCHED_OTHER as u32
    {
        attributes.runtime = SHORTEST;
        // SAFETY: the attributes are a live structure of the size they tell. A refusal leaves the thread as it is.
        let _ = unsafe { libc::syscall(libc::SYS_sched_setattr, 0, std::ptr::from_mut(&mut attributes), 0) };
    }
}

/// How the calling thread is scheduled; `None` where the kernel does not tell.
fn attributes() -> Option<Attributes> {
    let mut attributes = Attributes::default();
    let size = size_of::<Attributes>() as u32;
    // SAFETY: the kernel writes at most `size` bytes, the length of the structure.
    let told =
        unsafe { libc::syscall(libc::SYS_sched_getattr, 0, std::ptr::from_mut(&mut attributes), size, 0) };
    (told == 0).then_some(attributes)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_the_turn_gets_shorter() {
        std::thread::spawn(|| {
            let before = attributes().unwrap();
            take_short_turns();
            let after = attributes().unwrap();
            assert_eq!(Attributes { runtime: 0, ..after }, Attributes { runtime: 0, ..before });
            // The kernels before it do not keep the turn of an ordinary task.
            assert!(after.runtime == SHORTEST || after.runtime == before.runtime, "{after:?}");
        })
        .join()
        .unwrap();
    }
}
