//! On which ports an SSH server listens.
//!
//! Whose socket one is the kernel tells those who may look into the server's process (`PTRACE_MODE_READ`, proc(5)). A
//! daemon without `CAP_SYS_PTRACE` goes by the control group: of root's sockets, those made in the group of the
//! server's service, or of the socket unit that starts it.

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::os::unix::fs::MetadataExt as _;
use std::path::Path;

use rustix::fs::statfs;

use super::sockets::{Found, listening, listening_beside};

/// `CGROUP2_SUPER_MAGIC` in `include/uapi/linux/magic.h`.
const CGROUP2: i64 = 0x6367_7270;
/// Where the hierarchy is: alone, or beside those of version 1.
const HIERARCHIES: [&str; 2] = ["/sys/fs/cgroup", "/sys/fs/cgroup/unified"];

/// What can be seen of SSH servers.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct SshPorts {
    /// Where they listen.
    pub(super) ports: BTreeSet<u16>,
    /// Whether there is one whose sockets are out of sight.
    pub(super) unseen: bool,
}

/// Ports on which a process named `sshd` listens. Where another process listens for it (socket activation), none, as
/// far as that process does not hand the listening socket over.
pub(super) fn ssh_ports() -> io::Result<SshPorts> {
    let listening = listening()?;
    let mut seen = SshPorts::default();
    for process in fs::read_dir("/proc")?.flatten().map(|entry| entry.path()) {
        if name(&process).as_deref() != Some(b"sshd\n") {
            continue;
        }
        match sockets(&process) {
            Ok(inodes) => seen.ports.extend(ports(&listening, |socket| inodes.contains(&socket.inode))),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => {
                // What serves one client was forked by the server and is in the client's session.
                if parent_is_sshd(&process) {
                    continue;
                }
                let groups = groups(&process);
                let of_group =
                    |socket: &Found| socket.uid == 0 && socket.group.is_some_and(|g| groups.contains(&g));
                let found: BTreeSet<u16> = ports(&listening, of_group).collect();
                seen.unseen |= found.is_empty() && is_here(&process, &listening);
                seen.ports.extend(found);
            }
            // Processes come and go while this reads.
            Err(_) => {}
        }
    }
    Ok(seen)
}

fn ports(sockets: &[Found], chosen: impl Fn(&Found) -> bool) -> impl Iterator<Item = u16> {
    sockets.iter().filter(move |socket| chosen(socket)).map(|socket| socket.connection.local_port)
}

/// The name with a line feed behind it, which everybody may read.
fn name(process: &Path) -> Option<Vec<u8>> {
    fs::read(process.join("comm")).ok()
}

/// Inodes of the sockets that a process holds open.
fn sockets(process: &Path) -> io::Result<BTreeSet<u64>> {
    let mut inodes = BTreeSet::new();
    for file in fs::read_dir(process.join("fd"))? {
        match fs::read_link(file?.path()) {
            Ok(link) => inodes.extend(socket(&link)),
            Err(e) if e.kind() == io::ErrorKind::PermissionDenied => return Err(e),
            Err(_) => {} // closed meanwhile
        }
    }
    Ok(inodes)
}

/// `socket:[INODE]`.
fn socket(link: &Path) -> Option<u64> {
    link.to_str()?.strip_prefix("socket:[")?.strip_suffix(']')?.parse().ok()
}

fn parent_is_sshd(process: &Path) -> bool {
    let parent =
        fs::read(process.join("stat")).ok().and_then(|stat| crate::protect::session::parent_of(&stat));
    parent.and_then(|parent| name(&Path::new("/proc").join(parent.to_string()))).as_deref() == Some(b"sshd\n")
}

/// Whether a process is in this network namespace: its listening sockets are some of those here.
fn is_here(process: &Path, here: &[Found]) -> bool {
    listening_beside(process).is_ok_and(|inodes| here.iter().any(|socket| inodes.contains(&socket.inode)))
}

/// The control group of a process and those of the socket units beside and above it that bear its service's name.
fn groups(process: &Path) -> BTreeSet<u64> {
    let text = fs::read_to_string(process.join("cgroup")).unwrap_or_default();
    let Some(own) = text.lines().find_map(|line| line.strip_prefix("0::/")) else { return BTreeSet::new() };
    paths(own).iter().filter_map(|path| identity(path)).collect()
}

/// `system.slice/ssh.service` goes with `system.slice/ssh.socket`; an instance of `ssh@.service` too, from one slice
/// further in.
fn paths(own: &str) -> Vec<String> {
    let mut paths = vec![own.to_owned()];
    let (slices, unit) = own.rsplit_once('/').unwrap_or(("", own));
    if let Some(service) = unit.strip_suffix(".service") {
        let service = service.split('@').next().unwrap_or(service);
        paths.extend(
            Path::new(slices).ancestors().map(|slice| format!("{}/{service}.socket", slice.display())),
        );
    }
    paths
}

/// The kernel's number of a control group: the inode of its folder.
fn identity(path: &str) -> Option<u64> {
    HIERARCHIES.iter().find_map(|root| {
        let folder = Path::new(root).join(path.trim_start_matches('/'));
        #[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
        let is_group = statfs(&folder).is_ok_and(|info| info.f_type as i64 & 0xffff_ffff == CGROUP2);
        is_group.then(|| fs::metadata(&folder).ok().map(|folder| folder.ino()))?
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_service_goes_with_its_socket_unit() {
        assert_eq!(
            paths("system.slice/ssh.service"),
            ["system.slice/ssh.service", "system.slice/ssh.socket", "/ssh.socket"]
        );
        let of_instance = paths("system.slice/system-ssh.slice/ssh@1-192.0.2.1:22-192.0.2.9:4.service");
        assert!(of_instance.contains(&"system.slice/ssh.socket".to_owned()), "{of_instance:?}");
        assert_eq!(paths("user.slice/user-0.slice/session-3.scope").len(), 1);
        assert_eq!(paths(""), [""]);
    }

    #[test]
    fn sockets_among_open_files() {
        assert_eq!(socket(Path::new("socket:[4242]")), Some(4242));
        for other in ["pipe:[4242]", "socket:[]", "/dev/null", "socket:[-1]"] {
            assert_eq!(socket(Path::new(other)), None, "{other}");
        }
    }
}
