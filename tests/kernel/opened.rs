//! The kernel side alone, with an object of the test's choice; what it pins is removed at the end.

use std::borrow::Cow;
use std::fs;
use std::path::{Path, PathBuf};

use guard::config::Interfaces;
use guard::datapath::{self, Datapath, Options};

pub(crate) struct Opened {
    pub(crate) datapath: Datapath,
    bpffs: PathBuf,
}

impl Opened {
    /// Attached to nothing, with the object of this build.
    pub(crate) fn shipped(name: &str) -> Self {
        Self::with(name, None)
    }

    /// With the object that measures.
    pub(crate) fn bench(name: &str) -> Self {
        let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/guard-bench.o");
        Self::with(name, Some(fs::read(&object).expect("built by `cargo xtask build-ebpf`")))
    }

    fn with(name: &str, object: Option<Vec<u8>>) -> Self {
        let bpffs = PathBuf::from(format!("/sys/fs/bpf/guard-test-{name}-{}", std::process::id()));
        let datapath = Datapath::open(Options {
            bpffs: bpffs.clone(),
            interfaces: Interfaces::Named(Vec::new()),
            capacity: 1024,
            enforce: true,
            object: object.map(Cow::Owned),
        });
        Self { datapath: datapath.unwrap(), bpffs }
    }
}

impl Drop for Opened {
    fn drop(&mut self) {
        datapath::remove_all(&self.bpffs).unwrap();
    }
}
