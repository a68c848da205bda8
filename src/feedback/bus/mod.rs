//! The bus: an actor with a lane for each subscriber.

mod actor;
mod barrier;
mod deliveries;
mod lanes;
mod latest_events;
mod messages;
mod publisher;
mod subscribe;

pub use self::{
    actor::FeedbackBus,
    lanes::LaneSnapshot,
    messages::{BusSnapshot, Observe, Publish},
    publisher::{Collect, Publisher},
    subscribe::{Delivery, Replay, Subscribe, SubscriptionId},
};
pub(super) use self::{
    actor::Start,
    barrier::{Barrier, Barriers},
    latest_events::LatestEvents,
    messages::{EndBus, Idle, Watch},
    subscribe::{Selector, Unsubscribe},
};
