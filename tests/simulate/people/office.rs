//! Many users behind one address.

use std::net::IpAddr;

use super::{Person, Typist};

/// The people of an office, who log in with passwords all day and mistype once in so many times.
pub(crate) fn office(from: IpAddr, people: usize, logins: u64, slips_one_in: u64) -> Vec<Box<dyn Person>> {
    let accounts = ["alice", "bob", "carol"];
    let person = |n: usize| {
        Box::new(Typist::new(from, accounts[n % accounts.len()], logins, slips_one_in)) as Box<dyn Person>
    };
    (0..people).map(person).collect()
}
