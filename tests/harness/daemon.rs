//! The daemon under test, and guardctl.

use std::ffi::OsString;
use std::fmt::Write as _;
use std::fs;
use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use rustix::process::Signal;
use serde_json::Value;
use tempfile::TempDir;

use crate::filter::without_netfilter;
use crate::{Arena, Background, Namespace, poll_until, run};

/// Time in which a daemon must answer after its start: a slow machine that builds beside is meant.
const START: Duration = Duration::from_secs(20);

/// A built program of the project: in the folder that `GUARD_BIN_DIR` names, else in the target folder that the test
/// itself was built into.
pub fn program(name: &str) -> PathBuf {
    if let Some(folder) = std::env::var_os("GUARD_BIN_DIR") {
        return Path::new(&folder).join(name);
    }
    let test = std::env::current_exe().expect("the test has a path");
    let beside = test.ancestors().skip(1).take(2).map(|folder| folder.join(name)).find(|path| path.exists());
    beside.unwrap_or_else(|| panic!("{name} is not built: cargo build -p guard"))
}

/// As [`program`], of a build without the eBPF object; `None` if `cargo xtask test` has not built it.
pub fn program_without_object(name: &str) -> Option<PathBuf> {
    Some(program("guard").with_file_name("without-object").join(name)).filter(|path| path.exists())
}

/// What a daemon's configuration says, as far as tests differ.
#[derive(Clone, Debug)]
pub struct Options {
    /// `enforce.backend`.
    pub backend: &'static str,
    /// `enforce.interfaces`: one, or automatic.
    pub interface: Option<&'static str>,
    /// Log files.
    pub files: Vec<PathBuf>,
    /// Journal folders.
    pub journals: Vec<PathBuf>,
    /// More TOML, put at the end.
    pub more: String,
    /// Arguments besides `--config FILE`.
    pub arguments: Vec<&'static str>,
    /// Environment besides the test's own.
    pub environment: Vec<(&'static str, OsString)>,
    /// What it is denied.
    pub denied: Denied,
    /// A folder that it sees in place of systemd-logind's sessions.
    pub logins: Option<PathBuf>,
    /// A shell command that runs in its process before it, with mounts of its own. Nothing else is denied it then.
    pub before: Option<String>,
    /// A file that it sees in place of `/etc/resolv.conf`.
    pub resolv_conf: Option<PathBuf>,
}

/// Where systemd-logind keeps its sessions.
pub const LOGIND: &str = "/run/systemd/sessions";

/// What a daemon must do without.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Denied {
    /// Nothing.
    Nothing,
    /// The program `nft`.
    Nft,
    /// A kernel with `nf_tables`.
    NfTables,
    /// The eBPF object: it is a build without one.
    Object,
    /// A kernel that describes its types (BTF).
    Btf,
    /// bpffs, and the capability to mount it.
    Bpffs,
    /// The capabilities to change the packet filter: it runs as root without them.
    Capabilities,
    /// Every capability that the systemd unit does not name, and new privileges.
    AllButTheUnit,
    /// Every privilege: it runs as `nobody`.
    Privileges,
}

impl Options {
    /// XDP on the arena's interface, no source.
    pub fn xdp() -> Self {
        Self {
            backend: "xdp",
            interface: Some(Arena::INTERFACE),
            files: Vec::new(),
            journals: Vec::new(),
            more: String::new(),
            arguments: Vec::new(),
            environment: Vec::new(),
            denied: Denied::Nothing,
            logins: None,
            before: None,
            resolv_conf: None,
        }
    }

    /// nftables, no source.
    pub fn nftables() -> Self {
        Self { backend: "nftables", ..Self::xdp() }
    }

    /// With a log file.
    #[must_use]
    pub fn file(mut self, path: &Path) -> Self {
        self.files.push(path.into());
        self
    }

    /// With a journal folder.
    #[must_use]
    pub fn journal(mut self, folder: &Path) -> Self {
        self.journals.push(folder.into());
        self
    }
}

/// A configuration with all folders below `folder` and pins below `bpffs`.
pub fn config_text(options: &Options, folder: &Path, bpffs: &Path) -> String {
    let quoted = |path: &PathBuf| Value::from(path.to_string_lossy()).to_string();
    let list = |paths: &[PathBuf]| paths.iter().map(quoted).collect::<Vec<_>>().join(", ");
    let mut text = format!(
        "[paths]\nstate = {}\nrun = {}\nbpffs = {}\n\n",
        quoted(&folder.join("state")),
        quoted(&folder.join("run")),
        quoted(&bpffs.to_path_buf())
    );
    let journald = if options.journals.is_empty() { "off" } else { "on" };
    let _ = write!(
        text,
        "[source]\njournald = \"{journald}\"\njournal_paths = [{}]\nfiles = [{}]\n\n",
        list(&options.journals),
        options
            .files
            .iter()
            .map(|path| format!("{{ path = {} }}", quoted(path)))
            .collect::<Vec<_>>()
            .join(", ")
    );
    let interfaces =
        options.interface.map_or_else(|| "\"auto\"".to_owned(), |interface| format!("[\"{interface}\"]"));
    let _ = write!(text, "[enforce]\nbackend = \"{}\"\ninterfaces = {interfaces}\n\n", options.backend);
    text.push_str(&options.more);
    text
}

/// What guardctl answered.
#[derive(Clone, Debug)]
pub struct Reply {
    /// Exit code.
    pub code: i32,
    /// Standard output.
    pub output: String,
    /// Standard error.
    pub errors: String,
}

impl Reply {
    /// Standard output as JSON.
    #[track_caller]
    pub fn json(&self) -> Value {
        serde_json::from_str(&self.output)
            .unwrap_or_else(|error| panic!("not JSON ({error}): {:?}, {}", self.output, self.errors))
    }
}

/// A running daemon with folders of its own.
#[derive(Debug)]
pub struct Daemon<'a> {
    namespace: &'a Namespace,
    options: Options,
    process: Background,
    folder: TempDir,
    bpffs: PathBuf,
}

impl<'a> Daemon<'a> {
    /// Starts one and waits until it answers.
    #[track_caller]
    pub fn start(namespace: &'a Namespace, options: Options) -> Self {
        let mut daemon = Self::spawn(namespace, options);
        daemon.await_ready();
        daemon
    }

    /// Starts one and does not wait.
    #[track_caller]
    pub fn spawn(namespace: &'a Namespace, options: Options) -> Self {
        static NUMBER: AtomicU32 = AtomicU32::new(0);
        let folder = TempDir::with_prefix("guard-").expect("a temporary folder can be made");
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bpffs = PathBuf::from(format!("/sys/fs/bpf/guard-test-{}-{number}", std::process::id()));
        for name in ["state", "run"] {
            fs::create_dir(folder.path().join(name)).expect("the folder is ours");
        }
        fs::write(folder.path().join("guard.toml"), config_text(&options, folder.path(), &bpffs))
            .expect("the folder is ours");
        let process = launch(namespace, folder.path(), &options);
        Self { namespace, options, process, folder, bpffs }
    }

    /// Its configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("guard.toml")
    }

    /// Its bpffs folder.
    pub fn bpffs(&self) -> &Path {
        &self.bpffs
    }

    /// Everything it wrote to standard error since its first start.
    pub fn log(&self) -> String {
        fs::read_to_string(self.folder.path().join("guard.log")).unwrap_or_default()
    }

    /// Its process.
    pub fn process(&mut self) -> &mut Background {
        &mut self.process
    }

    /// Runs guardctl on its socket and configuration with arguments separated by spaces.
    #[track_caller]
    pub fn ctl(&self, arguments: &str) -> Reply {
        self.ctl_by(&mut Command::new(program("guardctl")), arguments)
    }

    /// As [`Daemon::ctl`], with the mounts that the daemon sees.
    #[track_caller]
    pub fn ctl_beside(&self, arguments: &str) -> Reply {
        let mut command = Command::new("nsenter");
        command.arg(format!("--target={}", self.process.pid())).arg("--mount").arg(program("guardctl"));
        self.ctl_by(&mut command, arguments)
    }

    #[track_caller]
    fn ctl_by(&self, command: &mut Command, arguments: &str) -> Reply {
        let output = command
            .arg("--socket")
            .arg(self.folder.path().join("run/guard.sock"))
            .arg("--config")
            .arg(self.config())
            .args(arguments.split(' '))
            .stdin(Stdio::null())
            .output()
            .expect("guardctl is built");
        Reply {
            code: output.status.code().unwrap_or(-1),
            output: String::from_utf8_lossy(&output.stdout).into_owned(),
            errors: String::from_utf8_lossy(&output.stderr).into_owned(),
        }
    }

    /// As [`Daemon::ctl`] with `--json`, which must succeed.
    #[track_caller]
    pub fn json(&self, arguments: &str) -> Value {
        let reply = self.ctl(&format!("--json {arguments}"));
        assert_eq!(reply.code, 0, "guardctl {arguments}: {}{}\n{}", reply.output, reply.errors, self.log());
        reply.json()
    }

    /// Whether the kernel drops packets of an address, as the daemon reads it from the kernel.
    #[track_caller]
    pub fn drops(&self, address: IpAddr) -> bool {
        self.json(&format!("check {address}"))["verdict"]["dropped"] == true
    }

    /// Waits until the kernel drops packets of an address.
    #[track_caller]
    pub fn await_drop(&self, address: IpAddr) {
        poll_until(Duration::from_secs(10), &format!("{address} is dropped\n{}", self.log()), || {
            self.drops(address).then_some(())
        });
    }

    /// Ends it without a warning, as a crash would.
    pub fn kill(&mut self) -> ExitStatus {
        self.process.signal(Signal::KILL);
        self.process.wait(Duration::from_secs(10))
    }

    /// Asks it to end and waits for that.
    #[track_caller]
    pub fn stop(&mut self) -> ExitStatus {
        self.process.signal(Signal::TERM);
        self.process.wait(Duration::from_secs(10))
    }

    /// Starts it again on the same folders, after it has ended, and waits until it answers.
    #[track_caller]
    pub fn start_again(&mut self) {
        self.spawn_again();
        self.await_ready();
    }

    /// Starts it again on the same folders, after it has ended, and does not wait.
    #[track_caller]
    pub fn spawn_again(&mut self) {
        self.process = launch(self.namespace, self.folder.path(), &self.options);
    }

    /// Waits until it answers.
    #[track_caller]
    pub fn await_ready(&mut self) {
        poll_until(START, "the daemon answers", || {
            if let Some(status) = self.process.ended() {
                panic!("the daemon ended with {status}:\n{}", self.log());
            }
            (self.ctl("--json status").code == 0).then_some(())
        });
    }
}

impl Drop for Daemon<'_> {
    /// Removes pins too, and with them what they hold in the kernel.
    fn drop(&mut self) {
        self.process.signal(Signal::KILL);
        if std::thread::panicking() {
            eprint_log(&self.log());
        }
        let _ = fs::remove_dir_all(&self.bpffs);
    }
}

fn launch(namespace: &Namespace, folder: &Path, options: &Options) -> Background {
    let log = fs::OpenOptions::new().create(true).append(true).open(folder.join("guard.log"));
    // Where systemd does not run there may be no such folder.
    let logins = options.logins.iter().map(|logins| {
        format!(
            "mount -t tmpfs tmpfs /run && mkdir -p {LOGIND} && mount --bind '{}' {LOGIND} && ",
            logins.display()
        )
    });
    let resolver = options.resolv_conf.iter().map(|file| {
        let own = "/etc/resolv.conf";
        format!("{{ [ -e {own} ] || : >{own}; }} && mount --bind '{}' {own} && ", file.display())
    });
    let before = options.before.iter().map(|before| format!("{before} && "));
    let first: String = logins.chain(resolver).chain(before).collect();
    let mut command = if first.is_empty() {
        command(folder, options.denied)
    } else {
        in_other_mounts(&format!("{first}exec \"$@\""), &program("guard"))
    };
    command
        .arg("--config")
        .arg(folder.join("guard.toml"))
        .args(&options.arguments)
        .envs(options.environment.iter().map(|(name, value)| (name, value)))
        .stdin(Stdio::null())
        .stdout(Stdio::null())
        .stderr(log.expect("the folder is ours"));
    namespace.enter(|| Background::start(&mut command))
}

/// The daemon's program, started in a way that denies it something. The process stays the same one.
fn command(folder: &Path, denied: Denied) -> Command {
    let guard = program("guard");
    match denied {
        Denied::Nothing => Command::new(guard),
        Denied::Object => {
            Command::new(program_without_object("guard").expect("asked for before the test begins"))
        }
        Denied::Nft => in_other_mounts("mount --bind /dev/null \"$(command -v nft)\" && exec \"$@\"", &guard),
        Denied::Btf => in_other_mounts("mount -t tmpfs tmpfs /sys/kernel/btf && exec \"$@\"", &guard),
        Denied::Bpffs => {
            // Several may lie one over the other.
            let without = "while umount /sys/fs/bpf 2>/dev/null; do :; done; exec setpriv --bounding-set=-sys_admin \"$@\"";
            in_other_mounts(without, &guard)
        }
        Denied::NfTables => {
            let mut command = Command::new(guard);
            without_netfilter(&mut command);
            command
        }
        Denied::Capabilities => {
            let mut command = Command::new("setpriv");
            command.arg("--bounding-set=-bpf,-net_admin,-sys_admin,-perfmon").arg(guard);
            command
        }
        Denied::AllButTheUnit => {
            let mut command = Command::new("setpriv");
            command
                .arg(format!("--bounding-set=-all{}", capabilities_of_the_unit()))
                .args(["--inh-caps=-all", "--no-new-privs"])
                .arg(guard);
            command
        }
        Denied::Privileges => {
            // The build folder may be out of reach for others.
            let copy = folder.join("guard");
            fs::copy(guard, &copy).expect("the program can be copied");
            run(Command::new("chown").args(["-R", "65534:65534"]).arg(folder));
            let mut command = Command::new("setpriv");
            command.args(["--reuid=65534", "--regid=65534", "--clear-groups"]).arg(copy);
            command
        }
    }
}

/// The program in a mount namespace of its own, which a script changes before it becomes the program.
fn in_other_mounts(script: &str, program: &Path) -> Command {
    let mut command = Command::new("unshare");
    command.args(["--mount", "sh", "-c", script, "sh"]).arg(program);
    command.env("PATH", "/usr/sbin:/usr/bin:/sbin:/bin");
    command
}

/// The unit's `CapabilityBoundingSet=` in the notation of setpriv(1).
fn capabilities_of_the_unit() -> String {
    let unit = Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/systemd/guard.service");
    let unit = fs::read_to_string(unit).expect("the unit is there");
    let set =
        unit.lines().find_map(|line| line.strip_prefix("CapabilityBoundingSet=")).expect("it bounds them");
    let name = |capability: &str| {
        let name = capability.strip_prefix("CAP_").expect("each is named in full");
        [",+", &name.to_lowercase()].concat()
    };
    set.split_whitespace().map(name).collect()
}

#[expect(clippy::print_stderr, reason = "what the daemon said helps to see why a test failed")]
fn eprint_log(log: &str) {
    eprintln!("--- the daemon's log\n{log}---");
}
