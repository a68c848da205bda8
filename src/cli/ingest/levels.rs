use actix::{Actor, Context, Handler, Message, MessageResult};
use serde::Serialize;

use crate::{feedback::FeedbackEvent, policy::Level};

/// How often the level changed, by the level that it changed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LevelChanges {
    pub ok: u64,
    pub soft: u64,
    pub hard: u64,
}

/// Counts level changes. It has to be subscribed for every event.
#[derive(Debug, Default)]
pub struct LevelCounter(LevelChanges);

/// Asks for the count: sent at the end; replies it.
#[derive(Clone, Copy, Debug, Message)]
#[rtype(result = "LevelChanges")]
pub struct Count;

impl Actor for LevelCounter {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for LevelCounter {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Self::Context) {
        // `started`, and a change of the reason alone, are events without a change of the level.
        if event.level == event.previous {
            return;
        }
        match event.level {
            Level::Ok => self.0.ok += 1,
            Level::Soft => self.0.soft += 1,
            Level::Hard => self.0.hard += 1,
        }
    }
}

impl Handler<Count> for LevelCounter {
    type Result = MessageResult<Count>;

    fn handle(&mut self, Count: Count, _: &mut Self::Context) -> Self::Result {
        MessageResult(self.0)
    }
}
