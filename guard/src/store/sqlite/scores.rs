//! Scores: written as a whole and read as a whole. A damaged file's are not worth saving.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rusqlite::{Connection, Row, params};

use crate::store::StoredScore;
use crate::time::Wall;

/// What reads them, for [`score`].
pub(super) const SELECT: &str = "SELECT address, points, settled FROM score";

/// Puts these in place of all others, inside the caller's transaction.
pub(super) fn replace(connection: &Connection, scores: &[StoredScore]) -> rusqlite::Result<()> {
    connection.prepare_cached("DELETE FROM score")?.execute([])?;
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO score VALUES (?1, ?2, ?3)")?;
    for score in scores {
        let row = params![score.points, score.settled.0];
        let (points, settled) = (row[0], row[1]);
        match score.address {
            IpAddr::V4(address) => insert.execute(params![address.octets().as_slice(), points, settled])?,
            IpAddr::V6(address) => insert.execute(params![address.octets().as_slice(), points, settled])?,
        };
    }
    Ok(())
}

/// One of them.
pub(super) fn score(row: &Row<'_>) -> rusqlite::Result<StoredScore> {
    let bytes = row.get_ref(0)?.as_blob()?;
    let v4 = bytes.try_into().map(|octets: [u8; 4]| IpAddr::V4(Ipv4Addr::from(octets)));
    let v6 = bytes.try_into().map(|octets: [u8; 16]| IpAddr::V6(Ipv6Addr::from(octets)));
    let address = v4.or(v6).map_err(|_| rusqlite::Error::IntegralValueOutOfRange(0, bytes.len() as i64))?;
    Ok(StoredScore { address, points: row.get(1)?, settled: Wall(row.get(2)?) })
}
