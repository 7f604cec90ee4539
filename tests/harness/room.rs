//! A private view of /run, /dev and the account files, in which servers find what a whole system would have.
//!
//! Every program of a room has a mount namespace of its own over the same folders, so they meet at the same sockets,
//! and the machine's accounts, sockets and logs are out of reach. `/dev/log` is where systemd has it.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use tempfile::TempDir;

/// Where programs send their log messages, below [`Room::run_folder`].
pub(crate) const LOG_SOCKET: &str = "systemd/journal/dev-log";

/// What the room's machine is called.
pub(crate) const MACHINE_ID: &str = "6a756172642d74657374730000000001";

/// Run by a shell in the new mount namespace, which it then becomes.
const ENTER: &str = r#"
set -e
room=$1; shift
mount -t tmpfs -o mode=0755 tmpfs "$room/dev"
for node in null zero full random urandom; do : >"$room/dev/$node"; mount --bind "/dev/$node" "$room/dev/$node"; done
mkdir "$room/dev/pts" "$room/dev/shm"
mount --rbind /dev/pts "$room/dev/pts"
mount --rbind /dev/shm "$room/dev/shm"
ln -s pts/ptmx "$room/dev/ptmx"
ln -s /proc/self/fd "$room/dev/fd"
ln -s /run/systemd/journal/dev-log "$room/dev/log"
mount --rbind "$room/dev" /dev
mount --bind "$room/run" /run
for file in passwd group shadow machine-id; do
    [ -e "/etc/$file" ] || : >"/etc/$file"
    mount --bind "$room/etc/$file" "/etc/$file"
done
mkdir -p /etc/pam.d
mount --bind "$room/etc/pam.d" /etc/pam.d
exec "$@"
"#;

/// The administrator's account: the one that can log in.
pub(crate) const ACCOUNT: &str = "admin";
/// Its password, where a server asks for one after the key.
pub(crate) const PASSWORD: &str = "correct horse";
/// What the account files hold of it (crypt(5), SHA-512).
const PASSWORD_HASH: &str =
    "$6$guard$H3Cx1wut8wEPOwyNrG2C0rHjWFNvpgzAHqVNfc0fxsoAY8OPfz/PeX7MBnfpQSh7saYjtsOgTGiSYD67iiw5T/";
/// PAM's rules for the SSH server: the account files decide.
const PAM: &str =
    "auth required pam_unix.so\naccount required pam_permit.so\nsession required pam_permit.so\n";

/// The folders of a room.
#[derive(Debug)]
pub(crate) struct Room(TempDir);

impl Room {
    /// Lays them out. Only the administrator has a password.
    pub(crate) fn new() -> Self {
        let room = Self(TempDir::with_prefix("guard-room-").expect("a temporary folder can be made"));
        for folder in
            ["dev", "etc/pam.d", "home", "run/sshd", "run/systemd/journal", "run/log/journal", "run/lock"]
        {
            fs::create_dir_all(room.path(folder)).expect("the folder is ours");
        }
        let home = room.path("home");
        let passwd = format!(
            "root:x:0:0:root:/root:/bin/sh\n\
             sshd:x:100:65534::/run/sshd:/usr/sbin/nologin\n\
             nobody:x:65534:65534::/nonexistent:/usr/sbin/nologin\n\
             {ACCOUNT}:x:1000:1000::{}:/bin/sh\n",
            home.display()
        );
        let group =
            format!("root:x:0:\nadm:x:4:\nsystemd-journal:x:101:\n{ACCOUNT}:x:1000:\nnogroup:x:65534:\n");
        let shadow = format!(
            "root:*:19000:0:99999:7:::\nsshd:*:19000:0:99999:7:::\n{ACCOUNT}:{PASSWORD_HASH}:19000:0:99999:7:::\n"
        );
        let machine = format!("{MACHINE_ID}\n");
        for (file, text) in [
            ("passwd", passwd.as_str()),
            ("group", &group),
            ("shadow", &shadow),
            ("machine-id", &machine),
            ("pam.d/sshd", PAM),
        ] {
            fs::write(room.path("etc").join(file), text).expect("the folder is ours");
        }
        room
    }

    /// A file or folder of the room as seen from outside.
    pub(crate) fn path(&self, inside: &str) -> PathBuf {
        self.0.path().join(inside)
    }

    /// What programs of the room see as /run.
    pub(crate) fn run_folder(&self) -> PathBuf {
        self.path("run")
    }

    /// A command whose program runs in the room.
    pub(crate) fn command(&self, program: &Path) -> Command {
        let mut command = Command::new("unshare");
        command.args(["--mount", "sh", "-c", ENTER, "sh"]).arg(self.0.path()).arg(program);
        command
    }
}
