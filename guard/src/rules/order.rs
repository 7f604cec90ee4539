//! What a rule wants done outside of guard.

use super::action::{Command, Webhook};

/// Something that is due, with what it is told.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// The rule that wants it.
    pub rule: Box<str>,
    /// What is done.
    pub task: Task,
}

/// What is done.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Task {
    /// A command is run.
    Run {
        /// Which.
        command: Command,
        /// The facts: names of variables and printable texts.
        environment: Vec<(&'static str, String)>,
    },
    /// A document is sent.
    Post {
        /// Where.
        webhook: Webhook,
        /// The facts, as JSON.
        document: String,
    },
}
