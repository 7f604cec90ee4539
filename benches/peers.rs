//! Other programs that read logs, as the distribution builds them.
//!
//! Those that would start a daemon when they are installed are unpacked by `cargo xtask bench` into a folder that
//! `GUARD_BENCH_PEERS` names. An installed one is taken first.

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::runner::Runner;

/// What a search has to find at least.
pub const PATTERN: &str = "Failed password|Invalid user|authentication failure|maximum authentication";
/// Where distributions put sshguard's own programs.
const SSHGUARD: [&str; 3] = ["/usr/libexec/sshguard", "/usr/lib/sshguard", "/usr/local/libexec"];

/// The search that sets the goal.
pub fn search(name: &'static str, log: &Path) -> Runner {
    Runner::new(name, installed("rg", |command| command.args(["-c", PATTERN]).arg(log)))
}

/// The least a program can do with a log.
pub fn count(log: &Path) -> Runner {
    Runner::new("`wc -l`", installed("wc", |command| command.arg("-l").arg(log)))
}

/// fail2ban's own benchmark, with its sshd filter.
pub fn fail2ban(log: &Path) -> Runner {
    let command = installed("fail2ban-regex", |command| command.arg(log).arg("sshd")).or_else(|| {
        let root = unpacked()?;
        let program = root.join("usr/bin/fail2ban-regex");
        program.is_file().then(|| {
            let mut command = Command::new("python3");
            // Compiled modules are kept, as an installation keeps them: only the first run compiles.
            command.env("PYTHONPATH", root.join("usr/lib/python3/dist-packages"));
            command.arg(program).arg("--config").arg(root.join("etc/fail2ban")).arg(log).arg("sshd");
            command
        })
    });
    Runner::new("fail2ban-regex, sshd filter", command)
}

/// sshguard's parser. It reads standard input only, and the shell gives it the file from the start each time.
pub fn sshguard(log: &Path) -> Runner {
    let unpacked = unpacked().map(|root| root.join("usr/libexec/sshguard"));
    let folders = SSHGUARD.iter().map(PathBuf::from).chain(unpacked);
    let parser = folders.map(|folder| folder.join("sshg-parser")).find(|path| path.is_file());
    let command = parser.map(|parser| {
        let mut command = Command::new("sh");
        command.args(["-c", "exec \"$0\" < \"$1\""]).arg(parser).arg(log);
        command
    });
    Runner::new("sshguard's parser", command)
}

/// Where packages are that are unpacked and not installed.
fn unpacked() -> Option<PathBuf> {
    std::env::var_os("GUARD_BENCH_PEERS").map(PathBuf::from)
}

fn installed(name: &str, arguments: impl FnOnce(&mut Command) -> &mut Command) -> Option<Command> {
    let path = std::env::var_os("PATH")?;
    let found = std::env::split_paths(&path).map(|folder| folder.join(name)).find(|file| file.is_file())?;
    let mut command = Command::new(found);
    arguments(&mut command);
    Some(command)
}
