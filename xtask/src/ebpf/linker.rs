//! bpf-linker: finding one whose LLVM fits the compiler's, or building it.

use std::fmt;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use crate::machine::Machine;
use crate::packages;
use crate::process;
use crate::workspace::Workspace;

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

impl Linker {
    /// Whether it is known to be of another generation.
    pub fn is_other_than(&self, llvm: u32) -> bool {
        self.llvm.is_some_and(|own| own != llvm)
    }
}

/// Whether a linker for this generation can be had.
pub fn supports(llvm: u32) -> bool {
    GENERATIONS.contains(&llvm)
}

/// The linkers of a machine, the preferred first.
pub fn all(machine: &Machine, workspace: &Workspace) -> Vec<Linker> {
    let mut paths = vec![private_folder(workspace).join("bin/bpf-linker")];
    paths.extend(machine.cargo_home.as_ref().map(|home| home.join("bin/bpf-linker")));
    paths.extend(machine.find("bpf-linker"));
    paths.dedup();
    paths.iter().filter_map(|path| inspect(machine, path)).collect()
}

/// Of some linkers the one for a generation. One that does not tell its own is taken only if no other is there.
pub fn choose(linkers: &[Linker], llvm: u32) -> Option<&Linker> {
    let exact = linkers.iter().find(|linker| linker.llvm == Some(llvm));
    exact.or_else(|| linkers.iter().find(|linker| linker.llvm.is_none()))
}

/// The generations that are installed with what a linker is built from.
pub fn installed_generations(machine: &Machine) -> Vec<u32> {
    GENERATIONS.filter(|llvm| machine.file(&prefix(*llvm)).join("bin/llvm-config").exists()).collect()
}

/// The command that installs a linker for the generation, and LLVM before it unless that is there.
pub fn install_command(llvm: u32, has_llvm: bool) -> String {
    let linker = format!(
        "{}={prefix} LLVM_PREFIX={prefix} cargo install {}",
        prefix_variable(llvm),
        arguments(llvm).join(" "),
        prefix = prefix(llvm)
    );
    if has_llvm {
        return linker;
    }
    let packages = packages_of(llvm);
    format!("{} && {linker}", packages::install_command(&packages.each_ref().map(String::as_str)))
}

/// Builds a linker for the generation. One of another generation in cargo's own folder belongs to somebody's other
/// project: then the new one goes beside our objects.
pub fn install(machine: &Machine, workspace: &Workspace, llvm: u32) -> Result<()> {
    if !installed_generations(machine).contains(&llvm) {
        packages::install_on(machine, &packages_of(llvm).each_ref().map(String::as_str))
            .with_context(|| format!("bpf-linker needs LLVM {llvm}"))?;
    }
    let mut command = machine.command(&machine.cargo);
    command
        .arg("install")
        .args(arguments(llvm))
        .env(prefix_variable(llvm), prefix(llvm))
        .env("LLVM_PREFIX", prefix(llvm))
        .env("CARGO_TARGET_DIR", workspace.target.join("bpf-linker-build"))
        .env_remove("RUSTFLAGS");
    if all(machine, workspace).iter().any(|linker| linker.is_other_than(llvm)) {
        command.args(["--force", "--root"]).arg(private_folder(workspace));
    }
    process::run(&mut command)?;
    let found = all(machine, workspace).into_iter().any(|linker| linker.llvm == Some(llvm));
    anyhow::ensure!(found, "bpf-linker was installed, but none for LLVM {llvm} is found");
    Ok(())
}

/// LLVM's headers and libraries, and what its libraries are linked with.
fn packages_of(llvm: u32) -> [String; 6] {
    let llvm_dev = format!("llvm-{llvm}-dev");
    let polly = format!("libpolly-{llvm}-dev");
    [llvm_dev, polly, "libzstd-dev".into(), "zlib1g-dev".into(), "libxml2-dev".into(), "g++".into()]
}

fn arguments(llvm: u32) -> Vec<String> {
    let feature = format!("llvm-{llvm}");
    ["bpf-linker", "--version", VERSION, "--locked", "--no-default-features", "--features", &feature]
        .map(str::to_owned)
        .to_vec()
}

/// Where Debian's and LLVM's own packages put a generation.
fn prefix(llvm: u32) -> String {
    format!("/usr/lib/llvm-{llvm}")
}

/// The variable by which llvm-sys finds LLVM: generation 22 is `LLVM_SYS_221_PREFIX`.
fn prefix_variable(llvm: u32) -> String {
    format!("LLVM_SYS_{llvm}1_PREFIX")
}

fn private_folder(workspace: &Workspace) -> PathBuf {
    workspace.target.join("tools")
}

fn inspect(machine: &Machine, path: &Path) -> Option<Linker> {
    let version = process::output(machine.command(path).arg("--version")).ok()?;
    let libraries = process::output(machine.command("ldd").arg(path)).unwrap_or_default();
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
        let linker = "LLVM_SYS_221_PREFIX=/usr/lib/llvm-22 LLVM_PREFIX=/usr/lib/llvm-22 cargo install";
        let command = install_command(22, true);
        assert!(command.starts_with(linker), "{command}");
        assert!(command.ends_with("--no-default-features --features llvm-22"));
        let command = install_command(22, false);
        assert!(command.starts_with("apt-get install --no-install-recommends llvm-22-dev libpolly-22-dev "));
        assert!(command.contains(&format!(" && {linker}")), "{command}");
    }
}
