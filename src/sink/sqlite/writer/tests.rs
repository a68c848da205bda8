//! The writer thread from inside, where a test decides what waits together: rows of its own hold the thread until
//! everything else is queued.

use std::{collections::BTreeSet, fs, num::NonZeroUsize, thread::JoinHandle, time::Duration};

use rusqlite::Connection;
use tempfile::TempDir;

use super::{super::rows::Rows, *};
use crate::{Adjustment, Bar, Batch, Quote, Timeframe, Timestamp, sink::SinkErrorKind};

type Answered = oneshot::Receiver<Result<(), SinkError>>;

/// A writer thread on a real file.
struct Rig {
    _dir: TempDir,
    path: PathBuf,
    jobs: mpsc::Sender<Job>,
    sql: Arc<TableSql>,
    thread: JoinHandle<()>,
}

impl Rig {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(set: impl FnOnce(&mut SqliteOptions)) -> Self {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bars.db");
        let mut options = SqliteOptions::new(&path);
        set(&mut options);
        let sql = Arc::new(TableSql::new(Bar::TABLE));
        let (jobs, mut writer) = Writer::new(options, Arc::default()).unwrap();
        writer.prepare(&sql).unwrap();
        Self { _dir: dir, path, jobs, sql, thread: thread::spawn(move || writer.run()) }
    }

    fn submit(&self, rows: impl Rows + 'static) -> Answered {
        let (answer, answered) = oneshot::channel();
        self.jobs.send(Job::Write(Write { sql: Arc::clone(&self.sql), rows: Box::new(rows), answer })).unwrap();
        answered
    }

    /// Holds the thread inside a transaction of its own until the guard is dropped: what is submitted meanwhile waits
    /// together.
    fn hold(&self) -> Held {
        let (entered, has_entered) = mpsc::channel();
        let (go_on, may_go_on) = mpsc::channel();
        let answered = self.submit(Hold { entered, may_go_on });
        has_entered.recv().unwrap();
        Held { _go_on: go_on, _answered: answered }
    }

    /// Submits the batches so that they form one group.
    fn group(&self, batches: Vec<Batch<Bar>>) -> Vec<Result<(), SinkError>> {
        let held = self.hold();
        let answers: Vec<_> = batches.into_iter().map(|batch| self.submit(batch)).collect();
        drop(held);
        answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect()
    }

    fn elsewhere(&self) -> Connection {
        Connection::open(&self.path).unwrap()
    }

    fn symbols(&self) -> Vec<String> {
        let connection = self.elsewhere();
        let mut statement = connection.prepare("SELECT DISTINCT symbol FROM bars ORDER BY symbol").unwrap();
        statement.query_map([], |row| row.get(0)).unwrap().collect::<Result<_, _>>().unwrap()
    }

    /// Counts the commits in the write-ahead log: every commit ends with a frame that tells the size of the database.
    fn commits(&self) -> usize {
        let log = fs::read(self.path.with_extension("db-wal")).unwrap_or_default();
        let number = |at: usize| u32::from_be_bytes(log[at..at + 4].try_into().unwrap());
        if log.len() < 32 {
            return 0;
        }
        let (page, salts) = (number(8) as usize, &log[16..24]);
        let frames = (32..log.len()).step_by(24 + page);
        frames.filter(|at| &log[at + 8..at + 16] == salts && number(at + 4) != 0).count()
    }
}

struct Held {
    _go_on: mpsc::Sender<()>,
    _answered: Answered,
}

struct Hold {
    entered: mpsc::Sender<()>,
    may_go_on: mpsc::Receiver<()>,
}

impl Rows for Hold {
    fn len(&self) -> usize {
        1
    }

    fn upsert(&self, _: &Connection, _: &TableSql) -> rusqlite::Result<()> {
        self.entered.send(()).unwrap();
        let _ = self.may_go_on.recv();
        Ok(())
    }
}

struct Panics;

impl Rows for Panics {
    fn len(&self) -> usize {
        1
    }

    fn upsert(&self, connection: &Connection, sql: &TableSql) -> rusqlite::Result<()> {
        bars("PANIC", 1).upsert(connection, sql)?;
        panic!("a panic that the test asked for");
    }
}

fn bars(symbol: &str, n: i64) -> Batch<Bar> {
    let bar = |n| Bar {
        vendor: "v".into(),
        symbol: symbol.into(),
        timeframe: Timeframe::MINUTE,
        adjustment: Adjustment::Unknown,
        ts: Timestamp::from_micros(n * 60_000_000),
        open: 1.0,
        high: 2.0,
        low: 0.5,
        close: 1.5,
        volume: Some(10.0),
    };
    Batch::from((0..n).map(bar).collect::<Vec<_>>())
}

fn kinds(results: &[Result<(), SinkError>]) -> Vec<Option<SinkErrorKind>> {
    results.iter().map(|result| result.as_ref().err().map(SinkError::kind)).collect()
}

const STORED: Option<SinkErrorKind> = None;
const TRANSIENT: Option<SinkErrorKind> = Some(SinkErrorKind::Transient);
const PERMANENT: Option<SinkErrorKind> = Some(SinkErrorKind::Permanent);

// Sabotage: do not call `try_recv` in `collect`: eight commits.
#[test]
fn what_waits_is_committed_together() {
    let rig = Rig::new();
    let before = rig.commits();
    let results = rig.group((0..8).map(|n| bars(&format!("S{n}"), 500)).collect());
    assert_eq!(kinds(&results), [STORED; 8]);
    assert_eq!(rig.commits() - before, 1);
    assert_eq!(rig.symbols().len(), 8);
}

// Sabotage: ignore `group_limit`: one commit.
#[test]
fn a_group_has_a_limit() {
    let rig = Rig::with(|options| options.group_limit = NonZeroUsize::new(3).unwrap());
    let before = rig.commits();
    let results = rig.group((0..8).map(|n| bars(&format!("S{n}"), 5)).collect());
    assert_eq!(kinds(&results), [STORED; 8]);
    assert_eq!(rig.commits() - before, 3);
}

// Sabotage: leave out the savepoint and roll the whole group back: the good ones fail too. Leave out `ROLLBACK TO`: the
// first bars of BAD are stored.
#[test]
fn a_batch_that_the_table_refuses_fails_alone() {
    let rig = Rig::new();
    refuse(&rig, "ABORT");
    let before = rig.commits();
    let results = rig.group(vec![bars("A", 3), bars("BAD", 130), bars("C", 3)]);
    assert_eq!(kinds(&results), [STORED, PERMANENT, STORED]);
    assert!(format!("{:#}", results[1].as_ref().unwrap_err()).contains("no bad ones here"), "{results:?}");
    assert_eq!(rig.commits() - before, 1);
    assert_eq!(rig.symbols(), ["A", "C"]);
}

// Sabotage: forget `is_autocommit` beside the savepoint: the group fails for the savepoint that is no more.
#[test]
fn a_refusal_that_ends_the_transaction_costs_only_its_batch() {
    let rig = Rig::new();
    refuse(&rig, "ROLLBACK");
    let results = rig.group(vec![bars("A", 3), bars("BAD", 130), bars("C", 3)]);
    assert_eq!(kinds(&results), [STORED, PERMANENT, STORED]);
    assert_eq!(rig.symbols(), ["A", "C"]);
}

// Sabotage: answer before the commit, or leave out the second try one by one: wrong kinds, or BAD acknowledged.
#[test]
fn a_refusal_at_the_commit_costs_only_its_batch() {
    let rig = Rig::new();
    rig.elsewhere()
        .execute_batch(
            "CREATE TABLE listed (symbol TEXT PRIMARY KEY);
             CREATE TABLE seen (symbol TEXT REFERENCES listed (symbol) DEFERRABLE INITIALLY DEFERRED);
             CREATE TRIGGER check_later AFTER INSERT ON bars WHEN new.symbol = 'BAD'
             BEGIN INSERT INTO seen VALUES (new.symbol); END;",
        )
        .unwrap();
    let results = rig.group(vec![bars("A", 3), bars("BAD", 3), bars("C", 3)]);
    assert_eq!(kinds(&results), [STORED, PERMANENT, STORED]);
    let error = format!("{:#}", results[1].as_ref().unwrap_err());
    assert!(error.contains("cannot commit: FOREIGN KEY constraint failed"), "{error}");
    assert_eq!(rig.symbols(), ["A", "C"]);
}

// Sabotage: treat FULL as a refusal of the batch (permanent, or alone behind its savepoint): wrong kinds.
#[test]
fn a_full_file_fails_the_whole_group_for_now() {
    let rig = Rig::with(|options| options.max_pages = std::num::NonZeroU32::new(20));
    let results = rig.group(vec![bars("A", 3), bars("LARGE", 5_000), bars("C", 3)]);
    assert_eq!(kinds(&results), [TRANSIENT; 3]);
    assert!(format!("{:#}", results[0].as_ref().unwrap_err()).contains("full"), "{results:?}");
    assert!(rig.symbols().is_empty());

    // Only the large one is too large.
    let results = rig.group(vec![bars("A", 3), bars("C", 3)]);
    assert_eq!(kinds(&results), [STORED; 2]);
    assert_eq!(rig.symbols(), ["A", "C"]);
}

// Red when a panic of one batch fails the others of its group, leaves a part of its own behind, or ends the thread.
#[test]
fn a_record_that_panics_fails_its_batch_alone() {
    let rig = Rig::new();
    let held = rig.hold();
    let answers = [rig.submit(bars("A", 3)), rig.submit(Panics), rig.submit(bars("B", 3))];
    drop(held);
    let results = answers.map(|answer| answer.blocking_recv().unwrap());
    assert_eq!(kinds(&results), [STORED, TRANSIENT, STORED]);
    let error = format!("{:#}", results[1].as_ref().unwrap_err());
    assert!(error.ends_with("of `bars` was made of it: a panic that the test asked for"), "{error}");
    // Alone in its group too.
    assert_eq!(kinds(&[rig.submit(Panics).blocking_recv().unwrap()]), [TRANSIENT]);
    assert_eq!(kinds(&rig.group(vec![bars("C", 3)])), [STORED]);
    assert_eq!(rig.symbols(), ["A", "B", "C"]);
}

// Red when a table that another program has changed keeps the writes of other kinds away, once the file is opened anew.
#[test]
fn a_table_that_was_changed_costs_only_its_own_kind() {
    let dir = tempfile::tempdir().unwrap();
    let options = SqliteOptions::new(dir.path().join("bars.db"));
    let path = options.path.clone();
    let (_jobs, mut writer) = Writer::new(options, Arc::default()).unwrap();
    let [bar, quote] = [Bar::TABLE, Quote::TABLE].map(|table| Arc::new(TableSql::new(table)));
    writer.prepare(&quote).unwrap();
    writer.prepare(&bar).unwrap();
    Connection::open(&path).unwrap().execute_batch("DROP VIEW quotes_readable; ALTER TABLE quotes DROP bid").unwrap();
    for reopens in [false, true] {
        if reopens {
            writer.store = None;
        }
        let quotes = Batch::from(vec![Quote::new("ES", crate::TimestampNanos::from_nanos(1))]);
        let rows: [(_, Box<dyn Rows>); 2] = [(&quote, Box::new(quotes)), (&bar, Box::new(bars("A", 1)))];
        let (group, answers): (Vec<_>, Vec<_>) = rows
            .into_iter()
            .map(|(sql, rows)| {
                let (answer, answered) = oneshot::channel();
                (Write { sql: Arc::clone(sql), rows, answer }, answered)
            })
            .unzip();
        writer.serve(group);
        let results: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap()).collect();
        // A connection that knew the table finds out with the group, whose writes are tried again.
        assert_eq!(kinds(&results), [TRANSIENT, if reopens { STORED } else { TRANSIENT }]);
        if reopens {
            let error = format!("{:#}", results[0].as_ref().unwrap_err());
            assert!(error.contains("the table `quotes` has the columns"), "{error}");
        }
    }
}

// Red when a connection is kept after an error that it does not recover from: no new kind would get its table.
#[test]
fn a_table_that_cannot_be_made_is_made_by_a_new_connection() {
    let dir = tempfile::tempdir().unwrap();
    let (_jobs, mut writer) = Writer::new(SqliteOptions::new(dir.path().join("bars.db")), Arc::default()).unwrap();
    writer.prepare(&Arc::new(TableSql::new(Bar::TABLE))).unwrap();
    // Stands for an I/O error: this connection writes no more.
    writer.store.as_ref().unwrap().connection.pragma_update(None, "query_only", true).unwrap();
    let quotes = Arc::new(TableSql::new(Quote::TABLE));
    let error = writer.prepare(&quotes).unwrap_err();
    assert!(error.is_outage(), "{error}");
    writer.prepare(&quotes).unwrap();
}

// Red when each write of a group tries for itself to make a table while the file is locked, or one without a new table
// goes on to try.
#[test]
fn a_locked_file_is_tried_once_for_a_group() {
    let dir = tempfile::tempdir().unwrap();
    let mut options = SqliteOptions::new(dir.path().join("bars.db"));
    options.busy_timeout = Duration::from_millis(1);
    let path = options.path.clone();
    let (_jobs, mut writer) = Writer::new(options, Arc::default()).unwrap();
    let [known, new] = [Bar::TABLE, Quote::TABLE].map(|table| Arc::new(TableSql::new(table)));
    writer.prepare(&known).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let (group, answers): (Vec<_>, Vec<_>) = [&known, &new, &new, &known]
        .into_iter()
        .map(|sql| {
            let (answer, answered) = oneshot::channel();
            (Write { sql: Arc::clone(sql), rows: Box::new(bars("A", 1)), answer }, answered)
        })
        .unzip();
    writer.serve(group);
    let errors: Vec<_> = answers.into_iter().map(|answer| answer.blocking_recv().unwrap().unwrap_err()).collect();
    let tries: BTreeSet<_> = errors
        .iter()
        .map(|error| match std::error::Error::source(error).and_then(|source| source.downcast_ref::<WriteError>()) {
            Some(WriteError::Open(shared)) if error.is_outage() => Arc::as_ptr(shared).addr(),
            _ => panic!("{error:#}"),
        })
        .collect();
    assert_eq!(tries.len(), 1);
}

// Sabotage: leave out `is_closed` in `collect`: CANCELLED is stored.
#[test]
fn a_write_cancelled_before_its_turn_is_not_done() {
    let rig = Rig::new();
    let held = rig.hold();
    drop(rig.submit(bars("CANCELLED", 1)));
    let kept = rig.submit(bars("KEPT", 1));
    drop(held);
    kept.blocking_recv().unwrap().unwrap();
    assert_eq!(rig.symbols(), ["KEPT"]);
}

// Sabotage: return from `run` at once when the channel closes without draining it, or leak the connection: red.
#[test]
fn the_thread_ends_with_the_last_handle_and_leaves_one_whole_file() {
    let rig = Rig::new();
    let held = rig.hold();
    let last = rig.submit(bars("LAST", 5));
    let Rig { _dir, path, jobs, sql: _, thread } = rig;
    drop(jobs);
    drop(held);
    thread.join().unwrap();
    last.blocking_recv().unwrap().unwrap();
    assert!(!path.with_extension("db-wal").exists());
    let rows: i64 =
        Connection::open(&path).unwrap().query_row("SELECT count(*) FROM bars", [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 5);
}

/// Makes the table refuse the bars of BAD behind the first hour: the first statement of its batch succeeds.
fn refuse(rig: &Rig, how: &str) {
    rig.elsewhere()
        .execute_batch(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN new.symbol = 'BAD' AND new.ts > 3600000000
             BEGIN SELECT RAISE({how}, 'no bad ones here'); END;"
        ))
        .unwrap();
}

// Red when what is wrong with the schema counts against the records: they would become dead letters one by one.
#[test]
fn a_trigger_that_names_no_table_is_an_outage_until_it_is_mended() {
    let rig = Rig::new();
    let other = Connection::open(&rig.path).unwrap();
    other.execute_batch("CREATE TRIGGER t AFTER INSERT ON bars BEGIN INSERT INTO nowhere VALUES (1); END").unwrap();
    let error = rig.submit(bars("A", 1)).blocking_recv().unwrap().unwrap_err();
    assert!(error.is_outage() && format!("{error:#}").contains("cannot prepare a write to `bars`"), "{error:#}");
    other.execute_batch("DROP TRIGGER t").unwrap();
    assert!(rig.submit(bars("A", 1)).blocking_recv().unwrap().is_ok());
}
