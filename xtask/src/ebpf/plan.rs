//! From what a machine has to the next step towards a toolchain. Nothing is run here.

use super::linker::{self, Linker};
use super::toolchain::{Compiler, Origin, Toolchain};
use crate::packages;

/// Debian's own compiler for web engines: a recent rustc with the sources of `core`.
pub const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

const INSTALL_NIGHTLY: &str = "rustup toolchain install nightly --profile minimal --component rust-src";

/// What a machine has and may do.
#[derive(Clone, Debug, Default)]
pub struct Facts {
    /// Compilers whose LLVM a linker can be had for, rustup's nightlies first, with and without the sources of `core`.
    pub compilers: Vec<Compiler>,
    /// Linkers, the preferred first.
    pub linkers: Vec<Linker>,
    /// Generations of LLVM that a linker can be built from.
    pub generations: Vec<u32>,
    /// Whether there is a rustup.
    pub has_rustup: bool,
    /// Whether there is an apt-get.
    pub has_apt: bool,
    /// Whether it would be allowed to install anything.
    pub is_root: bool,
}

/// One step towards a toolchain.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Step {
    /// Build a bpf-linker for this generation of LLVM.
    InstallLinker {
        /// The generation.
        llvm: u32,
    },
    /// Give a nightly of rustup the sources of `core`.
    AddSources {
        /// Its name.
        nightly: String,
    },
    /// Install Debian's compiler.
    InstallDebian,
    /// Install a nightly of rustup.
    InstallNightly,
}

/// What to do next.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Plan {
    /// It is complete.
    Use(Toolchain),
    /// One step more, then look again.
    Do(Step),
    /// Nothing is left that may be tried. The way out, in words and one command.
    GiveUp(String),
}

impl Step {
    /// It as a person would type it.
    pub fn command(&self, facts: &Facts) -> String {
        match self {
            Self::InstallLinker { llvm } => linker::install_command(*llvm, facts.generations.contains(llvm)),
            Self::AddSources { nightly } => format!("rustup component add rust-src --toolchain {nightly}"),
            Self::InstallDebian => format!("apt-get update && {}", packages::install_command(DEBIAN)),
            Self::InstallNightly => INSTALL_NIGHTLY.into(),
        }
    }

    /// Whether only root can do it.
    fn needs_root(&self, facts: &Facts) -> bool {
        match self {
            Self::InstallLinker { llvm } => !facts.generations.contains(llvm),
            Self::InstallDebian => true,
            Self::AddSources { .. } | Self::InstallNightly => false,
        }
    }
}

/// The next step. None is taken twice: one that was `tried` and is still wanted has not helped.
pub fn plan(facts: &Facts, tried: &[Step]) -> Plan {
    if let Some(toolchain) = complete(facts) {
        return Plan::Use(toolchain);
    }
    let ways = ways(facts);
    let is_possible = |step: &&Step| facts.is_root || !step.needs_root(facts);
    if let Some(step) = ways.iter().filter(is_possible).find(|step| !tried.contains(step)) {
        return Plan::Do(step.clone());
    }
    if let Some(step) = ways.iter().find(|step| !tried.contains(step)) {
        return Plan::GiveUp(format!("as root, this helps: `{}`", step.command(facts)));
    }
    Plan::GiveUp(match ways.first() {
        Some(step) => format!("what helps has failed: `{}`", step.command(facts)),
        None => format!("with rustup (https://rustup.rs) this helps: `{INSTALL_NIGHTLY}`"),
    })
}

fn complete(facts: &Facts) -> Option<Toolchain> {
    with_sources(facts).find_map(|compiler| {
        let linker = linker::choose(&facts.linkers, compiler.llvm)?.clone();
        Some(Toolchain { compiler: compiler.clone(), linker })
    })
}

/// All steps that lead on, the least first: a linker for a compiler that is there, sources for one, another one.
fn ways(facts: &Facts) -> Vec<Step> {
    let mut ways: Vec<Step> =
        with_sources(facts).map(|compiler| Step::InstallLinker { llvm: compiler.llvm }).collect();
    ways.dedup();
    let mut has_nightly = false;
    let mut has_debian = false;
    for compiler in &facts.compilers {
        match &compiler.origin {
            Origin::Rustup(nightly) => {
                has_nightly = true;
                if !compiler.has_sources {
                    ways.push(Step::AddSources { nightly: nightly.clone() });
                }
            }
            Origin::System => has_debian |= compiler.has_sources,
        }
    }
    if facts.has_apt && !has_debian {
        ways.push(Step::InstallDebian);
    }
    if facts.has_rustup && !has_nightly {
        ways.push(Step::InstallNightly);
    }
    ways
}

fn with_sources(facts: &Facts) -> impl Iterator<Item = &Compiler> {
    facts.compilers.iter().filter(|compiler| compiler.has_sources)
}
