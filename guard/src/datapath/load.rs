//! Loading the program over pinned maps.

use std::collections::BTreeMap;
use std::fmt;
use std::os::fd::{AsFd, BorrowedFd};

use aya::programs::{TestRun as _, TestRunOptions, Xdp};
use aya::{Ebpf, EbpfLoader};
use guard_common::bitmap::FIRST_WORD;
use guard_common::map;

use super::error::DatapathError;
use super::maps::pinned_words;
use super::pin::Pins;
use super::sys;

/// Every map of the object.
const MAPS: [&str; 12] = [
    map::SETTINGS,
    map::BITS4,
    map::BITS6,
    map::HOSTS4,
    map::HOSTS6,
    map::NETS6,
    map::PREFIXES4,
    map::PREFIXES6,
    map::ALLOW4,
    map::ALLOW6,
    map::REASONS,
    map::DROPS,
];

/// A program in the kernel, with descriptors of its maps.
pub(super) struct Program(Ebpf);

/// What a trial run of a program came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TestRun {
    /// The program's answer, `enum xdp_action` in `include/uapi/linux/bpf.h`: 1 drops, 2 passes.
    pub action: u32,
    /// Mean time of a run in nanoseconds.
    pub nanoseconds: u64,
}

impl TestRun {
    /// Whether the packet was dropped.
    pub fn dropped(self) -> bool {
        self.action == 1
    }
}

impl Program {
    /// Loads `object`. Maps that are pinned are used as they are, the others are made and pinned; the hash maps of
    /// hosts for `hosts` entries. Of `grown`, a larger map is made and pinned beside the present one.
    pub(super) fn load(
        object: &[u8],
        pins: &Pins,
        hosts: u32,
        grown: Option<(&str, u32)>,
    ) -> Result<Self, DatapathError> {
        // A bitmap that is made has as many words as the program is told.
        let words = |name| match grown {
            Some((grown, capacity)) if grown == name => Ok(capacity - FIRST_WORD),
            _ => pinned_words(pins, name),
        };
        let (words4, words6) = (words(map::BITS4)?, words(map::BITS6)?);
        let mut loader = EbpfLoader::new();
        loader.override_global(map::WORDS4, &words4, true).override_global(map::WORDS6, &words6, true);
        for name in MAPS {
            loader.map_pin_path(name, pins.map(name));
        }
        for name in [map::HOSTS4, map::HOSTS6, map::NETS6] {
            loader.map_max_entries(name, hosts);
        }
        if let Some((name, capacity)) = grown {
            loader.map_pin_path(name, pins.grown(name)).map_max_entries(name, capacity);
        }
        let mut ebpf = loader.load(object).map_err(|error| DatapathError::load(&error))?;
        for (_, program) in ebpf.programs_mut() {
            let program: &mut Xdp = program.try_into().map_err(|error| DatapathError::load(&error))?;
            program.load().map_err(|error| DatapathError::load(&error))?;
        }
        let program = Self(ebpf);
        program.xdp(map::XDP)?;
        Ok(program)
    }

    /// The descriptor of the packet program.
    pub(super) fn fd(&self) -> Result<BorrowedFd<'_>, DatapathError> {
        let fd = self.xdp(map::XDP)?.fd().map_err(|error| DatapathError::load(&error))?;
        Ok(fd.as_fd())
    }

    /// The kernel's number of the packet program.
    pub(super) fn id(&self) -> Result<u32, DatapathError> {
        let info =
            sys::program_info(self.fd()?).map_err(DatapathError::system("asking about the program"))?;
        Ok(info.id)
    }

    /// Runs one of the object's programs on a frame, `repeat` times (`BPF_PROG_TEST_RUN`). Counts like any packet.
    pub(super) fn test_run(&self, name: &str, frame: &[u8], repeat: u32) -> Result<TestRun, DatapathError> {
        let mut options = TestRunOptions::new();
        options.data_in = Some(frame);
        options.repeat = repeat;
        let run = self.xdp(name)?.test_run(options).map_err(|error| DatapathError::load(&error))?;
        Ok(TestRun { action: run.return_value, nanoseconds: run.duration.as_nanos() as u64 })
    }

    /// How many instructions the verifier walked through before it believed each program, by name: what a kernel limits, and
    /// what grows unseen. None of a kernel that does not tell (before Linux 5.16).
    pub(super) fn verified(&self) -> Result<BTreeMap<String, u32>, DatapathError> {
        let mut counts = BTreeMap::new();
        for (name, _) in self.0.programs() {
            let info = self.xdp(name)?.info().map_err(|error| DatapathError::load(&error))?;
            counts.extend(info.verified_instruction_count().map(|count| (name.to_owned(), count)));
        }
        Ok(counts)
    }

    fn xdp(&self, name: &str) -> Result<&Xdp, DatapathError> {
        let program = self
            .0
            .program(name)
            .ok_or_else(|| DatapathError::Load { reason: format!("it has no program {name}") })?;
        program.try_into().map_err(|error: aya::programs::ProgramError| DatapathError::load(&error))
    }
}

impl fmt::Debug for Program {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Program").finish_non_exhaustive()
    }
}
