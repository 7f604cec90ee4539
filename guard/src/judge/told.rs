//! What people are told of besides bans: incidents and storms.

use std::net::IpAddr;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use super::Judge;
use crate::encode::printable;
use crate::engine::{Attack, BanOrder, Incident, Trouble};
use crate::sighting::Sighting;
use crate::target::Target;
use crate::time::{Clock, Moment, Wall};

/// Characters of an account's name that are told.
const ACCOUNT: usize = 64;

/// An attack on an account by many addresses, as people are told of it.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct AccountAttack {
    /// The account, printable.
    pub account: String,
    /// The filter whose service has it.
    pub filter: String,
    /// When it was told of.
    pub at: Wall,
    /// How many addresses had tried it within `decide.account_within` then.
    pub addresses: u32,
}

impl Judge {
    /// Tells of an incident.
    pub(super) fn incident(&mut self, incident: &Incident, last: Option<&Sighting<'_>>, clock: Clock) {
        let (name, severity) = (incident.trouble.name(), incident.trouble.severity().name());
        *self.count.incidents.entry(incident.trouble.name()).or_default() += 1;
        let target = incident.address.map(Target::host);
        let account = incident.account.as_deref().map(|account| printable(account, ACCOUNT));
        let lines = match (target, last) {
            (Some(target), _) => self.lines_against(target, last, clock),
            (None, Some(last)) => self.lines_against(Target::host(last.address), Some(last), clock),
            (None, None) => Vec::new(),
        };
        let mut detail = Map::from_iter([
            ("incident".to_owned(), json!(name)),
            ("severity".to_owned(), json!(severity)),
            ("filter".to_owned(), json!(self.filters.filter_name(incident.pattern.filter))),
            ("account".to_owned(), json!(account)),
            ("lines".to_owned(), json!(lines)),
        ]);
        detail.extend(numbers(incident.trouble));
        if let Some(target) = target.filter(|_| incident.is_doubted) {
            return self.event_that_repeats("incident", (target, name), Value::Object(detail), clock);
        }
        let address = incident.address.map(tracing::field::display);
        warn!(incident = name, severity, address, account, "incident");
        self.event_of_line("incident", target, Value::Object(detail), clock);
    }

    /// The attacks on accounts that an address took part in, the newest first.
    pub fn attacks_by(&self, address: IpAddr, clock: Clock) -> Vec<AccountAttack> {
        let told = |attack: &Attack| AccountAttack {
            account: printable(&attack.account, ACCOUNT),
            filter: self.filters.filter_name(attack.pattern.filter).to_owned(),
            at: clock.wall_of(attack.at),
            addresses: attack.addresses,
        };
        self.engine.attacks_by(address, clock.moment).into_iter().map(told).collect()
    }

    /// Tells of an order that has to wait for the end of a storm.
    pub(super) fn held(&mut self, order: &BanOrder, clock: Clock) {
        self.count.held += 1;
        info!(target = %order.target, "held back until the storm is over");
        let because = "many bans at once: what reaches further than one address waits";
        self.event("hold", Some(order.target), &json!({ "because": because }), clock);
    }

    /// Tells of a prefix that is not banned because of a login.
    pub(super) fn spared(&mut self, target: Target, login: IpAddr, clock: Clock) {
        let because = format!("somebody has logged in from {login} within a day");
        self.event_that_repeats("refuse", (target, ""), json!({ "because": because }), clock);
    }

    /// Tells that a storm has begun.
    pub(super) fn storm_begins(&mut self, until: Moment, clock: Clock) {
        self.count.storms += 1;
        let until = clock.wall_of(until).to_string();
        warn!(until, "storm: many bans at once; bans of single addresses go on, prefixes wait");
        self.event("storm", None, &json!({ "begins": true, "until": until }), clock);
    }

    /// Tells that a storm is over.
    pub(super) fn storm_ends(&mut self, held: u32, unheld: u32, clock: Clock) {
        info!(held, unheld, "the storm is over");
        self.event("storm", None, &json!({ "begins": false, "held": held, "unheld": unheld }), clock);
    }
}

/// The numbers that belong to a trouble.
fn numbers(trouble: Trouble) -> Vec<(String, Value)> {
    let numbers = match trouble {
        Trouble::SlowGuessing { guesses } => vec![("guesses", guesses)],
        Trouble::ManyAccounts { accounts } => vec![("accounts", accounts)],
        Trouble::AccountUnderAttack { addresses } => vec![("addresses", addresses)],
        Trouble::SuccessAfterFailures { guesses, addresses } => {
            vec![("guesses", guesses), ("addresses", addresses)]
        }
    };
    numbers.into_iter().map(|(name, number)| (name.to_owned(), json!(number))).collect()
}
