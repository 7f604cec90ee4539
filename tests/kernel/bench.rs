//! The benchmark object carries what its users ask for by name.

use crate::frame::frame;
use crate::opened::Opened;

#[test]
fn the_benchmark_object_runs() {
    harness::skip_if!(crate::world::missing());
    let opened = Opened::bench("bench");
    for program in ["guard_random4", "guard_random6", "guard_empty4", "guard_empty6", "guard_lpm4"] {
        let run = opened.datapath.test_run_of(program, &frame("203.0.113.7", &[]), 1000).unwrap();
        assert!(!run.dropped(), "{program}");
    }
}
