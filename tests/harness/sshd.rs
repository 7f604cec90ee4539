//! A real OpenSSH server and its clients.

use std::fs;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use crate::process::find;
use crate::room::{ACCOUNT, LOG_SOCKET, PASSWORD, Room};
use crate::{Arena, Background, Journald, Rsyslog, connects, poll_until, run};

/// sshd on a guarded host, together with what takes its log messages.
#[derive(Debug)]
pub struct Sshd {
    room: Room,
    key: PathBuf,
    daemon: Background,
    log: Log,
    port: u16,
}

#[derive(Debug)]
enum Log {
    File(Rsyslog),
    Journal(Journald),
}

impl Sshd {
    /// Its port, unless told otherwise.
    pub const PORT: u16 = 22;

    /// Starts it with rsyslogd, which writes [`Sshd::log_file`].
    pub fn with_rsyslog(arena: &Arena) -> Self {
        let room = Room::new();
        let log = Log::File(Rsyslog::start(&room));
        Self::start(arena, room, log, "", Self::PORT)
    }

    /// As [`Sshd::with_rsyslog`], for an administrator who needs his key and then a code from PAM.
    pub fn with_two_factors(arena: &Arena) -> Self {
        let room = Room::new();
        let log = Log::File(Rsyslog::start(&room));
        let more = "UsePAM yes\nKbdInteractiveAuthentication yes\n\
                    AuthenticationMethods publickey,keyboard-interactive\nLogLevel VERBOSE\n";
        Self::start(arena, room, log, more, Self::PORT)
    }

    /// Starts it with journald, which writes below [`Sshd::journal_folder`].
    pub fn with_journald(arena: &Arena) -> Self {
        Self::with_journald_at(arena, Self::PORT)
    }

    /// As [`Sshd::with_journald`], listening on another port.
    pub fn with_journald_at(arena: &Arena, port: u16) -> Self {
        let room = Room::new();
        let log = Log::Journal(Journald::start(&room));
        Self::start(arena, room, log, "", port)
    }

    /// The log file; panics if the messages go to a journal.
    pub fn log_file(&self) -> &Path {
        match &self.log {
            Log::File(rsyslog) => rsyslog.file(),
            Log::Journal(_) => panic!("this sshd logs into a journal"),
        }
    }

    /// The journal's folder; panics if the messages go to a file.
    pub fn journal_folder(&self) -> &Path {
        match &self.log {
            Log::Journal(journald) => journald.folder(),
            Log::File(_) => panic!("this sshd logs into a file"),
        }
    }

    /// Logs a message as another program of root's on the same host.
    pub fn log_as(&self, identifier: &str, message: &str) {
        let socket = self.room.run_folder().join(LOG_SOCKET);
        run(Command::new("logger").arg("--socket").arg(socket).args([
            "-t",
            identifier,
            "-p",
            "auth.info",
            message,
        ]));
    }

    /// A client at an address outside.
    pub fn client<'a>(&'a self, arena: &'a Arena, from: IpAddr) -> Client<'a> {
        Client { sshd: self, arena, from }
    }

    /// Says something under sshd's name to what takes its log messages, as an account without privileges.
    pub fn forge(&self, message: &str) {
        let setpriv = find("setpriv").expect("util-linux is installed");
        let mut command = self.room.command(&setpriv);
        command.args([
            "--reuid=65534",
            "--regid=65534",
            "--clear-groups",
            "logger",
            "--tag",
            "sshd",
            "--id=4711",
        ]);
        run(command.args(["--priority", "auth.info", "--", message]));
    }

    /// The server's process.
    pub fn process(&self) -> &Background {
        &self.daemon
    }

    /// Of an option that is said twice sshd takes the first, so `first` goes before the usual ones.
    fn start(arena: &Arena, room: Room, log: Log, first: &str, port: u16) -> Self {
        let host_key = make_key(&room, "host_key");
        let key = make_key(&room, "admin_key");
        let configuration = room.path("sshd_config");
        let text = format!(
            "{first}Port {port}\nHostKey {host_key}\nPidFile none\nUsePAM no\nUseDNS no\nStrictModes no\n\
             PasswordAuthentication yes\nPermitRootLogin prohibit-password\nAuthorizedKeysFile {key}.pub\n\
             MaxStartups 100\nSyslogFacility AUTH\nLogLevel INFO\n",
            host_key = host_key.display(),
            key = key.display(),
        );
        fs::write(&configuration, text).expect("the folder is ours");
        let program = find("sshd").expect("sshd is installed");
        let mut command = room.command(&program);
        command.args(["-D", "-f"]).arg(&configuration).stdout(Stdio::null()).stderr(Stdio::null());
        let daemon = arena.host.enter(|| Background::start(&mut command));
        let sshd = Self { room, key, daemon, log, port };
        let address = SocketAddr::new(crate::GUARDED_V4, port);
        poll_until(Duration::from_secs(10), "sshd listens", || {
            connects(&arena.outside, crate::ADMIN, address, Duration::from_millis(200)).then_some(())
        });
        sshd
    }
}

/// An ssh client at one address.
#[derive(Clone, Copy, Debug)]
pub struct Client<'a> {
    sshd: &'a Sshd,
    arena: &'a Arena,
    from: IpAddr,
}

impl Client<'_> {
    /// Tries a wrong password; answers whether the server refused it, which it cannot once packets are dropped.
    pub fn guess(&self, account: &str) -> bool {
        let mut command = Command::new("sshpass");
        command.args(["-p", "123456", "ssh"]).args(self.options()).args([
            "-o",
            "PreferredAuthentications=password",
            "-o",
            "PubkeyAuthentication=no",
            "-o",
            "NumberOfPasswordPrompts=1",
        ]);
        command.arg(format!("{account}@{}", self.server())).arg("true");
        quiet(&mut command).stderr(Stdio::piped());
        let output = self.arena.outside.enter(|| command.output()).expect("sshpass is installed");
        String::from_utf8_lossy(&output.stderr).contains("Permission denied")
    }

    /// Logs in with the administrator's key; answers whether that worked.
    pub fn log_in(&self) -> bool {
        let mut command = Command::new("ssh");
        command.args(self.options()).arg("-i").arg(&self.sshd.key);
        command.arg(format!("{ACCOUNT}@{}", self.server())).arg("true");
        quiet(&mut command);
        self.arena.outside.enter(|| command.status()).expect("ssh is installed").success()
    }

    /// Opens a session with the administrator's key that stays until it is dropped.
    pub fn session(&self) -> Background {
        self.start_session(Command::new("ssh"))
    }

    /// As [`Client::session`], answering the server's question behind the key.
    pub fn session_with_code(&self) -> Background {
        let mut command = Command::new("sshpass");
        command.args(["-p", PASSWORD, "ssh"]);
        self.start_session(command)
    }

    fn start_session(&self, mut command: Command) -> Background {
        let answer = self.sshd.room.path(&format!("session-{}", self.from));
        command.args(self.options()).arg("-i").arg(&self.sshd.key);
        command.arg(format!("{ACCOUNT}@{}", self.server())).arg("echo ready; exec sleep 600");
        quiet(&mut command).stdout(fs::File::create(&answer).expect("the folder is ours"));
        let session = self.arena.outside.enter(|| Background::start(&mut command));
        poll_until(Duration::from_secs(10), "the administrator is logged in", || {
            (fs::read(&answer).ok()? == b"ready\n").then_some(())
        });
        session
    }

    fn server(&self) -> IpAddr {
        if self.from.is_ipv4() { crate::GUARDED_V4 } else { crate::GUARDED_V6 }
    }

    fn options(&self) -> Vec<String> {
        let options = [
            "StrictHostKeyChecking=no",
            "UserKnownHostsFile=/dev/null",
            "ConnectTimeout=3",
            "ServerAliveInterval=2",
            "ServerAliveCountMax=2",
            "IdentitiesOnly=yes",
        ];
        let mut arguments: Vec<String> = ["-F", "none"].map(str::to_owned).into();
        arguments.extend([format!("-b{}", self.from), format!("-p{}", self.sshd.port)]);
        arguments.extend(options.iter().flat_map(|option| ["-o".to_owned(), (*option).to_owned()]));
        arguments
    }
}

fn quiet(command: &mut Command) -> &mut Command {
    command.env_remove("SSH_AUTH_SOCK").stdin(Stdio::null()).stdout(Stdio::null()).stderr(Stdio::null())
}

/// A key pair without a passphrase.
fn make_key(room: &Room, name: &str) -> PathBuf {
    let path = room.path(name);
    run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-C", name, "-f"]).arg(&path));
    path
}
