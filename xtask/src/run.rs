//! `cargo xtask run`: from a clone to a running daemon.

use std::ffi::OsString;
use std::os::unix::process::CommandExt as _;
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::workspace::Workspace;
use crate::{ebpf, mounts, packages, process};

/// Sets up, builds a release and becomes the daemon; returns only on errors.
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    let observe = arguments.iter().any(|argument| argument == "--observe");
    if !process::is_root() && !observe {
        bail!(
            "guard changes the kernel's packet filter and reads protected logs: it needs root\n  \
             as root:          sudo env \"PATH=$PATH\" cargo xtask run\n  \
             only to look:     cargo xtask run --observe   (bans nothing, reads what you may read)"
        );
    }
    build_release(workspace)?;
    if process::is_root() {
        mounts::ensure()?;
    }
    process::headline("guard runs until Ctrl-C; what it enforces stays until `guardctl unlock`");
    eprintln!("guardctl is {}", workspace.programs("release").join("guardctl").display());
    let mut command = Command::new(workspace.programs("release").join("guard"));
    command.arg("--config").arg(workspace.root.join("config/guard.toml")).args(arguments);
    process::show(&command);
    Err(command.exec()).context("cannot start guard")
}

/// Builds both programs, the eBPF object embedded where it can be built.
pub fn build_release(workspace: &Workspace) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    ebpf::build_if_possible(workspace, ebpf::Request::default())?;
    process::run(workspace.cargo("build").args(["--locked", "--release", "--package", "guard"]))
}
