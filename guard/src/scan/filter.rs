//! Filters as data: a TOML file for each service, read and checked.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::num::NonZero;
use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;
use toml::Spanned;

use super::Mode;
use super::overlap::MATCHING;
use super::pattern::Form;
pub(super) use super::record::Format;
use super::shape::{self, FieldForms, Shape, Texts};
use crate::sighting::{Kind, Points};
use crate::source::{Sender, Transport};

/// Bytes of a filter file.
const MAX_FILE: usize = 256 * 1024;
/// Patterns of one filter.
const MAX_PATTERNS: usize = 1024;

/// Why a filter is refused.
#[derive(Debug, Error)]
#[non_exhaustive]
pub enum FilterError {
    /// The file cannot be read.
    #[error("cannot read filter {path}", path = path.display())]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// The system's answer.
        source: std::io::Error,
    },
    /// The file says something that makes no sense.
    #[error("{path}:{line}: {reason}", path = path.display())]
    Wrong {
        /// The file.
        path: PathBuf,
        /// The line, counted from 1.
        line: usize,
        /// What is wrong.
        reason: String,
    },
    /// Filters that read the same program have more forms together than guard can tell apart.
    #[error("the filters {names} have too many patterns together")]
    TooLarge {
        /// Names of the filters.
        names: String,
    },
    /// A filter is named that does not exist.
    #[error("there is no filter `{name}`; there are {known}")]
    Unknown {
        /// The name.
        name: String,
        /// Names of the filters there are.
        known: String,
    },
}

/// A filter's file as it was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FilterFile {
    /// Name of the filter: the file's name without `.toml`.
    pub name: String,
    /// Where it was found, for errors.
    pub path: PathBuf,
    /// Its text.
    pub text: String,
    /// Whether guard comes with it.
    pub shipped: bool,
}

/// A filter, checked and compiled.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    /// The service, for people.
    description: String,
    /// Where the service usually listens.
    ports: Vec<u16>,
    /// Where it was found, for errors.
    pub(super) path: PathBuf,
    /// Whether guard comes with it.
    pub(super) shipped: bool,
    /// A number that differs when its text does.
    pub(super) fingerprint: u64,
    /// Names of the programs whose lines it reads.
    pub(super) identifiers: Vec<Vec<u8>>,
    /// The service's own log files, as shell patterns.
    pub(super) files: Vec<glob::Pattern>,
    /// How lines of the service's own files are written.
    pub(super) format: Option<Format>,
    /// Who may write such entries in the journal.
    pub(super) journal: Trusted,
    pub(super) patterns: Vec<Pattern>,
    /// Whether one of them reads of logins by key.
    pub(super) has_key_logins: bool,
}

fn fingerprint(text: &str) -> u64 {
    let mut hasher = DefaultHasher::new();
    text.hash(&mut hasher);
    hasher.finish()
}

/// Whose journal entries a filter believes: what the kernel vouches for.
#[derive(Clone, Debug)]
pub(super) struct Trusted {
    /// User ids.
    pub(super) uids: Vec<u32>,
    /// Units, as shell patterns.
    pub(super) units: Vec<glob::Pattern>,
    /// Names of commands; empty for any. No proof: a process chooses its name freely.
    pub(super) commands: Vec<Vec<u8>>,
    /// How an entry may have come; empty for any way.
    pub(super) transports: Vec<Transport>,
    /// Units whose standard output is believed whatever `transports` says, as shell patterns.
    pub(super) streams: Vec<glob::Pattern>,
}

impl Trusted {
    /// Whether an entry of this sender is believed.
    pub(super) fn includes(&self, sender: &Sender<'_>) -> bool {
        let is_of = |units: &[glob::Pattern]| {
            let unit = std::str::from_utf8(sender.unit).unwrap_or_default();
            units.iter().any(|pattern| pattern.matches(unit))
        };
        let is_stream = sender.transport == Some(Transport::Stdout) && is_of(&self.streams);
        let came = self.transports.is_empty()
            || sender.transport.is_some_and(|transport| self.transports.contains(&transport));
        let vouched = is_stream || came && (self.uids.contains(&sender.uid) || is_of(&self.units));
        let named = self.commands.is_empty()
            || sender.command.is_empty()
            || self.commands.iter().any(|known| known == sender.command);
        vouched && named
    }
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    /// What it looks for, as the file has it.
    pub(super) text: String,
    /// Line of the text in the file, counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) points: Points,
    pub(super) mode: Mode,
    pub(super) shape: Shape,
}

impl Pattern {
    /// The forms a message can have; none if it looks at fields. The reason if it cannot be used.
    pub(super) fn message_forms(&self) -> Result<Vec<Form>, String> {
        match self.shape {
            Shape::Message => shape::message_forms(&self.text),
            Shape::Record(_) => Ok(Vec::new()),
        }
    }

    /// The forms its fields can have; none if it looks at messages. The reason if it cannot be used.
    pub(super) fn field_forms(&self) -> Result<Vec<FieldForms>, String> {
        match &self.shape {
            Shape::Message => Ok(Vec::new()),
            Shape::Record(fields) => shape::field_forms(fields),
        }
    }
}

/// What a filter's file says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize)]
pub struct FilterAbout {
    /// The service, for people.
    pub description: String,
    /// Names of the programs whose messages it reads.
    pub identifiers: Vec<String>,
    /// The service's own log files, as shell patterns.
    pub files: Vec<String>,
    /// Ports that the service usually listens on, for people: a ban covers every port.
    pub ports: Vec<u16>,
    /// Number of patterns.
    pub patterns: usize,
}

impl FilterFile {
    /// What the file says about itself.
    ///
    /// # Errors
    /// When the filter is refused.
    pub fn about(&self) -> Result<FilterAbout, FilterError> {
        let filter = Filter::read(self)?;
        Ok(FilterAbout {
            identifiers: filter
                .identifiers
                .iter()
                .map(|name| String::from_utf8_lossy(name).into_owned())
                .collect(),
            files: filter.files.iter().map(|file| file.as_str().to_owned()).collect(),
            ports: filter.ports,
            patterns: filter.patterns.len(),
            description: filter.description,
        })
    }
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter {
    #[serde(default)]
    description: String,
    #[serde(default)]
    ports: Vec<NonZero<u16>>,
    #[serde(default)]
    identifiers: Vec<String>,
    #[serde(default)]
    files: Vec<Spanned<String>>,
    format: Option<Format>,
    #[serde(default)]
    journal: RawJournal,
    #[serde(rename = "pattern")]
    patterns: Vec<Spanned<RawPattern>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    uid: Option<u32>,
    #[serde(default)]
    units: Vec<Spanned<String>>,
    #[serde(default)]
    commands: Vec<String>,
    #[serde(default)]
    transports: Vec<Transport>,
    #[serde(default)]
    streams: Vec<Spanned<String>>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPattern {
    kind: Spanned<String>,
    text: Option<Spanned<String>>,
    fields: Option<Spanned<BTreeMap<String, Texts>>>,
    points: Option<Spanned<f64>>,
    #[serde(default)]
    mode: Mode,
}
impl Filter {
    /// Reads and checks a filter.
    pub(super) fn read(file: &FilterFile) -> Result<Self, FilterError> {
        let fault = Fault { file };
        if file.text.len() > MAX_FILE {
            return Err(fault.at(0..0, format!("the file is larger than {MAX_FILE} bytes")));
        }
        let raw: RawFilter = toml::from_str(&file.text)
            .map_err(|error| fault.at(error.span().unwrap_or(0..0), error.message().to_owned()))?;
        if raw.identifiers.is_empty() && raw.files.is_empty() {
            return Err(fault.at(0..0, "a filter needs `identifiers`, or `files` and their `format`".into()));
        }
        if raw.format.is_none() && !raw.files.is_empty() {
            return Err(fault.at(raw.files[0].span(), format!("`files` need a `format`: {FORMATS}")));
        }
        if raw.patterns.is_empty() || raw.patterns.len() > MAX_PATTERNS {
            return Err(fault.at(0..0, format!("a filter has 1 to {MAX_PATTERNS} patterns")));
        }
        let globs = |texts: &[Spanned<String>]| {
            texts.iter().map(|text| fault.glob(text)).collect::<Result<Vec<_>, _>>()
        };
        let read = |pattern| read_pattern(pattern, raw.format, &fault);
        let patterns: Vec<Pattern> = raw.patterns.iter().map(read).collect::<Result<_, _>>()?;
        Ok(Self {
            name: file.name.clone(),
            path: file.path.clone(),
            shipped: file.shipped,
            fingerprint: fingerprint(&file.text),
            description: raw.description,
            ports: raw.ports.into_iter().map(NonZero::get).collect(),
            files: globs(&raw.files)?,
            format: raw.format,
            journal: Trusted {
                uids: vec![raw.journal.uid.unwrap_or(0)],
                units: globs(&raw.journal.units)?,
                commands: raw.journal.commands.into_iter().map(String::into_bytes).collect(),
                transports: raw.journal.transports,
                streams: globs(&raw.journal.streams)?,
            },
            has_key_logins: patterns.iter().any(|pattern| pattern.kind == Kind::KeyLogin),
            patterns,
            identifiers: raw.identifiers.into_iter().map(String::into_bytes).collect(),
        })
    }

    /// Whether a file is one of the service's own.
    pub(super) fn owns(&self, path: &Path) -> bool {
        self.files.iter().any(|pattern| pattern.matches_path_with(path, MATCHING))
    }
}

const FORMATS: &str = "\"stamped\", \"json\", \"logfmt\" or \"access\"";

fn read_pattern(
    raw: &Spanned<RawPattern>,
    format: Option<Format>,
    fault: &Fault<'_>,
) -> Result<Pattern, FilterError> {
    let (whole, raw) = (raw.span(), raw.get_ref());
    let kind: Kind = raw.kind.get_ref().parse().map_err(|()| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        fault.at(
            raw.kind.span(),
            format!("unknown kind `{}`; there are {}", raw.kind.get_ref(), known.join(", ")),
        )
    })?;
    let (text, span, shape) = match (&raw.text, &raw.fields) {
        (Some(text), None) => (text.get_ref().clone(), text.span(), Shape::Message),
        (None, Some(fields)) => {
            let text = shape::written(fields.get_ref());
            if matches!(format, None | Some(Format::Stamped)) {
                let reason = "only lines of a `format` with fields (json, logfmt, access) have them";
                return Err(fault.refusal(fields.span(), &text, reason));
            }
            (text, fields.span(), Shape::Record(fields.get_ref().clone()))
        }
        _ => return Err(fault.at(whole, "a pattern has either `text` or `fields`".into())),
    };
    let points = match &raw.points {
        None => kind.default_points(),
        Some(points) => Points::from_f64(*points.get_ref())
            .filter(|points| points.0 >= 0)
            .ok_or_else(|| fault.at(points.span(), "points are a number from 0 to 1000000".into()))?,
    };
    if kind == Kind::Spoofable && points.0 > 0 {
        return Err(fault.refusal(span, &text, "what can be forged earns no points"));
    }
    let pattern = Pattern { text, line: fault.line(span.start), kind, points, mode: raw.mode, shape };
    // The patterns guard comes with are compiled by its tests, and here only for lines that they can be.
    if !fault.file.shipped {
        let refuse = |reason: String| fault.refusal(span.clone(), &pattern.text, &reason);
        pattern.message_forms().map_err(refuse)?;
        pattern.field_forms().map_err(refuse)?;
    }
    Ok(pattern)
}

struct Fault<'a> {
    file: &'a FilterFile,
}

impl Fault<'_> {
    fn at(&self, span: Range<usize>, reason: String) -> FilterError {
        FilterError::Wrong { path: self.file.path.clone(), line: self.line(span.start), reason }
    }

    fn refusal(&self, span: Range<usize>, text: &str, reason: &str) -> FilterError {
        self.at(span, format!("the pattern `{text}` is refused: {reason}"))
    }

    fn glob(&self, text: &Spanned<String>) -> Result<glob::Pattern, FilterError> {
        glob::Pattern::new(text.get_ref()).map_err(|error| {
            self.at(text.span(), format!("`{}` is not a shell pattern: {error}", text.get_ref()))
        })
    }

    /// The line of a place in the file, counted from 1.
    fn line(&self, place: usize) -> usize {
        let before = &self.file.text.as_bytes()[..place.min(self.file.text.len())];
        memchr::memchr_iter(b'\n', before).count() + 1
    }
}

macro_rules! files {
    ($($name:literal)*) => {
        vec![$(FilterFile {
            name: $name.to_owned(),
            path: concat!("config/filters/", $name, ".toml").into(),
            text: include_str!(concat!("../../../config/filters/", $name, ".toml")).to_owned(),
            shipped: true,
        }),*]
    };
}

/// The filters guard comes with.
pub fn shipped() -> Vec<FilterFile> {
    files![
        "apache" "asterisk" "asterisk-file" "caddy" "dovecot" "dropbear" "exim" "gitea" "gitlab" "gitlab-text" "grafana" "grafana-json" "haproxy" "http" "kernel-firewall" "login" "mariadb" "mysql" "mysql-json" "named" "nextcloud" "nginx" "openvpn" "pam" "postfix" "postgresql" "postgresql-text" "proftpd" "proftpd-file" "recidive" "sshd" "traefik" "traefik-json" "traefik-text" "vaultwarden" "vsftpd" "wordpress"
    ]
}

/// Every filter there is: shipped ones, overridden by name and extended by the administrator's, by name.
pub fn available(folder: &Path) -> Result<Vec<FilterFile>, FilterError> {
    let mut files = shipped();
    for file in in_folder(folder)? {
        files.retain(|known| known.name != file.name);
        files.push(file);
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}

/// The administrator's filters in a folder, by name. A missing folder holds none.
fn in_folder(folder: &Path) -> Result<Vec<FilterFile>, FilterError> {
    let unreadable = |path: &Path| {
        let path = path.to_owned();
        move |source| FilterError::Unreadable { path, source }
    };
    let entries = match std::fs::read_dir(folder) {
        Ok(entries) => entries,
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(Vec::new()),
        Err(error) => return Err(unreadable(folder)(error)),
    };
    let mut files = Vec::new();
    for entry in entries {
        let path = entry.map_err(unreadable(folder))?.path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let Some(name) = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()) else { continue };
        let text = std::fs::read_to_string(&path).map_err(unreadable(&path))?;
        files.push(FilterFile { name, path, text, shipped: false });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
