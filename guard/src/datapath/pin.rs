//! Where the kernel side is pinned, so that it outlives the daemon.
//!
//! `<bpffs>/v<ABI>/maps/<name>` and `<bpffs>/v<ABI>/links/<ifindex>`. bpffs takes no dot in a name, which interface
//! names may have; so links go by index. A link holds its program, a program its maps.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::fd::{AsFd, BorrowedFd};
use std::os::unix::fs::{DirBuilderExt, MetadataExt};
use std::path::{Path, PathBuf};

use guard_common::ABI;

use super::error::DatapathError;
use super::sys;

/// Suffix of a map that is being filled to take the place of another.
const GROWN: &str = "_grown";

/// What one may do about a folder that the daemon cannot make again: its unit lets it write into this folder alone, not
/// beside it.
const UNPINNABLE: &str = "its folder is gone and guard may not make it here. Bans are enforced as long as this daemon \
                          runs; restart it when packets may pass for a moment, and they outlive it again";

/// The pins of this version's layout.
#[derive(Clone, Debug)]
pub struct Pins {
    root: PathBuf,
    folder: PathBuf,
}

/// Refuses a folder that somebody else made or may write to: a bpffs is often world-writable at its root.
fn check_owner(folder: &Path) -> Result<(), DatapathError> {
    let system = || DatapathError::system(format!("looking at {}", folder.display()));
    let found = fs::symlink_metadata(folder).map_err(system())?;
    let ours = found.uid() == rustix::process::geteuid().as_raw();
    if found.is_dir() && ours && found.mode() & 0o022 == 0 {
        return Ok(());
    }
    Err(DatapathError::Permission {
        operation: format!("trusting the pins in {}", folder.display()),
        hint: format!(
            "it belongs to another user or others may write to it; look at it, then: rm -r {}",
            folder.display()
        ),
    })
}

impl Pins {
    /// Makes the folders. Refuses where another version's links are in place: two programs would not fit one hook.
    pub fn open(bpffs: &Path) -> Result<Self, DatapathError> {
        let pins = Self { root: bpffs.to_owned(), folder: bpffs.join(format!("v{ABI}")) };
        if let Some(path) = pins.other_versions()?.into_iter().next() {
            return Err(DatapathError::OtherAbi { path });
        }
        for folder in [pins.maps(), pins.links()] {
            fs::DirBuilder::new()
                .recursive(true)
                .mode(0o700)
                .create(&folder)
                .map_err(DatapathError::system(format!("creating {}", folder.display())))?;
        }
        for folder in [&pins.root, &pins.folder] {
            check_owner(folder)?;
        }
        pins.forget_grown()?;
        Ok(pins)
    }

    /// The pin of a map.
    pub fn map(&self, name: &str) -> PathBuf {
        self.maps().join(name)
    }

    /// The pin of the larger map that is to take a map's place.
    pub fn grown(&self, name: &str) -> PathBuf {
        self.maps().join(format!("{name}{GROWN}"))
    }

    /// The pin of an interface's link.
    pub fn link(&self, ifindex: u32) -> PathBuf {
        self.links().join(ifindex.to_string())
    }

    /// The pinned links with the index of their interface.
    pub fn all_links(&self) -> Result<Vec<(u32, PathBuf)>, DatapathError> {
        let links = entries(&self.links())?;
        Ok(links
            .into_iter()
            .filter_map(|path| Some((path.file_name()?.to_str()?.parse().ok()?, path)))
            .collect())
    }

    /// Puts a larger map in the place of the smaller one, in one step.
    pub(super) fn replace_by_grown(&self, name: &str) -> Result<(), DatapathError> {
        fs::rename(self.grown(name), self.map(name))
            .map_err(DatapathError::system(format!("replacing the pin of map {name}")))
    }

    /// Pins an object where its pin is missing; whether it was.
    pub(super) fn ensure(path: &Path, fd: BorrowedFd<'_>) -> Result<bool, DatapathError> {
        if path.exists() {
            return Ok(false);
        }
        let operation = format!("pinning {}", path.display());
        let made = path
            .parent()
            .map_or(Ok(()), |folder| fs::DirBuilder::new().recursive(true).mode(0o700).create(folder));
        match made.and_then(|()| sys::pin(fd, path)) {
            Ok(()) => Ok(true),
            Err(error) if error.kind() == ErrorKind::ReadOnlyFilesystem => {
                Err(DatapathError::Permission { operation, hint: UNPINNABLE.into() })
            }
            Err(error) => Err(DatapathError::system(operation)(error)),
        }
    }

    /// Removes a pin; one that is not there is as good.
    pub(super) fn unpin(path: &Path) -> Result<(), DatapathError> {
        match fs::remove_file(path) {
            Err(error) if error.kind() != ErrorKind::NotFound => {
                Err(DatapathError::system(format!("removing the pin {}", path.display()))(error))
            }
            _ => Ok(()),
        }
    }

    /// Removes larger maps that a killed daemon left half filled.
    pub(super) fn forget_grown(&self) -> Result<(), DatapathError> {
        let is_grown = |path: &PathBuf| path.to_string_lossy().ends_with(GROWN);
        entries(&self.maps())?.iter().filter(|path| is_grown(path)).try_for_each(|path| Self::unpin(path))
    }

    /// Folders of other versions that hold links.
    fn other_versions(&self) -> Result<Vec<PathBuf>, DatapathError> {
        let mut found = Vec::new();
        for path in entries(&self.root)? {
            if path != self.folder && is_version(&path) && !entries(&path.join("links"))?.is_empty() {
                found.push(path);
            }
        }
        Ok(found)
    }

    fn maps(&self) -> PathBuf {
        self.folder.join("maps")
    }

    fn links(&self) -> PathBuf {
        self.folder.join("links")
    }
}

/// What a look at everything came to: how many things were put right, and the first that could not be. One that cannot
/// be keeps no other from being put right.
#[derive(Debug, Default)]
pub(super) struct Repair {
    done: u64,
    failed: Option<DatapathError>,
}

impl Repair {
    /// Adds a look at one thing: whether it had to be put right, or why it could not be.
    pub(super) fn add(&mut self, looked: Result<bool, DatapathError>) {
        match looked {
            Ok(was_wrong) => self.done += u64::from(was_wrong),
            Err(error) => {
                self.failed.get_or_insert(error);
            }
        }
    }

    /// How many things were put right, if each that was wrong was.
    pub(super) fn outcome(self) -> Result<u64, DatapathError> {
        self.failed.map_or(Ok(self.done), Err)
    }
}

/// Takes everything of guard under `bpffs` out of the kernel, of every version: links first, so that no packet meets
/// an emptied map. Needs no daemon. How many interfaces were let go.
pub fn remove_all(bpffs: &Path) -> Result<usize, DatapathError> {
    let mut released = 0;
    for version in entries(bpffs)?.into_iter().filter(|path| is_version(path)) {
        for link in entries(&version.join("links"))? {
            release(&link)?;
            released += 1;
        }
        for map in entries(&version.join("maps"))? {
            Pins::unpin(&map)?;
        }
        for folder in [version.join("links"), version.join("maps"), version] {
            remove_folder(&folder)?;
        }
    }
    remove_folder(bpffs)?;
    Ok(released)
}

/// Detaches a pinned link, then removes its pin.
pub(super) fn release(path: &Path) -> Result<(), DatapathError> {
    match sys::open_pinned(path) {
        Ok(link) => match sys::link_detach(link.as_fd()) {
            // Its interface is gone already.
            Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
            answer => {
                answer.map_err(DatapathError::system(format!("detaching the link {}", path.display())))?;
            }
        },
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        Err(error) => return Err(DatapathError::system(format!("opening {}", path.display()))(error)),
    }
    Pins::unpin(path)
}

/// Removes a folder, unless it is gone, holds something of others, or is where the file system is mounted. The folder
/// above it may be read-only to the daemon's unit: an empty folder does no harm.
fn remove_folder(folder: &Path) -> Result<(), DatapathError> {
    match fs::remove_dir(folder) {
        Err(error)
            if !matches!(
                error.kind(),
                ErrorKind::NotFound
                    | ErrorKind::DirectoryNotEmpty
                    | ErrorKind::ResourceBusy
                    | ErrorKind::ReadOnlyFilesystem
            ) =>
        {
            Err(DatapathError::system(format!("removing {}", folder.display()))(error))
        }
        _ => Ok(()),
    }
}

fn is_version(path: &Path) -> bool {
    let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
    name.strip_prefix('v').is_some_and(|number| number.parse::<u32>().is_ok())
}

/// What a folder holds; nothing if there is no folder.
fn entries(folder: &Path) -> Result<Vec<PathBuf>, DatapathError> {
    let read = || -> io::Result<Vec<PathBuf>> {
        fs::read_dir(folder)?.map(|entry| entry.map(|entry| entry.path())).collect()
    };
    match read() {
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(Vec::new()),
        answer => answer.map_err(DatapathError::system(format!("reading {}", folder.display()))),
    }
}
