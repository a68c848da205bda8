//! Market data write path on actix actors.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use actix;

pub mod feedback;
pub mod metrics;
pub mod policy;
pub mod record;
pub mod sink;
mod timestamp;

pub use feedback::{Delivery, Feedback, FeedbackBus, FeedbackEvent, Replay, Subscribe, SubscriptionId, feedback_bus};
pub use policy::{Level, Reason};
pub use record::{Invalid, Record};
pub use sink::{Batch, BoxSink, Sink, SinkError, SinkResultExt};
pub use timestamp::Timestamp;
