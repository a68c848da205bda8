use std::{
    num::NonZeroUsize,
    sync::atomic::{AtomicU64, Ordering},
};

use actix::{Message, Recipient, WeakRecipient, dev::RecipientRequest};

use crate::{
    feedback::event::{CoordinatorKey, FeedbackEvent},
    policy::Lane,
};

/// What a subscriber gets while it is slower than the events.
///
/// Either way at most one event is in its mailbox at a time, the events of one coordinator keep their order, and the
/// memory that a subscriber can cost is bounded.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Delivery {
    /// Only what counts now: a newer event of a coordinator takes the place of the one that waits. Choose it to act on
    /// the level. What it skips is counted, and shows as a gap in `seq`.
    #[default]
    Latest,
    /// Every event, up to 1,024 that wait; then the oldest are lost, counted, and missed in `seq`. Choose it to record
    /// or to count level changes.
    Every,
    /// As `Every`, with another bound.
    EveryUpTo(NonZeroUsize),
}

impl Delivery {
    /// How many events wait for one subscriber under [`Delivery::Every`].
    pub const EVERY_BOUND: NonZeroUsize = NonZeroUsize::new(1024).unwrap();

    pub(crate) fn lane(self) -> Lane<Selector, FeedbackEvent> {
        match self {
            Self::Latest => Lane::latest(),
            Self::Every => Lane::every(Self::EVERY_BOUND),
            Self::EveryUpTo(bound) => Lane::every(bound),
        }
    }
}

/// What a new subscriber is told at once about the present.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Replay {
    /// The present event of every coordinator that is not at `ok`. It may assume that the others are.
    #[default]
    Pressured,
    /// Nothing: only what happens from now on.
    None,
    /// The present event of every coordinator that ever published.
    All,
}

/// Names one subscription: no two of a process have the same, whatever their bus.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SubscriptionId(u64);

impl SubscriptionId {
    fn next() -> Self {
        static NEXT: AtomicU64 = AtomicU64::new(1);
        Self(NEXT.fetch_add(1, Ordering::Relaxed))
    }
}

/// Asks the bus to deliver events to an actor.
///
/// An actor that wants the events sends it, through [`Feedback::subscribe`](crate::Feedback::subscribe) or to the bus's
/// address; the reply is the subscription's id.
///
/// An actor has one subscription on a bus: a second one takes the place of the first, whose id means nothing from then
/// on, and drops what waited for it. So an actor that subscribes in `started` hears each event once after a restart
/// too.
///
/// What the handler of the events should know:
/// - [`Reason::Draining`](crate::Reason::Draining) is hard and never clears. A feed that pauses at hard until the level
///   is ok again would never go on: stop it before the store is [shut down](crate::MarketDataStore::shutdown), or let
///   it end on that reason.
/// - A queue that was high returns straight to ok; it has no soft on the way down. From hard for another reason, such
///   as [`Reason::CircuitOpen`](crate::Reason::CircuitOpen), the level can fall to soft.
/// - A queue whose size wavers about its low watermark flutters between ok and soft: soft above it, ok at or below it.
///   Between soft and hard that cannot happen. What is costly is better done at hard and ok alone, or after the
///   level has stood for a while.
#[derive(Debug, Message)]
#[rtype(result = "SubscriptionId")]
pub struct Subscribe {
    pub(crate) id: SubscriptionId,
    pub(crate) target: Target,
    pub(crate) only: Vec<Selector>,
    /// It is told of each coordinator that is selected, not of the highest level among them.
    pub(crate) each: bool,
    pub(crate) delivery: Delivery,
    pub(crate) replay: Replay,
}

impl Subscribe {
    /// Makes a subscription from an actor's address or recipient. It keeps the actor alive for as long as it lasts:
    /// actix ends an actor when the last address of it is gone, and the recipient is one.
    pub fn new(recipient: impl Into<Recipient<FeedbackEvent>>) -> Self {
        Self::to(Target::Strong(recipient.into()))
    }

    /// Makes a subscription that does not keep the actor alive; it ends with the actor, and is removed with the next
    /// event or subscription.
    pub fn weak(recipient: WeakRecipient<FeedbackEvent>) -> Self {
        Self::to(Target::Weak(recipient))
    }

    fn to(target: Target) -> Self {
        let (delivery, replay) = (Delivery::default(), Replay::default());
        Self { id: SubscriptionId::next(), target, only: Vec::new(), each: false, delivery, replay }
    }

    /// Tells of each coordinator that is selected by itself, each time that anything of it changes.
    pub(crate) fn each(mut self) -> Self {
        self.each = true;
        self
    }

    /// Delivers the events of this coordinator alone; called again, of these. `db1:mds-ingest/bars` means the one of
    /// that source (split at the last slash). `bars` means the coordinators of that name in every source, and tells the
    /// highest level among them, as [`watch`](crate::Feedback::watch) shows it: of two sources at hard and ok it is
    /// hard, and ok once the first is.
    pub fn only(mut self, coordinator_id: &str) -> Self {
        let selector = Selector::new(coordinator_id);
        if !self.only.contains(&selector) {
            self.only.push(selector);
        }
        self
    }

    /// Chooses what happens while the subscriber is busy; the default is [`Delivery::Latest`].
    pub fn delivery(mut self, delivery: Delivery) -> Self {
        self.delivery = delivery;
        self
    }

    /// Chooses what is delivered at once; the default is [`Replay::Pressured`].
    pub fn replay(mut self, replay: Replay) -> Self {
        self.replay = replay;
        self
    }

    /// Returns the id that the subscription will have.
    pub fn id(&self) -> SubscriptionId {
        self.id
    }
}

/// Ends a subscription: a handle sends it, nothing is replied. A delivery under way is the last one.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "()")]
pub(crate) struct Unsubscribe {
    /// The subscription to end; one that has ended already is no error.
    pub(crate) id: SubscriptionId,
}

/// Which coordinators are meant.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub(crate) enum Selector {
    EverySource(Box<str>),
    One(CoordinatorKey),
}

impl Selector {
    pub(crate) fn new(text: &str) -> Self {
        // A coordinator's id holds no slash, a source may.
        match text.rsplit_once('/') {
            Some((source, coordinator_id)) => {
                Self::One(CoordinatorKey { source: source.into(), coordinator_id: coordinator_id.into() })
            }
            None => Self::EverySource(text.into()),
        }
    }

    /// Returns the selector of the coordinators of this one's name in every source.
    pub(crate) fn every_source(key: &CoordinatorKey) -> Self {
        Self::EverySource((&*key.coordinator_id).into())
    }

    pub(crate) fn selects(&self, key: &CoordinatorKey) -> bool {
        match self {
            Self::EverySource(coordinator_id) => *key.coordinator_id == **coordinator_id,
            Self::One(one) => one == key,
        }
    }

    /// The state that is assumed of the selected before any event of theirs.
    pub(crate) fn before_any(&self) -> FeedbackEvent {
        match self {
            Self::EverySource(coordinator_id) => FeedbackEvent::before_any("", coordinator_id),
            Self::One(key) => FeedbackEvent::before_any(&key.source, &key.coordinator_id),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Target {
    Strong(Recipient<FeedbackEvent>),
    Weak(WeakRecipient<FeedbackEvent>),
}

impl Target {
    /// Puts the event into the actor's mailbox, whatever its capacity, and returns the delivery under way; none when
    /// the actor is gone.
    pub(crate) fn send(&self, event: FeedbackEvent) -> Option<RecipientRequest<FeedbackEvent>> {
        // A fresh sender each time: one that found the mailbox full once is refused by actix from then on until a
        // message is taken, and such a refused request is never woken again.
        Some(self.recipient()?.send(event))
    }

    /// Returns the actor; none when it is gone, and weak.
    pub(crate) fn recipient(&self) -> Option<Recipient<FeedbackEvent>> {
        match self {
            Self::Strong(recipient) => Some(recipient.clone()),
            Self::Weak(recipient) => recipient.upgrade(),
        }
    }

    /// Returns whether this is that actor. Recipients of one actor are equal, whatever they were made from.
    pub(crate) fn is(&self, actor: &Recipient<FeedbackEvent>) -> bool {
        match self {
            Self::Strong(recipient) => recipient == actor,
            Self::Weak(recipient) => recipient.upgrade().is_some_and(|recipient| recipient == *actor),
        }
    }

    pub(crate) fn connected(&self) -> bool {
        match self {
            Self::Strong(recipient) => recipient.connected(),
            Self::Weak(recipient) => recipient.upgrade().is_some_and(|recipient| recipient.connected()),
        }
    }
}
