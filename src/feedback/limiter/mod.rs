//! The rate control of a producer: a subscriber that turns levels into records a second.

mod builder;
mod clock;
mod coordinator;
#[expect(clippy::module_inception, reason = "the folder is named as its main type is")]
mod limiter;
mod messages;
mod shared;

pub use self::{
    builder::RateBuilder,
    coordinator::RateCoordinator,
    limiter::{RateLimiter, RateSnapshot},
};
