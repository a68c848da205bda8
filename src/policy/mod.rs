//! Decisions without a runtime: every rule that must be exact is a plain data structure here.
//!
//! Nothing in this module waits, reads a clock or knows a thread. Time is an argument, a [`Duration`] since an origin
//! that the caller chose, so each rule is tested against a naive model with any history of times.
//!
//! [`Duration`]: std::time::Duration

pub mod delivery;
pub mod failure;
pub mod level;
pub mod queue;
pub mod rate;
mod wait_queue;

#[cfg(feature = "receiver")]
pub use self::delivery::{Admission, Deduplicator, DeduplicatorLimits};
#[cfg(feature = "webhooks")]
pub use self::delivery::{EndpointPolicy, EndpointQueue, EndpointState, SentAs, Step};
pub use self::{
    delivery::{Heard, Instances, Lane, News, Offered, Outbox, Present, Speaker},
    failure::{BreakerConfig, CircuitState, RetryPolicy},
    level::{Cause, Change, Level, Pressure, Reason, WatermarkError, Watermarks, time_to_recover},
    queue::{
        BoundedBuffer, BufferConfig, BufferSnapshot, BufferState, ConflationKey, Counters, CreditTicket, Crossing,
        DropReason, FlushId, Invalid, Isolated, LeaseId, Leased, Load, Outcome, Overdue, Overflow, PartitionSnapshot,
        Placement, QueueAt, QueueEvent, Refusal, Verdict, WriteFault, most_of_a_partition,
    },
    rate::{Budget, ScaleError, Scales},
    wait_queue::Ticket,
};
