//! Which interfaces the program is attached to, how, and why not.

use std::collections::BTreeMap;
use std::io;
use std::os::fd::{AsFd, BorrowedFd, OwnedFd};

use super::error::DatapathError;
use super::links::Interface;
use super::pin::{Pins, Repair, release};
use super::sys::{self, LINK_XDP, XDP_GENERIC, XDP_NATIVE};
use crate::config::Interfaces;

/// How one interface is covered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Attachment {
    /// Its name.
    pub name: String,
    /// Its index; 0 if there is no such interface.
    pub index: u32,
    /// `native`, `generic` or `none`.
    pub mode: &'static str,
    /// Why it is not native; empty if it is.
    pub reason: String,
}

/// The links in the kernel, by index of the interface.
#[derive(Debug, Default)]
pub(super) struct Attachments {
    links: BTreeMap<u32, OwnedFd>,
    states: Vec<Attachment>,
    /// Why an interface runs in generic mode, from when it was attached.
    generic: BTreeMap<u32, String>,
}

impl Attachments {
    /// How each interface is covered, as of the last [`sync`](Self::sync).
    pub(super) fn states(&self) -> &[Attachment] {
        &self.states
    }

    /// Takes the pinned links over and puts `program` into them. Links of interfaces that are gone are removed.
    pub(super) fn adopt(pins: &Pins, program: BorrowedFd<'_>) -> Result<Self, DatapathError> {
        let mut attachments = Self::default();
        for (index, path) in pins.all_links()? {
            let link = sys::open_pinned(&path)
                .map_err(DatapathError::system(format!("opening the pinned link {}", path.display())))?;
            if is_on(&link, index) {
                attachments.links.insert(index, link);
            } else {
                release(&path)?;
            }
        }
        attachments.exchange(program)?;
        Ok(attachments)
    }

    /// Puts another program into every link. Each packet sees the one or the other.
    pub(super) fn exchange(&self, program: BorrowedFd<'_>) -> Result<(), DatapathError> {
        for (index, link) in &self.links {
            match sys::link_update(link.as_fd(), program) {
                // The interface has just gone, and the link with it.
                Err(error) if error.raw_os_error() == Some(libc::ENOLINK) => {}
                answer => answer
                    .map_err(DatapathError::system(format!("updating the link of interface {index}")))?,
            }
        }
        Ok(())
    }

    /// Attaches what should be attached, lets go of the rest, and repairs pins. What cannot be pinned is attached as long
    /// as this value lives.
    pub(super) fn sync(
        &mut self,
        pins: &Pins,
        program: BorrowedFd<'_>,
        interfaces: &[Interface],
        choice: &Interfaces,
        repair: &mut Repair,
    ) -> Result<(), DatapathError> {
        let wanted = |index: u32, links: &BTreeMap<u32, OwnedFd>| {
            interfaces.iter().any(|one| {
                one.index == index && unfit(one, interfaces, choice, links.contains_key(&index)).is_none()
            })
        };
        let gone: Vec<u32> = self
            .links
            .iter()
            .filter(|(index, link)| {
                let one = interfaces.iter().find(|one| one.index == **index);
                !one.is_some_and(|one| holds(link, one)) || !wanted(**index, &self.links)
            })
            .map(|(index, _)| *index)
            .collect();
        for index in gone {
            self.links.remove(&index);
            self.generic.remove(&index);
            release(&pins.link(index))?;
        }
        let mut states = Vec::new();
        for interface in interfaces {
            let held = self.links.contains_key(&interface.index);
            match unfit(interface, interfaces, choice, held) {
                Some(Unfit::Ignored) => {}
                Some(Unfit::Because(reason)) => states.push(uncovered(interface, reason)),
                None if held => {
                    let link = &self.links[&interface.index];
                    repair.add(Pins::ensure(&pins.link(interface.index), link.as_fd()));
                    states.push(self.covered(interface, interface.xdp.is_some_and(|xdp| xdp.native)));
                }
                None => match attach(program, interface) {
                    Ok((link, reason)) => {
                        let pin = pins.link(interface.index);
                        repair.add(Pins::unpin(&pin).and_then(|()| Pins::ensure(&pin, link.as_fd())));
                        self.links.insert(interface.index, link);
                        let native = reason.is_empty();
                        self.generic.insert(interface.index, reason);
                        states.push(self.covered(interface, native));
                    }
                    Err(reason) => states.push(uncovered(interface, reason)),
                },
            }
        }
        if let Interfaces::Named(names) = choice {
            let absent = |name: &&String| !interfaces.iter().any(|interface| interface.name == **name);
            states.extend(names.iter().filter(absent).map(|name| Attachment {
                name: name.clone(),
                index: 0,
                mode: "none",
                reason: "there is no such interface now; it is attached when it appears".into(),
            }));
        }
        self.states = states;
        Ok(())
    }

    /// Lets go of every interface.
    pub(super) fn clear(&mut self) {
        self.links.clear();
        self.states.clear();
        self.generic.clear();
    }

    fn covered(&self, interface: &Interface, native: bool) -> Attachment {
        let reason = self.generic.get(&interface.index).cloned().unwrap_or_default();
        Attachment {
            name: interface.name.clone(),
            index: interface.index,
            mode: if native { "native" } else { "generic" },
            reason: match (native, reason.is_empty()) {
                (true, _) => String::new(),
                (false, true) => "its driver did not take the program when it was attached".into(),
                (false, false) => reason,
            },
        }
    }
}

/// Why an interface is not covered.
enum Unfit {
    /// It was not asked for.
    Ignored,
    /// It was, but cannot be.
    Because(String),
}

/// Whether an interface is left out.
fn unfit(interface: &Interface, all: &[Interface], choice: &Interfaces, held: bool) -> Option<Unfit> {
    let by_index = |index: u32| all.iter().find(|other| other.index == index);
    match choice {
        Interfaces::Named(names) if !names.contains(&interface.name) => return Some(Unfit::Ignored),
        Interfaces::Named(_) => {}
        Interfaces::Auto => {
            if interface.loopback || !(interface.up || held) {
                return Some(Unfit::Ignored);
            }
            // The ports of a bridge are the ends of containers or a card whose traffic the bridge hands to the host;
            // those of a bond run what the bond runs.
            if interface.controller.and_then(by_index).is_some_and(is_switch) {
                return Some(Unfit::Ignored);
            }
            if is_covered_below(interface, all, choice) {
                return Some(Unfit::Ignored);
            }
        }
    }
    if interface.ethernet || interface.loopback {
        None
    } else {
        Some(Unfit::Because("its packets carry no Ethernet header".into()))
    }
}

/// Whether an interface's packets pass one below it, where tags are looked through, and that one is covered. A port of
/// a bridge is not, and yet the kernel takes tagged packets out of it before the bridge sees them.
fn is_covered_below(interface: &Interface, all: &[Interface], choice: &Interfaces) -> bool {
    let lower = all.iter().find(|other| Some(other.index) == interface.lower);
    matches!(interface.kind.as_str(), "vlan" | "macvlan" | "ipvlan")
        && lower.is_some_and(|lower| {
            let is_covered =
                || unfit(lower, all, choice, false).is_none() || is_covered_below(lower, all, choice);
            lower.up && is_covered()
        })
}

fn is_switch(interface: &Interface) -> bool {
    matches!(interface.kind.as_str(), "bridge" | "bond" | "team" | "openvswitch")
}

fn uncovered(interface: &Interface, reason: String) -> Attachment {
    Attachment { name: interface.name.clone(), index: interface.index, mode: "none", reason }
}

/// Whether a link is an XDP link that has an interface with this index, be it in another namespace.
fn is_on(link: &OwnedFd, index: u32) -> bool {
    sys::link_info(link.as_fd()).is_ok_and(|info| info.kind == LINK_XDP && info.ifindex == index)
}

/// Whether a link's program runs on an interface: both the link and the interface say so. An index alone says little: a
/// link stays with an interface that is moved to another namespace, and a new one here may get its index.
fn holds(link: &OwnedFd, interface: &Interface) -> bool {
    let runs = |id: u32| interface.xdp.is_some_and(|xdp| xdp.program == id || xdp.program == 0);
    is_on(link, interface.index) && sys::link_info(link.as_fd()).is_ok_and(|info| runs(info.program))
}

/// Attaches natively, else in generic mode with the reason; else only the reason.
fn attach(program: BorrowedFd<'_>, interface: &Interface) -> Result<(OwnedFd, String), String> {
    if let Some(foreign) = interface.xdp {
        return Err(occupied(foreign.program));
    }
    let native = match sys::link_create(program, interface.index, XDP_NATIVE) {
        Ok(link) => return Ok((link, String::new())),
        Err(error) if is_occupied(&error) => return Err(occupied(0)),
        Err(error) => error,
    };
    match sys::link_create(program, interface.index, XDP_GENERIC) {
        Ok(link) => Ok((link, format!("its driver does not take the program: {native}"))),
        Err(error) if is_occupied(&error) => Err(occupied(0)),
        Err(error) => Err(format!("native mode: {native}; generic mode: {error}")),
    }
}

fn is_occupied(error: &io::Error) -> bool {
    matches!(error.raw_os_error(), Some(libc::EBUSY | libc::EEXIST))
}

fn occupied(program: u32) -> String {
    let number = if program == 0 { String::new() } else { format!(" (id {program})") };
    format!("another XDP program{number} is attached and is left alone: detach it, or use nftables")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_vlan_is_covered_below_or_by_itself() {
        let one = |index, kind: &str, controller, lower| Interface {
            index,
            name: format!("i{index}"),
            up: true,
            loopback: false,
            ethernet: true,
            controller,
            lower,
            kind: kind.into(),
            xdp: None,
        };
        let all = [
            one(1, "bridge", None, None),
            one(2, "", Some(1), None),
            one(3, "vlan", None, Some(2)),
            one(4, "", None, None),
            one(5, "vlan", None, Some(4)),
            one(6, "vlan", None, Some(5)),
            one(7, "vlan", None, Some(1)),
        ];
        let taken = all.iter().filter(|one| unfit(one, &all, &Interfaces::Auto, false).is_none());
        let taken: Vec<u32> = taken.map(|one| one.index).collect();
        assert_eq!(taken, [1, 3, 4], "a port's VLAN leaves it before the bridge");
    }
}
