//! What a level change costs: its publisher, until the last of 1,000 subscribers has handled it, beside the publish and
//! subscribe of other actors, beside a subscriber that is stuck, and as a webhook beside a URL that never answers; and
//! what such URLs cost the write path.
//!
//! `cargo bench --all-features --bench feedback` measures. Without `--bench`, as under `cargo test --benches`, a few rounds
//! show that it runs. `MDS_BENCH_ROUNDS` sets the rounds (default 500).

mod contender;
mod event;
mod peers;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../table/mod.rs"]
mod table;
#[cfg(feature = "webhooks")]
mod webhooks;

use actix::prelude::*;
use market_data_store::{Delivery, Feedback, FeedbackEvent, Subscribe};

use self::{
    contender::{Contender, actors, bus},
    table::{Figures, Goal, Table, by_turns, is_measurement, number},
};

const SUBSCRIBERS: usize = 1_000;

/// Keeps its thread without end.
struct Stuck;

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Stuck {
    type Result = ();

    fn handle(&mut self, _: FeedbackEvent, _: &mut Context<Self>) {
        loop {
            std::thread::park();
        }
    }
}

fn beside_a_stuck_subscriber() -> Contender {
    Contender::new("beside a stuck subscriber", 1, |tape| {
        let feedback = Feedback::private();
        let stuck = Stuck::start_in_arbiter(&Arbiter::new().handle(), |_| Stuck);
        feedback.subscribe(Subscribe::new(stuck.recipient()).delivery(Delivery::Every));
        for addr in actors(1, &tape) {
            feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        }
        let publisher = feedback.publisher();
        Box::new(move |event| publisher.publish(event))
    })
}

/// Adds two contenders that run in turns, each so many events at once: the median of each run is a sample.
fn side_by_side(table: &mut Table, what: &str, [mut ours, mut peer]: [Contender; 2], runs: usize, run: usize) {
    let crossing = |contender: &mut Contender| {
        contender.forget();
        (0..run).for_each(|_| contender.round());
        Figures::of(&contender.crossing).median
    };
    let [samples, peers] = by_turns(runs, [&mut || crossing(&mut ours), &mut || crossing(&mut peer)]);
    table.line(format!("{what}, {}", ours.name), "us", &samples).beside(peer.name, &peers);
}

fn main() {
    let (rounds, runs, run) = if is_measurement() { (number("MDS_BENCH_ROUNDS", 500), 10, 200) } else { (3, 2, 3) };
    let mut table = Table::new("feedback");
    table.size("subscribers", SUBSCRIBERS).size("rounds", rounds);
    let system = System::new();

    // Peers deliver each event, as `Every` does.
    let mut ours = system
        .block_on(async { [bus("Latest", SUBSCRIBERS, Delivery::Latest), bus("Every", SUBSCRIBERS, Delivery::Every)] });
    let mut peers = system.block_on(async {
        [
            peers::ractor("ractor OutputPort", SUBSCRIBERS),
            peers::kameo("kameo PubSub", SUBSCRIBERS),
            peers::tokio_broadcast("tokio broadcast (lower bound)", SUBSCRIBERS),
            peers::do_send("do_send in a loop", SUBSCRIBERS),
        ]
    });
    // What it costs to wake a sleeping thread.
    let mut one = system.block_on(async { [bus("Latest", 1, Delivery::Latest), peers::do_send("do_send", 1)] });
    let mut all: Vec<_> = ours.iter_mut().chain(&mut peers).chain(&mut one).collect();
    for contender in &mut all {
        (0..rounds / 10 + 1).for_each(|_| contender.round());
        contender.forget();
    }
    for round in 0..rounds {
        let first = round % all.len();
        all.rotate_left(first);
        all.iter_mut().for_each(|contender| contender.round());
        all.rotate_right(first);
    }

    for Contender { name, cost, crossing, .. } in &ours {
        table
            .line(format!("publishing a level change to {SUBSCRIBERS} ({name}), its thread"), "us", cost)
            .goal(Goal::AtMost(5.0));
        table.line(format!("until the last of {SUBSCRIBERS} ({name})"), "us", crossing).goal(Goal::AtMost(2_000.0));
    }
    let [_, every] = &ours;
    for (at, peer) in peers.iter().enumerate() {
        let line = table.line(format!("until the last of {SUBSCRIBERS} (Every)"), "us", &every.crossing);
        line.beside(peer.name, &peer.crossing);
        if at < 2 {
            line.goal(Goal::RatioAtMost(1.0));
        }
    }
    let [bus_to_one, do_send_to_one] = &one;
    table
        .line("until one subscriber", "us", &bus_to_one.crossing)
        .beside(do_send_to_one.name, &do_send_to_one.crossing);

    let pair = system.block_on(async { [beside_a_stuck_subscriber(), bus("alone", 1, Delivery::Every)] });
    side_by_side(&mut table, "publish to a healthy subscriber", pair, runs, run);
    #[cfg(feature = "webhooks")]
    webhooks::measure(&mut table, runs, run);
    table.finish();
    // A stuck thread is never joined.
    std::process::exit(0);
}
