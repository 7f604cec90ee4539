//! The kernel's file systems that guard needs.

use std::path::Path;
use std::process::Command;

use anyhow::Result;

use crate::process;

/// Type and place of each.
const NEEDED: [(&str, &str); 2] = [("bpf", "/sys/fs/bpf"), ("tracefs", "/sys/kernel/tracing")];

/// Mounts what is not mounted yet. Without root nothing is done: the daemon names what it lacks.
pub fn ensure() -> Result<()> {
    if !process::is_root() {
        return Ok(());
    }
    let mounts = std::fs::read_to_string("/proc/self/mounts")?;
    for (kind, place) in NEEDED {
        if !is_mounted(&mounts, kind, place) && Path::new(place).is_dir() {
            process::run(Command::new("mount").args(["-t", kind, kind, place]))?;
        }
    }
    Ok(())
}

fn is_mounted(mounts: &str, kind: &str, place: &str) -> bool {
    mounts.lines().any(|line| {
        let mut fields = line.split(' ').skip(1);
        fields.next() == Some(place) && fields.next() == Some(kind)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mount_is_found_by_place_and_type() {
        let mounts = "sysfs /sys sysfs rw 0 0\nnone /sys/fs/bpf bpf rw,nosuid 0 0\n";
        assert!(is_mounted(mounts, "bpf", "/sys/fs/bpf"));
        assert!(!is_mounted(mounts, "tracefs", "/sys/kernel/tracing"));
        assert!(!is_mounted(mounts, "bpf", "/sys"));
    }
}
