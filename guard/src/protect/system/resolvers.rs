//! Name servers, from the files that hold them (resolv.conf(5), systemd-resolved(8)).

use std::collections::BTreeSet;
use std::fs;
use std::io;
use std::net::IpAddr;

use crate::target::canonical;

/// The second one has the real servers where the first names only a local stub.
const FILES: [&str; 2] = ["/etc/resolv.conf", "/run/systemd/resolve/resolv.conf"];

pub(super) fn read(resolvers: &mut BTreeSet<IpAddr>) -> io::Result<()> {
    let mut failed = Ok(());
    for file in FILES {
        match fs::read(file) {
            // Comments may be in any encoding.
            Ok(text) => resolvers.extend(name_servers(&String::from_utf8_lossy(&text))),
            Err(e) if e.kind() == io::ErrorKind::NotFound => {}
            Err(e) => failed = Err(io::Error::new(e.kind(), format!("{file}: {e}"))),
        }
    }
    failed
}

fn name_servers(text: &str) -> impl Iterator<Item = IpAddr> {
    text.lines().filter_map(|line| {
        let mut words = line.split_ascii_whitespace();
        if words.next() != Some("nameserver") {
            return None;
        }
        let address = words.next()?;
        let bare = address.split_once('%').map_or(address, |(bare, _zone)| bare);
        bare.parse().ok().map(canonical)
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn name_servers_of_a_file() {
        let text = "# nameserver 1.1.1.1\nsearch example.org\nnameserver 192.0.2.53\n  nameserver\tfe80::1%eth0 \n\
                    nameserver ::ffff:192.0.2.54\nnameserver nonsense\nnameservers 192.0.2.55\n";
        let found: Vec<String> = name_servers(text).map(|a| a.to_string()).collect();
        assert_eq!(found, ["192.0.2.53", "fe80::1", "192.0.2.54"]);
    }
}
