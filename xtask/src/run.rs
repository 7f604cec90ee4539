//! `cargo xtask run`: from a clone to a running daemon.

use std::ffi::OsString;
use std::os::unix::fs::{MetadataExt as _, PermissionsExt as _};
use std::os::unix::process::CommandExt as _;
use std::path::{Path, PathBuf};
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
    let programs = workspace.programs("release");
    let config = configuration(workspace)?;
    if observe {
        process::headline("guard runs until Ctrl-C; it bans nothing");
    } else {
        process::headline("guard runs until Ctrl-C; what it enforces stays until `guardctl unlock`");
    }
    let guardctl = programs.join("guardctl");
    eprintln!("in another terminal: {} --config {} status", guardctl.display(), config.display());
    let mut command = Command::new(programs.join("guard"));
    command.arg("--config").arg(config).args(arguments);
    process::show(&command);
    Err(command.exec()).context("cannot start guard")
}

/// The configuration: the repository's, or a copy of it in the build folder. Root's guard takes one that only root may
/// write, and the clone may be another user's. Whoever is not root cannot write to the folders it names, so his copy names folders
/// of the build; what he has set himself in it stays.
fn configuration(workspace: &Workspace) -> Result<PathBuf> {
    let shipped = workspace.root.join("config/guard.toml");
    let failed = || format!("cannot copy {}", shipped.display());
    let root = process::is_root();
    let meta = std::fs::metadata(&shipped).with_context(failed)?;
    if root && meta.uid() == 0 && meta.mode() & 0o022 == 0 {
        return Ok(shipped);
    }
    let folder = workspace.target.join(if root { "run" } else { "observe" });
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    let text = std::fs::read_to_string(&shipped).with_context(failed)?;
    let copy = folder.join("guard.toml");
    let text = if root { text } else { with_folders(&text, &folder) };
    // A copy of another owner, or that others may write, would be refused.
    let _ = std::fs::remove_file(&copy);
    std::fs::write(&copy, text).with_context(failed)?;
    std::fs::set_permissions(&copy, std::fs::Permissions::from_mode(0o644)).with_context(failed)?;
    Ok(copy)
}

/// A configuration that names folders of its own, unless it names others already.
fn with_folders(text: &str, folder: &Path) -> String {
    let line = |line: &str| match line.split_once(" = ") {
        Some(("# state", _)) => format!("state = {}\n", quoted(&folder.join("state"))),
        Some(("# run", _)) => format!("run = {}\n", quoted(&folder.join("run"))),
        _ => format!("{line}\n"),
    };
    text.lines().map(line).collect()
}

/// A path as TOML writes it: its basic strings have JSON's escapes.
fn quoted(path: &Path) -> String {
    serde_json::Value::from(path.to_string_lossy()).to_string()
}

/// Builds both programs, the eBPF object embedded where it can be built.
pub fn build_release(workspace: &Workspace) -> Result<()> {
    packages::ensure(packages::BUILD)?;
    ebpf::build_if_possible(workspace, ebpf::Request::default())?;
    process::run(workspace.cargo("build").args(["--locked", "--release", "--package", "guard"]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_configuration_gets_folders_and_keeps_the_rest() {
        let shipped = include_str!("../../config/guard.toml");
        let copy = with_folders(shipped, Path::new("/build/observe"));
        let changed: Vec<_> = copy.lines().zip(shipped.lines()).filter(|(new, old)| new != old).collect();
        let new: Vec<_> = changed.iter().map(|(new, _)| *new).collect();
        assert_eq!(new, ["state = \"/build/observe/state\"", "run = \"/build/observe/run\""]);
        let own = "[paths]\nstate = \"/srv/guard\"\n";
        assert_eq!(with_folders(own, Path::new("/build/observe")), own);
    }
}
