//! Everything of the table but its elements.
//!
//! The messages can be sent over an existing table: what is there stays, and the rules are exchanged within the
//! transaction.

use std::collections::BTreeSet;

use super::attributes::Attributes;
use super::batch::{Batch, Verb};
use super::live::COUNTER;
use super::rule::Rule;
use super::set::{Family, Role, Set};

/// Hook priority of the chain: before defragmentation (−400) and connection tracking (−200), so that fragments
/// and established or forwarded connections are cut too (`NF_IP_PRI_RAW_BEFORE_DEFRAG` in
/// `include/uapi/linux/netfilter_ipv4.h`).
pub(super) const PRIORITY: i32 = -450;
/// The chain at the hook.
pub(super) const HOOK_CHAIN: &str = "prerouting";
/// What a packet from a banned host goes through.
const HOST_CHAIN: &str = "judge_host";
/// What a packet from a banned prefix goes through.
const PREFIX_CHAIN: &str = "judge_prefix";
/// Counter of packets dropped because their host is banned.
pub(super) const HOST_COUNTER: &str = "dropped_host";
/// Counter of packets dropped because a prefix is banned.
pub(super) const PREFIX_COUNTER: &str = "dropped_prefix";
/// Counter of packets that a ban covers and the allowlist lets pass.
pub(super) const ALLOWED_COUNTER: &str = "allowed";

/// `NFT_SET_TIMEOUT`: elements may end by themselves.
const TIMEOUT: u32 = 0x10;
/// `NF_INET_PRE_ROUTING`.
const PREROUTING: u32 = 0;
/// `NF_ACCEPT`, the policy of the chain.
const ACCEPT: u32 = 1;
/// What `nft` notes with a set so that it shows keys in network order: kind 0, 4 bytes long, the value 2.
const NETWORK_ORDER: [u8; 6] = [0, 4, 2, 0, 0, 0];

/// Appends what makes the table, with these sets in it and without the obsolete ones.
pub(super) fn make(batch: &mut Batch, table: &str, sets: &BTreeSet<Set>, obsolete: &[Set]) {
    // Flags of 0 wake a table that was put to sleep.
    batch.message(Verb::NewTable, |message| message.text(1, table).u32(2, 0));
    for counter in [HOST_COUNTER, PREFIX_COUNTER, ALLOWED_COUNTER] {
        batch.message(Verb::NewObject, |message| {
            let named = message.text(1, table).text(2, counter).u32(3, COUNTER);
            named.nested(4, |data| data.u64(1, 0).u64(2, 0))
        });
    }
    for (number, &set) in sets.iter().enumerate() {
        batch.message(Verb::NewSet, |message| define(message.text(1, table), set, number as u32 + 1));
    }
    batch.message(Verb::NewChain, |message| {
        let hook = |hook: Attributes| hook.u32(1, PREROUTING).u32(2, PRIORITY as u32);
        message.text(1, table).text(3, HOOK_CHAIN).text(7, "filter").u32(5, ACCEPT).nested(4, hook)
    });
    for chain in [HOST_CHAIN, PREFIX_CHAIN] {
        batch.message(Verb::NewChain, |message| message.text(1, table).text(3, chain));
    }
    for chain in [HOOK_CHAIN, HOST_CHAIN, PREFIX_CHAIN] {
        batch.message(Verb::DeleteRules, |message| message.text(1, table).text(2, chain));
    }
    let mut rule = |chain: &str, write: &dyn Fn(Rule) -> Rule| {
        batch.message(Verb::NewRule, |message| {
            let placed = message.text(1, table).text(2, chain);
            placed.nested(4, |list| write(Rule::behind(list)).finish())
        });
    };
    for set in by_role(sets, Role::Ban) {
        let chain = if set.is_hosts() { HOST_CHAIN } else { PREFIX_CHAIN };
        rule(HOOK_CHAIN, &|rule| rule.source_in(set).jump(chain));
    }
    for (chain, counter) in [(HOST_CHAIN, HOST_COUNTER), (PREFIX_CHAIN, PREFIX_COUNTER)] {
        rule(chain, &|rule| rule.neighbours().accept());
        for set in by_role(sets, Role::Allow) {
            rule(chain, &|rule| rule.source_in(set).count(ALLOWED_COUNTER).accept());
        }
        rule(chain, &|rule| rule.count(counter).drop());
    }
    for set in obsolete {
        batch.message(Verb::DeleteSet, |message| message.text(1, table).text(2, &set.name()));
    }
}

/// Appends what takes the table away, whether it is there or not.
pub(super) fn delete(batch: &mut Batch, table: &str) {
    // Made first: somebody may have been faster, and to delete what is not there is an error.
    batch.message(Verb::NewTable, |message| message.text(1, table));
    batch.message(Verb::DeleteTable, |message| message.text(1, table));
}

/// Rules that [`make`] makes for these sets.
pub(super) fn rule_count(sets: &BTreeSet<Set>) -> usize {
    by_role(sets, Role::Ban).count() + 2 * (by_role(sets, Role::Allow).count() + 2)
}

/// A hash with timeouts, and for bans a counter with each element.
fn define(message: Attributes, set: Set, number: u32) -> Attributes {
    // The types by which `nft` shows keys: `TYPE_IPADDR` and `TYPE_IP6ADDR` of its `datatype.h`.
    let (key, length) = match set.family {
        Family::V4 => (7, 4),
        Family::V6 => (8, 16),
    };
    let defined = message
        .text(2, &set.name())
        .u32(3, TIMEOUT)
        .u32(4, key)
        .u32(5, length)
        .u32(10, number)
        .bytes(13, &NETWORK_ORDER);
    match set.role {
        Role::Ban => defined.nested(17, |counter| counter.text(1, "counter").nested(2, |data| data)),
        Role::Allow => defined,
    }
}

/// Sets of a role, single addresses first: most bans are hosts.
fn by_role(sets: &BTreeSet<Set>, role: Role) -> impl Iterator<Item = Set> {
    sets.iter().rev().copied().filter(move |set| set.role == role)
}
