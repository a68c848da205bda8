//! What a failed write means: whether to try again, when, and whether the store is there.

mod breaker;
mod retry;

pub use self::{
    breaker::{BreakerConfig, CircuitBreaker, CircuitState},
    retry::RetryPolicy,
};
