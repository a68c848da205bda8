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

mod barrier;
#[cfg(feature = "webhooks")]
mod broadcaster;
mod bus;
mod event;
mod front;
mod lanes;
mod limiter;
mod present;
mod publisher;
mod rate;
#[cfg(feature = "receiver")]
mod receiver;
#[cfg(feature = "webhooks")]
mod remote;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub mod signature;
mod subscribe;
#[cfg(feature = "webhooks")]
mod webhook;

#[cfg(feature = "webhooks")]
pub(crate) use broadcaster::PreparedBroadcast;
#[cfg(feature = "webhooks")]
pub use broadcaster::{BroadcastConfig, BroadcastError, Broadcasts, HttpBroadcaster};
pub use bus::{BusSnapshot, FeedbackBus, Idle, Observe, Publish, Watch};
pub use event::{EventBody, FeedbackEvent};
pub use front::{BusStopped, Feedback, feedback_bus};
pub use lanes::LaneSnapshot;
pub use limiter::{RateLimiter, RateSnapshot};
pub use publisher::{Collect, Publisher};
pub use rate::{RateBuilder, RateCoordinator};
#[cfg(feature = "receiver")]
pub use receiver::{Receiver, ReceiverSnapshot};
#[cfg(feature = "webhooks")]
pub use remote::BroadcastSnapshot;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub use signature::{InvalidSecret, WebhookSecret};
pub use subscribe::{Delivery, Replay, Subscribe, SubscriptionId, Unsubscribe};
#[cfg(feature = "webhooks")]
pub use webhook::InvalidCaFile;
