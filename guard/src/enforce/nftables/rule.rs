//! The expressions of a rule. Numbers as in `include/uapi/linux/netfilter/nf_tables.h`; the expressions are those
//! that `nft` makes of the same rule, so that it shows the table as it would show its own.

use super::attributes::Attributes;
use super::set::{Family, Set};

/// `NFT_REG_1`, in which every value is compared.
const REGISTER: u32 = 1;
/// Register of a verdict.
const VERDICT: u32 = 0;
/// `NFT_JUMP`, `NF_ACCEPT` and `NF_DROP`.
const JUMP: u32 = -3i32 as u32;
const ACCEPT: u32 = 1;
const DROP: u32 = 0;
/// `NFT_META_NFPROTO` and `NFT_META_L4PROTO`.
const NETWORK_PROTOCOL: u32 = 15;
const TRANSPORT_PROTOCOL: u32 = 16;
/// `IPPROTO_ICMPV6`.
const ICMP6: u8 = 58;

/// A comparison: `NFT_CMP_…`.
#[derive(Clone, Copy, Debug)]
enum Compare {
    Equal = 0,
    AtMost = 3,
    AtLeast = 5,
}

/// Where a part of a packet is counted from: `NFT_PAYLOAD_…_HEADER`.
#[derive(Clone, Copy, Debug)]
enum Base {
    Network = 1,
    Transport = 2,
}

/// The expressions of a rule, in their order.
pub(super) struct Rule(Attributes);

impl Rule {
    /// Goes on behind what is there.
    pub(super) fn behind(attributes: Attributes) -> Self {
        Self(attributes)
    }

    /// What has been written.
    pub(super) fn finish(self) -> Attributes {
        self.0
    }

    /// The packet's source, masked to the set's length, is in the set.
    pub(super) fn source_in(self, set: Set) -> Self {
        let (offset, length) = match set.family {
            Family::V4 => (12, 4),
            Family::V6 => (8, 16),
        };
        let source = self.family(set.family).payload(Base::Network, offset, length);
        let masked = if set.is_hosts() { source } else { source.mask(&mask(set)) };
        masked.expression("lookup", |lookup| lookup.u32(2, REGISTER).text(1, &set.name()))
    }

    /// The packet is of the neighbour discovery that the link itself needs: router and neighbour solicitations and
    /// advertisements that no router has forwarded (RFC 4861).
    pub(super) fn neighbours(self) -> Self {
        const TYPES: [u8; 2] = [133, 137];
        const HOP_LIMIT: u32 = 7;
        self.family(Family::V6)
            .meta(TRANSPORT_PROTOCOL)
            .compare(Compare::Equal, ICMP6)
            .payload(Base::Transport, 0, 1)
            .compare(Compare::AtLeast, TYPES[0])
            .compare(Compare::AtMost, TYPES[1])
            .payload(Base::Network, HOP_LIMIT, 1)
            .compare(Compare::Equal, 255)
    }

    /// Counts the packet in a named counter.
    pub(super) fn count(self, counter: &str) -> Self {
        self.expression("objref", |reference| reference.u32(1, super::live::COUNTER).text(2, counter))
    }

    /// Goes on in another chain, and comes back if that does not decide.
    pub(super) fn jump(self, chain: &str) -> Self {
        self.verdict(|verdict| verdict.u32(1, JUMP).text(2, chain))
    }

    /// Lets the packet pass.
    pub(super) fn accept(self) -> Self {
        self.verdict(|verdict| verdict.u32(1, ACCEPT))
    }

    /// Drops the packet.
    pub(super) fn drop(self) -> Self {
        self.verdict(|verdict| verdict.u32(1, DROP))
    }

    fn family(self, family: Family) -> Self {
        // `NFPROTO_IPV4` and `NFPROTO_IPV6`
        let number = match family {
            Family::V4 => 2,
            Family::V6 => 10,
        };
        self.meta(NETWORK_PROTOCOL).compare(Compare::Equal, number)
    }

    fn meta(self, key: u32) -> Self {
        self.expression("meta", |meta| meta.u32(2, key).u32(1, REGISTER))
    }

    fn payload(self, base: Base, offset: u32, length: u32) -> Self {
        self.expression("payload", |payload| {
            payload.u32(1, REGISTER).u32(2, base as u32).u32(3, offset).u32(4, length)
        })
    }

    fn mask(self, mask: &[u8]) -> Self {
        self.expression("bitwise", |bitwise| {
            bitwise
                .u32(1, REGISTER)
                .u32(2, REGISTER)
                .u32(3, mask.len() as u32)
                .nested(4, |value| value.bytes(1, mask))
                .nested(5, |value| value.bytes(1, &[0; 16][..mask.len()]))
        })
    }

    fn compare(self, how: Compare, with: u8) -> Self {
        self.expression("cmp", |compare| {
            compare.u32(1, REGISTER).u32(2, how as u32).nested(3, |value| value.bytes(1, &[with]))
        })
    }

    fn verdict(self, verdict: impl FnOnce(Attributes) -> Attributes) -> Self {
        self.expression("immediate", |immediate| {
            immediate.u32(1, VERDICT).nested(2, |data| data.nested(2, verdict))
        })
    }

    fn expression(self, name: &str, data: impl FnOnce(Attributes) -> Attributes) -> Self {
        Self(self.0.nested(1, |expression| expression.text(1, name).nested(2, data)))
    }
}

/// The bits of an address that a set looks at.
fn mask(set: Set) -> Vec<u8> {
    let bytes = usize::from(set.family.bits() / 8);
    (0..bytes)
        .map(|byte| match usize::from(set.length).saturating_sub(byte * 8).min(8) {
            0 => 0,
            bits => 0xffu8 << (8 - bits),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::set::Role;
    use super::*;

    #[test]
    fn masks_of_every_length() {
        for (text, bytes) in [
            ("10.0.0.0/8", &[255, 0, 0, 0][..]),
            ("0.0.0.0/0", &[0; 4]),
            ("192.0.2.1", &[255; 4]),
            ("192.0.2.0/23", &[255, 255, 254, 0]),
            ("2001:db8::/33", &[255, 255, 255, 255, 128, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0]),
            ("::1", &[255; 16]),
        ] {
            assert_eq!(mask(Set::of(Role::Ban, text.parse().unwrap())), bytes, "{text}");
        }
    }
}
