use std::{sync::Arc, task::Waker, time::Duration};

use parking_lot::Mutex;
use tokio::time::Instant;

use super::clock::Clock;
use crate::{
    fault::Fault,
    feedback::event::{CoordinatorKey, FeedbackEvent},
    policy::rate::{RateControl, RateState, Report},
};

/// What the handles and the actor of a limiter share.
pub(super) struct Shared {
    control: Mutex<RateControl<CoordinatorKey, Waker>>,
    /// Where the limiter's times count from. Tokio's clock, so that a paused one pauses everything.
    origin: Instant,
    pub(super) name: Arc<str>,
    pub(super) fault: Fault,
    /// Keeps the thread of the actor alive.
    _thread: Option<Arc<Clock>>,
}

impl Shared {
    pub(super) fn new(control: RateControl<CoordinatorKey, Waker>, name: Arc<str>, thread: Option<Arc<Clock>>) -> Self {
        let fault = Fault::new("limiter");
        Self { control: Mutex::new(control), origin: Instant::now(), name, fault, _thread: thread }
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

    /// Takes in an event.
    pub(super) fn observe(&self, event: &FeedbackEvent) {
        self.with(|control, now| control.observe(now, CoordinatorKey::of(event), report(event)));
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
