//! What waits for one receiver of events: a subscriber, a URL, a bus.

#[cfg(feature = "receiver")]
mod deduplicator;
#[cfg(feature = "webhooks")]
mod endpoint_queue;
mod instances;
mod lane;
mod outbox;

#[cfg(feature = "receiver")]
pub use self::deduplicator::{Admission, Deduplicator, DeduplicatorLimits};
#[cfg(feature = "webhooks")]
pub use self::endpoint_queue::{EndpointPolicy, EndpointQueue, EndpointState, SentAs, Step};
pub use self::{
    instances::{Heard, Instances, News, Present, Speaker},
    lane::{Lane, Offered},
    outbox::Outbox,
};

#[cfg(all(test, feature = "receiver", feature = "webhooks"))]
mod signal_tests;
