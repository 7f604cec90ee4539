//! How far sources were read, and the scores, logins and the engine's state that come of it: of each only the last counts.
//!
//! They are written together, behind everything that was given before them. So no line counts twice after a crash and
//! none is missed, and a flood costs one row for each address and commit, however many lines it has.

use std::collections::HashMap;
use std::net::IpAddr;

use crate::source::Position;
use crate::store::{StoredLogin, StoredScore, Write};

/// What waits.
#[derive(Debug, Default)]
pub(super) struct Latest {
    positions: HashMap<String, Position>,
    scores: HashMap<IpAddr, StoredScore>,
    logins: HashMap<IpAddr, StoredLogin>,
    engine: Option<Box<[u8]>>,
}

impl Latest {
    /// A source was read up to here.
    pub(super) fn read(&mut self, position: Position) {
        // The name is there already, but for the first time.
        if let Some(known) = self.positions.get_mut(&position.source) {
            known.place = position.place;
        } else {
            self.positions.insert(position.source.clone(), position);
        }
    }

    /// A source was read up to here before anything that is known of it here.
    pub(super) fn read_before(&mut self, position: &Position) {
        self.positions.entry(position.source.clone()).or_insert_with(|| position.clone());
    }

    /// These scores have changed.
    pub(super) fn changed(&mut self, scores: &[StoredScore]) {
        self.scores.extend(scores.iter().map(|score| (score.address, *score)));
    }

    /// Somebody logged in from these addresses.
    pub(super) fn logged_in(&mut self, logins: &[StoredLogin]) {
        self.logins.extend(logins.iter().map(|login| (login.address, *login)));
    }

    /// The engine's state is this.
    pub(super) fn state(&mut self, engine: Box<[u8]>) {
        self.engine = Some(engine);
    }

    /// Forgets scores and logins: a whole set brings them again.
    pub(super) fn forget_addresses(&mut self) {
        self.scores = HashMap::new();
        self.logins = HashMap::new();
    }

    /// Number of scores and logins.
    pub(super) fn addresses(&self) -> usize {
        self.scores.len() + self.logins.len()
    }

    /// Number of rows.
    pub(super) fn len(&self) -> usize {
        self.positions.len() + self.addresses() + usize::from(self.engine.is_some())
    }

    pub(super) fn is_empty(&self) -> bool {
        self.len() == 0
    }

    /// All of it.
    pub(super) fn take(&mut self) -> impl Iterator<Item = Write> + use<> {
        let Self { positions, scores, logins, engine } = std::mem::take(self);
        let mut scores: Vec<_> = scores.into_values().collect();
        // In the order of the table: it is gone through once, not page by page at random.
        scores.sort_unstable_by_key(|score| score.address);
        let scores = (!scores.is_empty()).then_some(Write::Scores(scores));
        let mut logins: Vec<_> = logins.into_values().collect();
        logins.sort_unstable_by_key(|login| login.address);
        let logins = (!logins.is_empty()).then_some(Write::Logins(logins));
        let positions = positions.into_values().map(Write::Position);
        scores.into_iter().chain(logins).chain(engine.map(Write::Engine)).chain(positions)
    }
}
