//! Running other programs.

use std::fmt::Write as _;
use std::io::IsTerminal as _;
use std::os::unix::fs::MetadataExt as _;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, bail};

use crate::machine::Machine;

/// Shows a command, runs it with the caller's terminal and fails if it does.
pub fn run(command: &mut Command) -> Result<()> {
    show(command);
    let status = command.status().with_context(|| format!("cannot start {}", name(command)))?;
    if !status.success() {
        bail!("{} ended with {status}", name(command));
    }
    Ok(())
}

/// Standard output of a command that succeeds, without the last newline; an error carries what it said.
pub fn output(command: &mut Command) -> Result<String> {
    let output = command.output().with_context(|| format!("cannot start {}", name(command)))?;
    if !output.status.success() {
        let said = String::from_utf8_lossy(&output.stderr);
        bail!("{} ended with {}: {}", name(command), output.status, said.trim());
    }
    Ok(String::from_utf8_lossy(&output.stdout).trim_end().to_owned())
}

/// Prints a command as it would be typed.
pub fn show(command: &Command) {
    let mut line = name(command);
    for argument in command.get_args() {
        let argument = argument.to_string_lossy();
        if argument.contains([' ', '\n', '"', '$', ';']) {
            let _ = write!(line, " '{}'", argument.replace('\n', " "));
        } else {
            let _ = write!(line, " {argument}");
        }
    }
    eprintln!("{}", dim(&format!("$ {line}")));
}

/// Where a program of this machine is.
pub fn find(program: &str) -> Option<PathBuf> {
    Machine::this().find(program)
}

/// Whether this process is root's.
pub fn is_root() -> bool {
    std::fs::metadata("/proc/self").is_ok_and(|process| process.uid() == 0)
}

/// A headline on standard error.
pub fn headline(text: &str) {
    if std::io::stderr().is_terminal() {
        eprintln!("\x1b[1m── {text}\x1b[0m");
    } else {
        eprintln!("── {text}");
    }
}

/// Whether it is a file that can be run.
pub fn is_executable(file: &Path) -> bool {
    std::fs::metadata(file).is_ok_and(|meta| meta.is_file() && meta.mode() & 0o111 != 0)
}

fn dim(text: &str) -> String {
    if std::io::stderr().is_terminal() { format!("\x1b[2m{text}\x1b[0m") } else { text.to_owned() }
}

fn name(command: &Command) -> String {
    command.get_program().to_string_lossy().into_owned()
}
