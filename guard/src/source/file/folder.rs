//! Looking around in a log's folder: opening without being trapped, and finding what rotation has made of a file.

use std::ffi::OsStr;
use std::fs::{File, Metadata};
use std::io;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::FileTypeExt;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::identity::{Identity, modified};

/// Why a path is not read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum Refusal {
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
pub(super) fn look(path: &Path) -> Result<Metadata, Refusal> {
    let meta = std::fs::symlink_metadata(path).map_err(failed)?;
    regular(&meta)?;
    Ok(meta)
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

/// The regular files of a folder whose names are `wanted`; only of these the kernel is asked what they are.
fn files(folder: &Path, wanted: impl Fn(&OsStr) -> bool) -> impl Iterator<Item = (PathBuf, Metadata)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter(move |entry| wanted(&entry.file_name()))
        .filter_map(|entry| entry.metadata().ok().filter(Metadata::is_file).map(|meta| (entry.path(), meta)))
}

/// Which files are in folders, each listed once: of thousand files in one folder each would list it otherwise.
#[derive(Debug, Default)]
pub(super) struct Listings(HashMap<PathBuf, HashMap<u64, Vec<(Identity, PathBuf)>>>);

impl Listings {
    /// The paths in a folder where a file was at the listing.
    pub(super) fn find(&mut self, folder: &Path, identity: Identity) -> Vec<PathBuf> {
        let listing = self.0.entry(folder.to_owned()).or_insert_with(|| {
            let mut listing: HashMap<_, Vec<_>> = HashMap::new();
            for (path, meta) in files(folder, |_| true) {
                let identity = Identity::of(&meta);
                listing.entry(identity.inode).or_default().push((identity, path));
            }
            listing
        });
        let all = listing.get(&identity.inode).into_iter().flatten();
        all.filter(|(other, _)| identity.is_same(*other)).map(|(_, path)| path.clone()).collect()
    }

    /// Lists a folder anew when it is asked for the next time.
    pub(super) fn forget(&mut self, folder: &Path) {
        self.0.remove(folder);
    }
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

/// Finds the rotated files of `path` that were begun and written after another. A number in a name proves little: a file
/// that has one and `is_followed` is a log of its own.
pub(super) fn successors(path: &Path, after: After, is_followed: impl Fn(&Path) -> bool) -> Successors {
    let mut found = Successors::default();
    let (Some(folder), Some(name)) = (path.parent(), path.file_name()) else { return found };
    let mut readable = Vec::new();
    for (candidate, meta) in files(folder, |other| rotated(name, other).is_some()) {
        let Some(rotated) = candidate.file_name().and_then(|other| rotated(name, other)) else { continue };
        let (born, written) = (Identity::of(&meta).born, modified(&meta));
        if !rotated.dated && is_followed(&candidate) {
            continue;
        }
        if rotated.compressed {
            // Compression makes a new file that keeps the time of the last write.
            found.compressed += u64::from(written > after.modified);
        } else if born >= after.born && written >= after.modified {
            readable.push((born, written, candidate));
        }
    }
    readable.sort();
    found.files = readable.into_iter().map(|(_, _, path)| path).collect();
    found
}

/// What a name tells that rotation gives to a file.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Rotated {
    /// Whether it was compressed.
    compressed: bool,
    /// Whether a date is in it, which rotation puts there. A number may just as well count logs that are written side by
    /// side (`shop.log`, `shop-2.log`).
    pub(super) dated: bool,
}

/// What tells that rotation gives the path `other` to what was at `path`, if it may.
pub(super) fn rotation(path: &Path, other: &Path) -> Option<Rotated> {
    let (name, other_name) = path.file_name().zip(other.file_name())?;
    rotated(name, other_name).filter(|_| path.parent() == other.parent())
}

/// Whether `other` is a name that rotation gives to `name`: a number or a date after it or before its extension.
/// Nothing else, so that a copy somebody keeps is not taken for a part of the log.
fn rotated(name: &OsStr, other: &OsStr) -> Option<Rotated> {
    let (name, other) = (name.as_bytes(), other.as_bytes());
    let stripped = [&b".gz"[..], b".xz", b".zst", b".bz2", b".lz4", b".lzma", b".Z"]
        .iter()
        .find_map(|suffix| other.strip_suffix(*suffix));
    let (other, compressed) = (stripped.unwrap_or(other), stripped.is_some());
    let dot = name.iter().rposition(|b| *b == b'.').filter(|at| *at > 0);
    let between = |prefix: &[u8], suffix: &[u8]| {
        let middle = other.strip_prefix(prefix).and_then(|rest| rest.strip_suffix(suffix));
        middle.filter(|middle| is_number_or_date(middle))
    };
    let middle = between(name, b"").or_else(|| between(&name[..dot?], &name[dot?..]))?;
    let dated = middle.iter().filter(|b| b.is_ascii_digit()).count() >= DATE_DIGITS;
    Some(Rotated { compressed, dated })
}

/// Digits of the shortest date, a year and a month.
const DATE_DIGITS: usize = 6;

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
        let is = |compressed, dated| Some(Rotated { compressed, dated });
        for other in ["auth.log.1", "auth.1.log", "auth-12.log"] {
            assert_eq!(kind("auth.log", other), is(false, false), "{other}");
        }
        for other in ["auth.log-20261120", "auth-20261120.log", "auth-2026-11.log", "auth.log.1795132800"] {
            assert_eq!(kind("auth.log", other), is(false, true), "{other}");
        }
        assert_eq!(kind("auth.log", "auth.log.2.gz"), is(true, false));
        for other in ["auth.log-20261120.xz", "auth-20261120.log.zst"] {
            assert_eq!(kind("auth.log", other), is(true, true), "{other}");
        }
        for other in
            ["auth.log", "auth.log.bak", "auth-x.log", "auth2.log", "auth.log.", "xauth.log.1", "auth.gz"]
        {
            assert_eq!(kind("auth.log", other), None, "{other}");
        }
        assert_eq!(kind("secure", "secure-20261120"), is(false, true));
    }

    #[test]
    fn a_folder_is_listed_once_until_it_is_to_be_listed_anew() {
        let dir = tempfile::tempdir().unwrap();
        let mut listings = Listings::default();
        let place = |name: &str, listings: &mut Listings| {
            let path = dir.path().join(name);
            std::fs::write(&path, "").unwrap();
            let identity = Identity::of(&path.metadata().unwrap());
            (listings.find(dir.path(), identity), path, identity)
        };
        let (found, first, _) = place("a", &mut listings);
        assert_eq!(found, [first]);
        let (found, second, identity) = place("b", &mut listings);
        assert!(found.is_empty(), "the folder was listed again");
        listings.forget(dir.path());
        assert_eq!(listings.find(dir.path(), identity), [second]);
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
