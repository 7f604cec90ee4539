//! Feeds: what their keeper tells goes to the judge, whose changes reach the kernel a part at a time.

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::mpsc::SyncSender;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;
use tracing::error;

use crate::api::{Answer, ErrorClass, FeedView};
use crate::ban::Origin;
use crate::config::{Feed, FeedAction};
use crate::enforce::Change;
use crate::engine::Suspects;
use crate::feed::{Command, FeedState, Keeper, List, News};
use crate::judge::Followed;
use crate::time::{Clock, Wall};

use super::control::{Control, Input};
use super::restore::Restore;
use super::views;

/// Listed targets or bans that are looked at in one part: a few milliseconds.
const PART: usize = 1024;
/// How long the next part waits for a map that is growing.
pub(super) const GROWING: Duration = Duration::from_millis(5);
/// How often what found no room is tried again.
const AGAIN: Duration = Duration::from_secs(60);

/// What is known of the feeds.
pub(super) struct Feeds {
    inputs: SyncSender<Input>,
    keeper: Option<Keeper>,
    /// Whether all copies have been told of.
    is_ready: bool,
    states: Vec<FeedState>,
    /// Lists that give points.
    suspects: Vec<(String, Arc<List>)>,
    /// Number of the last list that was told of.
    number: u64,
    /// Who waits for what the keeper was asked, and for what feed.
    asked: HashMap<u64, (Option<String>, oneshot::Sender<Answer>)>,
    last_asked: u64,
    next: Instant,
    /// Whether the next part waits for a map that is growing.
    pub(super) waits_for_room: bool,
}

impl Feeds {
    pub(super) fn new(inputs: SyncSender<Input>) -> Self {
        Self {
            inputs,
            keeper: None,
            is_ready: false,
            states: Vec::new(),
            suspects: Vec::new(),
            number: 0,
            asked: HashMap::new(),
            last_asked: 0,
            next: Instant::now(),
            waits_for_room: false,
        }
    }

    /// Whether all copies have been told of.
    pub(super) const fn are_ready(&self) -> bool {
        self.is_ready
    }

    /// How a feed is.
    pub(super) fn state(&self, name: &str) -> Option<&FeedState> {
        self.states.iter().find(|state| state.name == name)
    }
}

impl Control {
    /// Starts to keep the feeds that are configured.
    pub(super) fn start_feeds(&mut self) {
        let inputs = self.feeds.inputs.clone();
        let tell = move |news| inputs.send(Input::Feed(news)).is_ok();
        match Keeper::start(&self.config.feed, &self.config.paths.state, tell) {
            Ok(Some(keeper)) => self.feeds.keeper = Some(keeper),
            Ok(None) => self.feeds.is_ready = true,
            Err(cause) => {
                error!(error = %cause, "feeds are not kept");
                self.problems.set("feeds", format!("feeds are not kept: {cause}"));
                self.feeds.is_ready = true;
            }
        }
    }

    /// Keeps other feeds from now on.
    pub(super) fn configure_feeds(&mut self) {
        match &self.feeds.keeper {
            Some(keeper) => keeper.ask(Command::Configure(self.config.feed.clone())),
            None => self.start_feeds(),
        }
        // A list that is known may have another meaning now.
        for feed in self.config.feed.clone() {
            if feed.action == FeedAction::Points {
                let list = self.judge.drop_feed(&feed.name);
                self.feeds.suspects.extend(list.map(|list| (feed.name, list)));
            } else if let Some(place) = self.feeds.suspects.iter().position(|(name, _)| *name == feed.name) {
                let (_, list) = self.feeds.suspects.remove(place);
                self.judge.set_feed(&feed.name, list);
            }
        }
        self.tell_suspects();
    }

    /// Takes news of the keeper.
    pub(super) fn hear_of_feed(&mut self, news: News) {
        match news {
            News::State(state) => self.tell_feed(state),
            News::List { name, list, number } => {
                self.feeds.number = number;
                match self.configured(&name).map(|feed| feed.action) {
                    Some(FeedAction::Ban) => self.judge.set_feed(&name, list),
                    Some(FeedAction::Points) => {
                        self.feeds.suspects.retain(|(known, _)| *known != name);
                        self.feeds.suspects.push((name, list));
                        self.tell_suspects();
                    }
                    // It is configured no more, and gone soon.
                    None => {}
                }
            }
            News::Gone { name, number } => {
                self.feeds.number = number;
                self.judge.drop_feed(&name);
                self.feeds.suspects.retain(|(known, _)| *known != name);
                self.feeds.states.retain(|state| state.name != name);
                self.problems.clear(&topic(&name));
                self.tell_suspects();
            }
            News::Ready(left_over) => {
                self.judge.set_left_over(left_over);
                self.feeds.is_ready = true;
                self.listed();
            }
            News::Done(asked, said) => self.answer_about_feed(asked, said),
        }
        if !self.judge.is_following() {
            self.tell_followed();
        }
    }

    fn configured(&self, name: &str) -> Option<&Feed> {
        self.config.feed.iter().find(|feed| feed.name == name)
    }

    fn tell_suspects(&mut self) {
        let points = |name: &str| self.configured(name).map(|feed| feed.points);
        let lists = self.feeds.suspects.iter();
        let suspects = |(name, list): &(String, Arc<List>)| {
            Some(Suspects { feed: name.as_str().into(), list: Arc::clone(list), points: points(name)? })
        };
        self.judge.set_suspects(lists.filter_map(suspects).collect());
    }

    /// A feed has another state: what is wrong with it is a problem while it holds, and an event when it begins.
    fn tell_feed(&mut self, state: FeedState) {
        let FeedState { name, failure, held, copy, targets, .. } = &state;
        let mut problems = Vec::new();
        if let Some(because) = failure {
            let stays =
                if targets.is_some() { "its last good list stays in force" } else { "it has no list yet" };
            problems.push(format!("feed {name}: {because}; {stays}, and guard tries again"));
        }
        if let (Some(held), Some(targets)) = (held, targets) {
            problems.push(format!(
                "feed {name}: it shrank from {targets} to {held} targets, so its last good list stays in force; \
                 `guardctl feed accept {name}` takes the new one"
            ));
        }
        if let Some(because) = copy {
            problems.push(format!(
                "feed {name}: its copy on disk cannot be used ({because}); it is fetched anew after a restart"
            ));
        }
        self.problems.replace(&topic(name), problems);
        let old = self.feeds.state(name);
        let failed = failure.is_some() && old.is_none_or(|old| old.failure != *failure);
        let shrank = held.is_some() && old.is_none_or(|old| old.held != *held);
        if failed {
            self.event("feed", None, &serde_json::json!({ "feed": name, "failure": failure }));
        }
        if shrank {
            self.event("feed", None, &serde_json::json!({ "feed": name, "listed": targets, "held": held }));
        }
        self.feeds.states.retain(|old| old.name != *name);
        self.feeds.states.push(state);
    }

    /// Whether the next part of following the feeds may be done now: not before the store has given its bans.
    pub(super) fn may_follow_feeds(&self) -> bool {
        self.restore != Restore::Reading && self.judge.is_following()
    }

    /// Does the next part of following the lists. Other inputs come between two parts.
    pub(super) fn keep_feeds(&mut self, now: Instant) {
        if now >= self.feeds.next {
            self.feeds.next = now + AGAIN;
            self.judge.try_again_for_room();
        }
        if !self.may_follow_feeds() {
            return;
        }
        // What is lined up so far keeps its order.
        self.apply();
        self.feeds.waits_for_room = !self.enforcer.has_room(PART);
        if self.feeds.waits_for_room {
            return;
        }
        match self.judge.follow_feeds(PART, Clock::now()) {
            Followed::Nothing => {}
            Followed::Part(to_come) => {
                self.put_listed(to_come);
            }
            Followed::All => {
                self.flush();
                self.listed();
                self.tell_followed();
            }
        }
    }

    /// Gives the changes of a part to the kernel. New bans go in as those of a restore do: many more may follow.
    fn put_listed(&mut self, to_come: u64) {
        let changes = &mut self.judge.outcome().changes;
        let is_ban = |change: &Change| matches!(change, Change::Ban { .. });
        let new = changes.iter().position(|change| !is_ban(change)).unwrap_or(changes.len());
        let new: Vec<Change> = changes.drain(..new).collect();
        if !new.is_empty() {
            let outcome = self.enforcer.restore(&new, to_come);
            self.was_applied(outcome, new.len());
        }
        self.apply();
    }

    fn tell_followed(&self) {
        if let Some(keeper) = &self.feeds.keeper
            && self.restore == Restore::Done
        {
            keeper.ask(Command::Followed(self.feeds.number));
        }
    }

    /// The restore is done: what feeds left in the kernel earlier is gone.
    pub(super) fn feeds_are_restored(&self) {
        if !self.judge.is_following() {
            self.tell_followed();
        }
    }

    /// How the feeds are, in the order of the configuration.
    pub(super) fn feed_views(&self) -> Vec<FeedView> {
        let now = Wall::now();
        let seconds = |at: Wall| now.0.saturating_sub(at.0).max(0) as u64 / 1000;
        let view = |feed: &Feed| {
            let state = self.feeds.state(&feed.name).cloned().unwrap_or_default();
            let count = self.judge.feed_count(&feed.name);
            FeedView {
                name: feed.name.clone(),
                source: feed.shown_source(),
                action: feed.action.name().into(),
                points: (feed.action == FeedAction::Points).then(|| views::points(feed.points)),
                targets: state.targets,
                bans: self.bans_of_feed(&feed.name),
                age_seconds: state.fetched.map(seconds),
                checked_seconds: state.checked.map(seconds),
                rubbish: state.rubbish,
                too_wide: state.too_wide,
                protected: count.protected,
                no_room: count.no_room,
                failure: state.failure,
                failures: state.failures,
                held: state.held,
            }
        };
        self.config.feed.iter().map(view).collect()
    }

    fn bans_of_feed(&self, name: &str) -> u64 {
        let is_it = |origin: &Origin| matches!(origin, Origin::Feed(feed) if **feed == *name);
        let counts = self.judge.bans().counts().filter(|(origin, _)| is_it(origin));
        counts.map(|(_, count)| count.ipv4 + count.ipv6).sum()
    }

    /// Fetches a feed, or all, and answers once that is done.
    pub(super) fn refresh_feed(&mut self, name: Option<String>, reply: oneshot::Sender<Answer>) {
        self.ask_keeper(name.clone(), reply, |asked| Command::Refresh(name, asked));
    }

    /// Takes a list that is held back.
    pub(super) fn accept_feed(&mut self, name: String, reply: oneshot::Sender<Answer>) {
        self.ask_keeper(Some(name.clone()), reply, |asked| Command::Accept(name, asked));
    }

    fn ask_keeper(
        &mut self,
        name: Option<String>,
        reply: oneshot::Sender<Answer>,
        command: impl FnOnce(u64) -> Command,
    ) {
        let Some(keeper) = &self.feeds.keeper else {
            // The asker may have gone.
            let _ = reply.send(failed("no feed is configured".into()));
            return;
        };
        self.feeds.last_asked += 1;
        self.feeds.asked.insert(self.feeds.last_asked, (name, reply));
        keeper.ask(command(self.feeds.last_asked));
    }

    fn answer_about_feed(&mut self, asked: u64, said: Result<(), String>) {
        let Some((name, reply)) = self.feeds.asked.remove(&asked) else { return };
        let answer = said.map_or_else(failed, |()| {
            let mut views = self.feed_views();
            views.retain(|view| name.as_ref().is_none_or(|name| view.name == *name));
            Answer::Feeds(views)
        });
        // The asker may have gone.
        let _ = reply.send(answer);
    }
}

fn failed(message: String) -> Answer {
    Answer::Error { class: ErrorClass::Failed, message }
}

fn topic(name: &str) -> String {
    format!("feed {name}")
}
