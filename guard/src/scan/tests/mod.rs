//! The scanner as a whole: hostile lines, and the fast way against a plain one. `guard/tests/filters.rs` has the
//! corpora.

mod folder;
mod hostile;
mod layouts;
mod own;
mod records;
mod reference;

use std::sync::{Arc, OnceLock};

use jiff::tz::TimeZone;

use super::{FilterSet, Mode, Scanner};
use crate::time::Wall;

/// A scanner with every shipped pattern, in UTC.
fn scanner() -> Scanner {
    static FILTERS: OnceLock<Arc<FilterSet>> = OnceLock::new();
    let filters = FILTERS.get_or_init(|| Arc::new(FilterSet::shipped(Mode::Aggressive).unwrap()));
    Scanner::with_zone(Arc::clone(filters), TimeZone::UTC)
}

/// 2026-11-20T00:00:00Z.
const REFERENCE: Wall = Wall(1_795_132_800_000);
