//! Opening what others write to.

use std::fs::{File, OpenOptions};
use std::io;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

/// Opens a file for reading. Never follows a symbolic link in the last component, so that nobody who may write to the
/// folder can choose what is read, and never blocks on what is not a file.
///
/// Reading would write the time of access after each line, and wait for the disk with it. Only the owner of a file may
/// ask that it is left alone (`O_NOATIME`, open(2)); where another owns it, it is not.
pub(super) fn open(path: &Path) -> io::Result<File> {
    let flags = libc::O_NOFOLLOW | libc::O_NONBLOCK | libc::O_CLOEXEC | libc::O_NOCTTY;
    let open = |more| OpenOptions::new().read(true).custom_flags(flags | more).open(path);
    match open(libc::O_NOATIME) {
        Err(error) if error.raw_os_error() == Some(libc::EPERM) => open(0),
        opened => opened,
    }
}

#[cfg(test)]
mod tests {
    use std::io::Read;
    use std::os::unix::fs::MetadataExt;

    use super::*;

    #[test]
    fn reading_leaves_the_time_of_access_alone() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("log");
        std::fs::write(&path, "line\n").unwrap();
        let file = File::options().write(true).open(&path).unwrap();
        // Earlier than the last write: then any other read would set it.
        let long_ago = std::time::SystemTime::UNIX_EPOCH + std::time::Duration::from_secs(1_000_000_000);
        file.set_times(std::fs::FileTimes::new().set_accessed(long_ago)).unwrap();
        let mut text = String::new();
        open(&path).unwrap().read_to_string(&mut text).unwrap();
        assert_eq!((&text[..], path.metadata().unwrap().atime()), ("line\n", 1_000_000_000));
    }
}
