//! `cargo xtask booted`: guard as its systemd unit starts it, on a booted Debian, under a real attack.
//!
//! The Debian has systemd, journald and an SSH server on another port than 22; it runs in a container with a network of
//! its own. What must hold is in `booted.sh`.

use std::fs;
use std::os::unix::fs::symlink;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use crate::{ebpf, mounts, packages, process};

/// Control groups that systemd-nspawn makes for the container and itself, and leaves.
const GROUPS: [&str; 2] = ["payload", "supervisor"];
/// What the Debian has.
const INCLUDE: &str = "--include=systemd,systemd-sysv,dbus,openssh-server,iproute2,nftables,procps,rsyslog";
/// What a real machine has when services start: a writable view of the kernel's files, bpffs, an address. Control groups
/// are moved along.
const MACHINE: &str = "[Unit]\nDefaultDependencies=no\nBefore=sysinit.target\n\n[Service]\nType=oneshot\n\
    ExecStart=/bin/sh -ec 'mkdir /run/groups; mount --rbind /sys/fs/cgroup /run/groups; mount -t sysfs sysfs /sys; \
    mount --rbind /run/groups /sys/fs/cgroup; mount -t bpf bpf /sys/fs/bpf; \
    ip address add 203.0.113.1/24 dev host0; ip link set host0 up'\n";

/// How to try.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Debian's release
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// The mirror that packages come from [default: debootstrap's own]
    #[arg(long)]
    mirror: Option<String>,
    /// Use the Debian that an earlier run has left
    #[arg(long)]
    again: bool,
}

/// Makes the Debian, boots it and looks. It is left for `--again`, below the build folder.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !process::is_root() {
        bail!("booting a container needs root: sudo env \"PATH=$PATH\" cargo xtask booted");
    }
    packages::ensure(packages::TEST)?;
    packages::ensure(packages::BOOTED)?;
    ebpf::build_if_possible(workspace, ebpf::Request { bench: false, force: false })?;
    process::run(workspace.cargo("build").args(["--locked", "--package", "guard", "--bins"]))?;
    mounts::ensure()?;
    let root = workspace.target.join("booted-root");
    if !options.again {
        if root.exists() {
            process::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(&root))?;
        }
        let mut debootstrap = Command::new("debootstrap");
        debootstrap.args(["--variant=minbase", INCLUDE, &options.suite]).arg(&root).args(&options.mirror);
        process::run(&mut debootstrap)?;
    }
    let key = furnish(workspace, &root)?;
    let before = groups();
    // It ends with this process, however this one ends, and all that it started ends with it.
    let done = process::run(
        Command::new("setpriv")
            .args(["--pdeathsig", "KILL", "unshare", "--mount", "--net", "--pid", "--fork", "--mount-proc"])
            .args(["--kill-child=KILL", "timeout", "--signal=KILL", "300", "sh"])
            .arg(workspace.root.join("xtask/src/booted.sh"))
            .args([&root, &key]),
    );
    for group in groups().iter().filter(|group| !before.contains(group)) {
        let _ = process::output(Command::new("find").arg(group).args(["-depth", "-type", "d", "-delete"]));
    }
    done
}

/// Those of [`GROUPS`] that there are, in every hierarchy.
fn groups() -> Vec<PathBuf> {
    let top = Path::new("/sys/fs/cgroup");
    let hierarchies = fs::read_dir(top).into_iter().flatten().flatten().map(|entry| entry.path());
    std::iter::once(top.to_path_buf())
        .chain(hierarchies)
        .flat_map(|hierarchy| GROUPS.map(|name| hierarchy.join(name)))
        .filter(|group| group.exists())
        .collect()
}

/// Puts guard, its unit and the administrator's key where they belong; answers where the key is.
fn furnish(workspace: &Workspace, root: &Path) -> Result<PathBuf> {
    let units = root.join("etc/systemd/system");
    let config = workspace.root.join("config");
    for folder in ["etc/guard", "root/.ssh", "etc/systemd/system/sysinit.target.wants"] {
        fs::create_dir_all(root.join(folder)).with_context(|| format!("cannot make {folder}"))?;
    }
    for name in ["guard", "guardctl"] {
        install(&workspace.programs("debug").join(name), &root.join("usr/bin").join(name))?;
    }
    install(&config.join("guard.toml"), &root.join("etc/guard/guard.toml"))?;
    install(&config.join("systemd/guard.service"), &units.join("guard.service"))?;
    fs::write(units.join("machine.service"), MACHINE)?;
    for (unit, target) in [("guard.service", "multi-user.target"), ("machine.service", "sysinit.target")] {
        let link = units.join(format!("{target}.wants")).join(unit);
        let _ = fs::remove_file(&link);
        symlink(format!("/etc/systemd/system/{unit}"), &link)
            .with_context(|| format!("cannot enable {unit}"))?;
    }
    // Nothing of an earlier run.
    for folder in ["var/lib/guard", "var/log/journal"] {
        let _ = fs::remove_dir_all(root.join(folder));
    }
    fs::create_dir_all(root.join("var/log/journal"))?;
    fs::write(
        root.join("etc/ssh/sshd_config.d/test.conf"),
        "Port 2222\nPermitRootLogin yes\nUseDNS no\nMaxStartups 100\n",
    )?;
    let key = workspace.target.join("booted-key");
    if !key.exists() {
        process::run(Command::new("ssh-keygen").args(["-q", "-t", "ed25519", "-N", "", "-f"]).arg(&key))?;
    }
    install(&key.with_extension("pub"), &root.join("root/.ssh/authorized_keys"))?;
    Ok(key)
}

fn install(from: &Path, to: &Path) -> Result<()> {
    let _ = fs::remove_file(to);
    fs::copy(from, to).with_context(|| format!("cannot copy {} to {}", from.display(), to.display()))?;
    Ok(())
}
