//! Regular expressions over a line: in linear time, within bounds of memory.

use std::fmt;
use std::hash::{Hash, Hasher};

use regex_automata::Input;
use regex_automata::meta::{BuildError, Config, Regex};
use regex_automata::util::syntax;

use super::limits::{MAX_REGEX, REGEX_CACHE};

/// Any of some regular expressions, which is found anywhere in a line.
#[derive(Clone)]
pub(super) struct Patterns {
    texts: Box<[Box<str>]>,
    regex: Regex,
}

impl Patterns {
    /// Compiles them into one. The error says in words what is wrong, and with which one.
    pub(super) fn new(texts: &[&str]) -> Result<Self, (usize, String)> {
        // A line is bytes, whatever an attacker makes of them: `.` is any of them.
        let syntax = syntax::Config::new().unicode(false).utf8(false).dot_matches_new_line(true);
        let config = Config::new()
            .utf8_empty(false)
            .nfa_size_limit(Some(MAX_REGEX))
            .hybrid_cache_capacity(REGEX_CACHE);
        let regex = Regex::builder().configure(config).syntax(syntax).build_many(texts);
        let regex = regex.map_err(|error| (error.pattern().map_or(0, |at| at.as_usize()), told(&error)))?;
        Ok(Self { texts: texts.iter().map(|text| (*text).into()).collect(), regex })
    }

    pub(super) fn fit(&self, line: &[u8]) -> bool {
        self.regex.search_half(&Input::new(line).earliest(true)).is_some()
    }

    /// Bytes held.
    pub(super) fn bytes(&self) -> usize {
        self.regex.memory_usage() + REGEX_CACHE
    }
}

impl fmt::Debug for Patterns {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("Patterns").field(&self.texts).finish()
    }
}

impl PartialEq for Patterns {
    fn eq(&self, other: &Self) -> bool {
        self.texts == other.texts
    }
}

impl Eq for Patterns {}

impl Hash for Patterns {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.texts.hash(state);
    }
}

fn told(error: &BuildError) -> String {
    match (error.syntax_error(), error.size_limit()) {
        // What stands before the last line repeats the expression and points into it.
        (Some(wrong), _) => {
            let wrong = wrong.to_string();
            wrong.lines().last().unwrap_or_default().trim_start_matches("error: ").to_owned()
        }
        (_, Some(limit)) => format!("it takes more than {} KiB when it is compiled", limit / 1024),
        _ => error.to_string(),
    }
}
