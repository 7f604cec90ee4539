//! What a clean packet costs in the packet program.
//!
//! Sources are random over the whole address space, so that look-ups meet a cold cache as real ones do. The cost is
//! told beside the same program without the verdict; both take turns, and the median of the differences counts.

use std::borrow::Cow;
use std::fs;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};
use std::path::PathBuf;
use std::time::Instant;

use anyhow::{Context as _, ensure};
use guard::ban::{Ban, BanId, BanTable, Origin};
use guard::config::Interfaces;
use guard::datapath::{self, Datapath, Options};
use guard::enforce::{Change, Desired, Enforcer as _, Xdp};
use guard::sighting::Points;
use guard::target::Target;
use guard::time::Moment;
use guard_common::{Cidr4, PrefixEntry};

use crate::table::{Section, verdict};

/// Runs of a program for one figure.
const REPEAT: u32 = 200_000;
/// Differences of which the median is taken.
const ROUNDS: usize = 35;
/// Bans in the maps, and what a clean packet may cost then, in nanoseconds.
const SIZES: [(u32, f64); 4] = [(0, 15.0), (10_000, 15.0), (100_000, 15.0), (1_000_000, 30.0)];
/// Changes made one by one.
const SINGLE: u32 = 50_000;

/// The benchmark object must be named by `GUARD_BENCH_OBJECT`; it is attached to nothing.
pub fn run() -> anyhow::Result<Section> {
    let object = object()?;
    let columns = ["bans", "IPv4", "IPv6", "plain LPM trie", "goal", "", "ban one more", "compare all"];
    let mut section = Section::new("Cost added to a clean packet by XDP", &columns);
    for (bans, goal) in SIZES {
        let v6 = Bench::new(&object, bans, Family::V6)?.added("guard_random6", "guard_empty6")?;
        let mut bench = Bench::new(&object, bans, Family::V4)?;
        let v4 = bench.added("guard_random4", "guard_empty4")?;
        let compare = bench.compare()?;
        let single = bench.single()?;
        bench.fill_trie()?;
        let trie = bench.added("guard_lpm4", "guard_empty4")?;
        section.row([
            bans.to_string(),
            nanoseconds(v4),
            nanoseconds(v6),
            nanoseconds(trie),
            format!("≤ {goal:.0} ns"),
            verdict(v4.max(v6) <= goal).to_owned(),
            format!("{:.1} µs", single * 1e6),
            format!("{:.0} ms", compare * 1e3),
        ]);
    }
    section.note(format!(
        "`BPF_PROG_TEST_RUN`, a random source for each of {REPEAT} packets, less the same program without the verdict; \
         medians of {ROUNDS} differences. The bans of a family are hosts spread over its whole space."
    ));
    section.note("Plain LPM trie: the same IPv4 hosts as /32 in one trie and nothing else, as the plain design does it.");
    section.note(format!(
        "Ban one more: mean of {SINGLE} new bans, each a call of its own. Compare all: one reconciliation that finds no \
         difference."
    ));
    Ok(section)
}

fn object() -> anyhow::Result<Vec<u8>> {
    let path = std::env::var_os("GUARD_BENCH_OBJECT")
        .map(PathBuf::from)
        .context("GUARD_BENCH_OBJECT does not name the benchmark object: use `cargo xtask bench`")?;
    fs::read(&path).with_context(|| format!("{}: use `cargo xtask build-ebpf --bench`", path.display()))
}

#[derive(Clone, Copy, Debug)]
enum Family {
    V4,
    V6,
}

impl Family {
    /// `EtherType`, network byte order.
    fn ether_type(self) -> [u8; 2] {
        match self {
            Self::V4 => [0x08, 0x00],
            Self::V6 => [0x86, 0xdd],
        }
    }

    /// The address of a number, spread over the whole space: no two are equal.
    fn address(self, number: u32) -> IpAddr {
        let spread = number.wrapping_mul(0x9e37_79b1);
        match self {
            Self::V4 => Ipv4Addr::from(spread).into(),
            // The upper half decides the /48 and the /64, and differs as a whole.
            Self::V6 => Ipv6Addr::from((u128::from(spread) << 96) | u128::from(number)).into(),
        }
    }
}

/// The program with bans in its maps; taken down at the end.
struct Bench {
    xdp: Xdp,
    bpffs: String,
    family: Family,
    bans: u32,
}

impl Bench {
    fn new(object: &[u8], bans: u32, family: Family) -> anyhow::Result<Self> {
        let bpffs = format!("/sys/fs/bpf/guard-bench-{}-{family:?}-{bans}", std::process::id());
        let datapath = Datapath::open(Options {
            bpffs: bpffs.clone().into(),
            interfaces: Interfaces::Named(Vec::new()),
            capacity: ((bans + SINGLE) * 2).max(16_384),
            enforce: true,
            object: Some(Cow::Owned(object.to_vec())),
        })?;
        let mut bench = Self { xdp: Xdp::with(datapath)?, bpffs, family, bans };
        let changes: Vec<Change> = (1..=bans).map(|number| bench.change(number)).collect();
        bench.xdp.apply(&changes)?;
        bench.xdp.settle()?;
        Ok(bench)
    }

    /// Nanoseconds that `program` takes longer than `empty`.
    fn added(&self, program: &str, empty: &str) -> anyhow::Result<f64> {
        let mut differences = Vec::new();
        for _ in 0..ROUNDS {
            differences.push(self.nanoseconds(program)? - self.nanoseconds(empty)?);
        }
        differences.sort_by(f64::total_cmp);
        Ok(differences[ROUNDS / 2])
    }

    fn nanoseconds(&self, program: &str) -> anyhow::Result<f64> {
        let mut frame = [0; 60];
        frame[12..14].copy_from_slice(&self.family.ether_type());
        // The length that the IP header tells: IPv4 with it, IPv6 what follows it.
        let (field, length) = match self.family {
            Family::V4 => (14 + 2, 46),
            Family::V6 => (14 + 4, 6),
        };
        frame[field + 1] = length;
        Ok(self.xdp.datapath().test_run_of(program, &frame, REPEAT)?.nanoseconds as f64)
    }

    /// Seconds for one comparison of every ban with the kernel.
    fn compare(&mut self) -> anyhow::Result<f64> {
        let mut bans = BanTable::default();
        for number in 1..=self.bans {
            bans.set(self.ban(number));
        }
        let start = Instant::now();
        let drift = self.xdp.reconcile(Desired { bans: &bans, allowed: &[], now: Moment::now() })?;
        let time = start.elapsed();
        ensure!(drift.is_none(), "the maps differ from what was written: {drift:?}");
        Ok(time.as_secs_f64())
    }

    /// Seconds for one new ban.
    fn single(&mut self) -> anyhow::Result<f64> {
        let changes: Vec<Change> =
            (self.bans + 1..=self.bans + SINGLE).map(|number| self.change(number)).collect();
        let start = Instant::now();
        for change in &changes {
            self.xdp.apply(std::slice::from_ref(change))?;
        }
        Ok(start.elapsed().as_secs_f64() / f64::from(SINGLE))
    }

    /// The same hosts as prefixes, for the design to compare with.
    fn fill_trie(&self) -> anyhow::Result<()> {
        let element = |number| match self.family.address(number) {
            IpAddr::V4(address) => Some((
                Cidr4 { length: 32, address: address.octets() },
                PrefixEntry { length: 32, ..Default::default() },
            )),
            IpAddr::V6(_) => None,
        };
        let elements: Vec<_> = (1..=self.bans).filter_map(element).collect();
        Ok(self.xdp.datapath().maps().prefixes4.set_all(&elements)?)
    }

    fn change(&self, number: u32) -> Change {
        let Ban { id, target, until, .. } = self.ban(number);
        Change::Ban { target, id, until }
    }

    fn ban(&self, number: u32) -> Ban {
        Ban {
            id: BanId(1),
            target: Target::host(self.family.address(number)),
            since: Moment(0),
            until: None,
            origin: Origin::Manual(0),
            score: Points(0),
            strike: 1,
            reason: "".into(),
        }
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left is a folder of pins that nothing is attached to.
        let _ = datapath::remove_all(self.bpffs.as_ref());
    }
}

fn nanoseconds(value: f64) -> String {
    format!("{value:.0} ns")
}
