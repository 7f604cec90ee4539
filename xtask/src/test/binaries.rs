//! Building and running test programs.

use std::io::{BufRead as _, BufReader};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use anyhow::{Context as _, Result, bail};
use serde_json::Value;

use super::tally::Tally;
use crate::isolation::isolated;
use crate::process;
use crate::simulate;
use crate::workspace::Workspace;

/// A test program that takes longer hangs.
const LIMIT: Duration = Duration::from_secs(900);
/// Names the file into which a test that cannot run writes `NAME: REASON`.
const SKIPS: &str = "GUARD_TEST_SKIPS";

/// The built test programs.
#[derive(Debug)]
pub struct Suite(Vec<TestProgram>);

#[derive(Debug, PartialEq, Eq)]
struct TestProgram {
    /// Folder of its package: tests are run there, as cargo does.
    package: PathBuf,
    /// Name of the target.
    name: String,
    path: PathBuf,
}

/// Builds every program and every test in one go, so that both have the same features. Before that, the daemon without
/// the eBPF object, for the tests of such a build; behind it the simulations, which are many, with optimisation.
pub fn build(workspace: &Workspace) -> Result<Suite> {
    build_without_object(workspace)?;
    let mut programs = test_programs(workspace, &["--workspace", "--lib", "--bins", "--tests"])?;
    programs.retain(|program| program.name != simulate::TEST);
    programs.extend(test_programs(workspace, &simulate::BUILD)?);
    Ok(Suite(programs))
}

/// Builds what the arguments of `cargo build` choose. Answers the test programs among it.
fn test_programs(workspace: &Workspace, chosen: &[&str]) -> Result<Vec<TestProgram>> {
    let mut command = workspace.cargo("build");
    command
        .arg("--locked")
        .args(chosen)
        .args(["--message-format", "json-render-diagnostics"])
        .stderr(Stdio::inherit());
    process::show(&command);
    let output = command.output().context("cannot start cargo")?;
    if !output.status.success() {
        bail!("the build failed");
    }
    Ok(String::from_utf8_lossy(&output.stdout).lines().filter_map(test_program).collect())
}

/// Cargo gives programs the same names whatever their features, so they are copied before the next build takes those.
fn build_without_object(workspace: &Workspace) -> Result<()> {
    let features = ["--no-default-features", "--features", "sqlite"];
    process::run(workspace.cargo("build").args(["--locked", "--package", "guard", "--bins"]).args(features))?;
    let programs = workspace.programs("debug");
    let folder = programs.join("without-object");
    std::fs::create_dir_all(&folder).with_context(|| format!("cannot make {}", folder.display()))?;
    for name in ["guard", "guardctl"] {
        // A copy in place would be refused while an old one runs.
        let _ = std::fs::remove_file(folder.join(name));
        std::fs::copy(programs.join(name), folder.join(name))
            .with_context(|| format!("cannot copy {name}"))?;
    }
    Ok(())
}

impl Suite {
    /// Builds some of the end-to-end tests only.
    pub fn of(workspace: &Workspace, names: &[&str]) -> Result<Self> {
        let chosen: Vec<&str> = names.iter().flat_map(|name| ["--test", name]).collect();
        Ok(Self(test_programs(workspace, &[&["--package", "guard-tests"][..], &chosen].concat())?))
    }

    /// The file of an end-to-end test and the folder of its package.
    pub fn program(&self, name: &str) -> Result<(&Path, &Path)> {
        let found = self.0.iter().find(|program| program.is_e2e() && program.name == name);
        let program = found.with_context(|| format!("there is no test program {name}"))?;
        Ok((&program.path, &program.package))
    }

    /// Runs the tests of all packages but the end-to-end ones.
    pub fn run_unit(&self, workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
        self.run(workspace, filter, |program| !program.is_e2e())
    }

    /// Runs the end-to-end tests.
    pub fn run_e2e(&self, workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
        self.run(workspace, filter, TestProgram::is_e2e)
    }

    fn run(
        &self,
        workspace: &Workspace,
        filter: Option<&str>,
        chosen: impl Fn(&TestProgram) -> bool,
    ) -> Result<Tally> {
        let mut total = Tally::default();
        for program in self.0.iter().filter(|program| chosen(program)) {
            total.add(program.run(workspace, filter)?);
        }
        Ok(total)
    }
}

impl TestProgram {
    fn is_e2e(&self) -> bool {
        // Tests of the harness itself use namespaces too, so the package decides, not the kind of test.
        self.package.ends_with("tests")
    }

    /// Runs it, as root in namespaces of its own.
    fn run(&self, workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
        let mut command =
            if process::is_root() { isolated(&self.path, LIMIT) } else { Command::new(&self.path) };
        let skips = workspace.target.join(format!("skips-{}", self.name));
        let _ = std::fs::remove_file(&skips);
        command
            .current_dir(&self.package)
            .args(filter)
            .env("CARGO_MANIFEST_DIR", &self.package)
            .env("GUARD_BIN_DIR", workspace.programs("debug"))
            .env(SKIPS, &skips);
        eprintln!("running {}", self.name);
        let mut tally = count(&self.name, &mut command)?;
        tally.read_skips(&self.name, &std::fs::read_to_string(&skips).unwrap_or_default());
        Ok(tally)
    }
}

/// Runs the examples in the documentation.
pub fn run_doc_examples(workspace: &Workspace, filter: Option<&str>) -> Result<Tally> {
    let mut command = workspace.cargo("test");
    command.args(["--locked", "--workspace", "--doc", "--no-fail-fast"]);
    command.args(filter.map(|filter| ["--", filter]).into_iter().flatten());
    process::show(&command);
    count("doc", &mut command)
}

/// Runs a test program, passes on what it prints, and counts.
fn count(name: &str, command: &mut Command) -> Result<Tally> {
    let mut child = command
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .with_context(|| format!("cannot start {name}"))?;
    let output = child.stdout.take().context("no standard output")?;
    let mut tally = Tally::default();
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        println!("{line}");
        tally.read(name, &line);
    }
    let status = child.wait()?;
    if !status.success() && tally.failed.is_empty() {
        tally.fail(format!("{name}: ended with {status} before it could report"));
    }
    Ok(tally)
}

/// The test program that a message of cargo announces.
fn test_program(message: &str) -> Option<TestProgram> {
    let message: Value = serde_json::from_str(message).ok()?;
    if message["profile"]["test"] != true {
        return None;
    }
    let manifest = Path::new(message["manifest_path"].as_str()?);
    let package = manifest.parent()?.to_path_buf();
    let mut name = message["target"]["name"].as_str()?.to_owned();
    // Libraries and programs are tested under their package's name with what is tested behind it.
    if let Some(kind) = message["target"]["kind"][0].as_str().filter(|kind| *kind != "test") {
        name = format!("{name}-{kind}");
    }
    Some(TestProgram { package, name, path: message["executable"].as_str()?.into() })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn test_programs_are_told_from_programs() {
        let message = |test: bool| {
            serde_json::json!({
                "manifest_path": "/r/tests/Cargo.toml", "executable": "/r/target/debug/deps/e2e-1",
                "target": {"name": "sshd", "kind": ["test"]}, "profile": {"test": test},
            })
            .to_string()
        };
        assert_eq!(test_program(&message(false)), None);
        let program = test_program(&message(true)).unwrap();
        assert_eq!((program.name.as_str(), program.is_e2e()), ("sshd", true));
    }
}
