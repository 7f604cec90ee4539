//! Plays scenes: one seed or all of them.

use std::fmt::Write as _;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::atomic::{AtomicU64, Ordering};

use crate::chance::Chance;
use crate::faults::Plan;
use crate::report::Row;
use crate::scenarios::Scenario;
use crate::world::World;

/// Seeds of each scene. A build without optimisation plays some of them; `cargo xtask simulate` and `cargo xtask test`
/// play all.
pub(crate) const SEEDS: u64 = if cfg!(debug_assertions) { 16 } else { 256 };
/// Lines of the course of things that a failure shows.
const SHOWN: usize = 60;

/// Plays one seed to its end.
pub(crate) fn play(scenario: &Scenario, seed: u64, traced: bool) -> (World, Result<(), String>) {
    let mut chance = Chance::new(seed, "plan");
    let plan = Plan::new(scenario.weather, scenario.length, scenario.people_ask, &mut chance);
    play_with(scenario, seed, plan, traced)
}

/// The same with other faults.
pub(crate) fn play_with(
    scenario: &Scenario,
    seed: u64,
    plan: Plan,
    traced: bool,
) -> (World, Result<(), String>) {
    let mut world = World::new(scenario, plan, seed, traced);
    let outcome = catch_unwind(AssertUnwindSafe(|| world.run(scenario.length)));
    let outcome = match outcome {
        Ok(Ok(())) => Ok(()),
        Ok(Err(broken)) => Err(broken.0),
        Err(panic) => {
            let text = panic.downcast_ref::<String>().cloned();
            Err(text
                .or_else(|| panic.downcast_ref::<&str>().map(|text| (*text).to_owned()))
                .unwrap_or_default())
        }
    };
    (world, outcome)
}

/// Plays all seeds of a scene. What does not hold is told with the course of things before it.
pub(crate) fn play_all(scenario: &Scenario, seeds: u64) -> Result<Row, String> {
    let next = AtomicU64::new(0);
    let played: Vec<_> = std::thread::scope(|scope| {
        let player = || {
            let mut played = Vec::new();
            loop {
                let seed = next.fetch_add(1, Ordering::Relaxed);
                if seed >= seeds {
                    return played;
                }
                let (world, outcome) = play(scenario, seed, false);
                played.push((seed, world.tallies, outcome));
            }
        };
        let threads = std::thread::available_parallelism().map_or(1, usize::from).min(8);
        let players: Vec<_> = (0..threads).map(|_| scope.spawn(player)).collect();
        players.into_iter().flat_map(|player| player.join().expect("a player catches panics")).collect()
    });
    let mut row = Row::default();
    let mut failed: Vec<_> =
        played.iter().filter(|(.., outcome)| outcome.is_err()).map(|(seed, ..)| *seed).collect();
    failed.sort_unstable();
    if let Some(seed) = failed.first() {
        return Err(story(scenario, *seed, failed.len()));
    }
    for (_, tallies, _) in &played {
        row.add(tallies);
    }
    Ok(row)
}

/// Why a seed fails, with what happened before and how to see it again.
fn story(scenario: &Scenario, seed: u64, failed: usize) -> String {
    let (mut world, outcome) = play(scenario, seed, true);
    let trace = world.take_trace();
    let mut text = String::new();
    for line in &trace[trace.len().saturating_sub(SHOWN)..] {
        let _ = writeln!(text, "  {line}");
    }
    let name = scenario.name;
    let what = outcome.err().unwrap_or_else(|| "nothing, when it is played again".to_owned());
    format!(
        "{name}, seed {seed} ({failed} seeds fail): {what}\n{text}\
         GUARD_SEED={name}:{seed} cargo test -p guard-tests --test simulate -- seeds --nocapture"
    )
}
