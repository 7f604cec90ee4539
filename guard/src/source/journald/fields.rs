//! The fields of one entry that filters need, with as little reading as possible: journald stores equal values
//! once, so most of an entry's items have been seen before and are known by their place alone.

use hashbrown::HashMap;

use super::decompress;
use super::format::COMPRESSED;
use super::journal::{Found, Journal, JournalError};
use crate::sighting::Sighting;
use crate::source::{Entry, MAX_LINE, ReadCount, Scan, Sender, Transport};
use crate::time::Wall;

/// Values that are remembered per file; with more, all are forgotten and learnt again.
const KNOWN: usize = 8192;

/// Bytes of a payload that tell which field it is, and hold every short value whole.
const SHORT: usize = 320;

/// Bytes of a compressed payload that are read at most.
const COMPRESSED_MAX: usize = 1 << 20;

const MESSAGE: &[u8] = b"MESSAGE=";

/// The fields of an entry. Reused from one to the next.
#[derive(Debug, Default)]
pub(super) struct Fields {
    pub(super) uid: Option<u32>,
    pub(super) pid: u32,
    pub(super) comm: Vec<u8>,
    pub(super) unit: Vec<u8>,
    pub(super) transport: Option<Transport>,
    pub(super) message: Vec<u8>,
    /// Whether the message was longer than a line may be.
    pub(super) cut: bool,
    items: Vec<u64>,
    compressed: Vec<u8>,
}

/// Values of one file, by the place of their objects.
#[derive(Debug, Default)]
pub(super) struct Known(HashMap<u64, Value>);

#[derive(Clone, Debug)]
enum Value {
    Uid(u32),
    Pid(u32),
    Comm(Box<[u8]>),
    Unit(Box<[u8]>),
    Transport(Transport),
    Other,
}

impl Fields {
    /// Who sent the entry; `None` if it does not say.
    pub(super) fn sender(&self) -> Option<Sender<'_>> {
        Some(Sender { uid: self.uid?, unit: &self.unit, command: &self.comm, transport: self.transport })
    }

    /// What the scan makes of an entry of `journal`, if it believes its sender; counts it either way.
    pub(super) fn sighting<'a>(
        &'a mut self,
        journal: &'a mut Journal,
        known: &mut Known,
        found: &Found,
        scan: &'a mut dyn Scan,
        count: &mut ReadCount,
    ) -> Result<Option<Sighting<'a>>, JournalError> {
        self.read(journal, known, found)?;
        let identifier = journal.identifier(found.stream);
        count.bytes += self.message.len() as u64;
        count.cut += u64::from(self.cut);
        let Some(sender) = self.sender().filter(|sender| scan.trusts(identifier, sender)) else {
            count.untrusted += 1;
            return Ok(None);
        };
        let at = Wall((found.realtime / 1000) as i64);
        count.known += 1;
        let sighting = scan.entry(&Entry { at, identifier, sender, pid: self.pid, message: &self.message });
        count.matched += u64::from(sighting.is_some());
        Ok(sighting)
    }

    /// Reads the fields of an entry of `journal`. An entry whose message cannot be decompressed is an error.
    pub(super) fn read(
        &mut self,
        journal: &mut Journal,
        known: &mut Known,
        entry: &Found,
    ) -> Result<(), JournalError> {
        self.uid = None;
        self.pid = 0;
        self.cut = false;
        self.comm.clear();
        self.unit.clear();
        self.transport = None;
        self.message.clear();
        let mut items = std::mem::take(&mut self.items);
        journal.items(entry, &mut items)?;
        let read = items.iter().try_for_each(|item| match known.0.get(item) {
            Some(value) => {
                self.set(value);
                Ok(())
            }
            None => self.learn(journal, known, *item),
        });
        self.items = items;
        read
    }

    fn set(&mut self, value: &Value) {
        match value {
            Value::Uid(uid) => self.uid = Some(*uid),
            Value::Pid(pid) => self.pid = *pid,
            Value::Comm(comm) => replace(&mut self.comm, comm),
            Value::Unit(unit) => replace(&mut self.unit, unit),
            Value::Transport(transport) => self.transport = Some(*transport),
            Value::Other => {}
        }
    }

    fn learn(&mut self, journal: &mut Journal, known: &mut Known, item: u64) -> Result<(), JournalError> {
        let (flags, entries, payload) = journal.data(item, SHORT)?;
        if flags & COMPRESSED != 0 {
            return self.decompress(journal, item);
        }
        if let Some(message) = payload.strip_prefix(MESSAGE) {
            if payload.len() < SHORT {
                replace(&mut self.message, message);
            } else {
                let (_, _, payload) = journal.data(item, MESSAGE.len() + MAX_LINE + 1)?;
                self.take_message(payload.strip_prefix(MESSAGE).map(<[u8]>::to_vec));
            }
            return Ok(());
        }
        let value = Value::of(payload);
        self.set(&value);
        if entries > 1 || !matches!(value, Value::Other) {
            if known.0.len() >= KNOWN {
                known.0.clear();
            }
            known.0.insert(item, value);
        }
        Ok(())
    }

    /// Only a message is taken out of a compressed object: the other fields are short.
    fn decompress(&mut self, journal: &mut Journal, item: u64) -> Result<(), JournalError> {
        let (flags, _, payload) = journal.data(item, COMPRESSED_MAX)?;
        let limit = MESSAGE.len() + MAX_LINE + 1;
        if decompress::prefix(flags, payload, limit, &mut self.compressed).is_none() {
            return Err(JournalError::Damaged { offset: item, what: "it cannot be decompressed" });
        }
        if self.compressed.starts_with(MESSAGE) {
            let message = self.compressed[MESSAGE.len()..].to_vec();
            self.take_message(Some(message));
        }
        Ok(())
    }

    fn take_message(&mut self, message: Option<Vec<u8>>) {
        let Some(mut message) = message else { return };
        self.cut |= message.len() > MAX_LINE;
        message.truncate(MAX_LINE);
        self.message = message;
    }
}

impl Value {
    fn of(payload: &[u8]) -> Self {
        let after = |name: &[u8]| payload.strip_prefix(name);
        let number = |text: &[u8]| std::str::from_utf8(text).ok().and_then(|text| text.parse().ok());
        if let Some(uid) = after(b"_UID=").and_then(number) {
            Self::Uid(uid)
        } else if let Some(pid) = after(b"_PID=").and_then(number) {
            Self::Pid(pid)
        } else if let Some(comm) = after(b"_COMM=") {
            Self::Comm(comm.into())
        } else if let Some(unit) = after(b"_SYSTEMD_UNIT=") {
            Self::Unit(unit.into())
        } else if let Some(transport) = after(b"_TRANSPORT=").and_then(Transport::of) {
            Self::Transport(transport)
        } else {
            Self::Other
        }
    }
}

fn replace(field: &mut Vec<u8>, value: &[u8]) {
    field.clear();
    field.extend_from_slice(value);
}
