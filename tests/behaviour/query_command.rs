//! `mds query` with the real binary: what it selects, the forms it writes, and how it ends.

use std::{
    fs,
    io::{BufRead, BufReader, Read},
    path::Path,
    process::{Output, Stdio},
};

use crate::mds::{SP500, empty_store, eventually, expected, mds, run, stderr, stdout, stored};

fn query(dir: &Path, args: &[&str]) -> Output {
    mds(dir).args(["query", "--kind"]).args(args).output().unwrap()
}

/// What was said on standard output, if it ended well.
fn said(dir: &Path, args: &[&str]) -> String {
    let output = query(dir, args);
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""), "{args:?}");
    stdout(&output)
}

fn lines(dir: &Path, args: &[&str]) -> usize {
    said(dir, args).lines().count()
}

/// Twenty years of days, and two bars of another vendor and symbol.
fn store(dir: &Path) {
    let output = run(dir, &["--symbol", "SPX", "--timeframe", "1d", SP500]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let text = "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n\
                acme,ES,1m,raw,2024-01-02T14:30:00Z,1,1e308,-5e-324,0.1,\n\
                acme,ES,1m,raw,2024-01-02T14:31:00.25Z,1,2,1,1.5,0\n";
    fs::write(dir.join("es.csv"), text).unwrap();
    let output = run(dir, &["es.csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
}

// Red when an option selects more or less, an end of the time is taken the other way, or the order is not that of the key.
#[test]
fn each_option_selects_what_it_says_in_the_order_of_the_key() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let dir = dir.path();
    assert_eq!(lines(dir, &["bars"]), 5_033);
    assert_eq!(lines(dir, &["bars", "--symbol", "es"]), 2);
    assert_eq!(lines(dir, &["bars", "--symbol", "ES,spx", "--limit", "4"]), 4);
    assert_eq!(lines(dir, &["bars", "--symbol", "NQ"]), 0);
    assert_eq!(lines(dir, &["bars", "--where", "vendor=acme", "--where", "vendor=other"]), 2);
    assert_eq!(lines(dir, &["bars", "--where", "timeframe=1m", "--where", "close=0.1"]), 1);
    assert_eq!(lines(dir, &["bars", "--from", "2018-12-28", "--to", "2018-12-31T00:00:00Z"]), 1);
    assert_eq!(lines(dir, &["bars", "--from", "2018-12-31"]), 3);
    assert_eq!(lines(dir, &["bars", "--to", "2024-01-02T09:30:00-05:00"]), 5_031);
    assert_eq!(
        said(dir, &["bars", "--limit", "3", "--format", "csv"]),
        "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n\
         acme,ES,1m,raw,2024-01-02T14:30:00Z,1,1e308,-5e-324,0.1,\n\
         acme,ES,1m,raw,2024-01-02T14:31:00.25Z,1,2,1,1.5,0\n\
         unknown,SPX,1d,unknown,1999-01-04T00:00:00Z,1229.22998,1248.810059,1219.099976,1228.099976,877000000\n"
    );
    assert_eq!(
        said(dir, &["bars", "--symbol", "ES", "--limit", "1"]),
        "{\"vendor\":\"acme\",\"symbol\":\"ES\",\"timeframe\":\"1m\",\"adjustment\":\"raw\",\"ts\":\"2024-01-02T14:30:00Z\",\"open\":1.0,\
         \"high\":1e+308,\"low\":-5e-324,\"close\":0.1,\"volume\":null}\n"
    );
    let table = said(dir, &["bars", "--symbol", "ES", "--format", "table"]);
    let table: Vec<&str> = table.lines().collect();
    assert_eq!(table.len(), 4);
    assert!(
        table[0].starts_with("vendor  symbol  timeframe  adjustment  ts    ") && table[3] == "2 records",
        "{table:?}"
    );
    assert!(table[1].starts_with("acme    ES      1m         raw         2024-01-02T14:30:00Z     "), "{table:?}");
}

// Red when what is written as csv or ndjson is loaded as something else, or asks for an option.
#[test]
fn what_it_writes_is_loaded_again_to_the_same_bars() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let before = stored(dir.path());
    assert!(expected(SP500, "SPX").iter().all(|(key, prices)| before.get(key) == Some(prices)));
    for file in ["bars.csv", "bars.ndjson"] {
        said(dir.path(), &["bars", "-o", file]);
        let copy = tempfile::tempdir().unwrap();
        let output = run(copy.path(), &[dir.path().join(file).to_str().unwrap()]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert_eq!(stored(copy.path()), before, "{file}");
    }
    let ndjson = fs::read_to_string(dir.path().join("bars.ndjson")).unwrap();
    assert!(ndjson.starts_with('{') && ndjson.lines().count() == 5_033);
    assert_eq!(said(dir.path(), &["bars"]), ndjson);
}

// Red when such a row is written, hides those behind it, or is not named.
#[test]
fn a_row_that_makes_no_record_is_named_and_ends_with_65() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let store = rusqlite::Connection::open(dir.path().join("market_data.db")).unwrap();
    store.execute("UPDATE bars SET close = 'high' WHERE symbol = 'ES' AND close = 0.1", []).unwrap();
    let output = query(dir.path(), &["bars", "--symbol", "ES", "-o", "es.ndjson"]);
    assert_eq!(output.status.code(), Some(65));
    assert_eq!(
        stderr(&output),
        "error: vendor=acme symbol=ES timeframe=1m adjustment=raw ts=2024-01-02T14:30:00Z: close: expected a number, got Text\n"
    );
    assert_eq!(fs::read_to_string(dir.path().join("es.ndjson")).unwrap().lines().count(), 1);
}

// Red when a reader that has seen enough is an error, or the rest is read for nobody.
#[test]
fn a_closed_pipe_ends_it_quietly() {
    let dir = tempfile::tempdir().unwrap();
    store(dir.path());
    let mut command = mds(dir.path());
    command.args(["query", "--kind", "bars"]).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let mut stdout = BufReader::with_capacity(64, child.stdout.take().unwrap());
    stdout.read_line(&mut String::new()).unwrap();
    drop(stdout);
    let output = child.wait_with_output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
}

fn names(dir: &Path) -> Vec<String> {
    let names = fs::read_dir(dir).unwrap().map(|entry| entry.unwrap().file_name().into_string().unwrap());
    let mut names: Vec<_> =
        names.filter(|name| !name.starts_with("market_data.db") && name != "dead_letters").collect();
    names.sort();
    names
}

// Red when a file has its name before it is whole, one that was there is touched by a run that fails, or a part stays.
#[test]
fn a_file_has_its_name_once_it_is_whole() {
    let dir = tempfile::tempdir().unwrap();
    drop(empty_store(dir.path()));
    fs::remove_file(dir.path().join("empty.csv")).unwrap();
    let file = dir.path().join("bars.csv");
    fs::write(&file, "before").unwrap();
    for (args, code, said) in [
        (&["trades", "-o", "bars.csv"][..], 69, "no table `trades`"),
        (&["bars", "-o", "no/bars.csv"], 70, "cannot write to no/bars.csv"),
        (&["bars", "-o", "."], 70, "expected the name of a file"),
        (&["bars", "-o", "/dev/null"], 70, "expected the name of a file"),
    ] {
        let output = query(dir.path(), args);
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
        assert_eq!(
            (names(dir.path()), fs::read_to_string(&file).unwrap().as_str()),
            (vec!["bars.csv".into()], "before")
        );
    }
    // The two sides of a pipe: no file of that name.
    let on_stdout = said(dir.path(), &["bars", "--format", "csv", "-o", "-"]);
    assert_eq!((names(dir.path()), on_stdout.lines().count()), (vec!["bars.csv".into()], 1), "{on_stdout}");
    assert_eq!(said(dir.path(), &["bars", "-o", "bars.csv"]), "");
    let header = "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n";
    assert_eq!((names(dir.path()), fs::read_to_string(&file).unwrap().as_str()), (vec!["bars.csv".into()], header));
}

// Red when a signal leaves a part behind, or gives it the name.
#[cfg(unix)]
#[test]
fn a_signal_removes_what_is_not_whole() {
    let dir = tempfile::tempdir().unwrap();
    let store = empty_store(dir.path());
    // So many that are invalid that standard error is full, and the query stands still.
    store
        .execute_batch(
            "WITH RECURSIVE n(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM n WHERE i < 5000)
             INSERT INTO bars SELECT 'acme', 'ES', '1m', 'unknown', i * 60000000, 1, 1, 1, 9, NULL FROM n",
        )
        .unwrap();
    drop(store);
    fs::remove_file(dir.path().join("empty.csv")).unwrap();
    let mut command = mds(dir.path());
    command.args(["query", "--kind", "bars", "-o", "bars.csv"]).stderr(Stdio::piped());
    let mut child = command.spawn().unwrap();
    let partial = format!(".bars.csv.{}.partial", child.id());
    let mut line = [0; 6];
    child.stderr.as_mut().unwrap().read_exact(&mut line).unwrap();
    assert_eq!((&line, names(dir.path())), (b"error:", vec![partial]));
    let kill = format!("kill -TERM {}", child.id());
    assert!(std::process::Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    eventually("it ends", || child.try_wait().unwrap().is_some());
    assert_eq!((child.wait().unwrap().code(), names(dir.path())), (Some(143), vec![]));
}

// Red when what is wrong with the command line passes, has another code, or is not named.
#[test]
fn what_is_wrong_is_named_and_has_its_exit_code() {
    let dir = tempfile::tempdir().unwrap();
    drop(empty_store(dir.path()));
    for (args, code, said) in [
        (&["bar"][..], 2, "possible values: bars, quotes"),
        (&["bars", "--symbol", ""], 2, "expected a symbol"),
        (&["bars", "--where", "vendor"], 2, "expected COLUMN=VALUE"),
        (&["bars", "--where", "price=1"], 2, "error: --where price: expected a column of bars: vendor, symbol, "),
        (&["bars", "--where", "open=high"], 2, "error: --where open: expected a finite number, got \"high\""),
        (&["bars", "--from", "noon"], 2, "error: --from: expected a time such as 2024-01-02"),
        (&["bars", "--from", "2024-01-02", "--to", "2024-01-01"], 2, "error: --to: expected a time that is not before"),
        (&["fundamentals", "--to", "2024-01-02T00:00:00Z"], 2, "error: --to: expected a date"),
        (&["bars", "--format", "xml"], 2, "possible values: csv, ndjson, table"),
        (&["bars", "--database", "sqlite://"], 2, "--database"),
        (&["bars", "--database", "sqlite://none.db"], 69, "none.db: there is no such file"),
        (&["quotes"], 69, "no table `quotes`"),
    ] {
        let output = query(dir.path(), args);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(code), ""), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
    let output =
        mds(dir.path()).args(["query", "--kind", "bars"]).env("MDS_DATABASE_URL", "sqlite://").output().unwrap();
    assert_eq!(output.status.code(), Some(78), "{}", stderr(&output));
    assert!(!dir.path().join("none.db").exists());
}
