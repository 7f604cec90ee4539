//! A line without an end, through the real program.
#![allow(clippy::unwrap_used, reason = "a test: what is not there is a failure")]

use std::io::Write as _;
use std::process::{Command, Stdio};

const MIB: usize = 1024 * 1024;
/// Memory the program may have taken at most: its filters, and buffers of a few hundred kilobytes.
const MEMORY: usize = 64 * MIB;
const ATTACK: &str = "Nov 20 00:00:00 web1 sshd[7]: Failed password for root from 192.0.2.1 port 22 ssh2\n";

/// The most memory a process has had, in bytes.
fn most_memory(pid: u32) -> usize {
    let status = std::fs::read_to_string(format!("/proc/{pid}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().strip_suffix(" kB").unwrap().parse::<usize>().unwrap() * 1024
}

#[test]
fn a_line_of_a_gibibyte_is_cut_and_counted_in_bounded_memory() {
    let folder = tempfile::tempdir().unwrap();
    let config = folder.path().join("guard.toml");
    std::fs::write(&config, format!("[filter]\nfolder = \"{}\"\n", folder.path().join("none").display()))
        .unwrap();
    let mut replay = Command::new(env!("CARGO_BIN_EXE_guardctl"))
        .arg("--config")
        .arg(config)
        .args(["replay", "--json", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = replay.stdin.take().unwrap();
    let text = vec![b'x'; MIB];

    input.write_all(ATTACK.as_bytes()).unwrap();
    for _ in 0..1024 {
        input.write_all(&text).unwrap();
    }
    input.write_all(b"\n").unwrap();
    input.write_all(ATTACK.as_bytes()).unwrap();
    // The pipe holds less than that: when it has been taken, so has everything before.
    input.write_all(&vec![b'\n'; MIB]).unwrap();
    let memory = most_memory(replay.id());
    drop(input);

    let output = replay.wait_with_output().unwrap();
    let outcome: serde_json::Value = serde_json::from_slice(&output.stdout).unwrap();
    assert!(memory < MEMORY, "{} MiB", memory / MIB);
    assert_eq!((&outcome["cut"], &outcome["matched"]), (&1.into(), &2.into()), "{outcome}");
    assert_eq!(outcome["lines"], 3 + MIB);
}
