//! Feeds whose listed targets are banned: the ban table follows the lists that are in force.
//!
//! A list is swapped in rounds of small parts. A round goes along the new list and puts what the table does not have;
//! right behind it what only the old list had is taken out, so that the table holds little more than one of them. Then it
//! goes over the table and takes out whatever else no list wants. Nothing goes before what is listed in its place has
//! come: so what is listed before and after is never without its ban. What must not be banned is cut out of each listed
//! target first. A target has one ban: one that a filter or a person decided
//! stands in place of the feed's, which comes back when that ends.

use std::sync::Arc;

use serde_json::json;
use tracing::info;

use super::Judge;
use crate::ban::{Ban, BanId, Origin, Walk};
use crate::enforce::Change;
use crate::feed::List;
use crate::sighting::Points;
use crate::target::{Cut, Target, cut, is_left};
use crate::time::Clock;

/// Listed targets that are cut anew at once when protections change; if more are touched, a round does it.
const RECUT: usize = 1024;

/// The lists in force, and how far the table has followed them.
#[derive(Debug, Default)]
pub(super) struct Feeds {
    all: Vec<InForce>,
    round: Option<Round>,
    /// Lists of earlier runs, whose bans the kernel may hold still.
    left_over: Vec<Arc<List>>,
}

/// A list in force.
#[derive(Debug)]
struct InForce {
    name: Box<str>,
    list: Arc<List>,
    /// The list before, until a round is through with it.
    before: Option<Arc<List>>,
    count: FeedCount,
    /// Whether a round is to tell what it did.
    is_new: bool,
    added: u64,
    removed: u64,
}

/// What became of the targets of a list.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct FeedCount {
    /// Targets that touch something protected, and are banned in part or not at all.
    pub protected: u64,
    /// Bans that found no room in the table.
    pub no_room: u64,
}

/// How far a round has come.
#[derive(Debug)]
struct Round {
    stage: Stage,
    /// Bans that are about to come, at most.
    to_come: u64,
}

#[derive(Debug)]
enum Stage {
    /// The target of a list that is looked at next, and that of the list before it that is still to go.
    Put { feed: usize, place: usize, behind: usize },
    /// What is left of the table.
    Take(Walk),
}

/// What [`Judge::follow_feeds`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Followed {
    /// There was nothing to do.
    Nothing,
    /// There is more. About so many bans are still to come.
    Part(u64),
    /// The table has followed all lists.
    All,
}

impl Feeds {
    /// Whether a round has come to a target that a feed lists, if there is one.
    fn is_behind(&self, feed: usize, listed: Target) -> bool {
        let Some(Round { stage: Stage::Put { feed: present, place, .. }, .. }) = &self.round else {
            return true;
        };
        let next = || self.all[feed].list.get(*place);
        feed < *present || feed == *present && next().is_none_or(|next| listed < next)
    }
}

impl Judge {
    /// Puts a list in force, in place of the one of the same name.
    pub fn set_feed(&mut self, name: &str, list: Arc<List>) {
        let all = &mut self.feeds.all;
        match all.iter_mut().find(|feed| *feed.name == *name) {
            Some(feed) => {
                feed.before = Some(std::mem::replace(&mut feed.list, list));
                feed.is_new = true;
            }
            None => all.push(InForce {
                name: name.into(),
                list,
                before: None,
                count: FeedCount::default(),
                is_new: true,
                added: 0,
                removed: 0,
            }),
        }
        self.begin_round();
    }

    /// A feed bans nobody any more. Answers the list it had.
    pub fn drop_feed(&mut self, name: &str) -> Option<Arc<List>> {
        let place = self.feeds.all.iter().position(|feed| *feed.name == *name)?;
        let InForce { list, .. } = self.feeds.all.remove(place);
        self.begin_round();
        Some(list)
    }

    /// What became of the list of a feed.
    pub fn feed_count(&self, name: &str) -> FeedCount {
        let feed = self.feeds.all.iter().find(|feed| *feed.name == *name);
        feed.map_or_else(FeedCount::default, |feed| feed.count)
    }

    /// The kernel may hold bans of these lists, which are in force no more.
    pub fn set_left_over(&mut self, lists: Vec<Arc<List>>) {
        self.feeds.left_over = lists;
    }

    /// Whether [`Self::follow_feeds`] has something to do.
    pub const fn is_following(&self) -> bool {
        self.feeds.round.is_some()
    }

    /// Goes on with following the lists, over at most `limit` targets. Of the changes that line up the first are bans
    /// that are new to the table.
    pub fn follow_feeds(&mut self, limit: usize, clock: Clock) -> Followed {
        let Some(Round { stage, to_come }) = self.feeds.round.take() else { return Followed::Nothing };
        let before = self.bans.len() as u64;
        let next = match stage {
            Stage::Put { feed, place, behind } => Some(self.put_listed(feed, place, behind, limit, clock)),
            Stage::Take(walk) => self.take_unlisted(walk, limit, clock),
        };
        let to_come = to_come.saturating_sub((self.bans.len() as u64).saturating_sub(before));
        let Some(stage) = next else {
            self.tell_feeds(clock);
            return Followed::All;
        };
        self.feeds.round = Some(Round { stage, to_come });
        Followed::Part(to_come)
    }

    /// Tries again to ban what found no room, if there may be some now.
    pub fn try_again_for_room(&mut self) {
        let waits = self.feeds.all.iter().any(|feed| feed.count.no_room > 0);
        if waits && self.room() > 0 && !self.is_following() {
            self.begin_round();
        }
    }

    fn begin_round(&mut self) {
        let wanted: usize = self.feeds.all.iter().map(|feed| feed.list.len()).sum();
        let held: u64 = self
            .bans
            .counts()
            .filter(|(origin, _)| origin.is_feed())
            .map(|(_, count)| count.ipv4 + count.ipv6)
            .sum();
        let to_come = (wanted as u64).saturating_sub(held);
        self.bans.reserve(usize::try_from(to_come).unwrap_or(0).min(self.room()));
        for feed in &mut self.feeds.all {
            feed.count = FeedCount::default();
        }
        self.feeds.round = Some(Round { stage: Stage::Put { feed: 0, place: 0, behind: 0 }, to_come });
    }

    /// Bans that find room without another one going.
    fn room(&self) -> usize {
        self.decide.max_bans.saturating_sub(self.bans.len())
    }

    fn put_listed(
        &mut self,
        feed: usize,
        mut place: usize,
        behind: usize,
        limit: usize,
        clock: Clock,
    ) -> Stage {
        let Some(InForce { list, before, .. }) = self.feeds.all.get(feed) else {
            return Stage::Take(self.bans.walk());
        };
        let (list, before) = (Arc::clone(list), before.clone());
        for listed in (place..list.len()).take(limit).filter_map(|place| list.get(place)) {
            place += 1;
            let left = cut(listed, &self.allowed);
            self.feeds.all[feed].count.protected += u64::from(left != Cut::Whole);
            for target in left.targets(listed) {
                let is_new = self.put(feed, target, clock);
                self.feeds.all[feed].added += u64::from(is_new);
            }
        }
        let behind = before
            .as_ref()
            .map_or(0, |before| self.take_behind(before, behind, list.get(place), limit, clock));
        if place < list.len() || before.is_some_and(|before| behind < before.len()) {
            return Stage::Put { feed, place, behind };
        }
        self.feeds.all[feed].before = None;
        Stage::Put { feed: feed + 1, place: 0, behind: 0 }
    }

    /// Takes out what a list before had and none has now, up to where the present one is put next. Answers how far it
    /// has come.
    fn take_behind(
        &mut self,
        before: &List,
        mut behind: usize,
        next: Option<Target>,
        limit: usize,
        clock: Clock,
    ) -> usize {
        // Twice as many as are put, so that a list which shrinks does not fall behind.
        for _ in 0..2 * limit {
            let is_passed = |old: &Target| next.is_none_or(|next| *old < next && !old.overlaps(next));
            let Some(old) = before.get(behind).filter(is_passed) else { break };
            behind += 1;
            for target in cut(old, &self.allowed).targets(old) {
                self.take_in_round(target, clock);
            }
        }
        behind
    }

    /// Bans a listed target unless it has a ban, and answers whether it did. A feed makes nobody else's ban go.
    fn put(&mut self, feed: usize, target: Target, clock: Clock) -> bool {
        if self.bans.get(target).is_some() {
            return false;
        }
        if self.room() == 0 {
            self.feeds.all[feed].count.no_room += 1;
            return false;
        }
        let ban = listed(&self.feeds.all[feed].name, target, clock);
        self.outcome.changes.push(Change::Ban { target, id: ban.id, until: None });
        self.bans.set(ban);
        true
    }

    /// The ban that a feed had put has made room for another. A target that the round comes to yet is counted then, and one
    /// that the list does not have any more not at all.
    pub(super) fn lost_its_room(&mut self, name: &str, target: Target) {
        let Some(feed) = self.feeds.all.iter().position(|feed| *feed.name == *name) else { return };
        let list = &self.feeds.all[feed].list;
        let listed = list.covering(target.address()).filter(|listed| is_left(target, *listed, &self.allowed));
        if listed.is_some_and(|listed| self.feeds.is_behind(feed, listed)) {
            self.feeds.all[feed].count.no_room += 1;
        }
    }

    /// Takes the next part of the table; `None` at its end.
    fn take_unlisted(&mut self, mut walk: Walk, limit: usize, clock: Clock) -> Option<Stage> {
        let part = self.bans.part(&mut walk, limit)?;
        let of_feeds: Vec<Target> =
            part.filter(|(ban, _)| ban.origin.is_feed()).map(|(ban, _)| ban.target).collect();
        for target in of_feeds {
            self.take_in_round(target, clock);
        }
        Some(Stage::Take(walk))
    }

    /// The feed that wants exactly this target banned; the one of a name if it does.
    fn lister(&self, target: Target, first: Option<&str>) -> Option<usize> {
        let wants = |feed: &InForce| {
            feed.list.covering(target.address()).is_some_and(|listed| {
                listed.length() <= target.length() && is_left(target, listed, &self.allowed)
            })
        };
        let all = &self.feeds.all;
        all.iter()
            .position(|feed| first == Some(&*feed.name) && wants(feed))
            .or_else(|| all.iter().position(wants))
    }

    /// A ban has gone out of the table: the bans of feeds that it stood for are put in its place, or before it goes.
    /// Answers whether its target is banned again.
    pub(super) fn relist(&mut self, target: Target, clock: Clock) -> bool {
        for feed in 0..self.feeds.all.len() {
            let list = Arc::clone(&self.feeds.all[feed].list);
            for listed in list.overlapping(target).take(RECUT) {
                for target in cut(listed, &self.allowed).targets(listed) {
                    self.put(feed, target, clock);
                }
            }
        }
        self.bans.get(target).is_some()
    }

    /// Cuts listed targets anew after `before` was protected and something else is now. What has become free is banned
    /// before what has become protected loses its ban.
    pub(super) fn recut(&mut self, before: &[Target], changed: impl Iterator<Item = Target>, clock: Clock) {
        let mut touched = Vec::new();
        for target in changed {
            for (number, feed) in self.feeds.all.iter().enumerate() {
                touched.extend(feed.list.overlapping(target).take(RECUT).map(|listed| (number, listed)));
            }
            if touched.len() >= RECUT {
                return self.begin_round();
            }
        }
        touched.sort_unstable();
        touched.dedup();
        for &(feed, listed) in &touched {
            for target in cut(listed, &self.allowed).targets(listed) {
                self.put(feed, target, clock);
            }
        }
        for (_, listed) in touched {
            for target in cut(listed, before).targets(listed) {
                self.take(target, clock);
            }
        }
    }

    /// As [`Self::take`], counted as part of a swap.
    fn take_in_round(&mut self, target: Target, clock: Clock) {
        let Some(name) = self.take(target, clock) else { return };
        if let Some(feed) = self.feeds.all.iter_mut().find(|feed| feed.name == name) {
            feed.removed += 1;
        }
    }

    /// Takes a feed's ban out that no feed wants, and answers its feed; or gives it to another feed that does. Parts of
    /// it may be wanted by a list that the round has not come to yet.
    fn take(&mut self, target: Target, clock: Clock) -> Option<Box<str>> {
        let Some(Origin::Feed(name)) = self.bans.get(target).map(|ban| ban.origin.clone()) else {
            return None;
        };
        match self.lister(target, Some(&name)) {
            None => {
                self.bans.remove(target);
                self.relist(target, clock);
                self.outcome.changes.push(Change::Unban(target));
                return Some(name);
            }
            Some(feed) if self.feeds.all[feed].name != name => {
                if let Some(ban) = self.bans.get(target) {
                    let name = &self.feeds.all[feed].name;
                    let ban =
                        Ban { origin: Origin::Feed(name.clone()), reason: reason(name), ..ban.to_ban() };
                    self.bans.set(ban);
                }
            }
            Some(_) => {}
        }
        None
    }

    /// Whether an entry that only the kernel knows is one that a feed left there.
    pub(super) fn is_left_over(&self, target: Target) -> bool {
        let covers = |list: &Arc<List>| {
            list.covering(target.address()).is_some_and(|listed| listed.length() <= target.length())
        };
        self.feeds.left_over.iter().any(covers)
    }

    /// Forgets what earlier runs may have left.
    pub(super) fn forget_left_over(&mut self) {
        self.feeds.left_over = Vec::new();
    }

    /// Tells what a round has come to, for each list that was new.
    fn tell_feeds(&mut self, clock: Clock) {
        let mut told = Vec::new();
        for feed in &mut self.feeds.all {
            let (added, removed) = (std::mem::take(&mut feed.added), std::mem::take(&mut feed.removed));
            if std::mem::take(&mut feed.is_new) && (added > 0 || removed > 0) {
                let FeedCount { protected, no_room } = feed.count;
                info!(
                    feed = &*feed.name,
                    listed = feed.list.len(),
                    added,
                    removed,
                    protected,
                    no_room,
                    "feed swapped"
                );
                told.push(json!({
                    "feed": feed.name,
                    "listed": feed.list.len(),
                    "added": added,
                    "removed": removed,
                    "protected": protected,
                    "no_room": no_room,
                }));
            }
        }
        for detail in told {
            self.event("feed", None, &detail, clock);
        }
    }
}

/// The ban of a listed target. It has no identity of its own and is no strike: nobody here has seen its target.
fn listed(feed: &str, target: Target, clock: Clock) -> Ban {
    Ban {
        id: BanId::FEED,
        target,
        since: clock.moment,
        until: None,
        origin: Origin::Feed(feed.into()),
        score: Points(0),
        strike: 0,
        reason: reason(feed),
    }
}

fn reason(feed: &str) -> Box<str> {
    format!("listed by the feed {feed}").into()
}

#[cfg(test)]
mod tests;
