//! The engine and the ban table by themselves: time for one call and bytes for one record, at several sizes.

use std::hint::black_box;
use std::net::{IpAddr, Ipv4Addr};
use std::time::{Duration, Instant};

use guard::ban::{Ban, BanQuery, BanTable, Listing, Origin, Sort};
use guard::config::Decide;
use guard::engine::{Engine, EngineOptions};
use guard::sighting::{Kind, PatternId, Points, Sighting, SourceId};
use guard::target::Target;
use guard::time::{Clock, Moment, Wall};

use crate::table::verdict;
use crate::{detectors, restored};

/// One measured figure.
#[derive(Clone, Debug)]
pub struct Figure {
    /// What was measured.
    pub name: String,
    /// The value.
    pub value: f64,
    /// Its unit.
    pub unit: &'static str,
    /// What it should be.
    pub goal: Option<Goal>,
}

/// What a figure should be.
#[derive(Clone, Copy, Debug)]
pub enum Goal {
    /// No more than this.
    AtMost(f64),
    /// No less than this.
    AtLeast(f64),
}

impl Figure {
    /// A figure without a goal.
    pub const fn new(name: String, value: f64, unit: &'static str) -> Self {
        Self { name, value, unit, goal: None }
    }

    /// The same, which should be no more than this.
    pub fn at_most(self, goal: f64) -> Self {
        Self { goal: Some(Goal::AtMost(goal)), ..self }
    }

    /// The same, which should be no less than this.
    pub fn at_least(self, goal: f64) -> Self {
        Self { goal: Some(Goal::AtLeast(goal)), ..self }
    }

    /// The goal in words, and whether it was met; nothing where there is none.
    pub fn goal(&self) -> (String, &'static str) {
        match self.goal {
            Some(Goal::AtMost(goal)) => (format!("≤ {goal:.0}"), verdict(self.value <= goal)),
            Some(Goal::AtLeast(goal)) => (format!("≥ {goal:.0}"), verdict(self.value >= goal)),
            None => (String::new(), ""),
        }
    }
}

/// Every figure of the engine and the ban table.
pub fn measure() -> anyhow::Result<Vec<Figure>> {
    let mut figures = Vec::new();
    for sources in [10_000, 100_000, 1_000_000] {
        observe(sources, &mut figures);
    }
    for sources in [10_000, 100_000, 1_000_000] {
        detectors::memory(sources, &mut figures)?;
    }
    flood(&mut figures);
    detectors::flood(&mut figures);
    for bans in [10_000, 100_000, 1_000_000] {
        table(bans, &mut figures);
    }
    for bans in [10_000, 100_000, 1_000_000] {
        restored::measure(bans, &mut figures)?;
    }
    Ok(figures)
}

/// Sightings of so many sources in random order, under the threshold and over it as it comes.
fn observe(sources: u32, figures: &mut Vec<Figure>) {
    let decide = Decide { max_sources: sources as usize, ..Decide::default() };
    let mut engine = Engine::new(EngineOptions { decide, seed: 1, evidence: 0 });
    let calls = 4_000_000.max(sources * 2);
    let run = |engine: &mut Engine, calls: u32, start: u32| {
        let begin = Instant::now();
        for i in start..start + calls {
            let now = Moment(i64::from(i / 100));
            let address = address(spread(i) % sources);
            black_box(engine.observe(&sighting(address, i / 2), SourceId(0), now, now));
        }
        begin.elapsed()
    };
    run(&mut engine, calls, 0);
    let time = run(&mut engine, calls, calls);
    push(figures, format!("observe, {sources} sources"), nanoseconds(time, calls), "ns");
    let bytes = engine.bytes() as f64 / engine.tracked() as f64;
    push(figures, format!("engine, {sources} sources"), bytes, "bytes/source");
}

/// Every sighting is of a source never seen before, in a full table.
fn flood(figures: &mut Vec<Figure>) {
    let mut engine = Engine::new(EngineOptions { decide: Decide::default(), seed: 1, evidence: 0 });
    let calls = 2_000_000;
    let begin = Instant::now();
    for i in 0..calls {
        let now = Moment(i64::from(i / 100));
        black_box(engine.observe(&sighting(address(i), i), SourceId(0), now, now));
    }
    push(figures, "observe, every source new".into(), nanoseconds(begin.elapsed(), calls), "ns");
}

fn table(bans: u32, figures: &mut Vec<Figure>) {
    let mut table = BanTable::new();
    let mut time = |name: &str, calls: u32, run: &mut dyn FnMut(&mut BanTable)| {
        let begin = Instant::now();
        run(&mut table);
        push(figures, format!("{name}, {bans} bans"), nanoseconds(begin.elapsed(), calls), "ns");
    };
    time("insert", bans, &mut |table| {
        for i in 0..bans {
            let until = Some(Moment(i64::from(spread(i) % 2_592_000) * 1000));
            let ban = Ban {
                id: table.next_id(),
                target: Target::host(address(i)),
                since: Moment(0),
                until,
                origin: Origin::Filter("sshd".into()),
                score: Points(5000),
                strike: 1,
                reason: "sshd: 5 points in 10 minutes".into(),
            };
            black_box(table.insert(ban));
        }
    });
    time("get", bans, &mut |table| {
        for i in 0..bans {
            black_box(table.get(Target::host(address(spread(i) % bans))));
        }
    });
    time("iterate", bans, &mut |table| {
        black_box(table.iter().map(|ban| ban.id.0).sum::<u64>());
    });
    time("page of 10,000", 1, &mut |table| {
        black_box(table.page(None, 10_000).len());
    });
    time("part of a sorted list", 1, &mut |table| {
        let query = BanQuery { sort: Sort::Score, origin: Some("sshd".into()), ..BanQuery::default() };
        let clock = Clock { wall: Wall(0), moment: Moment(0) };
        black_box(Listing::new(query, None, 10_000, table, clock).step(table, 32_768));
    });
    time("expire", bans / 10, &mut |table| {
        black_box(table.expired(Moment(i64::MAX), bans as usize / 10).len());
    });
    let bytes = table.bytes() as f64 / table.len() as f64;
    push(figures, format!("ban table, {bans} bans less a tenth"), bytes, "bytes/ban");
}

/// A failed login of this process.
pub fn sighting(address: IpAddr, pid: u32) -> Sighting<'static> {
    Sighting {
        at: None,
        address,
        kind: Kind::FailedPassword,
        points: Points(1000),
        pattern: PatternId::default(),
        pid: pid | 1,
        port: 0,
        account: None,
        service: &[],
        request: None,
        line: b"",
    }
}

/// An address for each number.
pub fn address(i: u32) -> IpAddr {
    IpAddr::V4(Ipv4Addr::from_bits(spread(i)))
}

/// A bijection that spreads consecutive numbers over all 32 bits.
pub const fn spread(i: u32) -> u32 {
    let i = (i ^ (i >> 16)).wrapping_mul(0x85eb_ca6b);
    let i = (i ^ (i >> 13)).wrapping_mul(0xc2b2_ae35);
    i ^ (i >> 16)
}

/// Nanoseconds of one call.
pub fn nanoseconds(time: Duration, calls: u32) -> f64 {
    time.as_nanos() as f64 / f64::from(calls)
}

fn push(figures: &mut Vec<Figure>, name: String, value: f64, unit: &'static str) {
    figures.push(Figure::new(name, value, unit));
}
