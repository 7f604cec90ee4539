//! Which files make up the system journal.

use std::ffi::OsStr;
use std::fs::File;
use std::os::unix::ffi::OsStrExt;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};

use hashbrown::HashMap;

use super::format::Header;
use super::journal::{self, JournalError};

/// A journal file that may have something to read.
#[derive(Debug)]
pub(super) struct Candidate {
    pub(super) path: PathBuf,
    pub(super) file: File,
    /// Device and inode.
    pub(super) id: (u64, u64),
    pub(super) header: Header,
    /// Whether journald writes to it.
    pub(super) active: bool,
}

/// Files that need no second look as long as they are the same.
#[derive(Debug, Default)]
pub(super) struct Seen(HashMap<PathBuf, (u64, u64)>);

impl Seen {
    /// A file that nobody writes to any more. The one that is written to is never settled.
    pub(super) fn add(&mut self, path: PathBuf, id: (u64, u64)) {
        if path.file_name().is_some_and(|name| is_journal(name.as_bytes()) == Some(false)) {
            self.0.insert(path, id);
        }
    }
}

/// What machines are called (machine-id(5)).
const MACHINE_ID: &str = "/etc/machine-id";

/// This machine's id; `None` where it has none that can be read.
pub(super) fn machine_id() -> Option<Vec<u8>> {
    let text = std::fs::read(MACHINE_ID).ok()?;
    let id = text.trim_ascii_end();
    is_machine_id(id).then(|| id.to_vec())
}

/// The folders, and those in them that are named after the machine: with journals of other machines, like containers
/// that were started with theirs linked here, whoever is root there decides what stands in them. If the machine's
/// id is not known, every machine's folder counts. Namespaces (`ID.NAME`) and the journals of other hosts
/// (`remote`) are not this system's either.
pub(super) fn places(folders: &[PathBuf], machine: Option<&[u8]>) -> Vec<PathBuf> {
    let mut places = Vec::new();
    for folder in folders {
        places.push(folder.clone());
        let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
        let machines = entries.filter(|entry| {
            let name = entry.file_name();
            machine.map_or_else(|| is_machine_id(name.as_bytes()), |own| name.as_bytes() == own)
        });
        places.extend(machines.filter(|e| e.file_type().is_ok_and(|kind| kind.is_dir())).map(|e| e.path()));
    }
    places
}

/// Why there is no journal to read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum NoJournal {
    /// There is no file of one.
    #[error("there is no journal")]
    Absent,
    /// What is there was written before this boot, as where journald keeps nothing (`Storage=none`) or in an image.
    #[error("the journal {} has no entries since this machine started", path.display())]
    Stale {
        /// A file of it.
        path: PathBuf,
    },
    /// Nothing can be read of what is there.
    #[error("the journal {} cannot be read: {cause}", path.display())]
    Unreadable {
        /// A file of it.
        path: PathBuf,
        /// Why not.
        cause: JournalError,
    },
}

/// A file of this machine's journal in one of these folders, or in the machine's folder in it, that was written to since
/// `boot`.
pub(super) fn live(folders: &[PathBuf], boot: Option<u128>) -> Result<PathBuf, NoJournal> {
    let places = places(folders, machine_id().as_deref());
    let (found, troubles) = candidates(&places, &mut Seen::default());
    let (live, stale): (Vec<_>, Vec<_>) =
        found.into_iter().partition(|candidate| Some(candidate.header.tail_boot) == boot);
    if let Some(Candidate { path, .. }) = live.into_iter().max_by_key(|candidate| candidate.active) {
        return Ok(path);
    }
    if let Some((path, _, cause)) = troubles.into_iter().next() {
        return Err(NoJournal::Unreadable { path, cause });
    }
    let stale = stale.into_iter().max_by_key(|candidate| candidate.header.tail_realtime);
    Err(stale.map_or(NoJournal::Absent, |Candidate { path, .. }| NoJournal::Stale { path }))
}

/// The id of this boot, as the kernel gives it (random(4)).
pub(super) fn this_boot() -> Option<u128> {
    let text = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    u128::from_str_radix(&text.trim_ascii_end().replace('-', ""), 16).ok()
}

/// Whether a change of this name may mean a new journal file.
pub(super) fn concerns(name: &OsStr) -> bool {
    is_journal(name.as_bytes()).is_some() || is_machine_id(name.as_bytes())
}

/// Opens every journal file in these folders that is not settled in `seen`. Also answers what cannot be read.
pub(super) fn candidates(
    places: &[PathBuf],
    seen: &mut Seen,
) -> (Vec<Candidate>, Vec<(PathBuf, bool, JournalError)>) {
    let (mut found, mut troubles, mut present) = (Vec::new(), Vec::new(), HashMap::new());
    for place in places {
        for entry in std::fs::read_dir(place).into_iter().flatten().flatten() {
            let Some(active) = is_journal(entry.file_name().as_bytes()) else { continue };
            let path = entry.path();
            let Ok(meta) = entry.metadata() else { continue };
            let id = (meta.dev(), meta.ino());
            if seen.0.get(&path) == Some(&id) {
                present.insert(path, id);
                continue;
            }
            match open(&path) {
                Ok((file, id, header)) => found.push(Candidate { path, file, id, header, active }),
                // Vacuumed, or renamed and found by its new name.
                Err(JournalError::Io(e)) if e.kind() == std::io::ErrorKind::NotFound => {}
                Err(e) => {
                    if !active {
                        present.insert(path.clone(), id);
                    }
                    troubles.push((path, active, e));
                }
            }
        }
    }
    seen.0 = present;
    (found, troubles)
}

/// Whether a file has another name by now, or none: rotation renames it after its last entry, and vacuum deletes it. A
/// system that cannot tell says nothing of the file.
pub(super) fn is_put_away(path: &Path, id: (u64, u64)) -> bool {
    match std::fs::symlink_metadata(path) {
        Ok(meta) => (meta.dev(), meta.ino()) != id,
        Err(error) => error.kind() == std::io::ErrorKind::NotFound,
    }
}

fn open(path: &Path) -> Result<(File, (u64, u64), Header), JournalError> {
    let file = crate::source::open::open(path)?;
    let meta = file.metadata()?;
    if !meta.is_file() {
        return Err(JournalError::Io(std::io::ErrorKind::InvalidInput.into()));
    }
    let header = journal::header(&file)?;
    Ok((file, (meta.dev(), meta.ino()), header))
}

/// Whether this is a system journal, and then whether it is the one that is written to.
fn is_journal(name: &[u8]) -> Option<bool> {
    if name == b"system.journal" {
        return Some(true);
    }
    let archived =
        name.starts_with(b"system@") && (name.ends_with(b".journal") || name.ends_with(b".journal~"));
    archived.then_some(false)
}

/// Series and number of the first entry of a file that journald has put away, which are in its name
/// (`system@SERIES-NUMBER-TIME.journal`).
pub(super) fn put_away(name: &OsStr) -> Option<(u128, u64)> {
    let name = std::str::from_utf8(name.as_bytes()).ok()?;
    let mut parts = name.strip_prefix("system@")?.strip_suffix(".journal")?.split('-');
    let series = u128::from_str_radix(parts.next()?, 16).ok()?;
    let first = u64::from_str_radix(parts.next()?, 16).ok()?;
    parts.next().is_some().then_some((series, first))
}

fn is_machine_id(name: &[u8]) -> bool {
    name.len() == 32 && name.iter().all(u8::is_ascii_hexdigit)
}

/// A journal file without entries, but for whoever wrote to it last, in this boot.
#[cfg(test)]
pub(crate) fn header_of(boot: u128) -> Vec<u8> {
    let mut bytes = vec![0; super::format::HEADER];
    bytes[..8].copy_from_slice(super::format::MAGIC);
    bytes[56..72].copy_from_slice(&boot.to_be_bytes());
    bytes[88..96].copy_from_slice(&(super::format::HEADER as u64).to_le_bytes());
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_says_where_a_file_begins() {
        let name = "system@00d1dc4b4e3d45d6a3e2d4d1b6e3f001-00000000000002a7-00064a3e5d1c2b3a.journal";
        let series = 0x00d1_dc4b_4e3d_45d6_a3e2_d4d1_b6e3_f001;
        assert_eq!(put_away(OsStr::new(name)), Some((series, 0x2a7)));
        for other in
            ["system.journal", "system@0123-45.journal~", "user-1000@1-2-3.journal", "system@x-1-2.journal"]
        {
            assert_eq!(put_away(OsStr::new(other)), None, "{other}");
        }
    }

    #[test]
    fn the_file_that_is_written_to_is_never_settled() {
        let mut seen = Seen::default();
        seen.add("/j/system.journal".into(), (1, 2));
        seen.add("/j/system@1-2-3.journal".into(), (1, 3));
        assert_eq!(seen.0.len(), 1);
    }

    #[test]
    fn a_file_is_put_away_when_its_name_is_another_s_or_nobody_s() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("system.journal");
        std::fs::write(&path, "").unwrap();
        let meta = path.metadata().unwrap();
        let id = (meta.dev(), meta.ino());
        assert!(!is_put_away(&path, id));
        assert!(is_put_away(&path, (id.0, id.1 + 1)));
        assert!(is_put_away(&dir.path().join("other"), id));
        // No folder can be looked at below a file: that says nothing of the one below it.
        assert!(!is_put_away(&path.join("system.journal"), id));
    }

    #[test]
    fn another_machine_s_folder_is_not_read() {
        let folder = tempfile::tempdir().unwrap();
        let (own, other) = ("0123456789abcdef0123456789abcdef", "fedcba9876543210fedcba9876543210");
        for name in [own, other, "remote", "0123456789abcdef0123456789abcdef.web"] {
            std::fs::create_dir(folder.path().join(name)).unwrap();
        }
        let root = folder.path().to_owned();
        let found = |machine| places(std::slice::from_ref(&root), machine);
        assert_eq!(found(Some(own.as_bytes())), [root.clone(), root.join(own)]);
        let mut all = found(None);
        all.sort();
        assert_eq!(all, [root.clone(), root.join(own), root.join(other)], "it is not known whose they are");
        assert_eq!(places(&[root.join(other)], Some(own.as_bytes())), [root.join(other)], "it was named");
    }

    #[test]
    fn a_journal_is_live_if_it_was_written_to_since_boot() {
        let folder = tempfile::tempdir().unwrap();
        let folders = [folder.path().to_owned()];
        let at = |name: &str| folder.path().join(name);
        let written_in = |name: &str, boot| std::fs::write(at(name), header_of(boot)).unwrap();
        let boot = this_boot().unwrap();
        assert!(matches!(live(&folders, Some(boot)), Err(NoJournal::Absent)));
        std::fs::write(at("system.journal"), "").unwrap();
        assert!(matches!(live(&folders, Some(boot)), Err(NoJournal::Unreadable { .. })));
        written_in("system.journal", boot ^ 1);
        let stale = live(&folders, Some(boot)).unwrap_err();
        assert!(matches!(&stale, NoJournal::Stale { path } if *path == at("system.journal")), "{stale}");
        // Put away since, and the one in use has nothing yet.
        written_in("system@00-1-2.journal", boot);
        assert_eq!(live(&folders, Some(boot)).unwrap(), at("system@00-1-2.journal"));
        written_in("system.journal", boot);
        assert_eq!(live(&folders, Some(boot)).unwrap(), at("system.journal"));
        assert!(live(&folders, None).is_err(), "it is not known which boot this is");
    }

    #[test]
    fn only_system_journals_count() {
        assert_eq!(is_journal(b"system.journal"), Some(true));
        assert_eq!(is_journal(b"system@0123-45-67.journal"), Some(false));
        assert_eq!(is_journal(b"system@0123-45.journal~"), Some(false));
        for other in [&b"user-1000.journal"[..], b"user-1000@1.journal", b"system.journal.tmp", b"x.journal"]
        {
            assert_eq!(is_journal(other), None);
        }
        assert!(is_machine_id(b"3d1219c7c4c5404aaa1f6d2a48adfda4"));
        assert!(!is_machine_id(b"3d1219c7c4c5404aaa1f6d2a48adfda4.ns"));
    }
}
