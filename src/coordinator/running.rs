//! How a coordinator is started, and what its store knows of it whatever the type of its records.

use std::{
    any::Any,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use tokio::sync::oneshot;

use super::{
    abort::drain_orphan,
    actor_host::ActorHosts,
    config::CoordinatorConfig,
    handle::WriteHandle,
    health::{CoordinatorReport, Health},
    messages::Drain,
    replay::ReplayTarget,
    shared::Shared,
    stop::StopSignal,
    supervisor::WriteCoordinator,
};
#[cfg(feature = "serve")]
use crate::policy::Level;
use crate::{dead_letter::DeadLetters, feedback::Publisher, own_system::on_own_system, record::Record, sink::BoxSink};

type BoxFuture<'a, R> = Pin<Box<dyn Future<Output = R> + Send + 'a>>;

/// A coordinator that was started, of any type of record.
pub(crate) trait RunningCoordinator: Send + Sync {
    /// Returns its [`WriteHandle`].
    fn handle(&self) -> &dyn Any;

    /// Returns it as one that takes dead letters.
    fn replay_target(&self) -> Arc<dyn ReplayTarget>;

    /// Returns the present level, without waiting.
    #[cfg(feature = "serve")]
    fn level(&self) -> Level;

    /// Returns how it is. The first answer comes once it has published `started`.
    fn health(&self) -> BoxFuture<'_, Health>;

    /// Settles what was accepted, and ends it. One that died is settled for.
    fn drain(&self, drain: Drain) -> BoxFuture<'_, CoordinatorReport>;

    /// Closes its queue at once, and returns how many accepted records are not settled.
    fn close(&self) -> usize;
}

/// The one implementation: a handle, and what it takes to settle for an actor that died.
struct Running<T: Record> {
    handle: WriteHandle<T>,
    dead_letters: DeadLetters,
}

/// Starts a coordinator with its queue and workers.
pub(crate) fn start<T: Record>(
    config: CoordinatorConfig,
    sink: BoxSink<T>,
    dead_letters: DeadLetters,
    hosts: ActorHosts,
    publisher: Option<Publisher>,
    signal: StopSignal,
) -> Arc<dyn RunningCoordinator> {
    let handle = start_actors(config, sink, dead_letters.clone(), hosts, publisher, signal);
    Arc::new(Running { handle, dead_letters })
}

pub(super) fn start_actors<T: Record>(
    config: CoordinatorConfig,
    sink: BoxSink<T>,
    dead_letters: DeadLetters,
    hosts: ActorHosts,
    publisher: Option<Publisher>,
    signal: StopSignal,
) -> WriteHandle<T> {
    let shared = Arc::new(Shared::new(config));
    let address = hosts.control.clone().start({
        let shared = Arc::clone(&shared);
        move |_| WriteCoordinator::new(shared, sink, dead_letters, hosts, publisher, signal)
    });
    WriteHandle::new(shared, address)
}

impl<T: Record> RunningCoordinator for Running<T> {
    fn handle(&self) -> &dyn Any {
        &self.handle
    }

    fn replay_target(&self) -> Arc<dyn ReplayTarget> {
        Arc::new(self.handle.clone())
    }

    #[cfg(feature = "serve")]
    fn level(&self) -> Level {
        self.handle.level()
    }

    fn health(&self) -> BoxFuture<'_, Health> {
        Box::pin(self.handle.health())
    }

    fn drain(&self, drain: Drain) -> BoxFuture<'_, CoordinatorReport> {
        let (began, answer) = (Instant::now(), self.handle.addr().send(drain));
        Box::pin(async move {
            match answer.await {
                Ok(report) => report,
                // It died, perhaps in the middle of this.
                Err(_) => self.settle_for(drain, began.elapsed()).await,
            }
        })
    }

    fn close(&self) -> usize {
        let shared = self.handle.shared();
        shared.close();
        let snapshot = shared.snapshot();
        snapshot.queued + snapshot.in_flight
    }
}

impl<T: Record> Running<T> {
    /// Settles what an actor that died left behind, in what is left of the time.
    async fn settle_for(&self, drain: Drain, elapsed: Duration) -> CoordinatorReport {
        let late = elapsed.saturating_sub(drain.deadline);
        let drain = Drain {
            deadline: drain.deadline.saturating_sub(elapsed),
            dead_letters: drain.dead_letters.saturating_sub(late),
            ..drain
        };
        let (shared, dead_letters) = (Arc::clone(self.handle.shared()), self.dead_letters.clone());
        let (done, is_done) = oneshot::channel();
        // On a thread of its own: the coordinator's arbiter may be gone, and its System.
        let started = on_own_system("mds-drain", move || {
            let settle = async move {
                drain_orphan(&shared, &dead_letters, drain).await;
                shared.tell_dead_letters(true);
                let _ = done.send(());
            };
            ((), settle)
        });
        match started {
            Ok(()) => _ = is_done.await,
            Err(error) => tracing::error!(
                coordinator_id = self.handle.id(),
                %error,
                "no thread to make dead letters of what a dead coordinator left"
            ),
        }
        self.handle.report()
    }
}
