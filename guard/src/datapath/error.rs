//! Why the kernel side could not be set up, changed or read.

use std::io;
use std::path::PathBuf;

use thiserror::Error;

/// What a process needs to use the kernel side.
const CAPABILITIES: &str = "run as root, or with CAP_BPF, CAP_NET_ADMIN, CAP_PERFMON and CAP_SYS_ADMIN";

/// Characters of the loader's words that are kept: the verifier tells the whole program.
const VERIFIER_WORDS: usize = 1000;

/// Why the kernel side could not be set up, changed or read.
#[derive(Debug, Error)]
pub enum DatapathError {
    /// The system refused.
    #[error("{operation} failed")]
    System {
        /// What was tried, with the object's name.
        operation: String,
        /// The system's answer.
        source: io::Error,
    },
    /// The process may not do this.
    #[error("{operation} is not permitted: {hint}")]
    Permission {
        /// What was tried.
        operation: String,
        /// The way out.
        hint: String,
    },
    /// This build carries no eBPF object.
    #[error("this build carries no eBPF object: run `cargo xtask build-ebpf`, then build again")]
    NoObject,
    /// The object could not be loaded.
    #[error("the eBPF program cannot be loaded: {reason}")]
    Load {
        /// The loader's or the verifier's words.
        reason: String,
    },
    /// Pins of another layout are in use.
    #[error(
        "{path} holds pins of another version (this one is ABI {abi}): run `guardctl unlock` with that version's \
         guardctl or remove the folder, then start again",
        path = .path.display(),
        abi = guard_common::ABI
    )]
    OtherAbi {
        /// The folder of the other version.
        path: PathBuf,
    },
    /// A pinned map is not what its name says.
    #[error("the pinned map {path} has another layout: run `guardctl unlock`, then start again", path = .path.display())]
    Layout {
        /// The pin.
        path: PathBuf,
    },
    /// A map cannot take more entries.
    #[error("map {map} is full")]
    Full {
        /// Its name.
        map: String,
    },
}

impl DatapathError {
    /// Turns a system error into one that names what was tried; a lack of privilege comes with the way out.
    pub(crate) fn system(operation: impl Into<String>) -> impl FnOnce(io::Error) -> Self {
        let operation = operation.into();
        move |source| match source.kind() {
            io::ErrorKind::PermissionDenied => Self::Permission { operation, hint: CAPABILITIES.into() },
            _ => Self::System { operation, source },
        }
    }

    /// A loader's error with all its causes.
    pub(crate) fn load(error: &dyn std::error::Error) -> Self {
        let mut reason = crate::causes::chain(error);
        if reason.chars().count() > VERIFIER_WORDS {
            // What was tried is told first, the verifier's reason last.
            let head: String = reason.chars().take(VERIFIER_WORDS / 4).collect();
            let tail = reason.chars().count() - VERIFIER_WORDS * 3 / 4;
            reason = format!("{head} … {}", reason.chars().skip(tail).collect::<String>());
        }
        Self::Load { reason }
    }
}
