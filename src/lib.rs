//! Market data write path on actix actors.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use actix;

pub mod feedback;
pub mod metrics;
pub mod policy;
pub mod record;
pub mod settings;
pub mod sink;
mod timestamp;

pub use feedback::FeedbackEvent;
pub use policy::{Level, Reason};
pub use record::{Invalid, Record};
pub use settings::Settings;
pub use sink::{Batch, BoxSink, Sink, SinkError, SinkResultExt};
pub use timestamp::Timestamp;
