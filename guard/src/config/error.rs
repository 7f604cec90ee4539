//! What is wrong with a configuration: where, which key, and the way out.

use std::fmt;
use std::path::PathBuf;

use thiserror::Error;

/// Why there is no configuration.
#[derive(Debug, Error)]
pub enum ConfigError {
    /// There is no such file.
    #[error("{}: no such file; name another with --config, or copy the shipped guard.toml there", path.display())]
    Missing {
        /// The file asked for.
        path: PathBuf,
    },
    /// The file cannot be read.
    #[error("{}: cannot be read: {reason}", path.display())]
    Unreadable {
        /// The file asked for.
        path: PathBuf,
        /// Why.
        reason: String,
    },
    /// Others than root could change the file, and through it what root's daemon does.
    #[error("{}: {reason}; put it right with: {remedy}", path.display())]
    Unsafe {
        /// The file asked for.
        path: PathBuf,
        /// Who could change it.
        reason: String,
        /// The command that puts it right.
        remedy: String,
    },
    /// The file says something wrong: everything that was found, in the order of the file.
    #[error("{}", Listed(path, faults))]
    Invalid {
        /// The file.
        path: PathBuf,
        /// At least one.
        faults: Vec<Fault>,
    },
}

/// One thing that is wrong in a file.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Fault {
    /// Line, from 1.
    pub line: usize,
    /// Column in characters, from 1.
    pub column: usize,
    /// What is wrong, with the key and the way out.
    pub message: String,
}

impl ConfigError {
    /// What is wrong, without the file's name where it is about the whole file.
    #[cfg(feature = "geo")]
    pub(crate) fn reason(self) -> String {
        match self {
            Self::Missing { .. } => "no such file".into(),
            Self::Unreadable { reason, .. } | Self::Unsafe { reason, .. } => reason,
            invalid @ Self::Invalid { .. } => invalid.to_string(),
        }
    }

    /// The single faults of a file that was read, none otherwise.
    pub fn faults(&self) -> &[Fault] {
        match self {
            Self::Invalid { faults, .. } => faults,
            _ => &[],
        }
    }
}

/// Faults as compilers print them, one a line.
struct Listed<'a>(&'a PathBuf, &'a [Fault]);

impl fmt::Display for Listed<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, fault) in self.1.iter().enumerate() {
            if index > 0 {
                f.write_str("\n")?;
            }
            write!(f, "{}:{}:{}: {}", self.0.display(), fault.line, fault.column, fault.message)?;
        }
        Ok(())
    }
}
