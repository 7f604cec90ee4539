//! What the simulations show.

use crate::faults::{Fault, Plan};
use crate::page;
use crate::play::{SEEDS, play, play_all, play_with};
use crate::report::table;
use crate::scenarios::SCENARIOS;
use crate::world::Decided;

/// Scenes in which honest users share an address with whoever fails: a ban of it is right, and hits them too.
const SHARED: [&str; 3] = ["attacker-behind-nat", "clumsy-office", "all-at-once"];

/// Every seed of every scene; one, with its course, where `GUARD_SEED` names it. The table is that of docs/decisions.md.
#[test]
fn seeds() {
    if let Ok(wanted) = std::env::var("GUARD_SEED") {
        return replay(&wanted);
    }
    let mut rows = Vec::new();
    let mut failures = Vec::new();
    for scenario in SCENARIOS {
        match play_all(scenario, SEEDS) {
            Ok(mut row) => {
                if row.wrong() > 0 && !SHARED.contains(&scenario.name) {
                    failures.push(format!("{}: {} honest users were banned", scenario.name, row.wrong()));
                }
                rows.push(row.cells(scenario.name));
            }
            Err(story) => failures.push(story),
        }
    }
    println!("{}", table(&rows));
    assert!(failures.is_empty(), "{}", failures.join("\n\n"));
    if !cfg!(debug_assertions) {
        page::check(&table(&rows));
    }
}

/// `17`, or `brute-force:17`.
fn replay(wanted: &str) {
    let (name, seed) = wanted.rsplit_once(':').map_or((None, wanted), |(name, seed)| (Some(name), seed));
    let seed = seed.parse().expect("GUARD_SEED is a number, or scene:number");
    for scenario in SCENARIOS.iter().filter(|scenario| name.is_none_or(|name| name == scenario.name)) {
        println!("{}: {}", scenario.name, scenario.about);
        let (mut world, outcome) = play(scenario, seed, true);
        for line in world.take_trace() {
            println!("{line}");
        }
        assert_eq!(outcome, Ok(()), "{}, seed {seed}", scenario.name);
    }
}

/// Chance and time are arguments: nothing else decides.
#[test]
fn the_same_seed_gives_the_same_decisions() {
    for scenario in SCENARIOS {
        for seed in 0..2 {
            let course = || {
                let (world, _) = play(scenario, seed, false);
                (world.changes, world.decided)
            };
            assert_eq!(course(), course(), "{}, seed {seed}", scenario.name);
        }
    }
}

/// Whatever the daemon keeps is enough: stopped and started again, it decides as if nothing had been.
#[test]
fn an_orderly_restart_changes_no_later_decision() {
    for scenario in SCENARIOS.iter().filter(|scenario| scenario.name != "all-at-once") {
        for seed in 0..2 {
            let (world, outcome) = play_with(scenario, seed, Plan::fair(), false);
            assert_eq!(outcome, Ok(()));
            // Between two attempts: what is left of one that is under way is not kept.
            let mut plan = Plan::fair();
            plan.faults = (1..4)
                .filter_map(|part| Some((world.quiet_time(part * scenario.length / 5)?, Fault::Restart)))
                .collect();
            let (restarted, outcome) = play_with(scenario, seed, plan, false);
            assert_eq!(outcome, Ok(()), "{}, seed {seed}", scenario.name);
            let bans = |decided: Vec<Decided>| {
                decided.into_iter().filter(|d| d.what != "refuse").collect::<Vec<_>>()
            };
            assert_eq!(bans(restarted.decided), bans(world.decided), "{}, seed {seed}", scenario.name);
        }
    }
}
