//! A way to end the actors of a coordinator as a bug in them would.

use actix::{Context, Handler, Message};

use super::{BoundedQueue, SinkWorker, WriteCoordinator};
use crate::record::Record;

/// An actor of a coordinator that a test ends.
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
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(super) struct Die(pub(super) Victim);

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

impl<T: Record> Handler<Die> for BoundedQueue<T> {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("a test asked the queue to die");
    }
}

impl<T: Record> Handler<Die> for SinkWorker<T> {
    type Result = ();

    fn handle(&mut self, _: Die, _: &mut Context<Self>) {
        panic!("a test asked the worker to die");
    }
}
