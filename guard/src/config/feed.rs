//! `[[feed]]`: a list of addresses that others keep.

use std::path::PathBuf;
use std::time::Duration;

use toml::Spanned;
use toml::de::DeValue;

use super::shape::{
    Absolute, Choice, Flag, List, Name, Score, Shape, Share, Size, Span, Whole, Wrong, mistyped, quoted,
    wrong,
};
use crate::feed::parse::{Column, Format};
use crate::sighting::Points;

/// A feed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Feed {
    /// Its name, which no other feed has.
    pub name: String,
    /// Where it is.
    pub from: FeedSource,
    /// How it is written. Default `auto`.
    pub format: Format,
    /// The column of a CSV that holds the addresses. Default: the first that holds one.
    pub column: Column,
    /// The key of JSON objects that holds the addresses. Default empty: those in common use.
    pub field: String,
    /// How often it is fetched. Default 1 h.
    pub every: Duration,
    /// What becomes of who is listed. Default `ban`.
    pub action: FeedAction,
    /// Points that an address starts with for `action = "points"`. Default 2.
    pub points: Points,
    /// Bytes it may have, unpacked. Default 64 MiB.
    pub max_bytes: u64,
    /// Entries it may have. Default 1,000,000.
    pub max_entries: usize,
    /// The shortest IPv4 prefix that is taken. Default 8.
    pub widest_v4: usize,
    /// The shortest IPv6 prefix that is taken. Default 19.
    pub widest_v6: usize,
    /// The share of its entries, in thousandths, that it may lose at once without being asked for. Default 500.
    pub max_shrink: u32,
    /// Whether it may be fetched without TLS from elsewhere than this machine. Default false.
    pub plain_http: bool,
    /// Whether it may be fetched from link-local addresses, where clouds keep their secrets. Default false.
    pub link_local: bool,
    /// A file with the certificates (PEM) of the authorities that may vouch for its server, in place of those this machine
    /// trusts. Default none.
    pub ca: Option<PathBuf>,
}

/// Where a feed is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum FeedSource {
    /// Fetched from a server.
    Url(String),
    /// Read from a file.
    Path(PathBuf),
}

/// What becomes of who is listed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FeedAction {
    /// Banned as long as it is listed.
    Ban,
    /// Its score starts with points.
    Points,
}

impl FeedAction {
    /// The word in the configuration.
    pub const fn name(self) -> &'static str {
        match self {
            Self::Ban => "ban",
            Self::Points => "points",
        }
    }
}

impl Feed {
    /// A feed with defaults.
    pub fn new(name: &str, from: FeedSource) -> Self {
        Self {
            name: name.to_owned(),
            from,
            format: Format::Auto,
            column: Column::First,
            field: String::new(),
            every: Duration::from_secs(3600),
            action: FeedAction::Ban,
            points: Points(2000),
            max_bytes: 64 << 20,
            max_entries: 1_000_000,
            widest_v4: 8,
            widest_v6: 19,
            max_shrink: 500,
            plain_http: false,
            link_local: false,
            ca: None,
        }
    }

    /// Where it is, for people: without what may be a secret in a URL.
    pub fn shown_source(&self) -> String {
        match &self.from {
            FeedSource::Path(path) => path.display().to_string(),
            FeedSource::Url(url) => {
                let url = url.split(['?', '#']).next().unwrap_or_default();
                match url.split_once("://").and_then(|(scheme, rest)| {
                    let (host, path) = rest.split_once('/').unwrap_or((rest, ""));
                    Some((scheme, host.rsplit_once('@')?.1, path))
                }) {
                    Some((scheme, host, path)) => format!("{scheme}://{host}/{path}"),
                    None => url.to_owned(),
                }
            }
        }
    }
}

const FORMAT: Choice<Format> =
    Choice(&[("auto", Format::Auto), ("plain", Format::Plain), ("csv", Format::Csv), ("json", Format::Json)]);
const ACTION: Choice<FeedAction> = Choice(&[("ban", FeedAction::Ban), ("points", FeedAction::Points)]);

const NAME: Name = Name(32);
const FIELD: Name = Name(64);
const EVERY: Span = Span(60..=30 * 86_400);
const POINTS: Score = Score(0.1..=1000.0);
const BYTES: Size = Size(1 << 10..=1 << 30);
const ENTRIES: Whole = Whole(1..=10_000_000);
const WIDEST_V4: Whole = Whole(1..=32);
const WIDEST_V6: Whole = Whole(1..=128);

/// Keys of a feed, for the nearest one to a wrong one.
const KEYS: [&str; 17] = [
    "name",
    "url",
    "path",
    "format",
    "column",
    "field",
    "every",
    "action",
    "points",
    "max_bytes",
    "max_entries",
    "widest_v4",
    "widest_v6",
    "max_shrink",
    "plain_http",
    "link_local",
    "ca",
];

/// All feeds: a list of tables, of which no two have one name.
pub(super) struct Feeds;

impl Shape for Feeds {
    type Value = Vec<Feed>;

    fn read(&self, input: &Spanned<DeValue<'_>>) -> Result<Vec<Feed>, Vec<Wrong>> {
        if !input.get_ref().is_array() {
            return Err(wrong(
                input,
                "feeds are a list of tables: write [[feed]] on a line of its own".into(),
            ));
        }
        let feeds = List(FeedTable, 0).read(input)?;
        for (number, feed) in feeds.iter().enumerate() {
            if feeds[..number].iter().any(|other| other.name == feed.name) {
                return Err(wrong(input, format!("two feeds are called `{}`", feed.name)));
            }
        }
        Ok(feeds)
    }

    /// `[[feed]]` tables: the option is no key of a table.
    fn show(&self, value: &Vec<Feed>) -> String {
        value.iter().map(|feed| ["[[feed]]\n", &FeedTable.show(feed)].concat()).collect::<Vec<_>>().join("\n")
    }
}

/// One feed.
struct FeedTable;

impl Shape for FeedTable {
    type Value = Feed;

    fn read(&self, input: &Spanned<DeValue<'_>>) -> Result<Feed, Vec<Wrong>> {
        let DeValue::Table(table) = input.get_ref() else {
            return Err(mistyped(input, "a table with name and url or path"));
        };
        let mut faults = Vec::new();
        let mut feed = Feed::new("", FeedSource::Path(PathBuf::new()));
        let (mut url, mut path) = (None, None);
        for (key, value) in table {
            let read = match key.get_ref().as_ref() {
                "name" => set(&mut feed.name, NAME.read(value)),
                "url" => Url.read(value).map(|read| url = Some(read)),
                "path" => Absolute.read(value).map(|read| path = Some(read)),
                "format" => set(&mut feed.format, FORMAT.read(value)),
                "column" => set(&mut feed.column, CsvColumn.read(value)),
                "field" => set(&mut feed.field, FIELD.read(value)),
                "every" => set(&mut feed.every, EVERY.read(value)),
                "action" => set(&mut feed.action, ACTION.read(value)),
                "points" => set(&mut feed.points, POINTS.read(value)),
                "max_bytes" => set(&mut feed.max_bytes, BYTES.read(value)),
                "max_entries" => set(&mut feed.max_entries, ENTRIES.read(value)),
                "widest_v4" => set(&mut feed.widest_v4, WIDEST_V4.read(value)),
                "widest_v6" => set(&mut feed.widest_v6, WIDEST_V6.read(value)),
                "max_shrink" => set(&mut feed.max_shrink, Share.read(value)),
                "plain_http" => set(&mut feed.plain_http, Flag.read(value)),
                "link_local" => set(&mut feed.link_local, Flag.read(value)),
                "ca" => Absolute.read(value).map(|read| feed.ca = Some(read)),
                other => Err(vec![(key.span().start, super::load::unknown_name(other, KEYS))]),
            };
            faults.extend(read.err().into_iter().flatten());
        }
        if !faults.is_empty() {
            return Err(faults);
        }
        if feed.name.is_empty() {
            return Err(wrong(input, "`name` is missing".into()));
        }
        feed.from = match (url, path) {
            (Some(url), None) => FeedSource::Url(url),
            (None, Some(path)) => FeedSource::Path(path),
            _ => return Err(wrong(input, format!("feed `{}` needs either `url` or `path`", feed.name))),
        };
        if let FeedSource::Url(url) = &feed.from
            && !feed.plain_http
            && !url.starts_with("https://")
            && !is_here(url)
        {
            return Err(wrong(
                input,
                format!("feed `{}` is not fetched over TLS: write https://, or plain_http = true", feed.name),
            ));
        }
        let over_tls = matches!(&feed.from, FeedSource::Url(url) if url.starts_with("https://"));
        if feed.ca.is_some() && !over_tls {
            return Err(wrong(
                input,
                format!(
                    "feed `{}` has a `ca`, but no https:// URL whose server it could vouch for",
                    feed.name
                ),
            ));
        }
        Ok(feed)
    }

    /// Its keys, one a line.
    fn show(&self, value: &Feed) -> String {
        let usual = Feed::new(&value.name, value.from.clone());
        let from = match &value.from {
            FeedSource::Url(url) => ("url", quoted(url)),
            FeedSource::Path(path) => ("path", Absolute.show(path)),
        };
        let mut lines = vec![("name", NAME.show(&value.name)), from];
        let mut say = |key, differs, shown| {
            if differs {
                lines.push((key, shown));
            }
        };
        say("format", value.format != usual.format, FORMAT.show(&value.format));
        say("column", value.column != usual.column, CsvColumn.show(&value.column));
        say("field", value.field != usual.field, FIELD.show(&value.field));
        say("every", true, EVERY.show(&value.every));
        say("action", true, ACTION.show(&value.action));
        say("points", value.points != usual.points, POINTS.show(&value.points));
        say("max_bytes", value.max_bytes != usual.max_bytes, BYTES.show(&value.max_bytes));
        say("max_entries", value.max_entries != usual.max_entries, ENTRIES.show(&value.max_entries));
        say("widest_v4", value.widest_v4 != usual.widest_v4, WIDEST_V4.show(&value.widest_v4));
        say("widest_v6", value.widest_v6 != usual.widest_v6, WIDEST_V6.show(&value.widest_v6));
        say("max_shrink", value.max_shrink != usual.max_shrink, Share.show(&value.max_shrink));
        say("plain_http", value.plain_http, Flag.show(&value.plain_http));
        say("link_local", value.link_local, Flag.show(&value.link_local));
        let ca = value.ca.as_ref().map(|ca| Absolute.show(ca));
        say("ca", ca.is_some(), ca.unwrap_or_default());
        lines.into_iter().map(|(key, shown)| [key, " = ", &shown, "\n"].concat()).collect()
    }
}

fn set<T>(place: &mut T, read: Result<T, Vec<Wrong>>) -> Result<(), Vec<Wrong>> {
    read.map(|read| *place = read)
}

/// Whether a URL names this machine: what it says reaches nobody on the way.
fn is_here(url: &str) -> bool {
    let host = url.strip_prefix("http://").and_then(|rest| rest.split(['/', '?', '#']).next());
    let host = host.map(|host| match host.strip_prefix('[') {
        Some(rest) => rest.split(']').next().unwrap_or_default(),
        None => host.split(':').next().unwrap_or_default(),
    });
    host.is_some_and(|host| {
        host == "localhost" || host.parse::<std::net::IpAddr>().is_ok_and(|address| address.is_loopback())
    })
}

/// An `http` or `https` URL.
pub(crate) struct Url;

impl Shape for Url {
    type Value = String;

    fn read(&self, input: &Spanned<DeValue<'_>>) -> Result<String, Vec<Wrong>> {
        let Some(url) = input.get_ref().as_str() else { return Err(mistyped(input, "a URL")) };
        let rest = url.strip_prefix("https://").or_else(|| url.strip_prefix("http://"));
        let is_plain = url.bytes().all(|byte| byte.is_ascii_graphic());
        match rest {
            Some(rest) if is_plain && rest.len() > 1 && !rest.starts_with('/') => Ok(url.to_owned()),
            _ => Err(wrong(
                input,
                format!("{url:?} is not a URL: it begins with https:// or http:// and a host"),
            )),
        }
    }

    fn show(&self, value: &String) -> String {
        quoted(value)
    }
}

/// A column: its number from 1, or its name.
struct CsvColumn;

impl Shape for CsvColumn {
    type Value = Column;

    fn read(&self, input: &Spanned<DeValue<'_>>) -> Result<Column, Vec<Wrong>> {
        match input.get_ref() {
            DeValue::Integer(_) => Whole(1..=1000).read(input).map(Column::Number),
            DeValue::String(name) if !name.is_empty() && name.len() <= 64 => {
                Ok(Column::Named(name.to_string()))
            }
            _ => Err(mistyped(input, "the number of a column, from 1, or its name")),
        }
    }

    fn show(&self, value: &Column) -> String {
        match value {
            Column::First => quoted(""),
            Column::Number(number) => number.to_string(),
            Column::Named(name) => quoted(name),
        }
    }
}
