//! Telling producers when to slow down.
//!
//! A coordinator publishes a [`FeedbackEvent`] when its level changes. The [`FeedbackBus`], an actor on a thread of its
//! own, passes it to the subscribers. Each has a *lane*: at most one event is in its mailbox, and while it is busy the
//! lane keeps what it is to get next ([`Delivery`]). So a subscriber may be slow, stuck or dead, and the others never
//! notice.
//!
//! ```text
//!  coordinator --> outbox -----> FeedbackBus --> lane --> subscriber actor
//!                                    |      \--> lane --> subscriber actor
//!                                    |      \--> lane --> RateCoordinator, which keeps a RateLimiter
//!                                    \---------> watch::Receiver
//! ```
//!
//! A `Receiver` (feature `receiver`) publishes on a bus what coordinators in other processes say.
//!
//! Every arrow is bounded, and each loss is counted and shows as a gap in [`seq`](EventBody::seq).

mod bus;
mod counts;
mod event;
mod event_series;
mod handle;
mod limiter;
#[cfg(feature = "receiver")]
mod receiver;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
mod webhook;

#[cfg(feature = "webhooks")]
pub use self::webhook::ObserveBroadcasts;
#[cfg(feature = "webhooks")]
pub(crate) use self::webhook::PreparedBroadcast;
pub use self::{
    bus::{BusSnapshot, Observe, Publish},
    event_series::EventSeries,
};
pub(crate) use self::{event::CoordinatorKey, handle::Claim};
// At the crate's root in the documentation.
#[cfg(feature = "receiver")]
#[doc(hidden)]
pub use self::receiver::{Receiver, ReceiverSnapshot};
#[cfg(any(feature = "webhooks", feature = "receiver"))]
#[doc(hidden)]
pub use self::webhook::signature::{InvalidSecret, WebhookSecret};
#[cfg(feature = "webhooks")]
#[doc(hidden)]
pub use self::webhook::{BroadcastConfig, BroadcastError, BroadcastSnapshot, BroadcasterHandle, HttpBroadcaster};
#[doc(hidden)]
pub use self::{
    bus::{Collect, LaneSnapshot, Publisher},
    counts::FeedbackCounts,
};
#[doc(hidden)]
pub use self::{
    bus::{Delivery, FeedbackBus, Replay, Subscribe, SubscriptionId},
    event::{EventBody, FeedbackEvent},
    handle::{Feedback, feedback_bus},
    limiter::{RateBuilder, RateCoordinator, RateLimiter, RateSnapshot},
};

/// The signature of a webhook, for a receiver of your own: the scheme of Standard Webhooks.
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub mod signature {
    #[doc(hidden)]
    pub use super::webhook::signature::{InvalidSecret, WebhookSecret, unix_now};
    pub use super::webhook::signature::{SignatureError, SignedHeaders, sign, verify};
}
