//! The rate control of a producer: a subscriber that turns levels into records a second.

mod coordinator;
mod limiter;

pub use self::{
    coordinator::{RateBuilder, RateCoordinator},
    limiter::{RateLimiter, RateSnapshot},
};
