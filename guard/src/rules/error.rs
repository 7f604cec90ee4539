//! What is wrong with rules: file, line, rule, key, and the way out.

use std::fmt;

use crate::config::ConfigError;

/// Everything that is wrong with the rules, of every file. At least one.
#[derive(Debug)]
pub struct RuleErrors(pub Vec<ConfigError>);

impl std::error::Error for RuleErrors {}

impl fmt::Display for RuleErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (index, error) in self.0.iter().enumerate() {
            let gap = if index > 0 { "\n" } else { "" };
            write!(f, "{gap}{error}")?;
        }
        Ok(())
    }
}

impl From<ConfigError> for RuleErrors {
    fn from(error: ConfigError) -> Self {
        Self(vec![error])
    }
}
