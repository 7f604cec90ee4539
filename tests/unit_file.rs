//! The systemd unit: its sandbox as systemd itself judges it.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]

use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use harness::{Arena, Daemon, Notified, Options, missing_for_xdp_tests, skip, skip_if};
use rustix::process::Signal;

/// The highest exposure the unit may have, in tenths. systemd's scale goes from 0 to 10.
const EXPOSURE: u32 = 25;

fn unit() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../config/systemd/guard.service")
}

/// Runs systemd-analyze; `None` where the machine has none that can judge a file.
fn analyze(arguments: &[&str]) -> Option<(bool, String)> {
    let output = Command::new("systemd-analyze").args(arguments).arg(unit()).output().ok()?;
    let text = [output.stdout, output.stderr].concat();
    let text = String::from_utf8_lossy(&text).into_owned();
    (!text.contains("unrecognized option")).then_some((output.status.success(), text))
}

#[test]
fn the_sandbox_is_tight() {
    let Some((_, report)) = analyze(&["security", "--no-pager", "--offline=true"]) else {
        return skip("systemd-analyze cannot judge a unit file here");
    };
    let figure = report
        .lines()
        .find_map(|line| line.split_once("exposure level for guard.service: "))
        .and_then(|(_, rest)| rest.split_whitespace().next())
        .unwrap_or_else(|| panic!("no figure in:\n{report}"));
    let (whole, tenths) = figure.split_once('.').unwrap();
    let exposure = whole.parse::<u32>().unwrap() * 10 + tenths.parse::<u32>().unwrap();
    assert!(exposure <= EXPOSURE, "exposure is {figure}:\n{report}");
}

#[test]
fn systemd_knows_every_setting() {
    let Some((_, report)) = analyze(&["verify", "--man=no"]) else {
        return skip("systemd-analyze cannot read a unit file here");
    };
    // The programs are not installed on the machine that builds them; everything else would be a mistake.
    let mistakes: Vec<_> = report
        .lines()
        .filter(|line| line.contains("guard.service") && !line.contains("is not executable"))
        .collect();
    assert!(mistakes.is_empty(), "{mistakes:#?}");
}

/// `ProtectKernelTunables=` makes bpffs itself read-only, over `ReadWritePaths=` (systemd's table of kernel tunables).
#[test]
fn the_folder_of_the_pins_is_made_and_writable() {
    let text = std::fs::read_to_string(unit()).unwrap();
    let pins = guard::config::Config::default().paths.bpffs;
    let pins = pins.to_str().unwrap();
    assert_ne!(pins, "/sys/fs/bpf");
    assert!(text.lines().any(|line| line == format!("ReadWritePaths=-{pins}")), "{pins}");
    let made = |line: &str| line.starts_with("ExecStartPre=+-/bin/mkdir -p ") && line.ends_with(pins);
    assert!(text.lines().any(made), "{pins}");
}

#[test]
fn a_reload_checks_the_file_first_and_stopping_keeps_the_bans() {
    let text = std::fs::read_to_string(unit()).unwrap();
    let values = |key: &str| -> Vec<String> {
        text.lines().filter_map(|line| line.strip_prefix(key)?.strip_prefix('=')).map(str::to_owned).collect()
    };
    let reload = values("ExecReload");
    assert!(reload[0].contains("guardctl config check"), "{reload:?}");
    assert!(reload[1].contains("-HUP"), "{reload:?}");
    assert!(values("ExecStop").is_empty() && values("ExecStopPost").is_empty());
    assert_eq!(values("Type"), ["notify"]);
    assert!(!values("WatchdogSec").is_empty());
}

#[test]
fn the_service_manager_is_told_of_every_turn() {
    const SOON: Duration = Duration::from_secs(20);
    skip_if!(missing_for_xdp_tests());
    let arena = Arena::new();
    let manager = Notified::new();
    let watchdog = Duration::from_secs(3);
    let options = Options { environment: manager.environment(watchdog), ..Options::xdp() };
    let mut daemon = Daemon::spawn(&arena.host, options);

    manager.hear("READY=1", SOON);
    assert_eq!(daemon.ctl("status").code, 0, "who is ready answers");
    for _ in 0..3 {
        manager.hear("WATCHDOG=1", watchdog);
    }
    daemon.process().signal(Signal::HUP);
    let reloading = manager.hear("RELOADING=1", SOON);
    assert!(reloading.contains("MONOTONIC_USEC="), "{reloading}");
    manager.hear("READY=1", SOON);
    manager.hear("WATCHDOG=1", watchdog);
    daemon.process().signal(Signal::TERM);
    manager.hear("STOPPING=1", SOON);
    assert!(daemon.process().wait(SOON).success());
}
