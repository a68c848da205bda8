//! COPY and upsert: which of them a batch goes by, and what they leave behind; and the connections that they need.

use std::{
    net::TcpListener,
    ops::ControlFlow,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, Database, MarketDataStore, Settings, Sink,
    settings::PostgresCopy,
    sink::{DatabaseReader, Selection},
};

use super::server::{Server, TestDatabase};
use crate::{
    dlq_command::bar,
    support::{PATIENCE, log},
};

/// Keeps every statement that writes bars.
const WATCH: &str = "
CREATE TABLE seen (at serial, path text);
CREATE FUNCTION see() RETURNS trigger LANGUAGE plpgsql SECURITY DEFINER AS $$
BEGIN
    INSERT INTO seen (path) VALUES (CASE WHEN current_query() LIKE 'COPY%' THEN 'copy' ELSE 'upsert' END);
    RETURN NULL;
END $$;
CREATE TRIGGER see AFTER INSERT ON bars FOR EACH STATEMENT EXECUTE FUNCTION see();
";

/// The statements since the last call; one that failed left nothing.
fn seen(place: &TestDatabase) -> String {
    let mut client = place.admin();
    let seen =
        client.query_one("SELECT coalesce(string_agg(path, ' ' ORDER BY at), '') FROM seen", &[]).unwrap().get(0);
    client.batch_execute("TRUNCATE seen").unwrap();
    seen
}

fn bars(minutes: std::ops::Range<i64>, close: f64) -> Batch<Bar> {
    let bars = minutes.map(|minute| Bar { close, ..bar("ES", minute) });
    Batch::from(bars.collect::<Vec<_>>())
}

fn watched(settings: &Settings, place: &TestDatabase) -> Database {
    let database = Database::of_settings(settings).unwrap();
    database.prepare::<Bar>().unwrap();
    place.run(WATCH);
    database
}

// Red when COPY is not used for rows that are new, is used before that is known or again and again where rows are there,
// or a batch that it fails is not stored.
#[test]
fn rows_go_by_copy_while_they_are_new() {
    let place = Server::shared().database();
    let database = watched(&Settings::default().database_url(place.url()), &place);
    let write = |minutes, close| block_on(database.write(&bars(minutes, close))).unwrap();
    write(0..100, 1.0);
    write(100..200, 1.0);
    write(200..300, 1.0);
    assert_eq!(seen(&place), "upsert copy copy");
    // One row of it is there.
    write(299..399, 2.0);
    assert_eq!(seen(&place), "upsert");
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE close = 2"), 100);
    for batch in 4..20 {
        write(batch * 100..batch * 100 + 100, 1.0);
    }
    assert_eq!(seen(&place), [&["upsert"; 15][..], &["copy"]].concat().join(" "));
    // A batch of few rows is not worth the second exchange with the server.
    write(9_000..9_010, 1.0);
    assert_eq!(seen(&place), "upsert");
    block_on(database.close());
}

// Red when rows that are there as they should be are written once more: each would leave a dead one.
#[test]
fn a_load_that_is_repeated_changes_nothing() {
    let place = Server::shared().database();
    let database = watched(&Settings::default().database_url(place.url()), &place);
    let load = || {
        for batch in 0..6 {
            block_on(database.write(&bars(batch * 100..batch * 100 + 100, 1.0))).unwrap();
        }
    };
    load();
    let written = "SELECT sum(xmin::text::bigint + (ctid::text::point)[0]::bigint + (ctid::text::point)[1]::bigint)::bigint \
                   FROM bars";
    let before = place.number(written);
    let _ = seen(&place);
    load();
    assert_eq!(place.number(written), before, "the rows are where they were");
    assert_eq!(seen(&place), ["upsert"; 6].join(" "));
    assert_eq!(place.number("SELECT count(*) FROM bars"), 600);
    block_on(database.close());
}

// Red when a server or pooler that cannot COPY is sent one all the same.
#[test]
fn nothing_goes_by_copy_where_it_is_switched_off() {
    let place = Server::shared().database();
    let mut settings = Settings::default().database_url(place.url());
    settings.postgres.copy = PostgresCopy::Never;
    let database = watched(&settings, &place);
    for batch in 0..3 {
        block_on(database.write(&bars(batch * 100..batch * 100 + 100, 1.0))).unwrap();
    }
    assert_eq!(seen(&place), "upsert upsert upsert");
    block_on(database.close());
}

// Red when each worker has a connection of its own, whatever the limit, or one is left open at the end.
#[test]
fn workers_share_as_many_connections_as_there_may_be() {
    let place = Server::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default().database_url(place.url()).dlq_path(dir.path().join("dead_letters"));
    settings.postgres.connections = 2;
    (settings.coordinator.workers, settings.coordinator.batch_size) = (8, 10);
    settings.coordinator.flush_interval = Duration::from_millis(1);
    let store = MarketDataStore::builder(settings).kind::<Bar>().spawn().unwrap();
    let handle = store.coordinator::<Bar>().unwrap();
    let mine =
        "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND application_name <> 'test'";
    for round in 0..20 {
        let records = (0..200).map(|symbol| bar(&format!("S{symbol}"), round));
        block_on(handle.submit_many(records)).unwrap();
        let open = place.number(mine);
        assert!((1..=2).contains(&open), "{open} connections");
    }
    let report = block_on(store.finish(PATIENCE));
    assert_eq!((report.stored(), report.unsettled()), (4_000, 0));
    assert_eq!(place.number("SELECT count(*) FROM bars"), 4_000);
    // A backend ends a moment after its client.
    let gone = std::time::Instant::now();
    while place.number(mine) > 0 {
        assert!(gone.elapsed() < PATIENCE, "{}", place.activity());
        std::thread::yield_now();
    }
}

// Red when the wait for a connection that others have is cut off as a write that hangs.
#[test]
fn a_worker_that_waits_for_a_connection_is_not_cut_off() {
    log();
    let place = Server::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let mut settings = Settings::default().database_url(place.url()).dlq_path(dir.path().join("dead_letters"));
    settings.postgres.connections = 1;
    // Each write is far within the time, and all of them one after the other are not.
    settings.sink_timeout = Duration::from_millis(1_500);
    (settings.coordinator.workers, settings.coordinator.batch_size) = (8, 100);
    let database = Database::of_settings(&settings).unwrap();
    database.prepare::<Bar>().unwrap();
    place.run(
        "CREATE FUNCTION wait() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN PERFORM pg_sleep(0.3); RETURN NULL; END $$;
         CREATE TRIGGER wait AFTER INSERT ON bars FOR EACH STATEMENT EXECUTE FUNCTION wait()",
    );
    let coordinator = Coordinator::<Bar>::new(database.clone()).id("in_turns");
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let handle = store.coordinator_named::<Bar>("in_turns").unwrap();
    let begun = Instant::now();
    block_on(handle.submit_many((0..80).map(|symbol| bar(&format!("S{symbol}"), 0)))).unwrap();
    assert_eq!(block_on(store.finish(PATIENCE)).stored(), 80);
    assert!(begun.elapsed() > Duration::from_millis(8 * 300), "they did not wait: {:?}", begun.elapsed());
    block_on(database.close());
    let cut_off: Vec<_> = log().into_iter().filter(|line| line.contains("in_turns")).collect();
    assert_eq!(cut_off, [""; 0]);
}

// Red when a host that takes a connection and says nothing leaves no time for the next: the store would stay away for as
// long as the first host does.
#[test]
fn a_host_that_does_not_answer_leaves_time_for_the_next() {
    let place = Server::shared().database();
    let silent = TcpListener::bind("127.0.0.1:0").unwrap();
    let first = format!("@127.0.0.1:{},127.0.0.1", silent.local_addr().unwrap().port());
    let url = place.url().replacen("@127.0.0.1", &first, 1) + "&connect_timeout=1";
    let database = Database::connect(&url).unwrap();
    block_on(database.write(&bars(0..3, 1.0))).unwrap();
    block_on(database.close());
    let mut read = 0;
    let reader = DatabaseReader::open(&url).unwrap();
    reader
        .rows(&Selection::<Bar>::new(), |_| {
            read += 1;
            ControlFlow::Continue(())
        })
        .unwrap();
    assert_eq!(read, 3);
}
