//! Other ways of telling many subscribers: those that come with other actors, and what one would write by hand. For one
//! that is stuck ractor and `do_send` queue without bound, kameo passes over a full mailbox, and a broadcast channel drops
//! the oldest. None of them tells a late subscriber the present level.

use std::{convert::Infallible, thread};

use actix::prelude::{Addr, Arbiter, Recipient};
use kameo::actor::Spawn;
use kameo_actors::{
    DeliveryStrategy,
    pubsub::{PubSub, Publish},
};
use market_data_store::FeedbackEvent;
use tokio::sync::{broadcast, oneshot};

use crate::contender::{Contender, Tape, actors};

/// Starts subscribers on a thread of their own, which then runs them, and returns what they are told by.
fn on_a_thread<T: Send + 'static, F: Future<Output = T>>(start: impl FnOnce() -> F + Send + 'static) -> T {
    let (send, started) = oneshot::channel();
    thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        runtime.block_on(async {
            // The bench waits for it.
            let _ = send.send(start().await);
            std::future::pending::<()>().await;
        });
    });
    futures::executor::block_on(started).expect("it starts")
}

struct RactorSubscriber;

impl ractor::Actor for RactorSubscriber {
    type Msg = FeedbackEvent;
    type State = Tape;
    type Arguments = Tape;

    async fn pre_start(
        &self,
        _: ractor::ActorRef<Self::Msg>,
        tape: Tape,
    ) -> Result<Self::State, ractor::ActorProcessingErr> {
        Ok(tape)
    }

    async fn handle(
        &self,
        _: ractor::ActorRef<Self::Msg>,
        _: Self::Msg,
        tape: &mut Tape,
    ) -> Result<(), ractor::ActorProcessingErr> {
        tape.cross();
        Ok(())
    }
}

/// An output port: a task of its own tells all subscribers.
pub fn ractor(name: &'static str, group: usize) -> Contender {
    Contender::new(name, group, |tape| {
        let port = on_a_thread(move || async move {
            let port = ractor::OutputPort::<FeedbackEvent>::default();
            for _ in 0..group {
                let (subscriber, _) =
                    ractor::Actor::spawn(None, RactorSubscriber, tape.clone()).await.expect("a subscriber");
                port.subscribe(subscriber, Some);
            }
            port
        });
        Box::new(move |event| port.send(event))
    })
}

struct KameoSubscriber(Tape);

impl kameo::Actor for KameoSubscriber {
    type Args = Self;
    type Error = Infallible;

    async fn on_start(subscriber: Self, _: kameo::actor::ActorRef<Self>) -> Result<Self, Infallible> {
        Ok(subscriber)
    }
}

impl kameo::message::Message<FeedbackEvent> for KameoSubscriber {
    type Reply = ();

    async fn handle(&mut self, _: FeedbackEvent, _: &mut kameo::message::Context<Self, ()>) {
        self.0.cross();
    }
}

/// The actor that tells each subscriber, with mailboxes that are not full.
pub fn kameo(name: &'static str, group: usize) -> Contender {
    Contender::new(name, group, |tape| {
        let hub = on_a_thread(move || async move {
            let mut hub = PubSub::<FeedbackEvent>::new(DeliveryStrategy::BestEffort);
            for _ in 0..group {
                hub.subscribe(KameoSubscriber::spawn(KameoSubscriber(tape.clone())));
            }
            PubSub::spawn(hub)
        });
        Box::new(move |event| assert!(hub.tell(Publish(event)).try_send().is_ok(), "its mailbox is empty"))
    })
}

/// A task a subscriber, and no actors: what a publish costs at least.
pub fn tokio_broadcast(name: &'static str, group: usize) -> Contender {
    Contender::new(name, group, |tape| {
        let (tx, _) = broadcast::channel::<FeedbackEvent>(1_024);
        let arbiter = Arbiter::new();
        for _ in 0..group {
            let (mut rx, tape) = (tx.subscribe(), tape.clone());
            arbiter.spawn(async move {
                while rx.recv().await.is_ok() {
                    tape.cross();
                }
            });
        }
        Box::new(move |event| {
            let _ = tx.send(event);
        })
    })
}

/// actix alone: mailboxes without bound, and the publisher's thread does the work.
pub fn do_send(name: &'static str, group: usize) -> Contender {
    Contender::new(name, group, move |tape| {
        let recipients: Vec<Recipient<_>> = actors(group, &tape).into_iter().map(Addr::recipient).collect();
        Box::new(move |event| recipients.iter().for_each(|recipient| recipient.do_send(event.clone())))
    })
}
