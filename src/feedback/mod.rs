//! Telling producers when to slow down.
//!
//! A coordinator publishes a [`FeedbackEvent`] when its level changes. The [`FeedbackBus`], an actor on a thread of its
//! own, passes it to the subscribers. Each has a *lane*: at most one event is in its mailbox, and while it is busy the
//! lane keeps what it is to get next ([`Delivery`]). So a subscriber may be slow, stuck or dead, and the others never
//! notice.
//!
//! ```text
//!  coordinator --> Publisher --> FeedbackBus --> lane --> subscriber actor
//!                  (outbox)          |      \--> lane --> subscriber actor
//!                                    |      \--> lane --> RateCoordinator, which keeps a RateLimiter
//!                                    \---------> watch::Receiver
//! ```
//!
//! A `Receiver` (feature `receiver`) publishes on a bus what coordinators in other processes say.
//!
//! Every arrow is bounded, and each loss is counted and shows as a gap in [`seq`](EventBody::seq).

mod bus;
mod event;
mod handle;
mod limiter;
#[cfg(feature = "receiver")]
mod receiver;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
mod webhook;

#[cfg(feature = "receiver")]
pub use self::receiver::{Receiver, ReceiverSnapshot};
#[cfg(feature = "webhooks")]
pub(crate) use self::webhook::PreparedBroadcast;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub use self::webhook::signature::{self, InvalidSecret, WebhookSecret};
#[cfg(feature = "webhooks")]
pub use self::webhook::{
    BroadcastConfig, BroadcastError, BroadcastSnapshot, BroadcasterHandle, HttpBroadcaster, InvalidCaFile,
};
pub use self::{
    bus::{
        BusSnapshot, Collect, Delivery, FeedbackBus, Idle, LaneSnapshot, Observe, Publish, Publisher, Replay,
        Subscribe, SubscriptionId, Unsubscribe,
    },
    event::{EventBody, FeedbackEvent},
    handle::{BusStopped, Feedback, feedback_bus},
    limiter::{RateBuilder, RateCoordinator, RateLimiter, RateSnapshot},
};
