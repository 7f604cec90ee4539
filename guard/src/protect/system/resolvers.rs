//! Name servers, from the files that hold them (resolv.conf(5), systemd-resolved(8)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use crate::target::canonical;

/// Where the machine's servers are named.
pub(in crate::protect) const RESOLV_CONF: &str = "/etc/resolv.conf";
/// The second one has the real servers where the first names only a local stub.
const FILES: [&str; 2] = [RESOLV_CONF, "/run/systemd/resolve/resolv.conf"];

/// A name server, as a file names it.
#[derive(Clone, Copy, Debug)]
pub(in crate::protect) struct NameServer<'a> {
    /// Its address.
    pub(in crate::protect) address: IpAddr,
    /// The same as it is written: of one on a link, with the link behind `%`.
    pub(in crate::protect) text: &'a str,
}

pub(super) fn read(resolvers: &mut BTreeSet<IpAddr>) -> io::Result<()> {
    let mut failed = Ok(());
    for file in FILES {
        match fs::read(file) {
            // Comments may be in any encoding.
            Ok(text) => {
                resolvers.extend(name_servers(&String::from_utf8_lossy(&text)).map(|server| server.address));
            }
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => failed = Err(io::Error::new(e.kind(), format!("{file}: {e}"))),
        }
    }
    failed
}

/// The name servers that the text of a file names. Only numbers are taken: names of name servers are not resolved.
pub(in crate::protect) fn name_servers(text: &str) -> impl Iterator<Item = NameServer<'_>> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let text = words.next()?;
        let bare = text.split_once('%').map_or(text, |(bare, _zone)| bare);
        Some(NameServer { address: canonical(bare.parse().ok()?), text })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_a_file() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 192.0.2.53\n  nameserver\tfe80::1%eth0 \n\
                    nameserver ::ffff:192.0.2.54\nnameserver nonsense\nnameservers 192.0.2.55\n";
        let found: Vec<String> =
            name_servers(text).map(|server| format!("{} {}", server.address, server.text)).collect();
        assert_eq!(found, ["192.0.2.53 192.0.2.53", "fe80::1 fe80::1%eth0", "192.0.2.54 ::ffff:192.0.2.54"]);
    }
}
