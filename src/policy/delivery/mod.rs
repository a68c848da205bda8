//! What waits for one receiver of events: a subscriber, a URL, a bus.

#[cfg(feature = "receiver")]
mod deduplicator;
#[cfg(feature = "webhooks")]
mod endpoint_queue;
mod lane;
mod outbox;
mod seq_tracker;

#[cfg(feature = "receiver")]
pub use self::deduplicator::{Admission, Deduplicator, DeduplicatorLimits};
#[cfg(feature = "webhooks")]
pub use self::endpoint_queue::{EndpointPolicy, EndpointQueue, EndpointState, Step};
pub use self::{
    lane::{Lane, Offered},
    outbox::Outbox,
    seq_tracker::{SeqTracker, SeqVerdict},
};
