//! Where an address is from: its country and the network that announces it, out of databases in `MaxMind`'s format
//! (<https://maxmind.github.io/MaxMind-DB/>), as `MaxMind` and DB-IP give them away.
//!
//! A database is read into memory, not mapped: whoever truncates a mapped file ends its readers with SIGBUS.

use std::net::IpAddr;
use std::path::PathBuf;

#[cfg(feature = "geo")]
use crate::config::ConfigError;

/// Bytes of one database.
#[cfg(feature = "geo")]
const MAX_DATABASE: u64 = 512 << 20;

/// Databases that are asked one after the other.
#[derive(Clone, Debug, Default)]
pub struct Geo {
    #[cfg(feature = "geo")]
    databases: std::sync::Arc<[maxminddb::Reader<Vec<u8>>]>,
}

/// What databases say about an address.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Origin {
    /// ISO 3166-1 code of the country, in capitals.
    pub country: Option<[u8; 2]>,
    /// Number of the autonomous system that announces it.
    pub asn: Option<u32>,
}

#[cfg(feature = "geo")]
impl Geo {
    /// Loads databases. What is wrong with one is told, and it is left out.
    pub fn load(paths: &[PathBuf]) -> (Self, Vec<String>) {
        let (mut databases, mut problems) = (Vec::new(), Vec::new());
        for path in paths {
            match open(path) {
                Ok(database) => databases.push(database),
                Err(reason) => problems.push(format!(
                    "{}: {reason}; what rules ask about country or asn stays unknown as far as this database tells it",
                    path.display()
                )),
            }
        }
        (Self { databases: databases.into() }, problems)
    }

    /// Where an address is from. The first database that tells something about it counts.
    pub fn find(&self, address: IpAddr) -> Origin {
        let mut origin = Origin::default();
        for database in &*self.databases {
            let Ok(found) = database.lookup(address) else { continue };
            if origin.country.is_none()
                && let Ok(Some(code)) = found.decode_path::<&str>(&maxminddb::path!["country", "iso_code"])
            {
                origin.country = code.to_ascii_uppercase().into_bytes().try_into().ok();
            }
            if origin.asn.is_none()
                && let Ok(asn) = found.decode_path(&maxminddb::path!["autonomous_system_number"])
            {
                origin.asn = asn;
            }
        }
        origin
    }
}

#[cfg(feature = "geo")]
fn open(path: &std::path::Path) -> Result<maxminddb::Reader<Vec<u8>>, String> {
    let bytes = crate::config::read_bytes(path, MAX_DATABASE).map_err(ConfigError::reason)?;
    maxminddb::Reader::from_source(bytes).map_err(|error| format!("it is no MMDB database ({error})"))
}

#[cfg(not(feature = "geo"))]
impl Geo {
    /// There are no databases in this build.
    pub fn load(paths: &[PathBuf]) -> (Self, Vec<String>) {
        let problem = |path: &PathBuf| {
            format!(
                "{}: this guard is built without the feature `geo`; what rules ask about country or asn stays unknown",
                path.display()
            )
        };
        (Self::default(), paths.iter().map(problem).collect())
    }

    /// Nothing is known.
    pub fn find(&self, _: IpAddr) -> Origin {
        Origin::default()
    }
}
