//! Decisions without a runtime: every rule that must be exact is a plain data structure here.
//!
//! Nothing in this module waits, reads a clock or knows a thread. Time is an argument, a [`Duration`] since an origin
//! that the caller chose, so each rule is tested against a naive model with any history of times.
//!
//! [`Duration`]: std::time::Duration

pub mod breaker;
pub mod buffer;
pub mod credits;
pub mod delivery;
pub mod drain_rate;
pub mod fence;
mod inbox;
mod lane;
mod level;
mod outbox;
pub mod pressure;
pub mod rate;
mod retry;
mod watermark;

pub use breaker::{BreakerConfig, CircuitBreaker, CircuitState};
pub use buffer::{BufferState, Counters, DropReason, Outcome, Overflow};
pub use delivery::{RemoteLane, RemotePolicy, RemoteState};
pub use inbox::{Arrival, Inbox, InboxLimits};
pub use lane::{Lane, Offered};
pub use level::{Level, Reason};
pub use outbox::Outbox;
pub use pressure::Cause;
pub use rate::{Budget, ScaleError, Scales};
pub use retry::RetryPolicy;
pub use watermark::{Watermark, WatermarkError, Watermarks};
