//! Finding or installing a compiler and a linker that fit each other.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Result, bail, ensure};

use super::linker::{self, Linker};
use super::plan::{self, DEBIAN, Facts, Plan, Step};
use crate::machine::Machine;
use crate::packages;
use crate::process;
use crate::workspace::Workspace;

/// Where a compiler comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Origin {
    /// A nightly of rustup, by its name.
    Rustup(String),
    /// The distribution.
    System,
}

/// A compiler that can build `core` for eBPF, given its sources.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Where it comes from.
    pub origin: Origin,
    /// Its rustc.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// `rustc 1.96.0 …`.
    pub version: String,
    /// Generation of its LLVM.
    pub llvm: u32,
    /// Whether it has the sources of `core`.
    pub has_sources: bool,
}

/// A compiler and a linker of the same LLVM generation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The linker.
    pub linker: Linker,
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Rustup(toolchain) => write!(f, "rustup {toolchain}"),
            Self::System => f.write_str("system"),
        }
    }
}

impl fmt::Display for Toolchain {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { compiler, linker } = self;
        write!(f, "{} ({}, LLVM {}), {linker}", compiler.version, compiler.origin, compiler.llvm)
    }
}

impl Toolchain {
    /// What to think of when a build with it fails.
    pub fn explain(&self) -> String {
        match self.linker.llvm {
            Some(_) => format!("compiler and linker are both of LLVM {}", self.compiler.llvm),
            None => format!(
                "the LLVM generation of {} is unknown; if it is not {}, its messages are about bitcode it cannot read: \
                 install bpf-linker with `{}`",
                self.linker.path.display(),
                self.compiler.llvm,
                linker::install_command(self.compiler.llvm, true)
            ),
        }
    }
}

/// A complete toolchain of a machine, rustup's before the system's.
pub fn find(machine: &Machine, workspace: &Workspace) -> Option<Toolchain> {
    match plan::plan(&probe(machine, workspace), &[]) {
        Plan::Use(toolchain) => Some(toolchain),
        Plan::Do(_) | Plan::GiveUp(_) => None,
    }
}

/// A complete toolchain, installed as far as needed. What fails is told, and the next way is tried.
pub fn ensure(machine: &Machine, workspace: &Workspace) -> Result<Toolchain> {
    let mut tried = Vec::new();
    loop {
        let facts = probe(machine, workspace);
        let step = match plan::plan(&facts, &tried) {
            Plan::Use(toolchain) => return Ok(toolchain),
            Plan::Do(step) => step,
            Plan::GiveUp(way_out) => bail!("nothing here builds for eBPF; {way_out}"),
        };
        if let Err(error) = take(&step, &facts, machine, workspace) {
            eprintln!("that did not help: {error:#}");
        }
        tried.push(step);
    }
}

fn take(step: &Step, facts: &Facts, machine: &Machine, workspace: &Workspace) -> Result<()> {
    match step {
        Step::InstallLinker { llvm } => {
            for other in facts.linkers.iter().filter(|linker| linker.is_other_than(*llvm)) {
                eprintln!(
                    "{other} cannot link what LLVM {llvm} writes: a linker reads bitcode of its own generation only"
                );
            }
            linker::install(machine, workspace, *llvm)
        }
        Step::AddSources { .. } | Step::InstallNightly => {
            let line = step.command(facts);
            let mut words = line.split(' ');
            process::run(machine.command(words.next().unwrap_or_default()).args(words))
        }
        Step::InstallDebian => {
            // A fresh system image has no lists, and old ones offer an old compiler.
            packages::update(machine)?;
            ensure!(packages::is_known(machine, DEBIAN[0]), "apt offers no {}", DEBIAN[0]);
            packages::install_on(machine, DEBIAN)
        }
    }
}

/// What a machine has and may do.
fn probe(machine: &Machine, workspace: &Workspace) -> Facts {
    let mut compilers: Vec<Compiler> =
        nightlies(machine).into_iter().filter_map(|name| rustup(machine, name)).collect();
    compilers.extend(inspect(
        machine,
        Origin::System,
        &machine.file("/usr/bin/rustc"),
        &machine.file("/usr/bin/cargo"),
    ));
    compilers.retain(|compiler| linker::supports(compiler.llvm));
    Facts {
        compilers,
        linkers: linker::all(machine, workspace),
        generations: linker::installed_generations(machine),
        has_rustup: machine.find("rustup").is_some(),
        has_apt: machine.find("apt-get").is_some(),
        is_root: machine.is_root,
    }
}

fn nightlies(machine: &Machine) -> Vec<String> {
    let list = process::output(machine.command("rustup").args(["toolchain", "list"])).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect()
}

fn rustup(machine: &Machine, toolchain: String) -> Option<Compiler> {
    let which = ["which", "--toolchain", &toolchain, "rustc"];
    let rustc = PathBuf::from(process::output(machine.command("rustup").args(which)).ok()?);
    inspect(machine, Origin::Rustup(toolchain), &rustc, &rustc.with_file_name("cargo"))
}

/// Asks a rustc for its version; `None` without a cargo beside it.
fn inspect(machine: &Machine, origin: Origin, rustc: &Path, cargo: &Path) -> Option<Compiler> {
    let ask = |arguments: &[&str]| {
        process::output(machine.command(rustc).args(arguments).env_remove("RUSTUP_TOOLCHAIN")).ok()
    };
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
    let verbose = ask(&["-vV"])?;
    cargo.exists().then_some(())?;
    Some(Compiler {
        origin,
        rustc: rustc.into(),
        cargo: cargo.into(),
        version: verbose.lines().next()?.to_owned(),
        llvm: llvm_generation(&verbose)?,
        has_sources: sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists(),
    })
}

/// The generation in the output of `rustc -vV`.
fn llvm_generation(verbose: &str) -> Option<u32> {
    let version = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_llvm_generation_is_read_from_rustc() {
        let verbose = "rustc 1.96.0 (built from a source tarball)\nbinary: rustc\nLLVM version: 22.1.8";
        assert_eq!(llvm_generation(verbose), Some(22));
        assert_eq!(llvm_generation("rustc 1.96.0"), None);
    }
}
