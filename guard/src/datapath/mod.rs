//! What guard knows of the kernel side: the only module that knows aya and map names.
//!
//! [`Datapath`] is the whole of it: the loaded program, its pinned maps and its attachments. What it leaves behind
//! when it is dropped goes on working; [`remove_all`] takes it down.

mod attach;
mod batch;
mod bits;
mod error;
pub mod features;
mod growth;
pub mod links;
mod load;
mod maps;
pub mod object;
mod open;
mod pin;
mod sys;

pub use attach::Attachment;
pub use batch::Scan;
pub use bits::{Bits, FreshBits};
pub use error::DatapathError;
pub use growth::{Growth, Larger};
pub use load::TestRun;
pub use maps::{Layout, Maps, Table};
pub use open::{Datapath, Options};
pub use pin::{Pins, remove_all};
