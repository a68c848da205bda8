//! The end of a service: what it has acknowledged is stored.

use std::{
    collections::HashSet,
    sync::atomic::{AtomicBool, AtomicU64, Ordering},
    thread,
    time::Duration,
};

use super::{Client, Service, bar, bars};
use crate::{mds::count, support::size_of_test};

/// Posts bodies of `ack=stored` from several clients until the service is ended by `end`. Returns the ids that were
/// acknowledged.
fn acknowledged(service: &Service, first: u64, end: impl FnOnce()) -> HashSet<i64> {
    const CLIENTS: u64 = 3;
    const BODY: u64 = 200;
    let (next, ended) = (AtomicU64::new(first), AtomicBool::new(false));
    let known = parking_lot::Mutex::new(HashSet::new());
    thread::scope(|scope| {
        for _ in 0..CLIENTS {
            scope.spawn(|| {
                while !ended.load(Ordering::Relaxed) {
                    let from = next.fetch_add(BODY, Ordering::Relaxed);
                    let answer = post(service, from, BODY);
                    let Some(answer) = answer else { return };
                    // Of a body that was cut off the front counts.
                    let stored = count(&answer.json(), "resume_at");
                    assert!([200, 503].contains(&answer.status), "{answer:?}");
                    assert!(answer.status != 200 || stored == BODY, "{answer:?}");
                    known.lock().extend((from..from + stored).map(|id| id as i64));
                }
            });
        }
        // It ends in the middle of what goes on, and not before anything did.
        service.until("bars", |health| count(health, "stored") > 200);
        thread::sleep(Duration::from_micros(fastrand::u64(..30_000)));
        end();
        ended.store(true, Ordering::Relaxed);
    });
    known.into_inner()
}

/// Posts a body, unless the service is gone.
fn post(service: &Service, from: u64, records: u64) -> Option<super::Answer> {
    use std::{
        io::{Read, Write},
        net::TcpStream,
    };
    let mut stream = TcpStream::connect(service.address).ok()?;
    stream.set_read_timeout(Some(crate::mds::TOO_LONG)).unwrap();
    let body = bars(from..from + records);
    let head = format!(
        "POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\nContent-Length: {}\r\nConnection: close\r\n\r\n",
        body.len()
    );
    stream.write_all(head.as_bytes()).and_then(|()| stream.write_all(&body)).ok()?;
    let mut text = Vec::new();
    let _ = stream.read_to_end(&mut text);
    let is_tally = text.windows(11).any(|window| window == b"\"resume_at\"");
    // Refused before its body was read: nothing of it is acknowledged.
    is_tally.then(|| super::Answer::parse(&text))
}

/// Red when a record is acknowledged before it is stored, an answer is cut off by the end, or the exit code is another.
#[test]
fn after_a_sigterm_under_load_everything_acknowledged_is_stored() {
    let rounds = size_of_test("MDS_TEST_SERVE_TERMS", 3);
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 0..rounds as u64 {
        let mut service = Service::start(dir.path(), &[("MDS_COORDINATOR_FLUSH_INTERVAL", "0.01")]);
        let ids = acknowledged(&service, round * 1_000_000, || service.signal("-TERM"));
        let status = service.wait();
        assert_eq!(status.code(), Some(0), "{}", service.log());
        let stored: HashSet<i64> = service.ids().into_iter().collect();
        let lost: Vec<_> = ids.difference(&stored).collect();
        assert!(lost.is_empty(), "{} of {} were acknowledged and are not stored", lost.len(), ids.len());
        total += ids.len();
    }
    assert!(total > 200 * rounds, "only {total}");
    println!("{rounds} ends, {total} acknowledged records, all stored");
}

/// Red when a record is acknowledged before it is stored.
#[test]
fn after_a_sigkill_everything_acknowledged_is_stored() {
    let rounds = size_of_test("MDS_TEST_SERVE_KILLS", 3);
    let dir = tempfile::tempdir().unwrap();
    let mut total = 0;
    for round in 0..rounds as u64 {
        let mut service = Service::start(dir.path(), &[("MDS_COORDINATOR_FLUSH_INTERVAL", "0.01")]);
        let ids = acknowledged(&service, round * 1_000_000, || service.signal("-KILL"));
        service.wait();
        let stored: HashSet<i64> = service.ids().into_iter().collect();
        let lost: Vec<_> = ids.difference(&stored).collect();
        assert!(lost.is_empty(), "{} of {} were acknowledged and are not stored", lost.len(), ids.len());
        total += ids.len();
    }
    assert!(total > 200 * rounds, "only {total}");
    println!("{rounds} kills, {total} acknowledged records, all stored");
}

/// Red when a body of which more is to come has no answer at the end, or one that leaves out what was accepted of it.
#[test]
fn an_upload_that_is_open_at_the_end_is_answered_with_resume_at() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), &[]);
    let head = "POST /v1/records/bars HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n";
    let mut client = Client::new(service.address, head, None);
    let record = bar(7);
    client.write(format!("{:x}\r\n{record}\r\n", record.len()).as_bytes());
    service.until("bars", |health| count(health, "submitted") == 1);
    service.signal("-TERM");
    let answer = client.answer();
    let tally = answer.json();
    assert_eq!((answer.status, count(&tally, "resume_at"), count(&tally, "stored")), (503, 1, 1), "{answer:?}");
    assert!(answer.headers.contains_key("retry-after"), "{answer:?}");
    assert_eq!(service.wait().code(), Some(0), "{}", service.log());
    assert_eq!(service.ids(), [7]);
}

/// Red when the end takes records, does not say that it drains, leaves records without a word, or a second signal waits.
#[test]
fn an_end_with_a_store_that_is_away_says_what_is_left() {
    let dir = tempfile::tempdir().unwrap();
    let variables =
        [("MDS_SHUTDOWN_TIMEOUT", "30"), ("MDS_HTTP_ACK_TIMEOUT", "60"), ("MDS_COORDINATOR_FLUSH_INTERVAL", "0.01")];
    let mut service = Service::start(dir.path(), &variables);
    assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    thread::scope(|scope| {
        let waiting = scope.spawn(|| service.post("/v1/records/bars", &bars(1..100)));
        service.until("bars", |health| count(health, "submitted") == 100);
        service.signal("-TERM");
        service.until("bars", |health| health["state"] == "draining");
        let readiness = service.get("/readyz");
        assert_eq!((readiness.status, readiness.json()["status"].as_str()), (503, Some("draining")));
        assert_eq!(service.get("/livez").status, 200);
        let refused = service.post("/v1/records/bars", bar(200).as_bytes());
        assert_eq!((refused.status, refused.headers.contains_key("retry-after")), (503, true), "{refused:?}");
        lock.execute_batch("ROLLBACK").unwrap();
        // The store is back before the deadline: the request that waited is answered.
        let answer = waiting.join().unwrap();
        assert_eq!((answer.status, count(&answer.json(), "stored")), (200, 99), "{answer:?}");
    });
    assert_eq!(service.wait().code(), Some(0), "{}", service.log());
    assert_eq!(service.ids().len(), 100);

    // Dead letters take what the store does not, so nothing is left; a second signal does not wait for that.
    let mut service = Service::start(dir.path(), &variables);
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    assert_eq!(service.post("/v1/records/bars?ack=queued", &bars(300..310)).status, 202);
    service.signal("-TERM");
    service.wait_for("a second signal ends at once");
    service.signal("-TERM");
    assert_eq!(service.wait().code(), Some(143), "{}", service.log());
}
