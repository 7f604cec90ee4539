//! `cargo xtask bench`: the benchmark program with everything it measures and compares with.

use std::ffi::OsString;
use std::process::Command;

use anyhow::Result;

use crate::workspace::Workspace;
use crate::{ebpf, mounts, packages, process, run};

/// The page of figures, from the workspace's root.
const PAGE: &str = "docs/performance.md";

/// Builds a release, both eBPF objects and the benchmark program, then runs it with `arguments`. Without names, or with
/// `all`, it writes [`PAGE`].
pub fn run(workspace: &Workspace, arguments: &[OsString]) -> Result<()> {
    packages::ensure(packages::BENCH)?;
    let peers = workspace.target.join("peers");
    if let Err(error) = packages::unpack(packages::PEERS, &peers) {
        eprintln!("without some peers: {error:#}");
    }
    mounts::ensure()?;
    run::build_release(workspace)?;
    ebpf::build(workspace, ebpf::Request { bench: true, force: false })?;
    process::run(workspace.cargo("build").args(["--locked", "--release", "--package", "guard-benches"]))?;
    let mut bench = Command::new(workspace.programs("release").join("guard-bench"));
    bench
        .current_dir(&workspace.root)
        .env("GUARD_BIN_DIR", workspace.programs("release"))
        .env("GUARD_BENCH_PEERS", &peers)
        .env("GUARD_BENCH_OBJECT", workspace.objects().join("guard-bench.o"))
        .args(arguments);
    if arguments.iter().all(|argument| argument == "all") {
        bench.args(["--write", PAGE]);
    }
    process::run(&mut bench)
}
