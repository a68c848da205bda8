//! What waits for one receiver of events: a subscriber, a URL, a bus.

mod deduplicator;
mod endpoint_queue;
mod lane;
mod outbox;
mod seq_tracker;

pub use self::{
    deduplicator::{Admission, Deduplicator, DeduplicatorLimits},
    endpoint_queue::{EndpointPolicy, EndpointQueue, EndpointState, Step},
    lane::{Lane, Offered},
    outbox::Outbox,
    seq_tracker::{SeqTracker, SeqVerdict},
};
