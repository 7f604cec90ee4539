//! Why durable state cannot be had, and what a supervisor can do about it.

use thiserror::Error;

/// Why the store could not be used.
#[derive(Clone, Debug, Error, PartialEq, Eq)]
pub enum StoreError {
    /// Another daemon owns this state.
    #[error("{path} is in use by another guard (pid {pid})")]
    Busy {
        /// The state's path.
        path: String,
        /// The owner, 0 if unknown.
        pid: u32,
    },
    /// The state was written by a newer guard.
    #[error(
        "{path} has schema {found}, this guard knows up to {known}: install the newer guard again, or move the file away"
    )]
    TooNew {
        /// The state's path.
        path: String,
        /// Schema found.
        found: u32,
        /// Newest schema known.
        known: u32,
    },
    /// No room is left.
    #[error("{operation} failed: no space is left for {path}")]
    Full {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
    },
    /// The state can be read at most.
    #[error("{operation} failed: {path} cannot be written ({reason})")]
    ReadOnly {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
        /// The cause.
        reason: String,
    },
    /// What is in the file makes no sense.
    #[error("{operation} failed: {path} is damaged ({reason})")]
    Damaged {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
        /// The cause.
        reason: String,
    },
    /// Disk or file cannot be used at present: another program holds it locked, or the disk does not answer.
    #[error("{operation} failed: {path} cannot be used at present ({reason})")]
    Unavailable {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
        /// The cause.
        reason: String,
    },
    /// The store does not work, or what it was given is not what it can keep.
    #[error("{operation} failed in {path}: {reason}")]
    Failed {
        /// What was tried.
        operation: &'static str,
        /// The state's path.
        path: String,
        /// The cause.
        reason: String,
    },
}

/// What can be done about a [`StoreError`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StoreErrorClass {
    /// It may pass by itself: keep what was to be written and try again.
    Transient,
    /// Someone has to make the place writable: keep trying, and tell.
    Permission,
    /// Trying again leads nowhere.
    Fatal,
}

impl StoreError {
    /// What can be done about it.
    pub const fn class(&self) -> StoreErrorClass {
        match self {
            Self::Full { .. } | Self::Unavailable { .. } | Self::Failed { .. } => StoreErrorClass::Transient,
            Self::ReadOnly { .. } => StoreErrorClass::Permission,
            Self::Busy { .. } | Self::TooNew { .. } | Self::Damaged { .. } => StoreErrorClass::Fatal,
        }
    }

    /// From a system error on a file or folder of the state.
    #[cfg(feature = "sqlite")]
    pub(super) fn from_io(operation: &'static str, path: &std::path::Path, error: &std::io::Error) -> Self {
        use std::io::ErrorKind;
        let path = path.display().to_string();
        match error.kind() {
            ErrorKind::StorageFull | ErrorKind::QuotaExceeded => Self::Full { operation, path },
            ErrorKind::ReadOnlyFilesystem | ErrorKind::PermissionDenied => {
                Self::ReadOnly { operation, path, reason: error.to_string() }
            }
            _ => Self::Unavailable { operation, path, reason: error.to_string() },
        }
    }
}
