//! What actors cost that a store starts, on an arbiter each and all on one: threads, file descriptors, memory, the time
//! to start them, and the time until the last of them has handled an event. Linux alone tells the first three.
//!
//! `cargo bench --bench actors` measures a thousand. Without `--bench`, as under `cargo test --benches`, a few show
//! that it runs.

use std::{
    fs,
    sync::mpsc::{Sender, channel},
    thread,
    time::{Duration, Instant},
};

use actix::prelude::*;
use futures::executor::block_on;
use market_data_store::{FeedbackEvent, Level, MarketDataStore, Settings, Subscribe, feedback::EventSeries};

use self::table::{Table, is_measurement};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

/// The actors that are to be started on the arbiter of this one, if any are, and itself.
struct Subscriber {
    handled: Sender<()>,
    others: Vec<Self>,
    feedback: market_data_store::Feedback,
}

impl Actor for Subscriber {
    type Context = Context<Self>;

    fn started(&mut self, context: &mut Self::Context) {
        self.others.drain(..).for_each(|other| _ = other.start());
        self.feedback.subscribe(Subscribe::new(context.address()));
    }
}

impl Handler<FeedbackEvent> for Subscriber {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        self.handled.send(()).expect("the bench counts");
    }
}

/// Threads, file descriptors, and KiB in memory of this process.
fn usage() -> [usize; 3] {
    let entries = |path: &str| fs::read_dir(path).map_or(0, Iterator::count);
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let resident = status.lines().find_map(|line| line.strip_prefix("VmRSS:")?.trim().strip_suffix(" kB"));
    let resident = resident.map_or(0, |kib| kib.parse().expect("a number"));
    [entries("/proc/self/task"), entries("/proc/self/fd"), resident]
}

fn measure(table: &mut Table, actors: usize, is_shared: bool) {
    let settings = Settings::default().dlq_path(std::env::temp_dir().join("market-data-store-bench"));
    let store = MarketDataStore::builder(settings).spawn().expect("a store without coordinators");
    let feedback = store.feedback();
    let before = usage();
    let (handled, is_handled) = channel();
    let wait = || (0..actors).for_each(|_| is_handled.recv().expect("each handles it"));
    let mut series = EventSeries::new("bars");

    let begun = Instant::now();
    // Each is told of this when it subscribes.
    feedback.publish(series.next(Level::Hard));
    let mut subscribers: Vec<_> = (0..actors)
        .map(|_| Subscriber { handled: handled.clone(), others: Vec::new(), feedback: feedback.clone() })
        .collect();
    if is_shared {
        let others = subscribers.split_off(1);
        subscribers[0].others = others;
    }
    let addresses: Vec<_> = subscribers.into_iter().map(|subscriber| store.start_actor(move |_| subscriber)).collect();
    let asked = begun.elapsed();
    wait();
    let started = begun.elapsed();
    let after = usage();

    let rounds: [Duration; 21] = std::array::from_fn(|round| {
        let begun = Instant::now();
        feedback.publish(series.next(if round.is_multiple_of(2) { Level::Ok } else { Level::Hard }));
        wait();
        begun.elapsed()
    });
    let begun = Instant::now();
    block_on(store.finish(Duration::from_secs(60)));
    let ended = begun.elapsed();
    while usage()[0] > before[0] && begun.elapsed() < Duration::from_secs(60) {
        thread::yield_now();
    }
    drop(addresses);

    let gone = begun.elapsed();
    let how = if is_shared { "all on one arbiter" } else { "an arbiter each" };
    let mut line = |what: &str, unit, samples: &[f64]| _ = table.line(format!("{what}, {how}"), unit, samples);
    for ((what, before), after) in ["threads", "file descriptors", "KiB in memory"].into_iter().zip(before).zip(after) {
        line(what, "an actor", &[after.saturating_sub(before) as f64 / actors as f64]);
    }
    let millis = |time: Duration| time.as_secs_f64() * 1e3;
    line("until all are asked for", "ms", &[millis(asked)]);
    line("until all have handled their first event", "ms", &[millis(started)]);
    line("an event, until the last has handled it", "ms", &rounds.map(millis));
    line("finish", "ms", &[millis(ended)]);
    line("until their threads are gone", "ms", &[millis(gone)]);
}

fn main() {
    let actors = if is_measurement() { 1_000 } else { 10 };
    let mut table = Table::new("actors");
    table.size("actors", actors);
    measure(&mut table, actors, true);
    measure(&mut table, actors, false);
    table.finish();
}
