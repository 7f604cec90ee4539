//! Names of maps, constants and programs, at most 15 bytes each (`BPF_OBJ_NAME_LEN` in `include/uapi/linux/bpf.h`).

/// One [`Settings`](crate::Settings).
pub const SETTINGS: &str = "guard_settings";
/// Bitmap over IPv4 sources, an array of words: see [`crate::bitmap`].
pub const BITS4: &str = "guard_bits4";
/// Bitmap over IPv6 sources.
pub const BITS6: &str = "guard_bits6";
/// IPv4 hosts: `[u8; 4]` → [`Entry`](crate::Entry), preallocated hash.
pub const HOSTS4: &str = "guard_hosts4";
/// IPv6 hosts: `[u8; 16]` → [`Entry`](crate::Entry), preallocated hash.
pub const HOSTS6: &str = "guard_hosts6";
/// IPv6 /64 networks: `[u8; 8]` → [`Entry`](crate::Entry), preallocated hash.
pub const NETS6: &str = "guard_nets6";
/// IPv4 prefixes shorter than /32: [`Cidr4`](crate::Cidr4) → [`PrefixEntry`](crate::PrefixEntry), LPM trie.
pub const PREFIXES4: &str = "guard_prefix4";
/// IPv6 prefixes other than /128 and /64: [`Cidr6`](crate::Cidr6) → [`PrefixEntry`](crate::PrefixEntry), LPM trie.
pub const PREFIXES6: &str = "guard_prefix6";
/// IPv4 allowlist: [`Cidr4`](crate::Cidr4) → `u32`, its length; LPM trie, asked only after a ban has hit.
pub const ALLOW4: &str = "guard_allow4";
/// IPv6 allowlist: [`Cidr6`](crate::Cidr6) → `u32`, its length; LPM trie, asked only after a ban has hit.
pub const ALLOW6: &str = "guard_allow6";
/// Per-CPU [`Tally`](crate::Tally) for each [`Reason`](crate::Reason).
pub const REASONS: &str = "guard_reasons";
/// Per-CPU [`Tally`](crate::Tally) of drops by interface and reason: [`DropKey`](crate::DropKey).
pub const DROPS: &str = "guard_drops";

/// Constant of the programs: words for hosts and nets in [`BITS4`], as the map has that the program is loaded with.
pub const WORDS4: &str = "WORDS4";
/// The same of [`BITS6`].
pub const WORDS6: &str = "WORDS6";

/// The XDP program.
pub const XDP: &str = "guard_xdp";
