//! The kernel side as one value.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::path::PathBuf;

use guard_common::bitmap::FIRST_WORD;
use guard_common::{ABI, Settings, map};

use super::attach::{Attachment, Attachments};
use super::error::DatapathError;
use super::growth::{Fill, Growth, Larger, MarkAll};
use super::load::{Program, TestRun};
use super::maps::Maps;
use super::pin::{Pins, Repair, remove_all};
use super::{features, links, object};
use crate::config::Interfaces;

/// How the kernel side is set up.
#[derive(Clone, Debug)]
pub struct Options {
    /// Folder on bpffs for the pins; bpffs is mounted if it is missing.
    pub bpffs: PathBuf,
    /// Which interfaces are covered.
    pub interfaces: Interfaces,
    /// Entries each hash map holds from the start.
    pub capacity: u32,
    /// Whether bans drop; otherwise they only count.
    pub enforce: bool,
    /// Another object than the one this build carries, aligned to 8 bytes.
    pub object: Option<Cow<'static, [u8]>>,
}

/// The loaded program, its maps and its attachments. They stay in the kernel when this is dropped.
#[derive(Debug)]
pub struct Datapath {
    options: Options,
    pins: Pins,
    program: Program,
    maps: Maps,
    attachments: Attachments,
}

impl Datapath {
    /// Takes over what is pinned, or sets it up. Where a program is attached already it is exchanged for this one
    /// over the same maps, so that no packet passes in between.
    pub fn open(options: Options) -> Result<Self, DatapathError> {
        let object = options.object()?;
        features::permission()?;
        features::ensure_bpffs(&options.bpffs)?;
        let pins = Pins::open(&options.bpffs)?;
        let program = Program::load(object, &pins, options.capacity.max(1), None)?;
        let maps = Maps::open(&pins)?;
        let settings = Settings { abi: ABI, enforce: u32::from(options.enforce) };
        maps.settings.set(&0, &settings)?;
        let attachments = Attachments::adopt(&pins, program.fd()?)?;
        let mut datapath = Self { options, pins, program, maps, attachments };
        for name in [map::HOSTS4, map::HOSTS6, map::NETS6] {
            if datapath.capacity(name) < datapath.options.capacity {
                datapath.grow(name, datapath.options.capacity)?;
            }
        }
        Ok(datapath)
    }

    /// The maps.
    pub fn maps(&self) -> &Maps {
        &self.maps
    }

    /// Whether bans drop; otherwise they only count.
    pub fn enforces(&self) -> bool {
        self.options.enforce
    }

    /// How each interface is covered, as of the last [`attach`](Self::attach).
    pub fn attachments(&self) -> &[Attachment] {
        self.attachments.states()
    }

    /// The kernel's number of the packet program.
    pub fn program_id(&self) -> Result<u32, DatapathError> {
        self.program.id()
    }

    /// Attaches to the interfaces as they are now, repairs pins and settings. How many things were put right; after an
    /// error all were that could be.
    pub fn attach(&mut self) -> Result<u64, DatapathError> {
        let interfaces = links::list()?;
        let mut repair = Repair::default();
        repair.add(self.ensure_settings());
        self.maps.ensure_pins(&self.pins, &mut repair);
        let program = self.program.fd()?;
        self.attachments.sync(&self.pins, program, &interfaces, &self.options.interfaces, &mut repair)?;
        repair.outcome()
    }

    /// Puts the switches right; whether they were not.
    fn ensure_settings(&self) -> Result<bool, DatapathError> {
        let settings = Settings { abi: ABI, enforce: u32::from(self.options.enforce) };
        let is_wrong = self.maps.settings.get(&0, Settings::default())? != Some(settings);
        if is_wrong {
            self.maps.settings.set(&0, &settings)?;
        }
        Ok(is_wrong)
    }

    /// Gives one of the hash maps room for `capacity` entries. No ban is missing at any time; packets that are counted on
    /// a ban while this runs are lost to its counters.
    fn grow(&mut self, name: &'static str, capacity: u32) -> Result<(), DatapathError> {
        let larger = self.begin_growth(name, capacity)?.wait()?;
        self.take_larger(larger)
    }

    /// Begins to make one of the hash maps anew with room for `capacity` entries. What is written into the map from now
    /// on has to be written into the larger one too, once that is done, before it [takes its place](Self::take_larger).
    pub fn begin_growth(&self, name: &'static str, capacity: u32) -> Result<Growth, DatapathError> {
        self.begin(name, capacity, Fill::Entries)
    }

    /// Begins to make one of the bitmaps anew with this many words for hosts and nets, in the same way.
    pub fn begin_growth_of_bits(
        &self,
        name: &'static str,
        words: u32,
        mark_all: MarkAll,
    ) -> Result<Growth, DatapathError> {
        self.begin(name, FIRST_WORD + words, Fill::Bits(mark_all))
    }

    fn begin(&self, name: &'static str, capacity: u32, fill: Fill) -> Result<Growth, DatapathError> {
        self.pins.forget_grown()?;
        // In place of one whose pin somebody took away, the new program would have an empty one.
        let mut repair = Repair::default();
        self.maps.ensure_pins(&self.pins, &mut repair);
        repair.outcome()?;
        Growth::begin(self.options.clone(), self.pins.clone(), name, capacity, fill)
    }

    /// Puts a larger map in the place of the present one: first in every link, with the program that uses it, which the
    /// kernel does between two packets; then its pin.
    pub fn take_larger(&mut self, larger: Larger) -> Result<(), DatapathError> {
        let Larger { name, program, mut maps } = larger;
        if let Err(error) = self.attachments.exchange(program.fd()?) {
            // Those links that have it would see no ban that is written from now on.
            self.attachments.exchange(self.program.fd()?)?;
            return Err(error);
        }
        self.program = program;
        self.maps.exchange(name, &mut maps);
        self.pins.replace_by_grown(name).or_else(|_| {
            // Somebody took the pin of the larger one away. The present one must not be found in its place.
            Pins::unpin(&self.pins.map(name))?;
            let mut repair = Repair::default();
            self.maps.ensure_pins(&self.pins, &mut repair);
            repair.outcome().map(drop)
        })
    }

    /// Runs the packet program on a frame, `repeat` times. It counts like any packet.
    pub fn test_run(&self, frame: &[u8], repeat: u32) -> Result<TestRun, DatapathError> {
        self.program.test_run(map::XDP, frame, repeat)
    }

    /// Runs another program of the object, as the benchmark object has.
    pub fn test_run_of(&self, program: &str, frame: &[u8], repeat: u32) -> Result<TestRun, DatapathError> {
        self.program.test_run(program, frame, repeat)
    }

    /// Instructions that the verifier walked through for each of the object's programs, where the kernel tells.
    pub fn verified(&self) -> Result<BTreeMap<String, u32>, DatapathError> {
        self.program.verified()
    }

    /// Takes everything out of the kernel.
    pub fn remove(&mut self) -> Result<(), DatapathError> {
        remove_all(&self.options.bpffs)?;
        self.attachments.clear();
        Ok(())
    }

    fn capacity(&self, name: &str) -> u32 {
        match name {
            map::HOSTS4 => self.maps.hosts4.capacity(),
            map::HOSTS6 => self.maps.hosts6.capacity(),
            _ => self.maps.nets6.capacity(),
        }
    }
}

impl Options {
    pub(super) fn object(&self) -> Result<&[u8], DatapathError> {
        match &self.object {
            Some(object) => Ok(object),
            None => object::bytes().ok_or(DatapathError::NoObject),
        }
    }
}
