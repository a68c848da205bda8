//! `mds check` with the real binary: what it finds in a store, what it calls wrong, and that it changes nothing.

use std::{fs, path::Path, process::Output};

use jiff::{SignedDuration, Timestamp, civil::Weekday, tz::TimeZone};
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
    assert_eq!((&es["first"], &es["last"]), (&"2023-11-14T22:14:00Z".into(), &"2023-11-15T14:53:00Z".into()));
    // Rows 100 to 399 of the text are the bars 99 to 398.
    assert_eq!(nq["bars"], 200);
    let gaps = nq["gaps"].as_array().unwrap();
    assert_eq!(gaps.len(), 1, "{nq}");
    assert_eq!((&gaps[0]["seconds"], &gaps[0]["multiple"]), (&18_060.0.into(), &301.0.into()));
    assert_eq!(gaps[0]["after"], "2023-11-14T23:52:00Z");
    // After 2001-09-10 the exchange was closed for a week.
    assert_eq!((&spx["bars"], &spx["spacing_seconds"]), (&5_031.into(), &86_400.0.into()));
    assert_eq!(spx["gaps"][0]["after"], "2001-09-10T00:00:00Z");
    assert_eq!((&spx["gaps"][0]["multiple"], spx["gaps"].as_array().unwrap().len()), (&7.0.into(), 3));

    let text = stdout(&check(dir.path(), &[]));
    assert!(text.contains("gap of 5h 1m (301.0 x) after 2023-11-14T23:52:00Z"), "{text}");
    assert!(text.ends_with("6231 bars in 3 series, 0 invalid, 0 findings\n"), "{text}");
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
    assert_eq!(ended(&[]), (Some(0), "0 bars in 0 series, 0 invalid, 0 findings\n".to_owned(), String::new()));
    store(dir.path());
    for (args, said) in [
        (&["--vendor", "unknown"][..], "--vendor unknown"),
        (&["--symbol", "gc"], "--symbol GC"),
        (&["--symbol", "ES", "--timeframe", "1D"], "--symbol ES --timeframe 1d"),
    ] {
        let (code, out, err) = ended(args);
        assert_eq!((code, out.as_str()), (Some(2), "0 bars in 0 series, 0 invalid, 0 findings\n"), "{err}");
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
        let ts = 1_700_000_040_000_000_i64 + 60_000_000 * row;
        let sql = format!("UPDATE bars SET {change} WHERE symbol = 'ES' AND ts = ?1");
        assert_eq!(store.execute(&sql, [ts]).unwrap(), 1);
    }
    store.execute("INSERT INTO bars VALUES ('acme', 'ES', '1m', 'unknown', 'today', 1, 1, 1, 1, NULL)", []).unwrap();
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
    assert!(text.contains("\nacme ES 1m unknown 2023-11-14T22:17:00Z: close: "), "{text}");
    // One fault in all of them: only the first are named.
    store.execute("UPDATE bars SET close = 99 WHERE symbol = 'NQ'", []).unwrap();
    assert!(stdout(&check(dir.path(), &["--symbol", "NQ"])).ends_with("and 180 more invalid\n"));
}

/// The times of bars in the session of an exchange, on each day but weekends, as its clock shows them: `clock` are the
/// minutes after midnight.
fn sessions(zone: &str, first: &str, days: i64, clock: &[i64]) -> Vec<Timestamp> {
    let zone = TimeZone::get(zone).unwrap();
    let first: jiff::civil::Date = first.parse().unwrap();
    let dates = (0..days).map(|day| first.checked_add(SignedDuration::from_hours(24 * day)).unwrap());
    let open = dates.filter(|date| !matches!(date.weekday(), Weekday::Saturday | Weekday::Sunday));
    open.flat_map(|date| {
        let at = |minute: &i64| date.at((minute / 60) as i8, (minute % 60) as i8, 0, 0).to_zoned(zone.clone()).unwrap();
        clock.iter().map(at).map(|at| at.timestamp()).collect::<Vec<_>>()
    })
    .collect()
}

/// Times at one distance from each other.
fn times(first: &str, seconds: i64, bars: i64) -> Vec<Timestamp> {
    let first: Timestamp = first.parse().unwrap();
    (0..bars).map(|bar| first + SignedDuration::from_secs(seconds * bar)).collect()
}

/// The beginnings of months.
fn months(first_year: i16, years: i16) -> Vec<Timestamp> {
    let year = |year: i16| (1..=12).map(move |month| format!("{year}-{month:02}-01T00:00:00Z").parse().unwrap());
    (first_year..first_year + years).flat_map(year).collect()
}

fn insert(store: &Connection, [vendor, symbol, timeframe]: [&str; 3], times: &[Timestamp]) {
    let transaction = store.unchecked_transaction().unwrap();
    for ts in times {
        let row = (vendor, symbol, timeframe, ts.as_microsecond());
        store.execute("INSERT INTO bars VALUES (?1, ?2, ?3, 'unknown', ?4, 1, 1, 1, 1, NULL)", row).unwrap();
    }
    transaction.commit().unwrap();
}

#[test]
fn a_store_without_faults_yields_no_finding() {
    // Red if a weekend, a change of the clock, a session from 09:15 on, a break at noon or a short series is one.
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path());
    let new_york = "America/New_York";
    let minutes: Vec<i64> = (570..960).collect();
    let hours = [570, 630, 690, 750, 810, 870, 930];
    for (symbol, timeframe, times) in [
        ("SPRING", "1m", sessions(new_york, "2024-03-04", 14, &minutes)),
        ("AUTUMN", "1m", sessions(new_york, "2024-10-28", 14, &minutes)),
        ("YEAR", "1h", sessions(new_york, "2023-01-01", 366, &hours)),
        ("YEAR", "4h", sessions(new_york, "2023-01-01", 366, &[570, 810])),
        // Its hours begin at the whole one but for the first, which has thirty minutes.
        ("HALF", "1h", sessions(new_york, "2023-01-01", 366, &[570, 600, 660, 720, 780, 840, 900])),
        ("NIFTY", "1h", sessions("Asia/Kolkata", "2024-01-01", 90, &[555, 615, 675, 735, 795, 855, 915])),
        ("0700.HK", "1h", sessions("Asia/Hong_Kong", "2024-01-01", 90, &[570, 630, 690, 780, 840, 900])),
        ("600000", "15m", sessions("Asia/Shanghai", "2024-01-01", 30, &[570, 585, 600, 675, 780, 795, 885])),
        ("EUCLA", "30m", sessions("Australia/Eucla", "2024-01-01", 30, &[600, 630, 660])),
        ("AX", "1d", sessions("UTC", "2000-01-01", 3_000, &[0])),
        ("BTCUSDT", "1s", times("2024-01-31T23:59:00Z", 1, 120)),
        ("BTCUSDT", "5s", times("2024-01-31T23:59:00Z", 5, 120)),
        ("BTCUSDT", "7m", times("2024-01-31T23:59:00Z", 420, 120)),
        ("BTCUSDT", "24h", times("2024-01-31T16:00:00Z", 86_400, 120)),
        // The first week is not whole.
        ("SHORT", "1w", vec!["2024-01-03T00:00:00Z".parse().unwrap(), "2024-01-08T00:00:00Z".parse().unwrap()]),
        ("BTCUSDT", "1w", times("2024-01-01T00:00:00Z", 604_800, 120)),
        ("BTCUSDT", "1mo", months(1990, 30)),
        // Values of a month, each with the date of a day.
        ("CPI", "1d", months(1990, 30)),
        ("NEW", "1d", times("2024-01-01T00:00:00Z", 86_400, 12)),
        ("OLD", "1y", vec!["1900-01-01T00:00:00Z".parse().unwrap()]),
        ("T.TO", "1d", times("2024-01-01T00:00:00Z", 86_400, 31)),
        ("TTO", "1d", times("2024-01-01T00:00:00Z", 86_400, 31)),
        ("CL=F", "1d", times("2024-01-01T00:00:00Z", 86_400, 31)),
        ("CLF", "1d", times("2024-01-01T00:00:00Z", 86_400, 31)),
        // A symbol that was renamed after a year without bars.
        ("AB-C", "1h", times("2022-01-01T00:00:00Z", 3_600, 1_000)),
        ("ABC", "1h", times("2024-01-01T00:00:00Z", 3_600, 1_000)),
    ] {
        insert(&store, ["acme", symbol, timeframe], &times);
    }
    insert(&store, ["other", "BTC/USDT", "1s"], &times("2024-01-31T23:59:00Z", 1, 120));
    let tomorrow = Timestamp::now().as_second().div_euclid(86_400) * 86_400 + 86_400;
    insert(&store, ["acme", "LIVE", "1d"], &[Timestamp::from_second(tomorrow).unwrap()]);
    let (code, report) = found(dir.path(), &[]);
    assert_eq!(report["findings"], Value::Array(vec![]));
    assert_eq!((code, &report["invalid"]), (Some(0), &0.into()));
}

#[test]
fn what_a_wrong_load_leaves_behind_is_found_and_ends_with_65() {
    // Red for each finding that is dropped, that counts other bars, or that does not say what to do.
    let dir = tempfile::tempdir().unwrap();
    let at = |text: &str| text.parse::<Timestamp>().unwrap();
    let ends: Vec<_> = times("2024-01-02T14:30:59Z", 60, 500);
    let mut last_is_live = times("2024-01-02T14:30:00Z", 3_600, 30);
    *last_is_live.last_mut().unwrap() = at("2024-01-03T19:41:17Z");
    let new_york = sessions("America/New_York", "2024-01-01", 366, &[0]);
    let sundays = vec![at("2024-01-07T00:00:00Z"), at("2024-01-13T22:00:00Z")];
    // 09:30 and 10:30 of each of the first twelve days of January, day and month exchanged, and the same of days.
    let spread = |clock: &'static [i64]| {
        let day = move |month: i64| sessions("UTC", &format!("2024-{month:02}-01"), 1, clock);
        (1..=12).flat_map(day).collect::<Vec<_>>()
    };
    let firsts =
        ["2024-01-01", "2024-02-01", "2024-03-01"].map(|first| times(&format!("{first}T00:00:00Z"), 86_400, 12));
    let old = vec![at("0024-01-02T00:00:00Z"), at("1402-10-12T00:00:00Z"), at("2024-01-02T00:00:00Z")];
    let far = vec![at("2024-01-02T14:30:00Z"), at("2567-01-02T14:30:00Z"), at("2567-01-02T14:31:00Z")];
    for (timeframe, times, kind, count, first, said) in [
        ("1m", ends, "off_grid", 500, "2024-01-02T14:30:59Z", &["multiple of 1m: 500 of 500", "--map ts=COLUMN"][..]),
        ("1h", last_is_live, "off_grid", 1, "2024-01-03T19:41:17Z", &["multiple of 5m: 1 of 30"]),
        ("1d", new_york, "off_grid", 262, "2024-01-01T05:00:00Z", &["not 00:00 UTC: 262 of 262", "--tz ZONE"]),
        ("1w", sundays, "off_grid", 1, "2024-01-13T22:00:00Z", &["not 00:00 UTC: 1 of 2", "--tz ZONE"]),
        ("1h", spread(&[570, 630]), "day_and_month", 18, "2024-01-01T09:30:00Z", &["day 1 of a month", "--ts-format"]),
        ("1d", firsts.concat(), "day_and_month", 36, "2024-01-01T00:00:00Z", &["days 1 to 12 of a month, in 3 months"]),
        ("1d", old, "before_1900", 2, "0024-01-02T00:00:00Z", &["before 1900: 2 of 3", "--ts-format"]),
        ("1m", far, "after_tomorrow", 2, "2567-01-02T14:30:00Z", &["after tomorrow: 2 of 3", "another calendar"]),
        (
            "1h",
            times("2024-01-02T14:30:00Z", 300, 60),
            "closer_than_timeframe",
            59,
            "2024-01-02T14:35:00Z",
            &["less than 1h behind the one before (most often 5m): 59 of 60", "--timeframe"],
        ),
        (
            "1mo",
            times("2024-01-01T00:00:00Z", 86_400, 60),
            "closer_than_timeframe",
            59,
            "2024-01-02T00:00:00Z",
            &["less than 1mo behind the one before (most often 1d)"],
        ),
    ] {
        let _ = fs::remove_file(dir.path().join("market_data.db"));
        let store = empty_store(dir.path());
        insert(&store, ["acme", "ES", timeframe], &times);
        insert(&store, ["acme", "NQ", "1m"], &[at("2024-01-02T14:30:00Z")]);
        let (code, report) = found(dir.path(), &[]);
        let [finding] = &report["findings"].as_array().unwrap()[..] else { panic!("{kind}: {report}") };
        assert_eq!((code, &finding["kind"]), (Some(65), &kind.into()), "{finding}");
        let series = ["vendor", "symbol", "timeframe"].map(|name| &finding[name]);
        assert_eq!(series, ["acme", "ES", timeframe]);
        assert_eq!((&finding["count"], &finding["first"]), (&count.into(), &first.into()), "{finding}");
        let message = finding["message"].as_str().unwrap();
        assert!(said.iter().all(|part| message.contains(part)), "{message}");

        let output = check(dir.path(), &[]);
        let (text, line) = (stdout(&output), format!("\n  finding: {message}\n"));
        assert_eq!(output.status.code(), Some(65));
        assert!(text.find(&line) < text.find("\nacme    NQ "), "it stands below its series: {text}");
        assert!(text.contains(&line) && text.ends_with("in 2 series, 0 invalid, 1 findings\n"), "{text}");
        assert_eq!(found(dir.path(), &["--symbol", "NQ"]).0, Some(0), "the others are not to blame");
    }
}

#[test]
fn two_spellings_of_one_series_are_found_where_their_times_meet() {
    // Red if the loads of one symbol under two names pass, or the finding does not name both.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("es.csv"), minutes(10)).unwrap();
    fs::write(dir.path().join("later.csv"), minutes(30).replace("\n17000000", "\n17000036")).unwrap();
    for (symbol, timeframe, file) in [
        ("BTC/USDT", "60s", "es.csv"),
        ("BTCUSDT", "1m", "later.csv"),
        ("btc-usdt", "1m", "later.csv"),
        ("BTC/USDC", "1m", "es.csv"),
    ] {
        let output = run(dir.path(), &["--symbol", symbol, "--timeframe", timeframe, file]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let (code, report) = found(dir.path(), &[]);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (Some(65), 2), "{report}");
    for (finding, [symbol, timeframe], both) in [
        (&findings[0], ["BTC-USDT", "1m"], "unknown BTC-USDT 1m (30 bars) and unknown BTCUSDT 1m (30 bars) overlap"),
        (&findings[1], ["BTC/USDT", "60s"], "unknown BTC/USDT 60s (10 bars) and unknown BTC-USDT 1m (30 bars) overlap"),
    ] {
        assert_eq!((&finding["kind"], &finding["symbol"]), (&"same_series".into(), &symbol.into()), "{findings:?}");
        assert_eq!(finding["timeframe"], timeframe);
        let message = finding["message"].as_str().unwrap();
        assert!(message.starts_with(both) && message.contains("--symbol"), "{message}");
    }
    assert_eq!(found(dir.path(), &["--symbol", "BTC/USDT"]).0, Some(0), "one alone has no other");
}

// Red if bars that come twice, under when they begin and under when they end, are no finding, or quiet minutes are one.
#[test]
fn bars_that_repeat_the_one_before_are_found() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path());
    let insert = "INSERT INTO bars VALUES ('acme', ?1, '1h', 'raw', ?2 * 3600000000, ?3, ?3 + 2, ?3 - 1, ?3 + 1, ?4)";
    for (hour, open) in [5.0, 6.0, 6.0, 7.0, 7.0, 8.0].into_iter().enumerate() {
        store.execute(insert, rusqlite::params!["TWICE", hour as i64, open, 10.0]).unwrap();
        store.execute(insert, rusqlite::params!["EMPTY", hour as i64, open, 0.0]).unwrap();
    }
    store
        .execute_batch(
            "INSERT INTO bars SELECT vendor, 'FLAT', timeframe, 'raw', ts, 1, 1, 1, 1, 10 FROM bars WHERE symbol = 'TWICE'",
        )
        .unwrap();
    let (code, report) = found(dir.path(), &[]);
    let findings = report["findings"].as_array().unwrap();
    assert_eq!((code, findings.len()), (Some(65), 1), "{report}");
    assert_eq!((&findings[0]["kind"], &findings[0]["count"]), (&"repeated".into(), &2.into()));
    assert!(findings[0]["message"].as_str().unwrap().contains("the first at 1970-01-01T02:00:00Z"), "{report}");
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
        ("postgres:///db", 78, "MDS_DATABASE_URL"),
        ("mysql://host/db", 78, "MDS_DATABASE_URL"),
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
    let insert = "INSERT INTO bars SELECT 'acme', 'ES', '1m', 'raw', ?1, 1, 1, 1, 1, NULL";
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
