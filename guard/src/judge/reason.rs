//! Why a ban was ordered, in words for people.

use super::Judge;
use crate::config::units::show_duration;
use crate::engine::{BanOrder, Cause};

impl Judge {
    /// Why, in words.
    pub(super) fn reason(&self, order: &BanOrder, filter: &str) -> String {
        let decide = &self.decide;
        match order.cause {
            Cause::Score(threshold) | Cause::Known(threshold) => {
                let within = show_duration(decide.window);
                let lowered = match order.cause {
                    Cause::Known(_) => "a known offender",
                    _ if threshold < decide.threshold => "many fail at present",
                    _ => "",
                };
                let lowered = match lowered {
                    "" => String::new(),
                    why => format!(" ({why}: {} lead to a ban)", threshold.as_f64()),
                };
                format!("{filter}: {} points within {within}{lowered}", order.score.as_f64())
            }
            Cause::Decoy => format!("{filter}: an account was tried that nobody has here"),
            Cause::Accounts(accounts) => {
                let within = show_duration(decide.accounts_within);
                format!("{filter}: {accounts} different accounts were tried within {within}")
            }
            Cause::Slow => format!("{filter}: slow guesses at several accounts"),
            Cause::Banned(members) => {
                let (what, within) = if order.target.length() == 24 || order.target.length() == 64 {
                    ("hosts", decide.prefix_within)
                } else {
                    ("prefixes", decide.prefix_length)
                };
                format!("{members} of its {what} were banned within {}", show_duration(within))
            }
            Cause::Failing(members) => {
                let within = show_duration(decide.prefix_within);
                format!("{members} of its addresses failed within {within}")
            }
        }
    }
}
