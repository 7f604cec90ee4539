//! The last good copy of a feed on disk: what a start uses before any server has answered.
//!
//! A plain list with a first line that says where it is from. It is written beside the old one and put in its place by
//! a rename, so that there is a copy whenever guard ends. The old one is kept as `NAME.old` until the bans follow the new
//! one: if guard ends in between, its entries in the kernel are known for what they are.

use std::fs::{self, File};
use std::io::{BufRead, BufReader, BufWriter, ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};
use thiserror::Error;

use super::List;
use super::fetch::Seen;
use crate::target::Target;
use crate::time::Wall;

/// What the first line begins with.
const MARK: &str = "# guard feed ";
const COPY: &str = "list";
const OLD: &str = "old";

/// What is known of a copy.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Origin {
    /// The feed.
    pub(super) name: String,
    /// Where the feed was and how it was read: [`super::keeper`] compares it.
    pub(super) form: String,
    /// By what it is known again.
    pub(super) seen: Seen,
    /// When it was fetched, in milliseconds since the Unix epoch.
    pub(super) fetched: i64,
    /// Targets in it.
    pub(super) targets: usize,
}

impl Origin {
    pub(super) const fn fetched(&self) -> Wall {
        Wall(self.fetched)
    }
}

/// Why a copy cannot be read or written.
#[derive(Debug, Error)]
pub(super) enum CopyError {
    #[error("{}: {source}", path.display())]
    System { path: PathBuf, source: std::io::Error },
    #[error("{}: {reason}", path.display())]
    Damaged { path: PathBuf, reason: &'static str },
}

/// The folder of the copies.
#[derive(Clone, Debug)]
pub(super) struct Copies(PathBuf);

impl Copies {
    /// Those below a state folder.
    pub(super) fn below(state: &Path) -> Self {
        Self(state.join("feeds"))
    }

    /// Whether there may be any.
    pub(super) fn exist(&self) -> bool {
        self.0.exists()
    }

    fn path(&self, name: &str, kind: &str) -> PathBuf {
        self.0.join(format!("{name}.{kind}"))
    }

    /// Makes a list the copy of its feed; the one before becomes the old one, unless there is one that bans still
    /// follow.
    pub(super) fn write(&self, origin: &Origin, list: &List) -> Result<(), CopyError> {
        let at = |path: &Path| {
            let path = path.to_owned();
            move |source| CopyError::System { path, source }
        };
        fs::DirBuilder::new().recursive(true).mode(0o700).create(&self.0).map_err(at(&self.0))?;
        let (path, new) = (self.path(&origin.name, COPY), self.path(&origin.name, "new"));
        write(&new, origin, list).map_err(at(&new))?;
        self.keep_old(&origin.name)?;
        fs::rename(&new, &path).map_err(at(&path))?;
        File::open(&self.0).and_then(|folder| folder.sync_all()).map_err(at(&self.0))
    }

    /// The copy of a feed is the old one too, until a new one takes its place: at no moment is there none.
    fn keep_old(&self, name: &str) -> Result<(), CopyError> {
        let (path, old) = (self.path(name, COPY), self.path(name, OLD));
        match fs::hard_link(&path, &old) {
            // There is no copy yet, or bans still follow an older one.
            Err(e) if matches!(e.kind(), ErrorKind::NotFound | ErrorKind::AlreadyExists) => Ok(()),
            linked => linked.map_err(|source| CopyError::System { path: old, source }),
        }
    }

    /// The copy of a feed becomes an old one.
    pub(super) fn retire(&self, name: &str) -> Result<(), CopyError> {
        let (path, old) = (self.path(name, COPY), self.path(name, OLD));
        if !path.exists() || old.exists() {
            return Ok(());
        }
        fs::rename(&path, &old).map_err(|source| CopyError::System { path: old, source })
    }

    /// The copy of a feed, if there is one.
    pub(super) fn read(&self, name: &str) -> Result<Option<(Origin, List)>, CopyError> {
        let path = self.path(name, COPY);
        if path.exists() { read(&path).map(Some) } else { Ok(None) }
    }

    /// What bans may have followed earlier: old copies, and those of feeds that are not `known`.
    pub(super) fn left_over(&self, known: impl Fn(&str) -> bool) -> Vec<(PathBuf, Option<List>)> {
        let entries = fs::read_dir(&self.0).into_iter().flatten().flatten();
        let is_left = |path: &PathBuf| {
            let name = path.file_stem().unwrap_or_default().to_string_lossy().into_owned();
            match path.extension().and_then(|kind| kind.to_str()) {
                Some(OLD) => true,
                Some(COPY) => !known(&name),
                _ => false,
            }
        };
        let paths = entries.map(|entry| entry.path()).filter(is_left);
        paths.map(|path| (path.clone(), read(&path).ok().map(|(_, list)| list))).collect()
    }

    /// Bans follow the copy of a feed: the old one is not needed any more.
    pub(super) fn forget_old(&self, name: &str) {
        // One that stays is read at the next start, and removed then.
        let _ = fs::remove_file(self.path(name, OLD));
    }
}

fn write(path: &Path, origin: &Origin, list: &List) -> std::io::Result<()> {
    let file = File::options().write(true).create(true).truncate(true).mode(0o600).open(path)?;
    let mut out = BufWriter::with_capacity(1 << 16, file);
    out.write_all(MARK.as_bytes())?;
    serde_json::to_writer(&mut out, origin)?;
    out.write_all(b"\n")?;
    for target in list.iter() {
        writeln!(out, "{target}")?;
    }
    out.into_inner().map_err(std::io::IntoInnerError::into_error)?.sync_all()
}

fn read(path: &Path) -> Result<(Origin, List), CopyError> {
    let system = |source| CopyError::System { path: path.to_owned(), source };
    let damaged = |reason| CopyError::Damaged { path: path.to_owned(), reason };
    let mut lines = BufReader::with_capacity(1 << 16, File::open(path).map_err(system)?).lines();
    let first = lines.next().transpose().map_err(system)?.unwrap_or_default();
    let origin = first.strip_prefix(MARK).and_then(|json| serde_json::from_str::<Origin>(json).ok());
    let origin = origin.ok_or_else(|| damaged("its first line does not say where it is from"))?;
    let mut list = super::list::Builder::default();
    for line in lines {
        let target: Target =
            line.map_err(system)?.parse().map_err(|_| damaged("a line of it is no address or prefix"))?;
        list.push(target);
    }
    let list = list.finish();
    if list.len() != origin.targets {
        return Err(damaged("it is not as long as its first line says"));
    }
    Ok((origin, list))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn list(texts: &[&str]) -> List {
        texts.iter().map(|text| text.parse::<Target>().unwrap()).collect()
    }

    #[test]
    fn a_copy_is_read_as_it_was_written_and_one_before_it_is_kept() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::below(folder.path());
        assert!(!copies.exist() && copies.read("a").unwrap().is_none());
        let origin = |targets, form: &str| Origin {
            name: "a".into(),
            form: form.into(),
            seen: Seen { etag: Some("\"\u{e9}\n\"".into()), modified: None },
            fetched: 17,
            targets,
        };
        let (first, second) = (list(&["203.0.113.7", "2001:db8::/48"]), list(&["203.0.113.0/24"]));
        copies.write(&origin(2, "x"), &first).unwrap();
        assert_eq!(copies.read("a").unwrap(), Some((origin(2, "x"), first.clone())));
        copies.write(&origin(1, "x"), &second).unwrap();
        copies.write(&origin(1, "y"), &second).unwrap();
        assert_eq!(copies.read("a").unwrap(), Some((origin(1, "y"), second)));
        let left: Vec<_> = copies.left_over(|_| true).into_iter().map(|(_, list)| list).collect();
        assert_eq!(left, [Some(first)], "what bans may still follow");
        assert_eq!(copies.left_over(|_| false).len(), 2);
        copies.forget_old("a");
        assert_eq!(copies.left_over(|_| true).len(), 0);
    }

    #[test]
    fn there_is_a_copy_whenever_guard_ends() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::below(folder.path());
        let origin =
            Origin { name: "a".into(), form: String::new(), seen: Seen::default(), fetched: 0, targets: 1 };
        let (first, second) = (list(&["203.0.113.7"]), list(&["203.0.113.9"]));
        copies.write(&origin, &first).unwrap();
        // The end comes between the two steps.
        copies.keep_old("a").unwrap();
        assert_eq!(copies.read("a").unwrap().unwrap().1, first);
        copies.write(&origin, &second).unwrap();
        assert_eq!(copies.read("a").unwrap().unwrap().1, second);
        let old = copies.left_over(|_| true);
        assert_eq!(old.into_iter().map(|(_, list)| list.unwrap()).collect::<Vec<_>>(), [first]);
    }

    #[test]
    fn a_damaged_copy_is_not_believed() {
        let folder = tempfile::tempdir().unwrap();
        let copies = Copies::below(folder.path());
        let origin =
            Origin { name: "a".into(), form: String::new(), seen: Seen::default(), fetched: 0, targets: 2 };
        copies.write(&origin, &list(&["203.0.113.7", "203.0.113.9"])).unwrap();
        let path = folder.path().join("feeds/a.list");
        let whole = fs::read_to_string(&path).unwrap();
        for damaged in [
            "",
            "203.0.113.7\n",
            &whole[..whole.len() - 5],
            &whole[..whole.len() - 12],
            &[&whole, "x\n"].concat(),
        ] {
            fs::write(&path, damaged).unwrap();
            assert!(copies.read("a").is_err(), "{damaged}");
        }
    }
}
