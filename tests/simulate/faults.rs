//! What goes wrong, and when: planned before the simulation begins, by its seed.

use std::time::Duration;

use guard::target::Target;

use crate::chance::Chance;
use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::facts::Form;
use crate::machine::{Delays, PROTECTED, target};

/// Something that goes wrong, or that a person does.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Fault {
    /// Somebody sets the wall clock by so many milliseconds.
    ClockStep(i64),
    /// Lines do not come through for so long, and then all at once.
    Stall(i64),
    /// The store cannot be written for so long.
    StoreDown(i64),
    /// The kernel refuses changes for so long.
    KernelRefuses(i64),
    /// Somebody else empties the kernel's maps, or takes one entry in so many.
    KernelLoses(u32),
    /// The daemon is killed, at the next such place.
    Crash(Place),
    /// The daemon is stopped and started again.
    Restart,
    /// The machine is booted anew.
    Reboot,
    /// The configuration is read again.
    Reload,
    /// A person asks for something.
    Asked(Wish),
}

/// Where a crash hits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Place {
    /// Between two inputs.
    Idle,
    /// In the middle of a batch of changes for the kernel.
    WithinChanges,
    /// The kernel has the changes, the store knows nothing.
    BeforeStore,
    /// The store's thread has the writes, the disk does not.
    BeforeCommit,
}

/// What a person asks for.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Wish {
    Ban(Target, Option<u64>),
    Unban(Target),
    UnbanAll,
    Allow(Target, Option<u64>),
    Disallow(Target),
}

/// All that will go wrong.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) faults: Vec<(i64, Fault)>,
    pub(crate) delays: Delays,
    pub(crate) form: Form,
    /// Whether sshd's lines come from the journal, whose word is taken.
    pub(crate) vouched: bool,
    /// Writes that may wait for the store.
    pub(crate) capacity: usize,
    /// Bans that come back at once at a start.
    pub(crate) chunk: usize,
}

/// Which sorts of things go wrong.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Weather {
    /// Nothing does.
    Fair,
    /// What the seed says.
    #[default]
    Any,
}

impl Plan {
    /// Nothing goes wrong.
    pub(crate) fn fair() -> Self {
        Self {
            faults: Vec::new(),
            delays: Delays::default(),
            form: Form::Typed,
            vouched: true,
            capacity: 10_000,
            chunk: 1000,
        }
    }

    /// What goes wrong within so many milliseconds. A quarter of all seeds have no faults at all.
    pub(crate) fn new(weather: Weather, length: i64, people_ask: bool, chance: &mut Chance) -> Self {
        let mut plan = Self {
            form: *chance.pick(&[Form::Typed, Form::Typed, Form::Rfc3339, Form::Rfc3164]),
            ..Self::fair()
        };
        if people_ask {
            plan.ask(length, chance);
        }
        if weather == Weather::Fair || chance.one_in(4) {
            return plan;
        }
        plan.vouched = !chance.one_in(3);
        plan.chunk = *chance.pick(&[1, 2, 7, 1000]);
        plan.capacity = *chance.pick(&[4, 40, 10_000]);
        plan.delays.copies = chance.one_in(4);
        if chance.one_in(3) {
            plan.delays.late_one_in = 2 + chance.below(30);
            plan.delays.late_by = *chance.pick(&[50, SECOND, MINUTE, 5 * MINUTE]);
        }
        let steps =
            [SECOND, -SECOND, 30 * SECOND, -30 * SECOND, 10 * MINUTE, -10 * MINUTE, HOUR, -HOUR, DAY, -DAY];
        let places = [Place::Idle, Place::WithinChanges, Place::BeforeStore, Place::BeforeCommit];
        let short = [100, SECOND, 20 * SECOND, 5 * MINUTE];
        plan.add(length, chance, 3, |chance| Fault::ClockStep(*chance.pick(&steps)));
        plan.add(length, chance, 3, |chance| Fault::Stall(*chance.pick(&short)));
        plan.add(length, chance, 2, |chance| Fault::StoreDown(*chance.pick(&short)));
        plan.add(length, chance, 2, |chance| Fault::KernelRefuses(*chance.pick(&short)));
        plan.add(length, chance, 3, |chance| Fault::KernelLoses(1 + chance.below(3) as u32));
        plan.add(length, chance, 2, |chance| Fault::Crash(*chance.pick(&places)));
        plan.add(length, chance, 3, |_| Fault::Restart);
        plan.add(length, chance, 4, |_| Fault::Reboot);
        plan.add(length, chance, 4, |_| Fault::Reload);
        plan.faults.sort();
        plan
    }

    /// Once in so many plans a sort of fault occurs, and then up to four times.
    fn add(&mut self, length: i64, chance: &mut Chance, one_in: u64, fault: impl Fn(&mut Chance) -> Fault) {
        if chance.one_in(one_in) {
            for _ in 0..=chance.below(4) {
                let at = chance.within(0..=length);
                self.faults.push((at, fault(chance)));
            }
        }
    }

    /// People ban, allow and take back, wrongly too.
    fn ask(&mut self, length: i64, chance: &mut Chance) {
        let hosts = [
            "45.0.0.7",
            "45.0.1.9",
            "2001:db8:f::9",
            "45.0.3.1",
            "45.0.2.0/24",
            "45.0.0.0/16",
            "2001:db8:f::/48",
        ];
        for _ in 0..chance.below(12) {
            let at = chance.within(0..=length);
            let whom: &[&str] = if chance.one_in(5) { &PROTECTED } else { &hosts };
            let whom = target(chance.pick::<&str>(whom));
            let time = *chance.pick(&[None, Some(0), Some(60), Some(600), Some(86_400)]);
            let wish = match chance.below(12) {
                0..5 => Wish::Ban(whom, time),
                5..7 => Wish::Unban(whom),
                7..10 => Wish::Allow(whom, time),
                10 => Wish::Disallow(whom),
                _ => Wish::UnbanAll,
            };
            self.faults.push((at, Fault::Asked(wish)));
        }
    }
}

/// Seconds as the judge takes them.
pub(crate) fn length(seconds: Option<u64>) -> Option<Duration> {
    seconds.map(Duration::from_secs)
}
