//! Points at which a test lets an actor panic: inside a handler, with its work half done.
//!
//! An actor passes its points with a line each, where a panic may leave something behind: a lease taken and not sent, a
//! level changed and not told. Without the feature `testing` there are none: a [`Fault`] is empty, and so is its
//! `point`.

#[cfg(feature = "testing")]
pub use armed::{Fault, Fired};

/// The points of one actor: none in this build.
#[cfg(not(feature = "testing"))]
#[derive(Clone, Debug)]
pub struct Fault;

#[cfg(not(feature = "testing"))]
impl Fault {
    pub fn new(_: &str) -> Self {
        Self
    }

    #[inline(always)]
    pub fn point(&self, _: &str) {}

    #[inline(always)]
    pub fn watch<A: actix::Actor>(&self, _: &A, _: &mut A::Context) {}
}

#[cfg(feature = "testing")]
mod armed {
    use std::{
        sync::{
            Arc,
            atomic::{AtomicUsize, Ordering},
        },
        time::Instant,
    };

    use actix::{Actor, AsyncContext, WrapFuture};
    use tokio::sync::{Notify, watch};

    /// Arms an actor of a process that a test starts, as `queue:17` does: the name is not one of the settings.
    const VARIABLE: &str = "TEST_FAULT";

    /// It is not armed.
    const AT_REST: usize = 0;
    /// It has fired, and the next pass is that of a successor.
    const FIRED: usize = usize::MAX;

    /// The points that one actor passes, and its successors. Clones mean the same.
    #[derive(Clone, Debug)]
    pub struct Fault(Arc<State>);

    #[derive(Debug)]
    struct State {
        /// How many points are to be passed, with the one that panics.
        left: AtomicUsize,
        strike: Notify,
        fired: watch::Sender<Option<Fired>>,
    }

    /// A panic that was asked for.
    #[derive(Clone, Copy, Debug)]
    #[non_exhaustive]
    pub struct Fired {
        /// Where.
        pub point: &'static str,
        /// When.
        pub at: Instant,
        /// When a successor passed its first point.
        pub replaced_at: Option<Instant>,
    }

    impl Fault {
        pub(crate) fn new(actor: &str) -> Self {
            let fault = Self(Arc::new(State {
                left: AtomicUsize::new(AT_REST),
                strike: Notify::new(),
                fired: watch::Sender::new(None),
            }));
            if let Ok(wanted) = std::env::var(VARIABLE)
                && let Some((name, pass)) = wanted.split_once(':')
                && name == actor
            {
                fault.arm(pass.parse().expect("TEST_FAULT is an actor, a colon and a number"));
            }
            fault
        }

        /// Makes the actor panic at the `pass`th point from now on, counted from 1.
        pub fn arm(&self, pass: usize) {
            self.0.left.store(pass, Ordering::Release);
        }

        /// Makes the actor panic as soon as it has handled what it was sent before, whatever it waits for; if it is
        /// being replaced, its successor.
        pub fn strike(&self) {
            self.0.strike.notify_one();
        }

        /// Makes an actor heed [`strike`](Self::strike).
        pub(crate) fn watch<A>(&self, actor: &A, context: &mut A::Context)
        where
            A: Actor,
            A::Context: AsyncContext<A>,
        {
            let fault = self.clone();
            let struck = async move {
                fault.0.strike.notified().await;
                fault.fire("a test struck it");
            };
            context.spawn(struck.into_actor(actor));
        }

        /// Waits until it has panicked.
        pub async fn fired(&self) -> Fired {
            self.until(|_| true).await
        }

        /// Waits until a successor of the actor that panicked has passed its first point.
        pub async fn replaced(&self) -> Fired {
            self.until(|fired| fired.replaced_at.is_some()).await
        }

        /// Returns the panic, if there was one.
        pub fn has_fired(&self) -> Option<Fired> {
            *self.0.fired.borrow()
        }

        async fn until(&self, reached: impl Fn(&Fired) -> bool) -> Fired {
            let mut fired = self.0.fired.subscribe();
            let fired = fired.wait_for(|fired| fired.as_ref().is_some_and(&reached)).await;
            fired.expect("the sender lives in `self`").expect("it was waited for")
        }

        pub(crate) fn point(&self, point: &'static str) {
            match self.0.left.load(Ordering::Acquire) {
                AT_REST => {}
                FIRED => {
                    self.0.left.store(AT_REST, Ordering::Release);
                    let replaced_at = Some(Instant::now());
                    self.0.fired.send_modify(|fired| *fired = fired.map(|fired| Fired { replaced_at, ..fired }));
                }
                1 => self.fire(point),
                left => self.0.left.store(left - 1, Ordering::Release),
            }
        }

        fn fire(&self, point: &'static str) {
            self.0.left.store(FIRED, Ordering::Release);
            let fired = Fired { point, at: Instant::now(), replaced_at: None };
            self.0.fired.send_replace(Some(fired));
            panic!("a test asked for a panic here: {point}");
        }
    }
}
