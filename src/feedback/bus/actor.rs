use std::{collections::HashMap, convert::Infallible, rc::Rc, sync::Arc, thread, time::Duration};

use actix::{
    Actor, ActorContext, ActorFutureExt, AsyncContext, Context, Handler, Message, MessageResult, ResponseActFuture,
    ResponseFuture, WrapFuture, fut::wrap_future,
};
use actix_rt::task::JoinHandle;
use metrics::Counter;
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    task::yield_now,
    time::{Instant, sleep_until},
};

use super::{
    barrier::Barrier,
    lanes::Lanes,
    latest_events::{Changes, LatestEvents, Warning},
    messages::{BusSnapshot, EndBus, Idle, Observe, Publish, Watch},
    publisher::Collect,
    subscribe::{Replay, Selector, Subscribe, Unsubscribe},
};
use crate::{
    fault::Fault,
    feedback::{
        counts::FeedbackCounts,
        event::{CoordinatorKey, FeedbackEvent},
    },
    metrics as names,
    policy::{Heard, Level, News},
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
    /// What was said is written here alone. Handles read it, and stores that start take their names and epochs from it.
    present: Arc<Mutex<LatestEvents>>,
    /// Where the times of the present count from. Tokio's clock, so that a paused one pauses everything.
    origin: Instant,
    watchers: Vec<Watcher>,
    counters: HashMap<Arc<str>, [Counter; 3]>,
    stale: Counter,
    conflicts: Counter,
    expired: Counter,
    /// When a look at those that may have fallen silent is due, by the clock of the present.
    timer: Option<(Duration, JoinHandle<()>)>,
    /// How many barriers the mailbox has brought.
    barriers_met: u64,
    /// Outboxes that more came into, or that hold an event back behind a barrier; a `Resume` is under way for them.
    open: Vec<Collect>,
    resuming: bool,
    events: u64,
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

/// Tells that an instance may have fallen silent: the timer of the bus sends it; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct LookForSilence;

/// What a bus and those who started it share.
pub(crate) struct Start {
    pub(crate) present: Arc<Mutex<LatestEvents>>,
    pub(crate) origin: Instant,
    pub(crate) alive: watch::Sender<()>,
    pub(crate) finished: oneshot::Sender<Infallible>,
    pub(crate) fault: Fault,
}

impl FeedbackBus {
    pub(crate) fn new(start: Start) -> Self {
        let Start { present, origin, alive, finished, fault } = start;
        Self {
            lanes: Lanes::new(finished),
            present,
            origin,
            watchers: Vec::new(),
            counters: HashMap::new(),
            stale: metrics::counter!(names::FEEDBACK_STALE),
            conflicts: metrics::counter!(names::FEEDBACK_CONFLICTS),
            expired: metrics::counter!(names::FEEDBACK_EXPIRED),
            timer: None,
            barriers_met: 0,
            open: Vec::new(),
            resuming: false,
            events: 0,
            lost_by_publishers: 0,
            fault,
            _alive: alive,
        }
    }

    /// Passes events on, each with whether its coordinator publishes it for the last time.
    fn pass_on(&mut self, events: impl IntoIterator<Item = (FeedbackEvent, bool)>, ctx: &mut Context<Self>) {
        self.lanes.sweep();
        self.watchers.retain(|watcher| !watcher.shown.is_closed());
        // Under a flood no timer fires.
        self.let_go();
        for (event, ends) in events {
            let (key, now) = (CoordinatorKey::of(&event), self.origin.elapsed());
            let (heard, changes) = self.present.lock().hear(now, &key, &event, ends);
            self.tell_of(&key, &event, heard, now);
            if heard.news == News::New {
                self.fault.point("an event is the present and is not told");
                // That nothing follows is no event of its own.
                if !ends {
                    self.events += 1;
                    self.count(&event);
                }
                self.tell(&key, &changes);
            }
        }
        self.set_timer(ctx);
    }

    /// Tells watchers and subscribers what is shown otherwise.
    fn tell(&self, key: &CoordinatorKey, changes: &Changes) {
        for watcher in self.watchers.iter().filter(|watcher| watcher.selector.selects(key)) {
            watcher.show(&self.present);
        }
        self.fault.point("watchers see an event and subscribers do not");
        self.lanes.offer_all(key, changes);
    }

    /// Counts what is not simply passed on, and warns of it.
    fn tell_of(&self, key: &CoordinatorKey, event: &FeedbackEvent, heard: Heard, now: Duration) {
        let (is_stale, is_conflict) = (heard.news == News::Stale, heard.others > 0);
        self.stale.increment(is_stale.into());
        self.conflicts.increment(is_conflict.into());
        let warning = if is_conflict { Warning::Conflict } else { Warning::Stale };
        if (is_stale || is_conflict) && self.present.lock().may_warn(now, key, warning) {
            let CoordinatorKey { source, coordinator_id } = key;
            let (source, coordinator_id, instance) = (&**source, &**coordinator_id, event.instance.as_deref());
            if is_conflict {
                tracing::warn!(
                    source,
                    coordinator_id,
                    instance,
                    "two processes publish under one name, and the higher level counts: give each its own MDS_SOURCE; after \
                     a restart with a clock that was set back this ends once the older one was silent for long enough"
                );
            } else {
                let (epoch, seq) = (event.epoch, event.seq);
                tracing::warn!(source, coordinator_id, instance, epoch, seq, "an event came late and is dropped");
            }
        }
    }

    /// Lets go of those that were silent for too long.
    fn let_go(&mut self) {
        let now = self.origin.elapsed();
        loop {
            let gone = self.present.lock().let_go(now);
            let Some((key, instances, changes)) = gone else { return };
            self.expired.increment(instances);
            if self.present.lock().may_warn(now, &key, Warning::Silence) {
                let CoordinatorKey { source, coordinator_id } = &key;
                let (source, coordinator_id) = (&**source, &**coordinator_id);
                tracing::warn!(
                    source,
                    coordinator_id,
                    "nothing was heard for three times the refresh: its level is not known"
                );
            }
            self.tell(&key, &changes);
        }
    }

    /// Sets the timer for the next that may fall silent.
    fn set_timer(&mut self, ctx: &mut Context<Self>) {
        let next = self.present.lock().next_expiry();
        // One that is early looks again.
        let is_earlier = |at: &Duration| self.timer.as_ref().is_none_or(|(timer, _)| at < timer);
        let Some(at) = next.filter(is_earlier) else { return };
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
        // A time that cannot be written never comes.
        let Some(until) = self.origin.checked_add(at) else { return };
        let bus = ctx.address().downgrade();
        // A task of its own: a timer in the context would keep the bus alive.
        let timer = actix_rt::spawn(async move {
            sleep_until(until).await;
            if let Some(bus) = bus.upgrade() {
                bus.do_send(LookForSilence);
            }
        });
        self.timer = Some((at, timer));
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
        self.pass_on(events, ctx);
        self.fault.point("events are passed on and their outbox is open");
        if left == 0 {
            self.leave(collect, ctx);
            return Self::give_way(ctx);
        }
        ctx.wait(wrap_future::<_, Self>(yield_now()).map(move |(), bus, ctx| bus.collect(collect, left, ctx)));
    }

    fn take(&mut self, collect: &mut Collect, most: usize) -> Vec<(FeedbackEvent, bool)> {
        self.lost_by_publishers += collect.take_lost();
        let taken = collect.take_behind(most, self.barriers_met);
        taken.into_iter().map(|published| (published.event, published.ends)).collect()
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
            self.pass_on(events, ctx);
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
        if let Some((_, timer)) = self.timer.take() {
            timer.abort();
        }
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

impl Handler<LookForSilence> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, _: LookForSilence, ctx: &mut Context<Self>) {
        self.timer = None;
        // What was said before is heard first.
        self.catch_up(ctx);
        self.let_go();
        self.set_timer(ctx);
    }
}

impl Handler<Publish> for FeedbackBus {
    type Result = ();

    fn handle(&mut self, Publish { event }: Publish, ctx: &mut Context<Self>) {
        self.catch_up(ctx);
        self.pass_on([(event, false)], ctx);
        Self::give_way(ctx);
    }
}

impl Handler<Subscribe> for FeedbackBus {
    type Result = MessageResult<Subscribe>;

    fn handle(&mut self, subscribe: Subscribe, ctx: &mut Context<Self>) -> Self::Result {
        self.catch_up(ctx);
        let id = subscribe.id;
        let mut events = match (subscribe.replay, subscribe.each) {
            (Replay::None, _) => Vec::new(),
            (_, false) => self.present.lock().replayed(&subscribe.only),
            (_, true) => self.present.lock().replayed_each(&subscribe.only),
        };
        events.retain(|(_, event)| subscribe.replay == Replay::All || event.level > Level::Ok);
        self.lanes.add(subscribe, events);
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
        let FeedbackCounts { stale, conflicts, expired, .. } = self.present.lock().counts();
        MessageResult(BusSnapshot {
            events: self.events,
            stale,
            conflicts,
            expired,
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
