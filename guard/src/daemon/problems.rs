//! What needs a person's attention, by topic: set while it holds, cleared when it is over.

use std::collections::BTreeMap;

/// Present problems.
#[derive(Debug, Default)]
pub(super) struct Problems(BTreeMap<String, Vec<String>>);

impl Problems {
    /// Sets the one problem of a topic: what is wrong, and what guard does instead.
    pub(super) fn set(&mut self, topic: &str, text: String) {
        self.0.insert(topic.to_owned(), vec![text]);
    }

    /// Sets all problems of a topic; none of them clears it.
    pub(super) fn replace(&mut self, topic: &str, texts: Vec<String>) {
        if texts.is_empty() {
            self.0.remove(topic);
        } else {
            self.0.insert(topic.to_owned(), texts);
        }
    }

    /// The topic is well again. Answers whether it was not.
    pub(super) fn clear(&mut self, topic: &str) -> bool {
        self.0.remove(topic).is_some()
    }

    /// Whether a topic has a problem.
    pub(super) fn has(&self, topic: &str) -> bool {
        self.0.contains_key(topic)
    }

    /// Every problem in words.
    pub(super) fn list(&self) -> Vec<String> {
        self.0.values().flatten().cloned().collect()
    }
}
