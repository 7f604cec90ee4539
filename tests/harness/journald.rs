//! A real systemd-journald outside systemd.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Stdio;
use std::time::Duration;

use crate::process::{appears, find};
use crate::room::{LOG_SOCKET, MACHINE_ID, Room};
use crate::{Background, poll_until};

/// journald, keeping its files below the room's /run/log/journal.
#[derive(Debug)]
pub struct Journald {
    folder: PathBuf,
    _daemon: Background,
}

impl Journald {
    /// Whether the machine has the program.
    pub fn is_installed() -> bool {
        find("systemd-journald").is_some()
    }

    /// Starts it in a room and waits until it listens.
    pub(crate) fn start(room: &Room) -> Self {
        let configuration = room.run_folder().join("systemd/journald.conf.d");
        fs::create_dir_all(&configuration).expect("the folder is ours");
        fs::write(
            configuration.join("test.conf"),
            "[Journal]\nStorage=volatile\nForwardToSyslog=no\nForwardToWall=no\nReadKMsg=no\nAudit=no\n\
             RateLimitIntervalSec=0\n",
        )
        .expect("the folder is ours");
        let program = find("systemd-journald").expect("systemd-journald is installed");
        let daemon = Background::start(room.command(&program).stdout(Stdio::null()).stderr(Stdio::null()));
        let socket = room.run_folder().join(LOG_SOCKET);
        poll_until(Duration::from_secs(10), "journald listens", || appears(&socket));
        Self { folder: room.run_folder().join("log/journal").join(MACHINE_ID), _daemon: daemon }
    }

    /// The folder of the room's machine, for the daemon's `journal-paths`.
    pub fn folder(&self) -> &Path {
        &self.folder
    }
}
