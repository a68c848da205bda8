use std::{
    collections::{BTreeSet, HashMap, HashSet},
    time::Duration,
};

use super::subscribe::Selector;
#[cfg(feature = "webhooks")]
use crate::policy::Reason;
use crate::{
    feedback::{
        counts::FeedbackCounts,
        event::{CoordinatorKey, FeedbackEvent, speaker},
    },
    policy::{Heard, Instances, News, Present},
};

/// A WARN about one name comes once in this time.
const WARN_EVERY: Duration = Duration::from_secs(60);

/// The present of every coordinator that has published: what a late subscriber is told.
#[derive(Debug, Default)]
pub(crate) struct LatestEvents {
    instances: Instances<CoordinatorKey, FeedbackEvent>,
    names: HashMap<CoordinatorKey, Name>,
    /// Counts the events that tell of silence.
    silences: u64,
}

/// What a bus warns of.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Warning {
    Stale,
    Conflict,
    Silence,
}

/// What is known of a name beside what was said.
#[derive(Debug, Default)]
struct Name {
    counts: FeedbackCounts,
    /// When each kind of WARN was given last.
    warned: [Option<Duration>; 3],
    /// The newest epoch that was given to a coordinator of this process.
    given_epoch: u64,
    /// A store of this process publishes under it.
    is_claimed: bool,
}

/// What subscribers are to be told after something was heard, or not heard for too long.
#[derive(Debug, Default)]
pub(crate) struct Changes {
    /// The present of the name, if it is another one now.
    pub(crate) name: Option<FeedbackEvent>,
    /// What is shown of all names with its coordinator's id, if it is another one now.
    pub(crate) id: Option<FeedbackEvent>,
    /// The present of the name, whether it is another one or not: what counts beside it may have changed.
    pub(crate) touched: Option<FeedbackEvent>,
}

impl LatestEvents {
    /// Takes in an event, and says what it is and what is to be told.
    pub(crate) fn hear(
        &mut self,
        now: Duration,
        key: &CoordinatorKey,
        event: &FeedbackEvent,
        ends: bool,
    ) -> (Heard, Changes) {
        let speaker = speaker(event, ends);
        let (heard, mut changes) = self.change(key, |instances| instances.hear(now, key, &speaker, event.clone()));
        let counts = &mut self.name(key).counts;
        counts.stale += u64::from(heard.news == News::Stale);
        counts.conflicts += u64::from(heard.others > 0);
        if heard.news != News::New {
            changes = Changes::default();
        }
        (heard, changes)
    }

    /// Lets go of the instances of one name that were silent for too long, and says how many there were and what is to
    /// be told. None if there are none.
    pub(crate) fn let_go(&mut self, now: Duration) -> Option<(CoordinatorKey, u64, Changes)> {
        let (_, key) = self.instances.next_due().filter(|(at, _)| *at <= now)?;
        let key = key.clone();
        let mut silences = self.silences;
        let (gone, changes) = self.change(&key, |instances| {
            instances.let_go(now, &key, |last| {
                silences += 1;
                last.silent(silences)
            })
        });
        self.silences = silences;
        self.name(&key).counts.expired += gone;
        Some((key, gone, changes))
    }

    /// Returns when the next instance is let go, if none is heard from until then.
    pub(crate) fn next_expiry(&self) -> Option<Duration> {
        self.instances.next_due().map(|(at, _)| at)
    }

    /// Changes what is known of a name, and says what is shown otherwise from then on.
    fn change<R>(
        &mut self,
        key: &CoordinatorKey,
        change: impl FnOnce(&mut Instances<CoordinatorKey, FeedbackEvent>) -> R,
    ) -> (R, Changes) {
        let selectors = [Selector::One(key.clone()), Selector::every_source(key)];
        let before = selectors.each_ref().map(|selector| self.shown(selector));
        let result = change(&mut self.instances);
        let after = selectors.each_ref().map(|selector| self.shown(selector));
        let touched = after[0].clone();
        let mut changed = before.into_iter().zip(after).map(|(before, after)| {
            let is_same = before.as_ref().map(|event| &event.id) == after.as_ref().map(|event| &event.id);
            after.filter(|_| !is_same)
        });
        let (name, id) = (changed.next().flatten(), changed.next().flatten());
        (result, Changes { name, id, touched })
    }

    fn name(&mut self, key: &CoordinatorKey) -> &mut Name {
        self.names.entry(key.clone()).or_default()
    }

    /// Returns whether to warn of a name now: once a minute of each kind.
    pub(crate) fn may_warn(&mut self, now: Duration, key: &CoordinatorKey, of: Warning) -> bool {
        let warned = &mut self.name(key).warned[of as usize];
        let may = warned.is_none_or(|last| now.saturating_sub(last) >= WARN_EVERY);
        if may {
            *warned = Some(now);
        }
        may
    }

    /// Gives a coordinator of this process an epoch: `now`, or one more than the newest of its name.
    pub(crate) fn give_epoch(&mut self, key: &CoordinatorKey, now: u64) -> u64 {
        let met = self.instances.newest_epoch(key).unwrap_or(0);
        let name = self.name(key);
        // What was given last may not have been heard yet.
        let newest = met.max(name.given_epoch);
        name.given_epoch = now.max(newest.saturating_add(1));
        name.given_epoch
    }

    /// Lets a store of this process publish under a name, alone. Returns false if another does.
    pub(crate) fn claim(&mut self, key: &CoordinatorKey) -> bool {
        !std::mem::replace(&mut self.name(key).is_claimed, true)
    }

    /// Lets others publish under a name again.
    pub(crate) fn release(&mut self, key: &CoordinatorKey) {
        self.name(key).is_claimed = false;
    }

    /// Returns what was counted of a name.
    pub(crate) fn counts_of(&self, key: &CoordinatorKey) -> FeedbackCounts {
        self.names.get(key).map(|name| name.counts).unwrap_or_default()
    }

    /// Returns what was counted of all names.
    pub(crate) fn counts(&self) -> FeedbackCounts {
        self.names.values().fold(FeedbackCounts::default(), |sum, Name { counts, .. }| FeedbackCounts {
            stale: sum.stale + counts.stale,
            conflicts: sum.conflicts + counts.conflicts,
            expired: sum.expired + counts.expired,
        })
    }

    /// Returns what counts of a selection, each name's present: those names that have an instance that lives; or if
    /// none has, what became of the one that lived last.
    fn counting(&self, is_selected: impl Fn(&CoordinatorKey) -> bool) -> Vec<Present<'_, FeedbackEvent>> {
        let selected = self.instances.names().filter(|key| is_selected(key));
        let mut counting: Vec<_> = selected.filter_map(|key| self.of_name(key)).collect();
        match counting.iter().map(|present| (present.lives, present.changed)).max() {
            Some((true, _)) => counting.retain(|present| present.lives),
            last => counting.retain(|present| Some((false, present.changed)) == last),
        }
        counting
    }

    /// Returns whether a coordinator has ended. One that fell silent has not, as far as is known.
    #[cfg(feature = "webhooks")]
    pub(crate) fn has_ended(&self, key: &CoordinatorKey) -> bool {
        self.of_name(key).is_some_and(|present| !present.lives && present.value.reason != Reason::Silent)
    }

    fn of_name(&self, key: &CoordinatorKey) -> Option<Present<'_, FeedbackEvent>> {
        self.instances.present(key, |event| event.level)
    }

    /// Returns the event to show for a selection: of what counts the highest level, among equals the one that came
    /// last.
    pub(crate) fn shown(&self, selector: &Selector) -> Option<FeedbackEvent> {
        let shown = match selector {
            Selector::One(key) => self.of_name(key),
            Selector::EverySource(_) => {
                let counting = self.counting(|key| selector.selects(key)).into_iter();
                counting.max_by_key(|present| (present.value.level, present.changed))
            }
        };
        shown.map(|present| present.value.clone())
    }

    /// Returns the present of each name that counts in one of the selections, or where there are none, among those of
    /// its coordinator's id.
    pub(crate) fn selected(&self, selectors: &[Selector]) -> Vec<FeedbackEvent> {
        if selectors.is_empty() {
            let ids: BTreeSet<_> = self.instances.names().map(|key| &key.coordinator_id).collect();
            return in_order(ids.iter().flat_map(|id| self.counting(|key| key.coordinator_id == **id)).collect());
        }
        in_order(selectors.iter().flat_map(|selector| self.counting(|key| selector.selects(key))).collect())
    }

    /// Returns the present of every name, in the order in which they came to be so.
    pub(crate) fn all(&self) -> Vec<FeedbackEvent> {
        in_order(self.instances.names().filter_map(|key| self.of_name(key)).collect())
    }

    /// Returns what a new subscriber is told of each name that is selected by itself.
    pub(crate) fn replayed_each(&self, selectors: &[Selector]) -> Vec<(Selector, FeedbackEvent)> {
        let mut each: Vec<_> =
            self.all().into_iter().map(|event| (Selector::One(CoordinatorKey::of(&event)), event)).collect();
        let is_selected =
            |event: &FeedbackEvent| selectors.iter().any(|selector| selector.selects(&CoordinatorKey::of(event)));
        each.retain(|(_, event)| selectors.is_empty() || is_selected(event));
        each
    }

    /// Returns what a new subscriber is told: what each of its selections shows, or each name where it has none.
    pub(crate) fn replayed(&self, selectors: &[Selector]) -> Vec<(Selector, FeedbackEvent)> {
        if selectors.is_empty() {
            return self.replayed_each(selectors);
        }
        let shown = |selector: &Selector| Some((selector.clone(), self.shown(selector)?));
        let mut shown: Vec<_> = selectors.iter().filter_map(shown).collect();
        let mut told = HashSet::new();
        shown.retain(|(_, event)| told.insert(event.id.clone()));
        shown
    }
}

fn in_order(mut events: Vec<Present<'_, FeedbackEvent>>) -> Vec<FeedbackEvent> {
    events.sort_unstable_by_key(|present| present.changed);
    events.dedup_by_key(|present| present.changed);
    events.into_iter().map(|present| present.value.clone()).collect()
}

#[cfg(all(test, feature = "webhooks"))]
mod tests {
    use super::*;
    use crate::{feedback::EventSeries, policy::Level};

    // Red when one that fell silent is told on as one that has ended: those behind a broadcaster would stay at its last level.
    #[test]
    fn one_that_fell_silent_has_not_ended() {
        let (mut events, refresh) = (LatestEvents::default(), Duration::from_secs(1));
        let mut bars = EventSeries::new("bars").refresh(refresh);
        let hard = bars.next(Level::Hard);
        let key = CoordinatorKey::of(&hard);
        events.hear(Duration::ZERO, &key, &hard, false);
        assert!(!events.has_ended(&key));
        assert!(events.let_go(3 * refresh).is_some() && !events.has_ended(&key));
        let draining = bars.refresh(None).next_because(Reason::Draining);
        events.hear(4 * refresh, &key, &draining, false);
        assert!(events.has_ended(&key));
    }
}
