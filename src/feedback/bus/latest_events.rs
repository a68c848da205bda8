use super::subscribe::Selector;
use crate::{
    feedback::event::{CoordinatorKey, FeedbackEvent},
    policy::{Level, SeqTracker, SeqVerdict},
};

/// The newest event of every coordinator that has published: what a late subscriber is told.
#[derive(Debug, Default)]
pub(crate) struct LatestEvents {
    newest: SeqTracker<CoordinatorKey, (u64, FeedbackEvent)>,
    /// Counts the arrivals, to tell which of two coordinators spoke last.
    arrivals: u64,
}

impl LatestEvents {
    /// Notes an event. Returns false if it is stale: not newer than what its coordinator said already.
    pub(crate) fn admit(&mut self, key: &CoordinatorKey, event: &FeedbackEvent) -> bool {
        let value = (self.arrivals + 1, event.clone());
        let is_new = self.newest.admit(key, (event.epoch, event.seq), value) == SeqVerdict::New;
        self.arrivals += u64::from(is_new);
        is_new
    }

    /// Returns the event to show for a selection: that of the highest level, among equals the one that came last.
    pub(crate) fn shown(&self, selector: &Selector) -> Option<FeedbackEvent> {
        match selector {
            Selector::One(key) => self.newest.get(key).map(|(_, event)| event.clone()),
            Selector::EverySource(_) => {
                let selected = self.newest.values().filter(|(_, event)| selector.selects(event));
                selected.max_by_key(|(arrival, event)| (event.level, *arrival)).map(|(_, event)| event.clone())
            }
        }
    }

    /// Returns the present events in the order of their arrival.
    pub(crate) fn all(&self) -> Vec<FeedbackEvent> {
        let mut all: Vec<_> = self.newest.values().collect();
        all.sort_unstable_by_key(|(arrival, _)| *arrival);
        all.into_iter().map(|(_, event)| event.clone()).collect()
    }

    /// Returns the present events that are not at `ok`, in the order of their arrival.
    pub(crate) fn pressured(&self) -> Vec<FeedbackEvent> {
        let mut all = self.all();
        all.retain(|event| event.level > Level::Ok);
        all
    }
}
