//! Finding or installing a compiler and a linker that fit each other.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Result, bail};

use super::linker::{self, Linker};
use crate::packages;
use crate::process;
use crate::workspace::Workspace;

/// Debian's own compiler for web engines: a recent rustc with the sources of `core`.
const DEBIAN: &[&str] = &["rustc-web", "cargo-web", "rust-web-src"];

/// A compiler that can build `core` for eBPF.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Compiler {
    /// Where it comes from: `rustup nightly-…` or `system`.
    pub origin: String,
    /// Its rustc.
    pub rustc: PathBuf,
    /// Its cargo.
    pub cargo: PathBuf,
    /// `rustc 1.96.0 …`.
    pub version: String,
    /// Generation of its LLVM.
    pub llvm: u32,
}

/// A compiler and a linker of the same LLVM generation.
#[derive(Clone, Debug)]
pub struct Toolchain {
    /// The compiler.
    pub compiler: Compiler,
    /// The linker.
    pub linker: Linker,
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
                linker::install_command(self.compiler.llvm)
            ),
        }
    }
}

/// A complete toolchain of this machine, rustup's before the system's.
pub fn find(workspace: &Workspace) -> Option<Toolchain> {
    compilers().into_iter().find_map(|compiler| {
        let linker = linker::find(workspace, compiler.llvm)?;
        Some(Toolchain { compiler, linker })
    })
}

/// A complete toolchain, installed as far as needed.
pub fn ensure(workspace: &Workspace) -> Result<Toolchain> {
    if let Some(toolchain) = find(workspace) {
        return Ok(toolchain);
    }
    if compilers().is_empty() {
        install_compiler()?;
    }
    let Some(compiler) = compilers().into_iter().next() else {
        bail!(
            "the compiler that was installed has no sources of `core`, or an LLVM that bpf-linker {} cannot be built on",
            linker::VERSION
        )
    };
    for other in linker::mismatches(workspace, compiler.llvm) {
        eprintln!(
            "{other} cannot link what LLVM {} writes: a linker reads bitcode of its own generation only",
            compiler.llvm
        );
    }
    let linker = linker::install(workspace, compiler.llvm)?;
    Ok(Toolchain { compiler, linker })
}

/// Every compiler with the sources of `core`, the preferred first.
fn compilers() -> Vec<Compiler> {
    let mut found: Vec<Compiler> = nightlies().iter().filter_map(|name| rustup(name)).collect();
    found.extend(inspect("system", Path::new("/usr/bin/rustc"), Path::new("/usr/bin/cargo")));
    found.retain(|compiler| linker::supports(compiler.llvm));
    found
}

fn nightlies() -> Vec<String> {
    let list = process::output(Command::new("rustup").args(["toolchain", "list"])).unwrap_or_default();
    list.lines()
        .filter_map(|line| line.split_whitespace().next())
        .filter(|name| name.starts_with("nightly"))
        .map(str::to_owned)
        .collect()
}

fn rustup(toolchain: &str) -> Option<Compiler> {
    let rustc =
        process::output(Command::new("rustup").args(["which", "--toolchain", toolchain, "rustc"])).ok()?;
    let rustc = PathBuf::from(rustc);
    inspect(&format!("rustup {toolchain}"), &rustc, &rustc.with_file_name("cargo"))
}

/// Asks a rustc for its version; `None` without the sources of `core` or without a cargo beside it.
fn inspect(origin: &str, rustc: &Path, cargo: &Path) -> Option<Compiler> {
    let ask = |arguments: &[&str]| {
        process::output(Command::new(rustc).args(arguments).env_remove("RUSTUP_TOOLCHAIN")).ok()
    };
    let sysroot = PathBuf::from(ask(&["--print", "sysroot"])?);
    if !sysroot.join("lib/rustlib/src/rust/library/core/src/lib.rs").exists() || !cargo.exists() {
        return None;
    }
    let verbose = ask(&["-vV"])?;
    Some(Compiler {
        origin: origin.to_owned(),
        rustc: rustc.into(),
        cargo: cargo.into(),
        version: verbose.lines().next()?.to_owned(),
        llvm: llvm_generation(&verbose)?,
    })
}

/// The generation in the output of `rustc -vV`.
fn llvm_generation(verbose: &str) -> Option<u32> {
    let version = verbose.lines().find_map(|line| line.strip_prefix("LLVM version: "))?;
    version.split('.').next()?.parse().ok()
}

/// Debian's set where apt offers it, else rustup's nightly.
fn install_compiler() -> Result<()> {
    if process::is_root() && process::find("apt-get").is_some() {
        // A fresh system image has no lists, and old ones offer an old compiler.
        process::run(Command::new("apt-get").args(["-q", "update"]))?;
        if packages::is_known(DEBIAN[0]) {
            return packages::install(DEBIAN);
        }
    }
    let rustup = "rustup toolchain install nightly --profile minimal --component rust-src";
    if process::find("rustup").is_some() {
        let mut words = rustup.split(' ');
        let mut command = Command::new(words.next().unwrap_or_default());
        if process::run(command.args(words)).is_ok() {
            return Ok(());
        }
    }
    bail!(
        "no Rust compiler here can build for eBPF; either `{rustup}` or, on Debian 12 and later as root, \
         `apt-get install --no-install-recommends {}`",
        DEBIAN.join(" ")
    )
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
