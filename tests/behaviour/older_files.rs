//! Files of older versions, made by the SQL of those: their bars get an adjustment, and lose nothing.

use std::{fs, ops::ControlFlow, path::Path};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, Batch, News, Sink, Timeframe, Timestamp,
    sink::{DatabaseReader, Selection, SqliteSink},
};
use rusqlite::Connection;

use crate::mds::{mds, run, stderr, stdout};

/// What a file of version 2 had; version 1 had no index.
const VERSION_2: &str = "
    CREATE TABLE bars (
        vendor TEXT NOT NULL,
        symbol TEXT NOT NULL,
        timeframe TEXT NOT NULL,
        ts INTEGER NOT NULL,
        open REAL NOT NULL,
        high REAL NOT NULL,
        low REAL NOT NULL,
        close REAL NOT NULL,
        volume REAL,
        PRIMARY KEY (vendor, symbol, timeframe, ts)
    ) WITHOUT ROWID;
    CREATE INDEX bars_by_symbol ON bars (symbol, timeframe, ts);
    CREATE VIEW bars_readable AS
    WITH split AS (SELECT *, ((ts % 1000000) + 1000000) % 1000000 AS micros FROM bars)
    SELECT vendor, symbol, timeframe,
        strftime('%Y-%m-%dT%H:%M:%S', (ts - micros) / 1000000, 'unixepoch')
            || CASE micros WHEN 0 THEN '' ELSE '.' || rtrim(printf('%06d', micros), '0') END || 'Z' AS ts,
        open, high, low, close, volume
    FROM split;
    PRAGMA application_id = 1835299633;
    PRAGMA user_version = 2;
    PRAGMA journal_mode = wal";

fn bar(symbol: &str, minute: i64) -> Bar {
    let ts = Timestamp::from_micros(minute * 60_000_000);
    let bar = Bar::new(symbol, Timeframe::MINUTE, ts).ohlc(1.0, 2.0, 0.5, 1.1 + minute as f64 / 1e3).vendor("acme");
    if minute % 2 == 0 { bar.volume(10.0 + minute as f64) } else { bar }
}

/// Makes a file of version 2 with these bars.
fn older_file(path: &Path, bars: &[Bar]) -> Connection {
    let store = Connection::open(path).unwrap();
    store.execute_batch(VERSION_2).unwrap();
    let transaction = store.unchecked_transaction().unwrap();
    for Bar { vendor, symbol, timeframe, ts, open, high, low, close, volume, .. } in bars {
        let [vendor, symbol, timeframe] = [vendor.as_str(), symbol.as_str(), &timeframe.to_string()];
        let row = (vendor, symbol, timeframe, ts.as_micros(), open, high, low, close, volume);
        store.execute("INSERT INTO bars VALUES (?1, ?2, ?3, ?4, ?5, ?6, ?7, ?8, ?9)", row).unwrap();
    }
    transaction.commit().unwrap();
    store
}

fn bars() -> Vec<Bar> {
    ["ES", "NQ"].into_iter().flat_map(|symbol| (-3..200).map(move |minute| bar(symbol, minute))).collect()
}

fn stored(path: &Path) -> Vec<Bar> {
    selected(path, &Selection::new())
}

fn selected(path: &Path, selection: &Selection<Bar>) -> Vec<Bar> {
    let mut found = Vec::new();
    let reader = DatabaseReader::open(&format!("sqlite://{}", path.display())).unwrap();
    // A second read of one reader finds the same.
    for _ in 0..2 {
        found.clear();
        let mut keep = |record: Result<Bar, _>| {
            found.push(record.unwrap());
            ControlFlow::Continue(())
        };
        reader.records(selection, &mut keep).unwrap();
    }
    found
}

fn text(path: &Path, sql: &str) -> String {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

// Red when the step loses or changes a row, makes another schema than a new file has, or is left out for one of these:
// a file of the first version, one that lost its version and mark as a dump does, one that is opened for another kind.
#[test]
fn bars_of_an_older_file_get_an_unknown_adjustment() {
    let changes = [
        "",
        "DROP INDEX bars_by_symbol; PRAGMA user_version = 1",
        "DROP VIEW bars_readable; PRAGMA user_version = 0; PRAGMA application_id = 0",
    ];
    let schema = "SELECT group_concat(sql, ';' ORDER BY name) FROM sqlite_schema WHERE name LIKE 'bars%'";
    for (change, opens_news) in changes.into_iter().flat_map(|change| [(change, false), (change, true)]) {
        let dir = tempfile::tempdir().unwrap();
        let [path, new] = ["old.db", "new.db"].map(|name| dir.path().join(name));
        older_file(&path, &bars()).execute_batch(change).unwrap();
        if opens_news {
            block_on(SqliteSink::open::<News>(&path).unwrap().close());
        } else {
            block_on(SqliteSink::open::<Bar>(&path).unwrap().close());
        }
        block_on(SqliteSink::open::<Bar>(&new).unwrap().close());
        assert_eq!(stored(&path), bars(), "{change}");
        let unquoted = |path| text(path, schema).replace('"', "");
        assert_eq!(unquoted(&path), unquoted(&new), "{change}");
        assert_eq!(
            text(&path, "SELECT user_version || ' ' || (SELECT * FROM pragma_application_id) FROM pragma_user_version"),
            "3 1835299633"
        );
        assert_eq!(text(&path, "PRAGMA integrity_check"), "ok");

        // Another adjustment is another series; the same is an update.
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        let split = bar("ES", 0).adjustment(Adjustment::Split);
        block_on(sink.write(&Batch::from(vec![split.clone(), bar("ES", 0).volume(7.0)]))).unwrap();
        block_on(sink.close());
        let at_0 = stored(&path).into_iter().filter(|bar| &bar.symbol == "ES" && bar.ts == split.ts);
        assert_eq!(at_0.collect::<Vec<_>>(), [split, bar("ES", 0).volume(7.0)]);
    }
}

// Red when a reader changes an older file, wants it to be changed first, or takes its bars for others.
#[test]
fn an_older_file_is_read_as_it_is() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("market_data.db");
    older_file(&path, &bars()).execute_batch("PRAGMA journal_mode = delete").unwrap();
    let before = fs::read(&path).unwrap();
    assert_eq!(stored(&path), bars());
    let of_nq = Selection::new().any_of("symbol", ["NQ"]).unwrap().any_of("adjustment", ["unknown"]).unwrap();
    assert_eq!(selected(&path, &of_nq), bars()[203..]);
    assert_eq!(selected(&path, &Selection::new().any_of("adjustment", ["raw"]).unwrap()), []);
    let output = mds(dir.path()).args(["check", "--adjustment", "unknown"]).output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stdout(&output));
    assert!(stdout(&output).ends_with("406 bars in 2 series, 0 invalid, 0 findings\n"), "{}", stdout(&output));
    assert!(fs::read(&path).unwrap() == before);
}

// Red when the step takes with it what others made of the table: their views, triggers and indexes, and the rows of
// their tables that refer to it.
#[test]
fn what_others_made_of_the_table_stays() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let others = "
        CREATE VIEW last_close AS SELECT symbol, max(ts) AS ts, close FROM bars GROUP BY symbol;
        CREATE VIEW last_text AS SELECT max(ts) AS ts FROM bars_readable;
        CREATE INDEX by_close ON bars (close) WHERE volume IS NOT NULL;
        CREATE TABLE log (symbol);
        CREATE TRIGGER logged AFTER INSERT ON bars BEGIN INSERT INTO log VALUES (new.symbol); END;
        CREATE TABLE notes (vendor, symbol, timeframe, ts, note,
            FOREIGN KEY (vendor, symbol, timeframe, ts) REFERENCES bars ON DELETE CASCADE);
        INSERT INTO notes SELECT vendor, symbol, timeframe, ts, 'n' FROM bars";
    older_file(&path, &bars()).execute_batch(others).unwrap();
    block_on(SqliteSink::open::<Bar>(&path).unwrap().close());
    assert_eq!(text(&path, "SELECT count(*) || '' FROM notes"), "406");
    // The key that they refer to is no more.
    Connection::open(&path).unwrap().execute_batch("DROP TABLE notes").unwrap();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    block_on(sink.write(&Batch::from(vec![bar("ZN", 1)]))).unwrap();
    block_on(sink.close());
    assert_eq!(text(&path, "SELECT group_concat(symbol, ' ') FROM last_close"), "ES NQ ZN");
    assert_eq!(text(&path, "SELECT ts FROM last_text"), "1970-01-01T03:19:00Z");
    assert_eq!(text(&path, "SELECT group_concat(symbol, ' ') FROM log"), "ZN", "the copy is no insert");
    assert_eq!(text(&path, "SELECT name FROM sqlite_schema WHERE name = 'by_close'"), "by_close");
}

// Red when a step that fails leaves the file between two versions: nothing is lost, and the next start tries again.
#[test]
fn a_step_that_fails_leaves_the_file_as_it_was() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let other = older_file(&path, &bars());
    other.execute_batch("CREATE TABLE bars_with_adjustment (x)").unwrap();
    let error = SqliteSink::open::<Bar>(&path).unwrap_err().to_string();
    assert!(error.ends_with("cannot give bars an adjustment"), "{error}");
    assert_eq!(text(&path, "SELECT user_version || '' FROM pragma_user_version"), "2");
    assert_eq!(text(&path, "SELECT count(*) || '' FROM bars_readable WHERE volume IS NOT NULL"), "202");
    other.execute_batch("DROP TABLE bars_with_adjustment").unwrap();
    block_on(SqliteSink::open::<Bar>(&path).unwrap().close());
    assert_eq!(stored(&path), bars());
}

// Red when the option or the column is not read, a column that says something else than the option passes, or a word
// that is no adjustment is taken for unknown.
#[test]
fn the_adjustment_comes_from_the_column_or_the_option() {
    let rows = |cells: &[&str]| {
        let rows = cells.iter().enumerate().map(|(row, cell)| format!("ES,1d,2024-01-0{},2,4,1,3,{cell}\n", row + 1));
        "symbol,timeframe,ts,open,high,low,close,adjustment\n".to_owned() + &rows.collect::<String>()
    };
    let json = |cell: &str| {
        format!(
            r#"{{"symbol":"ES","timeframe":"1d","ts":"2024-01-02","open":2,"high":4,"low":1,"close":3,"adjustment":{cell}}}"#
        )
    };
    for (name, file, args, code, expected, said) in [
        ("a.csv", rows(&["raw", "Split", "all", "unknown", ""]), &[][..], 0, "raw split all unknown unknown", ""),
        ("a.csv", rows(&["unknown", "", "raw"]), &["--adjustment", "raw"], 0, "raw raw raw", ""),
        (
            "a.csv",
            rows(&["raw", "split"]),
            &["--adjustment", "split"],
            65,
            "split",
            "a.csv:2: adjustment: expected split as --adjustment says, got raw",
        ),
        (
            "a.csv",
            rows(&["raw", "1.5"]),
            &[],
            65,
            "raw",
            "adjustment: expected raw, split, all or unknown, got \"1.5\"",
        ),
        ("a.ndjson", json(r#""all""#), &[], 0, "all", ""),
        ("a.ndjson", json("null"), &[], 0, "unknown", ""),
        ("a.csv", rows(&["x"]).replace("adjustment", "kind"), &["--adjustment", "all"], 0, "all", ""),
        ("a.csv", rows(&["raw"]).replace("adjustment", "kind"), &["--map", "adjustment=kind"], 0, "raw", ""),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), &file).unwrap();
        let output = run(dir.path(), &[args, &[name]].concat());
        assert_eq!(output.status.code(), Some(code), "{file}: {}", stderr(&output));
        assert!(stderr(&output).contains(said) || stdout(&output).contains(said), "{file}: {}", stderr(&output));
        let path = dir.path().join("market_data.db");
        let found = text(&path, "SELECT group_concat(adjustment, ' ' ORDER BY ts) FROM bars");
        assert_eq!(found, expected, "{file}");
    }
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--adjustment", "dividend", "a.csv"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).contains("expected raw, split, all or unknown, got \"dividend\""), "{}", stderr(&output));
}
