//! Build, test and demo commands.
fn main() {}
