//! The bus: an actor with a lane for each subscriber.

mod actor;
mod barrier;
mod lanes;
mod latest_events;
mod publisher;
mod subscribe;

pub use self::{
    actor::{BusSnapshot, FeedbackBus, Idle, Observe, Publish},
    lanes::LaneSnapshot,
    publisher::{Collect, Publisher},
    subscribe::{Delivery, Replay, Subscribe, SubscriptionId, Unsubscribe},
};
pub(super) use self::{
    actor::{EndBus, Start, Watch},
    barrier::{Barrier, Barriers},
    latest_events::LatestEvents,
    subscribe::Selector,
};
