//! The engine as the daemon has it, with every detector, accounts and lines as evidence: what it keeps in memory, and
//! how it stands a flood of sources that nobody has seen before.

use std::hint::black_box;
use std::net::{IpAddr, Ipv6Addr};
use std::time::Instant;

use guard::config::Decide;
use guard::engine::{Decision, Engine, EngineOptions};
use guard::sighting::{Sighting, SourceId};
use guard::target::Target;
use guard::time::Moment;
use rustix::process::getpid;

use crate::cost::resident;
use crate::engine::{Figure, address, nanoseconds, sighting, spread};

/// Lines kept as evidence for each source, as in the daemon.
const EVIDENCE: usize = 8;
/// Accounts that are tried: more than the engine tells apart.
const ACCOUNTS: u32 = 9973;
/// What is kept as evidence.
const LINE: &[u8] =
    b"Nov 20 21:00:00 host sshd[12345]: Failed password for account1234 from 203.0.113.77 port 50000 ssh2";
/// A million sources with all that belongs to them.
const MEMORY: f64 = 120.0;
/// New sources of the flood in a millisecond of its time.
const FLOOD: u32 = 100;
/// How long it lasts, in milliseconds.
const LASTS: u32 = 10_000;
/// Addresses that go on failing in it, each ten times a second.
const OFFENDERS: u32 = 100;

/// Resident memory with so many sources, half of them of IPv6, each of which has failed twice.
pub fn memory(sources: u32, figures: &mut Vec<Figure>) -> anyhow::Result<()> {
    let before = resident(getpid())?.anonymous;
    let mut lines = Lines::new(sources as usize);
    let begin = Instant::now();
    let calls = 2 * sources;
    for i in 0..calls {
        lines.fail(any_address(i % sources), i, Moment(i64::from(i / FLOOD)));
    }
    let time = nanoseconds(begin.elapsed(), calls);
    figures.push(Figure::new(format!("every detector, {sources} sources"), time, "ns"));
    let grown = resident(getpid())?.anonymous.saturating_sub(before);
    let name = format!("memory, every detector, {} sources", lines.engine.tracked());
    let figure = Figure::new(name, grown as f64 / f64::from(1 << 20), "MiB");
    figures.push(if sources == 1_000_000 { figure.at_most(MEMORY) } else { figure });
    Ok(())
}

/// A hundred thousand new sources a second, for ten seconds, and a few that go on failing meanwhile.
pub fn flood(figures: &mut Vec<Figure>) {
    let most = Decide::default().max_sources;
    let mut lines = Lines::new(most);
    let mut banned = 0;
    let begin = Instant::now();
    for i in 0..LASTS * FLOOD {
        let now = Moment(i64::from(i / FLOOD));
        lines.fail(any_address(1 + i), i, now);
        if i % FLOOD == 0 {
            let offender = IpAddr::from([198, 18, (i / FLOOD % OFFENDERS) as u8, 7]);
            banned += u32::from(lines.fail(offender, i, now));
        }
    }
    let time = nanoseconds(begin.elapsed(), LASTS * (FLOOD + 1));
    let name = format!("every detector, every source new, {most} at most");
    figures.push(Figure::new(name.clone(), time, "ns"));
    figures.push(Figure::new(format!("{name}: a second"), 1e9 / time, "sightings"));
    let evicted = lines.engine.count().evicted;
    figures.push(Figure::new(format!("{name}: made room"), evicted as f64, "sources"));
    let name = format!("{OFFENDERS} that fail ten times a second in it: banned");
    figures.push(Figure::new(name, f64::from(banned), "addresses").at_least(f64::from(OFFENDERS)));
}

/// An engine and the accounts of the lines it is given.
struct Lines {
    engine: Engine,
    accounts: Vec<String>,
}

impl Lines {
    fn new(sources: usize) -> Self {
        let decide = Decide { max_sources: sources, ..Decide::default() };
        Self {
            engine: Engine::new(EngineOptions { decide, seed: 1, evidence: EVIDENCE }),
            accounts: (0..ACCOUNTS).map(|number| format!("account{number}")).collect(),
        }
    }

    /// A failed login at some account. Answers whether its address is to be banned.
    fn fail(&mut self, address: IpAddr, number: u32, now: Moment) -> bool {
        let account = self.accounts[(spread(number) % ACCOUNTS) as usize].as_bytes();
        let sighting = Sighting { account: Some(account), line: LINE, ..sighting(address, number) };
        let mut next = self.engine.observe(&sighting, SourceId(0), now, now);
        let mut banned = false;
        while let Some(decision) = next.take().or_else(|| self.engine.further()) {
            if let Decision::Ban(order) = &decision {
                banned |= order.target == Target::host(address);
                self.engine.stands(order, now);
            }
            black_box(decision);
        }
        banned
    }
}

/// IPv4 and IPv6 in turn; each of the latter in a prefix of its own.
fn any_address(number: u32) -> IpAddr {
    if number.is_multiple_of(2) {
        return address(number);
    }
    IpAddr::V6(Ipv6Addr::from_bits(0x2001_0db8 << 96 | u128::from(spread(number)) << 64 | 1))
}
