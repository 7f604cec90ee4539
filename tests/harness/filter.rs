//! A kernel that lacks a part, as a program sees it: a system call answers what it would answer there.

#![allow(unsafe_code, reason = "a filter is installed between fork and exec, by the raw system call")]

use std::io;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

/// Where `seccomp_data` (`linux/seccomp.h`) has the number of the call, and the low half of an argument on
/// machines that keep it first.
const NUMBER: u32 = 0;
const fn argument(n: u32) -> u32 {
    16 + 8 * n
}

/// Lets the program start without netfilter's netlink: to open it fails as in a kernel that is built without it.
pub(crate) fn without_netfilter(command: &mut Command) {
    let instruction = |code: u32, jt, jf, k| libc::sock_filter { code: code as u16, jt, jf, k };
    let load = |from| instruction(libc::BPF_LD | libc::BPF_W | libc::BPF_ABS, 0, 0, from);
    // To the last instruction, which allows the call, unless it is what is looked for.
    let unless = |value, jump| instruction(libc::BPF_JMP | libc::BPF_JEQ | libc::BPF_K, 0, jump, value);
    let answer = |what| instruction(libc::BPF_RET | libc::BPF_K, 0, 0, what);
    let filter = [
        load(NUMBER),
        unless(libc::SYS_socket as u32, 5),
        load(argument(0)),
        unless(libc::AF_NETLINK as u32, 3),
        load(argument(2)),
        unless(libc::NETLINK_NETFILTER as u32, 1),
        answer(libc::SECCOMP_RET_ERRNO | libc::EPROTONOSUPPORT as u32),
        answer(libc::SECCOMP_RET_ALLOW),
    ];
    // SAFETY: between fork and exec the closure makes one system call and touches nothing but its own filter.
    unsafe { command.pre_exec(move || install(&filter)) };
}

fn install(filter: &[libc::sock_filter]) -> io::Result<()> {
    let program = libc::sock_fprog { len: filter.len() as u16, filter: filter.as_ptr().cast_mut() };
    // SAFETY: the kernel copies the program, which lives until it has; root needs no `no_new_privs`.
    match unsafe { libc::prctl(libc::PR_SET_SECCOMP, libc::SECCOMP_MODE_FILTER, &raw const program) } {
        0 => Ok(()),
        _ => Err(io::Error::last_os_error()),
    }
}
