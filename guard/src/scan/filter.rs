//! Filters as data: a TOML file for each service, read and checked.

use std::ops::Range;
use std::path::{Path, PathBuf};

use serde::Deserialize;
use thiserror::Error;
use toml::Spanned;

use super::Mode;
use super::pattern::{self, Form};
use crate::sighting::{Kind, Points};

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
}

/// A filter, checked and compiled.
#[derive(Clone, Debug)]
pub(super) struct Filter {
    pub(super) name: String,
    /// Where it was found, for errors.
    pub(super) path: PathBuf,
    /// Names of the programs whose lines it reads.
    pub(super) identifiers: Vec<Vec<u8>>,
    /// User id that a journal entry must come from: the proof, because the kernel tells it.
    pub(super) uid: u32,
    /// What the journal may have as `_COMM`; empty for any. No proof: a process chooses it freely.
    pub(super) commands: Vec<Vec<u8>>,
    pub(super) patterns: Vec<Pattern>,
}

#[derive(Clone, Debug)]
pub(super) struct Pattern {
    pub(super) text: String,
    /// Line of the text in the file, counted from 1.
    pub(super) line: usize,
    pub(super) kind: Kind,
    pub(super) points: Points,
    pub(super) mode: Mode,
    pub(super) forms: Vec<Form>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawFilter {
    #[expect(dead_code, reason = "told to people who read the file")]
    description: Option<String>,
    identifiers: Spanned<Vec<String>>,
    #[serde(default)]
    journal: RawJournal,
    #[serde(rename = "pattern")]
    patterns: Vec<Spanned<RawPattern>>,
}

#[derive(Default, Deserialize)]
#[serde(deny_unknown_fields)]
struct RawJournal {
    #[serde(default)]
    uid: u32,
    #[serde(default)]
    commands: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawPattern {
    kind: Spanned<String>,
    text: Spanned<String>,
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
        if raw.identifiers.get_ref().is_empty() {
            return Err(fault.at(raw.identifiers.span(), "a filter needs at least one identifier".into()));
        }
        if raw.patterns.is_empty() || raw.patterns.len() > MAX_PATTERNS {
            return Err(fault.at(0..0, format!("a filter has 1 to {MAX_PATTERNS} patterns")));
        }
        let bytes = |texts: Vec<String>| texts.into_iter().map(String::into_bytes).collect();
        Ok(Self {
            name: file.name.clone(),
            path: file.path.clone(),
            identifiers: bytes(raw.identifiers.into_inner()),
            uid: raw.journal.uid,
            commands: bytes(raw.journal.commands),
            patterns: raw
                .patterns
                .iter()
                .map(|raw| read_pattern(raw.get_ref(), &fault))
                .collect::<Result<_, _>>()?,
        })
    }
}

fn read_pattern(raw: &RawPattern, fault: &Fault<'_>) -> Result<Pattern, FilterError> {
    let kind: Kind = raw.kind.get_ref().parse().map_err(|()| {
        let known: Vec<_> = Kind::ALL.iter().map(|kind| kind.name()).collect();
        fault.at(
            raw.kind.span(),
            format!("unknown kind `{}`; there are {}", raw.kind.get_ref(), known.join(", ")),
        )
    })?;
    let text = raw.text.get_ref();
    let refuse =
        |reason: String| fault.at(raw.text.span(), format!("the pattern `{text}` is refused: {reason}"));
    let forms = pattern::compile(text).map_err(refuse)?;
    if let Some(form) = forms.iter().find(|form| !form.has_address()) {
        let head = String::from_utf8_lossy(form.head()).into_owned();
        return Err(refuse(format!("one of its forms (beginning with `{head}`) has no `<address>`")));
    }
    let points = match &raw.points {
        None => kind.default_points(),
        Some(points) => Points::from_f64(*points.get_ref())
            .filter(|points| points.0 >= 0)
            .ok_or_else(|| fault.at(points.span(), "points are a number from 0 to 1000000".into()))?,
    };
    let line = fault.line(raw.text.span().start);
    Ok(Pattern { text: text.clone(), line, kind, points, mode: raw.mode, forms })
}

struct Fault<'a> {
    file: &'a FilterFile,
}

impl Fault<'_> {
    fn at(&self, span: Range<usize>, reason: String) -> FilterError {
        FilterError::Wrong { path: self.file.path.clone(), line: self.line(span.start), reason }
    }

    /// The line of a place in the file, counted from 1.
    fn line(&self, place: usize) -> usize {
        let before = &self.file.text.as_bytes()[..place.min(self.file.text.len())];
        memchr::memchr_iter(b'\n', before).count() + 1
    }
}

/// The filters guard comes with.
pub fn shipped() -> Vec<FilterFile> {
    let file = |name: &str, text: &str| FilterFile {
        name: name.to_owned(),
        path: PathBuf::from(format!("config/filters/{name}.toml")),
        text: text.to_owned(),
    };
    vec![file("sshd", include_str!("../../../config/filters/sshd.toml"))]
}

/// The administrator's filters in a folder, by name. A missing folder holds none.
pub fn in_folder(folder: &Path) -> Result<Vec<FilterFile>, FilterError> {
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
        files.push(FilterFile { name, path, text });
    }
    files.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(files)
}
