//! What happens at servers, and the lines they write of it.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::sync::{Arc, LazyLock};

use guard::scan::{FilterSet, Mode, Scanner, shipped};
use guard::sighting::{Kind, PatternId, Points, Request, Sighting};
use guard::time::Wall;
use jiff::Timestamp;
use jiff::tz::TimeZone;

/// Something of which a server writes a line.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Fact {
    pub(crate) what: What,
    pub(crate) from: IpAddr,
    pub(crate) port: u16,
    pub(crate) pid: u32,
    pub(crate) account: &'static str,
}

/// What it was.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(crate) enum What {
    /// PAM refused a password.
    Pam,
    /// sshd refused a password, of an account that is there or is not.
    WrongPassword { known: bool },
    /// sshd does not know the account.
    InvalidUser,
    /// sshd refused a key.
    WrongKey,
    /// sshd accepted a key.
    KeyLogin,
    /// sshd accepted a password.
    PasswordLogin,
    /// A session of sshd ended.
    Disconnected,
    /// A web server answered a request, of a user if an account is named.
    Request { path: &'static str, status: u16, agent: &'static str },
}

impl What {
    /// Whether a web server writes it.
    pub(crate) fn is_web(self) -> bool {
        matches!(self, Self::Request { .. })
    }
}

/// How lines are written, or not at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Form {
    /// Not: the judge gets what a scanner would have read.
    Typed,
    /// With stamps of RFC 3339, to the microsecond.
    Rfc3339,
    /// With stamps of RFC 3164, to the second and without a year.
    Rfc3164,
}

/// The filters of the services that there are.
pub(crate) static FILTERS: LazyLock<Arc<FilterSet>> = LazyLock::new(|| {
    let files: Vec<_> = shipped().into_iter().filter(|file| matches!(&*file.name, "sshd" | "http")).collect();
    Arc::new(FilterSet::compile(&files, Mode::Normal).expect("shipped filters are good"))
});

static FOR_SYSLOG: LazyLock<Arc<FilterSet>> =
    LazyLock::new(|| Arc::new(FILTERS.for_syslog().expect("shipped filters are good")));

static FOR_WEB: LazyLock<Arc<FilterSet>> = LazyLock::new(|| {
    let owners = FILTERS.owners(Path::new("/var/log/nginx/access.log"));
    Arc::new(FILTERS.for_own_files(&owners).expect("shipped filters are good"))
});

impl Fact {
    /// The line a server writes of it.
    pub(crate) fn line(&self, at: Wall, form: Form) -> String {
        let Self { what, from, port, pid, account } = self;
        if let What::Request { path, status, agent } = what {
            let stamp = stamp(at, "%d/%b/%Y:%H:%M:%S +0000");
            let user = if account.is_empty() { "-" } else { account };
            return format!(r#"{from} - {user} [{stamp}] "GET {path} HTTP/1.1" {status} 153 "-" "{agent}""#);
        }
        let message = match what {
            What::Pam => format!(
                "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={from}  user={account}"
            ),
            What::WrongPassword { known: true } => {
                format!("Failed password for {account} from {from} port {port} ssh2")
            }
            What::WrongPassword { known: false } => {
                format!("Failed password for invalid user {account} from {from} port {port} ssh2")
            }
            What::InvalidUser => format!("Invalid user {account} from {from} port {port}"),
            What::WrongKey => {
                format!("Failed publickey for {account} from {from} port {port} ssh2: ED25519 SHA256:o0o")
            }
            What::KeyLogin => {
                format!("Accepted publickey for {account} from {from} port {port} ssh2: ED25519 SHA256:o1o")
            }
            What::PasswordLogin => format!("Accepted password for {account} from {from} port {port} ssh2"),
            What::Disconnected => format!("Disconnected from user {account} {from} port {port}"),
            What::Request { .. } => String::new(),
        };
        let stamp = match form {
            Form::Rfc3164 => stamp(at, "%b %e %H:%M:%S"),
            Form::Rfc3339 | Form::Typed => stamp(at, "%Y-%m-%dT%H:%M:%S%.6f+00:00"),
        };
        format!("{stamp} web1 sshd[{pid}]: {message}")
    }
}

fn stamp(at: Wall, format: &str) -> String {
    let at = Timestamp::from_millisecond(at.0).expect("a time of this century");
    at.strftime(format).to_string()
}

/// What the scanner makes of a line but for who and when: this depends on nothing but what happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Reading {
    kind: Kind,
    points: Points,
    pattern: PatternId,
    has_port: bool,
    has_account: bool,
}

/// Reads lines as the daemon does.
#[derive(Debug)]
pub(crate) struct Reader {
    form: Form,
    syslog: Scanner,
    web: Scanner,
    known: HashMap<What, Option<Reading>>,
}

impl Reader {
    pub(crate) fn new(form: Form) -> Self {
        let scanner = |filters: &Arc<FilterSet>| Scanner::with_zone(Arc::clone(filters), TimeZone::UTC);
        Self { form, syslog: scanner(&FOR_SYSLOG), web: scanner(&FOR_WEB), known: HashMap::new() }
    }

    /// Reads the line of a fact that happened at `at`, now that the clock shows `now`, and hands over what it says.
    pub(crate) fn read<T>(
        &mut self,
        fact: &Fact,
        at: Wall,
        now: Wall,
        take: impl FnOnce(&Sighting<'_>) -> T,
    ) -> Option<T> {
        let reading = self.reading(fact);
        if self.form == Form::Typed {
            let reading = reading?;
            return Some(take(&Sighting {
                at: Some(at),
                address: fact.from,
                kind: reading.kind,
                points: reading.points,
                pattern: reading.pattern,
                pid: if fact.what.is_web() { 0 } else { fact.pid },
                port: if reading.has_port { fact.port } else { 0 },
                account: reading.has_account.then_some(fact.account.as_bytes()),
                line: b"a line of a log",
                service: if fact.what.is_web() { b"" } else { b"sshd" },
                request: match fact.what {
                    What::Request { path, status, .. } => {
                        Some(Request { path: Some(path.as_bytes()), status: Some(status) })
                    }
                    _ => None,
                },
            }));
        }
        let line = fact.line(at, self.form);
        let scanner = if fact.what.is_web() { &mut self.web } else { &mut self.syslog };
        let sighting = scanner.line(line.as_bytes(), now);
        assert_eq!(
            sighting.as_ref().map(|s| (s.address, s.kind, s.points)),
            reading.map(|reading| (fact.from, reading.kind, reading.points)),
            "{line}"
        );
        sighting.as_ref().map(take)
    }

    fn reading(&mut self, fact: &Fact) -> Option<Reading> {
        let scanner = if fact.what.is_web() { &mut self.web } else { &mut self.syslog };
        *self.known.entry(fact.what).or_insert_with(|| {
            let at = Wall(1_795_176_000_000);
            let line = fact.line(at, Form::Rfc3339);
            let sighting = scanner.line(line.as_bytes(), at)?;
            assert_eq!((sighting.address, sighting.at), (fact.from, Some(at)), "{line}");
            Some(Reading {
                kind: sighting.kind,
                points: sighting.points,
                pattern: sighting.pattern,
                has_port: sighting.port != 0,
                has_account: sighting.account.is_some(),
            })
        })
    }
}
