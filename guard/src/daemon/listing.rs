//! Lists that are gathered a part at a time, so that no list of a million holds anything up.

use tokio::sync::oneshot;

use super::control::Control;
use super::views;
use crate::api::Answer;
use crate::ban::{BanQuery, BanRef, Listing, Place};
use crate::judge::Within;
use crate::time::{Clock, Moment};

/// Bans on one page of a list.
const PAGE: usize = 10_000;
/// Bans looked at in one turn of the loop: about a millisecond.
const PART: usize = 32_768;

/// A list that is being gathered, and who waits for it.
#[derive(Debug)]
pub(super) enum Waiting {
    /// Of bans.
    Page(Listing, oneshot::Sender<Answer>),
    /// Of what is inside a prefix, for the answer to why.
    Inside(Within, oneshot::Sender<Answer>),
}

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
            return self.listings.push_back(Waiting::Page(listing, reply));
        }
        let page = bans.page(after.map(Place::target), limit);
        let next = page.last().filter(|_| page.len() == limit).map(|ban| Place::of(ban.target));
        // The asker may have gone.
        let _ = reply.send(answer(page, next, clock));
    }

    /// Gathers a part of the list that was asked for first. One that nobody waits for any more goes.
    pub(super) fn keep_listing(&mut self) {
        let Some(mut waiting) = self.listings.pop_front() else { return };
        let more = match &mut waiting {
            Waiting::Page(listing, reply) => !reply.is_closed() && listing.step(self.judge.bans(), PART),
            Waiting::Inside(within, reply) => {
                !reply.is_closed() && within.step(&self.judge, PART, Moment::now())
            }
        };
        if more {
            return self.listings.push_front(waiting);
        }
        match waiting {
            Waiting::Page(listing, reply) => {
                let (page, next) = listing.finish(self.judge.bans());
                let _ = reply.send(answer(page, next, Clock::now()));
            }
            Waiting::Inside(within, reply) => self.why_prefix(within, reply),
        }
    }
}

fn answer(page: Vec<BanRef<'_>>, next: Option<Place>, clock: Clock) -> Answer {
    Answer::Bans { bans: page.into_iter().map(|ban| views::view(ban, clock)).collect(), next }
}
