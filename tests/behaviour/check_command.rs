//! `mds check` with the real binary: what it finds in a store, what it calls wrong, and that it changes nothing.

use std::{fs, path::Path, process::Output};

use rusqlite::Connection;
use serde_json::Value;

use crate::mds::{SP500, empty_store, mds, minutes, run, stderr, stdout};

fn check(dir: &Path, args: &[&str]) -> Output {
    mds(dir).arg("check").args(args).output().unwrap()
}

fn found(dir: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output = check(dir, &[args, &["--json"]].concat());
    let report = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    (output.status.code(), report)
}

/// A store of twenty years of days, and of minutes of two symbols, one of them with a hole.
fn store(dir: &Path) {
    let with_hole: String = minutes(500).lines().enumerate().filter(|(row, _)| !(100..400).contains(row)).fold(
        String::new(),
        |mut text, (_, line)| {
            text.push_str(line);
            text.push('\n');
            text
        },
    );
    fs::write(dir.join("es.csv"), minutes(1_000)).unwrap();
    fs::write(dir.join("nq.csv"), with_hole).unwrap();
    for (symbol, timeframe, file) in [("SPX", "1d", SP500), ("ES", "1m", "es.csv"), ("NQ", "1m", "nq.csv")] {
        let output = run(dir, &["--symbol", symbol, "--timeframe", timeframe, "--vendor", "acme", file]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
}

#[test]
fn each_series_is_shown_with_its_ends_its_count_and_its_largest_gaps() {
    // Red if series are mixed, a gap is measured in bars or against a calendar, or the largest is not first.
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let (code, report) = found(dir.path(), &[]);
    assert_eq!((code, &report["bars"], &report["invalid"]), (Some(0), &6_231.into(), &0.into()));
    let series = report["series"].as_array().unwrap();
    let keys: Vec<_> = series.iter().map(|one| [&one["vendor"], &one["symbol"], &one["timeframe"]]).collect();
    assert_eq!(keys, [["acme", "ES", "1m"], ["acme", "NQ", "1m"], ["acme", "SPX", "1d"]]);

    let [es, nq, spx] = &series[..] else { panic!("{report}") };
    assert_eq!(
        (&es["bars"], &es["spacing_seconds"], &es["gaps"]),
        (&1_000.into(), &60.0.into(), &Value::Array(vec![]))
    );
    assert_eq!((&es["first"], &es["last"]), (&"2023-11-14T22:13:20Z".into(), &"2023-11-15T14:52:20Z".into()));
    // Rows 100 to 399 of the text are the bars 99 to 398.
    assert_eq!(nq["bars"], 200);
    let gaps = nq["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{nq}");
    assert_eq!((&gaps[0]["seconds"], &gaps[0]["multiple"]), (&18_060.0.into(), &301.0.into()));
    assert_eq!(gaps[0]["after"], "2023-11-14T23:51:20Z");
    // After 2001-09-10 the exchange was closed for a week.
    assert_eq!((&spx["bars"], &spx["spacing_seconds"]), (&5_031.into(), &86_400.0.into()));
    assert_eq!(spx["gaps"][0]["after"], "2001-09-10T00:00:00Z");
    assert_eq!((&spx["gaps"][0]["multiple"], spx["gaps"].as_array().unwrap().len()), (&7.0.into(), 3));

    let text = stdout(&check(dir.path(), &[]));
    assert!(text.contains("gap of 5h 1m (301.0 x) after 2023-11-14T23:51:20Z"), "{text}");
    assert!(text.ends_with("6231 bars in 3 series, 0 invalid\n"), "{text}");
}

#[test]
fn filters_leave_the_other_series_out() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    for (args, expected) in [
        (&["--symbol", "es"][..], &["ES"][..]),
        (&["--timeframe", "1min"], &["ES", "NQ"]),
        (&["--timeframe", "1D", "--symbol", "SPX", "--vendor", "acme"], &["SPX"]),
    ] {
        let (code, report) = found(dir.path(), args);
        let symbols: Vec<_> = report["series"].as_array().unwrap().iter().map(|one| one["symbol"].clone()).collect();
        assert_eq!((code, symbols), (Some(0), expected.iter().map(|&symbol| symbol.into()).collect()), "{args:?}");
    }
}

#[test]
fn asking_for_what_the_store_has_nothing_of_is_an_error_that_says_so() {
    // Red if it ends with 0, so that a mistyped symbol passes for one without a fault, or if an empty store does not.
    let dir = tempfile::tempdir().unwrap();
    drop(empty_store(dir.path()));
    let ended = |args: &[&str]| {
        let output = check(dir.path(), args);
        (output.status.code(), stdout(&output), stderr(&output))
    };
    assert_eq!(ended(&[]), (Some(0), "0 bars in 0 series, 0 invalid\n".to_owned(), String::new()));
    store(dir.path());
    for (args, said) in [
        (&["--vendor", "unknown"][..], "--vendor unknown"),
        (&["--symbol", "gc"], "--symbol GC"),
        (&["--symbol", "ES", "--timeframe", "1D"], "--symbol ES --timeframe 1d"),
    ] {
        let (code, out, err) = ended(args);
        assert_eq!((code, out.as_str()), (Some(2), "0 bars in 0 series, 0 invalid\n"), "{err}");
        let said = format!("error: no series in the store is of {said}; mds check alone shows those that are there\n");
        assert_eq!(err, said);
        let (code, report) = found(dir.path(), args);
        assert_eq!((code, &report["bars"]), (Some(2), &0.into()));
    }
}

#[test]
fn rows_that_are_no_valid_bar_are_counted_named_and_end_with_65() {
    // Red if the order of prices is not looked at, if rounding is taken for a fault, or if text ends the check.
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let store = Connection::open(dir.path().join("market_data.db")).unwrap();
    for (row, change) in [
        (3, "close = 12.1"),
        (5, "low = 12.5"),
        (7, "open = 'ten'"),
        (9, "high = 9e999"),
        // Within a millionth: as vendors round.
        (11, "close = 12.00001"),
        (13, "volume = -2"),
    ] {
        let ts = 1_700_000_000_000_000_i64 + 60_000_000 * row;
        let sql = format!("UPDATE bars SET {change} WHERE symbol = 'ES' AND ts = ?1");
        assert_eq!(store.execute(&sql, [ts]).unwrap(), 1);
    }
    store.execute("INSERT INTO bars VALUES ('acme', 'ES', '1m', 'today', 1, 1, 1, 1, NULL)", []).unwrap();
    let (code, report) = found(dir.path(), &[]);
    assert_eq!((code, &report["invalid"], &report["bars"]), (Some(65), &6.into(), &6_232.into()));
    let errors: Vec<_> = report["errors"].as_array().unwrap().iter().map(|e| e["message"].as_str().unwrap()).collect();
    let parts = [
        "close: expected a price from the low 9 to the high 12, got 12.1",
        "low: expected at most the high 12, got 12.5",
        "open: expected a number, got Text",
        "high: expected a finite number, got inf",
        "volume: ",
        "ts: expected an integer, got Text",
    ];
    assert_eq!(errors.len(), parts.len(), "{errors:?}");
    assert!(errors.iter().zip(parts).all(|(error, part)| error.starts_with(part)), "{errors:?}");
    assert_eq!(found(dir.path(), &["--symbol", "NQ"]).0, Some(0), "the others are not to blame");

    let text = stdout(&check(dir.path(), &["--symbol", "ES"]));
    assert!(text.contains("\nacme ES 1m 2023-11-14T22:16:20Z: close: "), "{text}");
    // One fault in all of them: only the first are named.
    store.execute("UPDATE bars SET close = 99 WHERE symbol = 'NQ'", []).unwrap();
    assert!(stdout(&check(dir.path(), &["--symbol", "NQ"])).ends_with("and 180 more invalid\n"));
}

#[test]
fn a_store_that_is_not_there_ends_with_69_and_is_not_made() {
    // Red if the file is opened as one that may be made.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("notes.db"), "no database at all, but long enough to have a header of one".repeat(20))
        .unwrap();
    fs::write(dir.path().join("empty.db"), "").unwrap();
    Connection::open(dir.path().join("other.db")).unwrap().execute_batch("CREATE TABLE notes (text)").unwrap();
    for (url, code, said) in [
        ("sqlite://market_data.db", 69, "market_data.db: there is no such file"),
        ("sqlite://no/such/directory/bars.db", 69, "the directory"),
        ("sqlite://notes.db", 69, "not a SQLite database"),
        ("sqlite://empty.db", 69, "no table `bars`"),
        ("sqlite://other.db", 69, "no table `bars`"),
        ("sqlite://.", 69, "found a directory"),
        ("sqlite://", 78, "MDS_DATABASE_URL"),
        ("postgres://host/db", 78, "MDS_DATABASE_URL"),
    ] {
        let output = mds(dir.path()).args(["check", "--json"]).env("MDS_DATABASE_URL", url).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(code), ""), "{url}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{url}: {}", stderr(&output));
    }
    assert!(!dir.path().join("market_data.db").exists());
    assert_eq!(fs::metadata(dir.path().join("empty.db")).unwrap().len(), 0);
}

#[test]
fn it_reads_beside_a_writer_and_changes_nothing() {
    // Red if it wants the write lock, or sees what is not committed.
    let dir = tempfile::tempdir().unwrap();
    let writer = empty_store(dir.path());
    assert_eq!(found(dir.path(), &[]).1["bars"], 0);
    let insert = "INSERT INTO bars SELECT 'acme', 'ES', '1m', ?1, 1, 1, 1, 1, NULL";
    writer.execute(insert, [60_000_000]).unwrap();
    writer.execute_batch("BEGIN IMMEDIATE").unwrap();
    writer.execute(insert, [120_000_000]).unwrap();
    let (code, report) = found(dir.path(), &[]);
    assert_eq!((code, &report["bars"], &report["series"][0]["spacing_seconds"]), (Some(0), &1.into(), &Value::Null));
    writer.execute_batch("COMMIT").unwrap();
    assert_eq!(found(dir.path(), &[]).1["bars"], 2);
    drop(writer);
    let before = fs::read(dir.path().join("market_data.db")).unwrap();
    assert_eq!(found(dir.path(), &[]).0, Some(0));
    assert!(fs::read(dir.path().join("market_data.db")).unwrap() == before);
}
