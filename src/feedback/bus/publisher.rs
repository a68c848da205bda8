use std::{fmt, num::NonZeroUsize, sync::Arc};

use actix::{Message, Recipient};
use parking_lot::Mutex;

use super::{barrier::Barriers, latest_events::LatestEvents};
use crate::{
    feedback::{
        counts::FeedbackCounts,
        event::{CoordinatorKey, FeedbackEvent},
    },
    policy::Outbox,
};

/// The outbox of one publisher of events, such as a coordinator. Clones share it.
///
/// Publishing costs the same however many subscribers there are, never waits for the bus, and needs no runtime. While
/// the bus is behind, at most 1,024 events of a coordinator wait here; then the oldest are lost, which the bus counts
/// and subscribers see as a gap in `seq`. When the bus is gone events go nowhere.
#[derive(Clone)]
pub struct Publisher {
    shared: Arc<Shared>,
}

struct Shared {
    outbox: Mutex<Outbox<CoordinatorKey, Published>>,
    bus: Recipient<Collect>,
    barriers: Barriers,
    /// What the bus knows.
    present: Arc<Mutex<LatestEvents>>,
}

pub(crate) struct Published {
    pub(crate) event: FeedbackEvent,
    /// Its coordinator publishes it for the last time.
    pub(crate) ends: bool,
    /// The bus takes the event only after it has met so many barriers.
    behind: u64,
}

impl Publisher {
    /// How many events of one coordinator wait in an outbox.
    pub const BOUND: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

    /// Makes an outbox that wakes the actor behind `bus`: a [`FeedbackBus`](super::FeedbackBus), or in a test anything
    /// that handles [`Collect`].
    #[doc(hidden)]
    pub fn new(bus: Recipient<Collect>) -> Self {
        Self::behind(bus, Barriers::default(), Arc::default())
    }

    pub(crate) fn behind(bus: Recipient<Collect>, barriers: Barriers, present: Arc<Mutex<LatestEvents>>) -> Self {
        let outbox = Mutex::new(Outbox::new(Self::BOUND));
        Self { shared: Arc::new(Shared { outbox, bus, barriers, present }) }
    }

    /// Gives a coordinator that starts `now` its epoch: one more than the newest of its name that the bus has met, if
    /// that is later.
    pub(crate) fn give_epoch(&self, key: &CoordinatorKey, now: u64) -> u64 {
        self.shared.present.lock().give_epoch(key, now)
    }

    /// Returns what the bus counted of a coordinator.
    pub(crate) fn counts_of(&self, key: &CoordinatorKey) -> FeedbackCounts {
        self.shared.present.lock().counts_of(key)
    }

    /// Returns whether the bus is there: what is published to one that is gone goes nowhere.
    pub(crate) fn reaches_its_bus(&self) -> bool {
        self.shared.bus.connected()
    }

    /// Hands an event to the bus, from any thread.
    pub fn publish(&self, event: FeedbackEvent) {
        self.put(event, false);
    }

    /// Says of the event that a coordinator published last that nothing follows: it has ended.
    pub(crate) fn end_with(&self, last: FeedbackEvent) {
        self.put(last, true);
    }

    fn put(&self, event: FeedbackEvent, ends: bool) {
        let key = CoordinatorKey::of(&event);
        let published = Published { event, ends, behind: self.shared.barriers.raised() };
        let wake = self.shared.outbox.lock().put(key, published);
        if wake {
            // Outside the lock: a wake-up can cost a system call, which other threads need not wait for.
            self.shared.bus.do_send(Collect { outbox: self.clone(), finished: false });
        }
    }
}

impl fmt::Debug for Publisher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Publisher").field("waiting", &self.shared.outbox.lock().len()).finish_non_exhaustive()
    }
}

/// Tells the bus that an outbox holds events: a [`Publisher`] sends it, at most one at a time; nothing is replied.
#[derive(Debug, Message)]
#[rtype(result = "()")]
#[doc(hidden)]
pub struct Collect {
    outbox: Publisher,
    /// The outbox was left empty: the next event wakes the bus.
    finished: bool,
}

impl Collect {
    /// Takes at most `most` events out of the outbox, the oldest first.
    pub fn take(&mut self, most: usize) -> Vec<FeedbackEvent> {
        self.take_behind(most, u64::MAX).into_iter().map(|published| published.event).collect()
    }

    /// As `take`, but leaves what must not overtake a barrier that the bus has not met yet.
    pub(crate) fn take_behind(&mut self, most: usize, met: u64) -> Vec<Published> {
        self.outbox.shared.outbox.lock().take(most, |published| published.behind <= met)
    }

    /// Ends the collection if the outbox is empty; else gives it back, and the collector is not woken meanwhile.
    pub(crate) fn finish(mut self) -> Option<Self> {
        self.finished = !self.outbox.shared.outbox.lock().leave();
        (!self.finished).then_some(self)
    }

    /// Returns how many events wait in the outbox.
    pub fn waiting(&self) -> usize {
        self.outbox.shared.outbox.lock().len()
    }

    /// Returns how many events the outbox has lost since this was last asked.
    pub fn take_lost(&mut self) -> u64 {
        self.outbox.shared.outbox.lock().take_lost()
    }
}

impl Drop for Collect {
    /// Ends the collection: the next event wakes the bus again, and those that were left do so now.
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        let shared = &self.outbox.shared;
        // A dead bus drops what it is sent: waking it again from here would never end.
        let again = shared.outbox.lock().leave() && shared.bus.connected();
        if again {
            shared.bus.do_send(Self { outbox: self.outbox.clone(), finished: false });
        }
    }
}
