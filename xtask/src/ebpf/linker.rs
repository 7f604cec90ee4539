//! bpf-linker: finding one whose LLVM fits the compiler's, or building it.

use std::fmt;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

use crate::packages;
use crate::process;
use crate::workspace::{self, Workspace};

/// The version that is installed. It fits the pinned aya set.
pub const VERSION: &str = "0.13.0";
/// LLVM generations that version can be built on: its Cargo features `llvm-21` to `llvm-23`.
const GENERATIONS: std::ops::RangeInclusive<u32> = 21..=23;

/// A bpf-linker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Linker {
    /// The program.
    pub path: PathBuf,
    /// What it says its version is.
    pub version: String,
    /// Generation of its LLVM; `None` if LLVM is linked into it, where nothing tells.
    pub llvm: Option<u32>,
}

impl fmt::Display for Linker {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.llvm {
            Some(llvm) => write!(f, "{} (LLVM {llvm}, {})", self.version, self.path.display()),
            None => write!(f, "{} (LLVM linked in, {})", self.version, self.path.display()),
        }
    }
}

/// Whether a linker for this generation can be had.
pub fn supports(llvm: u32) -> bool {
    GENERATIONS.contains(&llvm)
}

/// A linker of this machine for the generation. One that does not tell its generation is taken
/// only if no other is there.
pub fn find(workspace: &Workspace, llvm: u32) -> Option<Linker> {
    let all = linkers(workspace);
    let exact = all.iter().find(|linker| linker.llvm == Some(llvm));
    exact.or_else(|| all.iter().find(|linker| linker.llvm.is_none())).cloned()
}

/// The linkers of this machine that are of another generation.
pub fn mismatches(workspace: &Workspace, llvm: u32) -> Vec<Linker> {
    linkers(workspace).into_iter().filter(|linker| linker.llvm.is_some_and(|own| own != llvm)).collect()
}

/// The command that installs a linker for the generation.
pub fn install_command(llvm: u32) -> String {
    format!(
        "{}={prefix} LLVM_PREFIX={prefix} cargo install {}",
        prefix_variable(llvm),
        arguments(llvm).join(" "),
        prefix = prefix(llvm).display()
    )
}

/// Builds a linker for the generation. One of another generation in cargo's own folder belongs to somebody's other
/// project: then the new one goes beside our objects.
pub fn install(workspace: &Workspace, llvm: u32) -> Result<Linker> {
    install_llvm(llvm)
        .with_context(|| format!("bpf-linker needs LLVM {llvm}; with it: {}", install_command(llvm)))?;
    let mut command = Command::new(workspace::cargo());
    command
        .arg("install")
        .args(arguments(llvm))
        .env(prefix_variable(llvm), prefix(llvm))
        .env("LLVM_PREFIX", prefix(llvm))
        .env("CARGO_TARGET_DIR", workspace.target.join("bpf-linker-build"))
        .env_remove("RUSTFLAGS");
    if !mismatches(workspace, llvm).is_empty() {
        command.args(["--force", "--root"]).arg(private_folder(workspace));
    }
    process::run(&mut command)?;
    let found = linkers(workspace).into_iter().find(|linker| linker.llvm == Some(llvm));
    found.with_context(|| format!("bpf-linker was installed, but none for LLVM {llvm} is found"))
}

/// LLVM's headers and libraries, and what its libraries are linked with.
fn install_llvm(llvm: u32) -> Result<()> {
    if prefix(llvm).join("bin/llvm-config").exists() {
        return Ok(());
    }
    let llvm_dev = format!("llvm-{llvm}-dev");
    let polly = format!("libpolly-{llvm}-dev");
    packages::install(&[&llvm_dev, &polly, "libzstd-dev", "zlib1g-dev", "libxml2-dev", "g++"])
}

fn arguments(llvm: u32) -> Vec<String> {
    let feature = format!("llvm-{llvm}");
    ["bpf-linker", "--version", VERSION, "--locked", "--no-default-features", "--features", &feature]
        .map(str::to_owned)
        .to_vec()
}

/// Where Debian's and LLVM's own packages put a generation.
fn prefix(llvm: u32) -> PathBuf {
    format!("/usr/lib/llvm-{llvm}").into()
}

/// The variable by which llvm-sys finds LLVM: generation 22 is `LLVM_SYS_221_PREFIX`.
fn prefix_variable(llvm: u32) -> String {
    format!("LLVM_SYS_{llvm}1_PREFIX")
}

fn private_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn linkers(workspace: &Workspace) -> Vec<Linker> {
    let private = private_folder(workspace).join("bin/bpf-linker");
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo")));
    let mut paths = vec![private];
    paths.extend(home.map(|home| home.join("bin/bpf-linker")));
    paths.extend(process::find("bpf-linker"));
    paths.dedup();
    paths.iter().filter_map(|path| inspect(path)).collect()
}

fn inspect(path: &Path) -> Option<Linker> {
    let version = process::output(Command::new(path).arg("--version")).ok()?;
    let libraries = process::output(Command::new("ldd").arg(path)).unwrap_or_default();
    Some(Linker { path: path.into(), version, llvm: linked_generation(&libraries) })
}

/// The generation of the libLLVM in the output of ldd: `libLLVM.so.22.1` since 18, `libLLVM-17.so.1` before.
fn linked_generation(libraries: &str) -> Option<u32> {
    let name = libraries.split_whitespace().find(|word| word.starts_with("libLLVM"))?;
    name.split(['.', '-']).find_map(|part| part.parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_generation_is_the_one_of_the_linked_library() {
        let new = "\tlibLLVM.so.22.1 => /usr/lib/llvm-22/lib/libLLVM.so.22.1 (0x00007f)\n\tlibc.so.6 => /lib/libc.so.6";
        let old = "\tlibLLVM-17.so.1 => /usr/lib/libLLVM-17.so.1 (0x00007f)";
        assert_eq!(linked_generation(new), Some(22));
        assert_eq!(linked_generation(old), Some(17));
        assert_eq!(linked_generation("\tlibc.so.6 => /lib/libc.so.6"), None);
    }

    #[test]
    fn the_command_names_everything_it_needs() {
        let command = install_command(22);
        assert!(
            command.starts_with(
                "LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 LLVM_PREFIX=/usr/lib/llvm-22 cargo install"
            )
        );
        assert!(command.ends_with("--no-default-features --features llvm-22"));
    }
}
