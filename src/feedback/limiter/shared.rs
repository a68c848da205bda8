use std::{cmp::Reverse, collections::HashMap, sync::Arc, task::Waker, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::clock::Clock;
use crate::{
    fault::Fault,
    feedback::{
        bus::{LatestEvents, Selector},
        event::{CoordinatorKey, FeedbackEvent},
    },
    policy::rate::{RateControl, RateState, Report},
};

/// What the handles and the actor of a limiter share.
pub(super) struct Shared {
    control: Mutex<RateControl<CoordinatorKey, Waker>>,
    /// Whom it follows, and what the bus knows of them.
    followed: Vec<Selector>,
    present: Arc<Mutex<LatestEvents>>,
    /// The event of each coordinator that was taken in last.
    taken_in: Mutex<HashMap<CoordinatorKey, FeedbackEvent>>,
    /// Where the limiter's times count from. Tokio's clock, so that a paused one pauses everything.
    origin: Instant,
    pub(super) name: Arc<str>,
    pub(super) fault: Fault,
    /// Keeps the thread of the actor alive.
    _thread: Option<Arc<Clock>>,
}

impl Shared {
    pub(super) fn new(
        control: RateControl<CoordinatorKey, Waker>,
        (followed, present): (Vec<Selector>, Arc<Mutex<LatestEvents>>),
        name: Arc<str>,
        thread: Option<Arc<Clock>>,
    ) -> Self {
        let (fault, origin) = (Fault::new("limiter"), Instant::now());
        let (control, taken_in) = (Mutex::new(control), Mutex::default());
        Self { control, followed, present, taken_in, origin, name, fault, _thread: thread }
    }

    /// Does something under the lock, and wakes who has to be woken after the lock is gone: a waker may run anything.
    /// Returns with the result whether the actor has to be woken.
    pub(super) fn with<R>(
        &self,
        act: impl FnOnce(&mut RateControl<CoordinatorKey, Waker>, Duration) -> R,
    ) -> (R, bool) {
        let mut control = self.control.lock();
        // Read under the lock, so that no time is earlier than that of a call before.
        let now = self.origin.elapsed();
        let result = act(&mut control, now);
        let (wake, woken, spent) = (control.wake(), control.woken(), control.spent());
        drop(control);
        woken.into_iter().for_each(Waker::wake);
        drop(spent);
        (result, wake)
    }

    /// Takes in what counts now of the coordinators that it follows.
    pub(super) fn look(&self) {
        let mut taken_in = self.taken_in.lock();
        let present = self.present.lock().selected(&self.followed);
        let mut counts: Vec<_> = present.into_iter().map(|event| (CoordinatorKey::of(&event), event)).collect();
        // The highest level first, so that it does not open in between.
        counts.sort_by_key(|(_, event)| Reverse(event.level));
        self.with(|control, now| {
            for (key, event) in &counts {
                if taken_in.get(key).is_none_or(|before| before.id != event.id) {
                    control.observe(now, key.clone(), report(event));
                }
            }
            control.keep(now, |key| counts.iter().any(|(counted, _)| counted == key));
        });
        *taken_in = counts.into_iter().collect();
    }

    pub(super) fn state(&self) -> RateState {
        self.with(|control, now| control.state(now)).0
    }
}

/// Returns what a limiter takes in of an event.
fn report(event: &FeedbackEvent) -> Report {
    Report {
        level: event.level,
        reason: event.reason,
        drain_rate: event.drain_rate,
        queue_size: event.queue_size,
        capacity: event.capacity,
    }
}
