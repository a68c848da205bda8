use std::{collections::HashMap, sync::Arc};

use super::{FeedbackEvent, subscribe::Selector};
use crate::policy::Level;

/// One coordinator on a bus: ids are unique within a source only.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(super) struct CoordinatorKey {
    pub(super) source: Arc<str>,
    pub(super) coordinator_id: Arc<str>,
}

impl CoordinatorKey {
    pub(super) fn of(event: &FeedbackEvent) -> Self {
        Self { source: event.source.clone(), coordinator_id: event.coordinator_id.clone() }
    }
}

/// The newest event of every coordinator that has published: what a late subscriber is told.
#[derive(Debug, Default)]
pub(super) struct Present {
    newest: HashMap<CoordinatorKey, (u64, FeedbackEvent)>,
    /// Counts the arrivals, to tell which of two coordinators spoke last.
    arrivals: u64,
}

impl Present {
    /// Notes an event. Returns false if it is stale: not newer than what its coordinator said already.
    pub(super) fn admit(&mut self, key: &CoordinatorKey, event: &FeedbackEvent) -> bool {
        let arrival = self.arrivals + 1;
        match self.newest.get_mut(key) {
            Some((_, known)) if (event.epoch, event.seq) <= (known.epoch, known.seq) => return false,
            Some(known) => *known = (arrival, event.clone()),
            None => {
                self.newest.insert(key.clone(), (arrival, event.clone()));
            }
        }
        self.arrivals = arrival;
        true
    }

    /// Returns the event to show for a selection: that of the highest level, among equals the one that came last.
    pub(super) fn shown(&self, selector: &Selector) -> Option<FeedbackEvent> {
        match selector {
            Selector::One(key) => self.newest.get(key).map(|(_, event)| event.clone()),
            Selector::EverySource(_) => {
                let selected = self.newest.values().filter(|(_, event)| selector.selects(event));
                selected.max_by_key(|(arrival, event)| (event.level, *arrival)).map(|(_, event)| event.clone())
            }
        }
    }

    /// Returns the present events in the order of their arrival.
    pub(super) fn all(&self) -> Vec<FeedbackEvent> {
        let mut all: Vec<_> = self.newest.values().collect();
        all.sort_unstable_by_key(|(arrival, _)| *arrival);
        all.into_iter().map(|(_, event)| event.clone()).collect()
    }

    /// Returns the present events that are not at `ok`, in the order of their arrival.
    pub(super) fn pressured(&self) -> Vec<FeedbackEvent> {
        let mut all = self.all();
        all.retain(|event| event.level > Level::Ok);
        all
    }
}
