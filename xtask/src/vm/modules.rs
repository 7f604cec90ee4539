//! Modules of a kernel, in the order in which they can be loaded.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result};

/// What the tests use and Debian builds as modules. What a kernel has built in, or not at all, is passed over.
const WANTED: [&str; 14] = [
    "veth",
    "bridge",
    "macvlan",
    "8021q",
    "vxlan",
    "ipip",
    "ip_gre",
    "sch_ingress",
    "cls_bpf",
    "nf_tables",
    "nft_objref",
    "nft_ct",
    "inet_diag",
    "tcp_diag",
];

/// A module, ready to be loaded.
#[derive(Debug)]
pub struct Module {
    /// As `lsmod` calls it.
    pub name: String,
    /// The object itself, not compressed.
    pub bytes: Vec<u8>,
}

/// Those that are wanted of a folder of modules, each behind what it depends on.
pub fn wanted(folder: &Path) -> Result<Vec<Module>> {
    let mut files = BTreeMap::new();
    find(folder, &mut files)?;
    let mut chosen = Chosen { files, seen: BTreeSet::new(), modules: Vec::new() };
    for name in WANTED {
        chosen.add(name)?;
    }
    Ok(chosen.modules)
}

struct Chosen {
    files: BTreeMap<String, PathBuf>,
    seen: BTreeSet<String>,
    modules: Vec<Module>,
}

impl Chosen {
    fn add(&mut self, name: &str) -> Result<()> {
        let Some(file) = self.files.get(name) else { return Ok(()) };
        if !self.seen.insert(name.to_owned()) {
            return Ok(());
        }
        let bytes = read(file)?;
        for other in dependencies(&bytes) {
            self.add(&other)?;
        }
        self.modules.push(Module { name: name.to_owned(), bytes });
        Ok(())
    }
}

/// Every module below a folder by name; a kernel writes `-` in file names and `_` elsewhere.
fn find(folder: &Path, into: &mut BTreeMap<String, PathBuf>) -> Result<()> {
    for entry in fs::read_dir(folder).with_context(|| format!("cannot read {}", folder.display()))? {
        let entry = entry?;
        let file = entry.file_name().to_string_lossy().into_owned();
        if entry.file_type()?.is_dir() {
            find(&entry.path(), into)?;
        } else if let Some(name) = file.trim_end_matches(".xz").strip_suffix(".ko") {
            into.insert(name.replace('-', "_"), entry.path());
        }
    }
    Ok(())
}

fn read(file: &Path) -> Result<Vec<u8>> {
    if file.extension().is_some_and(|extension| extension == "xz") {
        let output = Command::new("xz").args(["--decompress", "--stdout"]).arg(file).output();
        return Ok(output.context("cannot start xz")?.stdout);
    }
    fs::read(file).with_context(|| format!("cannot read {}", file.display()))
}

/// The modules that one says it needs: `depends=` of its `.modinfo`, a list of NUL-ended texts.
fn dependencies(module: &[u8]) -> Vec<String> {
    let mut texts = module.split(|byte| *byte == 0);
    let list = texts.find_map(|text| text.strip_prefix(b"depends=")).unwrap_or_default();
    let names = String::from_utf8_lossy(list);
    names.split(',').filter(|name| !name.is_empty()).map(|name| name.replace('-', "_")).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_module_needs_comes_first() {
        let folder = tempfile::tempdir().unwrap();
        let net = folder.path().join("kernel/net");
        fs::create_dir_all(&net).unwrap();
        for (name, needs) in
            [("bridge", "stp,llc"), ("stp", "llc"), ("llc", ""), ("cls_bpf", ""), ("other", "")]
        {
            let bytes = format!("\x7fELF\0license=GPL\0depends={needs}\0name={name}\0");
            fs::write(net.join(format!("{}.ko", name.replace('_', "-"))), bytes).unwrap();
        }
        let names: Vec<String> =
            wanted(folder.path()).unwrap().into_iter().map(|module| module.name).collect();
        assert_eq!(names, ["llc", "stp", "bridge", "cls_bpf"]);
    }
}
