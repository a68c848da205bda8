use std::{convert::Infallible, pin::pin, sync::Arc, thread, time::Duration};

use actix::{Actor, AsyncContext, Context, Handler, Message, SpawnHandle};
use futures_util::future::{Either, select};
use metrics::{Gauge, gauge};
use tokio::sync::{oneshot, watch};

use super::{messages::Wake, shared::Shared};
use crate::{feedback::event::FeedbackEvent, metrics as names};

/// Keeps a [`RateLimiter`](super::RateLimiter) by the levels of some coordinators: the subscriber that an embedder need
/// not write.
///
/// It subscribes to the bus as any actor does, and keeps the limiter's clock, so that the producer needs no runtime. It
/// lives as long as a handle of its limiter, on one thread of the process, `mds-rate`, that all limiters share: it
/// delays no other subscriber, and the end of a bus does not end it.
///
/// What a producer should know:
/// - The scale falls at once and rises gradually ([`RateBuilder::ramp`](super::RateBuilder::ramp)). Of several
///   coordinators the lowest scale counts.
/// - [`Reason::Draining`](crate::Reason::Draining) is hard and never clears: on a bus that lives on, a producer that
///   waits then waits without end, unless the coordinator starts again. End the producer before its store, or give its
///   wait an end.
/// - A store that starts again, in the same process or another of the same source, says so, and the scale rises. One of
///   another process that was killed is at soft, [`Reason::Silent`](crate::Reason::Silent), once it was silent for
///   three times its refresh; beside others that live it counts no more.
/// - When the bus ends, the levels that it told of mean nothing any more. The limiter goes on at the scale of soft, or
///   of ok where soft is 0: a producer must not wait for a level that cannot come, and should not flood a store whose
///   levels it is no longer told. Its budget holds; one that follows a drain rate stays at the last. The queue's own
///   bound, and a `Closed` from a store that has ended, do the rest.
/// - Should this actor itself die, which is a fault in it, the limiter lets everything through, at once and from then
///   on, and an ERROR says so: the queue's own bound is what holds the producer then.
pub struct RateCoordinator {
    shared: Arc<Shared>,
    timer: Option<(Duration, SpawnHandle)>,
    metrics: Metrics,
    /// Closes with the bus.
    alive: watch::Receiver<()>,
    /// Ends the task that waits for that.
    with_actor: Option<oneshot::Sender<Infallible>>,
    _abandon: AbandonOnDrop,
}

/// Tells that no more levels will come: the task that watches the bus sends it; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct BusEnded;

impl RateCoordinator {
    /// `alive` closes with the bus.
    pub(super) fn new(shared: Arc<Shared>, alive: watch::Receiver<()>) -> Self {
        let metrics = Metrics::new(&shared.name);
        let abandon = AbandonOnDrop(Arc::clone(&shared));
        Self { shared, timer: None, metrics, alive, with_actor: None, _abandon: abandon }
    }

    /// Does everything that is due, and sets the timer for what is due next.
    fn process_due(&mut self, context: &mut Context<Self>) {
        let (next, _) = self.shared.with(|control, now| {
            let at = control.tick(now)?;
            Some((at, at.saturating_sub(now)))
        });
        self.metrics.show(&self.shared);
        // A timer that is early looks again, and one that is no longer needed fires once for nothing.
        let Some((at, wait)) = next.filter(|(at, _)| self.timer.is_none_or(|(timer, _)| *at < timer)) else { return };
        if let Some((_, timer)) = self.timer.take() {
            context.cancel_future(timer);
        }
        let timer = context.run_later(wait, |rate, context| {
            rate.timer = None;
            rate.process_due(context);
        });
        self.timer = Some((at, timer));
    }
}

impl Actor for RateCoordinator {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        let (with_actor, actor_is_gone) = oneshot::channel::<Infallible>();
        self.with_actor = Some(with_actor);
        let (mut alive, limiter) = (self.alive.clone(), context.address().downgrade());
        // A task of its own: a future in the context would keep the actor alive.
        actix_rt::spawn(async move {
            // Nothing is ever sent: the channel closes when the bus is dropped.
            let ended = async { while alive.changed().await.is_ok() {} };
            if let Either::Left(_) = select(pin!(ended), actor_is_gone).await
                && let Some(limiter) = limiter.upgrade()
            {
                limiter.do_send(BusEnded);
            }
        });
        self.process_due(context);
    }
}

impl Handler<FeedbackEvent> for RateCoordinator {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, context: &mut Self::Context) {
        self.shared.fault.point("an event came and is not taken in");
        self.shared.look();
        self.shared.fault.point("a level is taken in and the clock is not set");
        self.process_due(context);
    }
}

impl Handler<Wake> for RateCoordinator {
    type Result = ();

    fn handle(&mut self, Wake: Wake, context: &mut Self::Context) {
        self.process_due(context);
    }
}

impl Handler<BusEnded> for RateCoordinator {
    type Result = ();

    fn handle(&mut self, BusEnded: BusEnded, context: &mut Self::Context) {
        tracing::info!(limiter = %self.shared.name, "the feedback bus has ended, the limiter goes on without it");
        self.shared.with(|control, now| control.bus_closed(now));
        self.process_due(context);
    }
}

/// Lets all through when the actor that keeps the clock goes, however it goes, rather than none.
struct AbandonOnDrop(Arc<Shared>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(limiter = %self.0.name, "the clock of a limiter died, it lets everything through");
        }
        self.0.with(|control, now| control.abandon(now));
    }
}

/// What the limiter shows of itself, whenever its actor looks: at each level change, at the end of a rise, and when
/// the turn of one who waits comes.
struct Metrics {
    scale: Gauge,
    level: Gauge,
}

impl Metrics {
    fn new(limiter: &Arc<str>) -> Self {
        let gauge = |name: &'static str| gauge!(name, "limiter" => Arc::clone(limiter));
        Self { scale: gauge(names::RATE_SCALE), level: gauge(names::RATE_LEVEL) }
    }

    fn show(&self, shared: &Shared) {
        let state = shared.state();
        self.scale.set(state.scale);
        self.level.set(f64::from(state.level.as_number()));
    }
}
