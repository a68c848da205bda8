use std::{
    cell::{Cell, RefCell},
    rc::Rc,
    task::{Context, Poll, Waker},
};

use actix::{MailboxError, dev::RecipientRequest};
use actix_rt::task::JoinHandle;
use futures_util::{
    StreamExt,
    future::{Join, OptionFuture, Ready, join, ready},
    stream::FuturesUnordered,
};

use crate::feedback::event::FeedbackEvent;

/// The deliveries that are under way, one for each busy lane, and the one task on the bus's arbiter that waits for their
/// answers. It ends when none is under way.
///
/// It looks at those alone that were answered, so a subscriber that never answers costs a future that sleeps. (A task for
/// each delivery costs as much as the delivery. Futures inside the actor's context would all be polled at each wake of any.)
pub(super) struct Deliveries<S> {
    under_way: RefCell<FuturesUnordered<Delivery<S>>>,
    task: RefCell<Option<JoinHandle<()>>>,
    /// Wakes the task, while it waits.
    waiting: Cell<Option<Waker>>,
}

/// What a subscriber answered, if it did.
pub(super) type Answer = Result<(), MailboxError>;

/// One event on its way to a subscriber; without a request when the actor is gone. Never given up half way: to drop the
/// request would take the event back unseen.
type Delivery<S> = Join<Ready<Rc<S>>, OptionFuture<RecipientRequest<FeedbackEvent>>>;

impl<S> Default for Deliveries<S> {
    fn default() -> Self {
        Self { under_way: RefCell::default(), task: RefCell::default(), waiting: Cell::default() }
    }
}

impl<S> Deliveries<S> {
    /// Waits for the answer to one more, in the task that there is, or in one that `start` starts.
    pub(super) fn add(
        &self,
        to: Rc<S>,
        request: Option<RecipientRequest<FeedbackEvent>>,
        start: impl FnOnce() -> JoinHandle<()>,
    ) {
        self.under_way.borrow_mut().push(join(ready(to), request.into()));
        let mut task = self.task.borrow_mut();
        // One that panicked has finished, and the next goes on with what it left.
        if task.as_ref().is_none_or(JoinHandle::is_finished) {
            *task = Some(start());
        } else if let Some(waiting) = self.waiting.take() {
            waiting.wake();
        }
    }

    /// Waits for the next answer, whose subscriber it is; none when nothing is under way. The task alone asks.
    pub(super) fn poll_answer(&self, context: &mut Context<'_>) -> Poll<Option<(Rc<S>, Answer)>> {
        self.waiting.take();
        let answered = self.under_way.borrow_mut().poll_next_unpin(context);
        if answered.is_pending() {
            self.waiting.set(Some(context.waker().clone()));
        }
        answered.map(|answered| answered.map(|(to, answer)| (to, answer.unwrap_or(Err(MailboxError::Closed)))))
    }
}

#[cfg(test)]
mod tests {
    use std::{future::poll_fn, task::ready};

    use tokio::task::yield_now;

    use super::*;

    type Seen = Rc<RefCell<Vec<u8>>>;

    /// Starts the task, which notes whose answers it sees, or panics at the first.
    fn start(deliveries: &Rc<Deliveries<u8>>, seen: &Seen, panics: bool) -> JoinHandle<()> {
        let (deliveries, seen) = (Rc::clone(deliveries), Rc::clone(seen));
        actix_rt::spawn(poll_fn(move |context| {
            while let Some((to, answer)) = ready!(deliveries.poll_answer(context)) {
                assert!(!panics, "as foreign code can");
                assert_eq!(answer, Err(MailboxError::Closed));
                seen.borrow_mut().push(*to);
            }
            Poll::Ready(())
        }))
    }

    // Red when lanes stay busy after a panic in the task, which is other lanes' too; or more than one task runs.
    #[actix::test]
    async fn what_a_task_that_panicked_leaves_is_seen_through_by_the_next() {
        let (deliveries, seen) = (Rc::new(Deliveries::default()), Seen::default());
        deliveries.add(Rc::new(1), None, || start(&deliveries, &seen, true));
        deliveries.add(Rc::new(1), None, || unreachable!("a task waits"));
        yield_now().await;
        deliveries.add(Rc::new(2), None, || start(&deliveries, &seen, false));
        yield_now().await;
        seen.borrow_mut().sort_unstable();
        assert_eq!(*seen.borrow(), [1, 2], "but for the one of the panic");
        deliveries.add(Rc::new(3), None, || start(&deliveries, &seen, false));
        yield_now().await;
        assert_eq!(*seen.borrow(), [1, 2, 3]);
    }
}
