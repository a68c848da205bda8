//! The write path: from a producer's hand to the store.
//!
//! A [`WriteHandle`] puts records into a bounded queue; a `BoundedQueue` actor hands batches to `SinkWorker`
//! actors, one a partition; a [`WriteCoordinator`] actor starts, watches and stops them and tells producers of every
//! level change. What has to be exact is decided in `policy::queue`, under one lock that
//! handles, queue and workers share; the actors are the shells around it.

mod abort;
#[cfg(test)]
mod abort_tests;
mod actor_host;
mod announcer;
mod batch_writer;
mod config;
mod dead_lettering;
mod drain;
mod fault;
#[cfg(all(test, target_os = "linux", feature = "sqlite"))]
mod full_tests;
mod futures_sink;
mod guards;
mod handle;
mod health;
mod lease;
mod messages;
mod permit;
mod queue;
mod receipt;
#[cfg(all(test, feature = "serve"))]
mod receipt_tests;
mod refusal;
mod replay;
#[cfg(feature = "actix-web")]
mod response;
mod running;
mod shared;
mod stop;
mod supervisor;
mod waiting;
mod worker;

#[cfg(feature = "testing")]
#[doc(hidden)]
pub use self::fault::FaultyActor;
pub(crate) use self::{
    actor_host::{ActorHost, ActorHosts},
    config::CoordinatorConfig,
    messages::Drain,
    receipt::ReplayOutcome,
    replay::ReplayTarget,
    running::{RunningCoordinator, start},
    stop::StopSignal,
};
pub use self::{messages::Observe, supervisor::WriteCoordinator};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    futures_sink::WriteSink,
    handle::WriteHandle,
    health::{CoordinatorReport, Health, PartitionHealth},
    permit::Permit,
    receipt::{Receipt, ReceiptLost},
    refusal::{SubmitError, SubmitManyError},
    stop::StopReason,
};
pub(crate) use crate::policy::Refusal;
pub use crate::policy::{BufferState, Cause, CircuitState};
