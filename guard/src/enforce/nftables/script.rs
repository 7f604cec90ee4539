//! What is handed to `nft`: text made of our own names, numbers and addresses only.

use std::collections::BTreeSet;
use std::fmt::Write;
use std::net::IpAddr;
use std::time::Duration;

use super::set::{Family, Role, Set};
use crate::target::Target;

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

/// Neighbour discovery, which the link itself needs: router and neighbour solicitations and advertisements that
/// no router has forwarded (RFC 4861).
const NEIGHBOURS: &str = "icmpv6 type 133-136 ip6 hoplimit 255";

/// The kernel counts time in ticks of at most 10 ms and rounds down: with this added, no ban ends early.
const TICK: Duration = Duration::from_millis(10);

/// How an element that may be there already gets a new deadline.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Renewal {
    /// `add` changes it in place and its counter goes on (Linux 6.12 and later).
    InPlace,
    /// It is deleted and added within the transaction; its counter starts again.
    Replace,
}

/// Everything of a table but its elements. The text can be run over an existing table: what is there stays, and
/// the rules are exchanged within the transaction. `obsolete` sets are taken away.
pub(super) fn structure(table: &str, sets: &BTreeSet<Set>, obsolete: &[Set]) -> String {
    let mut s = Script::new(table);
    s.line(format_args!("add table inet {table}"));
    for counter in [HOST_COUNTER, PREFIX_COUNTER, ALLOWED_COUNTER] {
        s.line(format_args!("add counter inet {table} {counter}"));
    }
    for set in sets {
        s.line(format_args!("add set inet {table} {} {}", set.name(), definition(*set)));
    }
    s.line(format_args!(
        "add chain inet {table} {HOOK_CHAIN} {{ type filter hook prerouting priority {PRIORITY}; policy accept; }}"
    ));
    for chain in [HOST_CHAIN, PREFIX_CHAIN] {
        s.line(format_args!("add chain inet {table} {chain}"));
    }
    for chain in [HOOK_CHAIN, HOST_CHAIN, PREFIX_CHAIN] {
        s.line(format_args!("flush chain inet {table} {chain}"));
    }
    for set in by_role(sets, Role::Ban) {
        let chain = if set.is_hosts() { HOST_CHAIN } else { PREFIX_CHAIN };
        s.line(format_args!("add rule inet {table} {HOOK_CHAIN} {} jump {chain}", lookup(set)));
    }
    for (chain, counter) in [(HOST_CHAIN, HOST_COUNTER), (PREFIX_CHAIN, PREFIX_COUNTER)] {
        s.line(format_args!("add rule inet {table} {chain} {NEIGHBOURS} accept"));
        for set in by_role(sets, Role::Allow) {
            let lookup = lookup(set);
            s.line(format_args!(
                "add rule inet {table} {chain} {lookup} counter name {ALLOWED_COUNTER} accept"
            ));
        }
        s.line(format_args!("add rule inet {table} {chain} counter name {counter} drop"));
    }
    for set in obsolete {
        s.line(format_args!("delete set inet {table} {}", set.name()));
    }
    s.text
}

/// Rules that [`structure`] makes for these sets.
pub(super) fn rule_count(sets: &BTreeSet<Set>) -> usize {
    by_role(sets, Role::Ban).count() + 2 * (by_role(sets, Role::Allow).count() + 2)
}

/// A ban or allowance as an element: the target, and how long; `None` for good.
pub(super) type Element = (Target, Option<Duration>);

/// Text that changes elements, and nothing else.
pub(super) struct Script<'a> {
    table: &'a str,
    text: String,
}

impl<'a> Script<'a> {
    /// An empty script for a table.
    pub(super) fn new(table: &'a str) -> Self {
        Self { table, text: String::new() }
    }

    /// Puts elements into a set, or renews those that are in it.
    pub(super) fn put(&mut self, set: Set, elements: &[Element], renewal: Renewal) {
        self.elements("add", set, elements);
        if renewal == Renewal::Replace {
            self.elements("delete", set, elements);
            self.elements("add", set, elements);
        }
    }

    /// Takes elements out of a set, wherever they are in it. `add` makes sure that there is something to
    /// delete: deleting what has expired meanwhile would fail the transaction.
    pub(super) fn take(&mut self, set: Set, elements: &[Element]) {
        self.elements("add", set, elements);
        self.elements("delete", set, elements);
    }

    /// The text.
    pub(super) fn finish(self) -> String {
        self.text
    }

    fn elements(&mut self, verb: &str, set: Set, elements: &[Element]) {
        if elements.is_empty() {
            return;
        }
        let (table, name) = (self.table, set.name());
        self.part(format_args!("{verb} element inet {table} {name} {{"));
        for (i, (target, left)) in elements.iter().enumerate() {
            self.part(format_args!("{}{}", if i == 0 { ' ' } else { ',' }, target.address()));
            if let (Some(left), "add") = (left, verb) {
                // Both, because the kernel renews an element only if it is told when it expires.
                let left = duration(*left + TICK);
                self.part(format_args!(" timeout {left} expires {left}"));
            }
        }
        self.line(format_args!(" }}"));
    }

    fn line(&mut self, line: std::fmt::Arguments<'_>) {
        self.part(line);
        self.text.push('\n');
    }

    fn part(&mut self, part: std::fmt::Arguments<'_>) {
        // Writing to a string cannot fail.
        let _ = self.text.write_fmt(part);
    }
}

/// The kernel keeps a hash with timeouts, and a counter for each element.
fn definition(set: Set) -> String {
    let kind = match set.family {
        Family::V4 => "ipv4_addr",
        Family::V6 => "ipv6_addr",
    };
    match set.role {
        Role::Ban => format!("{{ type {kind}; flags timeout; counter; }}"),
        Role::Allow => format!("{{ type {kind}; flags timeout; }}"),
    }
}

/// The match of a rule: the source, masked to the set's length, is in the set.
fn lookup(set: Set) -> String {
    let (source, mask) = match set.family {
        Family::V4 => (
            "ip saddr",
            IpAddr::from((!0u32).checked_shl(32 - u32::from(set.length)).unwrap_or(0).to_be_bytes()),
        ),
        Family::V6 => (
            "ip6 saddr",
            IpAddr::from((!0u128).checked_shl(128 - u32::from(set.length)).unwrap_or(0).to_be_bytes()),
        ),
    };
    if set.is_hosts() {
        format!("{source} @{}", set.name())
    } else {
        format!("{source} & {mask} == @{}", set.name())
    }
}

/// Sets of a role, single addresses first: most bans are hosts.
fn by_role(sets: &BTreeSet<Set>, role: Role) -> impl Iterator<Item = Set> {
    sets.iter().rev().copied().filter(move |set| set.role == role)
}

/// As `nft` reads it: its numbers with a unit have at most 8 digits, so every unit is used.
fn duration(d: Duration) -> String {
    let s = d.as_secs();
    let mut text = String::new();
    for (n, unit) in [
        (s / 86400, "d"),
        (s / 3600 % 24, "h"),
        (s / 60 % 60, "m"),
        (s % 60, "s"),
        (u64::from(d.subsec_millis()), "ms"),
    ] {
        if n > 0 {
            // Writing to a string cannot fail.
            let _ = write!(text, "{n}{unit}");
        }
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_of_an_element_change() {
        let set = Set::of(Role::Ban, "192.0.2.1".parse().unwrap());
        let elements = [
            ("192.0.2.1".parse().unwrap(), Some(Duration::from_millis(90_061_490))),
            ("192.0.2.2".parse().unwrap(), None),
        ];
        let mut script = Script::new("guard");
        script.put(set, &elements, Renewal::InPlace);
        script.take(set, &elements[1..]);
        assert_eq!(
            script.finish(),
            "add element inet guard ban4_32 { 192.0.2.1 timeout 1d1h1m1s500ms expires 1d1h1m1s500ms,192.0.2.2 }\n\
             add element inet guard ban4_32 { 192.0.2.2 }\n\
             delete element inet guard ban4_32 { 192.0.2.2 }\n"
        );
    }

    #[test]
    fn masks_of_every_length() {
        for (text, rule) in [
            ("10.0.0.0/8", "ip saddr & 255.0.0.0 == @ban4_8"),
            ("0.0.0.0/0", "ip saddr & 0.0.0.0 == @ban4_0"),
            ("2001:db8::/33", "ip6 saddr & ffff:ffff:8000:: == @ban6_33"),
            ("::1", "ip6 saddr @ban6_128"),
        ] {
            assert_eq!(lookup(Set::of(Role::Ban, text.parse().unwrap())), rule);
        }
    }
}
