//! What an actor holds so that its end is noticed, whatever ends it: a panic skips every handler, and no destructor.

use std::sync::Arc;

use actix::Recipient;

use super::{
    messages::{Gone, Part},
    shared::Shared,
    stop::{StopReason, StopSignal},
};
use crate::policy::Level;

/// Tells the coordinator when the part that holds it ends.
pub(super) struct PartGuard {
    pub(super) to: Recipient<Gone>,
    pub(super) part: Part,
}

impl Drop for PartGuard {
    fn drop(&mut self) {
        self.to.do_send(Gone { part: self.part });
    }
}

/// Tells the store when the coordinator ends without having been asked to.
pub(super) struct DeathGuard {
    signal: StopSignal,
    id: Arc<str>,
    asked: bool,
}

impl DeathGuard {
    pub(super) fn new(signal: StopSignal, id: Arc<str>) -> Self {
        Self { signal, id, asked: false }
    }

    /// Notes that the coordinator was asked to end.
    pub(super) fn was_asked(&mut self) {
        self.asked = true;
    }
}

impl Drop for DeathGuard {
    fn drop(&mut self) {
        // A store that ended takes its actors with it.
        if !self.asked && !self.signal.is_ending() {
            tracing::error!(coordinator_id = &*self.id, "the coordinator died");
            self.signal.stop(StopReason::CoordinatorDied { coordinator_id: Arc::clone(&self.id) });
        }
    }
}

/// Closes the buffer when the actor that holds it ends, so that nothing waits for it without end.
pub(super) struct CloseOnDrop<T>(pub(super) Arc<Shared<T>>);

impl<T> Drop for CloseOnDrop<T> {
    fn drop(&mut self) {
        // No record is accepted from here on, and the level says so.
        self.0.set_level(Level::Hard);
        self.0.close();
    }
}
