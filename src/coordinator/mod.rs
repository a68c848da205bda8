//! The write path: from a producer's hand to the store.
//!
//! A [`WriteHandle`] puts records into a bounded queue; a [`BoundedQueue`] actor hands batches to [`SinkWorker`]
//! actors, one a partition; a [`WriteCoordinator`] actor starts, watches and stops them and tells producers of every
//! level change. What has to be exact is decided in [`policy::buffer`](crate::policy::buffer), under one lock that
//! handles, queue and workers share; the actors are the shells around it.

mod config;
#[expect(clippy::module_inception, reason = "the actor that the module is named after")]
mod coordinator;
mod fault;
#[cfg(all(test, target_os = "linux", feature = "sqlite"))]
mod full_tests;
mod handle;
mod health;
#[cfg(test)]
mod last_letters_tests;
mod place;
mod queue;
mod receipt;
mod refusal;
mod replay_target;
#[cfg(feature = "actix-web")]
mod response;
mod shared;
mod stop;
mod worker;
mod write_sink;

pub use config::CoordinatorConfig;
pub use coordinator::{Drain, Observe, WriteCoordinator};
#[cfg(feature = "testing")]
pub use fault::Victim;
pub use handle::WriteHandle;
pub use health::{CoordinatorReport, Health};
pub use place::Place;
pub use queue::{BoundedQueue, ObserveQueue, Ring};
pub use receipt::{Receipt, ReceiptLost};
pub use refusal::{Refusal, SubmitError, SubmitManyError};
pub use worker::{SinkWorker, Work};
pub use write_sink::WriteSink;

pub use stop::StopReason;

pub(crate) use coordinator::{Places, start};
pub(crate) use stop::StopSignal;
