//! Changing the kernel's set of bans through an enforcer, without the rest of the daemon.

use std::net::Ipv4Addr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use guard::ban::{Ban, BanId, BanTable, Origin};
use guard::config::{Config, Interfaces};
use guard::enforce::{Change, Desired, Enforcer, Nftables, Xdp, XdpOptions};
use guard::sighting::Points;
use guard::target::Target;
use guard::time::Moment;
use harness::Arena;

use crate::table::{Section, verdict};

const MILLION: u32 = 1_000_000;

/// Bans a second one by one and in a batch, and a million put in place at start.
pub fn run() -> anyhow::Result<Section> {
    let columns = ["backend", "one by one", "batch of 100k", "batch of 1M", "restore 1M", "goal", ""];
    let mut section = Section::new("Bans a second", &columns);
    let arena = Arena::new();
    for backend in [Backend::Xdp, Backend::Nftables] {
        let figures = arena.host.enter(|| measure(backend)).with_context(|| format!("{backend:?}"))?;
        let met =
            figures.single >= 1e5 && figures.million >= 1e6 && figures.restore <= Duration::from_millis(1500);
        section.row([
            format!("{backend:?}"),
            rate(figures.single),
            rate(figures.batch),
            rate(figures.million),
            format!("{:.2?}", figures.restore),
            "100k one by one, 1M batch, 1.5 s".to_owned(),
            verdict(met).to_owned(),
        ]);
    }
    section.row(["fail2ban", "73", "", "", "hours", "", ""]);
    section.note("IPv4 hosts with an end, no two in one /24 close to each other; each is new to the kernel.");
    section.note("Restore: an empty kernel is reconciled with a ban table of a million; the map grows once.");
    section.note("nftables: a batch is cut into transactions of 4096 bans; each ban has a counter, which costs more than half of the kernel's time for it.");
    Ok(section)
}

#[derive(Clone, Copy, Debug)]
enum Backend {
    Xdp,
    Nftables,
}

struct Figures {
    /// Bans a second.
    single: f64,
    /// Bans a second.
    batch: f64,
    /// Bans a second.
    million: f64,
    restore: Duration,
}

fn measure(backend: Backend) -> anyhow::Result<Figures> {
    let rounds = match backend {
        Backend::Xdp => 50_000,
        Backend::Nftables => 300,
    };
    let single = with(backend, |enforcer| {
        let start = Instant::now();
        for n in 0..rounds {
            enforcer.apply(&[change(n)])?;
        }
        Ok(f64::from(rounds) / start.elapsed().as_secs_f64())
    })?;
    let batch = |size: u32| {
        let changes: Vec<Change> = (0..size).map(change).collect();
        with(backend, |enforcer| {
            let start = Instant::now();
            enforcer.apply(&changes)?;
            Ok(f64::from(size) / start.elapsed().as_secs_f64())
        })
    };
    let restore = with(backend, |enforcer| {
        let mut bans = BanTable::default();
        for n in 0..MILLION {
            bans.set(ban(n));
        }
        let start = Instant::now();
        let drift = enforcer.reconcile(Desired { bans: &bans, allowed: &[], now: Moment::now() })?;
        let time = start.elapsed();
        ensure!(drift.missing == u64::from(MILLION), "{drift:?}");
        Ok(time)
    })?;
    Ok(Figures { single, batch: batch(100_000)?, million: batch(MILLION)?, restore })
}

/// Opens the backend on an empty kernel, and leaves nothing behind.
fn with<T>(backend: Backend, work: impl FnOnce(&mut dyn Enforcer) -> anyhow::Result<T>) -> anyhow::Result<T> {
    let mut enforcer: Box<dyn Enforcer> = match backend {
        Backend::Xdp => Box::new(Xdp::open(XdpOptions {
            bpffs: format!("/sys/fs/bpf/guard-bench-{}", std::process::id()).into(),
            interfaces: Interfaces::Named(vec![Arena::INTERFACE.to_owned()]),
            capacity: Config::default().enforce.capacity,
            observe: false,
        })?),
        Backend::Nftables => Box::new(Nftables::open(&Config::default(), "")?),
    };
    let outcome = work(enforcer.as_mut());
    enforcer.remove()?;
    outcome
}

fn change(n: u32) -> Change {
    let Ban { id, target, until, .. } = ban(n);
    Change::Ban { target, id, until }
}

fn ban(n: u32) -> Ban {
    let now = Moment::now();
    Ban {
        id: BanId(u64::from(n) + 1),
        // An odd factor: no address comes twice.
        target: Target::host(Ipv4Addr::from(0x1000_0000 + n.wrapping_mul(1009)).into()),
        since: now,
        until: Some(now + Duration::from_secs(86400)),
        origin: Origin::Manual(0),
        score: Points(0),
        strike: 1,
        reason: "benchmark".into(),
    }
}

fn rate(per_second: f64) -> String {
    if per_second >= 10_000.0 { format!("{:.0}k", per_second / 1000.0) } else { format!("{per_second:.0}") }
}
