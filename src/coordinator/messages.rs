//! What the actors of a coordinator say to each other, and what others may ask of it.

use std::time::Duration;

use actix::Message;

use super::health::{CoordinatorReport, Health};
use crate::policy::{BufferSnapshot, QueueEvent};

/// Says that the buffer has something to do: sent by handles and workers, at most one at a time; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Wake;

/// Asks what is in the queue, after it has done what is due: sent by the coordinator; replies a snapshot.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "BufferSnapshot")]
pub(super) struct ObserveQueue;

/// Brings what happened in the buffer, in order: sent by the queue; nothing is replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct QueueEvents {
    pub(super) events: Vec<QueueEvent>,
}

/// Says whether a dead letter that was tried before can be written: sent by a worker; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct DeadLetterStatus {
    pub(super) partition: usize,
    pub(super) writable: bool,
}

/// Says that a part has ended, however it ended: sent by its [`PartGuard`](super::guards::PartGuard); nothing is
/// replied.
#[derive(Message)]
#[rtype(result = "()")]
pub(super) struct Gone {
    pub(super) part: Part,
}

/// A part that the coordinator watches.
#[derive(Clone, Copy, Debug)]
pub(super) enum Part {
    Queue,
    /// The worker of this partition.
    Worker(usize),
}

/// Ends a part: sent by the coordinator; nothing is replied. A worker leaves its write and gives its lease back.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Stop;

/// Asks for an answer once all that happened before is published: a flush sends it; nothing else is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct CatchUp;

/// Asks how the coordinator is: handles send it, and any actor may; replies once the queue has reported all that
/// happened before.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "Health")]
pub struct Observe;

/// Settles what was accepted, then ends the coordinator: sent by the store; replies what became of the records.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "CoordinatorReport")]
pub(crate) struct Drain {
    /// How long settling may take. What is unsettled then becomes dead letters, as far as these can be written.
    pub(crate) deadline: Duration,
    /// Whether to refuse new records, and then raise `draining`, at once. If not, producers hear nothing, and what they
    /// submit while the rest is settled is settled too, or refused as draining or closed.
    pub(crate) announce: bool,
    /// How long dead letters may take of what is unsettled then.
    pub(crate) dead_letters: Duration,
}
