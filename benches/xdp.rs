//! What a clean packet costs in the packet program, and what writing bans costs.
//!
//! Sources are random over the whole IPv4 space, so that look-ups meet a cold cache as real ones do. Each figure is
//! the median of several runs; the cost of a packet is told beside the same program without the verdict.

use std::borrow::Cow;
use std::fs;
use std::net::Ipv4Addr;
use std::path::Path;
use std::time::Instant;

use anyhow::Context as _;
use guard::ban::{Ban, BanId, BanTable, Origin};
use guard::config::Interfaces;
use guard::datapath::{self, Datapath, Options};
use guard::enforce::{Change, Desired, Enforcer as _, Xdp};
use guard::sighting::Points;
use guard::target::Target;
use guard::time::Moment;

/// Runs of a program for one figure.
const REPEAT: u32 = 2_000_000;
/// Figures of which the median is taken.
const ROUNDS: usize = 5;

/// One figure.
#[derive(Clone, Debug, serde::Serialize)]
pub(crate) struct Row {
    /// What was measured.
    pub(crate) name: String,
    /// Bans in the maps meanwhile.
    pub(crate) bans: u32,
    /// The figure.
    pub(crate) value: f64,
    /// Its unit.
    pub(crate) unit: &'static str,
}

/// Measures everything. `object` is the benchmark object (`target/ebpf/guard-bench.o`). Attaches to nothing.
pub(crate) fn run(object: &Path) -> anyhow::Result<Vec<Row>> {
    let object = fs::read(object)
        .with_context(|| format!("{}: run `cargo xtask build-ebpf` first", object.display()))?;
    let mut rows = Vec::new();
    for bans in [0, 10_000, 100_000, 1_000_000] {
        let bench = Bench::new(&object, bans, &mut rows)?;
        let empty = bench.nanoseconds("guard_empty4")?;
        let mut add = |name: &str, value| rows.push(Row { name: name.into(), bans, value, unit: "ns/packet" });
        add("xdp empty program, random source", empty);
        add("xdp clean packet, added by guard", bench.nanoseconds("guard_random4")? - empty);
        bench.fill_trie(bans)?;
        add("xdp clean packet, added by a plain LPM trie", bench.nanoseconds("guard_lpm4")? - empty);
    }
    Ok(rows)
}

/// The program with bans in its maps; taken down at the end.
struct Bench {
    xdp: Xdp,
    bpffs: String,
}

impl Bench {
    fn new(object: &[u8], bans: u32, rows: &mut Vec<Row>) -> anyhow::Result<Self> {
        let bpffs = format!("/sys/fs/bpf/guard-bench-{}-{bans}", std::process::id());
        let datapath = Datapath::open(Options {
            bpffs: bpffs.clone().into(),
            interfaces: Interfaces::Named(Vec::new()),
            capacity: (bans * 2).max(16_384),
            enforce: true,
            object: Some(Cow::Owned(object.to_vec())),
        })?;
        let mut bench = Self { xdp: Xdp::with(datapath)?, bpffs };
        let changes: Vec<Change> = sources(bans)
            .map(|address| Change::Ban { target: Target::host(address.into()), id: BanId(1), until: None })
            .collect();
        let started = Instant::now();
        bench.xdp.apply(&changes)?;
        let took = started.elapsed().as_secs_f64();
        rows.push(Row { name: "insert bans in one batch".into(), bans, value: took, unit: "s" });

        let started = Instant::now();
        let single = changes.len().min(100_000);
        for change in &changes[..single] {
            bench.xdp.apply(std::slice::from_ref(change))?;
        }
        if single > 0 {
            let each = started.elapsed().as_secs_f64() / single as f64 * 1e9;
            rows.push(Row { name: "extend a ban, one by one".into(), bans, value: each, unit: "ns/ban" });
        }
        let table = table(bans);
        let started = Instant::now();
        let drift = bench.xdp.reconcile(Desired { bans: &table, allowed: &[], now: Moment::now() })?;
        anyhow::ensure!(drift.is_none(), "the maps differ from what was written: {drift:?}");
        let took = started.elapsed().as_secs_f64();
        rows.push(Row { name: "compare every ban with the kernel".into(), bans, value: took, unit: "s" });
        Ok(bench)
    }

    /// The same networks as prefixes, for the design to compare with.
    fn fill_trie(&self, bans: u32) -> anyhow::Result<()> {
        let elements: Vec<_> = sources(bans)
            .map(|address| {
                let key = guard_common::Cidr4 { length: 32, address: address.octets() };
                (key, guard_common::PrefixEntry { length: 32, ..Default::default() })
            })
            .collect();
        Ok(self.xdp.datapath().maps().prefixes4.set_all(&elements)?)
    }

    /// The median time of a run.
    fn nanoseconds(&self, program: &str) -> anyhow::Result<f64> {
        let mut frame = [0; 60];
        frame[12] = 8;
        let mut runs = Vec::new();
        for _ in 0..ROUNDS {
            runs.push(self.xdp.datapath().test_run_of(program, &frame, REPEAT)?.nanoseconds);
        }
        runs.sort_unstable();
        Ok(runs[ROUNDS / 2] as f64)
    }
}

impl Drop for Bench {
    fn drop(&mut self) {
        // What is left is a folder of pins that nothing is attached to.
        let _ = datapath::remove_all(self.bpffs.as_ref());
    }
}

/// The bans as a daemon would hold them.
fn table(bans: u32) -> BanTable {
    let mut table = BanTable::default();
    for address in sources(bans) {
        table.set(Ban {
            id: BanId(1),
            target: Target::host(address.into()),
            since: Moment(0),
            until: None,
            origin: Origin::Manual(0),
            score: Points(0),
            strike: 1,
            reason: "".into(),
        });
    }
    table
}

/// Addresses spread over the whole space by multiplication with an odd constant: all different.
fn sources(count: u32) -> impl Iterator<Item = Ipv4Addr> {
    (1..=count).map(|number| Ipv4Addr::from(number.wrapping_mul(0x9e37_79b1)))
}
