//! Who asks the web server: a visitor with a dead link, and a scanner that calls itself a search engine.

use std::net::IpAddr;

use super::{Hand, Person};

const GOOGLEBOT: &str = "Mozilla/5.0 (compatible; Googlebot/2.1; +http://www.google.com/bot.html)";
const FIREFOX: &str = "Mozilla/5.0 (X11; Linux x86_64; rv:145.0) Gecko/20100101 Firefox/145.0";

/// What a scanner asks for, and what it is answered.
const PROBES: [(&str, u16); 8] = [
    ("/.env", 404),
    ("/.git/config", 404),
    ("/wp-login.php", 404),
    ("/backup.sql", 404),
    ("/server-status", 403),
    ("/old/index.php", 404),
    ("/api/.env", 404),
    ("/phpinfo.php", 404),
];

/// A scanner with the name of a crawler that many sites let do anything.
#[derive(Debug)]
pub(crate) struct Crawler {
    pub(crate) from: IpAddr,
    pub(crate) requests: u64,
}

impl Person for Crawler {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        self.requests = self.requests.checked_sub(1)?;
        let (path, status) = *hand.chance.pick(&PROBES);
        hand.request(self.from, path, status, GOOGLEBOT).then(|| hand.between(200, 1500))
    }
}

/// Reads pages. A link here and there is dead.
#[derive(Debug)]
pub(crate) struct Visitor {
    pub(crate) from: IpAddr,
    pub(crate) pages: u64,
}

impl Person for Visitor {
    fn act(&mut self, hand: &mut Hand<'_>) -> Option<i64> {
        self.pages = self.pages.checked_sub(1)?;
        let (path, status) =
            if hand.chance.one_in(8) { ("/old/page.html", 404) } else { ("/page.html", 200) };
        hand.request(self.from, path, status, FIREFOX);
        Some(hand.between(2000, 40_000))
    }
}
