//! A disk of its own for a folder.

use std::fs::{self, File};
use std::io::{ErrorKind, Write as _};
use std::path::{Path, PathBuf};
use std::process::Command;

use crate::run;

/// A file system in memory, mounted on a folder. It ends with this value, whoever still uses it.
#[derive(Debug)]
pub struct SmallDisk(PathBuf);

impl SmallDisk {
    /// Mounts one of this many bytes. What the folder held is hidden meanwhile.
    #[track_caller]
    pub fn mount(folder: &Path, bytes: u32) -> Self {
        let options = format!("size={bytes},mode=0700");
        run(Command::new("mount").args(["-t", "tmpfs", "-o", &options, "tmpfs"]).arg(folder));
        Self(folder.to_owned())
    }

    /// Fills it to the last byte.
    #[track_caller]
    pub fn fill(&self) {
        let mut file = File::create(self.filler()).expect("the folder is ours");
        for chunk in [4096, 1] {
            loop {
                match file.write_all(&vec![0; chunk]) {
                    Ok(()) => {}
                    Err(error) if error.kind() == ErrorKind::StorageFull => break,
                    Err(error) => panic!("{error}"),
                }
            }
        }
    }

    /// Gives back what [`Self::fill`] took.
    #[track_caller]
    pub fn free(&self) {
        fs::remove_file(self.filler()).expect("it was filled");
    }

    /// Allows or forbids writing. Nobody may have a file open for that.
    #[track_caller]
    pub fn set_read_only(&self, read_only: bool) {
        let options = if read_only { "remount,ro" } else { "remount,rw" };
        run(Command::new("mount").args(["-o", options]).arg(&self.0));
    }

    fn filler(&self) -> PathBuf {
        self.0.join("filler")
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(&self.0).status();
    }
}
