//! Room in the bitmaps: more words before so many bits are set that they no longer tell.

use guard_common::{Cidr4, Cidr6};

use super::Xdp;
use super::key::Key;
use crate::datapath::{Bits, DatapathError, Maps};
use crate::enforce::EnforceError;

impl Xdp {
    /// Gives the bitmap before a map more words if this many new keys ask for them.
    pub(super) fn make_bits_room<K: Key>(&mut self, keys: u64) -> Result<(), EnforceError> {
        let bits = K::bits(self.datapath.maps());
        let Some(words) = bits.wanted(keys) else { return Ok(()) };
        let name = bits.name();
        tracing::info!(map = name, words = bits.words(), wanted = words, "growing");
        let fill = if K::EMPTY.target().address().is_ipv4() { mark4 } else { mark6 };
        Ok(self.datapath.grow_bits(name, words, fill)?)
    }
}

fn mark4(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    mark_all::<[u8; 4]>(maps, bits)?;
    mark_all::<Cidr4>(maps, bits)
}

fn mark6(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    mark_all::<[u8; 16]>(maps, bits)?;
    mark_all::<[u8; 8]>(maps, bits)?;
    mark_all::<Cidr6>(maps, bits)
}

/// Marks every ban of a map.
fn mark_all<K: Key>(maps: &Maps, bits: &Bits) -> Result<(), DatapathError> {
    K::table(maps).for_each((K::EMPTY, K::Value::default()), |key, _| bits.mark(key.target()))
}
