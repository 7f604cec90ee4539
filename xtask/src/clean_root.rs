//! `cargo xtask clean-root`: the README's commands as a new user runs them, in a fresh Debian.
//!
//! The root holds a minimal Debian, rustup with the running toolchain as its `stable`, and a clone of the committed state; nothing else.
//! It is entered with mounts and processes of its own, so whatever the commands start ends with them. The network is the
//! machine's, because packages and crates come through it: what would change it, such as `cargo xtask run`, is built with
//! `--keep` first and then run with `--again --offline`.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::packages;
use crate::process::{self, find, is_root};
use crate::workspace::Workspace;

/// How to try.
#[derive(Debug, clap::Args)]
pub struct Options {
    /// Debian's release
    #[arg(long, default_value = "bookworm")]
    suite: String,
    /// The mirror that packages come from [default: debootstrap's own]
    #[arg(long)]
    mirror: Option<String>,
    /// Keep the root for another look
    #[arg(long)]
    keep: bool,
    /// Enter the root that `--keep` has left, and keep it
    #[arg(long)]
    again: bool,
    /// Give the command a network of its own with nothing but loopback
    #[arg(long)]
    offline: bool,
    /// What is run in the clone; the default is `.ci/run`
    #[arg(last = true)]
    command: Vec<String>,
}

/// Makes the root, runs the command in it and takes the root away.
pub fn run(workspace: &Workspace, options: &Options) -> Result<()> {
    if !is_root() {
        bail!("making a Debian root needs root: sudo env \"PATH=$PATH\" cargo xtask clean-root");
    }
    if find("debootstrap").is_none() {
        packages::install(&["debootstrap"])?;
    }
    let root = if options.again {
        Root::left(workspace)?
    } else {
        let root = Root::make(workspace, options)?;
        root.give_toolchain()?;
        root.give_clone(workspace)?;
        root
    };
    let command: Vec<String> =
        if options.command.is_empty() { vec![".ci/run".into()] } else { options.command.clone() };
    root.enter(&command, options.offline)
}

/// The names under which rustup stands for the programs of a toolchain.
const PROXIES: [&str; 7] =
    ["cargo", "rustc", "rustdoc", "rustfmt", "cargo-fmt", "cargo-clippy", "clippy-driver"];

/// The triple of this machine, which toolchains carry in their names.
fn host() -> Result<String> {
    let said = process::output(Command::new("rustc").arg("-vV"))?;
    let host = said.lines().find_map(|line| line.strip_prefix("host: "));
    Ok(host.context("rustc -vV names no host")?.to_owned())
}

/// A Debian root; removed at the end.
struct Root {
    path: PathBuf,
    keep: bool,
}

impl Root {
    fn place(workspace: &Workspace) -> PathBuf {
        workspace.target.join("clean-root")
    }

    /// The one that an earlier run has kept.
    fn left(workspace: &Workspace) -> Result<Self> {
        let path = Self::place(workspace);
        if !path.join("root/guard").exists() {
            bail!("{} is not there: make it with `cargo xtask clean-root --keep`", path.display());
        }
        Ok(Self { path, keep: true })
    }

    fn make(workspace: &Workspace, options: &Options) -> Result<Self> {
        let path = Self::place(workspace);
        remove(&path)?;
        let root = Self { path, keep: options.keep };
        // What rustup asks its users to have: certificates and a C compiler. Git, because they cloned.
        let include = "--include=ca-certificates,gcc,libc6-dev,git";
        process::run(
            Command::new("debootstrap")
                .args(["--variant=minbase", include, &options.suite])
                .arg(&root.path)
                .args(&options.mirror),
        )?;
        if options.suite == "bookworm" {
            let lists = root.path.join("etc/apt/sources.list");
            let first = std::fs::read_to_string(&lists)?;
            let mirror = first.split_whitespace().nth(1).context("debootstrap left no package source")?;
            let updates = format!("deb {mirror} bookworm-updates main");
            let security = format!("deb {}-security bookworm-security main", mirror.trim_end_matches('/'));
            std::fs::write(&lists, format!("{}\n{updates}\n{security}\n", first.trim_end()))?;
        }
        for file in ["etc/resolv.conf", "etc/hosts"] {
            std::fs::copy(Path::new("/").join(file), root.path.join(file))?;
        }
        // Certificates of the site's own, such as a proxy's.
        let own = "usr/local/share/ca-certificates";
        if Path::new("/").join(own).exists() {
            process::run(
                Command::new("cp").arg("-rT").arg(Path::new("/").join(own)).arg(root.path.join(own)),
            )?;
            process::run(Command::new("chroot").arg(&root.path).arg("update-ca-certificates"))?;
        }
        Ok(root)
    }

    /// Gives the root what a user of rustup has: rustup itself and the running toolchain as its `stable`. Its release
    /// server is the network's, so a component that is missing is asked for as it would be anywhere.
    fn give_toolchain(&self) -> Result<()> {
        let sysroot = process::output(Command::new("rustc").args(["--print", "sysroot"]))?;
        let rustup = find("rustup").context("the root is given rustup, which is not on the path here")?;
        let programs = self.path.join("root/.cargo/bin");
        std::fs::create_dir_all(&programs)?;
        std::fs::copy(&rustup, programs.join("rustup"))?;
        for proxy in PROXIES {
            let link = programs.join(proxy);
            std::os::unix::fs::symlink("rustup", &link)
                .with_context(|| format!("cannot make {}", link.display()))?;
        }
        let toolchains = self.path.join("root/.rustup/toolchains");
        std::fs::create_dir_all(&toolchains)?;
        let stable = toolchains.join(format!("stable-{}", host()?));
        process::run(Command::new("cp").args(["-a", &sysroot]).arg(&stable))?;
        let default =
            format!("version = \"12\"\ndefault_toolchain = \"stable-{}\"\nprofile = \"default\"\n", host()?);
        std::fs::write(self.path.join("root/.rustup/settings.toml"), default)?;
        Ok(())
    }

    fn give_clone(&self, workspace: &Workspace) -> Result<()> {
        process::run(
            Command::new("git")
                .args(["clone", "--quiet"])
                .arg(&workspace.root)
                .arg(self.path.join("root/guard")),
        )
    }

    /// Runs a command in the clone.
    fn enter(&self, command: &[String], offline: bool) -> Result<()> {
        // Loopback is down in a new network.
        let loopback = if offline { "ip link set lo up; " } else { "" };
        // The root becomes the one of its mount namespace, as on a real machine: a chroot alone would be left by
        // whatever enters the namespace of another process (nsenter), and end up among the machine's files.
        let prepare = "mount --bind \"$0\" \"$0\" && mount --rbind /dev \"$0/dev\" && mount -t proc proc \"$0/proc\" \
                       && mount --rbind /sys \"$0/sys\" && mount -t tmpfs tmpfs \"$0/run\" \
                       && cd \"$0\" && pivot_root . mnt && umount -l /mnt && cd /root/guard && exec \
                       env -i HOME=/root PATH=/root/.cargo/bin:/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin LANG=C.UTF-8 \
                       \"$@\"";
        process::run(
            // It ends with this process, however this one ends.
            Command::new("setpriv")
                .args(["--pdeathsig", "KILL", "unshare", "--mount", "--pid", "--fork", "--kill-child=KILL"])
                .args(offline.then_some("--net"))
                .args(["sh", "-c", &format!("{loopback}{prepare}")])
                .arg(&self.path)
                .args(command),
        )
    }
}

impl Drop for Root {
    fn drop(&mut self) {
        if self.keep {
            eprintln!("kept: {}", self.path.display());
        } else if let Err(error) = remove(&self.path) {
            eprintln!("{error:#}");
        }
    }
}

/// Mounts were made in a namespace that has ended; `--one-file-system` makes sure of it.
fn remove(path: &Path) -> Result<()> {
    if path.exists() {
        process::run(Command::new("rm").args(["-rf", "--one-file-system"]).arg(path))?;
    }
    Ok(())
}
