//! The thread that keeps feeds: it fetches them when they are due, and knows their last good copies.
//!
//! A list that can be read comes into force, unless it has lost more of its targets than it may at once: then the last
//! good one stays until a person accepts the new one, or it has grown again. Whatever fails, the last good one stays.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError, Sender, channel};
use std::time::{Duration, Instant};

use tracing::{info, warn};

use super::List;
use super::copy::{Copies, Origin};
use super::fetch::{FetchError, Fetched, Seen, fetch};
use super::parse::{Form, Named, parse};
use crate::config::{Feed, FeedSource};
use crate::dense::Chance;
use crate::time::{Clock, Wall};

/// First pause after a failure; it doubles up to the time between two fetches.
const RETRY: Duration = Duration::from_secs(30);
/// A server that wants to be left alone for longer is asked all the same.
const LONGEST_WAIT: Duration = Duration::from_secs(86_400);

/// What a keeper is asked for. Wishes have a number, by which [`News::Done`] names them.
#[derive(Debug)]
pub enum Command {
    /// Keep these from now on.
    Configure(Vec<Feed>),
    /// Fetch the feed of this name now, or all.
    Refresh(Option<String>, u64),
    /// Take the list that is held back.
    Accept(String, u64),
    /// Bans follow the lists that were told of up to this number.
    Followed(u64),
}

/// What a keeper tells.
#[derive(Debug)]
pub enum News {
    /// A list is in force from now on; the first of each feed after the start is its copy.
    List {
        /// The feed.
        name: String,
        /// The list.
        list: Arc<List>,
        /// Its number: see [`Command::Followed`].
        number: u64,
    },
    /// A feed is kept no more.
    Gone {
        /// The feed.
        name: String,
        /// As in [`News::List`].
        number: u64,
    },
    /// How a feed is.
    State(FeedState),
    /// All copies have been told of. The kernel may hold bans of these lists besides.
    Ready(Vec<Arc<List>>),
    /// All that came of a wish was told.
    Done(u64, Result<(), String>),
}

/// How a feed is.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct FeedState {
    /// Its name.
    pub name: String,
    /// Targets of the list in force; `None` as long as there is none.
    pub targets: Option<u64>,
    /// When that list was last fetched, or the server said that it has no other.
    pub fetched: Option<Wall>,
    /// When it was last found to be as it is.
    pub checked: Option<Wall>,
    /// What of it is no target.
    pub rubbish: Named,
    /// What of it is too wide to be taken.
    pub too_wide: Named,
    /// Why it could not be fetched or used the last time.
    pub failure: Option<String>,
    /// How often that happened since the start.
    pub failures: u64,
    /// Targets of a list that waits to be accepted, because it lost too many.
    pub held: Option<u64>,
    /// What is wrong with its copy on disk.
    pub copy: Option<String>,
}

/// The other end of a keeper's thread, which ends when this is dropped.
#[derive(Debug)]
pub struct Keeper(Sender<Command>);

impl Keeper {
    /// Starts to keep feeds; their copies are below the state folder. `tell` answers whether anybody listens still.
    /// `None` if there is nothing to keep and no copy of earlier feeds either.
    pub fn start(
        feeds: &[Feed],
        state: &Path,
        tell: impl Fn(News) -> bool + Send + 'static,
    ) -> std::io::Result<Option<Self>> {
        let copies = Copies::below(state);
        if feeds.is_empty() && !copies.exist() {
            return Ok(None);
        }
        let (sender, commands) = channel();
        let feeds = feeds.to_vec();
        std::thread::Builder::new()
            .name("feeds".into())
            .spawn(move || Work::new(copies, Box::new(tell)).run(feeds, &commands))?;
        Ok(Some(Self(sender)))
    }

    /// Asks for something. An answer comes as [`News::Done`]; a thread that has ended gives none.
    pub fn ask(&self, command: Command) {
        let _ = self.0.send(command);
    }
}

/// Nobody listens any more.
struct Over;

struct Work {
    copies: Copies,
    tell: Box<dyn Fn(News) -> bool + Send>,
    feeds: Vec<Kept>,
    chance: Chance,
    /// Number of the last list that was told of.
    number: u64,
    /// Copies that are to be forgotten once bans follow the list of a number: of a feed, or other files.
    old: Vec<(u64, Old)>,
}

enum Old {
    Feed(String),
    File(PathBuf),
}

/// A feed that is kept.
struct Kept {
    feed: Feed,
    list: Option<Arc<List>>,
    /// Where the list is from and how it was read.
    list_form: String,
    seen: Seen,
    /// A list that lost too many, and by what it is known again.
    held: Option<(Arc<List>, Seen, [Named; 2])>,
    state: FeedState,
    due: Instant,
    /// Failures in a row.
    row: u32,
}

impl Work {
    fn new(copies: Copies, tell: Box<dyn Fn(News) -> bool + Send>) -> Self {
        let chance = Chance::new(crate::time::boot_nanoseconds() ^ u64::from(std::process::id()) << 40);
        Self { copies, tell, feeds: Vec::new(), chance, number: 0, old: Vec::new() }
    }

    fn run(mut self, feeds: Vec<Feed>, commands: &Receiver<Command>) {
        // Whatever ends it, nobody is left to be told.
        let _ = self.start(feeds).and_then(|()| self.keep(commands));
    }

    fn tell(&self, news: News) -> Result<(), Over> {
        if (self.tell)(news) { Ok(()) } else { Err(Over) }
    }

    fn start(&mut self, feeds: Vec<Feed>) -> Result<(), Over> {
        let left = self.copies.left_over(|name| feeds.iter().any(|feed| feed.name == name));
        for feed in feeds {
            self.begin(feed)?;
        }
        let mut lists = Vec::new();
        for (path, list) in left {
            self.old.push((self.number, Old::File(path)));
            lists.extend(list.map(Arc::new));
        }
        self.tell(News::Ready(lists))
    }

    fn keep(&mut self, commands: &Receiver<Command>) -> Result<(), Over> {
        loop {
            let due = self.feeds.iter().map(|kept| kept.due).min();
            let wait = due.map_or(LONGEST_WAIT, |due| due.saturating_duration_since(Instant::now()));
            match commands.recv_timeout(wait) {
                Ok(command) => self.obey(command)?,
                Err(RecvTimeoutError::Timeout) => {
                    let now = Instant::now();
                    for place in 0..self.feeds.len() {
                        if self.feeds[place].due <= now {
                            self.fetch(place)?;
                        }
                    }
                }
                Err(RecvTimeoutError::Disconnected) => return Err(Over),
            }
        }
    }

    fn obey(&mut self, command: Command) -> Result<(), Over> {
        match command {
            Command::Configure(feeds) => self.configure(feeds),
            Command::Refresh(name, asked) => {
                let said = self.refresh(name.as_deref())?;
                self.tell(News::Done(asked, said))
            }
            Command::Accept(name, asked) => {
                let said = self.accept(&name)?;
                self.tell(News::Done(asked, said))
            }
            Command::Followed(number) => {
                self.forget_old(number);
                Ok(())
            }
        }
    }

    /// Forgets what bans do not follow any more. The old copy of a feed stays for its next list, if that has come.
    fn forget_old(&mut self, followed: u64) {
        let (done, waiting): (Vec<_>, _) =
            std::mem::take(&mut self.old).into_iter().partition(|(number, _)| *number <= followed);
        self.old = waiting;
        for (_, old) in done {
            match old {
                Old::Feed(name) => {
                    let is_it = |(_, old): &(u64, Old)| matches!(old, Old::Feed(other) if *other == name);
                    if !self.old.iter().any(is_it) {
                        self.copies.forget_old(&name);
                    }
                }
                // One that stays is read at the next start, and removed then.
                Old::File(path) => drop(std::fs::remove_file(path)),
            }
        }
    }

    /// Takes a feed up, with the copy it has.
    fn begin(&mut self, feed: Feed) -> Result<(), Over> {
        let now = Instant::now();
        let mut kept = Kept {
            list: None,
            list_form: String::new(),
            seen: Seen::default(),
            held: None,
            state: FeedState { name: feed.name.clone(), ..FeedState::default() },
            due: now,
            row: 0,
            feed,
        };
        match self.copies.read(&kept.feed.name) {
            Ok(None) => {}
            Ok(Some((origin, list))) => {
                kept.state.targets = Some(list.len() as u64);
                kept.state.fetched = Some(origin.fetched());
                if origin.form == form(&kept.feed) {
                    let age = Clock::now().wall.0.saturating_sub(origin.fetched).max(0);
                    let rest = kept.feed.every.saturating_sub(Duration::from_millis(age as u64));
                    kept.due = now + rest;
                    kept.seen = origin.seen;
                }
                kept.list_form = origin.form;
                kept.list = Some(Arc::new(list));
            }
            Err(error) => {
                warn!(feed = kept.feed.name, %error, "the copy of a feed is not used");
                kept.state.copy = Some(error.to_string());
            }
        }
        self.tell(News::State(kept.state.clone()))?;
        if let Some(list) = kept.list.clone() {
            self.number += 1;
            self.tell(News::List { name: kept.feed.name.clone(), list, number: self.number })?;
        }
        self.feeds.push(kept);
        Ok(())
    }

    fn configure(&mut self, feeds: Vec<Feed>) -> Result<(), Over> {
        let gone = |kept: &Kept| !feeds.iter().any(|feed| feed.name == kept.feed.name);
        let (gone, stay): (Vec<_>, Vec<_>) = std::mem::take(&mut self.feeds).into_iter().partition(gone);
        self.feeds = stay;
        for Kept { feed, .. } in gone {
            self.number += 1;
            if let Err(error) = self.copies.retire(&feed.name) {
                warn!(feed = feed.name, %error, "the copy of a feed stays");
            }
            self.old.push((self.number, Old::Feed(feed.name.clone())));
            self.tell(News::Gone { name: feed.name, number: self.number })?;
        }
        for feed in feeds {
            let Some(kept) = self.feeds.iter_mut().find(|kept| kept.feed.name == feed.name) else {
                self.begin(feed)?;
                continue;
            };
            if form(&kept.feed) != form(&feed) {
                (kept.seen, kept.held, kept.state.held) = (Seen::default(), None, None);
                kept.due = Instant::now();
            }
            kept.due = kept.due.min(Instant::now() + feed.every);
            kept.feed = feed;
        }
        Ok(())
    }

    fn refresh(&mut self, name: Option<&str>) -> Result<Result<(), String>, Over> {
        let mut failed = Vec::new();
        let mut count = 0;
        for place in 0..self.feeds.len() {
            if name.is_none_or(|name| self.feeds[place].feed.name == name) {
                count += 1;
                self.fetch(place)?;
                let FeedState { name, failure, .. } = &self.feeds[place].state;
                failed.extend(failure.as_ref().map(|because| format!("{name}: {because}")));
            }
        }
        Ok(match (count, failed.is_empty()) {
            (0, _) => {
                Err(name
                    .map_or_else(|| "there is no feed".into(), |name| format!("there is no feed `{name}`")))
            }
            (_, true) => Ok(()),
            (_, false) => Err(failed.join("; ")),
        })
    }

    fn accept(&mut self, name: &str) -> Result<Result<(), String>, Over> {
        let Some(place) = self.feeds.iter().position(|kept| kept.feed.name == name) else {
            return Ok(Err(format!("there is no feed `{name}`")));
        };
        let Some((list, seen, named)) = self.feeds[place].held.take() else {
            return Ok(Err(format!("no list of `{name}` waits to be accepted")));
        };
        self.put_in_force(place, list, seen, named)?;
        Ok(Ok(()))
    }

    /// Fetches a feed and tells how it is.
    fn fetch(&mut self, place: usize) -> Result<(), Over> {
        let kept = &mut self.feeds[place];
        let name = kept.feed.name.clone();
        let outcome = fetch(&kept.feed, &kept.seen);
        let now = Clock::now().wall;
        let wait = match &outcome {
            Err(error) => error.wait(),
            Ok(_) => None,
        };
        let read = outcome.map_err(|error: FetchError| error.to_string()).and_then(|fetched| match fetched {
            Fetched::Unchanged => Ok(None),
            Fetched::New { bytes, seen } => match parse(&bytes, &form_of(&kept.feed)) {
                Ok(parsed) => Ok(Some((parsed, seen))),
                Err(error) => Err(error.to_string()),
            },
        });
        let new = match read {
            Err(because) => {
                kept.row += 1;
                kept.state.failures += 1;
                if kept.state.failure.as_ref() != Some(&because) {
                    warn!(feed = name, because, "a feed cannot be used; the last good copy stays");
                }
                kept.state.failure = Some(because);
                None
            }
            Ok(new) => {
                if kept.state.failure.take().is_some() {
                    info!(feed = name, "the feed is well again");
                }
                kept.row = 0;
                kept.state.checked = Some(now);
                if new.is_none() {
                    // The server has the list in force again.
                    (kept.held, kept.state.held) = (None, None);
                    kept.state.fetched = Some(now);
                }
                new
            }
        };
        kept.due = Instant::now() + pause(kept, wait, &mut self.chance);
        let Some((parsed, seen)) = new else { return self.tell_state(place) };
        let list = Arc::new(parsed.list);
        let named = [parsed.rubbish, parsed.too_wide];
        // A list of another place or form says nothing of how long this one is to be.
        let is_same = kept.list_form == form(&kept.feed);
        let shrinks = |known: &&Arc<List>| is_same && shrinks(known.len(), list.len(), &kept.feed);
        if let Some(known) = kept.list.as_ref().filter(shrinks) {
            if kept.state.held != Some(list.len() as u64) {
                warn!(
                    feed = name,
                    targets = known.len(),
                    new = list.len(),
                    "a feed lost most of its targets; the last good copy stays until the new one is accepted"
                );
            }
            kept.state.held = Some(list.len() as u64);
            kept.held = Some((list, seen, named));
            return self.tell_state(place);
        }
        self.put_in_force(place, list, seen, named)
    }

    fn put_in_force(
        &mut self,
        place: usize,
        list: Arc<List>,
        seen: Seen,
        named: [Named; 2],
    ) -> Result<(), Over> {
        let now = Clock::now().wall;
        let kept = &mut self.feeds[place];
        [kept.state.rubbish, kept.state.too_wide] = named;
        (kept.state.held, kept.held) = (None, None);
        kept.state.fetched = Some(now);
        kept.list_form = form(&kept.feed);
        if kept.list.as_ref().is_some_and(|known| **known == *list) && kept.state.copy.is_none() {
            kept.seen = seen;
            return self.tell_state(place);
        }
        let origin = Origin {
            name: kept.feed.name.clone(),
            form: form(&kept.feed),
            seen: seen.clone(),
            fetched: now.0,
            targets: list.len(),
        };
        self.number += 1;
        self.old.push((self.number, Old::Feed(origin.name.clone())));
        let written = self.copies.write(&origin, &list);
        if let Err(error) = &written {
            warn!(feed = origin.name, %error, "the copy of a feed cannot be written");
        }
        kept.state.copy = written.err().map(|error| error.to_string());
        kept.state.targets = Some(list.len() as u64);
        kept.seen = seen;
        kept.list = Some(Arc::clone(&list));
        self.tell_state(place)?;
        self.tell(News::List { name: origin.name, list, number: self.number })
    }

    fn tell_state(&self, place: usize) -> Result<(), Over> {
        self.tell(News::State(self.feeds[place].state.clone()))
    }
}

/// Where a feed is and how it is read: what is known of one is not true of another.
fn form(feed: &Feed) -> String {
    let Feed { from, format, column, field, widest_v4, widest_v6, .. } = feed;
    let from = match from {
        FeedSource::Url(url) => url.clone(),
        FeedSource::Path(path) => path.display().to_string(),
    };
    format!("{from} {format:?} {column:?} {field} {widest_v4} {widest_v6}")
}

fn form_of(feed: &Feed) -> Form {
    Form {
        format: feed.format,
        column: feed.column.clone(),
        field: feed.field.clone(),
        widest: [feed.widest_v4 as u8, feed.widest_v6 as u8],
        max_entries: feed.max_entries,
    }
}

/// Whether a list has lost more of its targets than it may at once.
fn shrinks(known: usize, new: usize, feed: &Feed) -> bool {
    let rest = 1000_u64.saturating_sub(u64::from(feed.max_shrink));
    (new as u64) * 1000 < known as u64 * rest
}

/// Time until the next fetch. Chance keeps the machines that ask one server apart.
fn pause(kept: &Kept, wait: Option<Duration>, chance: &mut Chance) -> Duration {
    let every = kept.feed.every;
    let usual = match kept.row {
        0 => every,
        row => RETRY.saturating_mul(1 << (row - 1).min(16)).min(every),
    };
    let usual = usual.max(wait.unwrap_or_default().min(LONGEST_WAIT));
    // Up to a tenth more.
    usual + usual / 1000 * chance.below(100) as u32
}

#[cfg(test)]
mod tests;
