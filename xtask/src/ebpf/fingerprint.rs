//! Whether an object is the one these sources and this toolchain make.

use std::fs;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

use super::toolchain::Toolchain;
use crate::workspace::Workspace;

/// A hash of everything that goes into an object, as text.
pub fn of(workspace: &Workspace, toolchain: &Toolchain) -> Result<String> {
    let mut files = vec![workspace.root.join("Cargo.toml")];
    for folder in [workspace.ebpf_crate(), workspace.root.join("guard-common")] {
        collect(&folder, &mut files)?;
    }
    files.sort();
    let mut hasher = DefaultHasher::new();
    toolchain.to_string().hash(&mut hasher);
    for file in &files {
        file.strip_prefix(&workspace.root).unwrap_or(file).hash(&mut hasher);
        fs::read(file).with_context(|| format!("cannot read {}", file.display()))?.hash(&mut hasher);
    }
    Ok(format!("{:016x}", hasher.finish()))
}

fn collect(folder: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let entries = fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))?;
    for entry in entries {
        let entry = entry?;
        if entry.file_type()?.is_dir() {
            if entry.file_name() != "target" {
                collect(&entry.path(), files)?;
            }
        } else {
            files.push(entry.path());
        }
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::super::linker::Linker;
    use super::super::toolchain::{Compiler, Origin};
    use super::*;

    fn toolchain(llvm: u32) -> Toolchain {
        Toolchain {
            compiler: Compiler {
                origin: Origin::System,
                rustc: "/usr/bin/rustc".into(),
                cargo: "/usr/bin/cargo".into(),
                version: "rustc 1.96.0".into(),
                llvm,
                has_sources: true,
            },
            linker: Linker {
                path: "/bin/bpf-linker".into(),
                version: "bpf-linker 0.13.0".into(),
                llvm: Some(llvm),
            },
        }
    }

    #[test]
    fn sources_and_toolchain_count_and_build_output_does_not() {
        let folder = tempfile::tempdir().unwrap();
        let root = folder.path().to_path_buf();
        let write = |path: &str, text: &str| {
            fs::create_dir_all(root.join(path).parent().unwrap()).unwrap();
            fs::write(root.join(path), text).unwrap();
        };
        let workspace = Workspace { target: root.join("target"), root: root.clone() };
        write("Cargo.toml", "");
        write("guard-ebpf/src/main.rs", "a");
        write("guard-common/src/lib.rs", "b");
        let first = of(&workspace, &toolchain(22)).unwrap();

        write("guard-ebpf/target/debug/output", "c");
        assert_eq!(of(&workspace, &toolchain(22)).unwrap(), first);
        assert_ne!(of(&workspace, &toolchain(23)).unwrap(), first);
        write("guard-common/src/lib.rs", "d");
        assert_ne!(of(&workspace, &toolchain(22)).unwrap(), first);
    }
}
