use std::{
    cell::{Cell, RefCell},
    collections::{BTreeMap, VecDeque},
    convert::Infallible,
    future::poll_fn,
    rc::Rc,
    task::{Context, Poll, ready},
};

use actix::dev::RecipientRequest;
use metrics::{Counter, Gauge};
use tokio::{
    sync::{mpsc, oneshot},
    task::unconstrained,
};

use super::{
    deliveries::{Answer, Deliveries},
    latest_events::Changes,
    subscribe::{Selector, Subscribe, SubscriptionId, Target},
};
use crate::{
    feedback::event::{CoordinatorKey, FeedbackEvent},
    metrics as names,
    policy::{Lane, Offered},
};

/// How many answers are taken in before others on the arbiter have a turn.
const TURN: usize = 128;

/// The subscribers of one bus, a lane each, and what is under way to them.
///
/// The task that waits for the answers holds on to this, so that what the bus was given is still delivered after the bus
/// itself is gone.
pub(crate) struct Lanes {
    subscribers: RefCell<BTreeMap<SubscriptionId, Rc<Subscriber>>>,
    deliveries: Deliveries<Subscriber>,
    counts: Counts,
    metrics: Metrics,
    /// Dropped with the bus and the last delivery: the arbiter has nothing more to do.
    _finished: oneshot::Sender<Infallible>,
}

/// An actor with its one lane. A second subscription of the actor changes this, and a delivery under way goes on with it.
struct Subscriber(RefCell<State>);

struct State {
    id: SubscriptionId,
    target: Target,
    only: Vec<Selector>,
    each: bool,
    lane: Lane<Selector, FeedbackEvent>,
    /// Who waits for the lane to pass a mark: dropping the hold tells them.
    holds: VecDeque<(u64, Hold)>,
    delivered: u64,
    failed: u64,
    superseded: u64,
    lost: u64,
}

/// Keeps an [`Lanes::barrier`] up while it lives.
type Hold = mpsc::Sender<Infallible>;

#[derive(Default)]
struct Counts {
    delivered: Cell<u64>,
    failed: Cell<u64>,
    superseded: Cell<u64>,
    lost: Cell<u64>,
    pruned: Cell<u64>,
}

/// The handles, looked up once.
struct Metrics {
    subscribers: Gauge,
    superseded: Counter,
    pruned: Counter,
}

/// The state of one subscriber's lane, in a [`BusSnapshot`](super::BusSnapshot).
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub struct LaneSnapshot {
    /// The subscription.
    pub id: SubscriptionId,
    /// A delivery is under way: the event is in the subscriber's mailbox, or being handled.
    pub busy: bool,
    /// Events that wait behind it.
    pub waiting: usize,
    /// Events that were handled.
    pub delivered: u64,
    /// Deliveries that ended without an answer.
    pub failed: u64,
    /// Waiting events whose place a newer one took.
    pub superseded: u64,
    /// Events that fell out of a full lane.
    pub lost: u64,
}

/// What all lanes did, those of subscribers that have left included.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Totals {
    pub(crate) delivered: u64,
    pub(crate) failed: u64,
    pub(crate) superseded: u64,
    pub(crate) lost: u64,
    pub(crate) pruned: u64,
}

impl Lanes {
    pub(crate) fn new(finished: oneshot::Sender<Infallible>) -> Rc<Self> {
        let metrics = Metrics {
            subscribers: metrics::gauge!(names::FEEDBACK_SUBSCRIBERS),
            superseded: metrics::counter!(names::FEEDBACK_SUPERSEDED),
            pruned: metrics::counter!(names::FEEDBACK_PRUNED),
        };
        let (subscribers, deliveries, counts) = (RefCell::default(), Deliveries::default(), Counts::default());
        Rc::new(Self { subscribers, deliveries, counts, metrics, _finished: finished })
    }

    /// Opens a lane and delivers the given events, as far as the subscriber wants them. The lane that the actor had
    /// before goes, but for the delivery under way: so at most one event is in its mailbox.
    pub(crate) fn add(self: &Rc<Self>, subscribe: Subscribe, events: Vec<(Selector, FeedbackEvent)>) {
        self.sweep();
        let Subscribe { id, target, only, each, delivery, replay: _ } = subscribe;
        let lane = delivery.lane();
        let subscriber = match self.take(&target) {
            Some(subscriber) => {
                let mut state = subscriber.0.borrow_mut();
                state.lane.replace(lane);
                (state.id, state.target, state.only, state.each) = (id, target, only, each);
                (state.delivered, state.failed, state.superseded, state.lost) = (0, 0, 0, 0);
                drop(state);
                subscriber
            }
            None => {
                self.metrics.subscribers.increment(1);
                let holds = VecDeque::new();
                let (delivered, failed, superseded, lost) = (0, 0, 0, 0);
                let state = State { id, target, only, each, lane, holds, delivered, failed, superseded, lost };
                Rc::new(Subscriber(RefCell::new(state)))
            }
        };
        for (selector, event) in events {
            self.offer(&subscriber, &selector, event);
        }
        self.subscribers.borrow_mut().insert(id, subscriber);
    }

    /// Takes out the subscriber that is this actor, if there is one.
    fn take(&self, target: &Target) -> Option<Rc<Subscriber>> {
        let actor = target.recipient()?;
        let mut subscribers = self.subscribers.borrow_mut();
        let id = *subscribers.iter().find(|(_, subscriber)| subscriber.0.borrow().target.is(&actor))?.0;
        subscribers.remove(&id)
    }

    /// Closes a lane. Returns false if it was closed already.
    pub(crate) fn remove(&self, id: SubscriptionId) -> bool {
        let Some(subscriber) = self.subscribers.borrow_mut().remove(&id) else { return false };
        let mut state = subscriber.0.borrow_mut();
        state.lane.close();
        state.holds.clear();
        self.metrics.subscribers.decrement(1);
        true
    }

    /// Tells every subscriber what is shown otherwise of what it selects.
    pub(crate) fn offer_all(self: &Rc<Self>, key: &CoordinatorKey, changes: &Changes) {
        let (one, all) = (Selector::One(key.clone()), Selector::every_source(key));
        for subscriber in self.subscribers.borrow().values() {
            let (wants_one, wants_all, each) = {
                let State { only, each, .. } = &*subscriber.0.borrow();
                (only.is_empty() || only.contains(&one), only.contains(&all), *each)
            };
            let (of_one, of_all) = match each {
                true => (changes.touched.as_ref().filter(|_| wants_one || wants_all), None),
                false => (changes.name.as_ref().filter(|_| wants_one), changes.id.as_ref().filter(|_| wants_all)),
            };
            // One that selects both ways hears an event once.
            let is_told = |event: &&FeedbackEvent| of_one.is_some_and(|told| told.id == event.id);
            let of_all = of_all.filter(|event| !is_told(event));
            for (selector, event) in [(&one, of_one), (&all, of_all)] {
                if let Some(event) = event {
                    self.offer(subscriber, selector, event.clone());
                }
            }
        }
    }

    fn offer(self: &Rc<Self>, subscriber: &Rc<Subscriber>, selector: &Selector, event: FeedbackEvent) {
        let mut state = subscriber.0.borrow_mut();
        match state.lane.offer(selector, event) {
            Offered::Deliver(event) => {
                // Into the mailbox now; the task only waits for the answer.
                let request = state.target.send(event);
                self.deliver(subscriber.clone(), request);
            }
            Offered::Replaced(_) => {
                state.superseded += 1;
                add(&self.counts.superseded, 1);
                self.metrics.superseded.increment(1);
            }
            Offered::Lost(_) => {
                state.lost += 1;
                add(&self.counts.lost, 1);
                self.metrics.superseded.increment(1);
            }
            Offered::Waits | Offered::Closed => {}
        }
    }

    fn deliver(self: &Rc<Self>, to: Rc<Subscriber>, request: Option<RecipientRequest<FeedbackEvent>>) {
        self.deliveries.add(to, request, || {
            let lanes = Rc::clone(self);
            // It takes turns by itself: tokio's would end in the middle, and all that is answered would be polled in vain.
            actix_rt::spawn(unconstrained(poll_fn(move |context| lanes.poll_deliveries(context))))
        });
    }

    /// Sees busy lanes through, until all are idle.
    fn poll_deliveries(self: &Rc<Self>, context: &mut Context<'_>) -> Poll<()> {
        for _ in 0..TURN {
            let Some((subscriber, answer)) = ready!(self.deliveries.poll_answer(context)) else {
                return Poll::Ready(());
            };
            if let Some(next) = self.settle(&subscriber, answer) {
                let request = subscriber.0.borrow().target.send(next);
                self.deliver(subscriber, request);
            }
        }
        context.waker().wake_by_ref();
        Poll::Pending
    }

    /// Notes how a delivery ended; returns the next event of the lane.
    fn settle(&self, subscriber: &Subscriber, answer: Answer) -> Option<FeedbackEvent> {
        let (id, is_gone) = {
            let state = subscriber.0.borrow();
            (state.id, answer.is_err() && !state.target.connected())
        };
        if is_gone {
            self.prune(id);
        }
        let mut state = subscriber.0.borrow_mut();
        match answer {
            Ok(()) => {
                state.delivered += 1;
                add(&self.counts.delivered, 1);
            }
            // A panic in a future of the handler, or an actor that is about to be gone: asked again next time.
            Err(_) => {
                state.failed += 1;
                add(&self.counts.failed, 1);
            }
        }
        let next = state.lane.done();
        while state.holds.front().is_some_and(|(mark, _)| state.lane.has_passed(*mark)) {
            state.holds.pop_front();
        }
        next
    }

    /// Closes the lanes of actors that are gone. Cheap: a look at a flag for each.
    pub(crate) fn sweep(&self) {
        let is_gone = |subscriber: &Subscriber| !subscriber.0.borrow().target.connected();
        let subscribers = self.subscribers.borrow();
        let gone: Vec<_> =
            subscribers.iter().filter(|(_, subscriber)| is_gone(subscriber)).map(|(id, _)| *id).collect();
        drop(subscribers);
        for id in gone {
            self.prune(id);
        }
    }

    fn prune(&self, id: SubscriptionId) {
        if self.remove(id) {
            add(&self.counts.pruned, 1);
            self.metrics.pruned.increment(1);
            tracing::debug!(subscription = ?id, "subscriber is gone, its subscription ends");
        }
    }

    /// Returns a receiver that ends once every lane has handled all that it was given so far, or is closed.
    pub(crate) fn barrier(&self) -> mpsc::Receiver<Infallible> {
        let (hold, barrier) = mpsc::channel(1);
        for subscriber in self.subscribers.borrow().values() {
            let mut state = subscriber.0.borrow_mut();
            if state.lane.is_busy() {
                let mark = state.lane.mark();
                state.holds.push_back((mark, hold.clone()));
            }
        }
        barrier
    }

    pub(crate) fn snapshot(&self) -> Vec<LaneSnapshot> {
        let subscribers = self.subscribers.borrow();
        let lanes = subscribers.values().map(|subscriber| {
            let state = subscriber.0.borrow();
            LaneSnapshot {
                id: state.id,
                busy: state.lane.is_busy(),
                waiting: state.lane.waiting(),
                delivered: state.delivered,
                failed: state.failed,
                superseded: state.superseded,
                lost: state.lost,
            }
        });
        lanes.collect()
    }

    pub(crate) fn totals(&self) -> Totals {
        Totals {
            delivered: self.counts.delivered.get(),
            failed: self.counts.failed.get(),
            superseded: self.counts.superseded.get(),
            lost: self.counts.lost.get(),
            pruned: self.counts.pruned.get(),
        }
    }
}

impl Drop for Lanes {
    fn drop(&mut self) {
        // The gauge is the sum over all buses of the process.
        self.metrics.subscribers.decrement(self.subscribers.get_mut().len() as f64);
    }
}

fn add(count: &Cell<u64>, more: u64) {
    count.set(count.get() + more);
}
