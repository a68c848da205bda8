use std::{
    fmt,
    future::poll_fn,
    sync::Arc,
    task::{Poll, Waker},
    time::Duration,
};

use actix::Recipient;

use super::{messages::Wake, shared::Shared};
#[cfg(feature = "testing")]
use crate::fault::Fault;
use crate::{
    feedback::event::CoordinatorKey,
    policy::{Level, Ticket, rate::RateControl},
};

/// The rate control of a producer: it asks before it produces, and is slowed down by the levels of the coordinators
/// that the limiter follows. [`RateCoordinator::follow`](super::RateCoordinator::follow) makes one.
///
/// Cheap to clone; clones share one budget and one line. Its futures run on any executor, for a thread of the crate's
/// own keeps the clock. Waiting is fair, first come first served, and cancel-safe: a future that is dropped has taken
/// nothing.
///
/// ```
/// use market_data_store::{Budget, Feedback, RateCoordinator};
///
/// # futures::executor::block_on(async {
/// let feedback = Feedback::private(); // in a service: store.feedback()
/// let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(10_000.0)).start();
/// limiter.acquire(500).await; // and then a `submit_many` of 500
/// assert_eq!((limiter.scale(), limiter.snapshot().acquired), (1.0, 500));
/// # });
/// ```
///
/// In a `select!` a producer that has to answer pings stays alive while it is held back. Make the future outside the
/// loop: one that is dropped at each ping loses its place in line each time.
///
/// ```
/// # use std::time::Duration;
/// # use market_data_store::RateLimiter;
/// # async fn submit_chunk() {}
/// # async fn ping() {}
/// # async fn feed(limiter: &RateLimiter) {
/// let mut pings = tokio::time::interval(Duration::from_secs(20));
/// loop {
///     let mut turn = std::pin::pin!(limiter.acquire(500));
///     loop {
///         tokio::select! {
///             () = &mut turn => break,
///             _ = pings.tick() => ping().await,
///         }
///     }
///     submit_chunk().await;
/// }
/// # }
/// ```
#[derive(Clone)]
pub struct RateLimiter {
    shared: Arc<Shared>,
    /// Ends the actor when the last clone is dropped.
    clock: Recipient<Wake>,
}

/// How a limiter stands at one moment.
#[derive(Clone, Debug, PartialEq)]
#[non_exhaustive]
pub struct RateSnapshot {
    /// The limiter's name, as in its metrics.
    pub name: Arc<str>,
    /// The highest level among the coordinators that it follows.
    pub level: Level,
    /// By what the budget is multiplied, 0 to 1.
    pub scale: f64,
    /// Records a second that it lets through; none where there is no limit.
    pub rate: Option<f64>,
    /// The lowest drain rate of the coordinators that it follows, in records a second; none while none is known.
    pub drain_rate: Option<f64>,
    /// Futures that wait, of [`acquire`](RateLimiter::acquire) and [`open`](RateLimiter::open).
    pub waiting: usize,
    /// Records that were acquired since the start.
    pub acquired: u64,
    /// The bus has ended, so no more levels come.
    pub bus_ended: bool,
}

impl RateLimiter {
    pub(super) fn new(shared: Arc<Shared>, clock: Recipient<Wake>) -> Self {
        Self { shared, clock }
    }

    fn with<R>(&self, act: impl FnOnce(&mut RateControl<CoordinatorKey, Waker>, Duration) -> R) -> R {
        let (result, wake) = self.shared.with(act);
        if wake {
            self.clock.do_send(Wake);
        }
        result
    }

    /// Returns the points inside the handlers of its actor at which a test can make it panic.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn fault(&self) -> Fault {
        self.shared.fault.clone()
    }

    /// Waits until `n` records may be produced, and takes them. At scale 0 it waits for as long as that lasts.
    ///
    /// First come first served: what was asked for before is let through before, however many records that is. Of more
    /// than a full bucket ([`RateBuilder::burst`](super::RateBuilder::burst)) the bucket owes the rest, so that any
    /// number is let through in the end and the next waits the longer. None are let through at once.
    ///
    /// Cancel-safe: dropping the future takes nothing, and what it was granted meanwhile goes to the next in line.
    pub async fn acquire(&self, n: u32) {
        let mut line = LineGuard { limiter: self, ticket: None };
        poll_fn(|context| {
            let waker = context.waker();
            // Taken, or in line, within one poll: in between there is nothing that could be lost.
            let granted = self.with(|control, now| match line.ticket {
                None if control.take(now, n) => true,
                None => {
                    line.ticket = Some(control.wait(now, n, waker.clone()));
                    false
                }
                Some(ticket) => control.claim(now, ticket, waker.clone()),
            });
            if !granted {
                return Poll::Pending;
            }
            line.ticket = None;
            Poll::Ready(())
        })
        .await;
    }

    /// Takes `n` records if they may be produced now. While others wait they may not.
    pub fn try_acquire(&self, n: u32) -> bool {
        self.with(|control, now| control.take(now, n))
    }

    /// Waits until the scale is above 0, and takes nothing: for what is not counted in records, such as to connect, or
    /// to ask for the next page.
    pub async fn open(&self) {
        let mut gate = GateGuard { limiter: self, ticket: None };
        poll_fn(|context| {
            self.with(|control, _| {
                if control.is_open() {
                    return Poll::Ready(());
                }
                gate.ticket = Some(control.wait_open(gate.ticket, context.waker().clone()));
                Poll::Pending
            })
        })
        .await;
    }

    /// Returns by what the budget is multiplied now, 0 to 1. On the way up it is between the scales of two levels.
    pub fn scale(&self) -> f64 {
        self.with(|control, now| control.scale(now))
    }

    /// Returns how the limiter stands: its `name`, the highest `level` of the coordinators that it follows, the `scale` by which
    /// its budget is multiplied, the `rate` and the lowest `drain_rate` in records a second (none where there is none), how
    /// many are `waiting` and `acquired`, and whether the bus has ended (`bus_ended`). What was published before [`Feedback::idle`](crate::Feedback::idle) returned is
    /// in it.
    pub fn snapshot(&self) -> RateSnapshot {
        let state = self.with(|control, now| control.state(now));
        RateSnapshot {
            name: Arc::clone(&self.shared.name),
            level: state.level,
            scale: state.scale,
            rate: Some(state.rate).filter(|rate| rate.is_finite()),
            drain_rate: state.drain_rate,
            waiting: state.waiting,
            acquired: state.granted,
            bus_ended: state.bus_closed,
        }
    }
}

impl fmt::Debug for RateLimiter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RateLimiter").field("name", &self.shared.name).finish_non_exhaustive()
    }
}

/// Leaves the line when the future that waits in it is dropped.
struct LineGuard<'a> {
    limiter: &'a RateLimiter,
    ticket: Option<Ticket>,
}

impl Drop for LineGuard<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.limiter.with(|control, now| control.cancel(now, ticket));
        }
    }
}

/// Forgets the waker of a future that is dropped before the limiter opens.
struct GateGuard<'a> {
    limiter: &'a RateLimiter,
    ticket: Option<Ticket>,
}

impl Drop for GateGuard<'_> {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.limiter.with(|control, _| control.cancel_open(ticket));
        }
    }
}
