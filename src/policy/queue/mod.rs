//! The bounded queue: what goes in, what waits, what goes out.

mod buffer;
mod contract;
mod credits;
mod flush;
mod partition;

pub use self::{
    buffer::BoundedBuffer,
    contract::{
        BufferConfig, BufferSnapshot, BufferState, Counters, Crossing, DropReason, Effects, Isolated, LeaseId, Leased,
        Outcome, Overflow, QueueEvent, Refused, Unknown, Verdict,
    },
    flush::FlushId,
};
