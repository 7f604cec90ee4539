//! One program for all targets of `guard::fuzz`, run by `cargo xtask fuzz`. libFuzzer brings `main` and its options.
//!
//! `GUARD_FUZZ_TARGET` names the target. With `GUARD_FUZZ_SEEDS` it writes the target's seeds into that folder and
//! ends; with `GUARD_FUZZ_LIST` it prints the names of all targets and ends.

#![no_main]

use std::path::Path;
use std::sync::OnceLock;

use guard::fuzz::{TARGETS, Target};
use libfuzzer_sys::fuzz_target;

static TARGET: OnceLock<Target> = OnceLock::new();

fuzz_target!(init: prepare(), |input: &[u8]| {
    if let Some(target) = TARGET.get() {
        (target.run)(input);
    }
});

fn prepare() {
    if std::env::var_os("GUARD_FUZZ_LIST").is_some() {
        TARGETS.iter().for_each(|target| println!("{}", target.name));
        std::process::exit(0);
    }
    let name = std::env::var("GUARD_FUZZ_TARGET").unwrap_or_default();
    let Some(target) = Target::named(&name) else {
        eprintln!("there is no target `{name}`; there are {TARGETS:?}");
        std::process::exit(2);
    };
    if let Some(folder) = std::env::var_os("GUARD_FUZZ_SEEDS") {
        for (number, seed) in (target.seeds)().into_iter().enumerate() {
            let file = Path::new(&folder).join(format!("seed-{number:04}"));
            if let Err(error) = std::fs::write(&file, seed) {
                eprintln!("cannot write {}: {error}", file.display());
                std::process::exit(1);
            }
        }
        std::process::exit(0);
    }
    let _ = TARGET.set(target);
}
