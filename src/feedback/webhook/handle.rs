use std::{fmt, sync::Arc, time::Duration};

use actix::Addr;
use tokio::sync::watch;

use super::{
    endpoint_lane::{BroadcastSnapshot, EndpointLane},
    sender::{FinishBroadcasts, HttpBroadcaster, IdleBroadcasts},
};
#[cfg(feature = "testing")]
use crate::fault::Fault;
use crate::feedback::{
    bus::{Delivery, Replay, Subscribe},
    handle::Feedback,
};

/// The handle of one [`HttpBroadcaster`], usable from any thread. Clones mean the same; when the last one is dropped it
/// ends at once, and what was not delivered is not.
#[derive(Clone)]
pub struct BroadcasterHandle {
    pub(super) addr: Addr<HttpBroadcaster>,
    pub(super) lanes: Arc<[Arc<EndpointLane>]>,
    pub(super) coordinators: Arc<[String]>,
    pub(super) feedback: Feedback,
    pub(super) died: watch::Receiver<bool>,
    #[cfg(feature = "testing")]
    pub(super) fault: Fault,
}

impl BroadcasterHandle {
    /// Subscribes to the bus.
    pub(crate) fn follow(&self) {
        // Weak, so that it ends with its handles. The latest of each: a bounded lane of every event loses the oldest of
        // all, which can be the latest of a coordinator that said nothing since.
        let recipient = self.addr.downgrade().recipient();
        let mut subscribe = Subscribe::weak(recipient).replay(Replay::All).delivery(Delivery::Latest).each();
        for coordinator in self.coordinators.iter() {
            subscribe = subscribe.only(coordinator);
        }
        self.feedback.subscribe(subscribe);
    }

    /// Returns the address of the broadcaster, for actors that talk to actors: it takes
    /// [`ObserveBroadcasts`](super::ObserveBroadcasts), and a [`FeedbackEvent`](crate::FeedbackEvent) to send. It keeps
    /// the broadcaster alive.
    pub fn addr(&self) -> Addr<HttpBroadcaster> {
        self.addr.clone()
    }

    /// Returns how it stands with each URL, in their order.
    pub fn snapshot(&self) -> Vec<BroadcastSnapshot> {
        self.lanes.iter().map(|lane| lane.snapshot()).collect()
    }

    /// Waits until every URL has been told the latest of each coordinator of all that was published before this call,
    /// or something newer of it. A URL that fails is tried again and holds this meanwhile, without end if it never
    /// answers; one that is given up does not: it has answered 410, or what sends to it has died. Nor does a
    /// broadcaster that has ended.
    pub async fn idle(&self) {
        // A clone has a sender of its own: one shared by many waits would be refused while the mailbox is full.
        let _ = self.addr.clone().send(IdleBroadcasts).await;
    }

    /// Waits until the broadcaster, or what sends to one of its URLs, has died of a panic, which is a fault in it;
    /// without end if none does. Nothing else is held up by that, but what it had to deliver is not delivered, and a
    /// producer behind a URL is told no more levels: start another.
    ///
    /// This does not keep the broadcaster alive.
    pub fn died(&self) -> impl Future<Output = ()> + Send + use<> {
        let mut died = self.died.clone();
        async move {
            if died.wait_for(|died| *died).await.is_err() {
                std::future::pending().await
            }
        }
    }

    /// Returns the points inside the broadcaster and its lanes at which a test can make it panic.
    #[cfg(feature = "testing")]
    #[doc(hidden)]
    pub fn fault(&self) -> Fault {
        self.fault.clone()
    }

    /// Ends the broadcaster once every URL has what was published before this call, or `within` is up. Of a coordinator
    /// that has ended a URL is told that nothing follows; one that lives is not heard there any more, and falls
    /// [silent](crate::Reason::Silent). What waits for a
    /// URL that failed is sent once more at once; then the waits are as ever, and a URL whose next attempt would begin
    /// too late is not waited for.
    pub async fn finish(&self, within: Duration) {
        let _ = self.addr.clone().send(FinishBroadcasts { within }).await;
    }
}

impl fmt::Debug for BroadcasterHandle {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_list().entries(self.lanes.iter().map(|lane| lane.endpoint())).finish()
    }
}
