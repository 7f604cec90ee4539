//! The table as a whole: whether it can be had, whether it is there, its end.

use std::net::IpAddr;
use std::time::Duration;

use super::EnforceError;
use super::batch::Batch;
use super::elements::{self, Element, Renewal};
use super::live::Live;
use super::refusal::{changing, reading};
use super::set::{Role, Set};
use super::skeleton;
use crate::target::Target;

/// Asks the kernel whether it has `nf_tables` and lets the caller change it.
pub fn is_offered() -> Result<(), EnforceError> {
    Live::open("").and_then(|mut live| live.generation()).map(drop).map_err(reading)
}

/// Whether there is a table of this name.
pub fn is_present(table: &str) -> Result<bool, EnforceError> {
    Ok(open(table)?.structure().map_err(reading)?.is_some())
}

/// Takes the table of this name away without a running daemon; false if there was none.
pub fn nftables_remove(table: &str) -> Result<bool, EnforceError> {
    delete(&mut open(table)?, table)
}

/// Opens the way to a table, which need not exist.
pub(super) fn open(table: &str) -> Result<Live, EnforceError> {
    check_name(table)?;
    let mut live = Live::open(table).map_err(reading)?;
    live.generation().map_err(reading)?;
    Ok(live)
}

/// Takes a table away; false if there was none.
pub(super) fn delete(live: &mut Live, table: &str) -> Result<bool, EnforceError> {
    if live.structure().map_err(reading)?.is_none() {
        return Ok(false);
    }
    let mut batch = Batch::new();
    skeleton::delete(&mut batch, table);
    live.transact(&mut batch, None).map_err(|error| changing("removing the table", error))?;
    Ok(true)
}

/// Finds out in a table of its own whether the kernel renews an element in place (since Linux 6.12).
pub(super) fn probe(table: &str) -> Result<Renewal, EnforceError> {
    let table = format!("{table}_probe");
    let target = Target::host(IpAddr::from([192, 0, 2, 1]));
    let set = Set::of(Role::Ban, target);
    let mut live = Live::open(&table).map_err(reading)?;
    let refused = |error| changing("asking what nftables can do", error);
    let add = |live: &mut Live, mut batch: Batch, seconds| {
        let element = Element::plain(target, Some(Duration::from_secs(seconds)));
        elements::put(&mut batch, &table, set, &[element], Renewal::InPlace);
        live.transact(&mut batch, None).map_err(refused)
    };
    let mut made = Batch::new();
    skeleton::make(&mut made, &table, &[set].into(), &[]);
    add(&mut live, made, 1000)?;
    let renewed = add(&mut live, Batch::new(), 2000)
        .and_then(|()| live.element(Role::Ban, target).map_err(reading))
        .map(|element| element.and_then(|element| element.left).is_some_and(|left| left.as_secs() > 1500));
    delete(&mut live, &table)?;
    Ok(if renewed? { Renewal::InPlace } else { Renewal::Replace })
}

/// The name is shown to people, who can hand it to `nft` as it is.
fn check_name(table: &str) -> Result<(), EnforceError> {
    let fits = (1..=24).contains(&table.len())
        && table.starts_with(|c: char| c.is_ascii_lowercase())
        && table.bytes().all(|b| b.is_ascii_lowercase() || b.is_ascii_digit() || b == b'_');
    if fits {
        return Ok(());
    }
    Err(EnforceError::Unavailable {
        backend: "nftables",
        reason: "the table's name must be 1 to 24 small letters, digits or underscores, a letter first"
            .to_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::check_name;

    #[test]
    fn names_that_could_be_more_than_a_name_are_refused() {
        for name in ["", "9x", "x y", "x;", "X", "a_name_that_is_far_too_long"] {
            assert!(check_name(name).is_err(), "{name}");
        }
    }
}
