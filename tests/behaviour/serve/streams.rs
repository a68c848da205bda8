//! Many clients of the stream, half of which do not read.

use std::time::{Duration, Instant};

use super::{Service, bars, load::resident, watching::Events};
use crate::support::size_of_test;

const WAVES: u64 = 5;

/// Posts so many bars, and returns how long it takes until they are stored: the least of three times.
fn post(service: &Service, records: u64) -> Duration {
    let time = |_| {
        let (body, began) = (bars(0..records), Instant::now());
        assert_eq!(service.post("/v1/records/bars", &body).status, 200);
        began.elapsed()
    };
    (0..3).map(time).min().unwrap()
}

/// Red when a client that reads misses a change beside those that do not, posts wait for clients of the stream, what is kept
/// for them grows, or one of them holds up the end of the service.
#[test]
fn clients_of_the_stream_that_do_not_read_cost_the_others_nothing() {
    let clients = size_of_test("MDS_TEST_SERVE_STREAMS", 20);
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), &[("MDS_KINDS", "bars"), ("MDS_COORDINATOR_CAPACITY", "1000")]);
    let process = service.child.id();
    let alone = post(&service, 20_000);
    let before = resident(process);
    let open = |_| {
        let mut events = Events::open(service.address, "?coordinator=bars");
        assert_eq!(events.next().unwrap()["coordinator_id"], "bars");
        events
    };
    let mut idle: Vec<Events> = (0..clients / 2).map(open).collect();
    let mut readers: Vec<Events> = (0..clients - clients / 2).map(open).collect();
    let database = service.database();
    let mut slowest = Duration::ZERO;
    for wave in 1..=WAVES {
        database.execute_batch("BEGIN IMMEDIATE").unwrap();
        let first = 1_000_000 * wave;
        assert_eq!(service.post("/v1/records/bars?ack=queued", &bars(first..first + 999)).status, 202);
        for level in ["hard", "ok"] {
            if level == "ok" {
                database.execute_batch("COMMIT").unwrap();
            }
            let began = Instant::now();
            let told: Vec<_> = readers.iter_mut().map(|reader| reader.until("bars", level)["id"].clone()).collect();
            slowest = slowest.max(began.elapsed());
            assert!(told.iter().all(|id| *id == told[0]), "wave {wave}: {told:?}");
        }
    }
    let beside = post(&service, 20_000);
    let after = resident(process);
    let began = Instant::now();
    service.signal("-TERM");
    for reader in readers.iter_mut().chain(&mut idle) {
        let mut last = None;
        while let Some(event) = reader.next() {
            last = Some(event);
        }
        assert_eq!(last.unwrap()["reason"], "draining");
    }
    assert_eq!(service.wait().code(), Some(0), "{}", service.log());
    let end = began.elapsed();
    println!(
        "{clients} clients, half of which do not read: 20,000 bars take {beside:.1?} beside them and {alone:.1?} alone; a change \
         reached all readers in {slowest:.1?} at most; memory {before} MiB before, {after} MiB after; the end took {end:.1?}"
    );
    assert!(slowest < Duration::from_secs(10), "a change reached a reader after {slowest:?}");
    assert!(beside < 10 * alone + Duration::from_millis(100), "{beside:?} beside them, {alone:?} alone");
    assert!(after < before + 32 + clients as u64 / 2, "{before} MiB grew to {after} MiB");
    assert!(end < Duration::from_secs(20), "{end:?}");
}
