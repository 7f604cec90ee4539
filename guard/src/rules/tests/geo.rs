//! Countries and networks, out of a small database that is written here.

use std::net::{IpAddr, Ipv6Addr};
use std::path::PathBuf;

use super::*;
use crate::target::Target;

/// One value of the data section (<https://maxmind.github.io/MaxMind-DB/>).
enum Data<'a> {
    Map(Vec<(&'a str, Data<'a>)>),
    Array(Vec<Data<'a>>),
    Text(&'a str),
    /// Of a type (5: 16 bits, 6: 32, 9: 64).
    Number(u8, u64),
}

impl Data<'_> {
    fn write(&self, out: &mut Vec<u8>) {
        let mut control = |kind: u8, size: usize| {
            assert!(size < 29, "larger sizes are written in another way");
            if kind <= 7 {
                out.push(kind << 5 | size as u8);
            } else {
                out.extend([size as u8, kind - 7]);
            }
        };
        match self {
            Self::Map(entries) => {
                control(7, entries.len());
                for (key, value) in entries {
                    Data::Text(key).write(out);
                    value.write(out);
                }
            }
            Self::Array(items) => {
                control(11, items.len());
                for item in items {
                    item.write(out);
                }
            }
            Self::Text(text) => {
                control(2, text.len());
                out.extend(text.as_bytes());
            }
            Self::Number(kind, number) => {
                let bytes = number.to_be_bytes();
                let used = &bytes[number.leading_zeros() as usize / 8..];
                control(*kind, used.len());
                out.extend(used);
            }
        }
    }
}

/// A database of these prefixes, which do not overlap: a tree over 128 bits, IPv4 under `::/96`, records of 24 bits.
fn database(entries: &[(&str, Data<'_>)]) -> Vec<u8> {
    #[derive(Clone, Copy)]
    enum Record {
        Empty,
        Node(usize),
        Data(usize),
    }
    let mut nodes = vec![[Record::Empty; 2]];
    let mut data = Vec::new();
    for (prefix, value) in entries {
        let prefix: Target = prefix.parse().unwrap();
        let (bits, length) = match prefix.address() {
            IpAddr::V4(address) => (u128::from(u32::from(address)), prefix.length() + 96),
            IpAddr::V6(address) => (u128::from(address), prefix.length()),
        };
        let mut node = 0;
        for at in 0..length {
            let side = (bits >> (127 - at) & 1) as usize;
            if at + 1 == length {
                nodes[node][side] = Record::Data(data.len());
            } else if let Record::Node(next) = nodes[node][side] {
                node = next;
            } else {
                nodes[node][side] = Record::Node(nodes.len());
                node = nodes.len();
                nodes.push([Record::Empty; 2]);
            }
        }
        value.write(&mut data);
    }
    let mut out = Vec::new();
    for node in &nodes {
        for record in node {
            let number = match record {
                Record::Empty => nodes.len(),
                Record::Node(number) => *number,
                Record::Data(at) => nodes.len() + 16 + at,
            };
            out.extend(&(number as u32).to_be_bytes()[1..]);
        }
    }
    out.extend([0; 16]);
    out.extend(data);
    out.extend(b"\xab\xcd\xefMaxMind.com");
    let metadata = Data::Map(vec![
        ("node_count", Data::Number(6, nodes.len() as u64)),
        ("record_size", Data::Number(5, 24)),
        ("ip_version", Data::Number(5, 6)),
        ("database_type", Data::Text("Test")),
        ("languages", Data::Array(vec![])),
        ("binary_format_major_version", Data::Number(5, 2)),
        ("binary_format_minor_version", Data::Number(5, 0)),
        ("build_epoch", Data::Number(9, 1_795_000_000)),
        ("description", Data::Map(vec![])),
    ]);
    metadata.write(&mut out);
    out
}

fn country(code: &str) -> Data<'_> {
    Data::Map(vec![("country", Data::Map(vec![("iso_code", Data::Text(code))]))])
}

fn asn(number: u64) -> Data<'static> {
    Data::Map(vec![("autonomous_system_number", Data::Number(6, number))])
}

struct Databases {
    _folder: tempfile::TempDir,
    paths: Vec<PathBuf>,
}

fn databases() -> Databases {
    let folder = tempfile::tempdir().unwrap();
    let countries = database(&[("203.0.113.0/25", country("DE")), ("2001:db8::/32", country("FR"))]);
    let networks = database(&[("203.0.113.0/24", asn(64_500)), ("2001:db8::/33", asn(4_200_000_000))]);
    let paths = ["country.mmdb", "asn.mmdb"].map(|name| folder.path().join(name));
    std::fs::write(&paths[0], countries).unwrap();
    std::fs::write(&paths[1], networks).unwrap();
    Databases { _folder: folder, paths: paths.into() }
}

#[test]
fn addresses_are_found() {
    let databases = databases();
    let (geo, problems) = Geo::load(&databases.paths);
    assert!(problems.is_empty(), "{problems:?}");
    let find = |address: &str| geo.find(address.parse().unwrap());
    assert_eq!(find("203.0.113.7"), Origin { country: Some(*b"DE"), asn: Some(64_500) });
    assert_eq!(find("203.0.113.200"), Origin { country: None, asn: Some(64_500) });
    assert_eq!(find("2001:db8::1"), Origin { country: Some(*b"FR"), asn: Some(4_200_000_000) });
    assert_eq!(find("2001:db8:8000::1"), Origin { country: Some(*b"FR"), asn: None });
    assert_eq!(find("192.0.2.1"), Origin::default());
    assert_eq!(geo.find(IpAddr::V6(Ipv6Addr::UNSPECIFIED)), Origin::default());
}

#[test]
fn rules_ask_about_country_and_network() {
    let databases = databases();
    let (geo, _) = Geo::load(&databases.paths);
    for (condition, login_fits, request_fits) in [
        ("{ country = 'DE' }", true, false),
        ("{ country = ['fr', 'US'] }", false, true),
        ("{ not = { country = 'DE' } }", false, true),
        ("{ asn = 64500 }", true, false),
        ("{ asn = ['AS64500', 4200000000] }", true, true),
    ] {
        let mut set = when(condition);
        assert!(set.asks_origin());
        assert!(set.judge(&login(), Moment(0)).is_empty(), "nobody has looked it up");
        set.set_geo(geo.clone());
        let fits = [login(), request()].map(|facts| !set.judge(&facts, Moment(0)).is_empty());
        assert_eq!(fits, [login_fits, request_fits], "{condition}");
    }
    assert!(!when("{ user = 'x' }").asks_origin());
}

#[test]
fn what_is_no_database_is_named_and_the_others_are_asked() {
    let databases = databases();
    let folder = databases.paths[0].parent().unwrap();
    let (missing, rubbish, cut) = (folder.join("missing"), folder.join("rubbish"), folder.join("cut"));
    std::fs::write(&rubbish, "x".repeat(1000)).unwrap();
    let whole = std::fs::read(&databases.paths[1]).unwrap();
    std::fs::write(&cut, &whole[..whole.len() / 2]).unwrap();
    let paths = [missing, rubbish, cut, databases.paths[0].clone()];
    let (geo, problems) = Geo::load(&paths);
    let names: Vec<_> =
        problems.iter().map(|problem| problem.split([':', ';']).nth(1).unwrap().trim()).collect();
    assert_eq!(names.len(), 3, "{problems:?}");
    assert_eq!(names[0], "no such file");
    assert!(names[1].starts_with("it is no MMDB database") && names[2].starts_with("it is no MMDB database"));
    assert_eq!(geo.find("203.0.113.7".parse().unwrap()).country, Some(*b"DE"));
}

#[test]
fn a_damaged_database_tells_nothing_and_breaks_nothing() {
    let databases = databases();
    let whole = std::fs::read(&databases.paths[0]).unwrap();
    for at in 0..whole.len() {
        for bits in [0xff, 0x01, 0x80] {
            let mut damaged = whole.clone();
            damaged[at] ^= bits;
            std::fs::write(&databases.paths[0], damaged).unwrap();
            let (geo, _) = Geo::load(&databases.paths[..1]);
            for address in ["203.0.113.7", "2001:db8::1", "::1"] {
                geo.find(address.parse().unwrap());
            }
        }
    }
}
