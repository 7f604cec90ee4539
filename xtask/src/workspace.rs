//! Where things are in this repository.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::process;

/// The repository and its build folder.
#[derive(Debug)]
pub struct Workspace {
    /// Folder with the workspace's Cargo.toml.
    pub root: PathBuf,
    /// Cargo's target folder, wherever the configuration put it.
    pub target: PathBuf,
}

impl Workspace {
    /// Finds the workspace that this program was built from.
    pub fn find() -> Result<Self> {
        let root = Path::new(env!("CARGO_MANIFEST_DIR"))
            .parent()
            .context("xtask lies outside a workspace")?
            .to_path_buf();
        let metadata = process::output(Command::new(cargo()).current_dir(&root).args([
            "metadata",
            "--no-deps",
            "--format-version=1",
        ]))?;
        let metadata: serde_json::Value = serde_json::from_str(&metadata)?;
        let target =
            metadata["target_directory"].as_str().context("cargo metadata names no target folder")?;
        Ok(Self { target: target.into(), root })
    }

    /// A cargo command in the workspace, with the toolchain that runs xtask.
    pub fn cargo(&self, subcommand: &str) -> Command {
        let mut command = Command::new(cargo());
        command.current_dir(&self.root).arg(subcommand).env("CARGO_TARGET_DIR", &self.target);
        command
    }

    /// Where the eBPF objects are put and the daemon's build script finds them.
    pub fn objects(&self) -> PathBuf {
        self.target.join("ebpf")
    }

    /// Where a profile's programs are.
    pub fn programs(&self, profile: &str) -> PathBuf {
        self.target.join(profile)
    }

    /// The eBPF crate, built for another target and therefore outside the workspace.
    pub fn ebpf_crate(&self) -> PathBuf {
        self.root.join("guard-ebpf")
    }

    /// The fuzzer's crate, built with other flags and therefore outside the workspace.
    pub fn fuzz_crate(&self) -> PathBuf {
        self.root.join("fuzz")
    }
}

/// The cargo that runs xtask.
pub fn cargo() -> PathBuf {
    std::env::var_os("CARGO").map_or_else(|| "cargo".into(), PathBuf::from)
}
