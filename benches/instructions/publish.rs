//! A level change on its way to all subscribers.

use std::{cell::Cell, rc::Rc};

use actix::prelude::*;
use market_data_store::{Feedback, FeedbackEvent, Subscribe};
use tokio::sync::Notify;

use crate::{event::event, mark, on_this_thread};

/// Published between the marks.
const EVENTS: u64 = 20;
/// Published before, so that the first of everything is over.
const EARLIER: u64 = 4;

/// Tells when the last subscriber has handled an event.
#[derive(Default)]
struct Tape {
    left: Cell<usize>,
    crossed: Notify,
}

struct Subscriber(Rc<Tape>);

impl Actor for Subscriber {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        self.0.left.set(self.0.left.get() - 1);
        if self.0.left.get() == 0 {
            self.0.crossed.notify_one();
        }
    }
}

/// Published, and handled by so many actors.
pub fn to(subscribers: usize) -> usize {
    on_this_thread(async {
        let feedback = Feedback::on_current_arbiter();
        let tape = Rc::new(Tape::default());
        for _ in 0..subscribers {
            feedback.subscribe(Subscribe::new(Subscriber(Rc::clone(&tape)).start().recipient()));
        }
        feedback.idle().await;
        let cross = async |event| {
            tape.left.set(subscribers);
            feedback.publish(event);
            tape.crossed.notified().await;
        };
        let mut events: Vec<_> = (1..=EARLIER + EVENTS).map(event).collect();
        let counted = events.split_off(EARLIER as usize);
        for event in events {
            cross(event).await;
        }
        mark();
        for event in counted {
            cross(event).await;
        }
        mark();
    });
    EVENTS as usize
}
