//! A producer whose store is another process, which dies.

use std::{
    collections::BTreeMap,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, rt};
use market_data_store::{
    Budget, Delivery, Feedback, Level, RateCoordinator, Reason, Receiver, Replay, Subscribe, WebhookSecret,
};

use crate::{
    mds::{Running, empty_store, ingest, minutes},
    support::{PATIENCE, recorder, size_of_test, within},
};

const SECRET: &str = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw";

/// A feed that stops at hard, in this process, and a real `mds` behind a pipe, which is killed at hard: what the producer
/// heard last is that it must not go on, and the one that said so is gone. Red when a store that starts says nothing of
/// itself, when what it says counts as old because it counts from one again, or when the producer waits for an `ok` with
/// a higher number.
#[actix::test]
async fn a_producer_goes_on_when_its_store_was_killed_at_hard_and_starts_again() {
    let feedback = Feedback::private();
    let (recorder, events) = recorder();
    feedback.subscribe(Subscribe::new(recorder).delivery(Delivery::Every).replay(Replay::All));
    let limiter = RateCoordinator::follow(&feedback, ["db1:feed/bars"]).budget(Budget::Gate).start();
    let receiver = Receiver::signed(feedback.clone(), [SECRET.parse::<WebhookSecret>().unwrap()]);
    let app = {
        let receiver = receiver.clone();
        move || App::new().service(receiver.at("/feedback"))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
    let url = format!("http://{}/feedback", server.addrs()[0]);
    let server = server.run();
    let stop = server.handle();
    rt::spawn(server);

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
