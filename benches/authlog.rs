//! Logs to read: what sshd, PAM, cron, sudo, systemd and a mail server write on a server under attack.
//!
//! The shapes are those of the programs; the share of lines that an attacker caused is chosen. The same seed gives the
//! same log.

use std::fs::File;
use std::io::{self, BufWriter, Write};
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::Path;

/// Attackers; one in ten has an IPv6 address.
const ATTACKERS: u32 = 5000;
/// First bytes of the attackers' IPv4 addresses.
const NETWORKS: [u8; 7] = [5, 45, 91, 103, 185, 193, 212];
const ACCOUNTS: [&str; 10] =
    ["root", "admin", "test", "oracle", "ubuntu", "git", "postgres", "pi", "user", "deploy"];
/// People who work on the server.
const GOOD: [&str; 2] = ["198.51.100.7", "198.51.100.9"];
/// Milliseconds between two lines, at most.
const PAUSE: u32 = 59;
const BUFFER: usize = 1 << 20;

/// What to write.
#[derive(Clone, Copy, Debug)]
pub struct Recipe {
    /// Lines in all. The log begins on the first of a month; 80 million are a month.
    pub lines: u32,
    /// Lines of attackers, in percent.
    pub attacks: u32,
    /// Where the random numbers start.
    pub seed: u64,
}

/// Writes the log, and answers how many of its lines an attacker caused.
pub fn write(path: &Path, recipe: Recipe) -> io::Result<u32> {
    let mut out = BufWriter::with_capacity(BUFFER, File::create(path)?);
    let mut random = Random(recipe.seed);
    let attackers: Vec<IpAddr> = (0..ATTACKERS).map(|number| attacker(number, &mut random)).collect();
    let (mut milliseconds, mut attacks) = (0_u64, 0);
    for number in 0..recipe.lines {
        milliseconds += u64::from(1 + random.below(PAUSE));
        let stamp = Stamp(milliseconds / 1000);
        if random.below(100) < recipe.attacks {
            attacks += 1;
            let attacker = random.pick(&attackers);
            attack(&mut out, stamp, attacker, &mut random)?;
        } else {
            routine(&mut out, stamp, number, &mut random)?;
        }
    }
    out.flush()?;
    Ok(attacks)
}

fn attacker(number: u32, random: &mut Random) -> IpAddr {
    if number % 10 == 9 {
        let [a, b, c] = [0; 3].map(|_: u16| 1 + random.below(65535) as u16);
        Ipv6Addr::new(0x2001, 0xdb8, a, b, 0, 0, 0, c).into()
    } else {
        let [b, c] = [0; 2].map(|_: u8| random.below(256) as u8);
        Ipv4Addr::new(random.pick(&NETWORKS), b, c, 1 + random.below(254) as u8).into()
    }
}

/// A failed guess, in one of the ways in which sshd and PAM tell of it.
fn attack(out: &mut impl Write, at: Stamp, ip: IpAddr, random: &mut Random) -> io::Result<()> {
    let (account, pid, port) = (random.pick(&ACCOUNTS), random.pid(), random.port());
    write!(out, "{at} web1 sshd[{pid}]: ")?;
    match random.below(6) {
        0 => writeln!(out, "Failed password for {account} from {ip} port {port} ssh2"),
        1 => writeln!(out, "Failed password for invalid user {account} from {ip} port {port} ssh2"),
        2 => writeln!(out, "Invalid user {account} from {ip} port {port}"),
        3 => writeln!(
            out,
            "pam_unix(sshd:auth): authentication failure; logname= uid=0 euid=0 tty=ssh ruser= rhost={ip}  \
             user={account}"
        ),
        4 => writeln!(out, "Connection closed by authenticating user {account} {ip} port {port} [preauth]"),
        _ => writeln!(
            out,
            "error: maximum authentication attempts exceeded for {account} from {ip} port {port} ssh2 [preauth]"
        ),
    }
}

/// A line of an ordinary day.
fn routine(out: &mut impl Write, at: Stamp, number: u32, random: &mut Random) -> io::Result<()> {
    let (pid, port, good) = (random.pid(), random.port(), random.pick(&GOOD));
    write!(out, "{at} web1 ")?;
    match random.below(9) {
        0 => writeln!(
            out,
            "CRON[{pid}]: pam_unix(cron:session): session opened for user root(uid=0) by (uid=0)"
        ),
        1 => writeln!(out, "CRON[{pid}]: pam_unix(cron:session): session closed for user root"),
        2 => writeln!(out, "systemd-logind[612]: New session {number} of user deploy."),
        3 => writeln!(
            out,
            "sshd[{pid}]: Accepted publickey for deploy from {good} port {port} ssh2: ED25519 \
             SHA256:q9zI2l0N8bq3M0jGx3Z9q2mZbQ1V4vT6c7K8d9e0f1g"
        ),
        4 => writeln!(
            out,
            "sshd[{pid}]: pam_unix(sshd:session): session opened for user deploy(uid=1000) by (uid=0)"
        ),
        5 => writeln!(
            out,
            "sudo:   deploy : TTY=pts/0 ; PWD=/srv/app ; USER=root ; COMMAND=/usr/bin/systemctl reload nginx"
        ),
        6 => writeln!(out, "systemd[1]: session-{number}.scope: Deactivated successfully."),
        7 => {
            writeln!(out, "sshd[{pid}]: Received disconnect from {good} port {port}:11: disconnected by user")
        }
        _ => writeln!(
            out,
            "postfix/smtpd[{pid}]: connect from mail.example.org[203.0.113.{}]",
            1 + random.below(249)
        ),
    }
}

/// Seconds since the first of November, shown as syslog does (RFC 3164, section 4.1.2).
#[derive(Clone, Copy)]
struct Stamp(u64);

impl std::fmt::Display for Stamp {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let (days, seconds) = (self.0 / 86400, self.0 % 86400);
        write!(f, "Nov {:2} {:02}:{:02}:{:02}", days + 1, seconds / 3600, seconds / 60 % 60, seconds % 60)
    }
}

/// `SplitMix64` (Steele, Lea and Flood, "Fast Splittable Pseudorandom Number Generators", 2014).
struct Random(u64);

impl Random {
    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let z = (self.0 ^ (self.0 >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        let z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        z ^ (z >> 31)
    }

    /// A number below `limit`; the bias of at most one in 2^32 does not matter here.
    fn below(&mut self, limit: u32) -> u32 {
        ((u64::from(self.next() as u32) * u64::from(limit)) >> 32) as u32
    }

    fn pick<T: Copy>(&mut self, from: &[T]) -> T {
        from[self.below(from.len() as u32) as usize]
    }

    fn pid(&mut self) -> u32 {
        300 + self.below(99_699)
    }

    fn port(&mut self) -> u32 {
        1024 + self.below(64_511)
    }
}

#[cfg(test)]
mod tests {
    use super::{Recipe, write};

    #[test]
    fn the_share_is_kept_and_every_line_has_a_header() -> std::io::Result<()> {
        let folder = tempfile::tempdir()?;
        let path = folder.path().join("auth.log");

        let attacks = write(&path, Recipe { lines: 10_000, attacks: 50, seed: 1 })?;

        let text = std::fs::read_to_string(&path)?;
        assert_eq!(text.lines().count(), 10_000);
        assert!((4800..5200).contains(&attacks), "{attacks}");
        assert!(text.lines().all(|line| line.starts_with("Nov  1 00:0") && line[15..].starts_with(" web1 ")));
        Ok(())
    }
}
