use std::{
    convert::Infallible,
    fmt,
    pin::pin,
    sync::{Arc, Weak},
    thread,
    time::Duration,
};

use actix::{Actor, ArbiterHandle, AsyncContext, Context, Handler, Message, SpawnHandle, System};
use futures_util::future::{Either, select};
use metrics::{Gauge, gauge};
use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::limiter::{RateLimiter, Shared};
use crate::{
    feedback::{
        bus::{Replay, Selector, Subscribe},
        event::{CoordinatorKey, FeedbackEvent},
        handle::Feedback,
    },
    metrics as names,
    policy::{
        Budget, Scales,
        rate::{RateConfig, RateControl, Report},
    },
};

/// Keeps a [`RateLimiter`] by the levels of some coordinators: the subscriber that an embedder need not write.
///
/// It hears the bus as any subscriber does, and keeps the limiter's clock, so that the producer needs no runtime. It
/// lives as long as a handle of its limiter, on one thread of the process, `mds-rate`, that all limiters share: it
/// delays no other subscriber, and the end of a bus does not end it.
///
/// What a producer should know:
/// - The scale falls at once and rises gradually ([`RateBuilder::ramp`]). Of several coordinators the lowest scale
///   counts.
/// - [`Reason::Draining`](crate::Reason::Draining) is hard and never clears: on a bus that lives on, whoever waits then
///   waits for ever, unless the coordinator starts again. End the producer before its store, or give its wait an end.
/// - A store that starts again, in the same process or another of the same source, says so, and the scale rises. One
///   that was killed and stays away is held at the level that it said last.
/// - When the bus ends, the levels that it told of mean nothing any more. The limiter goes on at the scale of soft, or of
///   ok where soft is 0: a producer must not wait for ever for a word that cannot come, and should not flood a store
///   that can no longer complain. Its budget holds; one that follows a drain rate stays at the last. The queue's own
///   bound, and a `Closed` from a store that has ended, do the rest.
/// - Should this actor itself die, which is a fault in it, the limiter lets everything through, at once and from then on,
///   and an ERROR says so: the queue's own bound is what holds the producer then.
pub struct RateCoordinator {
    shared: Arc<Shared>,
    timer: Option<(Duration, SpawnHandle)>,
    meters: Metrics,
    /// Closes with the bus.
    alive: watch::Receiver<()>,
    /// Ends the task that waits for that.
    with_actor: Option<oneshot::Sender<Infallible>>,
    _abandon: AbandonOnDrop,
}

/// Asks to tick at what is due: a handle of the limiter sends it; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(in crate::feedback) struct Wake;

/// Tells that nobody will say anything any more: the task that watches the bus sends it; nothing is replied.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
struct BusEnded;

/// What a limiter is to be: [`RateCoordinator::follow`] makes one, [`start`](Self::start) starts it.
#[must_use = "a limiter begins with start()"]
pub struct RateBuilder {
    feedback: Feedback,
    followed: Vec<String>,
    config: RateConfig,
    name: Option<String>,
    current: bool,
}

impl RateCoordinator {
    /// Begins a limiter that follows some coordinators: `bars` means those of that name in every source,
    /// `db1:mds-ingest/bars` the one of that source. With no ids it follows every coordinator on the bus.
    ///
    /// The limiter does not keep the bus alive.
    pub fn follow(feedback: &Feedback, ids: impl IntoIterator<Item = impl Into<String>>) -> RateBuilder {
        RateBuilder {
            feedback: feedback.clone(),
            followed: ids.into_iter().map(Into::into).collect(),
            config: RateConfig::default(),
            name: None,
            current: false,
        }
    }
}

impl RateBuilder {
    /// Sets how fast it lets through at scale 1; the default is [`Budget::Gate`].
    ///
    /// # Panics
    /// When a rate is not a finite number above 0.
    pub fn budget(mut self, budget: Budget) -> Self {
        if let Budget::PerSecond(rate) = budget {
            assert!(rate.is_finite() && rate > 0.0, "a budget of {rate} records a second: expected a number above 0");
        }
        self.config.budget = budget;
        self
    }

    /// Sets the scale of each level; the default is 1.0 at ok, 0.5 at soft and 0.0 at hard. `Settings` have what the
    /// environment says: `.scales(settings.feedback.scales)`.
    ///
    /// Several producers that follow the drain rate of one store share it by their scales: two of them take
    /// `Scales::new(0.5, 0.25, 0.0)`.
    ///
    /// # Panics
    /// When a scale is not from 0 to 1.
    pub fn scales(mut self, scales: Scales) -> Self {
        self.config.scales = scales.checked().unwrap_or_else(|error| panic!("{error}"));
        self
    }

    /// Sets how long the scale takes from 0 to 1, in a straight line from a tenth of where it goes; a shorter rise takes
    /// less in proportion. The default is one second: at ok the queue is half empty by default, not empty, and all
    /// producers observe of it at once; the first words of what their return does come back well within a second, before
    /// they are at full speed. Under [`Budget::FollowDrainRate`] a rise takes at most half the time that the queue
    /// lasts, so that the store does not run out of work.
    pub fn ramp(mut self, from_0_to_1: Duration) -> Self {
        self.config.ramp = from_0_to_1;
        self
    }

    /// Sets how much unused time is credited; the default is 50 ms. So much more than the rate can go at once after a
    /// rest, and so late a producer may come without losing anything. It need not be as large as a chunk:
    /// [`acquire`](RateLimiter::acquire) lets any number through, and the next waits the longer. A chunk of 500 to 1,000
    /// records, for one `submit_many`, is usual.
    pub fn burst(mut self, unused: Duration) -> Self {
        self.config.burst = unused;
        self
    }

    /// Names the limiter in its metrics; by default the ids that it follows do, with commas.
    pub fn name(mut self, name: impl Into<String>) -> Self {
        self.name = Some(name.into());
        self
    }

    /// Keeps the limiter's clock on the current arbiter instead of a thread of its own: for tests with a paused clock.
    pub fn on_current_arbiter(mut self) -> Self {
        self.current = true;
        self
    }

    /// Starts the limiter, from any thread. What the bus knows of the coordinators counts from the first moment.
    ///
    /// # Panics
    /// When the operating system refuses a thread; [`on_current_arbiter`](Self::on_current_arbiter) outside an arbiter.
    pub fn start(self) -> RateLimiter {
        let Self { feedback, followed, config, name, current } = self;
        let by_default = || if followed.is_empty() { "all".to_owned() } else { followed.join(",") };
        let name = Arc::from(name.unwrap_or_else(by_default));
        let meters = Metrics::new(&name);
        let selectors: Vec<_> = followed.iter().map(|id| Selector::new(id)).collect();
        let (present, alive) = feedback.seen_by(&selectors);
        let mut control = RateControl::new(config);
        for event in &present {
            control.observe(Duration::ZERO, CoordinatorKey::of(event), report(event));
        }
        let clock = (!current).then(Clock::get);
        let shared = Arc::new(Shared::new(control, name, clock.clone()));
        let make = {
            let shared = Arc::clone(&shared);
            move |_: &mut Context<RateCoordinator>| RateCoordinator {
                _abandon: AbandonOnDrop(Arc::clone(&shared)),
                shared,
                timer: None,
                meters,
                alive,
                with_actor: None,
            }
        };
        let actor = match &clock {
            Some(clock) => RateCoordinator::start_in_arbiter(&clock.arbiter, make),
            None => RateCoordinator::create(make),
        };
        // Weak, so that the last handle of the limiter ends the actor; the bus then closes its lane. All that is known
        // is told once more, for it may have changed since.
        let subscribe = Subscribe::weak(actor.downgrade().recipient()).replay(Replay::All);
        feedback.subscribe(followed.iter().fold(subscribe, |subscribe, id| subscribe.only(id)));
        RateLimiter::new(shared, actor)
    }
}

impl fmt::Debug for RateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { followed, config, name, .. } = self;
        f.debug_struct("RateBuilder").field("followed", followed).field("config", config).field("name", name).finish()
    }
}

fn report(event: &FeedbackEvent) -> Report {
    Report {
        level: event.level,
        reason: event.reason,
        drain_rate: event.drain_rate,
        queue_size: event.queue_size,
        capacity: event.capacity,
    }
}

impl RateCoordinator {
    /// Does everything that is due, and sets the timer for what is due next.
    fn process_due(&mut self, context: &mut Context<Self>) {
        let (next, _) = self.shared.with(|control, now| {
            let at = control.tick(now)?;
            Some((at, at.saturating_sub(now)))
        });
        self.meters.show(&self.shared);
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

    fn handle(&mut self, event: FeedbackEvent, context: &mut Self::Context) {
        self.shared.fault.point("an event came and is not heard");
        self.shared.with(|control, now| control.observe(now, CoordinatorKey::of(&event), report(&event)));
        self.shared.fault.point("a level was heard and the clock is not set");
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

/// Lets everybody through when the actor that keeps the clock goes, however it goes, rather than never.
struct AbandonOnDrop(Arc<Shared>);

impl Drop for AbandonOnDrop {
    fn drop(&mut self) {
        if thread::panicking() {
            tracing::error!(limiter = %self.0.name, "the clock of a limiter died, it lets everything through");
        }
        self.0.with(|control, now| control.abandon(now));
    }
}

/// The thread on which the clocks of all limiters of the process are kept, for as long as there is one.
///
/// Not the bus's thread, though that has time to spare: it ends with the bus, and who waits would never be woken.
pub(in crate::feedback) struct Clock {
    arbiter: ArbiterHandle,
    /// Dropping it ends the thread.
    _end: oneshot::Sender<Infallible>,
}

impl Clock {
    fn get() -> Arc<Self> {
        static CLOCK: Mutex<Weak<Clock>> = Mutex::new(Weak::new());
        let mut running = CLOCK.lock();
        if let Some(clock) = running.upgrade() {
            return clock;
        }
        let (started, arbiter) = std::sync::mpsc::sync_channel(1);
        let (end, ended) = oneshot::channel();
        let run = move || {
            System::new().block_on(async move {
                // The caller waits for it, so somebody takes it.
                let _ = started.send(System::current().arbiter().clone());
                let _ = ended.await;
            });
        };
        thread::Builder::new().name("mds-rate".to_owned()).spawn(run).expect("a thread for the clocks of limiters");
        let arbiter = arbiter.recv().expect("the thread for the clocks of limiters names its arbiter first of all");
        let clock = Arc::new(Self { arbiter, _end: end });
        *running = Arc::downgrade(&clock);
        clock
    }
}

/// What the limiter shows of itself, whenever its actor looks: at each level change, at the end of a rise, and when
/// somebody's turn comes.
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
