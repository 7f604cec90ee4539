//! Names that are allowed, and the addresses they had.

use std::net::IpAddr;

use rusqlite::{Connection, Row, params};

use super::rows::{address as address_at, end, end_of, octets};
use crate::store::{StoredAddress, StoredName};
use crate::target::{HostName, Target};
use crate::time::Wall;

pub(super) const SELECT_ALLOWED: &str = "SELECT name, until, comment FROM allow_name";
pub(super) const SELECT_RESOLVED: &str = "SELECT name, address, seen FROM resolved";

pub(super) fn allow(connection: &Connection, allow: &StoredName) -> rusqlite::Result<()> {
    connection.prepare_cached("INSERT OR REPLACE INTO allow_name VALUES (?1, ?2, ?3)")?.execute(params![
        allow.name.as_str(),
        end_of(allow.until),
        allow.comment
    ])?;
    Ok(())
}

pub(super) fn disallow(connection: &Connection, name: &HostName) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM allow_name WHERE name = ?1")?.execute([name.as_str()])?;
    Ok(())
}

pub(super) fn resolved(
    connection: &Connection,
    name: &HostName,
    addresses: &[(IpAddr, Wall)],
) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM resolved WHERE name = ?1")?.execute([name.as_str()])?;
    for (address, seen) in addresses {
        connection
            .prepare_cached("INSERT OR REPLACE INTO resolved VALUES (?1, ?2, ?3)")?
            .execute(params![name.as_str(), octets(Target::host(*address)).as_ref(), seen.0])?;
    }
    Ok(())
}

pub(super) fn allowed(row: &Row<'_>) -> rusqlite::Result<StoredName> {
    Ok(StoredName { name: name(row)?, until: end(row.get(1)?), comment: row.get(2)? })
}

pub(super) fn address(row: &Row<'_>) -> rusqlite::Result<StoredAddress> {
    Ok(StoredAddress { name: name(row)?, address: address_at(row, 1)?, seen: Wall(row.get(2)?) })
}

/// The name in the first column.
fn name(row: &Row<'_>) -> rusqlite::Result<HostName> {
    let text: String = row.get(0)?;
    text.parse().map_err(|cause| {
        rusqlite::Error::FromSqlConversionFailure(0, rusqlite::types::Type::Text, Box::new(cause))
    })
}
