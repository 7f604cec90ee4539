//! The table of docs/decisions.md: written by `cargo xtask simulate`, and held to what the simulations give.

use std::fs;

const PAGE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../docs/decisions.md");
/// The table stands between these.
const BEGIN: &str = "<!-- written by cargo xtask simulate -->\n";
const END: &str = "<!-- until here -->\n";

/// Holds the page to the table, or writes it where `UPDATE` says so.
pub(crate) fn check(table: &str) {
    let page = fs::read_to_string(PAGE).expect("docs/decisions.md is there");
    let (before, rest) = page.split_once(BEGIN).expect("the page has a place for the table");
    let (found, after) = rest.split_once(END).expect("the place has an end");
    if std::env::var_os("UPDATE").is_some() {
        fs::write(PAGE, format!("{before}{BEGIN}{table}{END}{after}")).expect("the page can be written");
        return;
    }
    assert!(found == table, "decisions have changed: look at them, then run cargo xtask simulate\n{table}");
}
