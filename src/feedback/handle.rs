use std::{
    collections::HashMap,
    convert::Infallible,
    fmt, io,
    sync::{Arc, Weak},
    time::Duration,
};

use actix::{Actor, Addr, System};
use parking_lot::Mutex;
use tokio::{
    sync::{oneshot, watch},
    time::Instant,
};

use super::{
    bus::{
        Barrier, Barriers, BusSnapshot, EndBus, FeedbackBus, Idle, LatestEvents, Observe, Publisher, Selector, Start,
        Subscribe, SubscriptionId, Unsubscribe, Watch,
    },
    event::{CoordinatorKey, FeedbackEvent},
};
use crate::{fault::Fault, own_system::on_own_system};

/// How long the thread of a bus stays for deliveries under way after the bus itself has ended.
const GRACE: Duration = Duration::from_secs(5);

/// The handle of one [`FeedbackBus`], usable from any thread, with a runtime or without. Clones mean the same bus.
///
/// The bus lives as long as a handle or an address of it does. What was published before is still
/// delivered then, for at most five seconds. Everything that is asked of a bus that has ended is ignored;
/// [`Feedback::stopped`] tells.
#[derive(Clone)]
pub struct Feedback(Arc<Inner>);

struct Inner {
    addr: Addr<FeedbackBus>,
    /// The outbox of all who publish through a handle.
    publisher: Publisher,
    barriers: Barriers,
    present: Arc<Mutex<LatestEvents>>,
    alive: watch::Receiver<()>,
    #[cfg(feature = "testing")]
    fault: Fault,
}

impl Feedback {
    /// Starts a bus on a thread of its own, with or without an actix System around.
    ///
    /// The thread ends when the bus does.
    ///
    /// # Panics
    /// When the operating system refuses a thread.
    pub fn private() -> Self {
        Self::try_private().unwrap_or_else(|error| panic!("cannot start a thread for the feedback bus: {error}"))
    }

    /// Starts a bus as [`private`](Self::private) does.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub fn try_private() -> io::Result<Self> {
        let (parts, start, end) = parts();
        let addr = on_own_system("mds-feedback", move || (FeedbackBus::new(start).start(), end.wait()))?;
        Ok(parts.handle(addr))
    }

    /// Returns the bus as [`feedback_bus`] does; none outside an actix System.
    ///
    /// # Errors
    /// When the operating system refuses a thread.
    pub(crate) fn try_of_current_system() -> Option<io::Result<Self>> {
        let system = System::try_current()?;
        let mut buses = BUSES.lock();
        let buses = buses.get_or_insert_default();
        let running = |bus: &Weak<Inner>| bus.upgrade().map(Self).filter(Self::is_running);
        if let Some(feedback) = buses.get(&system.id()).and_then(running) {
            return Some(Ok(feedback));
        }
        let feedback = match Self::try_private() {
            Ok(feedback) => feedback,
            Err(error) => return Some(Err(error)),
        };
        // The System holds a handle, so that a caller that keeps none finds the same bus again.
        let held = feedback.clone();
        system.arbiter().spawn(async move { held.stopped().await });
        // Systems that have ended are never asked for again, their ids are not given twice.
        buses.retain(|_, bus| running(bus).is_some());
        buses.insert(system.id(), Arc::downgrade(&feedback.0));
        Some(Ok(feedback))
    }

    /// Makes this the bus that [`feedback_bus`] returns inside a System, and keeps nothing alive by that: for the
    /// System of a store.
    pub(crate) fn adopt_by(&self, system_id: usize) {
        let mut buses = BUSES.lock();
        let buses = buses.get_or_insert_default();
        buses.retain(|_, bus| bus.strong_count() > 0);
        buses.insert(system_id, Arc::downgrade(&self.0));
    }

    /// Starts a bus on the current arbiter, without another thread: for tests with a paused clock. A subscriber that
    /// blocks this thread blocks the bus too.
    ///
    /// # Panics
    /// Outside an actix System.
    pub fn on_current_arbiter() -> Self {
        let (parts, start, _) = parts();
        parts.handle(FeedbackBus::new(start).start())
    }

    /// Returns the address of the bus, for actors that talk to actors.
    pub fn addr(&self) -> Addr<FeedbackBus> {
        self.0.addr.clone()
    }

    /// Starts delivering events to an actor. What is published after this call reaches it.
    pub fn subscribe(&self, subscribe: Subscribe) -> SubscriptionId {
        let id = subscribe.id();
        self.0.barriers.raise(|| {
            self.0.addr.do_send(subscribe);
            self.0.addr.do_send(Barrier);
        });
        id
    }

    /// Ends a subscription. What was published before may still arrive, nothing that is published after this call.
    pub fn unsubscribe(&self, id: SubscriptionId) {
        self.0.barriers.raise(|| {
            self.0.addr.do_send(Unsubscribe { id });
            self.0.addr.do_send(Barrier);
        });
    }

    /// Returns a channel that shows the present of a coordinator, for code without actors.
    ///
    /// `bars` means the coordinators of that name in every source, and shows the event of the highest level among those
    /// that live; `db1:mds-ingest/bars` the one of that source. One that ended, or fell
    /// [silent](crate::Reason::Silent), is shown only where none lives. Before any event it shows epoch 0, seq 0, `ok`,
    /// `started`. A slow reader sees the newest event only.
    ///
    /// The channel closes with the bus. The bus that [`spawn`](crate::Builder::spawn) makes ends with its store; a
    /// shared one, such as [`feedback_bus`], goes on, and the channel shows [`Draining`](crate::Reason::Draining) from
    /// the shutdown on: hard, without end. Code that waits for ok must look for that reason, or be stopped before.
    pub fn watch(&self, coordinator_id: &str) -> watch::Receiver<FeedbackEvent> {
        let selector = Selector::new(coordinator_id);
        // What is known is shown at once, not only when the bus gets to it.
        let known = self.0.present.lock().shown(&selector);
        let (shown, receiver) = watch::channel(known.unwrap_or_else(|| selector.before_any()));
        self.0.addr.do_send(Watch { selector, shown });
        receiver
    }

    /// Hands an event to the bus. It costs the same however many subscribers there are, never waits, and needs no runtime. All
    /// handles share one outbox: while the bus is behind, at most 1,024 events of a coordinator wait there; then the oldest
    /// are lost, which the bus counts and subscribers see as a gap in `seq`.
    pub fn publish(&self, event: FeedbackEvent) {
        self.0.publisher.publish(event);
    }

    /// Returns the points inside the handlers of the bus at which a test can make it panic.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn fault(&self) -> Fault {
        self.0.fault.clone()
    }

    /// Returns a new outbox, for one who publishes much.
    #[doc(hidden)]
    pub fn publisher(&self) -> Publisher {
        Publisher::behind(self.0.addr.clone().recipient(), self.0.barriers.clone(), Arc::clone(&self.0.present))
    }

    /// Waits until every subscriber has handled all that was published before this call, as far as it was delivered
    /// to it. A stuck subscriber holds it without end; one that is gone, or unsubscribed, does not, nor does a bus that
    /// has ended.
    pub async fn idle(&self) {
        // A clone has a sender of its own: one shared by many waits would be refused while the mailbox is full.
        let _ = self.0.addr.clone().send(Idle).await;
    }

    /// Ends the bus, once every subscriber has handled what was published or the time is up.
    pub(crate) async fn end(&self, within: Duration) {
        let _ = self.0.addr.clone().send(EndBus { within }).await;
    }

    /// Returns the state of the bus after all that was published before this call; none when the bus has ended.
    pub async fn snapshot(&self) -> Option<BusSnapshot> {
        self.0.addr.clone().send(Observe).await.ok()
    }

    /// Waits until the bus has ended, by a panic or with its System.
    pub async fn stopped(&self) {
        let mut alive = self.0.alive.clone();
        // Nothing is ever sent: the channel closes when the actor is dropped.
        while alive.changed().await.is_ok() {}
    }

    /// Returns the present of all coordinators, which the bus keeps, and a channel that closes with the bus.
    pub(super) fn present(&self) -> (Arc<Mutex<LatestEvents>>, watch::Receiver<()>) {
        (Arc::clone(&self.0.present), self.0.alive.clone())
    }

    /// Returns whether a coordinator has ended, as far as the bus knows.
    #[cfg(feature = "webhooks")]
    pub(super) fn has_ended(&self, key: &CoordinatorKey) -> bool {
        self.0.present.lock().has_ended(key)
    }

    /// Lets a store publish as this coordinator, alone on this bus, until the claim is dropped. None if another store
    /// does.
    pub(crate) fn claim(&self, source: Arc<str>, coordinator_id: Arc<str>) -> Option<Claim> {
        let key = CoordinatorKey { source, coordinator_id };
        let claimed = self.0.present.lock().claim(&key);
        claimed.then(|| Claim { present: Arc::clone(&self.0.present), key })
    }

    /// Its mailbox stays open for a moment after the actor has been dropped, and is no evidence.
    pub(super) fn is_running(&self) -> bool {
        self.0.alive.has_changed().is_ok()
    }
}

impl fmt::Debug for Feedback {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Feedback").field("running", &self.is_running()).finish_non_exhaustive()
    }
}

/// The right of a store to publish as one coordinator on a bus.
pub(crate) struct Claim {
    present: Arc<Mutex<LatestEvents>>,
    key: CoordinatorKey,
}

impl Drop for Claim {
    fn drop(&mut self) {
        self.present.lock().release(&self.key);
    }
}

/// The bus of each System that has one, by the System's id.
static BUSES: Mutex<Option<HashMap<usize, Weak<Inner>>>> = Mutex::new(None);

/// Returns the bus of the current actix System; the first call starts it. Inside a store's own System, where
/// [`start_actor`](crate::MarketDataStore::start_actor) starts actors, it is the store's bus.
///
/// The bus runs on a thread of its own, and does not end with the System: it lives as long as the System or a handle,
/// so the last event of a store that publishes on it still reaches subscribers. One that died is replaced: those who
/// hold the dead one learn it from [`Feedback::stopped`].
///
/// # Panics
/// Outside an actix System: there, use `store.feedback()` or [`Feedback::private`]. When the operating system refuses a
/// thread.
pub fn feedback_bus() -> Feedback {
    match Feedback::try_of_current_system() {
        Some(Ok(feedback)) => feedback,
        Some(Err(error)) => panic!("cannot start a thread for the feedback bus: {error}"),
        None => panic!("feedback_bus() needs an actix System on this thread; elsewhere, use store.feedback()"),
    }
}

/// What a handle keeps of a bus that starts.
struct Parts {
    present: Arc<Mutex<LatestEvents>>,
    alive: watch::Receiver<()>,
    #[cfg(feature = "testing")]
    fault: Fault,
}

/// How the thread of a bus learns that it is no longer needed.
struct End {
    alive: watch::Receiver<()>,
    finished: oneshot::Receiver<Infallible>,
}

fn parts() -> (Parts, Start, End) {
    let present = Arc::new(Mutex::new(LatestEvents::default()));
    let (alive, is_alive) = watch::channel(());
    let (finished, is_finished) = oneshot::channel();
    let end = End { alive: is_alive.clone(), finished: is_finished };
    let fault = Fault::new("bus");
    let parts = Parts {
        present: present.clone(),
        alive: is_alive,
        #[cfg(feature = "testing")]
        fault: fault.clone(),
    };
    (parts, Start { present, origin: Instant::now(), alive, finished, fault }, end)
}

impl Parts {
    fn handle(self, addr: Addr<FeedbackBus>) -> Feedback {
        let barriers = Barriers::default();
        let publisher = Publisher::behind(addr.clone().recipient(), barriers.clone(), Arc::clone(&self.present));
        Feedback(Arc::new(Inner {
            addr,
            publisher,
            barriers,
            present: self.present,
            alive: self.alive,
            #[cfg(feature = "testing")]
            fault: self.fault,
        }))
    }
}

impl End {
    /// Waits for the end of the bus, and then a while for the deliveries under way.
    async fn wait(mut self) {
        while self.alive.changed().await.is_ok() {}
        let _ = tokio::time::timeout(GRACE, self.finished).await;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a System with a bus of its own makes another, or when that keeps the bus alive.
    #[actix::test]
    async fn an_adopted_bus_is_that_of_its_system_and_is_not_kept_alive() {
        let feedback = Feedback::private();
        feedback.adopt_by(System::current().id());
        assert_eq!(feedback_bus().addr(), feedback.addr());
        let mut alive = feedback.0.alive.clone();
        drop(feedback);
        tokio::time::timeout(Duration::from_secs(60), async { while alive.changed().await.is_ok() {} }).await.unwrap();
        assert!(feedback_bus().is_running(), "one that has ended is replaced");
    }
}
