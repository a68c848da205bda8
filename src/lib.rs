//! Market data write path on actix actors.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use actix;

#[cfg(feature = "cli")]
#[doc(hidden)]
pub mod cli;
pub mod feedback;
pub mod metrics;
pub mod policy;
mod quoted;
pub mod record;
pub mod sink;
mod timestamp;

pub use feedback::FeedbackEvent;
pub use policy::{Level, Reason};
pub use record::{Bar, Invalid, Record, Timeframe};
pub use sink::{Batch, BoxSink, Sink, SinkError, SinkResultExt};
pub use timestamp::{InvalidTimestamp, Timestamp};
