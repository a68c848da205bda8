//! Who counts: instances of one name, those that fall silent, those that end. What must not happen is that a producer
//! goes by a level that none keeps any more, or by the lower of two.

use std::time::Duration;

use futures::executor::block_on;
use market_data_store::{
    BroadcastConfig, Budget, Coordinator, Delivery, Feedback, HttpBroadcaster, Level, MarketDataStore, RateCoordinator,
    RateLimiter, Reason, Replay, StartError, Subscribe,
    feedback::{BusSnapshot, EventSeries},
    feedback_bus,
    sink::MemorySink,
};
use tokio::sync::watch;

use crate::{
    hook::{Asked, Hook, Reply, ok},
    support::{Events, PATIENCE, Tick, coordinator_settings, log, occupy, recorder, settings, tick, within},
};

const REFRESH: Duration = Duration::from_secs(30);

/// A bus on the test's own arbiter, whose clock stands still while there is anything to do, and all that can follow it.
struct Followed {
    feedback: Feedback,
    all: watch::Receiver<market_data_store::FeedbackEvent>,
    limiter: RateLimiter,
    /// Of those of the name `bars` in every source.
    latest: Events,
    /// Of every name by itself.
    every: Events,
}

impl Followed {
    fn new() -> Self {
        tokio::time::pause();
        let feedback = Feedback::on_current_arbiter();
        let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(1_000.0));
        let limiter = limiter.ramp(Duration::ZERO).on_current_arbiter().start();
        let ((bars, latest), (names, every)) = (recorder(), recorder());
        feedback.subscribe(Subscribe::new(bars).only("bars").replay(Replay::All));
        feedback.subscribe(Subscribe::new(names).delivery(Delivery::Every).replay(Replay::All));
        Self { all: feedback.watch("bars"), feedback, limiter, latest, every }
    }

    async fn say(&self, series: &mut EventSeries, level: Level) {
        self.feedback.publish(series.next(level));
        within(PATIENCE, self.feedback.idle()).await;
    }

    /// What all that follow `bars` make of it: the same.
    async fn level(&self) -> (Level, Reason) {
        within(PATIENCE, self.feedback.idle()).await;
        let (shown, told) = (self.all.borrow().clone(), self.latest.lock().last().cloned());
        let scale = match shown.level {
            Level::Ok => 1.0,
            Level::Soft => 0.5,
            Level::Hard => 0.0,
        };
        assert_eq!(self.limiter.scale(), scale, "{shown:?}");
        assert_eq!(told.map(|event| event.id.clone()), Some(shown.id.clone()), "{shown:?}");
        (shown.level, shown.reason)
    }

    async fn snapshot(&self) -> BusSnapshot {
        within(PATIENCE, self.feedback.snapshot()).await.unwrap()
    }
}

async fn pass(time: Duration) {
    tokio::time::sleep(time).await;
}

fn series(source: &str) -> EventSeries {
    EventSeries::new("bars").source(source).refresh(REFRESH)
}

/// A is at hard and the producer saw ok: the later event of another process of its name hid it. Red when the lower of
/// two living instances is followed, the conflict is not counted, or it does not end with the one that ends.
#[actix::test]
async fn of_two_processes_of_one_name_the_higher_level_counts() {
    log();
    let followed = Followed::new();
    let (mut a, mut b) = (series("both").instance("a"), series("both").instance("b"));
    followed.say(&mut a, Level::Hard).await;
    for level in [Level::Ok, Level::Soft, Level::Ok] {
        followed.say(&mut b, level).await;
        assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
    }
    // What is lower is not the level of the name, so none is told of it.
    assert_eq!(followed.every.lock().len(), 1);
    let snapshot = followed.snapshot().await;
    assert_eq!((snapshot.conflicts, snapshot.stale, snapshot.present.len()), (3, 0, 1));
    let warnings =
        log().iter().filter(|line| line.contains("two processes publish") && line.contains("\"both\"")).count();
    assert_eq!(warnings, 1, "once a minute");
    // A ends in order, though at hard: B is left.
    let mut a = a.refresh(None);
    followed.say(&mut a, Level::Hard).await;
    assert_eq!(followed.level().await, (Level::Ok, Reason::QueueRecovered));
}

/// A sender killed at hard left all that followed it at hard without end. Red when silence is not noticed in three
/// times the refresh, is noticed too soon, or does not end when the sender is heard again.
#[actix::test]
async fn after_a_silence_of_three_refreshes_the_level_is_soft_until_it_is_heard_again() {
    let followed = Followed::new();
    let mut bars = series("db1");
    let hard = bars.next(Level::Hard);
    followed.feedback.publish(hard.clone());
    for _ in 0..10 {
        pass(REFRESH).await;
        followed.feedback.publish(hard.clone());
        assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
    }
    assert_eq!(followed.every.lock().len(), 1, "a sign of life is not told");
    // The network is cut for five minutes.
    pass(3 * REFRESH - Duration::from_millis(10)).await;
    assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
    pass(Duration::from_millis(20)).await;
    assert_eq!(followed.level().await, (Level::Soft, Reason::Silent));
    let silent = followed.every.lock().last().cloned().unwrap();
    assert_eq!((silent.previous, silent.retry_after, silent.refresh), (Level::Hard, None, None));
    assert_eq!((&silent.instance, silent.epoch, silent.seq), (&hard.instance, hard.epoch, hard.seq));
    assert_ne!(silent.id, hard.id);
    pass(Duration::from_secs(300) - 3 * REFRESH).await;
    assert_eq!(followed.level().await, (Level::Soft, Reason::Silent));
    // It ends with a sign of life.
    followed.feedback.publish(hard.clone());
    assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
    assert_eq!((followed.snapshot().await.expired, followed.every.lock().len()), (1, 3));
}

/// `watch("bars")` was hard without end once a sender was killed at hard and replaced under another name. Red when one
/// that fell silent counts beside one that lives, or one that lives does not count before.
#[actix::test]
async fn one_that_fell_silent_does_not_count_beside_one_that_lives() {
    let followed = Followed::new();
    let (mut gone, mut next) = (series("pod-1"), series("pod-2"));
    followed.say(&mut gone, Level::Hard).await;
    pass(REFRESH).await;
    let ok = next.next(Level::Ok);
    for _ in 0..2 {
        followed.feedback.publish(ok.clone());
        assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
        pass(REFRESH).await;
    }
    followed.feedback.publish(ok);
    assert_eq!(followed.level().await, (Level::Ok, Reason::Started));
    let present = followed.snapshot().await.present;
    assert_eq!(
        present.iter().map(|event| (&*event.source, event.reason)).collect::<Vec<_>>(),
        [("pod-2", Reason::Started), ("pod-1", Reason::Silent),]
    );
    // One that comes late is told what counts.
    let (late, told) = recorder();
    followed.feedback.subscribe(Subscribe::new(late).only("bars").replay(Replay::All));
    within(PATIENCE, followed.feedback.idle()).await;
    assert_eq!(told.lock().iter().map(|event| &*event.source).collect::<Vec<_>>(), ["pod-2"]);
}

/// Red when an orderly end is taken for a death, does not stay, or counts beside one that lives.
#[actix::test]
async fn an_orderly_end_stays_as_it_was_unless_another_lives() {
    let followed = Followed::new();
    let mut bars = series("db1");
    followed.feedback.publish(bars.next_because(Reason::Draining));
    followed.feedback.publish(bars.clone().refresh(None).next_because(Reason::Draining));
    pass(100 * REFRESH).await;
    assert_eq!(followed.level().await, (Level::Hard, Reason::Draining));
    let mut other = series("db2");
    followed.say(&mut other, Level::Hard).await;
    assert_eq!(followed.level().await, (Level::Hard, Reason::QueueHigh));
    pass(4 * REFRESH).await;
    // None lives: what became of the one that lived last.
    assert_eq!(followed.level().await, (Level::Soft, Reason::Silent));
    bars.restart();
    followed.say(&mut bars, Level::Ok).await;
    assert_eq!(followed.level().await, (Level::Ok, Reason::Started));
    assert_eq!(followed.snapshot().await.conflicts, 0);
}

/// The first of two stores was at hard, its own watch said ok, and its subscribers heard nothing. Red when a name can
/// be published twice on one bus at once, or not again after the end.
#[actix::test]
async fn a_name_that_lives_on_a_bus_is_not_given_twice() {
    let start = || {
        let sink = MemorySink::<Tick>::new();
        let own = coordinator_settings(10, 1, 5).watermarks(2, 8);
        MarketDataStore::builder(settings()).coordinator(Coordinator::new(sink.clone()).settings(own)).start()
    };
    let first = within(PATIENCE, start()).await.unwrap();
    let name = format!("{}/ticks", settings().source);
    let refused = within(PATIENCE, start()).await.unwrap_err();
    assert!(matches!(&refused, StartError::NameInUse(taken) if *taken == name), "{refused}");
    assert!(refused.to_string().contains("MDS_SOURCE"), "{refused}");
    // Another name, or another bus, is free.
    let other = Coordinator::new(MemorySink::<Tick>::new()).id("other");
    let other = within(PATIENCE, MarketDataStore::builder(settings()).coordinator(other).start()).await.unwrap();
    let elsewhere = Coordinator::new(MemorySink::<Tick>::new());
    let elsewhere = MarketDataStore::builder(settings()).coordinator(elsewhere).spawn().unwrap();
    within(PATIENCE, first.shutdown(PATIENCE)).await;
    // A clone of the one that has ended keeps no name.
    let again = within(PATIENCE, start()).await.unwrap();
    drop(again);
    let again = within(PATIENCE, start()).await.unwrap();
    for store in [again, other, elsewhere] {
        assert!(within(PATIENCE, store.shutdown(PATIENCE)).await.is_complete());
    }
    drop(first);
}

/// After a restart on `feedback_bus()` with the clock set back all was hard without end. Red when a store that starts
/// is older than what its bus has met of its name.
#[actix::test]
async fn a_store_that_starts_is_newer_than_all_that_its_bus_met_of_its_name() {
    let feedback = feedback_bus();
    let mut before = EventSeries::new("ticks").source(&settings().source);
    for _ in 0..1_000_000 {
        // Some hundred years ahead.
        before.restart();
    }
    feedback.publish(before.next(Level::Hard));
    within(PATIENCE, feedback.idle()).await;
    let ahead = feedback.watch("ticks").borrow().epoch;
    let start =
        || MarketDataStore::builder(settings()).coordinator(Coordinator::new(MemorySink::<Tick>::new())).start();
    for restart in 1..=3 {
        let store = within(PATIENCE, start()).await.unwrap();
        let health = store.coordinator::<Tick>().unwrap().health().await;
        within(PATIENCE, feedback.idle()).await;
        let shown = feedback.watch("ticks").borrow().clone();
        assert_eq!((shown.epoch, shown.level, shown.reason), (ahead + restart, Level::Ok, Reason::Started));
        assert_eq!((health.epoch, health.feedback.stale, health.feedback.conflicts), (ahead + restart, 0, 0));
        within(PATIENCE, store.shutdown(PATIENCE)).await;
    }
}

/// Red when the level of a store that was dropped, or whose coordinator died, stays where it was.
#[test]
fn a_store_that_is_dropped_or_a_coordinator_that_dies_is_told_as_draining() {
    for dies in [false, true] {
        let feedback = Feedback::private();
        let own = coordinator_settings(10, 1, 1).watermarks(0, 1);
        let coordinator = Coordinator::new(MemorySink::<Tick>::new()).settings(own);
        let store = MarketDataStore::builder(settings()).feedback(feedback.clone()).coordinator(coordinator);
        let store = store.spawn().unwrap();
        let mut level = feedback.watch("ticks");
        let mut held = Some(store);
        if dies {
            let handle = held.as_ref().unwrap().coordinator::<Tick>().unwrap();
            handle.fault(market_data_store::coordinator::FaultyActor::Coordinator).arm(1);
            // Something for it to do.
            let _ = block_on(handle.submit(tick("ES", 1)));
            let _ = block_on(handle.flush());
        } else {
            held = None;
        }
        let draining = level.wait_for(|event| event.reason == Reason::Draining);
        assert_eq!(block_on(within(PATIENCE, draining)).unwrap().level, Level::Hard, "dies: {dies}");
        if let Some(store) = held {
            block_on(within(PATIENCE, store.shutdown(PATIENCE)));
        }
    }
}

/// A store of so many places on a bus, soft above two records and hard from eight.
fn store_on(feedback: &Feedback, sink: &MemorySink<Tick>, capacity: usize) -> MarketDataStore {
    let own = coordinator_settings(capacity, 1, 5).watermarks(2, 8);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    MarketDataStore::builder(settings()).feedback(feedback.clone()).coordinator(coordinator).spawn().unwrap()
}

/// A broadcaster whose URL answers, and what it sends.
struct Sending {
    feedback: Feedback,
    hook: Hook,
    broadcasts: market_data_store::BroadcasterHandle,
}

impl Sending {
    fn start(change: impl FnOnce(&mut BroadcastConfig), script: impl FnMut(usize) -> Reply + Send + 'static) -> Self {
        let (feedback, hook) = (Feedback::private(), Hook::start(script));
        let mut config = BroadcastConfig::new([hook.url("")]);
        config.timeout = PATIENCE;
        change(&mut config);
        let broadcasts = HttpBroadcaster::start(config, &feedback).unwrap();
        Self { feedback, hook, broadcasts }
    }
}

fn ids(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(Asked::id).collect()
}

/// Red when a URL is not told the present state again, under an id of its own and otherwise unchanged; when the end is
/// not told, or not without a refresh; or when signs of life are counted as events.
#[actix::test]
async fn a_url_is_told_the_present_state_again_and_for_the_last_time() {
    let refresh = Duration::from_millis(50);
    let sending = Sending::start(|config| config.refresh = refresh, |_| ok());
    let (mut bars, mut ticks) = (EventSeries::new("bars"), EventSeries::new("ticks"));
    sending.feedback.publish(ticks.next(Level::Ok));
    sending.feedback.publish(bars.next(Level::Ok));
    let hard = bars.next(Level::Hard);
    sending.feedback.publish(hard.clone());
    let asked =
        sending.hook.wait_for(|asked| asked.iter().filter(|asked| asked.id().contains("_r")).count() >= 6).await;
    let repeats: Vec<_> = asked.iter().filter(|asked| asked.id().contains("_r")).collect();
    let of_hard: Vec<_> = repeats.iter().filter(|asked| asked.id().starts_with(&*hard.id)).collect();
    assert!(of_hard.len() >= 2, "{:?}", ids(&asked));
    for asked in of_hard {
        let sent = asked.event();
        assert_eq!((&sent.id, sent.seq, &sent.instance, sent.refresh), (&hard.id, 2, &hard.instance, Some(refresh)));
    }
    let mut distinct: Vec<_> = repeats.iter().map(|asked| asked.id()).collect();
    distinct.dedup();
    assert_eq!(distinct.len(), repeats.len());
    let snapshot = sending.broadcasts.snapshot().remove(0);
    assert!(snapshot.delivered <= 3 && snapshot.repeated >= 2 && snapshot.pending == 0, "{snapshot:?}");
    let draining = bars.next_because(Reason::Draining);
    sending.feedback.publish(draining.clone());
    within(PATIENCE, sending.broadcasts.idle()).await;
    let asked = sending.hook.wait_for(|asked| asked.iter().any(|asked| asked.id().ends_with("_last"))).await;
    let of_bars: Vec<_> = asked.iter().filter(|asked| &*asked.event().coordinator_id == "bars").collect();
    let [first, last] = of_bars.last_chunk().unwrap();
    assert_eq!((first.id(), first.event().refresh), (&*draining.id, Some(refresh)));
    assert_eq!((last.id(), last.event().refresh), (&*format!("{}_last", draining.id), None));
    // It is told no more; the other goes on, and is left to fall silent by the end of what tells of it.
    let known = asked.len();
    sending.hook.wait_for(|asked| asked.len() >= known + 2).await;
    within(PATIENCE, sending.broadcasts.finish(PATIENCE)).await;
    let asked = sending.hook.asked();
    assert!(asked[known..].iter().all(|asked| &*asked.event().coordinator_id == "ticks"), "{:?}", ids(&asked));
    assert_eq!(asked.iter().filter(|asked| asked.id().ends_with("_last")).count(), 1);
}

/// Red when a level that flutters floods a URL, one that rises has to wait, or the last one does not arrive.
#[actix::test]
async fn a_falling_level_waits_and_a_rising_one_goes_at_once() {
    let interval = Duration::from_millis(300);
    let sending = Sending::start(|config| (config.refresh, config.min_interval) = (Duration::ZERO, interval), |_| ok());
    let mut bars = EventSeries::new("bars");
    sending.feedback.publish(bars.next(Level::Ok));
    let first = sending.hook.wait(1).await[0].at;
    sending.feedback.publish(bars.next(Level::Hard));
    let risen = sending.hook.wait(2).await[1].at;
    let mut published = 0;
    while first.elapsed() < 3 * interval || published < 40 {
        sending.feedback.publish(bars.next(Level::Ok));
        sending.feedback.publish(bars.next(Level::Soft));
        published += 2;
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let last = bars.next(Level::Ok);
    sending.feedback.publish(last.clone());
    let asked = sending.hook.wait_for(|asked| asked.last().unwrap().id() == last.id).await;
    let levels: Vec<_> = asked.iter().map(|asked| asked.event().level).collect();
    // Two an interval: one that does not rise, and one that does.
    let intervals = first.elapsed().as_millis() / interval.as_millis() + 2;
    assert!(asked.len() as u128 <= 2 + 2 * intervals, "{levels:?} of {published} in {intervals} intervals");
    // Only a machine that stands still makes this long.
    assert!(risen.duration_since(first) < Duration::from_secs(10) && published > asked.len());
}

/// Red when URLs go on being told of a level that none keeps any more.
#[actix::test]
async fn behind_a_bus_that_died_or_knows_of_silence_a_url_hears_no_more_signs_of_life() {
    let refresh = Duration::from_millis(40);
    let sending = Sending::start(|config| config.refresh = refresh, |_| ok());
    let mut relayed = EventSeries::new("bars").source("far").refresh(Duration::from_millis(100));
    sending.feedback.publish(relayed.next(Level::Hard));
    let mut silent = sending.feedback.watch("bars");
    let heard = silent.wait_for(|event| event.reason == Reason::Silent);
    within(PATIENCE, heard).await.unwrap();
    within(PATIENCE, sending.feedback.idle()).await;
    let after = |count: usize| async move {
        tokio::time::sleep(10 * refresh).await;
        count
    };
    let told = after(sending.hook.asked().len()).await;
    // One may have been under way.
    assert!(sending.hook.asked().len() <= told + 1);
    assert!(!sending.hook.asked().iter().any(|asked| asked.event().reason == Reason::Silent), "it is not sent on");

    sending.feedback.publish(EventSeries::new("bars").source("near").next(Level::Ok));
    let known = sending.hook.asked().len();
    sending.hook.wait_for(|asked| asked.len() > known + 2).await;
    sending.feedback.fault().arm(1);
    sending.feedback.publish(EventSeries::new("other").next(Level::Ok));
    within(PATIENCE, sending.feedback.stopped()).await;
    // What has nothing left to send: it knows of the end of the bus.
    let settled = async {
        while sending.broadcasts.snapshot()[0].next_attempt_in.is_some() {
            tokio::time::sleep(refresh).await;
        }
    };
    within(PATIENCE, settled).await;
    let told = after(sending.hook.asked().len()).await;
    assert!(sending.hook.asked().len() <= told + 1);
}

/// Red when the sender is not told that another of its name is heard.
#[actix::test]
async fn a_receiver_that_hears_two_of_one_name_says_so_to_both() {
    log();
    let sending = Sending::start(|_| {}, |_| Reply::Status(204, "mds-conflict: 2\r\n".to_owned()));
    let mut bars = EventSeries::new("bars");
    sending.feedback.publish(bars.next(Level::Ok));
    sending.feedback.publish(bars.next(Level::Hard));
    let is_hard = |asked: &Asked| asked.event().level == Level::Hard;
    sending.hook.wait_for(|asked| asked.last().is_some_and(is_hard)).await;
    within(PATIENCE, sending.broadcasts.idle()).await;
    let snapshot = sending.broadcasts.snapshot().remove(0);
    assert_eq!(snapshot.conflicts, snapshot.delivered);
    assert!(log().iter().any(|line| line.starts_with("WARN") && line.contains("hears another process")));
}

/// Red when a health does not tell what its bus made of the coordinator's events.
#[actix::test]
async fn health_tells_what_the_bus_counts_of_the_name() {
    let (feedback, sink) = (Feedback::private(), MemorySink::<Tick>::new());
    let store = store_on(&feedback, &sink, 100);
    let handle = store.coordinator::<Tick>().unwrap();
    let mut other = EventSeries::new("ticks").source(&settings().source);
    feedback.publish(other.next(Level::Soft));
    let late = other.next(Level::Soft);
    feedback.publish(other.next(Level::Hard));
    feedback.publish(late);
    within(PATIENCE, feedback.idle()).await;
    let held = occupy(&handle, &sink, 1).await;
    handle.submit_many((0..10).map(|id| tick("ES", held + id))).await.unwrap();
    within(PATIENCE, feedback.idle()).await;
    let counts = handle.health().await.feedback;
    assert_eq!((counts.stale, counts.expired), (1, 0));
    assert!(counts.conflicts >= 2, "{counts:?}");
    sink.release();
    within(PATIENCE, store.shutdown(PATIENCE)).await;
}

/// Red when a store that was finished on a shared bus counts beside one that lives, or one that ended hides that
/// another fell silent.
#[actix::test]
async fn a_store_that_was_finished_does_not_count_beside_one_that_lives() {
    let (feedback, sink) = (Feedback::private(), MemorySink::<Tick>::new());
    let store = store_on(&feedback, &sink, 10);
    let handle = store.coordinator::<Tick>().unwrap();
    let held = occupy(&handle, &sink, 1).await;
    handle.submit_many((0..9).map(|id| tick("ES", held + id))).await.unwrap();
    let mut other = EventSeries::new("ticks").source("other");
    feedback.publish(other.next(Level::Ok));
    let shown = feedback.watch("ticks");
    within(PATIENCE, handle.health()).await;
    within(PATIENCE, feedback.idle()).await;
    assert_eq!(shown.borrow().level, Level::Hard);
    // It ends at hard, for it cannot write.
    within(PATIENCE, store.finish(Duration::from_millis(1))).await;
    within(PATIENCE, feedback.idle()).await;
    assert_eq!((&*shown.borrow().source, shown.borrow().level), ("other", Level::Ok));
    sink.release();
}

/// Red when the timer that looks for silence keeps a bus alive.
#[test]
fn a_bus_ends_with_its_last_handle_though_it_waits_for_a_sender() {
    let feedback = Feedback::private();
    feedback.publish(EventSeries::new("bars").refresh(Duration::from_secs(86_400)).next(Level::Hard));
    block_on(within(PATIENCE, feedback.idle()));
    let mut level = feedback.watch("bars");
    drop(feedback);
    let closed = async { while level.changed().await.is_ok() {} };
    block_on(within(PATIENCE, closed));
}

/// Red when a limiter that follows a drain rate stops at silence because none was measured yet.
#[actix::test]
async fn at_silence_a_limiter_goes_at_the_scale_of_soft_of_what_it_was_at() {
    tokio::time::pause();
    let feedback = Feedback::on_current_arbiter();
    let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::FollowDrainRate);
    let limiter = limiter.ramp(Duration::ZERO).on_current_arbiter().start();
    feedback.publish(EventSeries::new("bars").refresh(REFRESH).next_because(Reason::Started));
    within(PATIENCE, feedback.idle()).await;
    let before = limiter.snapshot().rate.unwrap();
    pass(4 * REFRESH).await;
    within(PATIENCE, feedback.idle()).await;
    let snapshot = limiter.snapshot();
    assert_eq!((snapshot.level, snapshot.scale), (Level::Soft, 0.5));
    assert!(snapshot.rate.unwrap() >= before / 2.0, "{before} and then {snapshot:?}");
}

/// Red when an actor that selects a coordinator in two ways hears an event twice.
#[actix::test]
async fn who_selects_a_coordinator_twice_hears_it_once() {
    let feedback = Feedback::on_current_arbiter();
    let mut bars = EventSeries::new("bars").source("db1");
    feedback.publish(bars.next(Level::Soft));
    let (recorder, told) = recorder();
    let subscribe = Subscribe::new(recorder).delivery(Delivery::Every).replay(Replay::All);
    feedback.subscribe(subscribe.only("bars").only("db1/bars").only("bars"));
    feedback.publish(bars.next(Level::Hard));
    within(PATIENCE, feedback.idle()).await;
    assert_eq!(told.lock().iter().map(|event| event.seq).collect::<Vec<_>>(), [1, 2]);
}
