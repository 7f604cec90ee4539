//! Tests that cannot run on a machine.

use std::fs;
use std::io::Write as _;
use std::process::{Command, Stdio};
use std::sync::OnceLock;

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

/// Ends the calling test as one that cannot run here if something is missing for it: the reason, or `None`.
#[macro_export]
macro_rules! skip_if {
    ($missing:expr) => {
        if let Some(reason) = $missing {
            return $crate::skip(&reason);
        }
    };
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

/// What this machine lacks for tests of the nftables backend alone, or `None`.
pub fn missing_for_nftables_tests() -> Option<String> {
    missing_for_namespaces().or_else(|| missing_program(&["nft", "ping", "unshare"]))
}

/// What this machine lacks for tests of the whole in namespaces, or `None`.
pub fn missing_for_network_tests() -> Option<String> {
    missing_for_kernel_tests().or_else(|| {
        missing_program(&[
            "nft",
            "ping",
            "unshare",
            "sshd",
            "ssh",
            "ssh-keygen",
            "sshpass",
            "rsyslogd",
            "dnsmasq",
        ])
    })
}

/// What this machine or the built daemon lacks for those of them that drop packets in XDP, or `None`.
pub fn missing_for_xdp_tests() -> Option<String> {
    missing_for_network_tests()
        .or_else(|| (!has_object()).then(|| "the daemon was built without the eBPF object".into()))
}

/// Whether the daemon carries the eBPF object, as its guardctl of the same build tells.
fn has_object() -> bool {
    static FOUND: OnceLock<bool> = OnceLock::new();
    *FOUND.get_or_init(|| {
        let output = Command::new(crate::program("guardctl")).arg("doctor").stdin(Stdio::null()).output();
        let output = output.expect("guardctl is built");
        !String::from_utf8_lossy(&output.stdout).contains("this build carries none")
    })
}

fn missing_program(programs: &[&str]) -> Option<String> {
    let missing = programs.iter().find(|program| crate::process::find(program).is_none());
    missing.map(|program| format!("{program} is not installed"))
}
