//! What this machine offers to the kernel side. Found out by trying, never by comparing versions.

use std::fs::{self, File};
use std::path::{Path, PathBuf};

use rustix::fs::{FlockOperation, flock, statfs};
use rustix::mount::{MountFlags, mount};

use super::error::DatapathError;
use super::{object, sys};

/// `BPF_FS_MAGIC` in `include/uapi/linux/magic.h`.
const BPF_FS: i64 = 0xcafe_4a11;
/// Where bpffs is mounted by convention.
const USUAL_MOUNT: &str = "/sys/fs/bpf";

/// What this machine offers, for `doctor` and status.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Features {
    /// Whether this build carries the eBPF object.
    pub object: bool,
    /// Whether the process may create maps; else why not.
    pub permission: Result<(), String>,
    /// Whether the folder for the pins lies on bpffs; else why not.
    pub bpffs: Result<(), String>,
    /// Whether the kernel describes its types (`/sys/kernel/btf/vmlinux`). The packet program does without.
    pub btf: bool,
}

/// Finds out what there is, changing nothing.
pub fn probe(bpffs: &Path) -> Features {
    Features {
        object: object::bytes().is_some(),
        permission: permission().map_err(|error| error.to_string()),
        bpffs: if is_on_bpffs(bpffs) {
            Ok(())
        } else {
            Err(format!(
                "{} is not on a bpf file system: mount -t bpf bpf {}",
                bpffs.display(),
                mount_point(bpffs).display()
            ))
        },
        btf: Path::new("/sys/kernel/btf/vmlinux").exists(),
    }
}

/// Whether the process may use bpf(2).
pub(super) fn permission() -> Result<(), DatapathError> {
    sys::probe_map().map_err(DatapathError::system("creating a bpf map"))
}

/// Mounts bpffs where the pins are to be, if it is not there yet.
pub(super) fn ensure_bpffs(folder: &Path) -> Result<(), DatapathError> {
    if is_on_bpffs(folder) {
        return Ok(());
    }
    let point = mount_point(folder);
    let system = || DatapathError::system(format!("mounting bpffs on {}", point.display()));
    if !point.starts_with("/sys") {
        fs::create_dir_all(&point).map_err(system())?;
    }
    // Two that mount at once would hide each other's pins: the second one waits and finds it done.
    let lock = File::open(&point).map_err(system())?;
    flock(&lock, FlockOperation::LockExclusive).map_err(|error| system()(error.into()))?;
    if is_on_bpffs(folder) {
        return Ok(());
    }
    let flags = MountFlags::NOSUID | MountFlags::NODEV | MountFlags::NOEXEC;
    mount("bpf", &point, "bpf", flags, Some(c"mode=0700")).map_err(|error| system()(error.into()))
}

/// Whether a folder, or the nearest one above it that exists, lies on bpffs.
fn is_on_bpffs(folder: &Path) -> bool {
    let existing = folder.ancestors().find(|folder| folder.exists()).unwrap_or(Path::new("/"));
    #[expect(clippy::unnecessary_cast, reason = "the type differs between architectures")]
    statfs(existing).is_ok_and(|info| info.f_type as i64 & 0xffff_ffff == BPF_FS)
}

/// Where bpffs must be mounted for a folder: by convention, or the folder itself where it lies elsewhere.
fn mount_point(folder: &Path) -> PathBuf {
    if folder.starts_with(USUAL_MOUNT) { USUAL_MOUNT.into() } else { folder.into() }
}
