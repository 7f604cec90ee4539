//! Why the daemon did not start.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

use crate::api::server::ListenError;
use crate::config::ConfigError;
use crate::enforce::EnforceError;
use crate::rules::RuleErrors;
use crate::scan::FilterError;
use crate::store::StoreError;

/// Why the daemon did not start. Nothing was changed.
#[derive(Debug, Error)]
pub enum StartError {
    /// The configuration is wrong.
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// A filter is wrong.
    #[error(transparent)]
    Filter(#[from] FilterError),
    /// Rules are wrong.
    #[error(transparent)]
    Rules(#[from] RuleErrors),
    /// Not root.
    #[error(
        "guard has to run as root, because it reads protected logs and changes the packet filter.\n\
         Start it with sudo, or as the systemd service. `guard --observe` as a member of `adm` decides and records only."
    )]
    NotRoot,
    /// A folder, socket or thread could not be made.
    #[error("cannot {operation} {path}", path = path.display())]
    System {
        /// What was tried.
        operation: &'static str,
        /// On what.
        path: PathBuf,
        /// The system's answer.
        source: io::Error,
    },
    /// The store cannot be used, or another daemon uses it.
    #[error(transparent)]
    Store(#[from] StoreError),
    /// The backend that the configuration asks for cannot be used.
    #[error("no enforcement")]
    Enforce(#[from] EnforceError),
    /// The control socket cannot listen.
    #[error(transparent)]
    Socket(#[from] ListenError),
}

impl StartError {
    /// The exit code: 2 for what a person wrote wrong, 1 for what did not work.
    pub fn exit_code(&self) -> u8 {
        match self {
            Self::Config(_) | Self::Filter(_) | Self::Rules(_) => 2,
            _ => 1,
        }
    }
}
