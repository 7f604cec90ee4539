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

/// What this machine lacks for tests with namespaces, or `None`.
pub fn missing_for_network_tests() -> Option<String> {
    if !rustix::process::geteuid().is_root() {
        return Some("network namespaces need root".into());
    }
    if !fs::read_to_string("/proc/self/mounts").is_ok_and(|mounts| mounts.contains(" /sys/fs/bpf bpf ")) {
        return Some("bpffs is not mounted: mount -t bpf bpf /sys/fs/bpf".into());
    }
    ["ip", "nft", "ping", "unshare", "sshd", "ssh", "ssh-keygen", "sshpass", "rsyslogd"]
        .into_iter()
        .find(|program| crate::process::find(program).is_none())
        .map(|program| format!("{program} is not installed"))
}
