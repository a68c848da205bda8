//! Market data write path on actix actors.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use actix;

/// The `mds` command line. Not for embedders: it may change in any release.
#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod coordinator;
pub mod dead_letter;
pub mod feedback;
pub mod metrics;
pub mod policy;
mod quoted;
pub mod record;
pub mod settings;
pub mod sink;
mod store;
mod timestamp;

pub use coordinator::{
    CoordinatorReport, Health, Receipt, ReceiptLost, Refusal, StopReason, SubmitError, SubmitManyError, WriteHandle,
};
pub use dead_letter::{DeadLetter, DeadLetters};
pub use feedback::{Delivery, Feedback, FeedbackBus, FeedbackEvent, Replay, Subscribe, SubscriptionId, feedback_bus};
pub use policy::{DropReason, Level, Outcome, Reason};
pub use record::{Bar, Invalid, Record, Timeframe};
pub use settings::Settings;
pub use sink::{Batch, BoxSink, Sink, SinkError, SinkResultExt};
pub use store::{Builder, Coordinator, DrainReport, MarketDataStore, StartError, UnknownCoordinator};
pub use timestamp::{InvalidTimestamp, Timestamp};
