//! The benchmark object carries what its users ask for by name.

use std::borrow::Cow;
use std::fs;
use std::path::Path;

use guard::config::Interfaces;
use guard::datapath::{self, Datapath, Options};

use crate::frame::frame;

#[test]
fn the_benchmark_object_runs() {
    if let Some(reason) = crate::world::missing() {
        return harness::skip(&reason);
    }
    let object = Path::new(env!("CARGO_MANIFEST_DIR")).join("../target/ebpf/guard-bench.o");
    let object = fs::read(&object).expect("built by `cargo xtask build-ebpf`");
    let bpffs = format!("/sys/fs/bpf/guard-test-bench-{}", std::process::id());
    let datapath = Datapath::open(Options {
        bpffs: bpffs.clone().into(),
        interfaces: Interfaces::Named(Vec::new()),
        capacity: 1024,
        enforce: true,
        object: Some(Cow::Owned(object)),
    })
    .unwrap();
    let _pins = Pins(bpffs);
    for program in ["guard_random4", "guard_random6", "guard_empty4", "guard_empty6", "guard_lpm4"] {
        let run = datapath.test_run_of(program, &frame("203.0.113.7", &[]), 1000).unwrap();
        assert!(!run.dropped(), "{program}");
    }
}

/// Removes the pins at the end, whatever the end is.
struct Pins(String);

impl Drop for Pins {
    fn drop(&mut self) {
        datapath::remove_all(self.0.as_ref()).unwrap();
    }
}
