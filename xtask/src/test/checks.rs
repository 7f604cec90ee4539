//! Steps that look at sources, not at behaviour.

use std::process::Command;

use anyhow::{Result, bail};

use super::tally::Tally;
use crate::workspace::Workspace;
use crate::{ebpf, licences, process};

/// Formatting of the workspace and of the crates beside it.
pub fn fmt(workspace: &Workspace) -> Result<Tally> {
    component(workspace, "fmt", "rustfmt")?;
    process::run(workspace.cargo("fmt").args(["--all", "--check"]))?;
    for folder in [workspace.ebpf_crate(), workspace.fuzz_crate()] {
        let manifest = folder.join("Cargo.toml");
        if manifest.exists() {
            process::run(workspace.cargo("fmt").arg("--check").arg("--manifest-path").arg(manifest))?;
        }
    }
    Ok(Tally::one())
}

/// Lints: with everything, then with neither the store nor the eBPF object, then the eBPF crate where its toolchain
/// has clippy.
pub fn clippy(workspace: &Workspace) -> Result<Tally> {
    component(workspace, "clippy", "clippy")?;
    let deny = ["--", "-D", "warnings"];
    process::run(
        workspace
            .cargo("clippy")
            .args(["--locked", "--workspace", "--all-targets", "--all-features"])
            .args(deny),
    )?;
    process::run(
        workspace
            .cargo("clippy")
            .args(["--locked", "--package", "guard", "--all-targets", "--no-default-features"])
            .args(deny),
    )?;
    if let Some(toolchain) = ebpf::present_toolchain(workspace)
        && toolchain.compiler.cargo.with_file_name("cargo-clippy").exists()
    {
        process::run(
            ebpf::cargo(workspace, &toolchain, "clippy")
                .args(["--locked", "--release", "-Zbuild-std=core", "--target", ebpf::TARGET])
                .args(deny),
        )?;
    }
    Ok(Tally::one())
}

/// The documentation of every crate.
pub fn docs(workspace: &Workspace) -> Result<Tally> {
    process::run(
        workspace
            .cargo("doc")
            .args(["--locked", "--workspace", "--no-deps", "--document-private-items"])
            .env("RUSTDOCFLAGS", "-D warnings"),
    )?;
    Ok(Tally::one())
}

/// The rules of deny.toml.
pub fn licences(workspace: &Workspace) -> Result<Tally> {
    licences::check(workspace)?;
    Ok(Tally::one())
}

/// Makes sure that the toolchain has a component, which rustup's minimal profile leaves out.
fn component(workspace: &Workspace, subcommand: &str, component: &str) -> Result<()> {
    let has =
        || workspace.cargo(subcommand).arg("--version").output().is_ok_and(|output| output.status.success());
    if has() {
        return Ok(());
    }
    let _ = process::run(Command::new("rustup").args(["component", "add", component]));
    if !has() {
        bail!("the toolchain has no {component}: rustup component add {component}");
    }
    Ok(())
}
