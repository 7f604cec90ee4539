//! Debian packages: which, what for, and how they get here.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::machine::Machine;
use crate::process::{self, find, is_root};

/// A package and how to tell that what it brings is there, whoever brought it.
#[derive(Clone, Copy, Debug)]
pub struct Package {
    /// Its name.
    pub name: &'static str,
    /// A program on the search path, or the absolute path of a file.
    pub proof: &'static str,
    /// What it is needed for.
    pub why: &'static str,
}

const fn package(name: &'static str, proof: &'static str, why: &'static str) -> Package {
    Package { name, proof, why }
}

/// What every build needs.
pub const BUILD: &[Package] = &[
    package("gcc", "cc", "links Rust programs, compiles the embedded SQLite"),
    package("libc6-dev", "/usr/include/stdlib.h", "headers for the same"),
];

/// What fuzzing needs beside that.
pub const FUZZ: &[Package] = &[package("g++", "c++", "compiles libFuzzer")];

/// What the end-to-end tests and the demo drive.
pub const TEST: &[Package] = &[
    package("openssh-server", "sshd", "the server under attack"),
    package("openssh-client", "ssh", "attackers and the administrator"),
    package("sshpass", "sshpass", "types the guessed passwords"),
    package("rsyslog", "rsyslogd", "writes what sshd says into a log file"),
    package("dnsmasq-base", "dnsmasq", "the name server whose answers are allowed"),
    package("nftables", "nft", "the fallback, and `nft flush ruleset` by others"),
    package("iproute2", "ip", "veth pairs, addresses, XDP programs of others"),
    package("iputils-ping", "ping", "packets that a ban must drop"),
    package("procps", "ps", "processes and their memory"),
    package("systemd", "systemd-analyze", "the unit's exposure; journald as a source"),
    package(
        "systemd-journal-remote",
        "/lib/systemd/systemd-journal-remote",
        "writes journals with chosen entries",
    ),
    package("util-linux", "unshare", "private namespaces"),
];

/// What boots a Debian in a container.
pub const BOOTED: &[Package] = &[
    package("debootstrap", "debootstrap", "makes the Debian"),
    package("systemd-container", "systemd-nspawn", "boots it"),
];

/// What boots other kernels.
pub const VM: &[Package] = &[
    package("qemu-system-x86", "qemu-system-x86_64", "emulates the machine"),
    package("busybox-static", "busybox", "its first process and its shell"),
    package("cpio", "cpio", "packs what it boots into"),
    package("xz-utils", "xz", "unpacks modules"),
    package("binutils", "strip", "takes from tests what only debuggers read"),
];

/// What the benchmarks compare with.
pub const BENCH: &[Package] = &[
    package("ripgrep", "rg", "the limit for reading lines"),
    package("iproute2", "ip", "veth pairs and addresses"),
    package("systemd", "journalctl", "the peer for reading journals"),
    package(
        "systemd-journal-remote",
        "/lib/systemd/systemd-journal-remote",
        "writes the journal that is read",
    ),
    package("python3", "python3", "runs fail2ban-regex"),
];

/// What the benchmarks compare with and must not be installed: each would start a daemon on this machine. The proof is
/// where its file lies in the package.
pub const PEERS: &[Package] = &[
    package("sshguard", "usr/libexec/sshguard/sshg-parser", "a peer for reading lines"),
    package("fail2ban", "usr/bin/fail2ban-regex", "a peer for reading lines"),
];

/// Those of `packages` whose proof is absent.
pub fn missing(packages: &[Package]) -> Vec<Package> {
    packages.iter().copied().filter(|package| !is_present(package.proof)).collect()
}

/// Installs what is missing, or fails with the one command that does.
pub fn ensure(packages: &[Package]) -> Result<()> {
    let missing = missing(packages);
    if missing.is_empty() {
        return Ok(());
    }
    for package in &missing {
        eprintln!("missing: {:<24} {}", package.name, package.why);
    }
    let names: Vec<&str> = missing.iter().map(|package| package.name).collect();
    install(&names)
}

/// Installs Debian packages by name; `apt-get update` runs only if one of them is unknown.
/// No service that comes with a package is started.
pub fn install(names: &[&str]) -> Result<()> {
    install_on(&Machine::this(), names)
}

/// The same on a machine.
pub fn install_on(machine: &Machine, names: &[&str]) -> Result<()> {
    if machine.find("apt-get").is_none() {
        bail!("this machine has no apt-get: install what your distribution calls {}", names.join(" "));
    }
    if !machine.is_root {
        bail!("missing packages; as root: {}", install_command(names));
    }
    let _quiet = NoServices::hold(machine)?;
    if !names.iter().all(|name| is_known(machine, name)) {
        update(machine)?;
    }
    let arguments = ["install", "-y", "--no-install-recommends"];
    if process::run(apt(machine).args(arguments).args(names)).is_err() {
        // Lists older than the mirror name files that are gone.
        update(machine)?;
        process::run(apt(machine).args(arguments).args(names))?;
    }
    Ok(())
}

/// The command that installs packages, for people.
pub fn install_command(names: &[&str]) -> String {
    format!("apt-get install --no-install-recommends {}", names.join(" "))
}

/// Has apt fetch its lists.
pub fn update(machine: &Machine) -> Result<()> {
    process::run(apt(machine).arg("update"))
}

/// Downloads packages and unpacks them below `folder`, where nothing of them is installed or started.
pub fn unpack(packages: &[Package], folder: &Path) -> Result<()> {
    let machine = &Machine::this();
    let missing = packages.iter().filter(|package| !folder.join(package.proof).exists());
    for package in missing {
        eprintln!("missing: {:<24} {}", package.name, package.why);
        let download = folder.join("download");
        fs::create_dir_all(&download)?;
        if !is_known(machine, package.name) && is_root() {
            update(machine)?;
        }
        // The folder is root's or the user's, not that of apt's own account.
        let download_it = ["-o", "APT::Sandbox::User=root", "download", package.name];
        process::run(apt(machine).current_dir(&download).args(download_it))?;
        for file in fs::read_dir(&download)? {
            process::run(Command::new("dpkg").arg("-x").arg(file?.path()).arg(folder))?;
        }
        fs::remove_dir_all(&download)?;
    }
    Ok(())
}

/// Whether apt's lists have a version of a package.
pub fn is_known(machine: &Machine, name: &str) -> bool {
    process::output(machine.command("apt-cache").args(["policy", name])).is_ok_and(|policy| {
        policy.lines().any(|line| line.contains("Candidate:") && !line.contains("(none)"))
    })
}

fn apt(machine: &Machine) -> Command {
    let mut command = machine.command("apt-get");
    command.env("DEBIAN_FRONTEND", "noninteractive").args(["-q", "-o", "Dpkg::Use-Pty=0"]);
    command
}

fn is_present(proof: &str) -> bool {
    if proof.starts_with('/') { Path::new(proof).exists() } else { find(proof).is_some() }
}

/// Tells Debian's package scripts to start nothing while it lives: a test must not open an SSH server on the
/// machine that runs it (`policy-rc.d`, Debian's invoke-rc.d manual page). An existing policy is left alone.
struct NoServices(Option<PathBuf>);

impl NoServices {
    fn hold(machine: &Machine) -> Result<Self> {
        use std::os::unix::fs::PermissionsExt as _;

        let path = machine.file("/usr/sbin/policy-rc.d");
        if path.exists() {
            return Ok(Self(None));
        }
        fs::write(&path, "#!/bin/sh\nexit 101\n")
            .and_then(|()| fs::set_permissions(&path, fs::Permissions::from_mode(0o755)))
            .with_context(|| format!("cannot write {}", path.display()))?;
        Ok(Self(Some(path)))
    }
}

impl Drop for NoServices {
    fn drop(&mut self) {
        if let Some(path) = &self.0 {
            let _ = fs::remove_file(path);
        }
    }
}
