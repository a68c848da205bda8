use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context};

/// Where an actor runs.
#[derive(Clone, Debug)]
pub enum ActorHost {
    /// On this arbiter, from whatever thread it is started.
    Arbiter(ArbiterHandle),
    /// On the arbiter of the thread that starts it: no foreign thread takes part, as a paused clock needs it.
    Current,
}

impl ActorHost {
    /// Starts an actor here.
    ///
    /// # Panics
    /// [`ActorHost::Current`] panics on a thread without an arbiter.
    pub fn start<A, F>(&self, make: F) -> Addr<A>
    where
        A: Actor<Context = Context<A>>,
        F: FnOnce(&mut Context<A>) -> A + Send + 'static,
    {
        match self {
            Self::Arbiter(arbiter) => A::start_in_arbiter(arbiter, make),
            Self::Current => {
                let mut context = Context::new();
                let actor = make(&mut context);
                let address = context.address();
                context.run(actor);
                address
            }
        }
    }
}

/// Where the actors of one coordinator run.
#[derive(Clone, Debug)]
pub(crate) struct ActorHosts {
    pub(crate) control: ActorHost,
    /// One for each worker.
    pub(crate) workers: Vec<ActorHost>,
}
