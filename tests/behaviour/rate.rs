//! Rate control: a producer is slowed down by levels, and by nothing else.

use std::{
    pin::{Pin, pin},
    sync::{
        Arc, Mutex,
        atomic::{AtomicBool, Ordering},
        mpsc,
    },
    task::{Context, Poll, Wake, Waker},
    thread,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Budget, Coordinator, CoordinatorSettings, Feedback, Level, MarketDataStore, RateBuilder, RateCoordinator,
    RateLimiter, Reason, Scales, WriteHandle, feedback::EventSeries, sink::MemorySink,
};
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::support::{PATIENCE, Tick, coordinator_settings, log, occupy, settings, size_of_test, tick, ticks, within};

fn poll<F: Future>(future: Pin<&mut F>) -> Poll<F::Output> {
    future.poll(&mut Context::from_waker(Waker::noop()))
}

/// A bus on the test's own arbiter, whose clock stands still while anybody has something to do.
fn paused() -> Feedback {
    tokio::time::pause();
    Feedback::on_current_arbiter()
}

fn follow(feedback: &Feedback, budget: Budget) -> RateBuilder {
    RateCoordinator::follow(feedback, ["bars"]).budget(budget).on_current_arbiter()
}

/// Publishes a level and waits until all have heard it.
async fn say(feedback: &Feedback, series: &mut EventSeries, level: Level) {
    feedback.publish(series.next(level));
    within(PATIENCE, feedback.idle()).await;
}

async fn pass(millis: u64) {
    tokio::time::sleep(Duration::from_millis(millis)).await;
}

/// Red when the budget is not what is let through, be it that a wait is too long by more than its timer's millisecond,
/// or that a chunk is let through without being paid for.
#[actix::test]
async fn a_budget_is_let_through_and_no_more() {
    let feedback = paused();
    let limiter = follow(&feedback, Budget::PerSecond(10_000.0)).start();
    let begun = tokio::time::Instant::now();
    for _ in 0..100 {
        limiter.acquire(500).await;
    }
    // All but the last are paid for, and the first needs a full bucket, which is 50 ms.
    let seconds = begun.elapsed().as_secs_f64();
    assert!((4.95..5.1).contains(&seconds), "{seconds}");
    assert_eq!(limiter.snapshot().acquired, 50_000);
}

/// Red when a level does not change the scale, a rise is not gradual, or one falls back on its way up.
#[actix::test]
async fn the_scale_follows_the_level_at_once_downwards_and_gradually_upwards() {
    let (feedback, mut bars) = (paused(), EventSeries::new("bars"));
    let limiter = follow(&feedback, Budget::PerSecond(1_000.0)).start();
    assert_eq!(limiter.scale(), 1.0);
    say(&feedback, &mut bars, Level::Soft).await;
    assert_eq!(limiter.scale(), 0.5);
    say(&feedback, &mut bars, Level::Hard).await;
    assert_eq!((limiter.scale(), limiter.snapshot().level), (0.0, Level::Hard));
    pass(60_000).await;
    assert!(!limiter.try_acquire(1) && limiter.try_acquire(0));
    say(&feedback, &mut bars, Level::Ok).await;
    let mut last = 0.0;
    for step in 0..18 {
        let scale = limiter.scale();
        assert!(scale > last && scale < 1.0, "{scale} after {last}, at {step}");
        last = scale;
        pass(50).await;
    }
    pass(1).await;
    assert_eq!(limiter.scale(), 1.0);
}

/// Red when an acquire gets something at scale 0, when no one rings for it afterwards, or when it wakes out of turn.
#[actix::test]
async fn who_waits_through_hard_goes_on_in_order() {
    let (feedback, mut bars) = (paused(), EventSeries::new("bars"));
    let limiter = follow(&feedback, Budget::PerSecond(1_000.0)).start();
    say(&feedback, &mut bars, Level::Hard).await;
    let done = Mutex::new(Vec::new());
    let waits: Vec<_> = (0..20u32)
        .map(|number| {
            let (limiter, done) = (&limiter, &done);
            async move {
                limiter.acquire(1 + number % 3 * 100).await;
                done.lock().unwrap().push(number);
            }
        })
        .collect();
    let later = async {
        pass(10_000).await;
        assert_eq!(done.lock().unwrap().len(), 0);
        assert_eq!(limiter.snapshot().waiting, 20);
        say(&feedback, &mut bars, Level::Ok).await;
    };
    futures::future::join(futures::future::join_all(waits), later).await;
    assert!(done.into_inner().unwrap().into_iter().eq(0..20));
    assert_eq!(limiter.snapshot().waiting, 0);
}

/// Red when a newcomer takes what a producer waits for, or waiters are served in another order than that of arrival.
#[actix::test]
async fn nobody_jumps_the_line_whoever_asks_first() {
    let feedback = paused();
    let limiter = follow(&feedback, Budget::PerSecond(1_000.0)).burst(Duration::from_secs(1)).start();
    let mut waiting: Vec<_> = (0..20).map(|number| (number, Box::pin(limiter.acquire(400)))).collect();
    for (_, acquire) in &mut waiting {
        assert!(poll(acquire.as_mut()).is_pending());
    }
    let mut random = StdRng::seed_from_u64(1);
    for turn in 0..20 {
        pass(200).await;
        assert!(!limiter.try_acquire(1), "there are some, and they are promised");
        pass(200).await;
        waiting.shuffle(&mut random);
        let mut ready = Vec::new();
        waiting.retain_mut(|(number, acquire)| {
            let pending = poll(acquire.as_mut()).is_pending();
            ready.extend((!pending).then_some(*number));
            pending
        });
        assert_eq!(ready, [turn]);
    }
}

/// Red when a wait at scale 0 keeps the task from anything else, or a ping costs the producer its place.
#[actix::test]
async fn a_producer_answers_pings_while_it_is_held_back() {
    let (feedback, mut bars) = (paused(), EventSeries::new("bars"));
    let limiter = follow(&feedback, Budget::Gate).start();
    say(&feedback, &mut bars, Level::Hard).await;
    let mut pings = tokio::time::interval(Duration::from_secs(1));
    let mut answered = 0;
    let mut turn = pin!(limiter.acquire(500));
    let other = limiter.clone();
    loop {
        tokio::select! {
            () = &mut turn => break,
            _ = pings.tick() => {
                answered += 1;
                if answered == 2 {
                    assert!(poll(pin!(other.acquire(1)).as_mut()).is_pending());
                }
                if answered == 30 {
                    say(&feedback, &mut bars, Level::Ok).await;
                }
            }
        }
    }
    assert_eq!(answered, 30);
}

/// Red when `open` waits for records, resolves at scale 0, or takes something.
#[actix::test]
async fn open_waits_for_a_scale_above_0_and_takes_nothing() {
    let (feedback, mut bars) = (paused(), EventSeries::new("bars"));
    let limiter = follow(&feedback, Budget::PerSecond(1.0)).start();
    assert!(poll(pin!(limiter.open()).as_mut()).is_ready());
    say(&feedback, &mut bars, Level::Hard).await;
    let mut opens: Vec<_> = (0..3).map(|_| Box::pin(limiter.open())).collect();
    assert!(opens.iter_mut().all(|open| poll(open.as_mut()).is_pending()));
    drop(opens.pop());
    assert_eq!(limiter.snapshot().waiting, 2);
    let opened = futures::future::join_all(opens);
    futures::future::join(opened, say(&feedback, &mut bars, Level::Soft)).await;
    let now = limiter.snapshot();
    assert_eq!((now.waiting, now.acquired), (0, 0));
}

/// Red when a level of a coordinator that is not followed counts, or a lower scale of one that is does not.
#[actix::test]
async fn the_lowest_scale_of_the_followed_wins_and_no_other_counts() {
    let feedback = paused();
    let limiter = |ids: &[&str]| {
        let scales = Scales::new(1.0, 0.5, 0.25).unwrap();
        let budget = Budget::PerSecond(100.0);
        RateCoordinator::follow(&feedback, ids.to_vec()).budget(budget).scales(scales).on_current_arbiter().start()
    };
    let (both, one) = (limiter(&["bars", "ticks"]), limiter(&["db1:x/y/bars"]));
    let (named, all) = (limiter(&["bars"]), limiter(&[]));
    let scales = || [&both, &one, &named, &all].map(RateLimiter::scale);
    let mut first = EventSeries::new("bars").source("db1:x/y");
    let mut second = EventSeries::new("bars").source("db2");
    let (mut ticks, mut other) = (EventSeries::new("ticks"), EventSeries::new("other"));
    say(&feedback, &mut other, Level::Hard).await;
    assert_eq!(scales(), [1.0, 1.0, 1.0, 0.25]);
    say(&feedback, &mut second, Level::Soft).await;
    assert_eq!(scales(), [0.5, 1.0, 0.5, 0.25]);
    say(&feedback, &mut ticks, Level::Hard).await;
    assert_eq!(scales(), [0.25, 1.0, 0.5, 0.25]);
    say(&feedback, &mut first, Level::Hard).await;
    assert_eq!(scales(), [0.25, 0.25, 0.25, 0.25]);
    for series in [&mut ticks, &mut other, &mut first] {
        say(&feedback, series, Level::Ok).await;
    }
    pass(1_000).await;
    assert_eq!(scales(), [0.5, 1.0, 0.5, 0.5]);
    assert_eq!(&*both.snapshot().name, "bars,ticks");
}

/// Red when a limiter begins open although the bus knows better, for as short as that may be.
#[test]
fn a_limiter_that_comes_late_knows_the_present_from_its_first_moment() {
    let feedback = Feedback::private();
    let mut bars = EventSeries::new("bars");
    feedback.publish(bars.next(Level::Hard));
    block_on(within(PATIENCE, feedback.idle()));
    for _ in 0..100 {
        let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::FollowDrainRate).start();
        assert!(!limiter.try_acquire(1));
        assert_eq!((limiter.scale(), limiter.snapshot().drain_rate), (0.0, Some(10.0)));
    }
}

/// Red when the levels of an earlier epoch hold a producer after the store has started again.
#[actix::test]
async fn after_a_restart_of_the_store_it_goes_on_by_itself() {
    let (feedback, mut bars) = (paused(), EventSeries::new("bars"));
    let limiter = follow(&feedback, Budget::PerSecond(1_000.0)).start();
    feedback.publish(bars.next_because(Reason::Draining));
    within(PATIENCE, feedback.idle()).await;
    let mut waits = pin!(limiter.acquire(10));
    assert!(poll(waits.as_mut()).is_pending());
    pass(3_600_000).await;
    assert!(poll(waits.as_mut()).is_pending(), "draining never clears");
    let mut older = bars.clone();
    bars.restart();
    say(&feedback, &mut bars, Level::Ok).await;
    waits.await;
    // What is said late of the end of the one before changes nothing.
    feedback.publish(older.next_because(Reason::Draining));
    within(PATIENCE, feedback.idle()).await;
    assert!(limiter.scale() > 0.0);
}

/// Red when a bus that dies stops a producer without end, or opens it altogether.
#[test]
fn when_the_bus_dies_a_producer_goes_on_at_the_scale_of_soft() {
    let feedback = Feedback::private();
    let mut bars = EventSeries::new("bars");
    let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(10_000.0)).start();
    feedback.publish(bars.next(Level::Hard));
    block_on(within(PATIENCE, feedback.idle()));
    let (mut waits, mut open) = (pin!(limiter.acquire(10)), pin!(limiter.open()));
    assert!(poll(waits.as_mut()).is_pending() && poll(open.as_mut()).is_pending());
    feedback.fault().arm(1);
    feedback.publish(bars.next(Level::Hard));
    block_on(within(PATIENCE, feedback.stopped()));
    block_on(within(PATIENCE, open));
    block_on(within(PATIENCE, waits));
    // More than the thread of a bus outlives it by can do: the clock is not the bus's.
    block_on(within(PATIENCE, limiter.acquire(3_000)));
    block_on(within(PATIENCE, limiter.acquire(1)));
    let now = limiter.snapshot();
    assert_eq!((now.scale, now.rate, now.bus_ended), (0.5, Some(5_000.0), true));
    // And one that is made for a bus that is gone.
    let late = RateCoordinator::follow(&feedback, ["bars"]).start();
    block_on(within(PATIENCE, late.open()));
}

/// Red when a bus is kept alive by a limiter, a limiter by a bus, or a lane stays when its limiter is gone.
#[test]
fn a_limiter_ends_with_its_last_handle_and_keeps_no_bus_alive() {
    let feedback = Feedback::private();
    let limiter = RateCoordinator::follow(&feedback, ["bars"]).start();
    let other = limiter.clone();
    drop(limiter);
    assert_eq!(block_on(feedback.snapshot()).unwrap().lanes.len(), 1);
    drop(other);
    let mut bars = EventSeries::new("bars");
    let pruned = async {
        while feedback.snapshot().await.unwrap().pruned == 0 {
            // The actor ends when its thread gets to it; an event makes the bus look.
            feedback.publish(bars.next(Level::Ok));
            feedback.idle().await;
        }
    };
    block_on(within(PATIENCE, pruned));
    let limiter = RateCoordinator::follow(&feedback, ["bars"]).start();
    drop(feedback);
    let told = async {
        while !limiter.snapshot().bus_ended {
            thread::yield_now();
        }
    };
    block_on(within(PATIENCE, told));
}

/// Red when those who wait are left behind by the end of the thread that keeps their clock.
#[test]
fn when_the_clock_is_gone_no_one_waits_without_end() {
    let system = actix::System::new();
    let feedback = Feedback::private();
    let limiter = system.block_on(async {
        let limiter = follow(&feedback, Budget::PerSecond(0.001)).start();
        feedback.idle().await;
        limiter
    });
    let mut waits = pin!(limiter.acquire(1_000));
    assert!(poll(waits.as_mut()).is_pending());
    drop(system);
    block_on(within(PATIENCE, waits));
}

/// Red when a limiter whose own actor dies, with an event half heard, holds a producer without end.
#[test]
fn when_the_actor_of_a_limiter_dies_no_one_waits_without_end() {
    log();
    for (pass, point) in [(1, "an event came and is not taken in"), (2, "a level is taken in and the clock is not set")]
    {
        let feedback = Feedback::private();
        let mut bars = EventSeries::new("bars");
        let name = format!("dies at {pass}");
        let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(0.001)).name(&name).start();
        let (mut waits, mut open) = (pin!(limiter.acquire(1_000)), pin!(limiter.acquire(1)));
        assert!(poll(waits.as_mut()).is_pending() && poll(open.as_mut()).is_pending());
        limiter.fault().arm(pass);
        feedback.publish(bars.next(Level::Hard));
        let fired = block_on(within(PATIENCE, limiter.fault().fired()));
        assert_eq!(fired.point, point);
        block_on(within(PATIENCE, waits));
        block_on(within(PATIENCE, open));
        block_on(within(PATIENCE, limiter.open()));
        // The bus and its other subscribers have lost nothing by it.
        block_on(within(PATIENCE, feedback.idle()));
        assert_eq!(block_on(feedback.snapshot()).unwrap().present[0].level, Level::Hard);
        let told = |line: &String| line.starts_with("ERROR") && line.contains(&name);
        assert!(log().iter().any(told), "no one was told of {point:?}");
    }
}

/// Sends a word whenever it is woken.
struct Bell(mpsc::Sender<()>);

impl Wake for Bell {
    fn wake(self: Arc<Self>) {
        let _ = self.0.send(());
    }
}

/// Nothing polls these futures but their own wake-ups, from a thread without a runtime. Red when no one rings for one
/// who waits, or the actor serves one and wakes none.
#[test]
fn who_waits_is_woken_when_its_turn_has_come() {
    let feedback = Feedback::private();
    let mut bars = EventSeries::new("bars");
    let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(10_000.0)).start();
    let (sender, woken) = mpsc::channel();
    let bell = Waker::from(Arc::new(Bell(sender)));
    let mut context = Context::from_waker(&bell);
    let mut waits = 0;
    for _ in 0..10 {
        let mut acquire = pin!(limiter.acquire(500));
        while acquire.as_mut().poll(&mut context).is_pending() {
            woken.recv_timeout(PATIENCE).expect("a wake-up");
            waits += 1;
        }
    }
    assert!((1..=10).contains(&waits), "woken {waits} times");
    feedback.publish(bars.next(Level::Hard));
    block_on(within(PATIENCE, feedback.idle()));
    let (mut acquire, mut open) = (pin!(limiter.acquire(500)), pin!(limiter.open()));
    assert!(acquire.as_mut().poll(&mut context).is_pending() && open.as_mut().poll(&mut context).is_pending());
    feedback.publish(bars.next(Level::Ok));
    for _ in 0..2 {
        woken.recv_timeout(PATIENCE).expect("a wake-up");
    }
    assert!(acquire.as_mut().poll(&mut context).is_ready() && open.as_mut().poll(&mut context).is_ready());
}

/// Polls a future a few times, at moments of its own, and gives it up if it is not ready then.
fn poll_some<F: Future>(random: &mut StdRng, future: F) -> bool {
    let mut future = pin!(future);
    for _ in 0..random.random_range(0..4) {
        if poll(future.as_mut()).is_ready() {
            return true;
        }
        for _ in 0..random.random_range(0..200) {
            std::hint::spin_loop();
        }
        if random.random_ratio(1, 8) {
            thread::yield_now();
        }
    }
    false
}

/// Red when a dropped acquire keeps its place, or what it was granted.
#[test]
fn dropping_acquires_at_random_moments_loses_nothing() {
    let futures = size_of_test("MDS_TEST_CANCELLED", 10_000);
    let seed: u64 = rand::rng().random();
    println!("seed {seed}");
    let feedback = Feedback::private();
    // A tenth of what the threads ask for, so that most wait.
    let limiter = RateCoordinator::follow(&feedback, ["bars"])
        .budget(Budget::PerSecond(200_000.0))
        .ramp(Duration::from_millis(1))
        .burst(Duration::from_millis(1))
        .start();
    let (acquired, dropped, stop) = (Mutex::new(0), Mutex::new(0), AtomicBool::new(false));
    thread::scope(|scope| {
        let threads = (0..4u64).map(|number| {
            let (limiter, acquired, dropped) = (&limiter, &acquired, &dropped);
            scope.spawn(move || {
                let mut random = StdRng::seed_from_u64(seed ^ number);
                for _ in 0..futures / 4 {
                    let want = random.random_range(0..200);
                    let (got, records) = match random.random_range(0..8) {
                        0 => (limiter.try_acquire(want), want),
                        1 => (poll_some(&mut random, limiter.open()), 0),
                        _ => (poll_some(&mut random, limiter.acquire(want)), want),
                    };
                    *acquired.lock().unwrap() += if got { u64::from(records) } else { 0 };
                    *dropped.lock().unwrap() += usize::from(!got);
                }
            })
        });
        let threads: Vec<_> = threads.collect();
        // The level goes up and down all the while.
        scope.spawn(|| {
            let mut bars = EventSeries::new("bars");
            for level in [Level::Soft, Level::Hard, Level::Ok].into_iter().cycle() {
                if stop.load(Ordering::Acquire) {
                    break;
                }
                feedback.publish(bars.next(level));
                block_on(feedback.idle());
            }
            feedback.publish(bars.next(Level::Ok));
        });
        let threads: Vec<_> = threads.into_iter().map(|thread| thread.join()).collect();
        stop.store(true, Ordering::Release);
        threads.into_iter().for_each(|thread| thread.expect("a thread that acquires"));
    });
    let (acquired, dropped) = (acquired.into_inner().unwrap(), dropped.into_inner().unwrap());
    println!("{dropped} of {futures} futures dropped before they were ready, {acquired} records acquired");
    assert!(dropped > futures / 10, "too few were dropped to prove anything");
    block_on(within(PATIENCE, feedback.idle()));
    let now = limiter.snapshot();
    assert_eq!((now.acquired, now.waiting), (acquired, 0));
    // The line is served on.
    let waits = (0..100).map(|_| limiter.acquire(100));
    block_on(within(PATIENCE, futures::future::join_all(waits)));
    assert_eq!(limiter.snapshot().acquired, acquired + 10_000);
}

/// Red when a limiter hears a store's own bus late, never, or not from a thread without a runtime.
#[test]
fn a_store_that_stalls_holds_a_producer_that_knows_only_its_limiter() {
    let sink = MemorySink::new();
    let own = coordinator_settings(100, 1, 10).watermarks(50, 80);
    let coordinator = Coordinator::new(sink.clone()).settings(own);
    let store = MarketDataStore::builder(settings()).coordinator(coordinator).spawn().unwrap();
    let handle: WriteHandle<Tick> = store.coordinator().unwrap();
    let limiter = RateCoordinator::follow(&store.feedback(), [handle.id()]).start();
    block_on(occupy(&handle, &sink, 1));
    block_on(limiter.acquire(100));
    block_on(handle.submit_many((100..180).map(|id| tick("ES", id)))).unwrap();
    block_on(handle.health());
    block_on(within(PATIENCE, store.feedback().idle()));
    let mut waits = pin!(limiter.acquire(1));
    assert!(poll(waits.as_mut()).is_pending());
    sink.release();
    block_on(within(PATIENCE, waits));
    // The end of a store that had a bus of its own ends no producer: it meets a store that takes nothing.
    block_on(store.shutdown(PATIENCE));
    block_on(within(PATIENCE, limiter.acquire(1)));
    assert!(handle.try_submit(tick("ES", 1)).is_err());
}

/// Submits for a minute of the paused clock, held back by a limiter or by the full queue alone. Returns how many
/// records were stored, and how often in 6,000 looks the queue was below its high watermark.
async fn a_minute(followed: bool) -> (usize, usize) {
    let feedback = Feedback::on_current_arbiter();
    let sink = MemorySink::<Tick>::new();
    sink.delay(Duration::from_millis(100));
    let own = CoordinatorSettings::new(1_000).workers(1).batch_size(100);
    let store = MarketDataStore::builder(settings())
        .coordinator(Coordinator::new(sink.clone()).settings(own))
        .feedback(feedback.clone())
        .on_current_arbiter()
        .start()
        .await
        .unwrap();
    let handle: WriteHandle<Tick> = store.coordinator().unwrap();
    let limiter =
        RateCoordinator::follow(&feedback, [handle.id()]).budget(Budget::FollowDrainRate).on_current_arbiter().start();
    let producer = async {
        for chunk in 0.. {
            if followed {
                limiter.acquire(50).await;
            }
            handle.submit_many(ticks(chunk * 50..(chunk + 1) * 50)).await.unwrap();
        }
    };
    let watch = async {
        let (mut below, begun) = (0, tokio::time::Instant::now());
        for _ in 0..6_000 {
            pass(9).await; // and one for the timer
            below += usize::from(handle.health().await.queue_size < 800);
        }
        assert!((59.0..61.0).contains(&begun.elapsed().as_secs_f64()), "{:?}", begun.elapsed());
        (sink.stored(), below)
    };
    let watched = match futures::future::select(pin!(producer), pin!(watch)).await {
        futures::future::Either::Left(((), _)) => unreachable!("there is no last chunk"),
        futures::future::Either::Right((watched, _)) => watched,
    };
    store.shutdown(PATIENCE).await;
    watched
}

/// The policy's simulation, with real parts. Red when a word of the limiter is lost between coordinator and producer.
#[actix::test]
async fn a_producer_that_follows_keeps_a_real_store_busy_and_its_queue_low() {
    tokio::time::pause();
    let (possible, below) = a_minute(false).await;
    assert!(possible > 50_000 && below < 3_000, "{possible} records, {below} looks: is the store slow at all?");
    let (stored, below) = a_minute(true).await;
    println!("{stored} of {possible} stored, {below} of 6000 looks below the high watermark");
    assert!(stored as f64 >= 0.95 * possible as f64, "{stored} of {possible}");
    assert!(below >= 5_700, "{below}");
}
