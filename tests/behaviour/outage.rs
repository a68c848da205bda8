//! `mds ingest` while the store is away: what is waited out, what is given up, and that the counts are right either
//! way.

use std::{
    collections::BTreeSet,
    fs,
    path::Path,
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use rusqlite::Connection;
use serde_json::Value;

#[cfg(unix)]
use crate::mds::block_dead_letters;
use crate::mds::{
    Running, SP500, count, dead_letters, empty_store, eventually, expected, in_dir, ingest, minutes, rows, run, stderr,
    stored, summary,
};
#[cfg(target_os = "linux")]
use crate::syncs;

const SP500_ARGS: [&str; 6] = ["--symbol", "SPX", "--timeframe", "1d", "--json", SP500];

/// Makes it try often, so that a test is short.
fn hasty(mut command: Command) -> Command {
    command.env("MDS_RETRY_MAX_BACKOFF_MS", "50").env("MDS_CB_HALF_OPEN_AFTER_SEC", "0");
    command
}

/// A new file, locked before anything is in it.
fn locked_before_there_is_a_store(dir: &Path) -> Connection {
    let lock = Connection::open(dir.join("market_data.db")).unwrap();
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    lock
}

/// The times of the bars in the dead letters, sorted.
fn dead_lettered(dir: &Path) -> Vec<String> {
    let mut times: Vec<_> =
        dead_letters(dir).iter().map(|letter| letter["record"]["ts"].as_str().unwrap().to_owned()).collect();
    times.sort_unstable();
    times
}

/// The times of the first rows of the file, as a dead letter has them.
fn first_of_sp500(rows: u64) -> Vec<String> {
    let times = expected(SP500, "SPX").into_keys().take(rows as usize);
    times.map(|(.., ts)| jiff::Timestamp::from_microsecond(ts).unwrap().to_string()).collect()
}

fn counts(summary: &Value) -> [u64; 4] {
    ["read", "stored", "dead_lettered", "unsettled"].map(|field| count(summary, field))
}

// Red if a failure for the lock counts against a batch (attempts that run out while the circuit is closed, or are not
// forgotten when it opens), or if a batch is settled that the lock kept out.
#[test]
fn a_database_that_another_process_locks_again_and_again_costs_nothing() {
    let size = |name, default| std::env::var(name).map_or(default, |size| size.parse::<u64>().expect("a number"));
    let (locks, lasts) = (size("MDS_TEST_LOCKS", 4), Duration::from_millis(size("MDS_TEST_OUTAGE_MS", 50)));
    let dir = tempfile::tempdir().unwrap();
    let other = empty_store(dir.path());
    other.busy_timeout(Duration::from_secs(30)).unwrap();
    let mut command = hasty(ingest(dir.path(), &["--timeframe", "1m", "--json", "-"]));
    // A batch that is given up has nothing to be halved, and it has its attempts before the circuit opens.
    command.env("MDS_COORDINATOR_CAPACITY", "100").env("MDS_COORDINATOR_BATCH_SIZE", "1");
    command.env("MDS_RETRY_MAX_ATTEMPTS", "3");
    let mut running = Running::start(command);
    let mut stdin = running.stdin.take().unwrap();
    let (stop, stopped) = std::sync::mpsc::channel::<()>();
    let feeding = thread::spawn(move || {
        use std::io::Write;
        let mut ids = 0;
        stdin.write_all(b"symbol,ts,open,high,low,close\n").unwrap();
        while stopped.try_recv() == Err(std::sync::mpsc::TryRecvError::Empty) {
            let lines: String =
                (ids..ids + 20).map(|id| format!("S{},{},1,1,1,1\n", id % 16, 1_000_000_020 + 60 * id)).collect();
            stdin.write_all(lines.as_bytes()).unwrap();
            ids += 20;
        }
        ids
    });
    for lock in 0..locks {
        let before = rows(dir.path());
        // So many that none of them can have failed in the lock before: then the batch would be to blame indeed.
        eventually("more is stored", || rows(dir.path()) > before + 250);
        other.execute_batch("BEGIN IMMEDIATE").unwrap();
        // A short one that the retries outlast, or one that opens the circuit.
        running.wait_for(if lock % 2 == 0 { "is tried again" } else { "left alone for a while" });
        thread::sleep(if lock % 2 == 0 { Duration::from_micros(fastrand::u64(..50_000)) } else { lasts });
        other.execute_batch("ROLLBACK").unwrap();
    }
    drop(stop);
    let ids: i64 = feeding.join().unwrap();
    let (status, summary) = running.end();
    assert_eq!((status.code(), dead_letters(dir.path()).len()), (Some(0), 0), "{summary}");
    assert_eq!(counts(&summary), [ids as u64, ids as u64, 0, 0]);
    let times: BTreeSet<i64> =
        stored(dir.path()).into_keys().map(|(.., ts)| (ts / 1_000_000 - 1_000_000_020) / 60).collect();
    assert!(times.into_iter().eq(0..ids), "{ids} rows");
}

// Red if a lock, or a place that cannot be reached, is an error when it is met at the start.
#[test]
fn a_store_that_is_away_at_the_start_is_waited_for() {
    let load = |dir: &Path, comes_back: &dyn Fn()| {
        let mut command = hasty(ingest(dir, &SP500_ARGS));
        command.env("MDS_DATABASE_URL", "sqlite://place/market_data.db");
        let running = Running::start(command);
        running.wait_for("cannot be opened now");
        running.wait_for("is tried again");
        comes_back();
        let (status, summary) = running.end();
        assert_eq!((status.code(), counts(&summary)), (Some(0), [5031, 5031, 0, 0]), "{summary}");
        assert!(stored(&dir.join("place")) == expected(SP500, "SPX"));
        assert_eq!(dead_letters(dir).len(), 0);
    };

    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("place")).unwrap();
    let lock = locked_before_there_is_a_store(&dir.path().join("place"));
    load(dir.path(), &|| lock.execute_batch("ROLLBACK").unwrap());

    // On a disk that is mounted later.
    #[cfg(unix)]
    {
        let dir = tempfile::tempdir().unwrap();
        let disk = dir.path().join("disk");
        fs::create_dir(dir.path().join("place")).unwrap();
        std::os::unix::fs::symlink("../disk/market_data.db", dir.path().join("place/market_data.db")).unwrap();
        load(dir.path(), &|| fs::create_dir(&disk).unwrap());
    }
}

// Red if what was given up is not exactly what was accepted: the reader is stopped at a full queue, in the middle of a
// chunk. Red also if a locked store at the start is an error, or 69 is said of a run that did its job.
#[test]
fn what_is_given_up_is_what_was_accepted_and_a_second_run_makes_the_store_whole() {
    let empty = |dir: &Path| {
        let lock = empty_store(dir);
        lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        lock
    };
    for lock in [empty, locked_before_there_is_a_store] {
        let dir = tempfile::tempdir().unwrap();
        let lock = lock(dir.path());
        let give_up = |more: &[&str]| {
            let mut command = hasty(ingest(dir.path(), &SP500_ARGS));
            command.args(more).env("MDS_COORDINATOR_CAPACITY", "300").env("MDS_COORDINATOR_BATCH_SIZE", "20");
            command.output().unwrap()
        };
        let output = give_up(&["--give-up-after", "500ms"]);
        assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
        let log = stderr(&output);
        assert!(log.contains("error: gave up after 0.5 s, nothing was stored for ") && log.contains("locked"), "{log}");
        let [read, stored_, dead_lettered_, unsettled] = counts(&summary(&output));
        assert_eq!((stored_, dead_lettered_, unsettled), (0, read, 0));
        // One symbol takes all but the shares of the other partitions, and what its worker has.
        assert!((300 - 3 * 9..=400).contains(&read), "{read}");
        assert_eq!(dead_lettered(dir.path()), first_of_sp500(read));

        lock.execute_batch("ROLLBACK").unwrap();
        let output = give_up(&[]);
        assert_eq!((output.status.code(), counts(&summary(&output))), (Some(0), [5031, 5031, 0, 0]));
        assert!(stored(dir.path()) == expected(SP500, "SPX"));

        let mut replay = crate::mds::mds(dir.path());
        assert!(replay.args(["dlq", "replay"]).output().unwrap().status.success());
        assert_eq!(dead_letters(dir.path()).len(), 0);
        assert!(stored(dir.path()) == expected(SP500, "SPX"), "the dead letters held what the store holds");
    }
}

// Red if the reader takes the refusal of an open circuit for the end of the store, instead of waiting as for a full
// queue.
#[test]
fn with_the_strategy_error_an_open_circuit_is_waited_out_too() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = hasty(ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]));
    command.env("MDS_COORDINATOR_OVERFLOW_STRATEGY", "error").env("MDS_CB_FAILURE_THRESHOLD", "1");
    command.env("MDS_COORDINATOR_CAPACITY", "50").env("MDS_COORDINATOR_BATCH_SIZE", "10");
    let mut running = Running::start(command);
    let bars = minutes(500);
    let (head, rest) = bars.split_at(bars.match_indices('\n').nth(20).unwrap().0 + 1);
    running.write(head);
    // The queue fills up only when the circuit is open already.
    running.wait_for("is left alone for a while");
    running.write(rest);
    running.stdin.take();
    // Longer than it takes to read the rest.
    thread::sleep(Duration::from_millis(500));
    lock.execute_batch("ROLLBACK").unwrap();
    let (status, summary) = running.end();
    assert_eq!((status.code(), counts(&summary)), (Some(0), [500, 500, 0, 0]));
}

// Red if 0 means at once. Half a second is longer than the watch needs to see it.
#[test]
fn with_0_it_is_never_given_up() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let running = Running::start(hasty(ingest(dir.path(), &[&SP500_ARGS[..], &["--give-up-after", "0"]].concat())));
    running.wait_for("is tried again");
    thread::sleep(Duration::from_millis(500));
    lock.execute_batch("ROLLBACK").unwrap();
    let (status, summary) = running.end();
    assert_eq!((status.code(), counts(&summary)), (Some(0), [5031, 5031, 0, 0]));
}

// Red if the time alone ends it: the circuit has left the store alone since before the time was up, and the store is
// back.
#[test]
fn a_store_that_is_back_is_found_however_short_the_time_is() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = ingest(dir.path(), &[&SP500_ARGS[..], &["--give-up-after", "0.3"]].concat());
    command.env("MDS_CB_FAILURE_THRESHOLD", "1").env("MDS_CB_HALF_OPEN_AFTER_SEC", "2");
    let running = Running::start(command);
    running.wait_for("left alone for a while");
    lock.execute_batch("ROLLBACK").unwrap();
    let (status, summary) = running.end();
    assert_eq!((status.code(), counts(&summary)), (Some(0), [5031, 5031, 0, 0]));
    assert!(summary["seconds"].as_f64().unwrap() > 1.0, "the circuit was not open: {summary}");
}

// Red if records count as kept from the store that only wait for the time of their batch.
#[test]
fn a_batch_that_is_not_due_is_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    let mut command =
        ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", "0.3", "-"]);
    command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "1h").env("MDS_COORDINATOR_BATCH_SIZE", "10");
    let mut running = Running::start(command);
    running.write(&minutes(15));
    eventually("a full batch is stored", || rows(dir.path()) == 10);
    // More than twice what it would wait in an outage.
    thread::sleep(Duration::from_millis(700));
    running.stdin.take();
    let (status, summary) = running.end();
    assert_eq!((status.code(), counts(&summary)), (Some(0), [15, 15, 0, 0]));
}

// Red if only what is stored counts as an answer of the store: this one answers all the time, and refuses.
#[test]
fn a_store_that_refuses_every_record_is_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    // It thinks about each, so that this takes a while on the fastest disk.
    let refuse = "CREATE TRIGGER refuse BEFORE INSERT ON bars BEGIN
                      SELECT count(*) FROM (WITH RECURSIVE c(x) AS (SELECT 1 UNION ALL SELECT x + 1 FROM c LIMIT 8000)
                                            SELECT x FROM c);
                      SELECT RAISE(ABORT, 'nothing today');
                  END";
    empty_store(dir.path()).execute_batch(refuse).unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1_000)).unwrap();
    let output =
        run(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", "1", "bars.csv"]);
    let summary = summary(&output);
    assert_eq!((output.status.code(), counts(&summary)), (Some(65), [1_000, 0, 1_000, 0]), "{}", stderr(&output));
    assert!(summary["seconds"].as_f64().unwrap() > 1.1, "too quick to show anything: {summary}");
}

// Red if what is given up because the store is away gets no more time for its dead letters than at a deadline that
// the end waits for: a disk that takes its time is likely in just this outage.
#[cfg(target_os = "linux")]
#[test]
fn what_is_given_up_becomes_dead_letters_though_their_disk_is_slow() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let args = [&SP500_ARGS[..], &["--give-up-after", "0.3"]].concat();
    let mut command = hasty(ingest(dir.path(), &args));
    let output = command.env("LD_PRELOAD", syncs::library(dir.path())).env(syncs::SECONDS, "3").output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert_eq!(counts(&summary(&output)), [5031, 0, 5031, 0]);
    assert_eq!(dead_lettered(dir.path()), first_of_sp500(5031));
}

// Red if records are called dead letters that could not be written as such, or the exit says that they are safe.
#[cfg(unix)]
#[test]
fn what_can_be_kept_nowhere_is_reported() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let args = ["--symbol", "SPX", "--timeframe", "1d", "--json", "--give-up-after", "0.3", "-"];
    let mut command = hasty(ingest(dir.path(), &args));
    command.env("MDS_LOG", "debug");
    let mut running = Running::start(command);
    running.wait_for("started");
    block_dead_letters(dir.path());
    running.write(&fs::read_to_string(SP500).unwrap());
    running.stdin.take();
    running.wait_for("neither stored nor dead letters");
    let (status, summary) = running.end();
    assert_eq!(status.code(), Some(70), "{summary}");
    assert_eq!(counts(&summary), [5031, 0, 0, 5031], "the whole file fits into the queue");
}

// Red if the line at a terminal says nothing of an outage, or not why.
#[test]
fn a_terminal_shows_what_is_wrong_and_for_how_long() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    let load = format!(
        "'{}' ingest --symbol SPX --timeframe 1d --give-up-after 2.5 '{SP500}' --json",
        env!("CARGO_BIN_EXE_mds")
    );
    let mut script = in_dir(Command::new("timeout"), dir.path());
    script.args(["60", "script", "--quiet", "--return", "--command", &format!("stty cols 250; {load}"), "/dev/null"]);
    let output = hasty(script).env("MDS_LOG", "error").stdin(Stdio::null()).output().unwrap();
    let seen = String::from_utf8_lossy(&output.stdout);
    assert_eq!(output.status.code(), Some(69), "{seen}");
    // A machine that is busy leaves some of the seconds out.
    assert!([1, 2].iter().any(|seconds| seen.contains(&format!("nothing stored for {seconds} s: "))), "{seen}");
    assert!(seen.contains("database is locked"), "{seen}");
}
