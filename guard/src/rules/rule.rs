//! One rule, as it was read.

use std::path::Path;
use std::sync::Arc;

use super::action::Action;
use super::condition::Condition;
use super::limits::RateLimit;

/// What is to be done about sightings for which a condition holds.
#[derive(Clone, Debug)]
pub struct Rule {
    pub(super) name: Box<str>,
    /// Its keys but the name, as TOML.
    pub(super) text: Box<str>,
    pub(super) place: Place,
    pub(super) condition: Condition,
    /// At least one.
    pub(super) actions: Box<[Action]>,
    /// Whether the rules behind it are asked as well.
    pub(super) go_on: bool,
    /// Whether it only records what it would do.
    pub(super) simulate: bool,
    pub(super) limit: Option<RateLimit>,
}

/// Where a rule begins.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The file.
    pub file: Arc<Path>,
    /// Line, from 1.
    pub line: usize,
}

/// Rules are the same if they say the same, wherever they stand.
impl PartialEq for Rule {
    fn eq(&self, other: &Self) -> bool {
        (&self.name, &self.text) == (&other.name, &other.text)
    }
}

impl Eq for Rule {}

impl Rule {
    /// Its name, which no other rule has.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Where it begins.
    pub fn place(&self) -> &Place {
        &self.place
    }

    /// What it does, in this order.
    pub fn actions(&self) -> &[Action] {
        &self.actions
    }

    /// Whether it only records what it would do.
    pub fn is_simulated(&self) -> bool {
        self.simulate
    }

    /// The rule as TOML under `[[rule]]`.
    pub fn toml(&self) -> String {
        // Its name needs no quoting: it is of letters, digits, `_`, `-`, `.` and `@`.
        format!("name = \"{}\"\n{}", self.name, self.text)
    }

    /// The value of one of its keys, as TOML in one line; `None` if it does not have it.
    pub fn value(&self, key: &str) -> Option<&str> {
        self.text.lines().find_map(|line| line.strip_prefix(key)?.strip_prefix(" = "))
    }

    /// Whether nothing behind it is asked about a sighting that it holds for.
    pub(super) fn ends(&self) -> bool {
        !self.go_on && !self.simulate && self.limit.is_none()
    }
}
