//! The bounded queue: what goes in, what waits, what goes out.

mod buffer;
mod conflation;
mod contract;
mod credits;
mod flush;
mod partition;
mod refusal;
mod shares;

pub use self::{
    buffer::BoundedBuffer,
    conflation::ConflationKey,
    contract::{
        BufferConfig, BufferSnapshot, BufferState, Counters, Crossing, DropReason, Isolated, LeaseId, Leased, Outcome,
        Overdue, Overflow, PartitionSnapshot, QueueAt, QueueEvent, Verdict, WriteFault,
    },
    credits::{CreditTicket, Load, Placement},
    flush::FlushId,
    refusal::{Invalid, Refusal},
    shares::most_of_a_partition,
};
