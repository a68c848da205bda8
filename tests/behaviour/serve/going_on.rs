//! A body that was not taken whole goes on where the answer says, and a client that goes away leaves nothing behind.

use std::collections::HashSet;

use serde_json::json;

use super::{Client, Service, bar, bars};
use crate::{mds::count, support::size_of_test};

/// Small enough that a body fills it, and quick to say so, though a busy disk may take a while for a batch.
const SMALL: [(&str, &str); 6] = [
    ("MDS_COORDINATOR_CAPACITY", "100"),
    ("MDS_COORDINATOR_BATCH_SIZE", "10"),
    ("MDS_COORDINATOR_FLUSH_INTERVAL", "0.01"),
    ("MDS_HTTP_SUBMIT_TIMEOUT", "1"),
    ("MDS_HTTP_ACK_TIMEOUT", "2"),
    ("MDS_CB_HALF_OPEN_AFTER_SEC", "0"),
];

/// Red when `resume_at` is beyond what is settled, or a client that goes on by it leaves one out or never ends.
#[test]
fn a_body_that_is_sent_again_with_skip_brings_in_every_record() {
    let records = size_of_test("MDS_TEST_SERVE_RECORDS", 2_000) as u64;
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &SMALL);
    assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
    let (body, lock) = (bars(0..records), service.database());
    let mut skip = 0;
    for turn in 1..=4 {
        // The front is stored, and the database is locked before the rest of the body comes.
        let front = turn * records / 5;
        let (sent, rest) = body.split_at(bars(0..front).len());
        let head = format!("POST /v1/records/bars?skip={skip} HTTP/1.1\r\nContent-Type: application/x-ndjson\r\n");
        let mut client = Client::new(service.address, &head, Some(body.len()));
        client.write(sent);
        service.until_stored(front as i64);
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        client.write(rest);
        let answer = client.answer();
        let (tally, wait) = (answer.json(), answer.headers["retry-after"].parse::<u64>().unwrap());
        assert!([429, 503].contains(&answer.status) && tally["error"].is_string(), "{answer:?}");
        assert!((1..=300).contains(&wait), "{answer:?}");
        let resume_at = count(&tally, "resume_at");
        assert!((front..records).contains(&resume_at), "{tally}");
        // What is said to be settled is there.
        let stored: HashSet<i64> = service.ids().into_iter().collect();
        assert!((0..resume_at).all(|id| stored.contains(&(id as i64))), "resume_at {resume_at}");
        lock.execute_batch("ROLLBACK").unwrap();
        skip = resume_at;
    }
    let answer = service.post(&format!("/v1/records/bars?skip={skip}"), &body);
    assert_eq!((answer.status, count(&answer.json(), "resume_at")), (200, records), "{answer:?}");
    assert_eq!(service.ids(), (0..records as i64).collect::<Vec<_>>());
}

/// Red when the store is away and the answer is none of those that say so.
#[test]
fn a_locked_database_is_answered_503_and_nothing_is_lost() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[&SMALL[..], &[("MDS_HTTP_SUBMIT_TIMEOUT", "1")]].concat());
    assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = service.post("/v1/records/bars", &bars(0..1_000));
    let tally = answer.json();
    assert!([429, 503].contains(&answer.status), "{answer:?}");
    assert_eq!((count(&tally, "stored"), count(&tally, "resume_at")), (0, 0), "{tally}");
    assert_eq!(tally["durable"], json!(false));
    let submitted = count(&tally, "submitted");
    assert!(submitted > 0, "{tally}");
    // What came in before the outage says nothing of its end.
    let wait: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!(wait <= 6, "{answer:?}");
    lock.execute_batch("ROLLBACK").unwrap();
    // What was accepted is stored, though its request was answered long ago.
    service.until("bars", |health| health["stored"] == json!(submitted + 1));
    let again = service.post("/v1/records/bars", &bars(0..1_000));
    assert_eq!((again.status, count(&again.json(), "stored")), (200, 1_000));
    assert_eq!(service.ids(), (0..1_000).collect::<Vec<_>>());
}

/// Red when a client is told to wait by what came in before an outage, where the queue refuses at once what it has no place for.
#[test]
fn at_the_start_of_an_outage_no_client_is_told_to_wait_for_long() {
    let dir = tempfile::tempdir().unwrap();
    let own = [("MDS_COORDINATOR_OVERFLOW_STRATEGY", "error"), ("MDS_CB_FAILURE_THRESHOLD", "0")];
    let service = Service::start(dir.path(), &[&SMALL[..], &own].concat());
    assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    // So long that one record a few seconds ago means minutes for a full queue.
    service.post("/v1/records/bars?ack=queued", &bars(1..1_000));
    service.until("bars", |health| health["oldest_age"].as_f64().is_some_and(|age| age > 3.0));
    let answer = service.post("/v1/records/bars?ack=queued", &bars(1_000..2_000));
    assert_eq!(answer.status, 429, "{answer:?}");
    let wait: u64 = answer.headers["retry-after"].parse().unwrap();
    assert!(wait <= 6, "{answer:?}");
}

/// Red when a client that goes away keeps a place in the queue, or the line that it was cut off in is stored.
#[test]
fn a_client_that_goes_away_leaves_no_place_taken_and_no_half_record() {
    let clients = size_of_test("MDS_TEST_SERVE_ABORTS", 40) as u64;
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_COORDINATOR_CAPACITY", "100"), ("MDS_CB_FAILURE_THRESHOLD", "0")]);
    assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
    let lock = service.database();
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let head = "POST /v1/records/bars HTTP/1.1\r\nContent-Type: text/csv\r\n";
    for client in 0..clients {
        let mut body = b"symbol,timeframe,ts,open,high,low,close,volume\n".to_vec();
        // Of the last row a number is cut off, and what is left is a number too.
        for id in (1_000 * client..1_000 * client + 50).chain([1_000 * client + 999]) {
            let end = if id % 1_000 == 999 { "" } else { "000\n" };
            body.extend(format!("A,1s,{},1,1,1,1,1{end}", 1_700_000_000 + id).bytes());
        }
        let mut sent = Client::new(service.address, head, Some(body.len() + 100));
        sent.write(&body);
        // Each is there before it goes, if the queue has room.
        if client < 2 {
            service.until("bars", |health| count(health, "submitted") > 50 * (client + 1));
        }
        sent.leave();
    }
    lock.execute_batch("ROLLBACK").unwrap();
    let health = service.until("bars", |health| {
        ["queue_size", "reserved", "waiting", "in_flight"].iter().all(|name| count(health, name) == 0)
            && count(health, "stored") == count(health, "submitted")
    });
    assert!(count(&health, "stored") >= 101, "{health}");
    let cut = service.ids().into_iter().filter(|id| *id > 1_000_000 && (id - 1_700_000_000) % 1_000 == 999);
    assert_eq!(cut.count(), 0, "a half line was stored");
    assert_eq!(service.post("/v1/records/bars", &bars(0..500)).status, 200);
}
