use std::{collections::HashMap, convert::Infallible, rc::Rc, sync::Arc, thread};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture,
    ResponseFuture, WrapFuture, fut::wrap_future,
};
use metrics::Counter;
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    task::yield_now,
};

use super::{
    barrier::Barrier,
    lanes::Lanes,
    latest_events::LatestEvents,
    messages::{BusSnapshot, EndBus, Idle, Observe, Publish, Watch},
    publisher::Collect,
    subscribe::{Replay, Selector, Subscribe, Unsubscribe},
};
use crate::{
    fault::Fault,
    feedback::event::{CoordinatorKey, FeedbackEvent},
    metrics as names,
    policy::Level,
};

/// How many events the bus passes on before it lets others on its arbiter have a turn, its own deliveries first.
const TURN: usize = 64;

/// Passes the events of coordinators to subscriber actors, each at its own speed. Its handle is
/// [`Feedback`](crate::Feedback), which also starts it.
///
/// Nothing that a subscriber on another thread does delays the others, or grows memory: the bus never waits for one
/// inside a handler. It holds the present state of each coordinator for those who come late.
pub struct FeedbackBus {
    lanes: Rc<Lanes>,
    /// Written here alone, read by the handles too.
    present: Arc<Mutex<LatestEvents>>,
    watchers: Vec<Watcher>,
    counters: HashMap<Arc<str>, [Counter; 3]>,
    /// How many barriers the mailbox has brought.
    barriers_met: u64,
    /// Outboxes that more came into, or that hold an event back behind a barrier; a `Resume` is under way for them.
    open: Vec<Collect>,
    resuming: bool,
    events: u64,
    stale: u64,
    lost_by_publishers: u64,
    fault: Fault,
    /// Tells the handles when the actor is dropped, by whatever cause.
    _alive: watch::Sender<()>,
}

struct Watcher {
    selector: Selector,
    shown: watch::Sender<FeedbackEvent>,
}

/// Goes on with the outboxes that are not empty yet: the bus sends it to itself.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct Resume;

/// What a bus and those who started it share.
pub(crate) struct Start {
    pub(crate) present: Arc<Mutex<LatestEvents>>,
    pub(crate) alive: watch::Sender<()>,
    pub(crate) finished: oneshot::Sender<Infallible>,
    pub(crate) fault: Fault,
}

impl FeedbackBus {
    pub(crate) fn new(start: Start) -> Self {
        let Start { present, alive, finished, fault } = start;
        Self {
            lanes: Lanes::new(finished),
            present,
            watchers: Vec::new(),
            counters: HashMap::new(),
            barriers_met: 0,
            open: Vec::new(),
            resuming: false,
            events: 0,
            stale: 0,
            lost_by_publishers: 0,
            fault,
            _alive: alive,
        }
    }

    fn pass_on(&mut self, events: Vec<FeedbackEvent>) {
        self.lanes.sweep();
        self.watchers.retain(|watcher| !watcher.shown.is_closed());
        for event in events {
            let key = CoordinatorKey::of(&event);
            if !self.present.lock().admit(&key, &event) {
                self.stale += 1;
                continue;
            }
            self.fault.point("an event is the present and is not told");
            self.events += 1;
            self.count(&event);
            for watcher in self.watchers.iter().filter(|watcher| watcher.selector.selects(&event)) {
                watcher.show(&self.present);
            }
            self.fault.point("watchers see an event and subscribers do not");
            self.lanes.offer_all(&key, &event);
        }
    }

    fn count(&mut self, event: &FeedbackEvent) {
        let counters = self.counters.entry(event.coordinator_id.clone()).or_insert_with(|| {
            [Level::Ok, Level::Soft, Level::Hard].map(|level| {
                let id = event.coordinator_id.to_string();
                metrics::counter!(names::FEEDBACK_EVENTS, "coordinator_id" => id, "level" => level.as_str())
            })
        });
        counters[usize::from(event.level.as_number())].increment(1);
    }

    /// Takes what is in an outbox now, in turns. The mailbox waits meanwhile.
    fn collect(&mut self, mut collect: Collect, left: usize, ctx: &mut Context<Self>) {
        self.fault.point("an outbox has woken the bus and is not looked at");
        let events = self.take(&mut collect, left.min(TURN));
        // None before a barrier that is not met.
        let left = if events.is_empty() { 0 } else { left - events.len() };
        self.fault.point("events are taken and not passed on");
        self.pass_on(events);
        self.fault.point("events are passed on and their outbox is open");
        if left == 0 {
            self.leave(collect, ctx);
            return Self::give_way(ctx);
        }
        ctx.wait(wrap_future::<_, Self>(yield_now()).map(move |(), bus, ctx| bus.collect(collect, left, ctx)));
    }

    fn take(&mut self, collect: &mut Collect, most: usize) -> Vec<FeedbackEvent> {
        self.lost_by_publishers += collect.take_lost();
        collect.take_behind(most, self.barriers_met)
    }

    /// Closes an outbox, or comes back to it after the messages that wait.
    fn leave(&mut self, collect: Collect, ctx: &mut Context<Self>) {
        let Some(collect) = collect.finish() else { return };
        self.open.push(collect);
        if !std::mem::replace(&mut self.resuming, true) {
            ctx.address().do_send(Resume);
        }
    }

    /// Passes on what was published before the message in hand, though it still waits in an outbox: a request that was
    /// made after a publish is answered after it.
    fn catch_up(&mut self, ctx: &mut Context<Self>) {
        for mut collect in std::mem::take(&mut self.open) {
            let waiting = collect.waiting();
            let events = self.take(&mut collect, waiting);
            self.pass_on(events);
            self.leave(collect, ctx);
        }
    }

    /// Lets the lanes and others on the arbiter have a turn before the next message. An actor handles its mailbox to
    /// the end before anything else does: under a flood the lanes would never move on.
    fn give_way(ctx: &mut Context<Self>) {
        ctx.wait(wrap_future(yield_now()));
    }
}

impl Watcher {
    fn show(&self, present: &Mutex<LatestEvents>) {
        let Some(event) = present.lock().shown(&self.selector) else { return };
        self.shown.send_if_modified(|shown| {
            let differs = (&shown.id, &shown.source) != (&event.id, &event.source);
            if differs {
                *shown = event;
            }
            differs
        });
    }
}

impl Actor for FeedbackBus {
    type Context = Context<Self>;
}

impl Drop for FeedbackBus {
    fn drop(&mut self) {
        // It goes with its handles and with its System too, which is no death.
        if thread::panicking() {
            tracing::error!("the feedback bus died; levels are not told any more");
        }
    }
}

impl Handler<Collect> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, collect: Collect, ctx: &mut Context<Self>) {
        let waiting = collect.waiting();
        self.collect(collect, waiting, ctx);
    }
}

impl Handler<Resume> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, _: Resume, ctx: &mut Context<Self>) {
        self.resuming = false;
        for collect in std::mem::take(&mut self.open) {
            let waiting = collect.waiting();
            self.collect(collect, waiting, ctx);
        }
    }
}

impl Handler<Publish> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, Publish { event }: Publish, ctx: &mut Context<Self>) {
        self.catch_up(ctx);
        self.pass_on(vec![event]);
        Self::give_way(ctx);
    }
}

impl Handler<Subscribe> for FeedbackBus {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, subscribe: Subscribe, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let id = subscribe.id;
        let events = match subscribe.replay {
            Replay::Pressured => self.present.lock().pressured(),
            Replay::None => Vec::new(),
            Replay::All => self.present.lock().all(),
        };
        self.lanes.add(subscribe, &events);
        MessageResult(id)
    }
}

impl Handler<Barrier> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, _: Barrier, _: &mut Context<Self>) {
        self.barriers_met += 1;
    }
}

impl Handler<Unsubscribe> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, Unsubscribe { id }: Unsubscribe, ctx: &mut Context<Self>) {
        self.catch_up(ctx);
        self.lanes.remove(id);
    }
}

impl Handler<Watch> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, Watch { selector, shown }: Watch, _: &mut Context<Self>) {
        self.watchers.retain(|watcher| !watcher.shown.is_closed());
        let watcher = Watcher { selector, shown };
        watcher.show(&self.present);
        self.watchers.push(watcher);
    }
}

impl Handler<Idle> for FeedbackBus {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: Idle, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let mut barrier = self.lanes.barrier();
        Box::pin(async move {
            barrier.recv().await;
        })
    }
}

impl Handler<EndBus> for FeedbackBus {
    type Result = ResponseActFuture<Self, ()>;

    fn handle(&mut self, end: EndBus, context: &mut Context<Self>) -> Self::Result {
        self.catch_up(context);
        let mut barrier = self.lanes.barrier();
        let idle = async move {
            let _ = tokio::time::timeout(end.within, barrier.recv()).await;
        };
        Box::pin(idle.into_actor(self).map(|(), _, context| context.stop()))
    }
}

impl Handler<Observe> for FeedbackBus {
    type Result = MessageResult<Observe>;

    fn handle(&mut self, _: Observe, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let totals = self.lanes.totals();
        let lanes = self.lanes.snapshot();
        MessageResult(BusSnapshot {
            events: self.events,
            stale: self.stale,
            lost_by_publishers: self.lost_by_publishers,
            delivered: totals.delivered,
            failed: totals.failed,
            superseded: totals.superseded,
            lost: totals.lost,
            pruned: totals.pruned,
            waiting: lanes.iter().map(|lane| lane.waiting).sum(),
            watchers: self.watchers.len(),
            lanes,
            present: self.present.lock().all(),
        })
    }
}
