//! Looking around in a log's folder: opening without being trapped, and finding what rotation has made of a file.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use super::identity::{Identity, modified};

/// Why a path is not read.
#[derive(Debug, thiserror::Error)]
pub(super) enum Refusal {
    /// There is nothing at the path.
    #[error("waiting for the file to appear")]
    Absent,
    /// There is something else than a regular file.
    #[error("refused: the path is {what}, not a regular file")]
    Kind {
        /// What it is, with its article.
        what: &'static str,
    },
    /// It cannot be opened; tried again.
    #[error("cannot be opened, trying again: {0}")]
    Open(io::Error),
}

/// Opens a regular file for reading, and nothing else.
pub(super) fn open(path: &Path) -> Result<(File, Metadata), Refusal> {
    // Asked before opening: to open a device can have an effect.
    regular(&std::fs::symlink_metadata(path).map_err(failed)?)?;
    let file = crate::source::open::open(path).map_err(failed)?;
    let meta = file.metadata().map_err(failed)?;
    regular(&meta)?;
    Ok((file, meta))
}

/// What is at the path, without opening it.
pub(super) fn look(path: &Path) -> Result<Identity, Refusal> {
    let meta = std::fs::symlink_metadata(path).map_err(failed)?;
    regular(&meta)?;
    Ok(Identity::of(&meta))
}

fn failed(e: io::Error) -> Refusal {
    match e.raw_os_error() {
        Some(libc::ENOENT | libc::ENOTDIR) => Refusal::Absent,
        Some(libc::ELOOP) => Refusal::Kind { what: "a symbolic link" },
        _ => Refusal::Open(e),
    }
}

fn regular(meta: &Metadata) -> Result<(), Refusal> {
    let kind = meta.file_type();
    let what = if kind.is_file() {
        return Ok(());
    } else if kind.is_symlink() {
        "a symbolic link"
    } else if kind.is_dir() {
        "a folder"
    } else if kind.is_fifo() {
        "a FIFO"
    } else if kind.is_socket() {
        "a socket"
    } else {
        "a device"
    };
    Err(Refusal::Kind { what })
}

/// The regular files of a folder.
pub(super) fn files(folder: &Path) -> Vec<(PathBuf, Metadata)> {
    let Ok(entries) = std::fs::read_dir(folder) else { return Vec::new() };
    entries
        .flatten()
        .filter_map(|entry| entry.metadata().ok().filter(Metadata::is_file).map(|meta| (entry.path(), meta)))
        .collect()
}

/// The file a successor must be newer than.
#[derive(Clone, Copy, Debug)]
pub(super) struct After {
    /// Its birth, nanoseconds since the epoch.
    pub(super) born: u64,
    /// Its last write, nanoseconds since the epoch.
    pub(super) modified: i128,
}

/// What rotation put between a file that was read and the one that has its name now.
#[derive(Debug, Default)]
pub(super) struct Successors {
    /// Files that can be read, oldest first.
    pub(super) files: Vec<PathBuf>,
    /// Files that were compressed before they could be read.
    pub(super) compressed: u64,
}

/// Finds the rotated files of `path` that were begun and written after another.
pub(super) fn successors(path: &Path, after: After) -> Successors {
    let mut found = Successors::default();
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return found };
    let mut readable = Vec::new();
    for (candidate, meta) in files(folder) {
        let (born, written) = (Identity::of(&meta).born, modified(&meta));
        match candidate.file_name().map_or(Rotated::No, |other| rotated(name, other)) {
            // Compression makes a new file that keeps the time of the last write.
            Rotated::Compressed if written > after.modified => found.compressed += 1,
            Rotated::Plain if born >= after.born && written >= after.modified => {
                readable.push((born, written, candidate));
            }
            _ => {}
        }
    }
    readable.sort();
    found.files = readable.into_iter().map(|(_, _, path)| path).collect();
    found
}

/// Whether `other` is a path that rotation gives to what was at `path`.
pub(super) fn is_rotated(path: &Path, other: &Path) -> bool {
    let names = path.file_name().zip(other.file_name());
    path.parent() == other.parent() && names.is_some_and(|(name, other)| rotated(name, other) != Rotated::No)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Rotated {
    No,
    Plain,
    Compressed,
}

/// Whether `other` is a name that rotation gives to `name`: a number or a date after it or before its extension.
/// Nothing else, so that a copy somebody keeps is not taken for a part of the log.
fn rotated(name: &OsStr, other: &OsStr) -> Rotated {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let (other, kind) = [&b".gz"[..], b".xz", b".zst", b".bz2", b".lz4", b".lzma", b".Z"]
        .iter()
        .find_map(|suffix| other.strip_suffix(*suffix))
        .map_or((other, Rotated::Plain), |stripped| (stripped, Rotated::Compressed));
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
    let between = |prefix: &[u8], suffix: &[u8]| {
        let middle = other.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        middle.is_some_and(is_number_or_date)
    };
    let fits = between(name, b"") || dot.is_some_and(|at| between(&name[..at], &name[at..]));
    if fits { kind } else { Rotated::No }
}

/// `.1`, `-20261120`, `-2026-11-20T10:00:00.1` …
fn is_number_or_date(middle: &[u8]) -> bool {
    matches!(middle.first(), Some(b'.' | b'-' | b'_'))
        && middle.iter().any(u8::is_ascii_digit)
        && middle.iter().all(|b| b.is_ascii_digit() || b".-_:T".contains(b))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn rotation_names() {
        let kind = |name: &str, other: &str| rotated(OsStr::new(name), OsStr::new(other));
        for other in ["auth.log.1", "auth.log-20261120", "auth-20261120.log", "auth.1.log"] {
            assert_eq!(kind("auth.log", other), Rotated::Plain, "{other}");
        }
        for other in ["auth.log.2.gz", "auth.log-20261120.xz", "auth-20261120.log.zst"] {
            assert_eq!(kind("auth.log", other), Rotated::Compressed, "{other}");
        }
        for other in
            ["auth.log", "auth.log.bak", "auth-x.log", "auth2.log", "auth.log.", "xauth.log.1", "auth.gz"]
        {
            assert_eq!(kind("auth.log", other), Rotated::No, "{other}");
        }
        assert_eq!(kind("secure", "secure-20261120"), Rotated::Plain);
    }

    #[test]
    fn what_is_not_a_file_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = |name: &str| dir.path().join(name);
        std::fs::write(path("file"), "").unwrap();
        std::os::unix::fs::symlink(path("file"), path("link")).unwrap();
        std::os::unix::fs::symlink(path("nowhere"), path("dangling")).unwrap();
        let _socket = std::os::unix::net::UnixListener::bind(path("socket")).unwrap();
        rustix::fs::mknodat(
            rustix::fs::CWD,
            path("fifo"),
            rustix::fs::FileType::Fifo,
            rustix::fs::Mode::RUSR,
            0,
        )
        .unwrap();
        assert!(open(&path("file")).is_ok());
        let said = |p: &Path| open(p).unwrap_err().to_string();
        assert!(said(&path("link")).contains("symbolic link"));
        assert!(said(&path("dangling")).contains("symbolic link"));
        assert!(said(&path("fifo")).contains("FIFO"));
        assert!(said(&path("socket")).contains("socket"));
        assert!(said(dir.path()).contains("folder"));
        assert!(said(Path::new("/dev/null")).contains("device"));
        assert!(said(&path("absent")).contains("waiting"));
        assert!(said(&path("file/below")).contains("waiting"));
    }
}
