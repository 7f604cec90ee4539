//! What the kernel holds now. Attribute numbers as in `include/uapi/linux/netfilter/nf_tables.h`.

use std::collections::BTreeSet;
use std::io;
use std::ops::ControlFlow;
use std::time::Duration;

use guard_common::Tally;

use super::attributes::{Attributes, Read};
use super::batch::Batch;
use super::elements::{is_forced, key};
use super::netlink::{Get, Netlink};
use super::set::{Role, Set};
use super::skeleton::{HOOK_CHAIN, PRIORITY, rule_count};
use crate::target::Target;

/// `NFT_OBJECT_COUNTER`.
pub(super) const COUNTER: u32 = 1;

/// Attempts at reading a set that others change meanwhile.
const ATTEMPTS: usize = 5;

/// A table without its elements.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Structure {
    /// Our sets in it.
    pub(super) sets: BTreeSet<Set>,
    /// Whether packets reach our rules: the table is awake, the chain is at its hook, every rule is there.
    pub(super) sound: bool,
    /// Identity of table, chains, sets and rules, and what the rules say: equal as long as nobody touched them.
    print: Vec<u8>,
}

/// An element as the kernel has it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Element {
    /// The target.
    pub(super) target: Target,
    /// Time until it ends; `None` for good.
    pub(super) left: Option<Duration>,
    /// Whether it says that a person forced the ban.
    pub(super) is_forced: bool,
    /// Packets and bytes that matched it.
    pub(super) tally: Option<Tally>,
}

/// One table: its state, and the way to change it.
#[derive(Debug)]
pub(super) struct Live {
    pub(super) netlink: Netlink,
    table: String,
}

impl Live {
    /// Opens the way to the table of this name, which need not exist.
    pub(super) fn open(table: &str) -> io::Result<Self> {
        Ok(Self { netlink: Netlink::open()?, table: table.to_owned() })
    }

    /// Number of transactions in this network namespace, by whomever: as long as it stays, nothing changed.
    /// `EOPNOTSUPP` if the kernel has no `nf_tables`.
    pub(super) fn generation(&mut self) -> io::Result<u32> {
        let id = self.netlink.get(Get::Generation, |nothing| nothing, |answer| answer.u32(1));
        // A question without arguments is invalid only where nobody answers for the subsystem.
        let id = id.map_err(|error| match error.raw_os_error() {
            Some(libc::EINVAL) => io::Error::from_raw_os_error(libc::EOPNOTSUPP),
            _ => error,
        })?;
        id.ok_or_else(|| io::Error::other("the kernel tells no generation"))
    }

    /// Makes a transaction take effect, or nothing of it. With a `generation`, `ERESTART` says that the rule set
    /// has changed since.
    pub(super) fn transact(&mut self, batch: &mut Batch, generation: Option<u32>) -> io::Result<()> {
        self.netlink.transact(batch, generation.unwrap_or(0))
    }

    /// The table without its elements; `None` if there is none.
    pub(super) fn structure(&mut self) -> io::Result<Option<Structure>> {
        whole(|| self.structure_once())
    }

    fn structure_once(&mut self) -> io::Result<Option<Structure>> {
        const TABLE: [u16; 2] = [4, 2]; // handle, flags
        const CHAIN: [u16; 6] = [2, 3, 4, 5, 7, 10]; // handle, name, hook, policy, type, flags
        const RULE: [u16; 3] = [2, 1, 4]; // chain, table, expressions; their handles count too
        const SET: [u16; 3] = [16, 2, 3]; // handle, name, flags
        let by_name = |ask: Attributes| ask.text(1, &self.table);
        let mut print = Vec::new();
        let asleep = self.netlink.get(Get::Table, by_name, |table| {
            keep(&mut print, table, &TABLE);
            Some(table.u32(2).unwrap_or(0) != 0)
        })?;
        let Some(asleep) = asleep else { return Ok(None) };
        let (mut hooked, mut rules, mut sets) = (false, 0, BTreeSet::new());
        self.netlink.dump(Get::Chain, by_name, |chain| {
            if chain.text(1) == Some(&self.table) {
                hooked |= is_hook(chain);
                keep(&mut print, chain, &CHAIN);
            }
        })?;
        self.netlink.dump(Get::Rule, by_name, |rule| {
            if rule.text(1) == Some(&self.table) {
                rules += 1;
                keep(&mut print, rule, &RULE);
                keep(&mut print, rule, &[3]);
            }
        })?;
        self.netlink.dump(Get::Set, by_name, |set| {
            if set.text(1) == Some(&self.table) {
                sets.extend(set.text(2).and_then(Set::from_name));
                keep(&mut print, set, &SET);
            }
        })?;
        let sound = !asleep && hooked && rules == rule_count(&sets);
        Ok(Some(Structure { sets, sound, print }))
    }

    /// Every element of a set.
    pub(super) fn elements(&mut self, set: Set) -> io::Result<Vec<Element>> {
        whole(|| {
            let mut found = Vec::new();
            self.each_element(set, |element| {
                found.push(element);
                ControlFlow::Continue(())
            })?;
            Ok(found)
        })
    }

    /// Reads every element of a set. After an error of kind `Interrupted` some may have been left out, or read twice;
    /// after a break nothing else can be read by way of this.
    pub(super) fn each_element(
        &mut self,
        set: Set,
        mut each: impl FnMut(Element) -> ControlFlow<()>,
    ) -> io::Result<()> {
        let of = |ask: Attributes| ask.text(1, &self.table).text(2, &set.name());
        self.netlink.dump_while(Get::Element, of, |answer| {
            let elements = answer.inside(3);
            let mut elements = elements.iter().filter_map(|(_, element)| read_element(set, Read(element)));
            elements.try_for_each(&mut each)
        })
    }

    /// Number of elements in a set.
    pub(super) fn count(&mut self, set: Set) -> io::Result<u64> {
        let of = |ask: Attributes| ask.text(1, &self.table).text(2, &set.name());
        whole(|| {
            let mut count = 0;
            self.netlink.dump(Get::Element, of, |answer| count += answer.inside(3).iter().count() as u64)?;
            Ok(count)
        })
    }

    /// The element of exactly this target, if it has not ended.
    pub(super) fn element(&mut self, role: Role, target: Target) -> io::Result<Option<Element>> {
        let set = Set::of(role, target);
        let wanted = |ask: Attributes| {
            let of = ask.text(1, &self.table).text(2, &set.name());
            of.nested(3, |list| list.nested(1, |element| key(element, target)))
        };
        self.netlink.get(Get::Element, wanted, |answer| {
            answer.inside(3).iter().find_map(|(_, element)| read_element(set, Read(element)))
        })
    }

    /// A named counter; `None` if it does not exist.
    pub(super) fn counter(&mut self, name: &str) -> io::Result<Option<Tally>> {
        let wanted = |ask: Attributes| ask.text(1, &self.table).text(2, name).u32(3, COUNTER);
        self.netlink.get(Get::Object, wanted, |object| read_tally(object.inside(4)))
    }
}

/// Repeats a read that was not whole because the set changed meanwhile.
fn whole<T>(mut read: impl FnMut() -> io::Result<T>) -> io::Result<T> {
    for _ in 1..ATTEMPTS {
        match read() {
            Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
            outcome => return outcome,
        }
    }
    read()
}

/// Appends what attributes say to a print.
fn keep(print: &mut Vec<u8>, object: Read<'_>, kinds: &[u16]) {
    for &kind in kinds {
        let value = object.get(kind).unwrap_or_default();
        print.extend_from_slice(&kind.to_ne_bytes());
        print.extend_from_slice(&(value.len() as u16).to_ne_bytes());
        print.extend_from_slice(value);
    }
}

/// Whether this is our chain, at its hook (`NF_INET_PRE_ROUTING` is 0) with the policy to accept (1).
fn is_hook(chain: Read<'_>) -> bool {
    let hook = chain.inside(4);
    chain.text(3) == Some(HOOK_CHAIN)
        && hook.u32(1) == Some(0)
        && hook.u32(2) == Some(PRIORITY as u32)
        && chain.u32(5) == Some(1)
}

fn read_element(set: Set, element: Read<'_>) -> Option<Element> {
    let target = set.target(element.inside(1).get(1)?)?;
    let left = element.u64(5).map(Duration::from_millis);
    let tally = expressions(element).find_map(|expression| {
        (expression.text(1) == Some("counter")).then(|| read_tally(expression.inside(2))).flatten()
    });
    Some(Element { target, left, is_forced: is_forced(element.get(6)), tally })
}

/// The one expression of an element, or each of its list.
fn expressions(element: Read<'_>) -> impl Iterator<Item = Read<'_>> {
    let one = element.get(7).map(Read);
    one.into_iter().chain(element.inside(11).iter().map(|(_, expression)| Read(expression)))
}

fn read_tally(counter: Read<'_>) -> Option<Tally> {
    Some(Tally { bytes: counter.u64(1)?, packets: counter.u64(2)? })
}
