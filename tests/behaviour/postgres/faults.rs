//! PostgreSQL under fault: whatever ends, is locked or full, all that is acknowledged is stored once, nothing is
//! dead-lettered, and health says what is the matter.

use std::{
    fs,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{Batch, Database, Health, Level, Sink, SinkErrorKind, coordinator::CircuitState};
use postgres::{Client, NoTls};

use super::{
    load::{Bars, Load, inversions, watch_inversions},
    proxy::{Commits, Proxy},
    server::{GUARDED, Server},
};
use crate::{
    disk_full::{MOUNTS, SmallDisk, again_where_it_can_mount},
    support::{PATIENCE, size_of_test},
};

/// The store is known to be away, and why.
fn is_away_for(health: &Health, reason: &str) -> bool {
    health.level == Level::Hard
        && health.circuit != CircuitState::Closed
        && health.last_error.as_ref().is_some_and(|error| error.contains(reason))
}

/// Ends connections under load, through a proxy that sees whether rows go by COPY.
fn ends_connections(bars: Bars, with: &[(&str, &str)]) -> usize {
    let kills = size_of_test("MDS_TEST_POSTGRES_KILLS", 5);
    let database = Server::shared().database();
    let proxy = Proxy::start(database.port());
    let load = Load::start_with(bars, &database.url_at(proxy.port()), with);
    load.goes_on();
    watch_inversions(&database);
    let mut ended = 0;
    while ended < kills {
        ended += usize::from(database.end_a_backend());
        load.advances(fastrand::u64(1..500));
    }
    let stored = load.check(&database);
    println!("{ended} connections ended, {stored} records stored, {} batches by COPY", proxy.copies());
    assert_eq!(inversions(&database), 0);
    proxy.copies()
}

// Red when a batch whose connection ends is lost, given up, or written behind a newer one; or when a worker that waits
// for a connection of another one never gets it.
#[test]
fn connections_that_the_server_ends_cost_nothing() {
    ends_connections(Bars::Mixed, &[("MDS_PG_CONNECTIONS", "2")]);
}

// Red as the above, on the way that new rows take.
#[test]
fn connections_that_end_while_new_rows_are_copied_cost_nothing() {
    assert!(ends_connections(Bars::New, &[]) > 0);
}

// Red when a commit that is acknowledged does not survive, or a server that starts is taken for one that refuses records.
#[test]
fn a_server_that_crashes_and_recovers_costs_nothing() {
    let crashes = size_of_test("MDS_TEST_POSTGRES_CRASHES", 2);
    let server = Server::start("");
    let database = server.database();
    let load = Load::start(&database.url(), &[]);
    load.goes_on();
    watch_inversions(&database);
    for _ in 0..crashes {
        server.crash();
        load.wait_until("away", |health| is_away_for(health, ""));
        server.recover();
        load.goes_on();
        load.wait_until("there again", |health| health.circuit == CircuitState::Closed);
    }
    let stored = load.check(&database);
    println!("{crashes} crashes, {stored} records stored");
    assert_eq!(inversions(&database), 0);
}

/// Cuts connections at a commit: some before it, some once the server has committed, and some as it does.
fn cuts_commits(bars: Bars) -> usize {
    let cuts = size_of_test("MDS_TEST_POSTGRES_COMMITS", 6);
    let database = Server::shared().database();
    let proxy = Proxy::start(database.port());
    let load = Load::start_with(bars, &database.url_at(proxy.port()), &[]);
    load.goes_on();
    watch_inversions(&database);
    for cut in 0..cuts {
        // Each waits until it has met one.
        proxy.meet_commit([Commits::CutBefore, Commits::LoseAnswer, Commits::CutBehind][cut % 3]);
        load.advances(fastrand::u64(1..500));
    }
    let stored = load.check(&database);
    println!("{cuts} connections cut at a commit, {stored} records stored, {} batches by COPY", proxy.copies());
    assert_eq!(inversions(&database), 0);
    proxy.copies()
}

// Red when a commit whose answer is lost counts as stored without a look, is repeated behind a newer one, or costs its batch.
#[test]
fn a_connection_that_is_cut_at_the_commit_costs_nothing() {
    cuts_commits(Bars::Mixed);
}

// Red as the above, on the way that new rows take: those that are there already fail it when it is repeated.
#[test]
fn a_connection_that_is_cut_at_the_end_of_a_copy_costs_nothing() {
    assert!(cuts_commits(Bars::New) > 0);
}

// Red when a batch counts as stored once COPY has taken it, which is before the commit that can still fail.
#[test]
fn new_rows_that_fail_at_the_commit_are_not_stored() {
    let database = Server::shared().database();
    let proxy = Proxy::start(database.port());
    let sink = Database::connect(&database.url_at(proxy.port())).unwrap();
    let write =
        |from: u64| block_on(sink.write(&Batch::from((from..from + 40).map(|n| Bars::New.bar(n)).collect::<Vec<_>>())));
    // All of them are new, so the next ones are copied.
    write(0).unwrap();
    database.run(
        "CREATE FUNCTION refuse() RETURNS trigger LANGUAGE plpgsql AS $$
         BEGIN RAISE EXCEPTION 'refused' USING ERRCODE = 'check_violation', CONSTRAINT = 'refused'; END $$;
         CREATE CONSTRAINT TRIGGER refused AFTER INSERT ON bars DEFERRABLE INITIALLY DEFERRED
         FOR EACH ROW EXECUTE FUNCTION refuse()",
    );
    let error = write(40).unwrap_err();
    assert_eq!((error.kind(), proxy.copies()), (SinkErrorKind::Permanent, 1), "{error:#}");
    assert_eq!(database.number("SELECT count(*) FROM bars"), 40);
    database.run("DROP TRIGGER refused ON bars");
    write(40).unwrap();
    assert_eq!(database.number("SELECT count(*) FROM bars"), 80);
    block_on(sink.close());
}

// Red when a connection goes on behind a COPY that the server refused at once: its transaction may be open, and the driver
// takes answers for those to other statements.
#[test]
fn a_connection_whose_transaction_may_be_open_is_given_up() {
    let database = Server::shared().database();
    let sink = Database::connect(&database.url()).unwrap();
    let write =
        |from: u64| block_on(sink.write(&Batch::from((from..from + 40).map(|n| Bars::New.bar(n)).collect::<Vec<_>>())));
    // All of them are new, so the next ones are copied, which row-level security forbids and an upsert does not need.
    write(0).unwrap();
    database.run(
        "CREATE POLICY everyone ON bars USING (true);
         ALTER TABLE bars ENABLE ROW LEVEL SECURITY; ALTER TABLE bars FORCE ROW LEVEL SECURITY",
    );
    for batch in 1..40 {
        write(40 * batch).unwrap();
    }
    assert_eq!(database.number("SELECT count(*) FROM bars"), 40 * 40);
    block_on(sink.close());
}

// Red when a way that is gone for a while is held against the records, or is not tried again.
#[test]
fn a_way_that_is_cut_for_a_while_costs_nothing() {
    let cuts = size_of_test("MDS_TEST_POSTGRES_WAYS", 3);
    let database = Server::shared().database();
    let proxy = Proxy::start(database.port());
    let load = Load::start(&database.url_at(proxy.port()), &[]);
    load.goes_on();
    watch_inversions(&database);
    for _ in 0..cuts {
        proxy.cut();
        load.wait_until("away", |health| is_away_for(health, ""));
        assert_eq!(proxy.connections(), 0);
        proxy.open();
        load.goes_on();
    }
    load.check(&database);
    assert_eq!(inversions(&database), 0);
}

// Red when a lock that another one holds is held against the records, when more than one probe waits for it, or when the
// level does not tell.
#[test]
fn a_lock_that_another_one_holds_is_waited_for_by_one_probe() {
    let lasts = Duration::from_millis(size_of_test("MDS_TEST_POSTGRES_LOCK_MS", 2_000) as u64);
    let database = Server::shared().database();
    let load = Load::start(&database.url(), &[("MDS_PG_STATEMENT_TIMEOUT", "0.3")]);
    load.goes_on();
    let mut other = database.admin();
    other.batch_execute("BEGIN; LOCK TABLE bars IN EXCLUSIVE MODE").unwrap();
    load.wait_until("away", |health| is_away_for(health, "statement timeout"));
    let mut looking = database.admin();
    let mut waiting = || -> i64 {
        let sql = "SELECT count(*) FROM pg_locks WHERE NOT granted AND relation = 'bars'::regclass";
        looking.query_one(sql, &[]).unwrap().get(0)
    };
    // What began before the circuit opened comes to its end.
    let (begun, mut waited) = (Instant::now(), Vec::new());
    while waiting() > 1 {
        assert!(begun.elapsed() < PATIENCE, "several wait");
    }
    let begun = Instant::now();
    while begun.elapsed() < lasts {
        waited.push(waiting());
        assert_eq!(load.health().level, Level::Hard);
    }
    let (looks, probes) = (waited.len(), waited.iter().filter(|&&waiting| waiting == 1).count());
    println!("{looks} looks at a lock that was held for {lasts:?}: in {probes} one waited for it");
    assert!(probes > 0 && waited.iter().all(|&waiting| waiting <= 1), "{waited:?}");
    other.batch_execute("ROLLBACK").unwrap();
    load.goes_on();
    load.check(&database);
}

// Red when a store does not start because the server has no room for it, or does not go on once it has.
#[test]
fn a_server_without_a_free_connection_is_waited_for() {
    let server = Server::start("max_connections = 8");
    let database = server.database();
    // Three of them are for superusers.
    let occupy = || -> Vec<Client> {
        let connect = |_| Client::connect(&database.url(), NoTls);
        (0..20).map(connect).map_while(Result::ok).collect()
    };
    let occupied = occupy();
    assert!((3..8).contains(&occupied.len()), "{}", occupied.len());
    let load = Load::start(&database.url(), &[]);
    load.wait_until("away at the start", |health| is_away_for(health, "connection slots"));
    drop(occupied);
    load.goes_on();
    database.end_backends();
    let occupied = occupy();
    if occupied.len() > 4 {
        load.wait_until("away", |health| is_away_for(health, "connection slots"));
    }
    drop(occupied);
    load.goes_on();
    load.check(&database);
}

// Red when a server that takes no writes is held against the records, or is not left for one that does.
#[test]
fn a_server_that_takes_no_writes_is_waited_for() {
    let database = Server::shared().database();
    let load = Load::start(&database.url(), &[]);
    load.goes_on();
    database.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", database.name()));
    assert!(database.end_backends() > 0);
    load.wait_until("away", |health| is_away_for(health, "read-only"));
    database.run(&format!("ALTER DATABASE {} RESET default_transaction_read_only", database.name()));
    load.goes_on();
    load.check(&database);
}

// Red when a password that is not the right one any more is held against the records, or shows.
#[test]
fn a_password_that_was_changed_is_an_outage_and_is_not_shown() {
    let database = Server::shared().database();
    let load = Load::start(&database.guarded_url(), &[]);
    load.goes_on();
    database.run(&format!("ALTER ROLE {GUARDED} PASSWORD 'second'"));
    assert!(database.end_backends() > 0);
    let health = load.wait_until("away", |health| is_away_for(health, "password authentication failed"));
    let shown = format!("{health:?} {}", serde_json::to_string(&health).unwrap());
    assert!(!shown.contains("first") && !shown.contains("second"), "{shown}");
    database.run(&format!("ALTER ROLE {GUARDED} PASSWORD 'first'"));
    load.goes_on();
    load.check(&database);
}

// Red when a disk that is full is held against the records, or a commit that found no room is acknowledged; and where no
// file system can be mounted. In the long suite.
#[test]
fn a_disk_that_is_full_is_waited_for() {
    let disks = size_of_test("MDS_TEST_SMALL_DISKS", 0);
    if disks > 0 && std::env::var_os(MOUNTS).is_none() {
        return again_where_it_can_mount("postgres::faults::a_disk_that_is_full_is_waited_for");
    }
    if disks == 0 {
        return;
    }
    let server = Server::start("");
    let disk = SmallDisk::mount(100);
    let database = server.database_in(disk.path());
    let load = Load::start(&database.url(), &[]);
    load.goes_on();
    for _ in 0..disks {
        let ballast = disk.fill(fastrand::u64(..200_000));
        load.wait_until("away", |health| is_away_for(health, "SQLSTATE 53100"));
        fs::remove_file(ballast).unwrap();
        load.goes_on();
    }
    let stored = load.check(&database);
    println!("{disks} times without room, {stored} records stored");
}
