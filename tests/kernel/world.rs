//! What a test stands on: an enforcer with pins of its own, removed at the end.

use std::path::PathBuf;
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::Duration;

use guard::ban::{Ban, BanId, BanTable, Origin};
use guard::config::Interfaces;
use guard::datapath;
use guard::enforce::{Change, Desired, Drift, Enforcer, LiveEntry, Xdp, XdpOptions};
use guard::sighting::Points;
use guard::target::Target;
use guard::time::Moment;

static NUMBER: AtomicU32 = AtomicU32::new(0);

/// What this machine or this build lacks for the tests of the packet program, or `None`.
pub(crate) fn missing() -> Option<String> {
    let object =
        || datapath::object::bytes().is_none().then(|| "this build carries no eBPF object".to_owned());
    harness::missing_for_kernel_tests().or_else(object)
}

pub(crate) struct World {
    pub(crate) bpffs: PathBuf,
    pub(crate) xdp: Option<Xdp>,
    pub(crate) interfaces: Interfaces,
    pub(crate) capacity: u32,
    pub(crate) observe: bool,
}

impl World {
    /// Attached to nothing.
    pub(crate) fn new() -> Self {
        Self::on(Interfaces::Named(Vec::new()), 16_384, false)
    }

    pub(crate) fn on(interfaces: Interfaces, capacity: u32, observe: bool) -> Self {
        let number = NUMBER.fetch_add(1, Ordering::Relaxed);
        let bpffs = format!("/sys/fs/bpf/guard-test-{}-{number}", std::process::id()).into();
        let mut world = Self { bpffs, xdp: None, interfaces, capacity, observe };
        world.reopen();
        world
    }

    /// Lets the enforcer go, as a stopped daemon does, and takes over what is pinned.
    pub(crate) fn reopen(&mut self) {
        self.xdp = None;
        let options = XdpOptions {
            bpffs: self.bpffs.clone(),
            interfaces: self.interfaces.clone(),
            capacity: self.capacity,
            observe: self.observe,
        };
        self.xdp = Some(Xdp::open(options).unwrap());
    }

    pub(crate) fn xdp(&mut self) -> &mut Xdp {
        self.xdp.as_mut().unwrap()
    }

    pub(crate) fn ban(&mut self, targets: &[&str]) {
        let changes: Vec<Change> = targets.iter().map(|text| ban(target(text), 1, None)).collect();
        self.xdp().apply(&changes).unwrap();
    }

    pub(crate) fn drops(&self, frame: &[u8]) -> bool {
        self.xdp.as_ref().unwrap().datapath().test_run(frame, 1).unwrap().dropped()
    }

    /// Packets counted under a reason.
    pub(crate) fn counted(&mut self, reason: &str) -> u64 {
        let counters = self.xdp().counters().unwrap();
        counters.reasons.iter().find(|(name, ..)| name == reason).unwrap().1
    }

    /// What only the kernel knows, read to its end; what it lacks is there afterwards.
    pub(crate) fn unknown(&mut self, bans: &BanTable) -> Vec<LiveEntry> {
        let mut entries = Vec::new();
        loop {
            let desired = Desired { bans, allowed: &[], now: Moment::now() };
            let part = self.xdp().unknown(desired).unwrap();
            entries.extend(part.entries);
            if !part.more {
                return entries;
            }
        }
    }

    pub(crate) fn reconcile(&mut self, bans: &BanTable, allowed: &[Target]) -> Drift {
        self.xdp().reconcile(Desired { bans, allowed, now: Moment::now() }).unwrap()
    }
}

impl Drop for World {
    fn drop(&mut self) {
        self.xdp = None;
        datapath::remove_all(&self.bpffs).unwrap();
    }
}

pub(crate) fn target(text: &str) -> Target {
    text.parse().unwrap()
}

pub(crate) fn ban(target: Target, id: u64, until: Option<Moment>) -> Change {
    Change::Ban { target, id: BanId(id), until }
}

/// A moment that has passed, as a ban's end.
#[expect(clippy::unnecessary_wraps, reason = "a ban's end is an option")]
pub(crate) fn past() -> Option<Moment> {
    Some(Moment::now() - Duration::from_secs(1))
}

/// A moment far ahead, as a ban's end.
#[expect(clippy::unnecessary_wraps, reason = "a ban's end is an option")]
pub(crate) fn ahead() -> Option<Moment> {
    Some(Moment::now() + Duration::from_secs(3600))
}

/// A ban as the table has it.
pub(crate) fn wanted(target: Target, id: u64, until: Option<Moment>) -> Ban {
    Ban {
        id: BanId(id),
        target,
        since: Moment::now(),
        until,
        origin: Origin::Manual(0),
        score: Points(0),
        strike: 1,
        reason: "test".into(),
    }
}
