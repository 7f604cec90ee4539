//! Services' own log files: found where filters say that they usually are, and looked for again while the daemon
//! runs, because services come later.

use std::collections::BTreeSet;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tracing::warn;

use crate::scan::overlap::MATCHING;
use crate::source::Stop;
use crate::time::Wall;

/// How often files are looked for.
const LOOK: Duration = Duration::from_secs(10);
/// Files that are read at most.
const MOST: usize = 1000;

/// What a look has found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Look {
    /// The files that are there.
    pub(super) paths: Vec<PathBuf>,
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
    let (first, mut since, mut full) = (Wall::now(), None, false);
    loop {
        let found: BTreeSet<PathBuf> =
            patterns.iter().flat_map(|pattern| files(pattern)).take(MOST).collect();
        if found.len() == MOST && !full {
            warn!(most = MOST, "there are more log files of services than guard reads");
        }
        full = found.len() == MOST;
        tell(Look { paths: found.into_iter().collect(), since })?;
        since = Some(first);
        if stop.wait(LOOK) {
            return Ok(());
        }
    }
}

/// The regular files that a shell pattern names. Links are left out, as everywhere: whoever may write to the folder
/// must not choose what is read.
fn files(pattern: &str) -> Vec<PathBuf> {
    let Ok(paths) = glob::glob_with(pattern, MATCHING) else { return Vec::new() };
    let regular = |path: &Path| std::fs::symlink_metadata(path).is_ok_and(|meta| meta.is_file());
    paths.flatten().filter(|path| regular(path)).collect()
}

#[cfg(test)]
mod tests {
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
        let stop = Stop::new().unwrap();
        stop.set();
        let mut told = Vec::new();
        look(&[pattern], &stop, |found| {
            told.push(found);
            Ok(())
        })
        .unwrap();
        assert_eq!(told, [Look { paths: vec![at("a.log")], since: None }]);
    }
}
