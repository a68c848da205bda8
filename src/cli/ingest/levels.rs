//! Counts the level changes of a load.

use std::sync::Arc;

use actix::{Actor, Context, Handler};
use market_data_store::{FeedbackEvent, Level};
use parking_lot::Mutex;
use serde::Serialize;

/// How often the level changed, by the level that it changed to.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Serialize)]
pub struct LevelChanges {
    pub ok: u64,
    pub soft: u64,
    pub hard: u64,
}

/// Counts level changes. It has to be subscribed for every event. What it has counted outlives it, since it ends with the
/// store.
#[derive(Debug)]
pub struct LevelCounter(pub Arc<Mutex<LevelChanges>>);

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
        let mut changes = self.0.lock();
        match event.level {
            Level::Ok => changes.ok += 1,
            Level::Soft => changes.soft += 1,
            Level::Hard => changes.hard += 1,
        }
    }
}
