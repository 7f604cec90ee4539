//! Addresses that somebody has logged in from: written as they change and read as a whole.

use rusqlite::{Connection, Row, params};

use super::rows::{address, octets};
use crate::store::StoredLogin;
use crate::target::Target;
use crate::time::Wall;

/// What reads them, for [`login`].
pub(super) const SELECT: &str = "SELECT address, last, accounts FROM login";

/// Puts these in place of what was known of the same addresses, inside the caller's transaction.
pub(super) fn put(connection: &Connection, logins: &[StoredLogin]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO login VALUES (?1, ?2, ?3)")?;
    let mut delete = connection.prepare_cached("DELETE FROM login WHERE address = ?1")?;
    for login in logins {
        let address = octets(Target::host(login.address));
        match login.last {
            Some(last) => insert.execute(params![address.as_ref(), last.0, login.accounts])?,
            None => delete.execute([address.as_ref()])?,
        };
    }
    Ok(())
}

/// One of them.
pub(super) fn login(row: &Row<'_>) -> rusqlite::Result<StoredLogin> {
    Ok(StoredLogin { address: address(row, 0)?, last: Some(Wall(row.get(1)?)), accounts: row.get(2)? })
}
