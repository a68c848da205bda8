use actix::{Actor, Addr, ArbiterHandle, AsyncContext, Context};
use tokio::sync::oneshot;

/// Where an actor runs.
#[derive(Clone, Debug)]
pub enum Place {
    /// On this arbiter, from whatever thread it is started.
    Arbiter(ArbiterHandle),
    /// On the arbiter of the thread that starts it: no foreign thread takes part, as a paused clock needs it.
    Current,
}

impl Place {
    /// Runs a future here, and waits for its end; none if the arbiter is gone.
    pub(crate) async fn run<R: Send + 'static>(&self, future: impl Future<Output = R> + Send + 'static) -> Option<R> {
        let (done, is_done) = oneshot::channel();
        let future = async move { _ = done.send(future.await) };
        match self {
            Self::Arbiter(arbiter) => _ = arbiter.spawn(future),
            Self::Current => _ = actix::spawn(future),
        }
        // What is dropped with its arbiter does not send.
        is_done.await.ok()
    }

    /// Starts an actor here.
    ///
    /// # Panics
    /// [`Place::Current`] panics on a thread without an arbiter.
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
