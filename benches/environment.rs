//! What the figures were measured on.

use std::fs;

use guard::time::Wall;

/// The head of the page.
pub fn heading() -> String {
    let release = read("/proc/sys/kernel/osrelease");
    let cpus = std::thread::available_parallelism().map_or(1, usize::from);
    let model = field("/proc/cpuinfo", "model name");
    let memory = field("/proc/meminfo", "MemTotal");
    let load = read("/proc/loadavg");
    let load = load.split(' ').next().unwrap_or("unknown");
    let build = if cfg!(debug_assertions) { ", **debug build: figures mean nothing**" } else { "" };
    format!(
        "# Performance\n\n\
         Written by `cargo xtask bench`. Compare ratios within one run, not times between machines. A goal is what \
         guard sets itself; peers were measured on the same kind of machine.\n\n\
         Measured {} on Linux {release}, {cpus} × {model}, {memory} of memory, load {load} at the \
         end{build}.\n",
        Wall::now()
    )
}

/// The value of a `name : value` line, in the first place it stands.
fn field(file: &str, name: &str) -> String {
    let text = read(file);
    let value = text.lines().find_map(|line| {
        let (key, value) = line.split_once(':')?;
        (key.trim() == name).then(|| value.trim().to_owned())
    });
    value.unwrap_or_else(|| "unknown".to_owned())
}

fn read(file: &str) -> String {
    fs::read_to_string(file).unwrap_or_default().trim().to_owned()
}
