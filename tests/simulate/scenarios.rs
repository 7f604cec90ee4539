//! Who meets the machine, and for how long.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

use guard::config::Config;

use crate::chance::Chance;
use crate::clock::{DAY, HOUR, MINUTE, SECOND};
use crate::faults::Weather;
use crate::machine::address;
use crate::people::{
    Accounts, Addresses, Admin, Crawler, Guesser, Intranet, Lucky, Person, Roaming, Robot, Role, Typist,
    Visitor, office,
};

/// A scene of which every seed is another performance.
pub(crate) struct Scenario {
    pub(crate) name: &'static str,
    /// What happens, for people.
    pub(crate) about: &'static str,
    /// Milliseconds.
    pub(crate) length: i64,
    pub(crate) cast: fn(&mut Casting),
    pub(crate) configure: fn(&mut Config),
    pub(crate) weather: Weather,
    /// Whether people ban and allow meanwhile.
    pub(crate) people_ask: bool,
}

const NAMES: &[&str] = &[
    "root", "admin", "test", "oracle", "postgres", "ubuntu", "git", "user", "ftp", "www", "mysql", "nagios",
    "deploy", "backup", "jenkins", "hadoop", "tomcat", "pi", "guest", "support", "web", "dev", "operator",
    "info", "sales",
];

/// Who takes part, in what order they come, and where from.
pub(crate) struct Casting {
    pub(crate) people: Vec<(i64, Role, Box<dyn Person>)>,
    pub(crate) chance: Chance,
    networks: u32,
}

impl Casting {
    pub(crate) fn new(chance: Chance) -> Self {
        Self { people: Vec::new(), chance, networks: 0 }
    }

    fn add(&mut self, first: i64, role: Role, person: impl Person + 'static) {
        self.people.push((first, role, Box::new(person)));
    }

    fn attacker(&mut self, first: i64, person: impl Person + 'static) {
        self.add(first, Role::Attacker, person);
    }

    fn honest(&mut self, first: i64, person: impl Person + 'static) {
        self.add(first, Role::Honest, person);
    }

    /// A /24 that nobody else uses.
    fn network4(&mut self) -> Ipv4Addr {
        self.networks += 1;
        Ipv4Addr::from_bits(u32::from(Ipv4Addr::new(45, 0, 0, 0)) + (self.networks << 8))
    }

    /// A /48 that nobody else uses.
    fn network6(&mut self) -> Ipv6Addr {
        self.networks += 1;
        Ipv6Addr::from_bits((0x2001_0db8_1000 + u128::from(self.networks)) << 80)
    }

    /// An address far from all others.
    fn host(&mut self) -> IpAddr {
        if self.chance.one_in(4) {
            let network = self.network6().to_bits();
            return IpAddr::V6(Ipv6Addr::from_bits(network + u128::from(self.chance.next() | 1)));
        }
        let network = self.network4().to_bits();
        IpAddr::V4(Ipv4Addr::from_bits(network + 1 + self.chance.below(250) as u32))
    }

    fn soon(&mut self) -> i64 {
        self.chance.within(SECOND..=MINUTE)
    }

    /// Who is there in every scene: an administrator, users with passwords, a visitor.
    fn bystanders(&mut self, length: i64) {
        let logins = (length / (30 * MINUTE)).clamp(2, 12) as u64;
        let (first, from) = (self.soon(), self.host());
        self.honest(first, Admin { from, logins, keys: 3 });
        for account in ["alice", "bob"] {
            let (first, from) = (self.soon(), self.host());
            self.honest(first, Typist::new(from, account, logins, 2));
        }
        let (first, from) = (self.soon(), self.host());
        self.honest(first, Visitor { from, pages: 15 });
    }
}

fn usual(_: &mut Config) {}

/// A scene with the shipped configuration and any weather.
const fn scene(name: &'static str, about: &'static str, length: i64, cast: fn(&mut Casting)) -> Scenario {
    Scenario { name, about, length, cast, configure: usual, weather: Weather::Any, people_ask: false }
}

/// Every scene.
pub(crate) const SCENARIOS: &[Scenario] = &[
    scene("brute-force", "one guess a second or two, from one address", HOUR, |casting| {
        for _ in 0..3 {
            let (first, from) = (casting.soon(), casting.host());
            let mut guesser = Guesser::new(from, Accounts::Any(NAMES), SECOND..=2 * SECOND, 60);
            guesser.back_after = Some(30 * SECOND..=2 * MINUTE);
            casting.attacker(first, guesser);
        }
        casting.bystanders(HOUR);
    }),
    scene("come-again", "comes back whenever a ban has ended, for two months", 60 * DAY, |casting| {
        let (first, from) = (casting.soon(), casting.host());
        let mut guesser = Guesser::new(from, Accounts::Any(NAMES), 5 * SECOND..=20 * SECOND, 400);
        guesser.back_after = Some(20 * MINUTE..=12 * HOUR);
        casting.attacker(first, guesser);
        casting.bystanders(DAY);
    }),
    scene("low-and-slow", "one guess in ten minutes, from one address", DAY, |casting| {
        for _ in 0..2 {
            let (first, from) = (casting.soon(), casting.host());
            casting.attacker(first, Guesser::new(from, Accounts::Any(NAMES), 9 * MINUTE..=11 * MINUTE, 120));
        }
        casting.bystanders(DAY);
    }),
    scene(
        "under-the-threshold",
        "one guess in two to three minutes, from one address",
        12 * HOUR,
        |casting| {
            for _ in 0..2 {
                let (first, from) = (casting.soon(), casting.host());
                casting.attacker(
                    first,
                    Guesser::new(from, Accounts::Any(NAMES), 121 * SECOND..=180 * SECOND, 200),
                );
            }
            casting.bystanders(12 * HOUR);
        },
    ),
    scene("thousand-hosts", "one guess from each of 1,000 hosts, all for one account", 2 * HOUR, |casting| {
        for _ in 0..1000 {
            let from = casting.host();
            let first = casting.chance.within(SECOND..=2 * HOUR);
            casting.attacker(first, Guesser::new(from, Accounts::One("root"), SECOND..=SECOND, 1));
        }
        casting.bystanders(2 * HOUR);
    }),
    scene("botnet-in-a-24", "40 hosts of one IPv4 /24, each banned after some guesses", HOUR, |casting| {
        let network = casting.network4().to_bits();
        for host in 0..40 {
            let from = IpAddr::V4(Ipv4Addr::from_bits(network + 10 + host * 5));
            let first = casting.chance.within(SECOND..=40 * MINUTE);
            casting.attacker(first, Guesser::new(from, Accounts::Any(NAMES), 5 * SECOND..=30 * SECOND, 20));
        }
        casting.bystanders(HOUR);
    }),
    scene("botnet-in-a-64", "40 hosts of one IPv6 /64", HOUR, |casting| {
        let network = casting.network6().to_bits();
        for _ in 0..40 {
            let from = IpAddr::V6(Ipv6Addr::from_bits(network + u128::from(casting.chance.next())));
            let first = casting.chance.within(SECOND..=40 * MINUTE);
            casting.attacker(first, Guesser::new(from, Accounts::Any(NAMES), 5 * SECOND..=30 * SECOND, 20));
        }
        casting.bystanders(HOUR);
    }),
    scene("botnet-in-a-56", "80 hosts, each in a /64 of its own of one IPv6 /56", HOUR, |casting| {
        let network = casting.network6().to_bits();
        for number in 0..80_u128 {
            let from = IpAddr::V6(Ipv6Addr::from_bits(network + (number << 64) + 1));
            let first = casting.chance.within(SECOND..=40 * MINUTE);
            casting.attacker(first, Guesser::new(from, Accounts::Any(NAMES), 5 * SECOND..=30 * SECOND, 20));
        }
        casting.bystanders(HOUR);
    }),
    scene("rotating-ipv6", "a new address of one /64 after every three guesses", HOUR, |casting| {
        let (first, network) = (casting.soon(), casting.network6());
        let mut guesser = Guesser::new(IpAddr::V6(network), Accounts::Any(NAMES), SECOND..=4 * SECOND, 600);
        guesser.from = Addresses::Rotating { network, length: 64, every: 3 };
        casting.attacker(first, guesser);
        casting.bystanders(HOUR);
    }),
    scene("stuffing", "another account with each guess, one in 70 to 110 seconds", 2 * HOUR, |casting| {
        for _ in 0..2 {
            let (first, from) = (casting.soon(), casting.host());
            casting
                .attacker(first, Guesser::new(from, Accounts::Each(NAMES), 70 * SECOND..=110 * SECOND, 60));
        }
        casting.bystanders(2 * HOUR);
    }),
    scene("decoy", "tries an account that nobody has and everybody tries", HOUR, |casting| {
        for _ in 0..3 {
            let (first, from) = (casting.soon(), casting.host());
            casting.attacker(first, Guesser::new(from, Accounts::One("oracle"), MINUTE..=2 * MINUTE, 10));
        }
        casting.bystanders(HOUR);
    })
    .with(|config| config.decide.decoys = vec!["oracle".into()]),
    scene("spoofed-crawler", "looks for secrets on the web server as a search engine", HOUR, |casting| {
        for _ in 0..2 {
            let (first, from) = (casting.soon(), casting.host());
            casting.attacker(first, Crawler { from, requests: 60 });
        }
        casting.bystanders(HOUR);
    }),
    scene("lucky", "four failures, then the right password", HOUR, |casting| {
        for _ in 0..2 {
            let (first, from) = (casting.soon(), casting.host());
            let pause = casting.chance.within(2 * SECOND..=10 * SECOND);
            casting.attacker(first, Lucky { from, account: "bob", wrong: 4, pause });
        }
        casting.bystanders(HOUR);
    }),
    scene(
        "attacker-behind-nat",
        "guesses as fast as he can, behind the address of eight users",
        4 * HOUR,
        |casting| {
            let (first, from) = (casting.chance.within(HOUR..=2 * HOUR), casting.host());
            casting.attacker(first, Guesser::new(from, Accounts::Any(NAMES), SECOND..=3 * SECOND, 60));
            for person in office(from, 8, 8, 12) {
                let first = casting.chance.within(SECOND..=30 * MINUTE);
                casting.people.push((first, Role::Honest, person));
            }
            casting.bystanders(4 * HOUR);
        },
    ),
    scene(
        "office-behind-nat",
        "16 users behind one address, one of whom mistypes, and a job that fails: four points at most",
        8 * HOUR,
        |casting| {
            let from = casting.host();
            let clumsy = office(from, 1, 10, 10);
            for person in office(from, 15, 10, u64::MAX).into_iter().chain(clumsy) {
                let first = casting.chance.within(SECOND..=2 * HOUR);
                casting.people.push((first, Role::Honest, person));
            }
            let first = casting.soon();
            casting.honest(first, Robot { from, account: "backup", every: 15, runs: 30, tries: 1, tried: 0 });
        },
    ),
    scene(
        "clumsy-office",
        "16 users behind one address who mistype so often that it comes together",
        8 * HOUR,
        |casting| {
            let from = casting.host();
            for person in office(from, 16, 10, 10) {
                let first = casting.chance.within(SECOND..=2 * HOUR);
                casting.people.push((first, Role::Honest, person));
            }
        },
    ),
    scene(
        "intranet-behind-nat",
        "an office behind one address that mistypes HTTP passwords 16 times a day, all week",
        7 * DAY,
        |casting| {
            let (first, from) = (casting.soon(), casting.host());
            casting.honest(first, Intranet::new(from, 7, 16));
            casting.bystanders(DAY);
        },
    ),
    scene(
        "key-admin",
        "an administrator whose agent offers many keys, and who mistypes",
        8 * HOUR,
        |casting| {
            for keys in [2, 6, 12] {
                let (first, from) = (casting.soon(), casting.host());
                casting.honest(first, Admin { from, logins: 15, keys });
            }
        },
    ),
    scene(
        "roaming-admin",
        "logs in with a key from ever new addresses; a botnet guesses in one of his networks",
        8 * HOUR,
        |casting| {
            let networks: Vec<Ipv4Addr> = (0..3).map(|_| casting.network4()).collect();
            for host in 0..15 {
                let from = IpAddr::V4(Ipv4Addr::from_bits(networks[0].to_bits() + 2 + host * 16));
                let first = casting.chance.within(SECOND..=4 * HOUR);
                casting
                    .attacker(first, Guesser::new(from, Accounts::Any(NAMES), 5 * SECOND..=30 * SECOND, 20));
            }
            let first = casting.soon();
            casting.honest(first, Roaming { networks, logins: 14 });
        },
    ),
    scene(
        "robots",
        "jobs with an expired password: one try in five minutes, or three in an hour",
        DAY,
        |casting| {
            for (every, tries) in [(5, 1), (15, 1), (60, 3)] {
                let (first, from) = (casting.soon(), casting.host());
                let runs = (DAY / MINUTE / every) as u64;
                casting.honest(first, Robot { from, account: "backup", every, runs, tries, tried: 0 });
            }
        },
    ),
    scene("typists", "users with passwords who mistype up to three times in a row", 8 * HOUR, |casting| {
        for account in ["alice", "bob", "carol", "git"] {
            let (first, from) = (casting.soon(), casting.host());
            casting.honest(first, Typist::new(from, account, 15, 2));
        }
    }),
    scene(
        "needed-addresses",
        "guesses from loopback, the gateway, the allowlist, behind a live session",
        HOUR,
        |casting| {
            for from in crate::machine::PROTECTED {
                let first = casting.soon();
                let guesser = Guesser::new(address(from), Accounts::Any(NAMES), SECOND..=10 * SECOND, 30);
                casting.add(first, Role::Shielded, guesser);
            }
            let from = casting.host();
            casting.honest(SECOND, Admin { from, logins: 12, keys: 0 });
            let first = casting.chance.within(MINUTE..=10 * MINUTE);
            casting.add(
                first,
                Role::Shielded,
                Guesser::new(from, Accounts::Any(NAMES), SECOND..=10 * SECOND, 30),
            );
        },
    ),
    Scenario {
        people_ask: true,
        ..scene("all-at-once", "everybody above, while people ban and allow", 3 * HOUR, |casting| {
            for scene in SCENARIOS.iter().filter(|scene| scene.length <= 8 * HOUR && !scene.people_ask) {
                if scene.name != "thousand-hosts" && casting.chance.one_in(3) {
                    (scene.cast)(casting);
                }
            }
        })
    },
];

impl Scenario {
    const fn with(mut self, configure: fn(&mut Config)) -> Self {
        self.configure = configure;
        self
    }
}
