//! Counting what tests report.

use std::fmt;

/// Results, added up over test programs and checks.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Tally {
    /// How many did what they should.
    pub passed: u64,
    /// Names of those that did not.
    pub failed: Vec<String>,
    /// Names of those that could not run, with the reason.
    pub skipped: Vec<String>,
    /// Names of those that their authors left out of every run, with the reason: measurements, and helpers that other
    /// tests start.
    pub ignored: Vec<String>,
}

impl Tally {
    /// One check that passed.
    pub fn one() -> Self {
        Self { passed: 1, ..Self::default() }
    }

    /// Takes another tally in.
    pub fn add(&mut self, other: Self) {
        self.passed += other.passed;
        self.failed.extend(other.failed);
        self.skipped.extend(other.skipped);
        self.ignored.extend(other.ignored);
    }

    /// Counts a failure.
    pub fn fail(&mut self, name: String) {
        self.failed.push(name);
    }

    /// Counts something that could not run.
    pub fn skip(&mut self, name: String) {
        self.skipped.push(name);
    }

    /// Takes note of a line that libtest prints: `test NAME ... ok`, or with another result.
    pub fn read(&mut self, program: &str, line: &str) {
        let Some((name, result)) = line.strip_prefix("test ").and_then(|rest| rest.rsplit_once(" ... "))
        else {
            return;
        };
        let name = || format!("{program} {name}");
        if result == "ok" {
            self.passed += 1;
        } else if result.starts_with("FAILED") {
            self.fail(name());
        } else if result.starts_with("ignored") {
            self.ignored.push(format!("{} ({result})", name()));
        }
    }

    /// Takes tests that returned early out of the passed ones: each line of `skips` is `NAME: REASON`, written by the
    /// test itself.
    pub fn read_skips(&mut self, program: &str, skips: &str) {
        for line in skips.lines() {
            self.passed = self.passed.saturating_sub(1);
            self.skip(format!("{program} {line}"));
        }
    }
}

impl fmt::Display for Tally {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let (failed, skipped) = (self.failed.len(), self.skipped.len());
        write!(f, "{} passed, {failed} failed, {skipped} skipped", self.passed)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_are_read_from_what_libtest_prints() {
        let mut tally = Tally::default();
        for line in [
            "running 4 tests",
            "test scan::a_line ... ok",
            "test src/lib.rs - encode (line 3) ... ok",
            "test engine::two ... FAILED",
            "test store::slow ... ignored, takes an hour",
            "test result: FAILED. 2 passed; 1 failed; 1 ignored; 0 measured; 0 filtered out; finished in 0.00s",
        ] {
            tally.read("guard", line);
        }
        assert_eq!(tally.to_string(), "2 passed, 1 failed, 0 skipped");
        assert_eq!(tally.failed, ["guard engine::two"]);
        assert_eq!(tally.ignored, ["guard store::slow (ignored, takes an hour)"]);
    }

    #[test]
    fn a_test_that_skips_itself_has_not_passed() {
        let mut tally = Tally { passed: 3, ..Tally::default() };
        tally.read_skips("xdp", "drops_a_banned_host: not root\n");
        assert_eq!(tally.to_string(), "2 passed, 0 failed, 1 skipped");
        assert_eq!(tally.skipped, ["xdp drops_a_banned_host: not root"]);
    }
}
