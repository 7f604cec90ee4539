//! What can go wrong in guardctl, and the exit code scripts see.

use std::io;
use std::process::ExitCode;

use thiserror::Error;

use crate::api::client::ClientError;
use crate::api::{Answer, ErrorClass};
use crate::config::ConfigError;

/// Why a command was not done.
#[derive(Debug, Error)]
pub enum CliError {
    /// It was asked for in a wrong way (exit 2).
    #[error("{0}")]
    Usage(String),
    /// It did not work (exit 1).
    #[error("{0}")]
    Failed(String),
    /// The configuration is wrong (exit 2).
    #[error(transparent)]
    Config(#[from] ConfigError),
    /// The daemon cannot be asked (exit 3), or may not be (exit 1).
    #[error(transparent)]
    Client(#[from] ClientError),
    /// The output cannot be written. A reader that has gone is no error.
    #[error("the output cannot be written: {0}")]
    Output(#[from] io::Error),
}

impl CliError {
    /// The exit code: 1 failed, 2 wrong use, 3 daemon not reachable.
    pub fn exit(&self) -> ExitCode {
        ExitCode::from(match self {
            Self::Client(ClientError::NotReachable { .. }) => 3,
            Self::Usage(_) | Self::Config(_) => 2,
            Self::Output(error) if error.kind() == io::ErrorKind::BrokenPipe => 0,
            Self::Failed(_) | Self::Client(_) | Self::Output(_) => 1,
        })
    }
}

/// An answer that is none to the request: an error of the daemon, or another daemon's language.
pub(super) fn unexpected(answer: Answer) -> CliError {
    match answer {
        Answer::Error { class: ErrorClass::Usage, message } => CliError::Usage(message),
        Answer::Error { message, .. } => CliError::Failed(message),
        _ => CliError::Failed(
            "the daemon's answer does not fit the question; are daemon and guardctl of one version?".into(),
        ),
    }
}
