//! Seeds and what fuzzers once found, without a fuzzer.

use std::path::Path;
use std::sync::OnceLock;

use proptest::prelude::*;
use proptest::sample::Index;

use super::*;

/// Bytes that mean something to one parser or another.
const MARKS: &[u8] = b"\0\n \"#%()+,-./0159:;<=>[\\]^{|}\x7f\x80\xc3\xff";

/// A target's seeds, made once.
fn seeds(target: Target) -> &'static [Vec<u8>] {
    static SEEDS: [OnceLock<Vec<Vec<u8>>>; TARGETS.len()] = [const { OnceLock::new() }; TARGETS.len()];
    let number = TARGETS.iter().position(|known| known.name == target.name).unwrap();
    SEEDS[number].get_or_init(target.seeds)
}

#[test]
fn every_target_has_seeds_and_takes_them() {
    for target in TARGETS {
        let seeds = seeds(target);
        assert!(seeds.len() >= 4, "{target:?}");
        for seed in seeds {
            (target.run)(seed);
        }
    }
}

#[test]
fn what_was_found_once_is_not_found_again() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../fuzz/regressions");
    for folder in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
        let name = folder.file_name().unwrap().to_string_lossy().into_owned();
        if !folder.is_dir() {
            continue;
        }
        let target = Target::named(&name).unwrap_or_else(|| panic!("there is no target `{name}`"));
        for input in std::fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path()) {
            println!("{}", input.display());
            (target.run)(&std::fs::read(&input).unwrap());
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(10_000))]

    #[test]
    fn damaged_seeds_do_no_harm(
        target in proptest::sample::select(TARGETS.to_vec()),
        seed in any::<Index>(),
        damage in proptest::collection::vec((any::<Index>(), any::<Index>(), 0..4), 1..6),
    ) {
        let mut input = seed.get(seeds(target)).clone();
        for (at, mark, how) in damage {
            if input.is_empty() {
                break;
            }
            let at = at.index(input.len());
            match how {
                0 => input[at] = *mark.get(MARKS),
                1 => input.insert(at, *mark.get(MARKS)),
                2 => input[at] ^= 1 << (mark.index(8)),
                _ => input.truncate(at),
            }
        }
        (target.run)(&input);
    }
}
