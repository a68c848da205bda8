//! The actors that an embedder has a store start. Each has an arbiter of its own, in a System that carries no part of
//! the store: so one that blocks its thread, or stops its arbiter, harms no other.

use std::{collections::HashMap, io, sync::Arc};

use actix::{
    Actor, Addr, Arbiter, ArbiterHandle, Context, System,
    dev::channel::{AddressReceiver, channel},
};
use parking_lot::Mutex;
use tokio::sync::oneshot;

use crate::own_system::on_own_system;

/// How many messages wait for an actor before a sender waits, as actix has it by default.
const MAILBOX: usize = 16;

/// Where the actors of the embedder run.
pub(super) enum EmbedderActors {
    /// In this System, each on an arbiter of its own.
    Apart { system: System, arbiters: Arc<OwnArbiters> },
    /// All on this arbiter, which is the caller's.
    Here(ArbiterHandle),
}

/// The arbiters of actors that have not ended; none once the store has.
pub(super) struct OwnArbiters(Mutex<Option<Open>>);

struct Open {
    by_number: HashMap<u64, ArbiterHandle>,
    /// Of the next one.
    number: u64,
    /// Dropped at the end: the System has nothing more to do.
    _system: oneshot::Sender<()>,
}

impl EmbedderActors {
    /// Starts a System for them.
    ///
    /// # Errors
    /// The operating system refuses a thread, or what the thread needs.
    pub(super) fn start() -> io::Result<Self> {
        let (alive, is_alive) = oneshot::channel();
        // Nothing is ever sent: it ends when the store does.
        let end = async { _ = is_alive.await };
        let system = on_own_system("mds-actors", move || (System::current(), end))?;
        let open = Open { by_number: HashMap::new(), number: 0, _system: alive };
        Ok(Self::Apart { system, arbiters: Arc::new(OwnArbiters(Mutex::new(Some(open)))) })
    }

    /// Returns the id of their System, where they have one of their own.
    pub(super) fn system_id(&self) -> Option<usize> {
        match self {
            Self::Apart { system, .. } => Some(system.id()),
            Self::Here(_) => None,
        }
    }

    /// Starts an actor, without waiting for its thread.
    pub(super) fn start_actor<A>(&self, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
    {
        match self {
            Self::Apart { system, arbiters } => {
                let (sender, receiver) = channel(MAILBOX);
                let arbiters = Arc::clone(arbiters);
                // An arbiter is started within its System. In one that has ended the receiver is dropped, and the actor
                // is gone for those who have the address.
                system.arbiter().spawn_fn(move || OwnArbiters::start(&arbiters, receiver, make));
                Addr::new(sender)
            }
            Self::Here(arbiter) => A::start_in_arbiter(arbiter, make),
        }
    }

    /// Ends them with their threads, without waiting.
    pub(super) fn end(&self) {
        let Self::Apart { arbiters, .. } = self else { return };
        let open = arbiters.0.lock().take();
        for arbiter in open.iter().flat_map(|open| open.by_number.values()) {
            arbiter.stop();
        }
    }
}

impl OwnArbiters {
    /// Starts an arbiter in the current System, and on it the actor of this mailbox.
    fn start<A>(self: &Arc<Self>, mailbox: AddressReceiver<A>, make: impl FnOnce(&mut Context<A>) -> A + Send + 'static)
    where
        A: Actor<Context = Context<A>>,
    {
        let arbiter = match Arbiter::try_new() {
            Ok(arbiter) => arbiter.handle(),
            Err(error) => {
                tracing::error!(actor = std::any::type_name::<A>(), %error, "no thread for an actor, it does not run");
                return;
            }
        };
        let end = EndOfArbiter { number: self.add(&arbiter), arbiters: Arc::clone(self), arbiter: arbiter.clone() };
        arbiter.spawn_fn(move || {
            let mut context = Context::with_receiver(mailbox);
            let actor = make(&mut context);
            let run = context.into_future(actor);
            actix_rt::spawn(async move {
                let _end = end;
                run.await;
            });
        });
    }

    /// Takes in the arbiter of an actor that starts; one of a store that has ended is stopped.
    fn add(&self, arbiter: &ArbiterHandle) -> Option<u64> {
        let mut open = self.0.lock();
        let Some(open) = &mut *open else {
            arbiter.stop();
            return None;
        };
        open.number += 1;
        open.by_number.insert(open.number, arbiter.clone());
        Some(open.number)
    }
}

/// Stops an arbiter when its actor ends, be it by a panic or before it began.
struct EndOfArbiter {
    arbiters: Arc<OwnArbiters>,
    number: Option<u64>,
    arbiter: ArbiterHandle,
}

impl Drop for EndOfArbiter {
    fn drop(&mut self) {
        if let (Some(open), Some(number)) = (&mut *self.arbiters.0.lock(), self.number) {
            open.by_number.remove(&number);
        }
        self.arbiter.stop();
    }
}
