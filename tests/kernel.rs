//! The packet program and its maps on the running kernel.
//!
//! Packets go through `BPF_PROG_TEST_RUN`, or over a veth pair in a network namespace of the test's own. Needs root
//! and an eBPF object in the build (`cargo xtask build-ebpf`).
#![allow(clippy::unwrap_used, clippy::expect_used, reason = "helpers of tests fail like tests")]

#[path = "kernel/attach.rs"]
mod attach;
#[path = "kernel/bench.rs"]
mod bench;
#[path = "kernel/frame.rs"]
mod frame;
#[path = "kernel/opened.rs"]
mod opened;
#[path = "kernel/packets.rs"]
mod packets;
#[path = "kernel/state.rs"]
mod state;
#[path = "kernel/verifier.rs"]
mod verifier;
#[path = "kernel/world.rs"]
mod world;
