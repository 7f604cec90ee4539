//! Scores: written as they change and read as a whole. A damaged file's are not worth saving.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use rusqlite::{Connection, Row, params};

use crate::store::StoredScore;
use crate::time::Wall;

/// What reads them, for [`score`].
pub(super) const SELECT: &str = "SELECT address, points, settled FROM score";

/// Puts these in place of what was known of the same addresses, inside the caller's transaction.
pub(super) fn put(connection: &Connection, scores: &[StoredScore]) -> rusqlite::Result<()> {
    let mut insert = connection.prepare_cached("INSERT OR REPLACE INTO score VALUES (?1, ?2, ?3)")?;
    let mut delete = connection.prepare_cached("DELETE FROM score WHERE address = ?1")?;
    for score in scores {
        let (v4, v6);
        let address: &[u8] = match score.address {
            IpAddr::V4(address) => {
                v4 = address.octets();
                &v4
            }
            IpAddr::V6(address) => {
                v6 = address.octets();
                &v6
            }
        };
        if score.points == 0 {
            delete.execute([address])?;
        } else {
            insert.execute(params![address, score.points, score.settled.0])?;
        }
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
