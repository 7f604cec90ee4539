//! Rules for the judge: what they need besides their text, and the commands they want run.

use std::collections::HashSet;

use tracing::warn;

use crate::config::Config;
use crate::rules::{Geo, RuleErrors, RuleSet, Task};
use crate::scan::FilterSet;

use super::control::Control;

/// The topic of problems with databases of countries and networks.
const GEO: &str = "geo";
/// The topics of commands and webhooks that failed.
const COMMANDS: &str = "commands";
const WEBHOOKS: &str = "webhooks";

/// Rules that are ready to be asked, and problems with what they ask for.
pub(super) struct Prepared {
    pub(super) rules: RuleSet,
    problems: Vec<String>,
}

impl Prepared {
    /// Loads the rules of a configuration, and the databases they ask for.
    pub(super) fn load(config: &Config, filters: &FilterSet) -> Result<Self, RuleErrors> {
        let mut rules = RuleSet::load(config)?;
        rules.check_filters(filters.names());
        let mut problems = Vec::new();
        if rules.asks_origin() {
            let (geo, faults) = Geo::load(&config.decide.geo);
            rules.set_geo(geo);
            problems = faults;
            if config.decide.geo.is_empty() {
                problems.push(
                    "rules ask about country or asn, but `decide.geo` names no database: it stays unknown"
                        .into(),
                );
            }
        }
        Ok(Self { rules, problems })
    }
}

impl Control {
    /// Decides by these rules from now on.
    pub(super) fn use_rules(&mut self, prepared: Prepared) {
        let Prepared { rules, problems } = prepared;
        for doubt in rules.warnings() {
            warn!("{doubt}");
        }
        self.problems.replace(GEO, problems);
        self.judge.set_rules(rules);
        let names: HashSet<Box<str>> =
            self.judge.rules().rules().map(|(rule, _)| rule.name().into()).collect();
        self.webhooks.set_rules(names.clone());
        self.commands.set_rules(names);
    }

    /// Has the commands run, and the documents sent, that are due: what was decided with them is in the kernel.
    pub(super) fn run_orders(&mut self) {
        for order in std::mem::take(&mut self.judge.outcome().orders) {
            match order.task {
                Task::Run { .. } => self.commands.run(order),
                Task::Post { .. } => self.webhooks.run(order),
            }
        }
    }

    /// Shows commands and webhooks that failed as problems.
    pub(super) fn keep_orders(&mut self) {
        for (topic, orders) in [(COMMANDS, &mut self.commands), (WEBHOOKS, &mut self.webhooks)] {
            if let Some(failures) = orders.news() {
                self.problems.replace(topic, failures);
            }
        }
    }
}
