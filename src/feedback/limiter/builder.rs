use std::{fmt, io, sync::Arc, time::Duration};

use actix::Actor;

use super::{clock::Clock, coordinator::RateCoordinator, limiter::RateLimiter, shared::Shared};
use crate::{
    feedback::{
        bus::{Replay, Selector, Subscribe},
        handle::Feedback,
    },
    policy::{
        Budget, Scales,
        rate::{RateConfig, RateControl},
    },
};

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
    /// `db1:mds-ingest/bars` the one of that source. With no ids it follows every coordinator on the bus. Of each
    /// selection those count that live; one that ended, or fell silent, only where none lives.
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

    /// Sets how long the scale takes from 0 to 1, in a straight line from a tenth of where it goes; a shorter rise
    /// takes less in proportion. The default is one second: at ok the queue is half empty by default, not empty, and
    /// all producers are told of it at once; the first events that their return causes come back well within a second,
    /// before they are at full speed. Under [`Budget::FollowDrainRate`] a rise takes at most half the time that the
    /// queue lasts, so that the store does not run out of work.
    pub fn ramp(mut self, from_0_to_1: Duration) -> Self {
        self.config.ramp = from_0_to_1;
        self
    }

    /// Sets how much unused time is credited; the default is 50 ms. So much more than the rate can go at once after a
    /// rest, and so late a producer may come without losing anything. It need not be as large as a chunk:
    /// [`acquire`](RateLimiter::acquire) lets any number through, and the next waits the longer. A chunk of 500 to
    /// 1,000 records, for one `submit_many`, is usual.
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
        self.try_start().unwrap_or_else(|error| panic!("cannot start a thread for the clocks of limiters: {error}"))
    }

    /// Starts the limiter as [`start`](Self::start) does.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    ///
    /// # Panics
    /// [`on_current_arbiter`](Self::on_current_arbiter) outside an arbiter.
    pub fn try_start(self) -> io::Result<RateLimiter> {
        let Self { feedback, followed, config, name, current } = self;
        let by_default = || if followed.is_empty() { "all".to_owned() } else { followed.join(",") };
        let name = Arc::from(name.unwrap_or_else(by_default));
        let selectors: Vec<_> = followed.iter().map(|id| Selector::new(id)).collect();
        let (present, alive) = feedback.present();
        let clock = (!current).then(Clock::get).transpose()?;
        let shared = Arc::new(Shared::new(RateControl::new(config), (selectors, present), name, clock.clone()));
        shared.look();
        // Here, since the metrics are looked up on the caller's thread.
        let rate = RateCoordinator::new(Arc::clone(&shared), alive);
        let actor = match &clock {
            Some(clock) => RateCoordinator::start_in_arbiter(&clock.arbiter, |_| rate),
            None => rate.start(),
        };
        // Weak, so that the last handle of the limiter ends the actor; the bus then closes its lane. All that is known
        // is told once more, for it may have changed since.
        let subscribe = Subscribe::weak(actor.downgrade().recipient()).replay(Replay::All).each();
        feedback.subscribe(followed.iter().fold(subscribe, |subscribe, id| subscribe.only(id)));
        Ok(RateLimiter::new(shared, actor.recipient()))
    }
}

impl fmt::Debug for RateBuilder {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { followed, config, name, .. } = self;
        f.debug_struct("RateBuilder").field("followed", followed).field("config", config).field("name", name).finish()
    }
}
