//! The rules of deny.toml, checked without a network: licences, forbidden crates, sources.
//!
//! The file is cargo-deny's own format. That program also knows the advisories, which change from day to day: whether a
//! test passes must not depend on them (CONTRIBUTING.md says when they are looked at).

use std::path::Path;
use std::process::Command;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use crate::process;
use crate::workspace::{self, Workspace};

/// Where every dependency must come from.
const REGISTRY: &str = "registry+https://github.com/rust-lang/crates.io-index";

/// Checks the workspace's dependencies, and those of the eBPF crate where it is there. The fuzzer's own are left out:
/// beside guard's they are libFuzzer and what compiles it, and nobody is given a program with them in it.
pub fn check(workspace: &Workspace) -> Result<()> {
    let rules = Rules::read(&workspace.root.join("deny.toml"))?;
    let mut manifests = vec![workspace.root.join("Cargo.toml")];
    manifests.extend(Some(workspace.ebpf_crate().join("Cargo.toml")).filter(|manifest| manifest.exists()));
    let mut complaints = Vec::new();
    for manifest in &manifests {
        let packages = dependencies(manifest)?;
        eprintln!("{}: {} dependencies", manifest.display(), packages.len());
        complaints.extend(packages.iter().filter_map(|package| rules.complaint(package)));
    }
    if !complaints.is_empty() {
        bail!("deny.toml is not met:\n  {}", complaints.join("\n  "));
    }
    Ok(())
}

/// What the packages of a manifest are, without the workspace's own.
fn dependencies(manifest: &Path) -> Result<Vec<Value>> {
    let metadata = process::output(
        Command::new(workspace::cargo())
            .args(["metadata", "--locked", "--format-version=1", "--manifest-path"])
            .arg(manifest),
    )?;
    let mut metadata: Value = serde_json::from_str(&metadata)?;
    let Value::Array(packages) = metadata["packages"].take() else {
        bail!("cargo metadata lists no packages")
    };
    Ok(packages.into_iter().filter(|package| !package["source"].is_null()).collect())
}

/// The parts of deny.toml that are checked here.
#[derive(Debug, Default)]
struct Rules {
    allowed: Vec<String>,
    exceptions: Vec<(String, Vec<String>)>,
    forbidden: Vec<String>,
}

impl Rules {
    fn read(path: &Path) -> Result<Self> {
        let text =
            std::fs::read_to_string(path).with_context(|| format!("cannot read {}", path.display()))?;
        let table: toml::Table = text.parse().with_context(|| format!("{} is wrong", path.display()))?;
        let strings = |value: Option<&toml::Value>| -> Vec<String> {
            let items = value.and_then(toml::Value::as_array).into_iter().flatten();
            items.filter_map(toml::Value::as_str).map(str::to_owned).collect()
        };
        let licences =
            table.get("licenses").and_then(toml::Value::as_table).context("no [licenses] table")?;
        let named = |key: &str| {
            let items = table.get("bans").and_then(|bans| bans.get(key)).and_then(toml::Value::as_array);
            items
                .into_iter()
                .flatten()
                .filter_map(|item| Some(item.get("crate")?.as_str()?.to_owned()))
                .collect()
        };
        let exceptions = licences.get("exceptions").and_then(toml::Value::as_array);
        Ok(Self {
            allowed: strings(licences.get("allow")),
            exceptions: exceptions
                .into_iter()
                .flatten()
                .filter_map(|item| {
                    Some((item.get("crate")?.as_str()?.to_owned(), strings(item.get("allow"))))
                })
                .collect(),
            forbidden: named("deny"),
        })
    }

    fn complaint(&self, package: &Value) -> Option<String> {
        let name = package["name"].as_str().unwrap_or_default();
        let version = package["version"].as_str().unwrap_or_default();
        if self.forbidden.iter().any(|forbidden| forbidden == name) {
            return Some(format!("{name} {version} is forbidden"));
        }
        if package["source"] != REGISTRY {
            return Some(format!("{name} {version} comes from {}", package["source"]));
        }
        let Some(licence) = package["license"].as_str() else {
            return Some(format!("{name} {version} names no licence"));
        };
        let own = self.exceptions.iter().find(|(of, _)| of == name).map(|(_, allowed)| allowed.as_slice());
        let allowed = |id: &str| self.allowed.iter().chain(own.into_iter().flatten()).any(|one| one == id);
        (!is_met(licence, &allowed)).then(|| format!("{name} {version} is licensed as {licence}"))
    }
}

/// Evaluates an SPDX licence expression (specification 2.3, annex D; `/` is the older way to write `OR`).
fn is_met(expression: &str, allowed: &dyn Fn(&str) -> bool) -> bool {
    let spaced = expression.replace('(', " ( ").replace(')', " ) ").replace('/', " OR ");
    let tokens: Vec<&str> = spaced.split_whitespace().collect();
    let mut rest = tokens.as_slice();
    alternatives(&mut rest, allowed) && rest.is_empty()
}

fn alternatives(tokens: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = conjunction(tokens, allowed);
    while take(tokens, "OR") {
        met |= conjunction(tokens, allowed);
    }
    met
}

fn conjunction(tokens: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    let mut met = operand(tokens, allowed);
    while take(tokens, "AND") {
        met &= operand(tokens, allowed);
    }
    met
}

fn operand(tokens: &mut &[&str], allowed: &dyn Fn(&str) -> bool) -> bool {
    if take(tokens, "(") {
        let met = alternatives(tokens, allowed);
        return take(tokens, ")") && met;
    }
    let Some((licence, rest)) = tokens.split_first() else { return false };
    *tokens = rest;
    if take(tokens, "WITH") {
        let Some((exception, rest)) = tokens.split_first() else { return false };
        *tokens = rest;
        return allowed(&format!("{licence} WITH {exception}"));
    }
    allowed(licence)
}

fn take(tokens: &mut &[&str], word: &str) -> bool {
    match tokens.split_first() {
        Some((first, rest)) if *first == word => {
            *tokens = rest;
            true
        }
        _ => false,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn licence_expressions() {
        let allowed = |id: &str| ["MIT", "Apache-2.0", "Apache-2.0 WITH LLVM-exception"].contains(&id);
        for met in [
            "MIT",
            "MIT OR GPL-3.0",
            "GPL-3.0/MIT",
            "(MIT OR GPL-3.0) AND Apache-2.0",
            "Apache-2.0 WITH LLVM-exception",
            "GPL-3.0 OR MIT AND Apache-2.0",
        ] {
            assert!(is_met(met, &allowed), "{met}");
        }
        for unmet in [
            "GPL-3.0",
            "MIT AND GPL-3.0",
            "(MIT OR GPL-3.0) AND Zlib",
            "MIT WITH LLVM-exception",
            "",
            "(MIT",
            "MIT MIT",
        ] {
            assert!(!is_met(unmet, &allowed), "{unmet}");
        }
    }

    #[test]
    fn a_package_must_keep_every_rule() {
        let rules = Rules {
            allowed: vec!["MIT".into()],
            exceptions: vec![("odd".into(), vec!["Zlib".into()])],
            forbidden: vec!["openssl-sys".into()],
        };
        let package = |name: &str, licence: &str, source: &str| serde_json::json!({"name": name, "version": "1.0.0", "license": licence, "source": source});
        assert_eq!(rules.complaint(&package("good", "MIT", REGISTRY)), None);
        assert_eq!(rules.complaint(&package("odd", "Zlib", REGISTRY)), None);
        assert!(rules.complaint(&package("other", "Zlib", REGISTRY)).is_some());
        assert!(rules.complaint(&package("openssl-sys", "MIT", REGISTRY)).is_some());
        assert!(rules.complaint(&package("good", "MIT", "git+https://example.org/good")).is_some());
    }
}
