//! What a trigger of the table's owner says of records.

use std::path::Path;

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Database, MarketDataStore, Sink, SinkErrorKind, coordinator::CircuitState, dead_letter,
};

use super::{
    load::settings,
    server::{Server, TestDatabase},
};
use crate::{
    dlq_command::bar,
    support::{PATIENCE, within},
};

/// So many refusals in a row are taken for the records' fault.
const MOST_RAISED: u64 = 100;

/// A store with one worker, whose table has a trigger that raises where a condition holds. It counts its calls.
fn store(place: &TestDatabase, dead_letters: &Path, condition: &str) -> MarketDataStore {
    let with = [("MDS_COORDINATOR_WORKERS", "1")];
    let store = MarketDataStore::spawn(settings(&place.url(), dead_letters, &with)).unwrap();
    place.run(&format!(
        "CREATE SEQUENCE calls;
         CREATE FUNCTION judge() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
         BEGIN
             PERFORM nextval('calls');
             IF {condition} THEN RAISE EXCEPTION 'no volume of %', NEW.volume; END IF;
             RETURN NEW;
         END $$;
         CREATE TRIGGER judge BEFORE INSERT ON bars FOR EACH ROW EXECUTE FUNCTION judge()"
    ));
    store
}

fn bars(count: u64) -> impl Iterator<Item = Bar> {
    (0..count).map(|number| bar("ES", number as i64).volume(number as f64))
}

// Red when a record that a trigger refuses is tried again for minutes, is lost, or takes others with it; or when more than
// a hundred of them are held against the trigger although others are stored in between.
#[test]
fn a_record_that_a_trigger_refuses_is_a_dead_letter() {
    let place = Server::shared().database();
    let dead_letters = tempfile::tempdir().unwrap();
    let store = store(&place, dead_letters.path(), "NEW.volume::bigint % 2 = 1");
    // At once, and not after several tries.
    let sink = Database::connect(&place.url()).unwrap();
    for count in [2, 40] {
        let error = block_on(sink.write(&Batch::from(bars(count).collect::<Vec<_>>()))).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Permanent, "{error:#}");
    }
    block_on(sink.close());
    let records = 2 * MOST_RAISED + 40;
    block_on(store.coordinator::<Bar>().unwrap().submit_many(bars(records))).unwrap();
    let report = block_on(within(PATIENCE, store.finish(PATIENCE)));
    assert_eq!((report.stored(), report.dead_lettered(), report.unsettled()), (records / 2, records / 2, 0));
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE volume::bigint % 2 = 0"), (records / 2) as i64);
    for entry in dead_letter::list(dead_letters.path()).unwrap() {
        let error = entry.unwrap().entry.unwrap().error;
        assert!(error.contains("no volume of") && error.contains("SQLSTATE P0001"), "{error}");
    }
}

// Red when a trigger that refuses everything, as one that freezes a table, makes dead letters of all that comes.
#[test]
fn a_trigger_that_refuses_everything_is_an_outage() {
    let place = Server::shared().database();
    let dead_letters = tempfile::tempdir().unwrap();
    let store = store(&place, dead_letters.path(), "true");
    let handle = store.coordinator::<Bar>().unwrap();
    let records = MOST_RAISED + 150;
    block_on(handle.submit_many(bars(records))).unwrap();
    let health = || block_on(within(PATIENCE, handle.health()));
    let begun = std::time::Instant::now();
    let calls = |more: i64| {
        let from = place.number("SELECT last_value FROM calls");
        while place.number("SELECT last_value FROM calls") < from + more {
            assert!(begun.elapsed() < PATIENCE, "nothing is tried: {:#?}", health());
        }
    };
    while health().circuit == CircuitState::Closed {
        calls(1);
    }
    // What is tried then is not held against the records.
    calls(5);
    let away = health();
    assert_eq!((away.dead_lettered, away.stored), (MOST_RAISED, 0), "{away:#?}");
    assert!(away.last_error.is_some_and(|error| error.contains("no volume of")));
    place.run("DROP TRIGGER judge ON bars");
    let report = block_on(within(PATIENCE, store.finish(PATIENCE)));
    assert_eq!((report.stored(), report.dead_lettered()), (records - MOST_RAISED, MOST_RAISED));
}
