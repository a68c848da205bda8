//! The SQLite sink on real files, with real other connections and processes in its way.

use std::{
    fs,
    path::{Path, PathBuf},
    process::Command,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Batch, Sink, SinkError, Timeframe, Timestamp,
    sink::{SinkErrorKind, SqliteOpenError, SqliteOptions, SqliteSink},
};
use rusqlite::Connection;
use tempfile::TempDir;

fn place() -> (TempDir, PathBuf) {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    (dir, path)
}

fn bar(symbol: &str, ts: i64, price: f64) -> Bar {
    Bar {
        vendor: "test".into(),
        symbol: symbol.into(),
        timeframe: Timeframe::MINUTE,
        adjustment: Adjustment::Unknown,
        ts: Timestamp::from_micros(ts),
        open: price,
        high: price,
        low: price,
        close: price,
        volume: None,
    }
}

fn write(sink: &SqliteSink, bars: Vec<Bar>) -> Result<(), SinkError> {
    block_on(sink.write(&Batch::from(bars)))
}

/// Every stored bar, in the order of the key.
fn stored(path: &Path) -> Vec<Bar> {
    let connection = Connection::open(path).unwrap();
    let mut statement = connection
        .prepare(
            "SELECT vendor, symbol, timeframe, ts, open, high, low, close, volume, adjustment FROM bars
             ORDER BY vendor, symbol, timeframe, adjustment, ts",
        )
        .unwrap();
    let bars = statement.query_map([], |row| {
        Ok(Bar {
            vendor: row.get::<_, String>(0)?.into(),
            symbol: row.get::<_, String>(1)?.into(),
            timeframe: row.get::<_, String>(2)?.parse().unwrap(),
            adjustment: row.get::<_, String>(9)?.parse().unwrap(),
            ts: Timestamp::from_micros(row.get(3)?),
            open: row.get(4)?,
            high: row.get(5)?,
            low: row.get(6)?,
            close: row.get(7)?,
            volume: row.get(8)?,
        })
    });
    bars.unwrap().collect::<Result<_, _>>().unwrap()
}

fn bits(bar: &Bar) -> [Option<u64>; 5] {
    [Some(bar.open), Some(bar.high), Some(bar.low), Some(bar.close), bar.volume].map(|value| value.map(f64::to_bits))
}

fn kind(result: &Result<(), SinkError>) -> Option<SinkErrorKind> {
    result.as_ref().err().map(SinkError::kind)
}

const TRANSIENT: Option<SinkErrorKind> = Some(SinkErrorKind::Transient);

// Sabotage: bind a price as text, as f32 or in another column, or the time in milliseconds: red.
#[test]
fn what_is_read_back_is_what_was_written_to_the_bit() {
    let (_dir, path) = place();
    let values = [
        0.1 + 0.2,
        1.0 / 3.0,
        -37.63,
        3.0,
        0.0,
        9_007_199_254_740_993.0,
        1e22,
        f64::MAX,
        f64::MIN,
        f64::MIN_POSITIVE,
        5e-324,
        4_503_599_627_370_497.5,
    ];
    let mut bars = Vec::new();
    for (at, window) in values.windows(5).enumerate() {
        bars.push(Bar {
            vendor: "a vendor".into(),
            symbol: "BRK.B/é ^=-:".into(),
            timeframe: ["1m", "1mo", "15s", "1d", "2h", "1w", "1y", "5m"][at].parse().unwrap(),
            adjustment: ["raw", "split", "all", "unknown"][at % 4].parse().unwrap(),
            ts: Timestamp::from_micros([0, 1, -1, 1_704_205_800_000_001][at % 4]),
            open: window[0],
            high: window[1],
            low: window[2],
            close: window[3],
            volume: (at % 3 > 0).then_some(window[4]),
        });
    }
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, bars.clone()).unwrap();

    bars.sort_by_key(|bar| (bar.timeframe.to_string(), bar.ts));
    let read = stored(&path);
    assert_eq!(read, bars);
    assert!(read.iter().map(bits).eq(bars.iter().map(bits)));
}

// Sabotage: leave out one text of the comparison with what is bound, or compare with another row of the statement: red.
#[test]
fn each_row_has_its_own_key_whatever_the_row_before_had() {
    let (_dir, path) = place();
    let texts = [["a", "b"], ["X", "Y"], ["1m", "1h"]];
    let mut random = fastrand::Rng::with_seed(7);
    let bars = (0..500).map(|ts| {
        let [vendor, symbol, timeframe] = texts.map(|two| two[random.usize(0..2)]);
        let timeframe = timeframe.parse().unwrap();
        Bar { vendor: vendor.into(), timeframe, volume: random.bool().then_some(1.0), ..bar(symbol, ts, ts as f64) }
    });
    let mut bars: Vec<Bar> = bars.collect();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    for batch in bars.chunks(130) {
        write(&sink, batch.to_vec()).unwrap();
    }
    let key = |bar: &Bar| (bar.vendor.to_string(), bar.symbol.to_string(), bar.timeframe.to_string(), bar.ts);
    bars.sort_by_key(key);
    assert_eq!(stored(&path), bars);
}

// Sabotage: `DO NOTHING` instead of `DO UPDATE`, or leave one column out of the update: red.
#[test]
fn the_last_update_of_a_key_wins_and_repeating_changes_nothing() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let mut last = bar("ES", 60, 3.0);
    last.volume = Some(7.0);
    let batch = vec![bar("ES", 60, 1.0), bar("NQ", 60, 5.0), bar("ES", 60, 2.0), last.clone()];
    for _ in 0..2 {
        write(&sink, batch.clone()).unwrap();
        assert_eq!(stored(&path), [last.clone(), bar("NQ", 60, 5.0)]);
    }
    // A volume that is no longer known goes too.
    write(&sink, vec![bar("ES", 60, 4.0)]).unwrap();
    assert_eq!(stored(&path), [bar("ES", 60, 4.0), bar("NQ", 60, 5.0)]);

    // Within a statement, and from one to the next.
    let many: Vec<Bar> = (0..230).map(|at| bar("CL", at * at % 7, at as f64)).collect();
    write(&sink, many.clone()).unwrap();
    let last: std::collections::BTreeMap<_, _> = many.into_iter().map(|bar| (bar.ts, bar)).collect();
    let stored: Vec<_> = stored(&path).into_iter().filter(|bar| bar.symbol == "CL").collect();
    assert_eq!(stored, last.into_values().collect::<Vec<_>>());
}

// Sabotage: divide without rounding towards the past, or drop the fraction: the times before 1970 or between seconds
// differ.
#[test]
fn the_view_shows_times_as_text() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let times = [
        0,
        1,
        -1,
        -1_000_000,
        -1_500_000,
        500_000,
        1_704_205_800_000_000,
        1_704_205_800_120_000,
        Timestamp::MIN.as_micros(),
        Timestamp::MAX.as_micros(),
    ];
    // The view has no other time: a price says which one it should be.
    write(&sink, times.iter().enumerate().map(|(at, ts)| bar("ES", *ts, at as f64)).collect()).unwrap();

    let connection = Connection::open(&path).unwrap();
    let mut statement = connection.prepare("SELECT close, ts FROM bars_readable ORDER BY close").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let rows: Vec<(f64, String)> = rows.collect::<Result<_, _>>().unwrap();
    assert_eq!(rows.len(), times.len());
    for (at, text) in rows {
        let ts = times[at as usize];
        assert_eq!(text, Timestamp::from_micros(ts).to_string());
        assert_eq!(text.parse::<Timestamp>().unwrap().as_micros(), ts);
    }
}

// Sabotage: another name, version, journal mode or key: red. Others rely on every one of them.
#[test]
fn the_schema_is_the_one_that_is_documented() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let connection = Connection::open(&path).unwrap();
    let text = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, String>(0)).unwrap();
    assert_eq!(text("SELECT user_version || '' FROM pragma_user_version"), "3");
    assert_eq!(text("PRAGMA journal_mode"), "wal");
    assert_eq!(
        text("SELECT group_concat(name || ' ' || type, ', ') FROM pragma_table_info('bars')"),
        "vendor TEXT, symbol TEXT, timeframe TEXT, adjustment TEXT, ts INTEGER, open REAL, high REAL, low REAL, close REAL, \
         volume REAL"
    );
    assert_eq!(
        text("SELECT group_concat(name, ', ') FROM (SELECT * FROM pragma_table_info('bars') WHERE pk > 0 ORDER BY pk)"),
        "vendor, symbol, timeframe, adjustment, ts"
    );
    assert_eq!(
        text("SELECT group_concat(name, ', ') FROM pragma_table_info('bars_readable')"),
        "vendor, symbol, timeframe, adjustment, ts, open, high, low, close, volume"
    );
    drop(sink);
}

// Sabotage: return the error of a lock from `open`, or do not open again at the next write: red.
#[test]
fn a_file_locked_at_the_start_is_an_outage() {
    let (_dir, path) = place();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN EXCLUSIVE; CREATE TABLE t (a)").unwrap();

    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let result = write(&sink, vec![bar("ES", 1, 1.0)]);
    assert_eq!(kind(&result), TRANSIENT);
    assert!(format!("{:#}", result.unwrap_err()).contains("locked"));

    other.execute_batch("ROLLBACK").unwrap();
    write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
    assert_eq!(stored(&path), [bar("ES", 1, 1.0)]);
}

// Sabotage: count BUSY as permanent, or hand out `Ok` before the commit: red.
#[test]
fn a_file_locked_later_is_an_outage() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let result = write(&sink, vec![bar("ES", 1, 1.0)]);
    assert_eq!(kind(&result), TRANSIENT);
    assert!(format!("{:#}", result.unwrap_err()).contains("locked"));
    assert!(stored(&path).is_empty());

    other.execute_batch("ROLLBACK").unwrap();
    write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
    assert_eq!(stored(&path).len(), 1);
}

// Sabotage: count FULL as permanent, or do not roll back what is left of the transaction: red.
#[test]
fn a_full_file_is_an_outage_until_there_is_room() {
    let (_dir, path) = place();
    let mut options = SqliteOptions::new(&path);
    options.max_pages = std::num::NonZeroU32::new(20);
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    let page_of_bars = |n: i64| (0..100).map(|at| bar("ES", n * 100 + at, 1.0)).collect::<Vec<_>>();

    let mut acknowledged = 0;
    let full = loop {
        match write(&sink, page_of_bars(acknowledged)) {
            Ok(()) => acknowledged += 1,
            error => break error,
        }
        assert!(acknowledged < 100, "the file never became full");
    };
    assert_eq!(kind(&full), TRANSIENT);
    assert!(acknowledged > 0);
    assert_eq!(stored(&path).len() as i64, acknowledged * 100, "what was not acknowledged is not there");

    Connection::open(&path).unwrap().execute("DELETE FROM bars WHERE ts < 200", []).unwrap();
    write(&sink, page_of_bars(acknowledged)).unwrap();
}

// Sabotage: acknowledge before COMMIT, or keep a broken transaction open: the child acknowledges what is not there, or
// the small batch after the large one fails.
//
// The error is real: the process may not make files longer than a limit, so the log cannot take a large commit.
#[cfg(unix)]
#[test]
fn an_error_while_committing_acknowledges_nothing() {
    const CHILD: &str = "MDS_TEST_SQLITE_FILE";
    if let Some(path) = std::env::var_os(CHILD) {
        let sink = SqliteSink::open::<Bar>(PathBuf::from(path)).unwrap();
        let bars = |symbol, n| (0..n).map(|ts| bar(symbol, ts, 1.0)).collect::<Vec<_>>();
        for round in 0..3 {
            assert_eq!(kind(&write(&sink, bars("SMALL", 10 + round))), None, "before the error");
            let result = write(&sink, bars("LARGE", 20_000));
            assert_eq!(kind(&result), TRANSIENT);
            assert!(format!("{:#}", result.unwrap_err()).contains("disk I/O error"));
        }
        return;
    }
    let (_dir, path) = place();
    // 512 KiB: `ulimit` counts in blocks of 512 or 1024 bytes. Ignoring the signal turns it into an error of `write`.
    let child = Command::new("sh")
        .args(["-c", "trap '' XFSZ && ulimit -f 512 && exec \"$0\" \"$@\""])
        .arg(std::env::current_exe().unwrap())
        .args(["sqlite::an_error_while_committing_acknowledges_nothing", "--exact", "--nocapture"])
        .env(CHILD, &path)
        .output()
        .unwrap();
    assert!(child.status.success(), "{}", String::from_utf8_lossy(&child.stdout));
    assert!(String::from_utf8_lossy(&child.stdout).contains("1 passed"));

    let symbols: Vec<_> = stored(&path).into_iter().map(|bar| bar.symbol).collect();
    assert_eq!(symbols, ["SMALL"; 12]);
}

// Sabotage: let any of these files pass, or drop a part of a message: red.
#[test]
fn what_is_no_store_is_refused_by_name() {
    let (dir, path) = place();
    let shown = path.display();
    let refused = |path: &Path| SqliteSink::open::<Bar>(path).unwrap_err().to_string();

    for text in ["hello", &"something longer than any header of a database file\n".repeat(100)] {
        fs::write(&path, text).unwrap();
        assert_eq!(refused(&path), format!("{shown}: not a SQLite database: expected one, or an empty or new file"));
        assert_eq!(fs::read_to_string(&path).unwrap(), text, "another program's file must stay as it is");
        fs::remove_file(&path).unwrap();
    }

    let refused_database = |sql: &str| {
        let path = dir.path().join("other.db");
        Connection::open(&path).unwrap().execute_batch(sql).unwrap();
        let before = fs::read(&path).unwrap();
        let message = refused(&path);
        assert_eq!(fs::read(&path).unwrap(), before, "another program's database must stay as it is");
        fs::remove_file(&path).unwrap();
        message.strip_prefix(&format!("{}: ", path.display())).unwrap().to_owned()
    };
    assert_eq!(
        refused_database("PRAGMA user_version = 4"),
        "the schema has version 4, this program knows versions up to 3: use a newer program, or another file"
    );
    assert_eq!(
        refused_database("CREATE TABLE people (name); CREATE VIEW names AS SELECT name FROM people"),
        "found schema version 0 with view `names`, table `people` but no table `bars`: \
         expected a store of market data, or an empty or new file"
    );
    assert_eq!(
        refused_database("PRAGMA user_version = 1"),
        "found schema version 1 with nothing in it but no table `bars`: \
         expected a store of market data, or an empty or new file"
    );
    assert_eq!(
        refused_database("CREATE TABLE bars (symbol TEXT PRIMARY KEY, close REAL)"),
        "the table `bars` has the columns (symbol TEXT KEY 1, close REAL): expected (vendor TEXT NOT NULL KEY 1, \
         symbol TEXT NOT NULL KEY 2, timeframe TEXT NOT NULL KEY 3, adjustment TEXT NOT NULL KEY 4, \
         ts INTEGER NOT NULL KEY 5, open REAL NOT NULL, high REAL NOT NULL, low REAL NOT NULL, close REAL NOT NULL, \
         volume REAL)"
    );

    assert_eq!(refused(dir.path()), format!("{}: expected a file, found a directory", dir.path().display()));
    let missing = dir.path().join("no/such");
    assert_eq!(
        refused(&missing.join("bars.db")),
        format!(
            "{}: the directory {} does not exist: create it, or choose another path",
            missing.join("bars.db").display(),
            missing.display()
        )
    );
    assert!(!missing.exists());
    // Sabotage: call all that SQLite cannot open an outage: that a file is no directory is waited for.
    let file = dir.path().join("file");
    fs::write(&file, "").unwrap();
    assert_eq!(
        refused(&file.join("bars.db")),
        format!(
            "{}: {} cannot be written to: allow it, or choose another path",
            file.join("bars.db").display(),
            file.display()
        )
    );
    assert!(matches!(SqliteSink::open::<Bar>(":memory:").unwrap_err(), SqliteOpenError::InMemory { .. }));
}

// Sabotage: make every table without asking whether it is there (`CREATE TABLE` fails), or refuse a missing version:
// red.
#[test]
fn a_restored_dump_is_a_store_again() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
    block_on(sink.close());
    // A dump has the tables but not the version.
    Connection::open(&path).unwrap().execute_batch("DROP VIEW bars_readable; PRAGMA user_version = 0").unwrap();

    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("NQ", 1, 1.0)]).unwrap();
    let count = "SELECT count(*) FROM bars_readable, pragma_user_version WHERE user_version = 3";
    let rows: i64 = Connection::open(&path).unwrap().query_row(count, [], |row| row.get(0)).unwrap();
    assert_eq!(rows, 2);
}

// Sabotage: leave the index out of the step from version 1, or its columns in another order: the plan scans.
#[test]
fn reads_by_symbol_use_an_index_in_new_files_and_in_those_of_the_first_version() {
    for is_old in [false, true] {
        let (_dir, path) = place();
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
        block_on(sink.close());
        if is_old {
            let older = "DROP INDEX bars_by_symbol; PRAGMA user_version = 1";
            Connection::open(&path).unwrap().execute_batch(older).unwrap();
            block_on(SqliteSink::open::<Bar>(&path).unwrap().close());
        }
        let connection = Connection::open(&path).unwrap();
        let text = |sql: &str, column| connection.query_row(sql, [], |row| row.get::<_, String>(column)).unwrap();
        let plan = "EXPLAIN QUERY PLAN SELECT close FROM bars WHERE symbol = 'ES' AND timeframe = '1m' AND ts >= 0 ORDER BY ts";
        assert_eq!(text(plan, 3), "SEARCH bars USING INDEX bars_by_symbol (symbol=? AND timeframe=? AND ts>?)");
        assert_eq!(text("SELECT user_version || '' FROM pragma_user_version", 0), "3");
        assert_eq!(stored(&path), [bar("ES", 1, 1.0)]);
    }
}

// Sabotage: leave the file to SQLite, which makes it readable for all, or set the mode of one that is there: red.
#[cfg(unix)]
#[test]
fn a_new_file_is_its_owner_s_alone_with_its_log_and_one_that_is_there_keeps_its_mode() {
    use std::os::unix::fs::PermissionsExt;
    let modes = |dir: &Path| {
        let modes =
            fs::read_dir(dir).unwrap().map(|file| file.unwrap().metadata().unwrap().permissions().mode() & 0o777);
        modes.collect::<Vec<_>>()
    };
    let (dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
    assert_eq!(modes(dir.path()), [0o600; 3], "the file, -wal and -shm");
    block_on(sink.close());

    fs::set_permissions(&path, fs::Permissions::from_mode(0o640)).unwrap();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("ES", 2, 1.0)]).unwrap();
    assert_eq!(modes(dir.path()), [0o640; 3]);
}

// Sabotage: skip the second look under the lock: one of them finds the table made already, and fails.
#[test]
fn many_may_open_a_new_file_at_once() {
    let (_dir, path) = place();
    std::thread::scope(|scope| {
        for thread in 0..8 {
            let path = &path;
            scope.spawn(move || {
                let sink = SqliteSink::open::<Bar>(path).unwrap();
                // As the retry policy does: a lock is transient.
                loop {
                    match write(&sink, vec![bar("ES", thread, 1.0)]) {
                        Ok(()) => break,
                        Err(error) => assert_eq!(error.kind(), SinkErrorKind::Transient, "{error}"),
                    }
                }
            });
        }
    });
    assert_eq!(stored(&path).len(), 8);
}

// Sabotage: do not compare the file after the commit: the write is acknowledged, and its record is nowhere. Do not
// compare it at the end, or forget what was acknowledged before: nothing is noticed.
#[cfg(unix)]
#[test]
fn a_removed_file_acknowledges_nothing_and_comes_back_new() {
    let (dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("OLD", 1, 1.0)]).unwrap();
    for file in fs::read_dir(dir.path()).unwrap() {
        fs::remove_file(file.unwrap().path()).unwrap();
    }
    let result = write(&sink, vec![bar("NEW", 1, 1.0)]);
    assert_eq!(kind(&result), TRANSIENT);
    assert!(format!("{:#}", result.unwrap_err()).contains("removed or replaced"));
    write(&sink, vec![bar("NEW", 1, 1.0)]).unwrap();
    assert_eq!((stored(&path), sink.file_was_removed()), (vec![bar("NEW", 1, 1.0)], true));

    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    write(&sink, vec![bar("NEW", 2, 1.0), bar("NEW", 3, 1.0)]).unwrap();
    assert!(!sink.file_was_removed());
    fs::rename(&path, dir.path().join("elsewhere.db")).unwrap();
    block_on(sink.close());
    assert!(sink.file_was_removed());
}

// Sabotage: take a path that cannot be looked at for one with nothing at it: a file counts as removed that is there.
#[cfg(unix)]
#[test]
fn a_directory_that_is_closed_for_a_while_loses_nothing() {
    let (dir, _) = place();
    // A link to itself cannot be looked through by anybody, as a directory without rights cannot by most.
    let (open, closed) = (dir.path().join("open"), dir.path().join("closed"));
    fs::create_dir(&open).unwrap();
    let sink = SqliteSink::open::<Bar>(open.join("bars.db")).unwrap();
    write(&sink, vec![bar("ES", 1, 1.0)]).unwrap();
    fs::rename(&open, &closed).unwrap();
    std::os::unix::fs::symlink(&open, &open).unwrap();
    let result = write(&sink, vec![bar("ES", 2, 1.0)]);
    assert_eq!(kind(&result), TRANSIENT);
    assert!(format!("{:#}", result.unwrap_err()).contains("cannot look whether the file is still there"));
    fs::remove_file(&open).unwrap();
    fs::rename(&closed, &open).unwrap();
    write(&sink, vec![bar("ES", 2, 1.0)]).unwrap();
    block_on(sink.close());
    assert_eq!((stored(&open.join("bars.db")).len(), sink.file_was_removed()), (2, false));
}

// Sabotage: answer `close` before the connection is closed: a `-wal` is left. Keep the thread: the write succeeds.
#[test]
fn closing_leaves_one_whole_file_and_ends_every_handle() {
    let (dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let other = sink.clone();
    let batch = Batch::from(vec![bar("ES", 1, 1.0)]);
    let (written, ()) = block_on(async { futures::join!(sink.write(&batch), other.close()) });
    written.unwrap();
    let files: Vec<_> = fs::read_dir(dir.path()).unwrap().map(|file| file.unwrap().file_name()).collect();
    assert_eq!(files, ["bars.db"]);
    assert_eq!(stored(&path).len(), 1);

    let result = write(&sink, vec![bar("ES", 2, 1.0)]);
    assert_eq!(kind(&result), TRANSIENT);
    assert!(format!("{:#}", result.unwrap_err()).contains("has ended"));
    block_on(sink.close());
}

// Sabotage: count a constraint as transient, write row by row without a transaction, or leave the transaction open:
// red.
#[test]
fn a_record_that_the_table_refuses_is_permanent() {
    let (_dir, path) = place();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    for n in [2, 120] {
        let good: Vec<_> = (0..n).map(|ts| bar("ES", ts, 1.0)).collect();
        for bad in 0..n {
            let mut bars = good.clone();
            bars[bad as usize].open = f64::NAN;
            assert_eq!(kind(&write(&sink, bars)), Some(SinkErrorKind::Permanent));
        }
        assert!(stored(&path).is_empty(), "a batch is stored whole or not at all");
        write(&sink, good).unwrap();
        assert_eq!(stored(&path).len(), n as usize);
        Connection::open(&path).unwrap().execute_batch("DELETE FROM bars").unwrap();
    }
}

/// Red when a ping says that a store is there which takes no writes now, or the other way round, or changes anything in
/// it.
#[actix::test]
async fn a_ping_says_whether_a_write_could_begin_now() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let mut options = SqliteOptions::new(&path);
    options.busy_timeout = Duration::from_millis(1);
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    assert!(matches!(Sink::<Bar>::ping(&sink).await, Some(Ok(()))));
    let other = Connection::open(&path).unwrap();
    other.execute_batch("BEGIN IMMEDIATE").unwrap();
    let Some(Err(error)) = Sink::<Bar>::ping(&sink).await else { panic!("it is locked") };
    assert!(error.is_outage(), "{error:#}");
    other.execute_batch("ROLLBACK").unwrap();
    assert!(matches!(Sink::<Bar>::ping(&sink).await, Some(Ok(()))));
    // It left no transaction behind.
    other.execute_batch("BEGIN EXCLUSIVE; ROLLBACK").unwrap();
}
