//! Services' own log files: found where filters say that they usually are, and looked for again while the daemon
//! runs, because services come later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use crate::scan::overlap::MATCHING;
use crate::source::Stop;
use crate::time::Wall;

/// How often files are looked for.
const LOOK: Duration = Duration::from_secs(10);
/// Files that are read at most.
pub(crate) const MOST: usize = 1000;

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The files that are there.
    pub(super) paths: Vec<PathBuf>,
    /// How many more there are than guard reads.
    pub(super) left_out: usize,
    /// When the first look began; `None` if this is the first one.
    pub(super) since: Option<Wall>,
}

/// Looks for files until it is told to stop, and tells each time which there are: one that was given up and has come
/// again is as new as any other. On a thread of its own: a folder may lie on a disk that does not answer.
pub(super) fn look(
    patterns: &[String],
    stop: &Stop,
    mut tell: impl FnMut(Look) -> Result<(), String>,
) -> Result<(), String> {
    let (first, mut since) = (Wall::now(), None);
    loop {
        let mut paths = find(patterns.iter().map(String::as_str));
        let left_out = paths.len().saturating_sub(MOST);
        paths.truncate(MOST);
        tell(Look { paths, left_out, since })?;
        since = Some(first);
        if stop.wait(LOOK) {
            return Ok(());
        }
    }
}

/// The regular files that shell patterns name, each once.
pub(crate) fn find<'a>(patterns: impl Iterator<Item = &'a str>) -> Vec<PathBuf> {
    let found: BTreeSet<PathBuf> = patterns.flat_map(files).collect();
    found.into_iter().collect()
}

/// The regular files that a shell pattern names. Links are left out, as everywhere: whoever may write to the folder
/// must not choose what is read. So are names that are not UTF-8, which no pattern matches.
fn files(pattern: &str) -> Vec<PathBuf> {
    let Ok(matching) = glob::Pattern::new(pattern) else { return Vec::new() };
    // The search panics at a name that is not UTF-8 where it is to leave hidden ones out (glob 0.3.4).
    let search = glob::MatchOptions { require_literal_leading_dot: false, ..MATCHING };
    let Ok(paths) = glob::glob_with(pattern, search) else { return Vec::new() };
    let regular = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    paths.flatten().filter(|path| matching.matches_path_with(path, MATCHING) && regular(path)).collect()
}

#[cfg(test)]
mod tests {
    use std::ffi::OsStr;
    use std::os::unix::ffi::OsStrExt as _;

    use super::*;

    #[test]
    fn files_that_come_later_are_told_and_links_never() {
        let folder = tempfile::tempdir().unwrap();
        let at = |name: &str| folder.path().join(name);
        std::fs::write(at("a.log"), "").unwrap();
        std::os::unix::fs::symlink(at("a.log"), at("link.log")).unwrap();
        std::fs::create_dir(at("folder.log")).unwrap();
        let pattern = at("*.log").to_string_lossy().into_owned();
        assert_eq!(files(&pattern), [at("a.log")]);
        assert_eq!(files("[").len(), 0);
        std::fs::write(at(".hidden.log"), "").unwrap();
        std::fs::write(folder.path().join(OsStr::from_bytes(b"\xff.log")), "").unwrap();
        assert_eq!(files(&pattern), [at("a.log")], "neither what is hidden nor what has no name to match");
        assert_eq!(look_once(&[pattern]), Look { paths: vec![at("a.log")], left_out: 0, since: None });
    }

    /// What the first look finds.
    fn look_once(patterns: &[String]) -> Look {
        let stop = Stop::new().unwrap();
        stop.set();
        let mut told = Vec::new();
        look(patterns, &stop, |found| {
            told.push(found);
            Ok(())
        })
        .unwrap();
        assert_eq!(told.len(), 1);
        told.remove(0)
    }

    #[test]
    fn what_several_filters_name_counts_once_and_what_is_too_much_is_counted() {
        let folder = tempfile::tempdir().unwrap();
        let pattern = folder.path().join("*.log").to_string_lossy().into_owned();
        for number in 0..MOST {
            std::fs::write(folder.path().join(format!("{number}.log")), "").unwrap();
        }
        let patterns = [pattern.clone(), pattern];
        let found = look_once(&patterns);
        assert_eq!((found.paths.len(), found.left_out), (MOST, 0));
        std::fs::write(folder.path().join("more.log"), "").unwrap();
        let found = look_once(&patterns);
        assert_eq!((found.paths.len(), found.left_out), (MOST, 1));
    }
}
