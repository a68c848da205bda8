//! The points at which tests end the actors of a coordinator as a bug in them would.

use crate::fault::Fault;

/// The points at which a test lets the actors of a coordinator panic.
pub(super) struct Faults {
    pub(super) coordinator: Fault,
    pub(super) queue: Fault,
    /// One for each partition.
    pub(super) workers: Vec<Fault>,
}

impl Faults {
    pub(super) fn new(workers: usize) -> Self {
        let workers = (0..workers).map(|_| Fault::new("worker")).collect();
        Self { coordinator: Fault::new("coordinator"), queue: Fault::new("queue"), workers }
    }

    #[cfg(feature = "testing")]
    pub(super) fn of(&self, actor: FaultyActor) -> &Fault {
        match actor {
            FaultyActor::Coordinator => &self.coordinator,
            FaultyActor::Queue => &self.queue,
            FaultyActor::Worker(partition) => &self.workers[partition],
        }
    }
}

/// An actor of a coordinator that a test ends.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FaultyActor {
    /// The coordinator itself.
    Coordinator,
    /// Its queue.
    Queue,
    /// The worker of this partition, with the write that it has under way.
    Worker(usize),
}
