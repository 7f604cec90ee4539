//! The first stage of the verdict: a few bits that say "no ban can cover this source".
//!
//! A clear bit is a promise, set bits only a hint: bits may stay set after a ban has gone, until the next rebuild, and
//! cost nothing but a look-up.
//!
//! A bitmap is one array of words in three parts. The first two have a bit for each *wide* net (IPv4: the /16, IPv6: a
//! hash of the /32): whether a prefix is banned that lies in it or covers it, and whether one covers it that holds too
//! many nets to name each. The rest is a Bloom filter whose keys stay within one word each, so that a source costs one
//! cold cache line: its net (IPv4: the /24, IPv6: the /48) chooses the word; of that word, some bits stand for the host
//! (IPv6: its /64) and, asked for only where prefixes are banned, some for the net as a whole.

/// Words of each of the two parts for wide nets: one bit for each of 65,536, 8 KiB.
pub const WIDE_WORDS: u32 = 1 << (16 - 6);
/// Words before those for hosts and nets.
pub const FIRST_WORD: u32 = 2 * WIDE_WORDS;
/// Fewest words for hosts and nets, 32 KiB: for about 17,000 bans.
pub const LEAST_WORDS: u32 = 1 << 12;
/// Most words for hosts and nets, 16 MiB: for about 9 million bans. With more than that it becomes less and less of a
/// help.
pub const MOST_WORDS: u32 = 1 << 21;
/// Bits that stand for one host or net, all in one word.
pub const KEY_BITS: u32 = 3;

/// Where a source, or a ban, is in a bitmap of any size.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Slots {
    /// Number of the wide net.
    wide: u16,
    /// Hash of the net; its upper bits choose the word.
    net: u64,
    /// Hash of the host.
    host: u64,
}

impl Slots {
    /// Of an IPv4 address: host, /24 and /16.
    #[inline(always)]
    pub const fn v4(address: [u8; 4]) -> Self {
        let host = u32::from_be_bytes(address);
        Self { wide: (host >> 16) as u16, net: hash((host >> 8) as u64), host: hash(host as u64) }
    }

    /// Of an IPv6 address: /64, /48 and /32.
    #[inline(always)]
    pub const fn v6(address: [u8; 16]) -> Self {
        let host = (u128::from_be_bytes(address) >> 64) as u64;
        Self { wide: (hash(host >> 32) >> 48) as u16, net: hash(host >> 16), host: hash(host) }
    }

    /// Number of the word of the first part with the wide net, and its bit there; the second part has it
    /// [`WIDE_WORDS`] further on.
    #[inline(always)]
    pub const fn wide(self) -> (u32, u64) {
        (self.wide as u32 >> 6, 1 << (self.wide & 63))
    }

    /// Number of the word of host and net, in a bitmap with `words` words for them.
    #[inline(always)]
    pub const fn word(self, words: u32) -> u32 {
        FIRST_WORD + (((self.net >> 32) * words as u64) >> 32) as u32
    }

    /// The bits of the host in that word.
    #[inline(always)]
    pub const fn host(self) -> u64 {
        key(self.host)
    }

    /// The bits of the net in that word.
    #[inline(always)]
    pub const fn net(self) -> u64 {
        key(self.net)
    }

    /// Whether a ban may cover the source. `read` gives a word of the bitmap by its number. A bitmap without the word
    /// would be another layout: then nothing is known to be clean.
    #[inline(always)]
    pub fn is_marked(self, words: u32, read: impl Fn(u32) -> Option<u64>) -> bool {
        let (number, wide) = self.wide();
        let (Some(prefixes), Some(word)) = (read(number), read(self.word(words))) else { return true };
        if prefixes & wide != 0 {
            let Some(covered) = read(number + WIDE_WORDS) else { return true };
            if covered & wide != 0 || word & self.net() == self.net() {
                return true;
            }
        }
        word & self.host() == self.host()
    }
}

/// Fibonacci hashing (Knuth, The Art of Computer Programming, volume 3, 6.4), the upper half folded into the lower.
#[inline(always)]
const fn hash(key: u64) -> u64 {
    let product = key.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    product ^ (product >> 32)
}

/// The bits of a key: [`KEY_BITS`] of a word, of which some may fall together.
#[inline(always)]
const fn key(hash: u64) -> u64 {
    1 << (hash & 63) | 1 << ((hash >> 6) & 63) | 1 << ((hash >> 12) & 63)
}
