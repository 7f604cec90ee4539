//! The simulator: attackers, honest users and faults of many kinds against the real judge, on a clock that is not real.
//!
//! Each scene is played once for each seed, by `world`: people act, servers write lines, lines come late or twice, the
//! daemon judges them (`daemon`, the real [`guard::judge::Judge`] with models of kernel and store), and after every step
//! `watch` looks whether all that must hold does. The same seed gives the same course of things, on every machine.
//!
//! `cargo xtask simulate` plays 256 seeds of every scene and writes the table of docs/decisions.md. `GUARD_SEED=17 cargo
//! test -p guard-tests --test simulate -- seeds --nocapture` plays seed 17 of every scene and shows the course of each;
//! `GUARD_SEED=brute-force:17` that of one scene.
#![allow(clippy::unwrap_used, reason = "a test that cannot go on ends here")]
#![allow(clippy::print_stdout, reason = "the course of things is shown to who asks for it")]

mod chance;
mod clock;
mod daemon;
mod facts;
mod faults;
mod kernel;
mod machine;
mod page;
mod people;
mod play;
mod prefixes;
mod report;
mod scenarios;
mod store;
mod tests;
mod watch;
mod world;
