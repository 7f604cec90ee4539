//! A command that a rule wants run.

use super::action::Command;

/// A command that is due, with what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The rule that wants it.
    pub rule: Box<str>,
    /// What is run.
    pub command: Command,
    /// The facts: names of variables and printable texts.
    pub environment: Vec<(&'static str, String)>,
}
