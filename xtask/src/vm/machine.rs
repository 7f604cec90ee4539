//! A virtual machine that runs an image's tests and turns itself off.

use std::io::{BufRead as _, BufReader};
use std::path::Path;
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result};

use crate::test::Tally;

/// A machine that takes longer hangs.
const LIMIT: &str = "900";
/// One that both kernels start on. Without `cx16`: QEMU 7.2 emulates `cmpxchg16b` with wrong flags now and then, and a kernel
/// that allocates with it ends in a double fault.
const PROCESSOR: &str = "Nehalem,-cx16";
/// What the init prints before what is meant for [`Reader`].
const MARK: &str = "@@ ";

/// Boots a kernel into an archive and counts what its tests say. Emulated: the machine's own virtualisation may be
/// absent or broken, and the tests are few.
pub fn run(series: &str, kernel: &Path, archive: &Path) -> Result<Tally> {
    let mut child = Command::new("setpriv")
        .args(["--pdeathsig", "KILL", "timeout", "--signal=KILL", LIMIT, "qemu-system-x86_64"])
        .args(["-accel", "tcg,thread=multi", "-cpu", PROCESSOR, "-smp", "2", "-m", "3072"])
        .args(["-nodefaults", "-no-user-config", "-display", "none", "-serial", "stdio", "-nic", "none"])
        .arg("-no-reboot")
        .arg("-kernel")
        .arg(kernel)
        .arg("-initrd")
        .arg(archive)
        .args(["-append", "console=ttyS0 rdinit=/init panic=-1 quiet random.trust_cpu=on mitigations=off"])
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .spawn()
        .context("cannot start setpriv")?;
    let output = child.stdout.take().context("no standard output")?;
    let mut reader = Reader::new(series);
    for line in BufReader::new(output).split(b'\n') {
        let line = line?;
        let line = String::from_utf8_lossy(&line);
        let line = line.trim_end_matches('\r');
        println!("{line}");
        reader.read(line);
    }
    let status = child.wait()?;
    Ok(reader.finish(&status.to_string()))
}

/// Counts what the tests of one machine print.
struct Reader {
    series: String,
    /// The test program that runs.
    program: Option<String>,
    is_over: bool,
    failed_before: usize,
    tally: Tally,
}

impl Reader {
    fn new(series: &str) -> Self {
        Self {
            series: series.to_owned(),
            program: None,
            is_over: false,
            failed_before: 0,
            tally: Tally::default(),
        }
    }

    fn read(&mut self, line: &str) {
        let name = |program: &str| format!("{program} on {}", self.series);
        let Some(told) = line.strip_prefix(MARK) else {
            if let Some(program) = &self.program {
                self.tally.read(&name(program), line);
            }
            return;
        };
        match told.split_once(' ').unwrap_or((told, "")) {
            ("begin", program) => {
                self.program = Some(program.to_owned());
                self.failed_before = self.tally.failed.len();
            }
            ("skip", skip) => {
                let program = self.program.as_deref().unwrap_or_default();
                self.tally.read_skips(&name(program), skip);
            }
            ("end", ended) => {
                let (program, code) = ended.split_once(' ').unwrap_or((ended, ""));
                if code != "0" && self.tally.failed.len() == self.failed_before {
                    self.tally.fail(format!("{}: ended with {code} before it could report", name(program)));
                }
            }
            ("done", _) => self.is_over = true,
            _ => {}
        }
    }

    /// What it has come to; a machine that ended before its tests is a failure.
    fn finish(mut self, ended: &str) -> Tally {
        if !self.is_over {
            let at = self.program.as_deref().unwrap_or("boot");
            self.tally.fail(format!("{at} on {}: the machine ended with {ended}", self.series));
        }
        self.tally
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn read(text: &str) -> Tally {
        let mut reader = Reader::new("6.1");
        text.lines().for_each(|line| reader.read(line));
        reader.finish("signal 9")
    }

    #[test]
    fn what_a_machine_says_is_counted() {
        let tally = read(
            "Linux\n@@ begin kernel\ntest a ... ok\ntest b ... ok\ntest c ... FAILED\n@@ end kernel 101\n\
             @@ skip b: no ping\n@@ begin nftables\ntest d ... ok\n@@ end nftables 0\n@@ done\n",
        );
        assert_eq!(tally.passed, 2);
        assert_eq!(tally.failed, ["kernel on 6.1 c"]);
        assert_eq!(tally.skipped, ["kernel on 6.1 b: no ping"]);
    }

    #[test]
    fn what_ends_too_soon_is_a_failure() {
        let tally = read("@@ begin kernel\ntest a ... ok\nKernel panic\n");
        assert_eq!(tally.failed, ["kernel on 6.1: the machine ended with signal 9"]);
        let tally = read("@@ begin kernel\n@@ end kernel 127\n@@ done\n");
        assert_eq!(tally.failed, ["kernel on 6.1: ended with 127 before it could report"]);
        assert_eq!(read("").failed, ["boot on 6.1: the machine ended with signal 9"]);
    }
}
