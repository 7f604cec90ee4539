//! Building the eBPF objects.
//!
//! Three things must fit each other: a Rust compiler that may use unstable features and has the sources of
//! `core`, the generation of its LLVM, and a bpf-linker built on the same generation. [`toolchain`] looks what a
//! machine has and takes the steps that [`plan`] says; [`fingerprint`] tells whether the objects present were made from these sources by that toolchain.

mod fingerprint;
mod linker;
mod plan;
#[cfg(test)]
mod tests;
mod toolchain;

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, bail};

use crate::machine::Machine;
use crate::process;
use crate::workspace::Workspace;
use toolchain::Toolchain;

/// The compilation target: little-endian eBPF.
pub const TARGET: &str = "bpfel-unknown-none";

/// What to build.
#[derive(Clone, Copy, Debug, Default)]
pub struct Request {
    /// Build the measuring variant too.
    pub bench: bool,
    /// Build even if nothing has changed.
    pub force: bool,
}

/// Brings the objects up to date, installing the toolchain where that is possible.
pub fn build(workspace: &Workspace, request: Request) -> Result<()> {
    let toolchain = toolchain::ensure(&Machine::this(), workspace)?;
    eprintln!("eBPF toolchain: {toolchain}");
    build_object(workspace, &toolchain, Variant::Daemon, request.force)?;
    if request.bench {
        build_object(workspace, &toolchain, Variant::Bench, request.force)?;
    }
    Ok(())
}

/// As [`build`], but where no toolchain can be had says so and answers `false`: the daemon is then built without
/// an object and uses nftables. A failing compilation stays an error.
pub fn build_if_possible(workspace: &Workspace, request: Request) -> Result<bool> {
    if let Err(reason) = toolchain::ensure(&Machine::this(), workspace) {
        eprintln!("no eBPF toolchain: {reason:#}");
        eprintln!("guard is built without the eBPF object and enforces with nftables.");
        // An object of older sources must not be embedded as if it were of these.
        let _ = std::fs::remove_file(Variant::Daemon.object(workspace));
        return Ok(false);
    }
    build(workspace, request)?;
    Ok(true)
}

/// A command that runs the eBPF crate's cargo with the right compiler, for `fmt` and `clippy` too.
pub fn cargo(workspace: &Workspace, toolchain: &Toolchain, subcommand: &str) -> Command {
    let mut command = Command::new(&toolchain.compiler.cargo);
    command
        .current_dir(workspace.ebpf_crate())
        .arg(subcommand)
        .env("RUSTC", &toolchain.compiler.rustc)
        .env("RUSTC_BOOTSTRAP", "1")
        .env("CARGO_TARGET_DIR", workspace.target.join("ebpf-build"))
        .env("CARGO_ENCODED_RUSTFLAGS", rustflags(&toolchain.linker.path))
        .env_remove("RUSTFLAGS")
        .env_remove("CARGO_BUILD_TARGET");
    command
}

/// The toolchain if it is complete already.
pub fn present_toolchain(workspace: &Workspace) -> Option<Toolchain> {
    toolchain::find(&Machine::this(), workspace)
}

/// BTF in the object needs debug information and the linker's help.
fn rustflags(linker: &Path) -> String {
    ["-Clinker=".to_owned() + &linker.to_string_lossy(), "-Cdebuginfo=2".into(), "-Clink-arg=--btf".into()]
        .join("\u{1f}")
}

/// The two builds of the one crate.
#[derive(Clone, Copy, Debug)]
enum Variant {
    Daemon,
    Bench,
}

impl Variant {
    fn object(self, workspace: &Workspace) -> PathBuf {
        workspace.objects().join(match self {
            Self::Daemon => "guard.o",
            Self::Bench => "guard-bench.o",
        })
    }

    fn features(self) -> &'static [&'static str] {
        match self {
            Self::Daemon => &[],
            Self::Bench => &["--features", "bench"],
        }
    }
}

fn build_object(workspace: &Workspace, toolchain: &Toolchain, variant: Variant, force: bool) -> Result<()> {
    let object = variant.object(workspace);
    let stamp = object.with_extension("stamp");
    let fingerprint = fingerprint::of(workspace, toolchain)?;
    let shown = object.display();
    if !force && object.exists() && std::fs::read_to_string(&stamp).is_ok_and(|old| old == fingerprint) {
        eprintln!("up to date: {shown}");
        return Ok(());
    }
    let built = compile(workspace, toolchain, variant)?;
    std::fs::create_dir_all(workspace.objects())?;
    // The stamp goes first and comes last: an interrupted copy must not look finished.
    let _ = std::fs::remove_file(&stamp);
    std::fs::copy(&built, &object).with_context(|| format!("cannot write {shown}"))?;
    std::fs::write(&stamp, fingerprint)?;
    eprintln!("built {shown} ({} KiB)", std::fs::metadata(&object)?.len() / 1024);
    Ok(())
}

/// Runs the compiler and answers where it put the object.
fn compile(workspace: &Workspace, toolchain: &Toolchain, variant: Variant) -> Result<PathBuf> {
    let mut command = cargo(workspace, toolchain, "build");
    command
        .args(["--locked", "--release", "-Zbuild-std=core", "--target", TARGET])
        .args(["--message-format", "json-render-diagnostics"])
        .args(variant.features())
        .stderr(Stdio::inherit());
    process::show(&command);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the eBPF object was not built; {}", toolchain.explain());
    }
    let messages = String::from_utf8_lossy(&output.stdout);
    messages.lines().find_map(executable).context("cargo built the eBPF crate but names no object")
}

/// The file that a message of cargo names as a finished program.
fn executable(message: &str) -> Option<PathBuf> {
    let message: serde_json::Value = serde_json::from_str(message).ok()?;
    message["executable"].as_str().map(PathBuf::from)
}
