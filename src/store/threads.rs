//! The threads of a store: an actix System of its own with arbiters for the parts of each kind, and the System of the
//! embedder's actors.

use std::{io, thread, time::Duration};

use actix::{Arbiter, ArbiterHandle};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use super::embedder_actors::EmbedderActors;
use crate::{coordinator::ActorHost, own_system::on_own_system};

/// A sink may block its thread for a while, as many drivers do; then others should go on, on a small machine too.
const MIN_WORKER_THREADS: usize = 4;

/// Runs `main` on a thread with a System of its own, and tells `report` what it returns; the System runs on until
/// `main`'s
/// [`KeepAlive`] is dropped.
///
/// # Errors
/// The operating system refuses the thread, or what the thread needs.
pub(super) fn run_system<F: Future>(
    main: impl FnOnce(KeepAlive) -> F + Send + 'static,
    report: impl FnOnce(F::Output) + Send + 'static,
) -> io::Result<()> {
    on_own_system("mds-store", move || {
        let (alive, is_alive) = oneshot::channel();
        let run = async move {
            report(main(KeepAlive(alive)).await);
            // Nothing is ever sent: it ends when the store does, or at once if none was made.
            let _ = is_alive.await;
        };
        ((), run)
    })
}

/// Keeps the System of a store running. Dropping it ends the System's thread.
#[derive(Debug)]
pub(super) struct KeepAlive(#[expect(dead_code, reason = "dropping it is the message")] oneshot::Sender<()>);

/// The threads that the parts of a store run on: a few for a kind of part, shared by the parts of that kind. Each kind
/// has its own: a sink that blocks its thread must not hold up a queue. The actors of the embedder have a System of
/// their own too: what stops that System, an HTTP server of theirs say, ends them and no part of the store.
pub(super) struct Threads {
    pub(super) control: Vec<ActorHost>,
    pub(super) workers: Vec<ActorHost>,
    pub(super) embedder_actors: EmbedderActors,
    /// Of the System that the store runs in.
    home: ArbiterHandle,
    arbiters: Mutex<Vec<Arbiter>>,
    system: Mutex<Option<KeepAlive>>,
}

impl Threads {
    /// Starts threads in the current System, for so many coordinators and workers, and a System for actors of the
    /// embedder.
    ///
    /// # Errors
    /// The operating system refuses a thread. Those that were started before are ended.
    pub(super) fn start(coordinators: usize, workers: usize, system: KeepAlive) -> io::Result<Self> {
        let cores = thread::available_parallelism().map_or(2, std::num::NonZero::get);
        let mut arbiters = Arbiters(Vec::new());
        let control = arbiters.start(coordinators.min(cores))?;
        let workers = arbiters.start(workers.min(cores.max(MIN_WORKER_THREADS)))?;
        let embedder_actors = EmbedderActors::start()?;
        Ok(Self {
            control,
            workers,
            embedder_actors,
            home: Arbiter::current(),
            arbiters: Mutex::new(std::mem::take(&mut arbiters.0)),
            system: Mutex::new(Some(system)),
        })
    }

    /// Starts none: every part runs on the current arbiter, of the store's own System or the caller's.
    pub(super) fn current(system: Option<KeepAlive>) -> Self {
        let here = || vec![ActorHost::Current];
        Self {
            control: here(),
            workers: here(),
            // They may be started from another thread.
            embedder_actors: EmbedderActors::Here(Arbiter::current()),
            home: Arbiter::current(),
            arbiters: Mutex::default(),
            system: Mutex::new(system),
        }
    }

    /// Runs a future in the store's System, for so long at most, and waits for it on any runtime.
    pub(super) async fn run_within(&self, within: Duration, future: impl Future<Output = ()> + Send + 'static) {
        let (done, is_done) = oneshot::channel();
        self.home.spawn(async move {
            let _ = tokio::time::timeout(within, future).await;
            let _ = done.send(());
        });
        // An error means that the System is gone.
        let _ = is_done.await;
    }

    /// Ends the threads, and the actors on them, without waiting.
    pub(super) fn end(&self) {
        for arbiter in self.arbiters.lock().drain(..) {
            arbiter.stop();
        }
        self.embedder_actors.end();
        *self.system.lock() = None;
    }
}

/// A start that fails half way leaves no thread behind.
impl Drop for Threads {
    fn drop(&mut self) {
        self.end();
    }
}

/// Arbiters of a store that is not complete: they end with it.
struct Arbiters(Vec<Arbiter>);

impl Arbiters {
    fn start(&mut self, threads: usize) -> io::Result<Vec<ActorHost>> {
        let start = |_| {
            let arbiter = Arbiter::try_new()?;
            let host = ActorHost::Arbiter(arbiter.handle());
            self.0.push(arbiter);
            Ok(host)
        };
        (0..threads.max(1)).map(start).collect()
    }
}

impl Drop for Arbiters {
    fn drop(&mut self) {
        for arbiter in self.0.drain(..) {
            arbiter.stop();
        }
    }
}
