//! Lists of bans that are gathered a part at a time, so that no list of a million holds anything up.

use tokio::sync::oneshot;

use super::control::Control;
use super::views;
use crate::api::Answer;
use crate::ban::{BanQuery, BanRef, Listing, Place};
use crate::time::Clock;

/// Bans on one page of a list.
const PAGE: usize = 10_000;
/// Bans looked at in one turn of the loop: about a millisecond.
const PART: usize = 32_768;

/// A list and who waits for it.
pub(super) type Waiting = (Listing, oneshot::Sender<Answer>);

impl Control {
    /// Answers with a page of the bans: at once where they need only be read, else once they are gathered.
    pub(super) fn list(
        &mut self,
        query: BanQuery,
        after: Option<Place>,
        limit: usize,
        reply: oneshot::Sender<Answer>,
    ) {
        let limit = limit.clamp(1, PAGE);
        let (bans, clock) = (self.judge.bans(), Clock::now());
        if !query.is_plain() {
            let listing = Listing::new(query, after, limit, bans, clock);
            return self.listings.push_back((listing, reply));
        }
        let page = bans.page(after.map(Place::target), limit);
        let next = page.last().filter(|_| page.len() == limit).map(|ban| Place::of(ban.target));
        // The asker may have gone.
        let _ = reply.send(answer(page, next, clock));
    }

    /// Gathers a part of the list that was asked for first.
    pub(super) fn keep_listing(&mut self) {
        let bans = self.judge.bans();
        let Some((listing, reply)) = self.listings.front_mut() else { return };
        // Nobody is left to be answered.
        let is_over = reply.is_closed() || !listing.step(bans, PART);
        if is_over && let Some((listing, reply)) = self.listings.pop_front() {
            let (page, next) = listing.finish(self.judge.bans());
            let _ = reply.send(answer(page, next, Clock::now()));
        }
    }
}

fn answer(page: Vec<BanRef<'_>>, next: Option<Place>, clock: Clock) -> Answer {
    Answer::Bans { bans: page.into_iter().map(|ban| views::view(ban, clock)).collect(), next }
}
