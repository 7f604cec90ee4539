//! Tests that cannot run on a machine.

use std::fs;
use std::io::Write as _;

/// Says that the calling test cannot run here, and why. `cargo xtask test` counts it as skipped: it names a file in
/// `GUARD_TEST_SKIPS` for that. The test returns afterwards.
#[expect(clippy::print_stderr, reason = "shown by the test runner")]
pub fn skip(reason: &str) {
    let thread = std::thread::current();
    let test = thread.name().unwrap_or("main");
    eprintln!("skipped {test}: {reason}");
    let Some(path) = std::env::var_os("GUARD_TEST_SKIPS") else { return };
    let file = fs::OpenOptions::new().create(true).append(true).open(path);
    // One write: tests of a program skip in parallel.
    file.and_then(|mut file| file.write_all(format!("{test}: {reason}\n").as_bytes()))
        .expect("the file named by GUARD_TEST_SKIPS can be written");
}

/// What this machine lacks for tests that make network namespaces, or `None`.
pub fn missing_for_namespaces() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".into());
    }
    missing_program(&["ip"])
}

/// What this machine lacks for tests that put programs and maps into the kernel, or `None`.
pub fn missing_for_kernel_tests() -> Option<String> {
    let mounted =
        || fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.contains(" /sys/fs/bpf bpf "));
    missing_for_namespaces()
        .or_else(|| (!mounted()).then(|| "bpffs is not mounted: mount -t bpf bpf /sys/fs/bpf".into()))
}

/// What this machine lacks for tests of the whole in namespaces, or `None`.
pub fn missing_for_network_tests() -> Option<String> {
    missing_for_kernel_tests().or_else(|| {
        missing_program(&["nft", "ping", "unshare", "sshd", "ssh", "ssh-keygen", "sshpass", "rsyslogd"])
    })
}

fn missing_program(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|program| crate::process::find(program).is_none());
    missing.map(|program| format!("{program} is not installed"))
}
