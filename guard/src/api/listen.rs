//! The control socket's place in the file system.

use std::fs;
use std::io::{self, ErrorKind};
use std::os::unix::fs::{DirBuilderExt, FileTypeExt, MetadataExt, PermissionsExt, chown};
use std::os::unix::net::{UnixListener, UnixStream};
use std::path::{Path, PathBuf};

use thiserror::Error;

use super::peer;

/// Why the control socket cannot be opened.
#[derive(Debug, Error)]
pub enum ListenError {
    /// Another daemon serves it.
    #[error("{}: another daemon answers there", path.display())]
    InUse {
        /// The socket.
        path: PathBuf,
    },
    /// Something else is in its place.
    #[error("{}: {reason}", path.display())]
    Place {
        /// The socket, or its folder.
        path: PathBuf,
        /// What is wrong, with the way out.
        reason: String,
    },
    /// The system refused.
    #[error("{operation} {} failed", path.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// With what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
}

/// A bound control socket. Dropping it removes its file.
#[derive(Debug)]
pub struct Listener {
    pub(super) socket: UnixListener,
    pub(super) group: Option<u32>,
    not_given: Option<io::Error>,
    path: PathBuf,
    inode: u64,
}

impl Listener {
    /// Binds the socket: mode 0660 and the group if one is named, 0600 otherwise and where the system does not let this
    /// process give it to the group. A socket file that nobody listens on is replaced; the folder is made if it is missing
    /// and refused if others may write it.
    pub fn bind(path: &Path, group: Option<&str>) -> Result<Self, ListenError> {
        let failed = |operation| {
            let path = path.to_path_buf();
            move |source| ListenError::System { operation, path, source }
        };
        let group = group.map(peer::group_id).transpose().map_err(failed("finding the group of"))?;
        prepare_folder(path)?;
        clear_stale(path)?;
        let socket = UnixListener::bind(path).map_err(failed("binding"))?;
        socket.set_nonblocking(true).map_err(failed("opening"))?;
        let not_given = group.and_then(|group| chown(path, None, Some(group)).err());
        let group = group.filter(|_| not_given.is_none());
        // Who gets in before this is judged by its credentials like everyone.
        let mode = if group.is_some() { 0o660 } else { 0o600 };
        fs::set_permissions(path, fs::Permissions::from_mode(mode))
            .map_err(failed("changing the mode of"))?;
        let inode = fs::symlink_metadata(path).map_err(failed("looking at"))?.ino();
        Ok(Self { socket, group, not_given, path: path.into(), inode })
    }

    /// Why the group that was named cannot use it.
    pub fn not_given(&self) -> Option<&io::Error> {
        self.not_given.as_ref()
    }

    /// Where it is.
    pub fn path(&self) -> &Path {
        &self.path
    }
}

impl Drop for Listener {
    fn drop(&mut self) {
        // Only our own: a later daemon may have put its socket there.
        if fs::symlink_metadata(&self.path).is_ok_and(|meta| meta.ino() == self.inode) {
            let _ = fs::remove_file(&self.path);
        }
    }
}

fn prepare_folder(socket: &Path) -> Result<(), ListenError> {
    let folder = socket.parent().unwrap_or(Path::new("/"));
    let failed =
        |operation| move |source| ListenError::System { operation, path: folder.to_path_buf(), source };
    fs::DirBuilder::new().recursive(true).mode(0o755).create(folder).map_err(failed("making"))?;
    let meta = fs::metadata(folder).map_err(failed("looking at"))?;
    let ours = meta.uid() == 0 || meta.uid() == rustix::process::geteuid().as_raw();
    if ours && meta.mode() & 0o022 == 0 {
        return Ok(());
    }
    let shown = folder.display();
    Err(ListenError::Place {
        path: folder.into(),
        reason: format!(
            "others than root may write this folder (user {}, mode {:04o}); put it right with: chown root {shown} && chmod go-w {shown}",
            meta.uid(),
            meta.mode() & 0o7777,
        ),
    })
}

/// Removes a socket file that nobody listens on.
fn clear_stale(path: &Path) -> Result<(), ListenError> {
    match fs::symlink_metadata(path) {
        Err(_) => return Ok(()),
        Ok(meta) if meta.file_type().is_socket() => {}
        Ok(_) => {
            return Err(ListenError::Place {
                path: path.into(),
                reason: "something that is not a socket is in its place; move it away".into(),
            });
        }
    }
    let nobody = UnixStream::connect(path).is_err_and(|error| error.kind() == ErrorKind::ConnectionRefused);
    if !nobody {
        return Err(ListenError::InUse { path: path.into() });
    }
    match fs::remove_file(path) {
        Err(source) if source.kind() != ErrorKind::NotFound => {
            Err(ListenError::System { operation: "removing the old socket", path: path.into(), source })
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn mode(path: &Path) -> u32 {
        fs::metadata(path).unwrap().mode() & 0o777
    }

    #[test]
    fn without_a_group_the_socket_is_for_its_owner() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/guard.sock");
        let listener = Listener::bind(&path, None).unwrap();
        assert_eq!(mode(&path), 0o600);
        drop(listener);
        assert!(!path.exists());
    }

    #[test]
    fn a_group_may_use_the_socket() {
        if !rustix::process::geteuid().is_root() {
            return harness::skip("only root can give a file to another group");
        }
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("run/guard.sock");
        let _listener = Listener::bind(&path, Some("root")).unwrap();
        assert_eq!(mode(&path), 0o660);
        let error = Listener::bind(&path, Some("no-such-group")).unwrap_err();
        assert!(std::error::Error::source(&error).unwrap().to_string().contains("no group `no-such-group`"));
    }

    #[test]
    fn a_socket_that_may_not_be_given_to_its_group_stays_its_owner_s() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.sock");
        let bind = || {
            let listener = Listener::bind(&path, Some("daemon")).unwrap();
            (mode(&path), listener.not_given().map(io::Error::kind))
        };
        // Capabilities are a thread's own.
        let bound = std::thread::scope(|scope| {
            let thread = scope.spawn(|| {
                rustix::thread::set_capabilities(None, without_chown()).unwrap();
                bind()
            });
            thread.join().unwrap()
        });
        assert_eq!(bound, (0o600, Some(ErrorKind::PermissionDenied)));
    }

    fn without_chown() -> rustix::thread::CapabilitySets {
        let mut sets = rustix::thread::capabilities(None).unwrap();
        sets.effective.remove(rustix::thread::CapabilitySet::CHOWN);
        sets
    }

    #[test]
    fn a_stale_socket_is_replaced_and_a_live_one_is_not() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.sock");
        drop(UnixListener::bind(&path).unwrap());
        let first = Listener::bind(&path, None).unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(ListenError::InUse { .. })));
        drop(first);
    }

    #[test]
    fn other_things_in_its_place_are_kept() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("guard.sock");
        fs::write(&path, "mine").unwrap();
        assert!(matches!(Listener::bind(&path, None), Err(ListenError::Place { .. })));
        assert_eq!(fs::read_to_string(&path).unwrap(), "mine");
    }

    #[test]
    fn a_folder_that_others_may_write_is_refused() {
        let folder = tempfile::tempdir().unwrap();
        fs::set_permissions(folder.path(), fs::Permissions::from_mode(0o777)).unwrap();
        let error = Listener::bind(&folder.path().join("guard.sock"), None).unwrap_err();
        assert!(error.to_string().contains("chmod go-w"), "{error}");
    }
}
