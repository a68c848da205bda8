//! The write path: from a producer's hand to the store.
//!
//! A [`WriteHandle`] puts records into a bounded queue; a [`BoundedQueue`] actor hands batches to [`SinkWorker`]
//! actors, one a partition; a [`WriteCoordinator`] actor starts, watches and stops them and tells producers of every
//! level change. What has to be exact is decided in [`policy::queue`](crate::policy::queue), under one lock that
//! handles, queue and workers share; the actors are the shells around it.

mod actor_host;
mod config;
mod fault;
#[cfg(all(test, target_os = "linux", feature = "sqlite"))]
mod full_tests;
mod futures_sink;
mod handle;
mod health;
#[cfg(test)]
mod last_letters_tests;
mod queue;
mod receipt;
mod refusal;
mod replay;
#[cfg(feature = "actix-web")]
mod response;
mod shared;
mod stop;
mod supervisor;
mod worker;

pub use actor_host::ActorHost;
pub use config::CoordinatorConfig;
#[cfg(feature = "testing")]
pub use fault::Victim;
pub use futures_sink::WriteSink;
pub use handle::WriteHandle;
pub use health::{CoordinatorReport, Health};
pub use queue::{BoundedQueue, ObserveQueue, Wake};
pub use receipt::{Receipt, ReceiptLost};
pub use refusal::{Refusal, SubmitError, SubmitManyError};
pub use supervisor::{Drain, Observe, WriteCoordinator};
pub use worker::{SinkWorker, Work};

pub use stop::StopReason;

pub(crate) use receipt::ReplayOutcome;
pub(crate) use stop::StopSignal;
pub(crate) use supervisor::{ActorHosts, start};
