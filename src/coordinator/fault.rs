//! A way to end the actors of a coordinator as a bug in them would.

#[cfg(feature = "testing")]
use actix::{Context, Handler, Message};

#[cfg(feature = "testing")]
use super::{BoundedQueue, SinkWorker, WriteCoordinator};
use crate::fault::Fault;
#[cfg(feature = "testing")]
use crate::record::Record;

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
    pub(super) fn of(&self, victim: Victim) -> &Fault {
        match victim {
            Victim::Coordinator => &self.coordinator,
            Victim::Queue => &self.queue,
            Victim::Worker(partition) => &self.workers[partition],
        }
    }
}

/// An actor of a coordinator that a test ends.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Victim {
    /// The coordinator itself.
    Coordinator,
    /// Its queue.
    Queue,
    /// The worker of this partition, with the write that it has under way; nobody while it is being replaced.
    Worker(usize),
}

/// Makes the actor that handles it panic: sent by [`WriteHandle::kill`](super::WriteHandle::kill), and passed on by the
/// coordinator; nothing is replied.
#[cfg(feature = "testing")]
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Die(pub(super) Victim);

#[cfg(feature = "testing")]
impl<T: Record> Handler<Die> for WriteCoordinator<T> {
    type Result = ();

    fn handle(&mut self, die: Die, _: &mut Self::Context) {
        match die.0 {
            Victim::Coordinator => panic!("a test asked the coordinator to die"),
            Victim::Queue => self.queue.iter().for_each(|queue| queue.do_send(die)),
            Victim::Worker(partition) => {
                self.workers
                    .get(partition)
                    .and_then(|slot| slot.address.as_ref())
                    .inspect(|worker| worker.do_send(die));
            }
        }
    }
}

#[cfg(feature = "testing")]
impl<T: Record> Handler<Die> for BoundedQueue<T> {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("a test asked the queue to die");
    }
}

#[cfg(feature = "testing")]
impl<T: Record> Handler<Die> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("a test asked the worker to die");
    }
}
