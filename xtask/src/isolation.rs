//! Namespaces that a program cannot leave anything behind in.

use std::path::Path;
use std::process::Command;
use std::time::Duration;

/// Run by the shell that is process 1 of the new namespaces: a private bpffs, so that pins vanish too; a private
/// /run; a private place for temporary files; loopback, which is down in a new network namespace. When the shell
/// ends, the kernel ends the rest.
const PREPARE: &str = r#"
mount -t bpf bpf /sys/fs/bpf && mount -t tmpfs tmpfs /run && mkdir /run/lock && mount -t tmpfs tmpfs /dev/shm || exit
ip link set lo up
export TMPDIR=/dev/shm
limit=$1; shift
timeout --signal=KILL "$limit" "$@"
"#;

/// A command that runs a program with processes, mounts and network of its own, for at most `limit`. It ends with
/// this process, however this one ends, and all that it started ends with it. Needs root.
pub fn isolated(program: &Path, limit: Duration) -> Command {
    let mut command = Command::new("setpriv");
    command
        .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"])
        .args(["--kill-child=KILL", "sh", "-c", PREPARE, "sh"])
        .arg(limit.as_secs().to_string())
        .arg(program);
    command
}
