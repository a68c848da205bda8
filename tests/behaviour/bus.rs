//! The feedback bus: every subscriber at its own speed, no one at another's cost.

use std::{
    num::NonZeroUsize,
    pin::Pin,
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc,
    },
    task::{Context as TaskContext, Wake, Waker},
    time::Duration,
};

use actix::prelude::*;
use market_data_store::{
    Delivery, Feedback, FeedbackEvent, Level, Reason, Replay, Subscribe, SubscriptionId, Timestamp,
    feedback::{BusSnapshot, Collect, EventBody, Observe, Publish, Publisher},
    feedback_bus,
};
use tokio::sync::{Notify, Semaphore, mpsc as channel, watch};

/// Longer than anything here takes; only a broken promise waits so long.
const PATIENCE: Duration = Duration::from_secs(60);

fn event_of(source: &Arc<str>, coordinator_id: &str, (epoch, seq): (u64, u64), level: Level) -> FeedbackEvent {
    FeedbackEvent::from(EventBody {
        id: FeedbackEvent::id_of(source, coordinator_id, None, epoch, seq),
        instance: None,
        source: source.clone(),
        coordinator_id: coordinator_id.into(),
        epoch,
        seq,
        ts: Timestamp::default(),
        level,
        previous: Level::Ok,
        reason: Reason::QueueHigh,
        queue_size: 80,
        capacity: 100,
        utilization: 0.8,
        drain_rate: None,
        retry_after: None,
        refresh: None,
    })
}

fn event(coordinator_id: &str, seq: u64, level: Level) -> FeedbackEvent {
    event_of(&"test".into(), coordinator_id, (1, seq), level)
}

fn hard(coordinator_id: &str, seq: u64) -> FeedbackEvent {
    event(coordinator_id, seq, Level::Hard)
}

fn ok(coordinator_id: &str, seq: u64) -> FeedbackEvent {
    event(coordinator_id, seq, Level::Ok)
}

/// What a subscriber saw, as `coordinator seq`.
#[derive(Debug)]
struct Seen(channel::UnboundedReceiver<FeedbackEvent>);

impl Seen {
    /// Everything until now: only behind a fence.
    fn now(&mut self) -> Vec<String> {
        std::iter::from_fn(|| self.0.try_recv().ok())
            .map(|event| format!("{} {}", event.coordinator_id, event.seq))
            .collect()
    }

    async fn next(&mut self) -> FeedbackEvent {
        tokio::time::timeout(PATIENCE, self.0.recv()).await.expect("an event in time").expect("a living subscriber")
    }
}

/// Records what it is sent.
struct Recorder(channel::UnboundedSender<FeedbackEvent>);

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Recorder {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        let _ = self.0.send(event);
    }
}

fn recorder() -> (Addr<Recorder>, Seen) {
    let (tx, rx) = channel::unbounded_channel();
    (Recorder(tx).start(), Seen(rx))
}

/// Records an event when it begins with it, and has handled it when a permit lets it.
struct Gated {
    seen: channel::UnboundedSender<FeedbackEvent>,
    gate: Arc<Semaphore>,
}

impl Actor for Gated {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Gated {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) -> Self::Result {
        let _ = self.seen.send(event);
        let gate = self.gate.clone();
        Box::pin(async move { gate.acquire_owned().await.expect("no one closes it").forget() })
    }
}

fn gated() -> (Addr<Gated>, Seen, Arc<Semaphore>) {
    let (seen, rx) = channel::unbounded_channel();
    let gate = Arc::new(Semaphore::new(0));
    (Gated { seen, gate: gate.clone() }.start(), Seen(rx), gate)
}

/// Does what it is told.
#[derive(Message)]
#[rtype(result = "()")]
enum Tell {
    Stop,
    Block(mpsc::Receiver<()>),
}

/// Panics over events.
struct Bomb {
    in_a_future: bool,
}

impl Actor for Bomb {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Bomb {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) -> Self::Result {
        assert!(self.in_a_future, "the subscriber panics, as the test wants");
        Box::pin(async move { assert!(event.seq > 1, "the subscriber's future panics, as the test wants") })
    }
}

impl Handler<Tell> for Recorder {
    type Result = ();

    fn handle(&mut self, tell: Tell, ctx: &mut Context<Self>) {
        match tell {
            Tell::Stop => ctx.stop(),
            Tell::Block(until) => until.recv().unwrap_or_default(),
        }
    }
}

async fn snapshot(feedback: &Feedback) -> BusSnapshot {
    feedback.snapshot().await.expect("the bus lives")
}

async fn idle(feedback: &Feedback) {
    tokio::time::timeout(PATIENCE, feedback.idle()).await.expect("an idle bus in time");
}

async fn until<F: Future<Output = bool>>(mut reached: impl FnMut() -> F) {
    let all = async {
        while !reached().await {
            tokio::task::yield_now().await;
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("the state in time");
}

/// Acts on the thread that wakes it: the only foot in the door of a bus's thread.
struct OnWake<F>(F);

impl<F: Fn() + Send + Sync + 'static> Wake for OnWake<F> {
    fn wake(self: Arc<Self>) {
        (self.0)();
    }
}

/// Runs something on the thread of the bus, in the midst of its handler, while the returned future is kept.
#[must_use]
fn within_the_bus(feedback: &Feedback, act: impl Fn() + Send + Sync + 'static) -> Pin<Box<dyn Future<Output = ()>>> {
    let mut receiver = feedback.watch("within");
    let mut changed: Pin<Box<dyn Future<Output = ()>>> = Box::pin(async move {
        let _ = receiver.changed().await;
    });
    let waker = Waker::from(Arc::new(OnWake(act)));
    assert!(changed.as_mut().poll(&mut TaskContext::from_waker(&waker)).is_pending());
    feedback.publish(hard("within", 1));
    changed
}

mod delivery {
    use super::*;

    // Red when a lane loses or turns round events.
    #[actix::test]
    async fn every_brings_every_event_in_order() {
        let feedback = Feedback::private();
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        for seq in 1..=500 {
            feedback.publish(hard("bars", seq));
        }
        idle(&feedback).await;
        assert_eq!(seen.now(), (1..=500).map(|seq| format!("bars {seq}")).collect::<Vec<_>>());
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.events, snapshot.delivered, snapshot.lost, snapshot.superseded), (500, 500, 0, 0));
    }

    // Red when a lane keeps the older event, gives the newer one the last turn, or sends more than one at a time.
    #[actix::test]
    async fn latest_brings_the_newest_of_each_coordinator_in_the_order_of_their_first() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        let id = feedback.subscribe(Subscribe::new(addr.recipient()));
        for event in [hard("a", 1), hard("a", 2), hard("b", 1), ok("a", 3), ok("b", 2), hard("a", 4)] {
            feedback.publish(event);
        }
        let busy = snapshot(&feedback).await;
        let lane = busy.lane(id).unwrap();
        assert_eq!((lane.busy, lane.waiting, lane.superseded), (true, 2, 3));
        assert_eq!(seen.next().await.seq, 1);
        assert_eq!(seen.now(), [""; 0], "one event at a time");
        gate.add_permits(3);
        idle(&feedback).await;
        assert_eq!(seen.now(), ["a 4", "b 2"]);
        assert_eq!(snapshot(&feedback).await.superseded, 3);
    }

    // Red when the bound is not kept, the newest is lost, or the loss is not counted.
    #[actix::test]
    async fn every_loses_the_oldest_beyond_its_bound_and_counts_it() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        let three = Delivery::EveryUpTo(NonZeroUsize::new(3).unwrap());
        let id = feedback.subscribe(Subscribe::new(addr.recipient()).delivery(three));
        for seq in 1..=10 {
            feedback.publish(hard("bars", seq));
        }
        assert_eq!(snapshot(&feedback).await.lane(id).unwrap().waiting, 3);
        gate.add_permits(10);
        idle(&feedback).await;
        assert_eq!(seen.now(), ["bars 1", "bars 8", "bars 9", "bars 10"]);
        assert_eq!(snapshot(&feedback).await.lost, 6);
    }

    // Red with another default bound than 1,024.
    #[actix::test]
    async fn a_thousand_and_twenty_four_events_wait_for_an_every_subscriber() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, _seen, _gate) = gated();
        let id = feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        for seq in 1..=1_500 {
            feedback.publish(hard("bars", seq));
            if seq % 500 == 0 {
                snapshot(&feedback).await;
            }
        }
        let snapshot = snapshot(&feedback).await;
        assert_eq!(snapshot.lost_by_publishers, 0);
        let lane = snapshot.lane(id).unwrap();
        assert_eq!((lane.waiting, lane.lost), (1_024, 1_500 - 1 - 1_024));
    }

    // Red when a lane sends again with a sender that met a full mailbox: actix refuses it, and wakes none.
    #[actix::test]
    async fn a_subscriber_whose_mailbox_is_full_still_gets_its_events() {
        let feedback = Feedback::private();
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.clone().recipient()).delivery(Delivery::Every));
        for seq in 1..=20 {
            // Each sender gets a place of its own in the mailbox, beyond its capacity of 16: so 40 are too many.
            for _ in 0..40 {
                addr.do_send(Tell::Block(mpsc::channel().1));
            }
            feedback.publish(hard("bars", seq));
            assert_eq!(seen.next().await.seq, seq);
        }
    }

    // Red when the bus empties outbox and mailbox to the end before the lanes have a turn.
    #[actix::test]
    async fn a_flood_of_events_does_not_keep_subscribers_waiting() {
        let feedback = Feedback::private();
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.recipient()));
        // Many who want none of it: so the bus is slower than the publisher, and its mailbox never runs empty.
        let _others: Vec<_> = (0..500)
            .map(|_| {
                let (other, seen) = recorder();
                feedback.subscribe(Subscribe::new(other.recipient()).only("trades"));
                seen
            })
            .collect();
        let enough = Arc::new(AtomicBool::new(false));
        let flood = {
            let (publisher, enough) = (feedback.publisher(), enough.clone());
            std::thread::spawn(move || {
                let mut seq = 0;
                while !enough.load(Ordering::Relaxed) {
                    seq += 1;
                    publisher.publish(hard("bars", seq));
                }
            })
        };
        for _ in 0..100 {
            seen.next().await;
        }
        enough.store(true, Ordering::Relaxed);
        flood.join().unwrap();
    }

    // Red when outboxes or lanes mix up the order, or hand something out twice.
    #[actix::test]
    async fn events_of_many_publishers_keep_the_order_of_each() {
        let feedback = Feedback::private();
        let (addr, mut seen) = recorder();
        let all = Delivery::EveryUpTo(NonZeroUsize::new(10_000).unwrap());
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(all));
        let publishers = (0..8).map(|number| {
            let publisher = feedback.publisher();
            std::thread::spawn(move || {
                for seq in 1..=500 {
                    publisher.publish(hard(&format!("c{number}"), seq));
                }
            })
        });
        for publisher in publishers.collect::<Vec<_>>() {
            publisher.join().unwrap();
        }
        idle(&feedback).await;
        let seen = seen.now();
        assert_eq!(seen.len(), 4_000);
        for number in 0..8 {
            let prefix = format!("c{number} ");
            let seqs: Vec<_> = seen.iter().filter_map(|event| event.strip_prefix(&prefix)).collect();
            assert_eq!(seqs, (1..=500).map(|seq| seq.to_string()).collect::<Vec<_>>());
        }
    }
}

mod subscription {
    use super::*;

    // Red when a replay tells too much or too little, or does not respect the filter.
    #[actix::test]
    async fn a_late_subscriber_is_told_the_present_as_it_asked() {
        let feedback = Feedback::on_current_arbiter();
        for event in [hard("a", 1), ok("b", 1), hard("c", 1), ok("c", 2), event("d", 1, Level::Soft)] {
            feedback.publish(event);
        }
        let mut told = Vec::new();
        for replay in [Replay::Pressured, Replay::None, Replay::All] {
            let (addr, mut seen) = recorder();
            feedback.subscribe(Subscribe::new(addr.recipient()).replay(replay));
            idle(&feedback).await;
            told.push(seen.now());
        }
        assert_eq!(told[0], ["a 1", "d 1"]);
        assert_eq!(told[1], [""; 0]);
        assert_eq!(told[2], ["a 1", "b 1", "c 2", "d 1"]);
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.recipient()).only("d"));
        idle(&feedback).await;
        assert_eq!(seen.now(), ["d 1"]);
    }

    // Red when the source is split at the first slash, or a bare id means one source.
    #[actix::test]
    async fn a_filter_takes_a_bare_id_of_every_source_or_one_of_one() {
        let feedback = Feedback::on_current_arbiter();
        let mut all = Vec::new();
        for only in [&["bars"][..], &["eu/db1:mds/bars"], &["db1:mds/bars"], &["trades", "eu/db1:mds/bars"]] {
            let (addr, seen) = recorder();
            let subscribe = Subscribe::new(addr.recipient()).delivery(Delivery::Every);
            feedback.subscribe(only.iter().fold(subscribe, |subscribe, id| subscribe.only(id)));
            all.push(seen);
        }
        let sources: [Arc<str>; 2] = ["eu/db1:mds".into(), "db2:mds".into()];
        for (source, id, seq) in [(0, "bars", 1), (1, "bars", 2), (0, "trades", 3), (1, "trades", 4), (0, "quotes", 5)]
        {
            feedback.publish(event_of(&sources[source], id, (1, seq), Level::Hard));
        }
        idle(&feedback).await;
        let seen: Vec<_> = all.iter_mut().map(Seen::now).collect();
        assert_eq!(seen[0], ["bars 1", "bars 2"]);
        assert_eq!(seen[1], ["bars 1"]);
        assert_eq!(seen[2], [""; 0]);
        assert_eq!(seen[3], ["bars 1", "trades 3", "trades 4"]);
    }

    // Red when coalescing, order or staleness go by the bare id.
    #[actix::test]
    async fn coordinators_of_one_name_in_two_sources_are_two() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        feedback.subscribe(Subscribe::new(addr.recipient()));
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        for (source, seq) in [(&one, 7), (&one, 8), (&two, 1)] {
            feedback.publish(event_of(source, "bars", (1, seq), Level::Hard));
        }
        gate.add_permits(10);
        idle(&feedback).await;
        assert_eq!(seen.now(), ["bars 7", "bars 8", "bars 1"]);
        assert_eq!(snapshot(&feedback).await.stale, 0);
    }

    // Red when an older epoch or a repeated seq of an instance passes, or a new epoch is measured by the seq of the old
    // one.
    #[actix::test]
    async fn stale_events_are_ignored_and_counted() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        let source = "test".into();
        for version in [(5, 1), (5, 3), (5, 3), (5, 2), (4, 9), (6, 1), (5, 4)] {
            feedback.publish(event_of(&source, "bars", version, Level::Hard));
        }
        idle(&feedback).await;
        assert_eq!(seen.now(), ["bars 1", "bars 3", "bars 1"]);
        let snapshot = snapshot(&feedback).await;
        // The same again is a sign of life.
        assert_eq!((snapshot.events, snapshot.stale), (3, 3));
        assert_eq!(snapshot.present[0].epoch, 6);
    }

    // Red without the barrier: the ring for the first event empties the outbox before the subscription is there.
    #[actix::test]
    async fn a_subscriber_gets_exactly_what_is_published_after_it_subscribed() {
        let feedback = Feedback::on_current_arbiter();
        feedback.publish(hard("bars", 1));
        let (addr, mut seen) = recorder();
        let every = Subscribe::new(addr.recipient()).delivery(Delivery::Every).replay(Replay::None);
        let id = feedback.subscribe(every.only("bars"));
        feedback.publish(hard("bars", 2));
        feedback.publish(hard("bars", 3));
        idle(&feedback).await;
        assert_eq!(seen.now(), ["bars 2", "bars 3"]);
        feedback.publish(hard("trades", 1));
        feedback.unsubscribe(id);
        feedback.publish(hard("bars", 4));
        idle(&feedback).await;
        assert_eq!(seen.now(), [""; 0]);
        assert_eq!(snapshot(&feedback).await.events, 5);
    }

    // Red when what waits in the lane is still delivered, or the delivery under way is taken back.
    #[actix::test]
    async fn the_delivery_under_way_is_the_last_after_unsubscribe() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        let id = feedback.subscribe(Subscribe::new(addr.clone().recipient()).delivery(Delivery::Every));
        feedback.publish(hard("bars", 1));
        feedback.publish(hard("bars", 2));
        assert_eq!(seen.next().await.seq, 1);
        feedback.unsubscribe(id);
        feedback.publish(hard("bars", 3));
        // Unsubscribed, so it does not hold this, though it is busy.
        idle(&feedback).await;
        gate.add_permits(10);
        until(|| async { gate.available_permits() == 9 }).await;
        feedback.publish(hard("bars", 4));
        idle(&feedback).await;
        assert_eq!(seen.now(), [""; 0]);
        assert!(snapshot(&feedback).await.lanes.is_empty());
    }

    // Red when the bus holds an address of a weak subscriber, or none of a strong one.
    #[actix::test]
    async fn a_weak_subscription_does_not_keep_its_actor_alive_a_strong_one_does() {
        let feedback = Feedback::private();
        let (strong, mut strong_seen) = recorder();
        let (weak, mut weak_seen) = recorder();
        feedback.subscribe(Subscribe::new(strong.recipient()));
        feedback.subscribe(Subscribe::weak(weak.downgrade().recipient()));
        feedback.publish(hard("bars", 1));
        idle(&feedback).await;
        assert_eq!((strong_seen.now(), weak_seen.now()), (vec!["bars 1".into()], vec!["bars 1".into()]));
        drop(weak);
        // Its end of the channel is dropped with the actor.
        assert!(tokio::time::timeout(PATIENCE, weak_seen.0.recv()).await.expect("an end in time").is_none());
        feedback.publish(hard("bars", 2));
        idle(&feedback).await;
        assert_eq!(strong_seen.now(), ["bars 2"]);
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.lanes.len(), snapshot.pruned), (1, 1));
    }

    // Red when only failed deliveries prune: this subscriber wants none of the events.
    #[actix::test]
    async fn a_stopped_subscriber_is_pruned_with_the_next_event() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, _seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.clone().recipient()).only("trades"));
        assert_eq!(snapshot(&feedback).await.lanes.len(), 1);
        addr.send(Tell::Stop).await.unwrap();
        until(|| async { !addr.connected() }).await;
        feedback.publish(hard("bars", 1));
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.lanes.len(), snapshot.pruned, snapshot.failed), (0, 1, 0));
    }

    // Red when a subscription of another actor leaves those that are gone where they are.
    #[actix::test]
    async fn a_subscriber_that_is_gone_is_pruned_with_the_next_subscription() {
        let feedback = Feedback::on_current_arbiter();
        for _ in 0..100 {
            let (addr, mut seen) = recorder();
            feedback.subscribe(Subscribe::weak(addr.downgrade().recipient()));
            drop(addr);
            assert!(tokio::time::timeout(PATIENCE, seen.0.recv()).await.expect("an end in time").is_none());
        }
        let (addr, _seen) = recorder();
        let id = feedback.subscribe(Subscribe::new(addr.recipient()));
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.lanes.len(), snapshot.pruned), (1, 100));
        assert_eq!(snapshot.lanes[0].id, id);
    }

    /// Subscribes each time it starts, and is started again when it is told to stop.
    struct Restarted {
        seen: channel::UnboundedSender<FeedbackEvent>,
        feedback: Feedback,
        is_weak: bool,
    }

    impl Actor for Restarted {
        type Context = Context<Self>;

        fn started(&mut self, ctx: &mut Context<Self>) {
            let address = ctx.address();
            let subscribe = match self.is_weak {
                true => Subscribe::weak(address.downgrade().recipient()),
                false => Subscribe::new(address.recipient()),
            };
            self.feedback.subscribe(subscribe.delivery(Delivery::Every));
        }
    }

    impl Supervised for Restarted {}

    impl Handler<FeedbackEvent> for Restarted {
        type Result = ();

        fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
            let _ = self.seen.send(event);
        }
    }

    impl Handler<Tell> for Restarted {
        type Result = ();

        fn handle(&mut self, _: Tell, ctx: &mut Context<Self>) {
            ctx.stop();
        }
    }

    // Red when each start of a supervised actor adds a lane: an event then comes once for each of them.
    #[actix::test]
    async fn an_actor_that_was_restarted_hears_each_event_once() {
        for is_weak in [false, true] {
            let feedback = Feedback::private();
            let (seen, rx) = channel::unbounded_channel();
            let mut seen_here = Seen(rx);
            let addr = Supervisor::start({
                let feedback = feedback.clone();
                move |_| Restarted { seen, feedback, is_weak }
            });
            for _ in 0..3 {
                addr.send(Tell::Stop).await.unwrap();
            }
            // Handled once the last start is over.
            addr.send(hard("fence", 1)).await.unwrap();
            assert_eq!(seen_here.now(), ["fence 1"]);
            feedback.publish(hard("bars", 1));
            idle(&feedback).await;
            assert_eq!(seen_here.now(), ["bars 1"], "weak: {is_weak}");
            assert_eq!(snapshot(&feedback).await.lanes.len(), 1);
        }
    }

    // Red when a second subscription of an actor, by whatever kind of recipient, is one more; when it keeps anything of
    // the first but the delivery under way; or when it puts a second event into the mailbox beside that.
    #[actix::test]
    async fn a_second_subscription_of_an_actor_takes_the_place_of_the_first() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        let (other, mut other_seen) = recorder();
        feedback.subscribe(Subscribe::new(other.recipient()).delivery(Delivery::Every));
        let first = feedback.subscribe(Subscribe::new(addr.clone().recipient()).delivery(Delivery::Every));
        for event in [hard("bars", 1), hard("bars", 2), hard("trades", 1)] {
            feedback.publish(event);
        }
        assert_eq!(seen.next().await.seq, 1);
        let weak = Subscribe::weak(addr.downgrade().recipient()).only("trades").replay(Replay::All);
        let second = feedback.subscribe(weak);
        let replaced = snapshot(&feedback).await;
        assert_eq!((replaced.lanes.len(), replaced.pruned, replaced.lane(first)), (2, 0, None));
        let lane = replaced.lane(second).unwrap();
        assert_eq!((lane.busy, lane.waiting), (true, 1));
        // The first is no subscription any more, and its end is not that of the second.
        feedback.unsubscribe(first);
        assert_eq!(seen.now(), [""; 0], "one event at a time");
        gate.add_permits(10);
        for event in [hard("bars", 3), ok("trades", 2)] {
            feedback.publish(event);
        }
        idle(&feedback).await;
        let told = seen.now();
        assert!(told == ["trades 1", "trades 2"] || told == ["trades 2"], "{told:?}");
        assert_eq!(other_seen.now().len(), 5);
        feedback.unsubscribe(second);
        assert_eq!(snapshot(&feedback).await.lanes.len(), 1);
    }

    // Red when a panic prunes a living actor, or is not counted.
    #[actix::test]
    async fn a_failed_delivery_to_a_living_actor_is_counted_and_its_lane_lives_on() {
        let feedback = Feedback::on_current_arbiter();
        let id = feedback.subscribe(Subscribe::new(Bomb { in_a_future: true }.start().recipient()));
        feedback.publish(hard("bars", 1));
        idle(&feedback).await;
        feedback.publish(hard("bars", 2));
        idle(&feedback).await;
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.pruned, snapshot.failed), (0, 1));
        assert_eq!(snapshot.lane(id).unwrap().delivered, 1);
    }

    // Red when the structs behind the methods are not messages of the bus.
    #[actix::test]
    async fn an_actor_can_talk_to_the_bus_by_messages() {
        let feedback = Feedback::on_current_arbiter();
        let bus = feedback.addr();
        let (addr, mut seen) = recorder();
        let subscribe = Subscribe::new(addr.recipient());
        let asked = subscribe.id();
        let id: SubscriptionId = bus.send(subscribe).await.unwrap();
        assert_eq!(id, asked);
        bus.send(Publish { event: hard("bars", 1) }).await.unwrap();
        assert_eq!(seen.next().await.seq, 1);
        assert_eq!(bus.send(Observe).await.unwrap().events, 1);
        feedback.unsubscribe(id);
        assert!(bus.send(Observe).await.unwrap().lanes.is_empty());
    }
}

mod fence {
    use super::*;

    // Red when `idle` looks at the mailbox alone, or waits for what is given later.
    #[actix::test]
    async fn idle_waits_for_what_was_given_before_it_and_no_more() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, gate) = gated();
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        feedback.publish(hard("bars", 1));
        feedback.publish(hard("bars", 2));
        let mut fence = actix_rt::spawn({
            let feedback = feedback.clone();
            async move { feedback.idle().await }
        });
        seen.next().await;
        feedback.publish(hard("bars", 3));
        snapshot(&feedback).await;
        gate.add_permits(1);
        assert_eq!(seen.next().await.seq, 2);
        snapshot(&feedback).await;
        assert!(!fence.is_finished(), "the second event is not handled yet");
        gate.add_permits(1);
        assert_eq!(seen.next().await.seq, 3);
        // The third is still being handled.
        tokio::time::timeout(PATIENCE, &mut fence).await.expect("the fence in time").unwrap();
    }

    // Red when a collection that finds more in the outbox comes back to it behind the question.
    #[actix::test]
    async fn a_question_during_a_collection_is_answered_after_what_was_published_before_it() {
        let feedback = Feedback::on_current_arbiter();
        let asked = Arc::new(Mutex::new(None));
        let _kept = within_the_bus(&feedback, {
            let (feedback, asked) = (feedback.clone(), asked.clone());
            move || {
                feedback.publish(hard("bars", 1));
                *asked.lock().unwrap() = Some(feedback.addr().send(Observe));
            }
        });
        until(|| async { asked.lock().unwrap().is_some() }).await;
        let answer = asked.lock().unwrap().take().unwrap();
        assert_eq!(answer.await.unwrap().events, 2);
    }

    // Red when a lane that is closed keeps its holds.
    #[actix::test]
    async fn a_pruned_or_unsubscribed_subscriber_does_not_hold_idle() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen, _gate) = gated();
        let id = feedback.subscribe(Subscribe::new(addr.recipient()));
        let bomb = Bomb { in_a_future: false }.start();
        feedback.subscribe(Subscribe::new(bomb.clone().recipient()));
        feedback.publish(hard("bars", 1));
        let waits = actix_rt::spawn({
            let feedback = feedback.clone();
            async move { feedback.idle().await }
        });
        seen.next().await;
        until(|| async { !bomb.connected() }).await;
        assert!(!waits.is_finished());
        feedback.unsubscribe(id);
        tokio::time::timeout(PATIENCE, waits).await.expect("the fence in time").unwrap();
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.pruned, snapshot.lanes.len()), (1, 0));
    }
}

mod watching {
    use super::*;

    fn shown(receiver: &watch::Receiver<FeedbackEvent>) -> (String, u64, Level) {
        let event = receiver.borrow();
        (event.source.to_string(), event.seq, event.level)
    }

    // Red when the channel opens with an assumption although an event is known, or takes up another coordinator's.
    #[actix::test]
    async fn a_watch_shows_the_assumed_then_the_present_and_closes_with_the_bus() {
        let feedback = Feedback::on_current_arbiter();
        let mut early = feedback.watch("bars");
        let before = early.borrow().clone();
        assert_eq!((before.epoch, before.seq, before.level, before.reason), (0, 0, Level::Ok, Reason::Started));
        assert_eq!(&*before.coordinator_id, "bars");
        feedback.publish(hard("bars", 1));
        feedback.publish(hard("trades", 9));
        early.changed().await.unwrap();
        assert_eq!(shown(&early), ("test".into(), 1, Level::Hard));
        snapshot(&feedback).await;
        assert!(!early.has_changed().unwrap(), "another coordinator is not shown");
        // At once, without a turn of the bus.
        assert_eq!(shown(&feedback.watch("bars")), ("test".into(), 1, Level::Hard));
        assert_eq!(shown(&feedback.watch("test/bars")), ("test".into(), 1, Level::Hard));
        feedback.publish(hard("trades", 10));
        assert_eq!(snapshot(&feedback).await.watchers, 1, "those without a holder are forgotten");
        drop(feedback);
        assert!(tokio::time::timeout(PATIENCE, early.changed()).await.expect("an end in time").is_err());
    }

    // Red when the last event is shown instead of the highest level, or one source hides another.
    #[actix::test]
    async fn a_watch_of_a_bare_id_shows_the_highest_level_among_the_sources() {
        let feedback = Feedback::on_current_arbiter();
        let (one, two): (Arc<str>, Arc<str>) = ("one".into(), "two".into());
        let (all, second) = (feedback.watch("bars"), feedback.watch("two/bars"));
        let mut told = Vec::new();
        for (source, seq, level) in [
            (&one, 1, Level::Hard),
            (&two, 1, Level::Soft),
            (&two, 2, Level::Hard),
            (&one, 2, Level::Ok),
            (&two, 3, Level::Ok),
        ] {
            feedback.publish(event_of(source, "bars", (1, seq), level));
            snapshot(&feedback).await;
            told.push(shown(&all));
        }
        let one = |seq, level| ("one".to_owned(), seq, level);
        let two = |seq, level| ("two".to_owned(), seq, level);
        let expected =
            [one(1, Level::Hard), one(1, Level::Hard), two(2, Level::Hard), two(2, Level::Hard), two(3, Level::Ok)];
        assert_eq!(told, expected);
        assert_eq!(shown(&second), two(3, Level::Ok));
    }
}

mod publishing {
    use super::*;

    // Red when an outbox is not bounded per coordinator, loses the newest, or its losses are not counted.
    #[actix::test]
    async fn an_outbox_keeps_1024_events_a_coordinator_and_the_rest_is_counted() {
        let feedback = Feedback::on_current_arbiter();
        let (addr, mut seen) = recorder();
        let all = Delivery::EveryUpTo(NonZeroUsize::new(10_000).unwrap());
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(all));
        feedback.publish(hard("quiet", 1));
        // The bus has no turn meanwhile: this runs on its arbiter.
        for seq in 1..=3_000 {
            feedback.publish(hard("noisy", seq));
        }
        idle(&feedback).await;
        let expected: Vec<_> =
            std::iter::once("quiet 1".to_owned()).chain((1_977..=3_000).map(|seq| format!("noisy {seq}"))).collect();
        assert_eq!(seen.now(), expected);
        let snapshot = snapshot(&feedback).await;
        assert_eq!((snapshot.events, snapshot.lost_by_publishers, snapshot.lost), (1_025, 1_976, 0));
    }

    /// A bus that takes at most three events at a time.
    struct Collector(channel::UnboundedSender<Vec<u64>>);

    impl Actor for Collector {
        type Context = Context<Self>;
    }

    impl Handler<Collect> for Collector {
        type Result = ();

        fn handle(&mut self, mut collect: Collect, _: &mut Context<Self>) {
            let _ = self.0.send(collect.take(3).iter().map(|event| event.seq).collect());
        }
    }

    // Red when each event is a message, or when what a collection leaves behind is forgotten.
    #[actix::test]
    async fn a_publisher_has_one_message_under_way() {
        let (tx, mut taken) = channel::unbounded_channel();
        let publisher = Publisher::new(Collector(tx).start().recipient());
        for seq in 1..=7 {
            publisher.publish(hard("bars", seq));
        }
        let mut taken = async || tokio::time::timeout(PATIENCE, taken.recv()).await.expect("a ring in time").unwrap();
        assert_eq!([taken().await, taken().await, taken().await], [vec![1, 2, 3], vec![4, 5, 6], vec![7]]);
        // A ring for nothing would come before this.
        publisher.publish(hard("bars", 8));
        assert_eq!(taken().await, [8]);
    }

    // Red when publishing waits for the bus, or grows memory, once the bus is gone.
    #[test]
    fn publishing_to_a_bus_that_is_gone_costs_nothing() {
        let publisher = System::new().block_on(async { Feedback::on_current_arbiter().publisher() });
        let source: Arc<str> = "test".into();
        for seq in 1..=5_000 {
            publisher.publish(event_of(&source, "bars", (1, seq), Level::Hard));
        }
        // One in each event and one in its key.
        assert!(Arc::strong_count(&source) <= 2 * 1_024 + 4, "{}", Arc::strong_count(&source));
    }
}

mod life {
    use std::path::PathBuf;

    use super::*;

    fn kill(feedback: &Feedback) -> Pin<Box<dyn Future<Output = ()>>> {
        within_the_bus(feedback, || panic!("the bus panics, as the test wants"))
    }

    async fn stopped(feedback: &Feedback) {
        tokio::time::timeout(PATIENCE, feedback.stopped()).await.expect("the end of the bus in time");
    }

    // Red when any of this needs a runtime, or the thread outlives the last handle.
    #[test]
    fn a_private_bus_needs_no_runtime_and_its_thread_ends_with_the_last_handle() {
        let (told, started) = mpsc::channel();
        let (end, ended) = mpsc::channel::<()>();
        // Subscribers need actix, as any actor; those who subscribe and publish do not.
        let actors = std::thread::spawn(move || {
            System::new().block_on(async move {
                told.send(recorder()).unwrap();
                until(|| async { ended.try_recv() == Err(mpsc::TryRecvError::Disconnected) }).await;
            });
        });
        let (addr, mut seen) = started.recv().unwrap();
        let feedback = Feedback::private();
        feedback.subscribe(Subscribe::new(addr.recipient()).only("bars"));
        feedback.publish(hard("bars", 1));
        assert_eq!(seen.0.blocking_recv().unwrap().seq, 1);

        let (tell, thread) = mpsc::channel::<PathBuf>();
        let kept =
            within_the_bus(&feedback, move || tell.send(std::fs::read_link("/proc/thread-self").unwrap()).unwrap());
        let thread = PathBuf::from("/proc").join(thread.recv_timeout(PATIENCE).unwrap());
        let (publisher, other) = (feedback.publisher(), feedback.clone());
        drop(feedback);
        drop(other);
        publisher.publish(hard("bars", 2));
        assert_eq!(seen.0.blocking_recv().unwrap().seq, 2, "a publisher keeps the bus alive");
        assert!(thread.exists());
        drop(publisher);
        let begun = std::time::Instant::now();
        while thread.exists() {
            assert!(begun.elapsed() < PATIENCE, "the thread of the bus is still there");
            std::thread::yield_now();
        }
        drop((kept, end));
        actors.join().unwrap();
    }

    // Red when the end of the bus takes back what was under way, or drops what waits in a lane.
    #[actix::test]
    async fn what_was_published_is_delivered_although_the_last_handle_is_gone() {
        let feedback = Feedback::private();
        let (addr, mut seen, gate) = gated();
        feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        for seq in 1..=3 {
            feedback.publish(hard("bars", seq));
        }
        assert_eq!(seen.next().await.seq, 1);
        let mut watch = feedback.watch("bars");
        drop(feedback);
        while watch.changed().await.is_ok() {}
        // The bus has ended. Long enough for its thread to end as well, if it did not wait for the lanes.
        tokio::time::sleep(Duration::from_millis(50)).await;
        gate.add_permits(3);
        assert_eq!((seen.next().await.seq, seen.next().await.seq), (2, 3));
    }

    // Red when no one is told of a bus that died, or someone waits for it without end.
    #[actix::test]
    async fn the_death_of_a_bus_is_told_and_holds_no_other() {
        let feedback = Feedback::private();
        let mut watch = feedback.watch("bars");
        let waits = actix_rt::spawn({
            let feedback = feedback.clone();
            async move { feedback.stopped().await }
        });
        snapshot(&feedback).await;
        assert!(!waits.is_finished());
        let _kept = kill(&feedback);
        tokio::time::timeout(PATIENCE, waits).await.expect("the end of the bus in time").unwrap();
        stopped(&feedback).await;
        assert_eq!(feedback.snapshot().await, None);
        idle(&feedback).await;
        feedback.publish(hard("bars", 1));
        assert!(watch.changed().await.is_err());
    }

    // Red when each call starts a bus, Systems share one, or a dead one is handed out without end.
    #[actix::test]
    async fn feedback_bus_is_one_for_a_system_and_replaced_when_it_died() {
        let feedback = feedback_bus();
        assert_eq!(feedback_bus().addr(), feedback.addr());
        let on_another_arbiter = tokio::sync::oneshot::channel();
        let arbiter = Arbiter::new();
        arbiter.spawn_fn(move || on_another_arbiter.0.send(feedback_bus().addr()).unwrap());
        assert_eq!(on_another_arbiter.1.await.unwrap(), feedback.addr());
        arbiter.stop();
        let elsewhere = std::thread::spawn(|| System::new().block_on(async { feedback_bus().addr() }));
        assert_ne!(elsewhere.join().unwrap(), feedback.addr());

        let _kept = kill(&feedback);
        stopped(&feedback).await;
        let next = feedback_bus();
        assert_ne!(next.addr(), feedback.addr());
        let (addr, mut seen) = recorder();
        next.subscribe(Subscribe::new(addr.recipient()));
        next.publish(hard("bars", 1));
        assert_eq!(seen.next().await.seq, 1);
    }

    // Red when the bus runs on a thread of the System, or ends with it although a handle is left.
    #[actix::test]
    async fn the_bus_of_a_system_that_stopped_still_serves_those_who_hold_it() {
        let (told, bus) = tokio::sync::oneshot::channel();
        let elsewhere = std::thread::spawn(|| {
            let system = System::new();
            system.block_on(async {
                told.send(feedback_bus()).unwrap();
                // What actix-web does on a signal.
                System::current().stop();
            });
            system.run().unwrap();
        });
        let feedback = bus.await.unwrap();
        let (addr, mut seen) = recorder();
        feedback.subscribe(Subscribe::new(addr.recipient()));
        elsewhere.join().unwrap();
        feedback.publish(hard("bars", 1));
        assert_eq!(seen.next().await.seq, 1);
        let mut level = feedback.watch("bars");
        drop(feedback);
        // It ends with the last handle then.
        tokio::time::timeout(PATIENCE, async { while level.changed().await.is_ok() {} }).await.unwrap();
    }

    // Red when a bus ends with the last handle while its System runs, so that the next caller gets another without
    // those who subscribed; and when it stays without end.
    #[actix::test]
    async fn a_system_keeps_its_bus_and_lets_it_go_at_its_end() {
        let elsewhere = std::thread::spawn(|| {
            System::new().block_on(async {
                let level = feedback_bus().watch("bars");
                feedback_bus().publish(hard("bars", 1));
                idle(&feedback_bus()).await;
                assert_eq!(level.borrow().level, Level::Hard);
                level
            })
        });
        let mut level = elsewhere.join().unwrap();
        tokio::time::timeout(PATIENCE, async { while level.changed().await.is_ok() {} }).await.unwrap();
    }

    #[test]
    #[should_panic(expected = "store.feedback()")]
    fn feedback_bus_outside_a_system_names_the_way_out() {
        feedback_bus();
    }
}

mod isolation {
    use super::*;

    /// How many level changes: 100,000 in the long form.
    fn level_changes() -> u64 {
        std::env::var("MDS_TEST_BUS_EVENTS")
            .map_or(20_000, |count| count.parse().expect("MDS_TEST_BUS_EVENTS: a number"))
    }

    /// How far the publisher runs ahead of the slowest healthy subscriber.
    const AHEAD: u64 = 256;

    /// Takes every event, and notes the first that is out of order.
    struct Healthy {
        last: Arc<AtomicU64>,
        broken: Arc<AtomicU64>,
        pace: Arc<Notify>,
    }

    impl Actor for Healthy {
        type Context = Context<Self>;
    }

    impl Handler<FeedbackEvent> for Healthy {
        type Result = ();

        fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
            if event.seq != self.last.load(Ordering::Relaxed) + 1 {
                let _ = self.broken.compare_exchange(0, event.seq, Ordering::Relaxed, Ordering::Relaxed);
            }
            self.last.store(event.seq, Ordering::Release);
            if event.seq.is_multiple_of(64) {
                self.pace.notify_one();
            }
        }
    }

    /// Keeps its thread in the handler of its first event until it is released.
    struct Stuck {
        how: How,
        seen: channel::UnboundedSender<FeedbackEvent>,
    }

    enum How {
        Blocked(mpsc::Receiver<()>),
        Spinning(Arc<AtomicBool>),
    }

    impl Actor for Stuck {
        type Context = Context<Self>;
    }

    impl Handler<FeedbackEvent> for Stuck {
        type Result = ();

        fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
            let _ = self.seen.send(event);
            match &self.how {
                // Ends when the other side is dropped, and from then on at once.
                How::Blocked(release) => release.recv().unwrap_or_default(),
                How::Spinning(released) => {
                    while !released.load(Ordering::Relaxed) {
                        // The machine may have few cores; the arbiter gets none of this.
                        std::thread::yield_now();
                    }
                }
            }
        }
    }

    /// Publishes the level changes beside whatever else is on the bus, at the pace of nine healthy subscribers, and
    /// asserts what they must see and what it may cost. Returns the state of the bus, all nine served.
    async fn nine_are_served(feedback: &Feedback) -> BusSnapshot {
        let (pace, broken) = (Arc::new(Notify::new()), Arc::new(AtomicU64::new(0)));
        let arbiters = [Arbiter::new(), Arbiter::new(), Arbiter::new()];
        let mut nine = Vec::new();
        let mut ids = Vec::new();
        for number in 0..9 {
            let last = Arc::new(AtomicU64::new(0));
            let healthy = Healthy { last: last.clone(), broken: broken.clone(), pace: pace.clone() };
            let addr = Healthy::start_in_arbiter(&arbiters[number % 3].handle(), |_| healthy);
            ids.push(feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every)));
            nine.push(last);
        }
        let slowest = || nine.iter().map(|last| last.load(Ordering::Acquire)).min().unwrap();
        let reached = async |seq: u64| {
            let paced = async {
                while slowest() < seq {
                    pace.notified().await;
                }
            };
            if tokio::time::timeout(PATIENCE, paced).await.is_err() {
                panic!("waited for {seq}, and the slowest of nine is at {}", slowest());
            }
        };
        let (source, publisher) = (Arc::<str>::from("test"), feedback.publisher());
        let changes = level_changes().next_multiple_of(64);
        let mut most_alive = 0;
        for seq in 1..=changes {
            let level = if seq % 2 == 0 { Level::Ok } else { Level::Hard };
            publisher.publish(event_of(&source, "bars", (1, seq), level));
            if seq % 64 == 0 {
                // Every event that is alive anywhere holds the one source.
                most_alive = most_alive.max(Arc::strong_count(&source));
                reached(seq.saturating_sub(AHEAD)).await;
            }
        }
        reached(changes).await;
        assert_eq!(broken.load(Ordering::Relaxed), 0, "the first event out of order");
        // One full lane, and twice what the publisher may be ahead: an event and the key it waits under.
        let bound = 1_024 + 2 * usize::try_from(AHEAD + 64).unwrap() + 64;
        assert!(most_alive <= bound, "{most_alive} events alive at once");
        let snapshot = snapshot(feedback).await;
        assert_eq!((snapshot.events, snapshot.lost_by_publishers), (changes, 0));
        for id in ids {
            let lane = snapshot.lane(id).unwrap();
            assert_eq!((lane.failed, lane.lost, lane.superseded), (0, 0, 0));
        }
        arbiters.iter().for_each(|arbiter| assert!(arbiter.stop()));
        snapshot
    }

    fn stuck(how: How) -> (Arbiter, Addr<Stuck>, Seen) {
        let (seen, rx) = channel::unbounded_channel();
        let arbiter = Arbiter::new();
        let addr = Stuck::start_in_arbiter(&arbiter.handle(), |_| Stuck { how, seen });
        (arbiter, addr, Seen(rx))
    }

    // Red when the bus awaits a subscriber, or a lane has no bound.
    #[actix::test]
    async fn nine_are_served_beside_one_that_blocks_its_thread_for_ever() {
        let feedback = Feedback::private();
        let (release, blocked) = mpsc::channel();
        let (arbiter, addr, _seen) = stuck(How::Blocked(blocked));
        let id = feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        let snapshot = nine_are_served(&feedback).await;
        let lane = snapshot.lane(id).unwrap();
        assert_eq!((lane.busy, lane.waiting, lane.delivered), (true, 1_024, 0));
        assert_eq!(lane.lost, snapshot.events - 1_025);
        drop(release);
        arbiter.stop();
    }

    // Red when the bus awaits a subscriber on any runtime it shares with it.
    #[actix::test]
    async fn nine_are_served_beside_one_that_never_yields() {
        let feedback = Feedback::private();
        let release = Arc::new(AtomicBool::new(false));
        let (arbiter, addr, _seen) = stuck(How::Spinning(release.clone()));
        let id = feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        let snapshot = nine_are_served(&feedback).await;
        assert_eq!(snapshot.lane(id).unwrap().waiting, 1_024);
        release.store(true, Ordering::Relaxed);
        arbiter.stop();
    }

    // Red when the panic reaches the bus, or the dead one stays on it.
    #[actix::test]
    async fn nine_are_served_beside_one_that_panics_and_it_is_pruned() {
        let feedback = Feedback::private();
        let arbiter = Arbiter::new();
        let addr = Bomb::start_in_arbiter(&arbiter.handle(), |_| Bomb { in_a_future: false });
        let id = feedback.subscribe(Subscribe::new(addr.recipient()).delivery(Delivery::Every));
        let snapshot = nine_are_served(&feedback).await;
        assert_eq!((snapshot.lane(id), snapshot.pruned, snapshot.lanes.len()), (None, 1, 9));
        assert!(snapshot.failed >= 1);
        arbiter.stop();
    }

    // Red when a stopped actor stays on the bus.
    #[actix::test]
    async fn nine_are_served_beside_one_that_has_stopped_and_it_is_pruned() {
        let feedback = Feedback::private();
        let (addr, _seen) = recorder();
        let id = feedback.subscribe(Subscribe::new(addr.clone().recipient()).delivery(Delivery::Every));
        addr.do_send(Tell::Stop);
        until(|| async { !addr.connected() }).await;
        let snapshot = nine_are_served(&feedback).await;
        assert_eq!((snapshot.lane(id), snapshot.pruned, snapshot.lanes.len()), (None, 1, 9));
    }

    // Red when `Latest` keeps an older event, or forgets the newest.
    #[actix::test]
    async fn a_slow_latest_subscriber_that_wakes_up_ends_with_the_current_level() {
        let feedback = Feedback::private();
        let (release, blocked) = mpsc::channel();
        let (arbiter, addr, mut seen) = stuck(How::Blocked(blocked));
        let id = feedback.subscribe(Subscribe::new(addr.recipient()));
        let snapshot = nine_are_served(&feedback).await;
        assert_eq!(snapshot.lane(id).unwrap().waiting, 1);
        drop(release);
        assert_eq!(seen.next().await.seq, 1);
        let last = seen.next().await;
        assert_eq!((last.seq, last.level), (snapshot.events, Level::Ok));
        arbiter.stop();
    }
}

mod metrics {
    use std::collections::HashMap;

    use metrics_util::debugging::{DebugValue, DebuggingRecorder};

    use super::*;

    // Red when a name or a label differs from the contract, or something is counted twice or not at all.
    #[test]
    fn the_bus_counts_by_the_names_of_the_contract() {
        let recorder = DebuggingRecorder::new();
        let snapshotter = recorder.snapshotter();
        let bus = async {
            let feedback = Feedback::on_current_arbiter();
            let (slow, _seen, _gate) = gated();
            let bomb = Bomb { in_a_future: false }.start();
            feedback.subscribe(Subscribe::new(slow.recipient()));
            feedback.subscribe(Subscribe::new(bomb.clone().recipient()).only("trades"));
            for event in [hard("bars", 1), hard("bars", 2), ok("bars", 3), hard("trades", 1)] {
                feedback.publish(event);
            }
            until(|| async { !bomb.connected() }).await;
            super::snapshot(&feedback).await;
        };
        ::metrics::with_local_recorder(&recorder, || System::new().block_on(bus));
        let values: HashMap<_, _> = snapshotter
            .snapshot()
            .into_vec()
            .into_iter()
            .map(|(key, _, _, value)| {
                let (_, key) = key.into_parts();
                let mut labels: Vec<_> =
                    key.labels().map(|label| format!("{}={}", label.key(), label.value())).collect();
                labels.sort();
                let value = match value {
                    DebugValue::Counter(count) => count as f64,
                    DebugValue::Gauge(value) => value.into_inner(),
                    DebugValue::Histogram(_) => panic!("the bus has no histograms"),
                };
                (format!("{}{{{}}}", key.name(), labels.join(",")), value)
            })
            .collect();
        let value = |name: &str| values.get(name).copied();
        assert_eq!(value("mds_feedback_events_total{coordinator_id=bars,level=hard}"), Some(2.0));
        assert_eq!(value("mds_feedback_events_total{coordinator_id=bars,level=ok}"), Some(1.0));
        assert_eq!(value("mds_feedback_events_total{coordinator_id=trades,level=hard}"), Some(1.0));
        assert_eq!(value("mds_feedback_superseded_total{}"), Some(1.0));
        assert_eq!(value("mds_feedback_pruned_total{}"), Some(1.0));
        assert!(values.contains_key("mds_feedback_subscribers{}"), "{values:?}");
    }
}
