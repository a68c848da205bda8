use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

use actix::Message;
use parking_lot::Mutex;

/// Keeps events from overtaking a request that was made before them.
///
/// A request travels through the bus's mailbox, an event waits in an outbox for a message that may have been sent long
/// before the request. So each event notes how many barriers had been raised when it was published, and the bus leaves
/// it in the outbox until it has met as many in its mailbox.
#[derive(Clone, Debug, Default)]
pub(crate) struct Barriers(Arc<Shared>);

#[derive(Debug, Default)]
struct Shared {
    raised: AtomicU64,
    /// Barriers must reach the mailbox in the order in which they are counted, each behind its request.
    order: Mutex<()>,
}

/// Stands behind a request in the mailbox: the handle sends it, nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Barrier;

impl Barriers {
    /// Raises a barrier. `send` must put the request and then a [`Barrier`] into the mailbox.
    pub(crate) fn raise(&self, send: impl FnOnce()) {
        let _order = self.0.order.lock();
        self.0.raised.fetch_add(1, Ordering::Release);
        send();
    }

    /// Returns how many barriers have been raised.
    pub(crate) fn raised(&self) -> u64 {
        self.0.raised.load(Ordering::Acquire)
    }
}
