//! The orderly end of a coordinator: refuse, settle, dead-letter the rest, stop.

use std::{sync::Arc, time::Duration};

use actix::{ActorContext, ActorFutureExt, Handler, ResponseActFuture, WrapFuture};
use tokio::time::timeout;

use super::{
    abort::dead_letter_rest,
    health::CoordinatorReport,
    messages::{Drain, ObserveQueue, Stop},
    supervisor::WriteCoordinator,
};
use crate::record::Record;

/// How long a stop waits for a worker to leave its write. One that blocks its thread is left behind.
const STOP_WORKER: Duration = Duration::from_secs(1);

impl<T: Record> Handler<Drain> for WriteCoordinator<T> {
    type Result = ResponseActFuture<Self, CoordinatorReport>;

    fn handle(&mut self, drain: Drain, _: &mut Self::Context) -> Self::Result {
        if drain.announce {
            // In this order: who hears of it and submits all the same is refused.
            self.shared.with(|buffer| buffer.drain());
            self.shared.faults.coordinator.point("records are refused and draining is not told");
            self.raise_draining();
        }
        if !drain.deadline.is_zero() {
            self.shared.expedite();
        }
        let shared = Arc::clone(&self.shared);
        let queue = self.queue.clone();
        let settled = async move {
            let settle = async {
                let _ = shared.flush().await;
                // Unannounced, more was accepted meanwhile. No more is from here on, and what was is settled too.
                shared.with(|buffer| buffer.drain());
                let _ = shared.flush().await;
                // Behind a queue that died a flush ends at once; what workers are writing has its time all the same.
                shared.batches_are_back().await;
            };
            let _ = timeout(drain.deadline, settle).await;
            shared.faults.coordinator.point("all is settled and the queue is open");
            // Receipts stay: what is left may yet become a dead letter.
            shared.with(|buffer| buffer.close());
            if let Some(queue) = queue {
                // So that the last level change is told before the end.
                let _ = queue.send(ObserveQueue).await;
            }
        };
        Box::pin(settled.into_actor(self).then(move |(), coordinator, _| coordinator.stop_parts(drain.dead_letters)))
    }
}

impl<T: Record> WriteCoordinator<T> {
    /// Ends queue and workers, turns what is left into dead letters, then ends itself.
    fn stop_parts(&mut self, dead_letters_within: Duration) -> ResponseActFuture<Self, CoordinatorReport> {
        if std::mem::replace(&mut self.stopping, true) {
            // A shutdown was dropped and asked for again. The first to come here finishes: to end now would cut it off
            // between two dead letters. The others are answered by the end of this actor.
            return Box::pin(std::future::pending::<CoordinatorReport>().into_actor(self));
        }
        let workers: Vec<_> = self.workers.iter_mut().filter_map(|slot| slot.address.take()).collect();
        let queue = self.queue.take();
        let shared = Arc::clone(&self.shared);
        let dead_letters = self.dead_letters.clone();
        let stopped = async move {
            let workers = futures_util::future::join_all(workers.iter().map(|worker| worker.send(Stop)));
            shared.faults.coordinator.point("workers are not stopped");
            let _ = timeout(STOP_WORKER, workers).await;
            shared.faults.coordinator.point("workers are stopped, the rest is not dead-lettered");
            dead_letter_rest(&shared, &dead_letters, dead_letters_within).await;
            shared.faults.coordinator.point("the rest is dead-lettered and not reported");
            if let Some(queue) = queue {
                let _ = queue.send(Stop).await;
            }
        };
        Box::pin(stopped.into_actor(self).map(|(), coordinator, context| {
            coordinator.death_guard.was_asked();
            coordinator.announcer.end();
            context.stop();
            coordinator.shared.tell_dead_letters(true);
            CoordinatorReport::of_buffer(&coordinator.shared.config.id, &coordinator.shared.snapshot())
        }))
    }
}
