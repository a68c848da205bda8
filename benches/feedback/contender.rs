//! A way of telling a group of subscribers, and what it took.

use std::{
    sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
        mpsc,
    },
    time::{Duration, Instant},
};

use actix::prelude::*;
use market_data_store::{Delivery, Feedback, FeedbackEvent, Subscribe};

use super::event::event;

/// Tells when the last of a group has handled an event.
#[derive(Clone)]
pub struct Tape {
    left: Arc<AtomicUsize>,
    reached: mpsc::Sender<Instant>,
}

impl Tape {
    pub fn cross(&self) {
        if self.left.fetch_sub(1, Ordering::AcqRel) == 1 {
            let _ = self.reached.send(Instant::now());
        }
    }
}

pub struct Subscriber(Tape);

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        self.0.cross();
    }
}

/// One way of telling a group of subscribers on a thread of their own.
pub struct Contender {
    pub name: &'static str,
    group: usize,
    left: Arc<AtomicUsize>,
    reached: mpsc::Receiver<Instant>,
    publish: Publish,
    seq: u64,
    /// Microseconds that the publisher's thread spent on each event, and those to the last subscriber.
    pub cost: Vec<f64>,
    pub crossing: Vec<f64>,
}

pub type Publish = Box<dyn Fn(FeedbackEvent)>;

impl Contender {
    pub fn new(name: &'static str, group: usize, publish: impl FnOnce(Tape) -> Publish) -> Self {
        let (tx, reached) = mpsc::channel();
        let left = Arc::new(AtomicUsize::new(0));
        let publish = publish(Tape { left: left.clone(), reached: tx });
        Self { name, group, left, reached, publish, seq: 0, cost: Vec::new(), crossing: Vec::new() }
    }

    /// Publishes one event to sleeping subscribers and waits for the last of them.
    pub fn round(&mut self) {
        self.seq += 1;
        let event = event(self.seq);
        self.left.store(self.group, Ordering::Release);
        let begun = Instant::now();
        (self.publish)(event);
        let back = Instant::now();
        let last = self.reached.recv().expect("subscribers that live");
        let micros = |until: Instant| (until - begun).as_secs_f64() * 1e6;
        self.cost.push(micros(back));
        self.crossing.push(micros(last));
        // All go back to sleep, the bus's lanes included.
        std::thread::sleep(Duration::from_micros(500));
    }

    /// Begins anew with what is measured.
    pub fn forget(&mut self) {
        self.cost.clear();
        self.crossing.clear();
    }
}

/// Starts a group on one arbiter of its own.
pub fn actors(group: usize, tape: &Tape) -> Vec<Addr<Subscriber>> {
    let arbiter = Arbiter::new().handle();
    (0..group)
        .map(|_| {
            let tape = tape.clone();
            Subscriber::start_in_arbiter(&arbiter, |_| Subscriber(tape))
        })
        .collect()
}

/// Our own.
pub fn bus(name: &'static str, group: usize, delivery: Delivery) -> Contender {
    Contender::new(name, group, |tape| {
        let feedback = Feedback::private();
        for addr in actors(group, &tape) {
            feedback.subscribe(Subscribe::new(addr.recipient()).delivery(delivery));
        }
        let publisher = feedback.publisher();
        Box::new(move |event| publisher.publish(event))
    })
}
