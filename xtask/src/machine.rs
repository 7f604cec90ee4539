//! The machine that is set up: where its programs and files are, and what may be done to it.

use std::ffi::OsString;
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::process;
use crate::workspace;

/// A machine as xtask sees it.
#[derive(Clone, Debug)]
pub struct Machine {
    /// Below it are the files that packages bring: `/`.
    pub root: PathBuf,
    /// Where programs are looked for, as in `PATH`.
    pub search: OsString,
    /// Where cargo keeps what it installs.
    pub cargo_home: Option<PathBuf>,
    /// The cargo that runs xtask.
    pub cargo: PathBuf,
    /// Whether packages may be installed.
    pub is_root: bool,
}

impl Machine {
    /// The one that this program runs on.
    pub fn this() -> Self {
        let home = || std::env::var_os("HOME").map(|home| PathBuf::from(home).join(".cargo"));
        Self {
            root: "/".into(),
            search: std::env::var_os("PATH").unwrap_or_default(),
            cargo_home: std::env::var_os("CARGO_HOME").map(PathBuf::from).or_else(home),
            cargo: workspace::cargo(),
            is_root: process::is_root(),
        }
    }

    /// A file by its absolute path.
    pub fn file(&self, path: &str) -> PathBuf {
        self.root.join(path.trim_start_matches('/'))
    }

    /// Where a program is: the search path, then the folders of system programs that users often lack in it.
    pub fn find(&self, program: &str) -> Option<PathBuf> {
        let system =
            ["/usr/local/sbin", "/usr/sbin", "/sbin", "/usr/bin", "/bin"].map(|path| self.file(path));
        std::env::split_paths(&self.search)
            .chain(system)
            .map(|folder| folder.join(program))
            .find(|file| process::is_executable(file))
    }

    /// A command that runs a program of this machine. One that is not there fails when it is run.
    pub fn command(&self, program: impl AsRef<Path>) -> Command {
        let program = program.as_ref();
        let found = program.to_str().filter(|name| !name.contains('/')).and_then(|name| self.find(name));
        let mut command = Command::new(found.as_deref().unwrap_or(program));
        command.env("PATH", &self.search);
        command
    }
}
