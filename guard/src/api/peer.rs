//! Who is at the other end of a unix socket, as the kernel has it.
#![allow(unsafe_code, reason = "SO_PEERGROUPS has no safe wrapper")]

use std::io;
use std::os::fd::{AsRawFd, BorrowedFd};

/// Whether the peer was in this group when it connected (`SO_PEERGROUPS`, socket(7)), besides its primary group.
pub(super) fn in_group(socket: BorrowedFd<'_>, group: u32) -> io::Result<bool> {
    // NGROUPS_MAX (include/uapi/linux/limits.h) would be 65,536; grown to what the kernel asks for.
    let mut groups: Vec<libc::gid_t> = vec![0; 64];
    loop {
        let mut length = size_of_val(groups.as_slice()) as libc::socklen_t;
        // SAFETY: `groups` is valid for writes of `length` bytes, `length` for reads and writes, and the
        // descriptor is open for as long as it is borrowed.
        let result = unsafe {
            libc::getsockopt(
                socket.as_raw_fd(),
                libc::SOL_SOCKET,
                libc::SO_PEERGROUPS,
                groups.as_mut_ptr().cast(),
                &raw mut length,
            )
        };
        let count = length as usize / size_of::<libc::gid_t>();
        if result == 0 {
            return Ok(groups[..count.min(groups.len())].contains(&group));
        }
        let error = io::Error::last_os_error();
        if error.raw_os_error() != Some(libc::ERANGE) || count <= groups.len() {
            return Err(error);
        }
        groups.resize(count, 0);
    }
}

/// The id of a group by its name, from the group database's file.
pub(super) fn group_id(name: &str) -> io::Result<u32> {
    find_group(&std::fs::read_to_string("/etc/group")?, name).ok_or_else(|| {
        io::Error::new(io::ErrorKind::NotFound, format!("there is no group `{name}` in /etc/group"))
    })
}

/// group(5): `name:password:id:members`.
fn find_group(text: &str, name: &str) -> Option<u32> {
    text.lines().find_map(|line| {
        let mut fields = line.split(':');
        (fields.next()? == name).then(|| fields.nth(1)?.parse().ok())?
    })
}

#[cfg(test)]
mod tests {
    use std::os::fd::AsFd;
    use std::os::unix::net::UnixStream;

    use super::*;

    #[test]
    fn groups_by_name() {
        let text = "root:x:0:\nadm:x:4:syslog,me\nbroken\nodd:x:many:\n";
        assert_eq!(find_group(text, "adm"), Some(4));
        assert_eq!(find_group(text, "odd"), None);
        assert_eq!(find_group(text, "broken"), None);
        assert_eq!(find_group(text, "none"), None);
    }

    #[test]
    fn a_peer_is_not_in_a_group_nobody_has() {
        let (one, _other) = UnixStream::pair().unwrap();
        assert!(!in_group(one.as_fd(), 3_999_999_999).unwrap());
    }
}
