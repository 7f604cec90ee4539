//! What the verifiers of kernels say of the programs.

use std::collections::BTreeMap;
use std::fs;

use crate::opened::Opened;

/// Instructions walked through, by the kernel's series and the program: what a kernel needs to believe it.
const RECORDED: &str = include_str!("../verifier.json");
/// Percent by which a count may differ from the recorded one: point releases of a series change their verifiers too.
const TOLERANCE: u32 = 10;

/// Programs that need more and more instructions are refused one day, by the oldest verifier first.
#[test]
fn no_program_costs_the_verifier_more_than_recorded() {
    harness::skip_if!(crate::world::missing());
    let mut counts = Opened::shipped("verifier").datapath.verified().unwrap();
    counts.extend(Opened::bench("verifier-bench").datapath.verified().unwrap());
    assert!(counts.contains_key("guard_xdp"), "{counts:?}");
    println!("{}: {counts:?}", series());

    let recorded: BTreeMap<String, BTreeMap<String, u32>> = serde_json::from_str(RECORDED).unwrap();
    // A series that nobody recorded is not wrong.
    let Some(recorded) = recorded.get(&series()) else { return };
    for (program, count) in &counts {
        let known = recorded.get(program).copied().unwrap_or_default();
        let differs = count.abs_diff(known) * 100 > known * TOLERANCE;
        assert!(
            !differs,
            "{program} on {}: {count}, recorded {known}; tests/verifier.json tells of all: {counts:?}",
            series()
        );
    }
}

/// The first two numbers of the running kernel's version.
fn series() -> String {
    let release = fs::read_to_string("/proc/sys/kernel/osrelease").unwrap();
    release.split('.').take(2).collect::<Vec<_>>().join(".")
}
