//! A producer whose store is another process, which dies.

use std::{
    collections::BTreeMap,
    net::SocketAddr,
    path::PathBuf,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, rt};
use market_data_store::{
    Budget, Delivery, Feedback, FeedbackEvent, Level, RateCoordinator, Reason, Receiver, Replay, Subscribe,
    WebhookSecret,
};

use crate::{
    mds::{Running, empty_store, eventually, ingest, minutes},
    support::{PATIENCE, recorder, size_of_test, within},
};

pub const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A feed that stops at hard, in this process, and a real `mds` behind a pipe, which is killed at hard: what the
/// producer heard last is that it must not go on, and the one that said so is gone. Red when a store that starts says
/// nothing of itself, when what it says counts as old because it counts from one again, or when the producer waits for
/// an `ok` with a higher number.
#[actix::test]
async fn a_producer_goes_on_when_its_store_was_killed_at_hard_and_starts_again() {
    let listening = Listening::start();
    let url = listening.url();
    let Listening { feedback, receiver, stop, .. } = listening;
    let (recorder, events) = recorder();
    feedback.subscribe(Subscribe::new(recorder).delivery(Delivery::Every).replay(Replay::All));
    let limiter = RateCoordinator::follow(&feedback, ["db1:feed/bars"]).budget(Budget::Gate).start();

    let dir = tempfile::tempdir().unwrap();
    let environment: BTreeMap<_, _> = [
        ("MDS_SOURCE", "db1:feed"),
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", &*url),
        ("MDS_FB_HTTP_SECRET", SECRET),
        ("MDS_COORDINATOR_CAPACITY", "100"),
        ("MDS_COORDINATOR_BATCH_SIZE", "10"),
    ]
    .into();
    let start = || {
        let mut command =
            ingest(dir.path(), &["--json", "--symbol", "ES", "--timeframe", "1m", "--give-up-after", "0", "-"]);
        command.envs(&environment);
        Running::start(command)
    };
    let database = empty_store(dir.path());

    let rounds = size_of_test("MDS_TEST_RESTARTS", 3);
    let mut longest = Duration::ZERO;
    for round in 0..rounds {
        // The store cannot write, so its queue fills, and it says so.
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let mut store = start();
        store.write(&minutes(400));
        let mut level = feedback.watch("db1:feed/bars");
        let hard = level.wait_for(|event| event.level == Level::Hard);
        let epoch = within(PATIENCE, hard).await.unwrap().epoch;
        within(PATIENCE, feedback.idle()).await;
        assert!(limiter.scale() < f64::EPSILON, "the feed goes on at hard");

        store.child.kill().unwrap();
        store.child.wait().unwrap();
        database.execute_batch("ROLLBACK").unwrap();

        let restarted = Instant::now();
        let mut store = start();
        within(PATIENCE, limiter.open()).await;
        longest = longest.max(restarted.elapsed());
        let first = within(PATIENCE, level.wait_for(|event| event.epoch > epoch)).await.unwrap().clone();
        assert_eq!((first.level, first.reason, first.seq), (Level::Ok, Reason::Started, 1), "round {round}");

        drop(store.stdin.take());
        let (status, _) = store.end();
        assert_eq!(status.code(), Some(0));
    }
    // A goal, not a promise: what a start takes is the machine's.
    println!("{rounds} restarts: the producer went on within {longest:?} of each (goal 2 s)");
    assert!(longest < Duration::from_secs(20), "{longest:?}");
    within(PATIENCE, feedback.idle()).await;
    let counts = receiver.snapshot();
    assert_eq!((counts.bad_signature, counts.coordinators), (0, 1));
    // Each that ended in order said once more what it had said last, as its end.
    assert_eq!(events.lock().len() as u64 + rounds as u64, counts.accepted);
    stop.stop(true).await;
}

/// What a producer in this process follows: a receiver of webhooks, served on this machine.
pub struct Listening {
    pub feedback: Feedback,
    pub receiver: Receiver,
    pub address: SocketAddr,
    stop: actix_web::dev::ServerHandle,
}

impl Listening {
    pub fn start() -> Self {
        let feedback = Feedback::private();
        let receiver = Receiver::signed(feedback.clone(), [SECRET.parse::<WebhookSecret>().unwrap()]);
        let app = {
            let receiver = receiver.clone();
            move || App::new().service(receiver.at("/feedback"))
        };
        let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
        let address = server.addrs()[0];
        let server = server.run();
        let stop = server.handle();
        rt::spawn(server);
        Self { feedback, receiver, address, stop }
    }

    fn url(&self) -> String {
        format!("http://{}/feedback", self.address)
    }

    /// Waits until a selection is at a level, and returns how long that took.
    async fn until(&self, selection: &str, level: Level) -> (Duration, FeedbackEvent) {
        let (begun, mut shown) = (Instant::now(), self.feedback.watch(selection));
        // What is assumed before any event does not count.
        let is_said = |event: &FeedbackEvent| event.level == level && event.seq > 0;
        let event = within(PATIENCE, shown.wait_for(is_said)).await.unwrap().clone();
        (begun.elapsed(), event)
    }
}

/// How often the processes here are heard from.
const REFRESH: Duration = Duration::from_millis(500);

/// A real store in a directory of its own, which says how it is to a receiver; its database is locked until that is
/// undone.
struct Store {
    dir: tempfile::TempDir,
    database: rusqlite::Connection,
    source: Option<&'static str>,
    running: Option<Running>,
}

impl Store {
    fn new(source: Option<&'static str>) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let database = empty_store(dir.path());
        Self { dir, database, source, running: None }
    }

    /// Starts the process, on a clock that is off by so many seconds.
    fn start(&mut self, listening: &Listening, clock: i64) {
        let mut command =
            ingest(self.dir.path(), &["--json", "--symbol", "ES", "--timeframe", "1m", "--give-up-after", "0", "-"]);
        command.envs([
            ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
            ("MDS_FB_HTTP_ENDPOINT", &*listening.url()),
            ("MDS_FB_HTTP_SECRET", SECRET),
            ("MDS_FB_HTTP_REFRESH", "0.5"),
            ("MDS_COORDINATOR_CAPACITY", "100"),
            ("MDS_COORDINATOR_BATCH_SIZE", "10"),
        ]);
        command.envs(self.source.map(|source| ("MDS_SOURCE", source)));
        if clock != 0 {
            command.env("LD_PRELOAD", faketime()).env("FAKETIME", format!("{clock:+}s"));
            command.env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
        }
        self.running = Some(Running::start(command));
    }

    /// Gives it more than it can hold while it cannot write.
    fn fill(&mut self) {
        self.database.execute_batch("BEGIN IMMEDIATE").unwrap();
        self.running.as_mut().unwrap().write(&minutes(400));
    }

    fn kill(&mut self) {
        let mut running = self.running.take().unwrap();
        running.child.kill().unwrap();
        running.child.wait().unwrap();
        if !self.database.is_autocommit() {
            self.database.execute_batch("ROLLBACK").unwrap();
        }
    }

    /// Ends its input, or it itself by a signal.
    fn end(&mut self, signal: Option<&str>) {
        let mut running = self.running.take().unwrap();
        match signal {
            Some(signal) => running.signal(signal),
            None => drop(running.stdin.take()),
        }
        running.end();
    }
}

/// The library of Debian's package that gives a process another clock.
pub fn faketime() -> PathBuf {
    let of_each_machine = std::fs::read_dir("/usr/lib").into_iter().flatten().flatten();
    let mut libraries = of_each_machine.map(|dir| dir.path().join("faketime/libfaketime.so.1"));
    libraries.find(|library| library.exists()).expect("no libfaketime.so.1: run tests/setup.sh first")
}

/// Silence is noticed after three refreshes, and no machine takes longer than this to tell of it.
const SILENT_AFTER: Duration = Duration::from_secs(20);

/// A is at hard and the producer saw ok. Red when the later of two processes of one default name hides the other, when
/// neither is told, or when the one that was killed counts for longer than three refreshes.
#[actix::test]
async fn of_two_processes_of_one_default_name_the_higher_level_counts() {
    let listening = Listening::start();
    let [mut a, mut b] = [Store::new(None), Store::new(None)];
    a.start(&listening, 0);
    a.fill();
    listening.until("bars", Level::Hard).await;
    b.start(&listening, 0);
    // Its newer epoch takes the place of A, until A is heard again.
    let conflicts = || listening.receiver.snapshot().conflicts;
    eventually("both are heard", || conflicts() >= 2);
    let (_, event) = listening.until("bars", Level::Hard).await;
    assert_eq!(event.reason, Reason::QueueHigh);
    b.running.as_ref().unwrap().wait_for("hears another process");
    assert!(listening.feedback.snapshot().await.unwrap().conflicts >= 2);
    a.kill();
    let (took, event) = listening.until("bars", Level::Ok).await;
    assert!(event.reason == Reason::Started && took < SILENT_AFTER, "{took:?}: {event:?}");
    b.end(None);
    listening.stop.stop(true).await;
}

/// Red when a process that was killed at hard holds those that follow its name in every source, after another took its
/// place under a name of its own; or when its own name does not say that it is silent.
#[actix::test]
async fn one_that_was_killed_at_hard_lets_another_of_another_name_count() {
    let listening = Listening::start();
    let [mut gone, mut next] = [Store::new(Some("pod-1")), Store::new(Some("pod-2"))];
    let limiter = RateCoordinator::follow(&listening.feedback, ["bars"]).budget(Budget::Gate).start();
    gone.start(&listening, 0);
    gone.fill();
    listening.until("bars", Level::Hard).await;
    gone.kill();
    next.start(&listening, 0);
    listening.until("pod-2/bars", Level::Ok).await;
    let (took, event) = listening.until("bars", Level::Ok).await;
    assert!(&*event.source == "pod-2" && took < SILENT_AFTER, "{took:?}: {event:?}");
    let (_, event) = listening.until("pod-1/bars", Level::Soft).await;
    assert_eq!(event.reason, Reason::Silent);
    within(PATIENCE, limiter.open()).await;
    assert_eq!(limiter.snapshot().level, Level::Ok);
    next.end(None);
    listening.stop.stop(true).await;
}

/// A restart after the clock was set back was stale without end. Red when it does not count once the one before was
/// silent for long enough.
#[actix::test]
async fn a_restart_on_a_clock_that_was_set_back_is_heard() {
    let listening = Listening::start();
    let mut store = Store::new(Some("db1:feed"));
    store.start(&listening, 0);
    store.fill();
    let (_, before) = listening.until("db1:feed/bars", Level::Hard).await;
    store.kill();
    // Within the tolerance of signatures.
    store.start(&listening, -200);
    let (took, event) = listening.until("db1:feed/bars", Level::Ok).await;
    assert!(event.epoch + 150_000_000 < before.epoch, "{event:?} after {before:?}");
    assert!(event.reason == Reason::Started && took < SILENT_AFTER, "{took:?}: {event:?}");
    let snapshot = listening.receiver.snapshot();
    assert_eq!((snapshot.stale, snapshot.bad_timestamp), (0, 0), "{snapshot:?}");
    store.end(None);
    listening.stop.stop(true).await;
}

/// Red when a clean end is taken for a death, at draining or at ok.
#[actix::test]
async fn an_orderly_end_is_no_silence() {
    let listening = Listening::start();
    for (signal, level, reason) in [(None, Level::Ok, Reason::Started), (Some("TERM"), Level::Hard, Reason::Draining)] {
        let mut store = Store::new(Some(if signal.is_some() { "by signal" } else { "at the end" }));
        let name = format!("{}/bars", store.source.unwrap());
        store.start(&listening, 0);
        let (_, event) = listening.until(&name, Level::Ok).await;
        assert_eq!((event.reason, event.seq), (Reason::Started, 1));
        store.end(signal);
        let shown = listening.feedback.watch(&name);
        // That nothing comes is the point.
        tokio::time::sleep(4 * REFRESH).await;
        assert_eq!((shown.borrow().level, shown.borrow().reason), (level, reason));
    }
    assert_eq!(listening.receiver.snapshot().expired, 0);
    listening.stop.stop(true).await;
}
