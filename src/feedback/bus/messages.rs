use std::time::Duration;

use actix::Message;
use tokio::sync::watch;

use super::{
    lanes::LaneSnapshot,
    subscribe::{Selector, SubscriptionId},
};
use crate::feedback::event::FeedbackEvent;

/// Passes one event on: an actor that publishes rarely sends it. Nothing is replied. One that may outrun the bus uses a
/// [`Feedback::publish`](crate::Feedback::publish), which is bounded.
#[derive(Clone, Debug, Message)]
#[rtype(result = "()")]
pub struct Publish {
    /// The event; dropped and counted if its instance said something newer already.
    pub event: FeedbackEvent,
}

/// Asks for the state of the bus: tests and status pages send it; the reply is a [`BusSnapshot`].
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "BusSnapshot")]
pub struct Observe;

/// Waits for the subscribers: an actor that has to know sends it. The reply comes once every lane has handled all
/// that it was given before. Lanes that were closed meanwhile do not hold it; a stuck subscriber does, without end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Idle;

/// Ends the bus once every lane has handled all that it was given before, or the time is up: a store sends it to the
/// bus that was made for it; the reply comes at the end.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct EndBus {
    /// How long a stuck subscriber may hold the end.
    pub(crate) within: Duration,
}

/// Shows the present of some coordinators in a channel: [`Feedback::watch`](crate::Feedback::watch) sends it; nothing
/// is replied.
#[derive(Debug, Message)]
#[rtype(result = "()")]
pub struct Watch {
    pub(crate) selector: Selector,
    pub(crate) shown: watch::Sender<FeedbackEvent>,
}

/// The state of a bus between two messages. Counts are since its start.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct BusSnapshot {
    /// Events passed on.
    pub events: u64,
    /// Events that were dropped, because their instance had said something newer already.
    pub stale: u64,
    /// Events of an instance beside which another of the same name lives.
    pub conflicts: u64,
    /// Instances that were let go, because they were silent for three times their refresh.
    pub expired: u64,
    /// Events that publishers lost while the bus was behind.
    pub lost_by_publishers: u64,
    /// Deliveries that subscribers handled.
    pub delivered: u64,
    /// Deliveries that ended without an answer: the handler panicked, or the actor was gone.
    pub failed: u64,
    /// Waiting events whose place a newer one took.
    pub superseded: u64,
    /// Events that fell out of full lanes.
    pub lost: u64,
    /// Subscriptions that ended because their actor was gone.
    pub pruned: u64,
    /// Events that wait now, over all lanes.
    pub waiting: usize,
    /// Channels of [`Feedback::watch`](crate::Feedback::watch); one without a receiver goes with the next event.
    pub watchers: usize,
    /// The subscribers, in the order in which their subscriptions were made: `id`, whether it is `busy` with an event, and how
    /// many are `waiting`, were `delivered`, `failed`, `superseded` and `lost`.
    pub lanes: Vec<LaneSnapshot>,
    /// What counts of each coordinator, in the order in which it came to be so: of two instances of one name the higher
    /// level.
    pub present: Vec<FeedbackEvent>,
}

impl BusSnapshot {
    /// Returns the lane of one subscription, if it lasts.
    pub fn lane(&self, id: SubscriptionId) -> Option<&LaneSnapshot> {
        self.lanes.iter().find(|lane| lane.id == id)
    }
}
