//! `guardctl doctor`: what keeps guard from working on this machine, each with the way out. Needs no daemon.

use std::path::Path;
use std::process::ExitCode;

use rustix::fs::{Access, StatVfsMountFlags, access, statvfs};
use serde::Serialize;

use super::human::{bytes, counted};
use super::{CliError, Piece, Screen, Style, plain};
use crate::api::client::{Client, ClientError};
use crate::api::{Answer, Request};
use crate::causes::chain;
use crate::config::{self, BackendChoice, Config, ConfigError, Journald};
use crate::daemon::own_files;
use crate::daemon::plan::Journal;
use crate::datapath::features;
use crate::enforce::{EnforceError, nftables};
use crate::scan::FilterSet;
use crate::source::file::{self, Refusal};
use crate::source::journald::NoJournal;

/// Free space below which the state folder is short.
const SHORT_OF_SPACE: u64 = 64 << 20;

/// How a finding is to be taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Level {
    Ok,
    Warn,
    Fail,
}

/// One thing that was looked at.
#[derive(Debug, Serialize)]
struct Finding {
    level: Level,
    what: &'static str,
    detail: String,
    /// The way out; empty where none is needed.
    remedy: String,
}

impl Finding {
    fn ok(what: &'static str, detail: impl Into<String>) -> Self {
        Self { level: Level::Ok, what, detail: detail.into(), remedy: String::new() }
    }

    fn warn(what: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Warn, what, detail: detail.into(), remedy: remedy.into() }
    }

    fn fail(what: &'static str, detail: impl Into<String>, remedy: impl Into<String>) -> Self {
        Self { level: Level::Fail, what, detail: detail.into(), remedy: remedy.into() }
    }
}

pub(super) fn doctor(
    screen: &mut Screen<'_>,
    file: &Path,
    socket: Option<&Path>,
) -> Result<ExitCode, CliError> {
    let findings = examine(file, socket);
    if screen.json {
        screen.json(&findings)?;
    } else {
        show(screen, &findings)?;
    }
    let failed = findings.iter().any(|finding| finding.level == Level::Fail);
    Ok(if failed { ExitCode::FAILURE } else { ExitCode::SUCCESS })
}

fn examine(file: &Path, socket: Option<&Path>) -> Vec<Finding> {
    let mut findings = vec![root(), kernel()];
    let (config, finding) = configuration(file);
    findings.push(finding);
    findings.extend(enforcement(&config));
    findings.extend(sources(&config));
    findings.push(state(&config.paths.state));
    findings.extend(daemon(&socket.map_or_else(|| config.socket(), Path::to_path_buf)));
    findings
}

fn show(screen: &mut Screen<'_>, findings: &[Finding]) -> std::io::Result<()> {
    let width = findings.iter().map(|finding| finding.what.len()).max().unwrap_or(0);
    for finding in findings {
        let (style, mark) = match finding.level {
            Level::Ok => (Style::Good, "ok  "),
            Level::Warn => (Style::Warn, "warn"),
            Level::Fail => (Style::Bad, "fail"),
        };
        let what = format!("  {:width$}  ", finding.what);
        screen.line(&[Piece(style, mark.into()), plain(what), plain(&finding.detail)])?;
        if !finding.remedy.is_empty() {
            screen.line(&[
                Piece(Style::Faint, format!("{:indent$}→ ", "", indent = width + 8)),
                plain(&finding.remedy),
            ])?;
        }
    }
    Ok(())
}

fn root() -> Finding {
    if rustix::process::geteuid().is_root() {
        return Finding::ok("user", "root");
    }
    let uid = rustix::process::geteuid().as_raw();
    Finding::warn(
        "user",
        format!("user {uid}: some of this cannot be seen"),
        "run it as root: sudo guardctl doctor",
    )
}

fn kernel() -> Finding {
    let names = rustix::system::uname();
    Finding::ok("kernel", format!("Linux {}", names.release().to_string_lossy()))
}

fn configuration(file: &Path) -> (Config, Finding) {
    let what = "configuration";
    match config::load_readable(file) {
        (config, None) => (config, Finding::ok(what, format!("{} is valid", file.display()))),
        (config, Some(error)) => {
            let remedy = match &error {
                ConfigError::Invalid { .. } => {
                    "put it right, the rest of this goes by what could be read; the shipped guard.toml explains every option"
                }
                ConfigError::Missing { .. } => "the rest of this looks at the defaults",
                _ => "",
            };
            let text = error.to_string().replace('\n', "; ");
            let finding = match error {
                ConfigError::Missing { .. } => Finding::warn(what, text, remedy),
                _ => Finding::fail(what, text, remedy),
            };
            (config, finding)
        }
    }
}

/// What can hold bans: one of the two backends is enough, unless the configuration names one.
fn enforcement(config: &Config) -> Vec<Finding> {
    if config.enforce.backend == BackendChoice::Observe {
        return vec![Finding::warn(
            "enforcement",
            "enforce.backend is \"observe\": bans are decided and recorded, and nothing is dropped",
            "set it to \"auto\" once you trust the decisions",
        )];
    }
    let found = features::probe(&config.paths.bpffs);
    let backend = config.enforce.backend;
    let nftables = nftables::is_offered();
    let xdp_works = found.object && found.permission.is_ok();
    let mut findings = Vec::new();

    // What is lacking is as bad as what else is there to do its work.
    let worse = |needed: bool| if needed { Finding::fail } else { Finding::warn };
    if backend != BackendChoice::Nftables {
        let lacking =
            worse(backend == BackendChoice::Xdp || (backend == BackendChoice::Auto && nftables.is_err()));
        findings.push(if found.object {
            Finding::ok("XDP program", "built in")
        } else {
            lacking(
                "XDP program",
                "this build carries none",
                "build it: cargo xtask build-ebpf, then build guard again",
            )
        });
        findings.push(match &found.permission {
            Ok(()) => Finding::ok("bpf", "allowed"),
            Err(reason) => lacking("bpf", reason, "run as root, or give CAP_BPF and CAP_NET_ADMIN"),
        });
        findings.push(match &found.bpffs {
            Ok(()) => Finding::ok("bpffs", config.paths.bpffs.display().to_string()),
            Err(reason) => Finding::warn("bpffs", reason, "the daemon mounts it at its start where it may"),
        });
        findings.push(if found.btf {
            Finding::ok("BTF", "/sys/kernel/btf/vmlinux")
        } else {
            Finding::warn("BTF", "the kernel offers none", "the packet program works without")
        });
    }
    if backend != BackendChoice::Xdp {
        let lacking =
            worse(backend == BackendChoice::Nftables || (backend == BackendChoice::Auto && !xdp_works));
        findings.push(match nftables {
            Ok(()) => Finding::ok("nftables", "the kernel has nf_tables"),
            Err(error @ EnforceError::Permission { .. }) => {
                lacking("nftables", &chain(&error), "run as root, or give CAP_NET_ADMIN")
            }
            Err(error) => {
                lacking("nftables", &chain(&error), "load the module nf_tables, or use another kernel")
            }
        });
    }
    findings
}

/// What is read as the daemon would read it: with its own choice of the journal, and its own way to open files.
fn sources(config: &Config) -> Vec<Finding> {
    let journal = Journal::look(&config.source);
    let mut findings: Vec<_> = self::journal(config, &journal).into_iter().collect();
    let mut readable = journal.is_read && journal.found.is_ok();
    for file in &config.source.files {
        if file.journal_copy && journal.is_read {
            let detail = format!("{}: not needed, the journal has it too", file.path.display());
            findings.push(Finding::ok("log file", detail));
            continue;
        }
        readable |= file::look(&file.path).is_ok();
        findings.push(log_file(&file.path));
    }
    let (found, filters) = service_files(config);
    readable |= found;
    findings.extend(filters);
    if !readable {
        findings.push(Finding::fail(
            "sources",
            "nothing to read: guard would see no attack",
            "name the log that logins are written to under source.files, or install rsyslog",
        ));
    }
    findings
}

fn journal(config: &Config, journal: &Journal) -> Option<Finding> {
    let what = "journal";
    let cause = match (&journal.found, config.source.journald) {
        (_, Journald::Off) => return None,
        (Ok(path), _) => return Some(Finding::ok(what, path.display().to_string())),
        (Err(NoJournal::Absent), Journald::Auto) => {
            return Some(Finding::ok(what, "none here: logins are read from files"));
        }
        (Err(cause), _) => cause,
    };
    let detail = journal.trouble(&config.source).unwrap_or_else(|| cause.to_string());
    let finding = if journal.is_read { Finding::fail } else { Finding::warn };
    Some(finding(
        what,
        &detail,
        match cause {
            NoJournal::Unreadable { .. } => {
                "run as root; if it is damaged, journalctl --rotate begins a new one"
            }
            _ => "see that systemd-journald runs and keeps a journal (Storage= in journald.conf)",
        },
    ))
}

/// How a log file is found that the configuration names.
fn log_file(path: &Path) -> Finding {
    let (what, shown) = ("log file", path.display());
    match file::look(path) {
        Ok(()) => Finding::ok(what, format!("{shown} is readable")),
        Err(Refusal::Absent) => Finding::ok(what, format!("{shown} is not there; guard reads it once it is")),
        Err(refusal @ Refusal::Kind { .. }) => {
            Finding::warn(what, format!("{shown}: {refusal}"), "name the log file itself under source.files")
        }
        Err(Refusal::Open(error)) => {
            Finding::warn(what, format!("{shown}: {error}"), "run as root, or let the daemon's user read it")
        }
    }
}

/// Whether a log file of a service can be read, and what is to be said of them and of the filters that name them.
fn service_files(config: &Config) -> (bool, Vec<Finding>) {
    let filters = match FilterSet::load(&config.filter) {
        Ok(filters) => filters,
        Err(error) => {
            return (false, vec![Finding::fail("filters", chain(&error), "try it: guardctl filter test")]);
        }
    };
    if !config.source.service_files {
        return (false, Vec::new());
    }
    let what = "service logs";
    let mut paths = own_files::find(filters.files());
    paths.retain(|path| !config.source.files.iter().any(|file| file.path == *path));
    let refused: Vec<_> = paths.iter().filter_map(|path| Some((path, file::look(path).err()?))).collect();
    let mut findings = Vec::new();
    if let Some((path, refusal)) = refused.first() {
        findings.push(Finding::warn(
            what,
            format!(
                "{} cannot be read, first {}: {refusal}",
                counted(refused.len() as u64, "file"),
                path.display()
            ),
            "run as root, or let the daemon's user read them",
        ));
    }
    let readable = paths.len() - refused.len();
    if readable > own_files::MOST {
        findings.push(Finding::warn(
            what,
            format!("{readable} files, of which guard reads {}", own_files::MOST),
            "turn off filters that are not needed, or name what is to be read under source.files",
        ));
    } else if readable > 0 {
        findings.push(Finding::ok(what, format!("{} can be read", counted(readable as u64, "file"))));
    }
    (readable > 0, findings)
}

fn state(folder: &Path) -> Finding {
    let what = "state";
    let shown = folder.display();
    // The daemon makes the folder itself, so the nearest one above it counts.
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    if !existing.is_dir() {
        let detail = format!("{shown} cannot be a folder: {} is none", existing.display());
        return Finding::fail(what, detail, "name another folder in paths.state");
    }
    let room = match statvfs(existing) {
        Ok(room) => room,
        Err(error) => {
            return Finding::fail(what, format!("{shown}: {error}"), "name another folder in paths.state");
        }
    };
    let free = room.f_bavail.saturating_mul(room.f_frsize);
    if room.f_flag.contains(StatVfsMountFlags::RDONLY) {
        return Finding::fail(
            what,
            format!("{shown} is read-only"),
            "bans would not outlive a reboot; mount it writable",
        );
    }
    if access(existing, Access::WRITE_OK).is_err() {
        let user = rustix::process::geteuid();
        let detail = format!("{shown} cannot be written by user {}", user.as_raw());
        return if user.is_root() {
            Finding::fail(what, detail, "name another folder in paths.state")
        } else {
            Finding::warn(what, detail, "the daemon runs as root")
        };
    }
    if free < SHORT_OF_SPACE {
        return Finding::fail(what, format!("{shown} has {} left", bytes(free)), "make room on its disk");
    }
    Finding::ok(what, format!("{shown}, {} free", bytes(free)))
}

fn daemon(socket: &Path) -> Vec<Finding> {
    let what = "daemon";
    let asked = Client::connect(socket).and_then(|mut client| client.ask(&Request::Status {}));
    match asked {
        Ok(Answer::Status(status)) => {
            let answer = format!("{} answers at {}", status.version, socket.display());
            let problem = |text| Finding::warn("status", text, "");
            let observing = status.observe.then(|| problem("observing only: nothing is dropped".into()));
            std::iter::once(Finding::ok(what, answer))
                .chain(observing)
                .chain(status.problems.into_iter().map(problem))
                .collect()
        }
        Ok(other) => {
            vec![Finding::fail(what, chain(&super::error::unexpected(other)), "journalctl -u guard")]
        }
        Err(ClientError::NotReachable { reason, .. }) => vec![Finding::warn(
            what,
            format!("not running: {}: {reason}", socket.display()),
            "start it: systemctl start guard",
        )],
        Err(error @ ClientError::Denied { .. }) => vec![Finding::warn(what, error.to_string(), "")],
        Err(error) => vec![Finding::fail(what, error.to_string(), "see its log: journalctl -u guard")],
    }
}
