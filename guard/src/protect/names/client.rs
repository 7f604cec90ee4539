//! Asking the machine's name servers for the addresses of a name. They follow aliases and look elsewhere; this does not.

use std::fs;
use std::hash::{BuildHasher, RandomState};
use std::io::{self, Read, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpStream, ToSocketAddrs, UdpSocket};
use std::time::{Duration, Instant};

use super::message::{Family, Reply, question, reply};
use super::{Answer, Found};
use crate::protect::system::{RESOLV_CONF, name_servers};
use crate::target::HostName;

/// How long a server may take to answer.
const PATIENCE: Duration = Duration::from_secs(2);
/// How often each server is asked.
const TRIES: usize = 2;
/// Servers that are asked, as resolvers do (resolv.conf(5)).
const SERVERS: usize = 3;
/// Their port.
const PORT: u16 = 53;

const FAMILIES: [Family; 2] = [Family::V4, Family::V6];

/// Asks for both families of a name. Without servers of its own, those of the machine.
pub(super) fn ask(name: &HostName, servers: &[SocketAddr]) -> Answer {
    let own;
    let servers = if servers.is_empty() {
        own = match machine_servers() {
            Ok(servers) => servers,
            Err(cause) => return Answer::failed(&format!("{RESOLV_CONF} cannot be read: {cause}")),
        };
        &own
    } else {
        servers
    };
    let mut answer = Answer::failed(&format!("{RESOLV_CONF} names no server"));
    for _ in 0..TRIES {
        for server in servers.iter().take(SERVERS) {
            let open: Vec<Family> =
                FAMILIES.into_iter().filter(|family| answer.of(*family).is_err()).collect();
            if open.is_empty() || answer.is_final {
                return answer;
            }
            if let Err(cause) = exchange(name, *server, &open, &mut answer) {
                let because = refused(*server, &cause);
                for family in open {
                    if answer.of(family).is_err() {
                        answer.set(family, Err(because.clone()));
                    }
                }
            }
        }
    }
    answer
}

/// The servers that the machine uses.
fn machine_servers() -> io::Result<Vec<SocketAddr>> {
    let text = fs::read(RESOLV_CONF)?;
    Ok(places(&String::from_utf8_lossy(&text)).collect())
}

/// Where the name servers of a file are asked. One on a link is asked on that link.
fn places(text: &str) -> impl Iterator<Item = SocketAddr> {
    // Nothing is resolved: it is a number, and perhaps the name of a link.
    name_servers(text).filter_map(|server| (server.text, PORT).to_socket_addrs().ok()?.next())
}

/// Puts the questions to a server and notes what it says, until all are answered or it has taken too long.
fn exchange(name: &HostName, server: SocketAddr, open: &[Family], answer: &mut Answer) -> io::Result<()> {
    let any: IpAddr =
        if server.is_ipv4() { Ipv4Addr::UNSPECIFIED.into() } else { Ipv6Addr::UNSPECIFIED.into() };
    // The kernel draws the port; of a connected socket it takes what comes from the server only.
    let socket = UdpSocket::bind((any, 0))?;
    socket.connect(server)?;
    let mut asked: Vec<(Family, u16)> = open.iter().map(|family| (*family, number())).collect();
    for (family, number) in &asked {
        socket.send(&question(name, *family, *number))?;
    }
    let deadline = Instant::now() + PATIENCE;
    let mut buffer = [0; 4096];
    while !asked.is_empty() {
        let left = deadline.saturating_duration_since(Instant::now());
        if left.is_zero() {
            return Err(io::ErrorKind::TimedOut.into());
        }
        socket.set_read_timeout(Some(left))?;
        let length = match socket.recv(&mut buffer) {
            Ok(length) => length,
            Err(cause) if cause.kind() == io::ErrorKind::Interrupted => continue,
            Err(cause) => return Err(cause),
        };
        let said = asked.iter().position(|(family, number)| {
            let Some(said) = reply(&buffer[..length], name, *family, *number) else { return false };
            let said = match said {
                Reply::Truncated => over_tcp(name, server, *family).unwrap_or_else(|cause| {
                    answer.set(*family, Err(refused(server, &cause)));
                    Reply::Truncated
                }),
                said => said,
            };
            note(answer, *family, server, said);
            true
        });
        if let Some(place) = said {
            asked.swap_remove(place);
        }
    }
    Ok(())
}

fn note(answer: &mut Answer, family: Family, server: SocketAddr, said: Reply) {
    match said {
        Reply::Addresses(addresses, holds) => answer.set(family, Ok(Found { addresses, holds })),
        Reply::NoSuchName => {
            answer.set(family, Err(format!("{} says that there is no such name", server.ip())));
            answer.is_final = true;
        }
        Reply::Failed(code) => {
            answer.set(family, Err(format!("{} could not answer (code {code})", server.ip())));
        }
        // What came of asking again has been noted.
        Reply::Truncated => {}
    }
}

/// Asks once more where an answer may be long (RFC 1035, 4.2.2).
fn over_tcp(name: &HostName, server: SocketAddr, family: Family) -> io::Result<Reply> {
    let mut stream = TcpStream::connect_timeout(&server, PATIENCE)?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.set_write_timeout(Some(PATIENCE))?;
    let number = number();
    let question = question(name, family, number);
    stream.write_all(&[&(question.len() as u16).to_be_bytes()[..], &question].concat())?;
    let mut length = [0; 2];
    stream.read_exact(&mut length)?;
    let mut bytes = vec![0; u16::from_be_bytes(length).into()];
    let mut read = 0;
    // A server that sends a byte now and then must not keep the thread for longer than others may.
    let deadline = Instant::now() + PATIENCE;
    while read < bytes.len() {
        match stream.read(&mut bytes[read..])? {
            0 => return Err(io::ErrorKind::UnexpectedEof.into()),
            _ if Instant::now() >= deadline => return Err(io::ErrorKind::TimedOut.into()),
            more => read += more,
        }
    }
    reply(&bytes, name, family, number)
        .filter(|said| *said != Reply::Truncated)
        .ok_or_else(|| io::ErrorKind::InvalidData.into())
}

/// A number that nobody can guess: the keys of the hash are the system's random numbers.
fn number() -> u16 {
    RandomState::new().hash_one(Instant::now()) as u16
}

fn refused(server: SocketAddr, cause: &io::Error) -> String {
    let server = server.ip();
    match cause.kind() {
        io::ErrorKind::TimedOut | io::ErrorKind::WouldBlock => format!("{server} does not answer"),
        io::ErrorKind::ConnectionRefused => format!("nobody answers at {server}"),
        _ if cause.raw_os_error() == Some(libc::EPERM) => format!(
            "the system does not let guard reach {server}: under systemd, install the drop-in config/systemd/feeds.conf as /etc/systemd/system/guard.service.d/feeds.conf"
        ),
        _ => format!("{server} cannot be asked: {cause}"),
    }
}

#[cfg(test)]
mod tests {
    use std::net::TcpListener;
    use std::thread;

    use super::*;

    #[test]
    fn name_servers_of_a_file() {
        let text =
            "# nameserver 1.1.1.1\nnameserver 192.0.2.53\n nameserver\tfe80::1%lo \nnameserver a.org\n";
        let found: Vec<String> = places(text).map(|a| a.to_string()).collect();
        assert_eq!(found, ["192.0.2.53:53", "[fe80::1%1]:53"]);
    }

    fn name() -> HostName {
        "vpn.example.org".parse().unwrap()
    }

    /// A server that answers each datagram with what `say` makes of it, and connections likewise.
    fn server(say: impl Fn(&[u8], bool) -> Vec<u8> + Send + Copy + 'static) -> SocketAddr {
        let socket = UdpSocket::bind("127.0.0.1:0").unwrap();
        let address = socket.local_addr().unwrap();
        let listener = TcpListener::bind(address).unwrap();
        thread::spawn(move || {
            let mut bytes = [0; 512];
            while let Ok((length, from)) = socket.recv_from(&mut bytes) {
                socket.send_to(&say(&bytes[..length], false), from).unwrap();
            }
        });
        thread::spawn(move || {
            for mut stream in listener.incoming().flatten() {
                let mut bytes = [0; 512];
                let length = stream.read(&mut bytes).unwrap();
                let said = say(&bytes[2..length], true);
                stream.write_all(&[&(said.len() as u16).to_be_bytes()[..], &said].concat()).unwrap();
            }
        });
        address
    }

    const NO_ERROR: u16 = 0;

    /// What a server says to a question: an address of its family, with this code in the flags.
    fn answered(question: &[u8], flags: u16) -> Vec<u8> {
        let mut bytes = question.to_vec();
        bytes[2..4].copy_from_slice(&flags.to_be_bytes());
        let kind = &question[question.len() - 4..question.len() - 2];
        if flags & 15 == NO_ERROR {
            bytes[7] = 1;
            let data: &[u8] = if kind == [0, 1] { &[203, 0, 113, 7] } else { &[0x20; 16] };
            bytes.extend([&[0xc0, 12][..], kind, &[0, 1, 0, 0, 1, 44, 0, data.len() as u8], data].concat());
        }
        bytes
    }

    #[test]
    fn both_families_are_asked_for() {
        let place = server(|question, _| answered(question, 0x8180));
        let answer = ask(&name(), &[place]);
        let found: Vec<String> = FAMILIES
            .iter()
            .map(|family| answer.of(*family).as_ref().unwrap().addresses[0].to_string())
            .collect();
        assert_eq!(found, ["203.0.113.7", "2020:2020:2020:2020:2020:2020:2020:2020"]);
        assert_eq!(answer.of(Family::V4).as_ref().unwrap().holds, Some(Duration::from_secs(300)));
    }

    #[test]
    fn a_long_answer_is_asked_for_once_more() {
        let place = server(|question, again| answered(question, if again { 0x8180 } else { 0x8380 }));
        let answer = ask(&name(), &[place]);
        assert!(FAMILIES.iter().all(|family| answer.of(*family).is_ok()), "{answer:?}");
    }

    #[test]
    fn what_nobody_asked_for_is_passed_over_and_another_server_asked() {
        // The first says something with another number, the second cannot, the third can.
        let wrong = server(|question, _| {
            let mut bytes = answered(question, 0x8180);
            bytes[1] ^= 1;
            bytes
        });
        let broken = server(|question, _| answered(question, 0x8182));
        let good = server(|question, _| answered(question, 0x8180));
        let answer = ask(&name(), &[wrong, broken, good]);
        assert!(FAMILIES.iter().all(|family| answer.of(*family).is_ok()), "{answer:?}");
        let answer = ask(&name(), &[broken]);
        assert_eq!(answer.of(Family::V4), &Err("127.0.0.1 could not answer (code 2)".into()));
    }

    #[test]
    fn why_there_is_no_answer() {
        let nobody = UdpSocket::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
        let answer = ask(&name(), &[nobody]);
        assert_eq!(answer.of(Family::V6), &Err("nobody answers at 127.0.0.1".into()));
        let unknown = server(|question, _| answered(question, 0x8183));
        let start = Instant::now();
        let answer = ask(&name(), &[unknown, nobody]);
        assert_eq!(answer.of(Family::V4), &Err("127.0.0.1 says that there is no such name".into()));
        assert!(start.elapsed() < PATIENCE);
    }
}
