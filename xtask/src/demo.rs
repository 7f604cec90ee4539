//! `cargo xtask demo`: builds the daemon and the demo program, and shows the one stopping an attack in the other.

use std::process::ExitCode;
use std::time::Duration;

use anyhow::{Context as _, Result, bail};

use crate::isolation::isolated;
use crate::workspace::Workspace;
use crate::{mounts, packages, process, run};

/// The demo is done in less than a minute.
const LIMIT: Duration = Duration::from_secs(180);

/// Runs the demo in private namespaces: whatever ends it, the kernel then takes them, their processes, mounts and
/// attachments away.
pub fn run(workspace: &Workspace, nftables: bool) -> Result<ExitCode> {
    if !process::is_root() {
        bail!(
            "the demo makes network namespaces and loads programs into the kernel: it needs root\n  \
             as root: sudo env \"PATH=$PATH\" cargo xtask demo"
        );
    }
    packages::ensure(packages::TEST)?;
    run::build_release(workspace)?;
    process::run(workspace.cargo("build").args([
        "--locked",
        "--release",
        "--package",
        "guard-tests",
        "--bin",
        "guard-demo",
    ]))?;
    mounts::ensure()?;
    let programs = workspace.programs("release");
    let mut command = isolated(&programs.join("guard-demo"), LIMIT);
    command.env("GUARD_BIN_DIR", &programs);
    if nftables {
        command.arg("--nftables");
    }
    let status = command.status().context("cannot start unshare")?;
    eprintln!("\nNamespaces, servers and bans of the demo are gone; this machine is as before.");
    Ok(status.code().and_then(|code| u8::try_from(code).ok()).map_or(ExitCode::FAILURE, ExitCode::from))
}
