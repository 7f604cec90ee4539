//! Own addresses and gateways, from the kernel's tables (rtnetlink(7)).

use std::collections::BTreeMap;
use std::io;
use std::net::IpAddr;

use netlink_packet_route::AddressFamily;
use netlink_packet_route::RouteNetlinkMessage as Message;
use netlink_packet_route::address::{AddressAttribute, AddressMessage};
use netlink_packet_route::link::{LinkAttribute, LinkMessage};
use netlink_packet_route::route::{RouteAddress, RouteAttribute, RouteMessage, RouteVia};
use netlink_sys::protocols::NETLINK_ROUTE;

use super::SystemAddresses;
use super::netlink::dump;
use crate::target::canonical;

/// Own and broadcast addresses of all interfaces; far ends of point-to-point links count as gateways.
pub(super) fn read_own(system: &mut SystemAddresses) -> io::Result<()> {
    let names = interface_names()?;
    dump(NETLINK_ROUTE, &Message::GetAddress(AddressMessage::default()), |message| {
        let Message::NewAddress(message) = message else { return };
        let index = message.header.index;
        let name = names.get(&index).cloned().unwrap_or_else(|| format!("interface {index}"));
        let (mut address, mut local) = (None, None);
        for attribute in message.attributes {
            match attribute {
                AddressAttribute::Address(a) => address = Some(canonical(a)),
                AddressAttribute::Local(a) => local = Some(canonical(a)),
                AddressAttribute::Broadcast(a) => {
                    system.broadcast.insert((IpAddr::V4(a), name.clone()));
                }
                _ => {}
            }
        }
        // With both given, IFA_ADDRESS is the far end where the two differ (linux/if_addr.h).
        if let (Some(far), Some(own)) = (address, local)
            && far != own
        {
            system.gateways.insert(far);
        }
        system.own.extend(local.or(address).map(|own| (own, name)));
    })
}

/// Next hops of the routes in all tables, both families.
pub(super) fn read_gateways(system: &mut SystemAddresses) -> io::Result<()> {
    for family in [AddressFamily::Inet, AddressFamily::Inet6] {
        let mut request = RouteMessage::default();
        request.header.address_family = family;
        dump(NETLINK_ROUTE, &Message::GetRoute(request), |message| {
            if let Message::NewRoute(route) = message {
                system
                    .gateways
                    .extend(next_hops(&route.attributes).into_iter().filter(|a| !a.is_unspecified()));
            }
        })?;
    }
    Ok(())
}

fn next_hops(attributes: &[RouteAttribute]) -> Vec<IpAddr> {
    let mut hops = Vec::new();
    for attribute in attributes {
        match attribute {
            RouteAttribute::Gateway(RouteAddress::Inet(a)) | RouteAttribute::Via(RouteVia::Inet(a)) => {
                hops.push(IpAddr::V4(*a));
            }
            RouteAttribute::Gateway(RouteAddress::Inet6(a)) | RouteAttribute::Via(RouteVia::Inet6(a)) => {
                hops.push(canonical(IpAddr::V6(*a)));
            }
            RouteAttribute::MultiPath(paths) => {
                hops.extend(paths.iter().flat_map(|path| next_hops(&path.attributes)));
            }
            _ => {}
        }
    }
    hops
}

fn interface_names() -> io::Result<BTreeMap<u32, String>> {
    let mut names = BTreeMap::new();
    dump(NETLINK_ROUTE, &Message::GetLink(LinkMessage::default()), |message| {
        let Message::NewLink(link) = message else { return };
        for attribute in link.attributes {
            if let LinkAttribute::IfName(name) = attribute {
                names.insert(link.header.index, name);
            }
        }
    })?;
    Ok(names)
}
