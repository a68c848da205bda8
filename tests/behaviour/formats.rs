//! Files as vendors deliver them, given to the real binary as they came: what is in the store is what the vendor meant.
//!
//! Every file in tests/data/formats is in the form that tests/data/README.md names the source of.

use std::{
    collections::BTreeMap,
    fs,
    io::Write,
    path::{Path, PathBuf},
    process::{Output, Stdio},
};

use flate2::{Compression, write::GzEncoder};
use rusqlite::Connection;
use tempfile::TempDir;

use crate::mds::{ingest, run, stderr};

fn fixture(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/formats").join(name)
}

/// A directory with these fixtures in it.
fn with(names: &[&str]) -> TempDir {
    let dir = tempfile::tempdir().unwrap();
    for name in names {
        fs::copy(fixture(name), dir.path().join(name)).unwrap();
    }
    dir
}

/// What is stored, a line a bar: symbol, timeframe, time, open, high, low, close, volume.
fn bars(dir: &Path) -> Vec<String> {
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    let mut rows = store
        .prepare("SELECT symbol, timeframe, ts, open, high, low, close, volume FROM bars_readable ORDER BY symbol, timeframe, ts")
        .unwrap();
    let line = |row: &rusqlite::Row<'_>| {
        let number =
            |at| Ok::<_, rusqlite::Error>(row.get::<_, Option<f64>>(at)?.map_or("-".into(), |n| n.to_string()));
        let (symbol, timeframe, ts): (String, String, String) = (row.get(0)?, row.get(1)?, row.get(2)?);
        Ok(format!(
            "{symbol} {timeframe} {ts} {} {} {} {} {}",
            number(3)?,
            number(4)?,
            number(5)?,
            number(6)?,
            number(7)?
        ))
    };
    rows.query_map([], line).unwrap().collect::<Result<_, _>>().unwrap()
}

fn loaded(output: &Output, dir: &Path) -> Vec<String> {
    assert_eq!(output.status.code(), Some(0), "{}{}", String::from_utf8_lossy(&output.stdout), stderr(output));
    bars(dir)
}

/// Loads fixtures with these options; all of their rows must be good.
fn load(options: &[&str], names: &[&str]) -> Vec<String> {
    let dir = with(names);
    loaded(&run(dir.path(), &[options, names].concat()), dir.path())
}

/// The first line in which a file is refused.
fn refusal(dir: &Path, options: &[&str], name: &str) -> String {
    let output = run(dir, &[options, &[name]].concat());
    assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
    assert!(!dir.join("market_data.db").exists(), "something was stored");
    let text = stderr(&output);
    let line = text.lines().next().unwrap();
    line.strip_prefix(&format!("error: {name}: ")).unwrap_or_else(|| panic!("{text}")).to_owned()
}

const MSFT: &[&str] = &["--symbol", "MSFT", "--timeframe", "1d"];

#[test]
fn what_most_vendors_write_needs_no_word() {
    // Red if Adj Close is taken for Close, or the order of rows matters.
    for (name, expected) in [
        (
            "yahoo.csv",
            [
                "373.859985 375.899994 366.769989 370.869995 25258600",
                "369.01001 373.26001 368.51001 370.600006 23083500",
            ],
        ),
        ("alpha_vantage_daily.csv", ["373.86 375.9 366.77 370.87 25258633", "369.01 373.26 368.51 370.6 23083465"]),
        ("ib_daily.csv", ["373.86 375.9 366.77 370.87 166120", "369.01 373.26 368.51 370.6 -"]),
    ] {
        let days = ["2024-01-02", "2024-01-03"];
        let expected: Vec<String> =
            days.iter().zip(expected).map(|(day, bar)| format!("MSFT 1d {day}T00:00:00Z {bar}")).collect();
        assert_eq!(load(MSFT, &[name]), expected, "{name}");
    }
}

#[test]
fn a_yfinance_table_has_a_bar_for_each_ticker_and_line() {
    // 184.22000122070312 in the file is the same double as the shortest text that names it, which ends in 3.
    // Red if columns are paired by place: the fields stand in another order than the bar's, and tickers alternate.
    assert_eq!(
        load(&["--timeframe", "1d"], &["yfinance_download.csv"]),
        [
            "AAPL 1d 2024-01-02T00:00:00Z 187.14999389648438 188.44000244140625 183.88999938964844 185.63999938964844 82488700",
            "AAPL 1d 2024-01-03T00:00:00Z 184.22000122070313 185.8800048828125 183.42999267578125 184.25 58414500",
            "MSFT 1d 2024-01-02T00:00:00Z 373.8599853515625 375.8999938964844 366.7699890136719 370.8699951171875 25258600",
            "MSFT 1d 2024-01-03T00:00:00Z 369.010009765625 373.260009765625 368.510009765625 370.6000061035156 23083500",
            "MSFT 1d 2024-01-04T00:00:00Z 370.6700134277344 373.1000061035156 367.1700134277344 367.94000244140625 20901500",
        ]
    );
    // By ticker, with the levels the other way round, and as it was before the levels had names.
    assert_eq!(
        load(&["--timeframe", "1d"], &["yfinance_download_by_ticker.csv"]),
        [
            "MSFT 1d 2024-01-02T00:00:00Z 373.8599853515625 375.8999938964844 366.7699890136719 370.8699951171875 25258600"
        ]
    );
    assert_eq!(
        load(&["--timeframe", "1d"], &["yfinance_download_old.csv"]),
        [
            "AAPL 1d 2024-01-02T00:00:00Z 187.15 188.44 183.89 185.64 82488700",
            "MSFT 1d 2024-01-02T00:00:00Z 373.86 375.9 366.77 370.87 25258600",
        ]
    );
    // A timeframe that is missing is proposed by the days, though all tickers share them.
    let dir = with(&["yfinance_download.csv"]);
    let output = run(dir.path(), &["yfinance_download.csv"]);
    assert!(stderr(&output).contains("try: mds ingest --timeframe 1d yfinance_download.csv"), "{}", stderr(&output));
    // A table without low is none.
    let text = fs::read_to_string(fixture("yfinance_download.csv")).unwrap().replacen("Low,Low", "Low,Mid", 1);
    fs::write(dir.path().join("mid.csv"), text).unwrap();
    assert_eq!(
        refusal(dir.path(), &["--timeframe", "1d"], "mid.csv"),
        r#"expected a column for low of "MSFT", got none"#
    );
}

#[test]
fn a_table_of_more_tickers_than_a_chunk_holds_loses_none() {
    // Red if a line is not taken up again where the chunk was full.
    let dir = tempfile::tempdir().unwrap();
    let fields = ["Close", "High", "Low", "Open", "Volume"];
    let row = |cell: &dyn Fn(&str, usize) -> String| -> String {
        fields.iter().flat_map(|field| (0..2_500).map(move |ticker| cell(field, ticker))).collect()
    };
    let mut text = format!(
        "Price{}\nTicker{}\nDate{}\n",
        row(&|field, _| format!(",{field}")),
        row(&|_, n| format!(",T{n}")),
        row(&|_, _| ",".into())
    );
    for day in 1..=3 {
        text += &format!("2024-01-0{day}{}\n", row(&|field, n| format!(",{}", if field == "Volume" { n } else { 1 })));
    }
    fs::write(dir.path().join("many.csv"), text).unwrap();
    let bars = loaded(&run(dir.path(), &["--timeframe", "1d", "many.csv"]), dir.path());
    assert_eq!(bars.len(), 7_500);
    assert!(bars.contains(&"T2499 1d 2024-01-03T00:00:00Z 1 1 1 1 2499".to_owned()));
}

#[test]
fn minutes_of_interactive_brokers_are_read_with_the_zone_that_they_name() {
    // Red if the second of two blanks is part of the time, or a named zone gives way to --tz.
    assert_eq!(
        load(&["--symbol", "MSFT", "--timeframe", "1m", "--tz", "America/Chicago"], &["ib_minutes.csv"]),
        [
            "MSFT 1m 2024-01-02T14:31:00Z 374.02 374.3 373.8 374.11 5021",
            "MSFT 1m 2024-01-02T15:30:00Z 373.86 374.5 373.1 374.02 12030",
        ]
    );
}

#[test]
fn the_same_day_of_three_vendors_has_one_key() {
    // Red if a day's epoch is dated in UTC, where New York's midnight is five in the morning, or if an offset beside the
    // date is taken off it. In summer too.
    let names = ["yfinance_history.csv", "ib_daily.csv", "yfinance_download.csv"];
    let dir = with(&[&names[..], &["polygon_days.csv"]].concat());
    for (name, options) in [
        ("yfinance_history.csv", MSFT),
        ("ib_daily.csv", MSFT),
        ("yfinance_download.csv", &["--timeframe", "1d"]),
        ("polygon_days.csv", &["--timeframe", "1d", "--tz", "America/New_York"]),
    ] {
        let output = run(dir.path(), &[options, &[name]].concat());
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    }
    let keys: Vec<String> = bars(dir.path())
        .into_iter()
        .filter_map(|bar| bar.strip_prefix("MSFT 1d ").map(|bar| bar.split(' ').next().unwrap().to_owned()))
        .collect();
    let expected = ["2024-01-02", "2024-01-03", "2024-01-04", "2024-07-02"].map(|day| format!("{day}T00:00:00Z"));
    assert_eq!(keys, expected);
    // The last one to load the day was Polygon.
    assert!(
        bars(dir.path()).contains(&"MSFT 1d 2024-01-02T00:00:00Z 373.86 375.9 366.7715 370.87 25258633".to_owned())
    );
}

#[test]
fn days_of_polygon_need_a_zone_and_minutes_do_not() {
    let dir = with(&["polygon_days.csv"]);
    assert_eq!(
        refusal(dir.path(), &["--timeframe", "1d"], "polygon_days.csv"),
        "line 2: time: expected --tz, since the date of a bar of a day or more depends on the zone, got \
         \"1704171600000000000\", which is 2024-01-02T05:00:00Z: give --tz America/New_York, where it is midnight"
    );
    // As delivered: packed, and columns in an order of their own.
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read(fixture("polygon_minutes.csv")).unwrap();
    fs::write(dir.path().join("2025-04-16.csv.gz"), gzip(&text)).unwrap();
    assert_eq!(
        loaded(&run(dir.path(), &["--timeframe", "1m", "2025-04-16.csv.gz"]), dir.path()),
        [
            "AAPL 1m 2025-04-16T08:35:00Z 200.29 200.63 200.29 200.5 4930",
            "MSFT 1m 2025-04-16T08:35:00Z 385.11 385.52 385.02 385.4 1815",
        ]
    );
}

#[test]
fn klines_of_binance_are_known_by_their_shape_and_their_name() {
    // Red if microseconds are taken for milliseconds, the quote volume for the volume, or the close time for the time.
    let minutes = [
        "BTCUSDT 1m 2024-01-02T00:00:00Z 44179.55 44215.99 44179.55 44203.55 43.55214",
        "BTCUSDT 1m 2024-01-02T00:01:00Z 44203.55 44221.92 44197.12 44221.92 32.20413",
    ];
    assert_eq!(load(&[], &["BTCUSDT-1m-2024-01-02.csv"]), minutes);
    assert_eq!(load(&[], &["BTCUSDT-1m-2024-01-02.zip"]), minutes, "deflated, as the `zip` tool writes it");
    assert_eq!(
        load(&["--tz", "America/New_York"], &["BTCUSDT-1d-2025-01-02.csv"]),
        ["BTCUSDT 1d 2025-01-02T00:00:00Z 94591.78 97839.5 94392 96984.79 21970.48948"],
        "a day of Binance is one of UTC, whatever zone other files need"
    );
    assert_eq!(
        load(&[], &["BTCUSDT-1h-2024-01.csv"]),
        ["BTCUSDT 1h 2024-01-01T00:00:00Z 42283.5 42573.7 42280.1 42491.1 7921.231"],
        "futures have a header"
    );
    let dir = with(&["BTCUSDT-1m-2024-01-02.csv"]);
    for (options, expected) in [
        (
            &["--symbol", "ETHUSDT"][..],
            "expected --symbol BTCUSDT as the file's name says, got ETHUSDT: leave --symbol out or rename the file",
        ),
        (
            &["--timeframe", "1h"],
            "expected --timeframe 1m as the file's name says, got 1h: leave --timeframe out or rename the file",
        ),
    ] {
        assert_eq!(refusal(dir.path(), options, "BTCUSDT-1m-2024-01-02.csv"), expected);
    }
    // Under another name the klines themselves say how long they are.
    fs::copy(fixture("BTCUSDT-1m-2024-01-02.csv"), dir.path().join("btc.csv")).unwrap();
    let error = refusal(dir.path(), &["--symbol", "BTCUSDT", "--timeframe", "1h"], "btc.csv");
    let expected = "expected klines of 1h as --timeframe says, got one of 60 seconds: \"1704153600000,44179.55000000,";
    assert!(error.starts_with(expected), "{error}");
}

#[test]
fn records_of_databento_have_their_own_prices_and_timeframes() {
    // Red if a price is a billion times too large, the largest integer is one, or spreads lose their sign.
    let dir = tempfile::tempdir().unwrap();
    let text = fs::read(fixture("databento_minutes.csv")).unwrap();
    fs::write(dir.path().join("ohlcv-1m.csv.zst"), zstd::encode_all(&text[..], 0).unwrap()).unwrap();
    let output = run(dir.path(), &["ohlcv-1m.csv.zst"]);
    assert_eq!(
        loaded(&output, dir.path()),
        [
            "ESH4 1m 2024-01-02T14:30:00Z 4780.25 4781 4779.5 4780.75 1250",
            "ESH4 1m 2024-01-02T14:31:00Z 4780.75 4782.25 4780.5 4782 981",
            "ESH4-ESM4 1m 2024-01-02T14:32:00Z -0.05 0 -0.1 -0.05 12",
        ]
    );
    assert_eq!(
        load(&["--tz", "America/New_York"], &["databento_pretty_days.csv"]),
        [
            "MSFT 1d 2024-01-02T00:00:00Z 373.86 375.9 366.77 370.87 5210417",
            "MSFT 1d 2024-01-03T00:00:00Z 369.01 373.26 368.51 370.6 4870023",
        ]
    );
    assert_eq!(
        load(&["--symbol", "MSFT", "--tz", "America/New_York"], &["databento_days.csv"]),
        ["MSFT 1d 2024-01-02T00:00:00Z 373.86 375.9 366.77 370.87 5210417"],
        "a day of Databento is one of UTC"
    );
}

#[test]
fn records_of_databento_that_nothing_tells_apart_are_not_mixed() {
    // Red if bars of two instruments, or of two venues, overwrite each other under one symbol.
    let dir = tempfile::tempdir().unwrap();
    let header = "ts_event,rtype,publisher_id,instrument_id,open,high,low,close,volume\n";
    let row = |rtype: u8, publisher: u8, instrument: u8| {
        format!("1704205800000000000,{rtype},{publisher},{instrument},1000000000,1000000000,1000000000,1000000000,1\n")
    };
    let text = [header.to_owned(), row(33, 1, 5), row(33, 1, 6), row(33, 2, 5), row(36, 1, 5), row(33, 1, 5)].concat();
    fs::write(dir.path().join("bars.csv"), text).unwrap();
    let output = run(dir.path(), &["--symbol", "ES", "bars.csv"]);
    let text = String::from_utf8(output.stdout.clone()).unwrap();
    assert_eq!((output.status.code(), bars(dir.path()).len()), (Some(65), 1));
    let errors: Vec<&str> = text.lines().filter_map(|line| line.strip_prefix("bars.csv:")).collect();
    assert_eq!(
        errors,
        [
            "3: instrument_id: expected 5 as on the first row, got \"6\": nothing in the file tells them apart",
            "4: publisher_id: expected 1 as on the first row, got \"2\": nothing in the file tells them apart",
            "5: rtype: expected 32 (1s), 33 (1m), 34 (1h) or 35 (1d), got \"36\"",
        ]
    );
}

#[test]
fn cryptodatadownload_s_epoch_goes_before_its_date_and_its_first_volume_counts() {
    // Red if the URL is the header, the date `12-AM` is read, or the volume in dollars is taken.
    assert_eq!(
        load(&["--timeframe", "1h"], &["cryptodatadownload.csv"]),
        [
            "BTCUSDT 1h 2024-01-02T00:00:00Z 44179.55 44240.8 44098.75 44203.55 1010.25",
            "BTCUSDT 1h 2024-01-02T01:00:00Z 44203.55 44500 44100.01 44412.18 1203.55214",
        ]
    );
}

#[test]
fn stooq_counts_minutes_and_names_days() {
    // Red if 5 is five days, or nothing at all; or if the time of day is lost.
    assert_eq!(
        load(&["--tz", "Europe/Warsaw"], &["stooq_5_minutes.txt"]),
        [
            "MSFT.US 5m 2024-01-02T14:30:00Z 373.86 374.5 373.1 374.02 812030",
            "MSFT.US 5m 2024-01-02T14:35:00Z 374.02 375.9 373.1 375.11 481203",
        ]
    );
    // Red if an hour is 60m, which is another key than that of an hour from elsewhere.
    assert_eq!(
        load(&["--tz", "Europe/Warsaw"], &["stooq_hours.txt"]),
        ["MSFT.US 1h 2024-01-02T15:00:00Z 374.02 375.9 373.1 375.11 4812030.308984948"]
    );
    assert_eq!(load(&[], &["stooq_days.txt"]), ["MSFT.US 1d 2024-01-02T00:00:00Z 373.86 375.9 366.77 370.87 25258633"]);
}

#[test]
fn files_without_names_are_never_guessed() {
    // Red if any of them loads without --map: three vendors have three orders.
    let expected: BTreeMap<&str, [&str; 3]> = BTreeMap::from([
        (
            "kraken.csv",
            [
                "ts=1,open=2,high=3,low=4,close=5,volume=6",
                "44179.5 44215.9 44179.5 44203.5 12.55214",
                "44203.5 44221.9 44197.1 44221.9 8.20413",
            ],
        ),
        (
            "ccxt.csv",
            [
                "ts=1,open=2,high=3,low=4,close=5,volume=6",
                "44179.5 44215.9 44170 44203.5 12.55214",
                "44203.5 44221.9 44197.1 44221.8 8.20413",
            ],
        ),
        (
            "coinbase.csv",
            [
                "ts=1,low=2,high=3,open=4,close=5,volume=6",
                "44179.5 44215.9 44170 44203.5 12.55214",
                "44203.5 44221.9 44197.1 44221.8 8.20413",
            ],
        ),
    ]);
    let options = ["--symbol", "BTCUSD", "--timeframe", "1m"];
    for (name, [map, first, second]) in expected {
        let dir = with(&[name]);
        let error = refusal(dir.path(), &options, name);
        assert!(
            error.starts_with("expected a header line such as ") && error.contains(&format!("{map} for ")),
            "{error}"
        );
        let bars = loaded(&run(dir.path(), &[&options[..], &["--map", map, name]].concat()), dir.path());
        assert_eq!(
            bars,
            [format!("BTCUSD 1m 2024-01-02T00:00:00Z {first}"), format!("BTCUSD 1m 2024-01-02T00:01:00Z {second}")]
        );
    }
}

#[test]
fn a_symbol_can_come_from_the_name() {
    let dir = tempfile::tempdir().unwrap();
    for name in ["MSFT.csv", "brk.b.csv"] {
        fs::copy(fixture("alpha_vantage_daily.csv"), dir.path().join(name)).unwrap();
    }
    let options = ["--symbol-from-name", "--timeframe", "1d"];
    let bars = loaded(&run(dir.path(), &[&options[..], &["MSFT.csv", "brk.b.csv"]].concat()), dir.path());
    let symbols: Vec<&str> = bars.iter().map(|bar| bar.split(' ').next().unwrap()).collect();
    assert_eq!(symbols, ["BRK.B", "BRK.B", "MSFT", "MSFT"]);
    let output = run(dir.path(), &["--symbol-from-name", "--symbol", "X", "MSFT.csv"]);
    assert_eq!(output.status.code(), Some(2));
    let output = piped(dir.path(), &options, b"");
    assert!(stderr(&output).contains("expected a file, whose name --symbol-from-name takes"), "{}", stderr(&output));
}

fn gzip(text: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(text).unwrap();
    encoder.finish().unwrap()
}

/// Gives bytes to standard input.
fn piped(dir: &Path, options: &[&str], bytes: &[u8]) -> Output {
    let mut command = ingest(dir, &[options, &["-"]].concat());
    let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    let mut stdin = child.stdin.take().unwrap();
    // It may end before it has read everything.
    let _ = stdin.write_all(bytes);
    drop(stdin);
    child.wait_with_output().unwrap()
}

#[test]
fn containers_are_known_by_their_content_and_a_zip_on_standard_input_is_refused() {
    // Red if the name decides, if a second member or frame is lost, or a zip on standard input is called anything else.
    let text = fs::read(fixture("yahoo.csv")).unwrap();
    let (first, rest) = text.split_at(60);
    let expected = load(MSFT, &["yahoo.csv"]);
    let frames = [zstd::encode_all(first, 0).unwrap(), zstd::encode_all(rest, 0).unwrap()].concat();
    for packed in [
        [gzip(first), gzip(rest)].concat(),
        frames,
        fs::read(fixture("yahoo.zip")).unwrap(),
        fs::read(fixture("yahoo_streamed.zip")).unwrap(),
    ] {
        let dir = tempfile::tempdir().unwrap();
        let output = piped(dir.path(), MSFT, &packed);
        if packed.starts_with(b"PK") {
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(2), "{said}");
            assert!(said.contains("as in `unzip -p FILE.zip | mds ingest ... -`"), "{said}");
        } else {
            assert_eq!(loaded(&output, dir.path()), expected);
        }
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("bars.csv"), &packed).unwrap();
        assert_eq!(loaded(&run(dir.path(), &[MSFT, &["bars.csv"]].concat()), dir.path()), expected);
    }
}

#[test]
fn a_container_that_is_cut_off_gives_what_is_there_and_says_which_file_it_was() {
    // Red if the rows before the cut are lost, or if the run ends as if the file were whole.
    let dir = tempfile::tempdir().unwrap();
    let mut text = "ts,open,high,low,close\n".to_owned();
    for minute in 0..20_000 {
        text += &format!("{},10,12,9,{}\n", 1_700_000_040 + 60 * minute, 9.0 + f64::from(minute % 3_001) / 1_001.0);
    }
    let packed = gzip(text.as_bytes());
    fs::write(dir.path().join("cut.csv.gz"), &packed[..packed.len() - 20]).unwrap();
    fs::write(dir.path().join("whole.csv"), "ts,open,high,low,close\n1600000020,1,1,1,1\n").unwrap();
    let output = run(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "cut.csv.gz", "whole.csv"]);
    assert_eq!(output.status.code(), Some(70), "{}", stderr(&output));
    let expected = "error: cut.csv.gz: cannot read: expected more gzip data, got the end of the file: it was cut off, fetch \
                    it again";
    assert!(stderr(&output).lines().any(|line| line == expected), "{}", stderr(&output));
    let bars = bars(dir.path());
    assert!(bars.len() > 10_000 && bars[0].starts_with("ES 1m 2020-09-13T12:27:00Z"), "{} bars", bars.len());
    // Before the first row it shows in time to refuse the run.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("cut.csv.gz"), &packed[..30]).unwrap();
    assert_eq!(
        refusal(dir.path(), &["--symbol", "ES", "--timeframe", "1m"], "cut.csv.gz"),
        expected.strip_prefix("error: cut.csv.gz: ").unwrap()
    );
}

#[test]
fn padding_behind_gzip_is_nothing_and_anything_else_there_is_named_after_the_rows_before() {
    // Red if zeros, as tapes leave them, are called a file that was cut off, or if what stands in front of rubbish is lost:
    // the last line, which has no end, and rows that waited to know which number is the month.
    let text = "date,open,high,low,close\n1/2/2024,1,1,1,1\n1/13/2024,1,1,1,1";
    let packed = gzip(text.as_bytes());
    let options = ["--symbol", "ES", "--timeframe", "1d"];
    for (behind, code) in [(&[0; 512][..], 0), (b"\0\0rubbish", 2)] {
        for piped_in in [false, true] {
            let dir = tempfile::tempdir().unwrap();
            let bytes = [&packed[..], behind].concat();
            fs::write(dir.path().join("bars.csv.gz"), &bytes).unwrap();
            let output = match piped_in {
                true => piped(dir.path(), &options, &bytes),
                false => run(dir.path(), &[&options[..], &["bars.csv.gz"]].concat()),
            };
            let said = stderr(&output);
            assert_eq!(output.status.code(), Some(code), "{said}");
            if code == 2 {
                assert_eq!(bars(dir.path()).len(), 2);
                assert!(said.contains("leave the rest out, as in `gzip -dcq FILE | mds ingest ... -`"), "{said}");
                assert_eq!(said.lines().filter(|line| line.contains("error: ")).count(), 1, "{said}");
            }
        }
    }
}

#[test]
fn what_cannot_be_read_is_refused_in_one_line_that_helps() {
    let dir = tempfile::tempdir().unwrap();
    let utf16: Vec<u8> = "date,open\n".encode_utf16().flat_map(u16::to_le_bytes).collect();
    let dbn = [&b"DBN\x02"[..], &[0x60, 0, 0, 0], b"GLBX.MDP3"].concat();
    let iconv =
        "expected UTF-8, got UTF-16: convert it first, as in `iconv -f UTF-16 -t UTF-8 FILE | mds ingest ... -`";
    let cases: [(&str, Vec<u8>, &str); 9] = [
        (
            "bars.parquet",
            b"PAR1\x15\x04\x15\x10".to_vec(),
            "expected CSV or JSON, got a Parquet file: make it CSV, as in `python3 -c \"import pandas; d = \
             pandas.read_parquet('bars.parquet'); d.to_csv('bars.parquet.csv', index=not isinstance(d.index, \
             pandas.RangeIndex))\"` or `duckdb -c \"COPY (SELECT * FROM 'bars.parquet') TO 'bars.parquet.csv'\"`",
        ),
        (
            "es.dbn",
            dbn.clone(),
            "expected CSV or JSON, got DBN of Databento: make it CSV, as in `dbn --csv --map-symbols es.dbn > es.csv`",
        ),
        (
            "es.dbn.zst",
            zstd::encode_all(&dbn[..], 0).unwrap(),
            "expected CSV or JSON, got DBN of Databento: make it CSV, as in `dbn --csv --map-symbols es.dbn.zst > es.csv`",
        ),
        (
            "bars.xls",
            b"\xd0\xcf\x11\xe0\xa1\xb1\x1a\xe1\0\0".to_vec(),
            "expected CSV or JSON, got an Excel workbook: make its first sheet CSV, as in `python3 -c \"import pandas; \
             pandas.read_excel('bars.xls').to_csv('bars.xls.csv', index=False)\"`, or save it as CSV",
        ),
        ("bom.csv", [&b"\xff\xfe"[..], &utf16].concat(), iconv),
        ("no_bom.csv", utf16, iconv),
        (
            "comma.csv",
            b"Date;Open;High;Low;Close\n2024-01-02;1.234,5;1.234,5;1.234,5;1.234,5\n".to_vec(),
            "line 2: open: expected a plain decimal number such as 1234.5, got \"1.234,5\": export it with decimal points and \
             without thousands separators",
        ),
        (
            "dollars.csv",
            b"Date,Open,High,Low,Close,Volume\n2024-01-02,$1.2,$1.2,$1.2,$1.2,12.5M\n".to_vec(),
            "line 2: open: expected a plain decimal number such as 1234.5, got \"$1.2\": export it without currency and \
             percent signs",
        ),
        (
            "epoch.csv",
            b"Date,Open,High,Low,Close\n45293,1,1,1,1\n".to_vec(),
            "line 2: time: expected an integer of 8 digits (YYYYMMDD), 9-10 (seconds since 1970), 12-13 (ms), 15-16 (us) or \
             18-19 (ns), got \"45293\" with 5",
        ),
    ];
    for (name, bytes, expected) in cases {
        fs::write(dir.path().join(name), bytes).unwrap();
        assert_eq!(refusal(dir.path(), MSFT, name), expected);
    }
}

#[test]
fn a_time_that_the_clocks_skip_or_repeat_names_both_readings() {
    let dir = tempfile::tempdir().unwrap();
    let text =
        "datetime,open,high,low,close\n2024-03-10 01:59,1,1,1,1\n2024-03-10 02:30,1,1,1,1\n2024-11-03 01:30,1,1,1,1\n";
    fs::write(dir.path().join("bars.csv"), text).unwrap();
    let output = run(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--tz", "America/New_York", "bars.csv"]);
    assert_eq!((output.status.code(), bars(dir.path()).len()), (Some(65), 1));
    let text = String::from_utf8(output.stdout).unwrap();
    for expected in [
        "bars.csv:3: time: expected a time with an offset, got 2024-03-10T02:30:00, which does not exist in America/New_York, \
         where the clocks change: it is 2024-03-10T07:30:00Z at offset -05 or 2024-03-10T06:30:00Z at offset -04",
        "bars.csv:4: time: expected a time with an offset, got 2024-11-03T01:30:00, which occurs twice in America/New_York, \
         where the clocks change: it is 2024-11-03T05:30:00Z at offset -04 or 2024-11-03T06:30:00Z at offset -05",
    ] {
        assert!(text.lines().any(|line| line == expected), "{text}");
    }
}

#[test]
fn klines_with_a_header_are_held_against_the_timeframe_too() {
    // Red if minutes are taken for hours or days: as days they would overwrite each other.
    let dir = tempfile::tempdir().unwrap();
    let text = "open_time,open,high,low,close,volume,close_time,quote_volume,count\n\
                1704153600000,1,2,0.5,1.5,100,1704153659999,1,1\n\
                1704153660000,1,2,0.5,1.5,100,1704153719999,1,1\n";
    fs::write(dir.path().join("futures.csv"), text).unwrap();
    for timeframe in ["1h", "1d"] {
        let output = run(dir.path(), &["--symbol", "A", "--timeframe", timeframe, "futures.csv"]);
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        let expected = format!("line 2: expected klines of {timeframe} as --timeframe says, got one of 60 seconds");
        assert!(stderr(&output).contains(&expected), "{}", stderr(&output));
    }
    let output = run(dir.path(), &["--symbol", "A", "--timeframe", "1m", "futures.csv"]);
    assert_eq!(loaded(&output, dir.path()).len(), 2);
}

#[test]
fn the_end_of_a_kline_is_not_taken_for_its_beginning() {
    // Red if the first of two times counts, whichever it is.
    let bar = ["A 1m 2024-01-02T00:00:00Z 1 2 0.5 1.5 10".to_owned()];
    for (name, text) in [
        ("sorted.ndjson", r#"{"T":1704153659999,"c":"1.5","h":"2","l":"0.5","o":"1","t":1704153600000,"v":"10"}"#),
        ("plain.ndjson", r#"{"t":1704153600000,"T":1704153659999,"o":"1","c":"1.5","h":"2","l":"0.5","v":"10"}"#),
        ("ends.csv", "T,t,o,h,l,c,v\n1704153659999,1704153600000,1,2,0.5,1.5,10\n"),
        ("begins.csv", "t,T,o,h,l,c,v\n1704153600000,1704153659999,1,2,0.5,1.5,10\n"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        let output = run(dir.path(), &["--symbol", "A", "--timeframe", "1m", name]);
        assert_eq!(loaded(&output, dir.path()), bar, "{name}");
    }
}

#[test]
fn a_second_header_is_passed_over_or_refused_but_never_read_by_the_first() {
    // Red if the rows behind a header of other columns are loaded by the first: prices swapped, or a price as the volume.
    let dir = tempfile::tempdir().unwrap();
    let first = "Date,Open,High,Low,Close,Volume\n2024-01-02,1,2,0.5,1.5,100\n";
    let again = format!("{first}{}", first.replace("01-02", "01-03"));
    fs::write(dir.path().join("again.csv"), again).unwrap();
    let output = run(dir.path(), &["--symbol", "A", "--timeframe", "1d", "again.csv"]);
    assert_eq!(loaded(&output, dir.path()).len(), 2);

    for header in ["Date,Close,High,Low,Open,Volume", "Date,Open,High,Low,Close,Adj Close"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("other.csv"), format!("{first}{header}\n2024-01-03,1.1,2,0.5,1.9,5\n")).unwrap();
        let output = run(dir.path(), &["--symbol", "A", "--timeframe", "1d", "other.csv"]);
        assert_eq!(output.status.code(), Some(2), "{header}: {}", stderr(&output));
        assert!(stderr(&output).contains("line 3: a second header, with other columns"), "{}", stderr(&output));
    }
}

#[test]
fn digits_that_may_be_a_date_are_not_taken_for_an_epoch() {
    // Red if a minute of 2024 is loaded as one of 1976, or an hour of 2024 as a second of 2034.
    for (time, format, bar) in [
        ("202401020930", "%Y%m%d%H%M", "A 1m 2024-01-02T09:30:00Z 1 2 0.5 1.5 -"),
        ("2024010209", "%Y%m%d%H", "A 1m 2024-01-02T09:00:00Z 1 2 0.5 1.5 -"),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("compact.csv"), format!("time,open,high,low,close\n{time},1,2,0.5,1.5\n")).unwrap();
        let options = ["--symbol", "A", "--timeframe", "1m"];
        let output = run(dir.path(), &[&options[..], &["compact.csv"]].concat());
        assert_eq!(output.status.code(), Some(2), "{}", stderr(&output));
        assert!(stderr(&output).contains(&format!("--ts-format {format} ")), "{}", stderr(&output));
        let output = run(dir.path(), &[&options[..], &["--ts-format", format, "compact.csv"]].concat());
        assert_eq!(loaded(&output, dir.path()), [bar]);
    }
}

#[test]
fn a_row_whose_two_times_are_two_moments_or_that_lacks_its_time_of_day_is_not_loaded() {
    // Red if the first of two times counts whatever the other says, or a date alone is midnight among times of day.
    let options = ["--symbol", "A", "--timeframe", "1m"];
    let row = |time: &str| format!("{{{time},\"open\":1,\"high\":2,\"low\":0.5,\"close\":1.5}}\n");
    for (name, text, more, code, bars_stored, said) in [
        (
            "two.csv",
            "datetime,timestamp,open,high,low,close\n2024-01-02 09:30,1704205800,1,2,0.5,1.5\n".to_owned(),
            &[][..],
            2,
            0,
            "give --map ts=COLUMN with the one that counts, or --tz",
        ),
        (
            "two.csv",
            "datetime,timestamp,open,high,low,close\n2024-01-02 09:30,1704205800,1,2,0.5,1.5\n".to_owned(),
            &["--map", "ts=timestamp"],
            0,
            1,
            "",
        ),
        (
            "lacks.ndjson",
            row(r#""date":"2024-01-02","time":"09:30""#) + &row(r#""date":"2024-01-02""#),
            &[],
            65,
            1,
            "lacks.ndjson:2: time: expected a time of day beside \"2024-01-02\" as on line 1, got none",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        let output = run(dir.path(), &[&options[..], more, &[name]].concat());
        let all = format!("{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(code), "{all}");
        assert!(all.contains(said), "{all}");
        assert_eq!(if code == 2 { 0 } else { bars(dir.path()).len() }, bars_stored, "{all}");
    }
}

#[test]
fn a_zip_whose_name_contradicts_what_is_in_it_is_refused_with_both_names() {
    // Red if the outer name counts: hours of one symbol would be days of another. On standard input only options can.
    let zip = |member: &str| {
        let mut zip = zip::ZipWriter::new(std::io::Cursor::new(Vec::new()));
        zip.start_file(member, zip::write::SimpleFileOptions::default()).unwrap();
        zip.write_all(b"open_time,open,high,low,close\n1704153600000,1,2,0.5,1.5\n").unwrap();
        zip.finish().unwrap().into_inner()
    };
    let refused = |given: &str, who: &str, advice: &str| {
        format!("expected bars of {given} as {who} says, got \"x/ETHUSDT-1h-2024-01.csv\" in the zip: {advice}")
    };
    let renamed = "rename what is wrong, or load it as what it is, with `unzip -p ZIP | mds ingest --symbol ETHUSDT \
                   --timeframe 1h -`";
    let forced = |options: &str| {
        format!(
            "give --symbol ETHUSDT --timeframe 1h, or if the name is wrong load it with `unzip -p ZIP | mds ingest {options} -`"
        )
    };
    let bytes = zip("x/ETHUSDT-1h-2024-01.csv");
    for (name, options, expected) in [
        ("BTCUSDT-1d-2024-01.zip", &[][..], refused("BTCUSDT", "the file's name", renamed)),
        ("ETHUSDT-1d-2024-01.zip", &[], refused("1d", "the file's name", renamed)),
        (
            "bars.zip",
            &["--symbol", "ETHUSDT", "--timeframe", "1d"],
            refused("1d", "--timeframe", &forced("--symbol ETHUSDT --timeframe 1d")),
        ),
        (
            "bars.zip",
            &["--symbol", "XBT", "--timeframe", "1h"],
            refused("XBT", "--symbol", &forced("--symbol XBT --timeframe 1h")),
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), &bytes).unwrap();
        assert_eq!(refusal(dir.path(), options, name), expected, "{name}");
    }
    // Where the zip's name says nothing, what is in it is proposed.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bars.zip"), &bytes).unwrap();
    let said = stderr(&run(dir.path(), &["bars.zip"]));
    assert!(said.ends_with("  try: mds ingest --symbol ETHUSDT --timeframe 1h bars.zip\n"), "{said}");
    for (name, member) in [("ETHUSDT-1h-2024-01.zip", "ETHUSDT-1h-2024-01.csv"), ("ETHUSDT-1h-2024-01.zip", "bars.csv")]
    {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), zip(member)).unwrap();
        assert_eq!(
            loaded(&run(dir.path(), &["--symbol", "ETH/USDT", name]), dir.path()),
            ["ETH/USDT 1h 2024-01-02T00:00:00Z 1 2 0.5 1.5 -"]
        );
    }
}

#[test]
fn what_would_be_stored_at_another_time_than_it_has_is_not_stored() {
    // Red if minutes are loaded as days or as midnight, an empty time of day as midnight, an afternoon as a morning, the end of a kline as
    // its beginning, or two moments of one second as one.
    let header = "Date,Time,Open,High,Low,Close\n";
    let (rejected, refused) = (65, 2);
    for (options, name, text, code, stored, said) in [
        (
            &["--timeframe", "1d", "--tz", "America/New_York"][..],
            "minutes.csv",
            format!("{header}2024-01-02,09:30,1,2,0.5,1.5\n2024-01-02,09:31,1,2,0.5,1.5\n"),
            refused,
            &[][..],
            "line 3: time: expected one row of A for 2024-01-02 as 1d says, got two, at 09:30:00 and 09:31:00: give the \
             timeframe of the rows, such as --timeframe 1m",
        ),
        (
            &["--timeframe", "1m"],
            "elsewhere.csv",
            "Date,Time (UTC),Open,High,Low,Close\n2024-01-02,09:30,1,2,0.5,1.5\n2024-01-02,09:31,1,2,0.5,1.5\n"
                .to_owned(),
            refused,
            &[],
            ": say where it is, as in --map date=COLUMN,time=COLUMN (ignored columns: Time (UTC))",
        ),
        (
            &["--timeframe", "1m"],
            "metastock.txt",
            "<DTYYYYMMDD>,<TIME>,<OPEN>,<HIGH>,<LOW>,<CLOSE>\n20240102,093000,1,2,0.5,1.5\n".to_owned(),
            0,
            &["A 1m 2024-01-02T09:30:00Z 1 2 0.5 1.5 -"],
            "",
        ),
        (
            &["--timeframe", "1m"],
            "empty.csv",
            format!("{header}2024-01-02,09:30,1,2,0.5,1.5\n2024-01-02,,1,2,0.5,1.5\n"),
            rejected,
            &["A 1m 2024-01-02T09:30:00Z 1 2 0.5 1.5 -"],
            "empty.csv:3: time: expected a time of day beside \"2024-01-02\", got none",
        ),
        (
            &["--timeframe", "1m"],
            "afternoon.csv",
            format!("{header}01/13/2024,01:30 PM,1,2,0.5,1.5\n"),
            refused,
            &[],
            ": give --ts-format '%m/%d/%Y %I:%M %p'",
        ),
        (
            &["--timeframe", "1m", "--ts-format", "%m/%d/%Y %I:%M %p"],
            "afternoon.csv",
            format!("{header}01/13/2024,01:30 PM,1,2,0.5,1.5\n"),
            0,
            &["A 1m 2024-01-13T13:30:00Z 1 2 0.5 1.5 -"],
            "",
        ),
        (
            &["--timeframe", "1m"],
            "kline.csv",
            "T,t,o,h,l,c\n1704153659999,1704153600000,1,2,0.5,1.5\n".to_owned(),
            0,
            &["A 1m 2024-01-02T00:00:00Z 1 2 0.5 1.5 -"],
            "",
        ),
        (
            &["--timeframe", "1s", "--ts-format", "%s%.f", "--as-written"],
            "halves.csv",
            "ts,open,high,low,close\n1704153600.25,1,2,0.5,1.5\n1704153600.75,1,2,0.5,1.5\n".to_owned(),
            0,
            &["A 1s 2024-01-02T00:00:00.25Z 1 2 0.5 1.5 -", "A 1s 2024-01-02T00:00:00.75Z 1 2 0.5 1.5 -"],
            "",
        ),
    ] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join(name), text).unwrap();
        let output = run(dir.path(), &[&["--symbol", "A"], options, &[name]].concat());
        let all = format!("{}{}", stderr(&output), String::from_utf8_lossy(&output.stdout));
        assert_eq!(output.status.code(), Some(code), "{name}: {all}");
        assert!(all.contains(said), "{all}");
        let is_there = dir.path().join("market_data.db").exists();
        assert_eq!(if is_there { bars(dir.path()) } else { Vec::new() }, stored, "{name}");
    }
}

// Red if a command for a table is no shell, no Python, or leaves out an index of dates. What pandas makes of such files is
// pandas' own matter: here stands in for it what only says which function read which file.
#[cfg(unix)]
#[test]
fn the_command_for_a_table_that_is_no_text_runs_and_keeps_its_index() {
    let stub = r#"
class RangeIndex:
    pass
class Frame:
    index = object()
    def to_csv(self, path, index=True, header=True):
        assert index, 'the index is lost'
        open(path, 'w').write('date,open,high,low,close\n2024-01-02,10,12,9,11\n')
def read_feather(path):
    assert open(path, 'rb').read()
    return Frame()
read_parquet = read_hdf = read_pickle = read_feather
"#;
    for bytes in [&b"ARROW1\0\0"[..], b"FEA1\0\0", b"PAR1\x15\x04", b"\x89HDF\r\n\x1a\n", b"\x80\x04\x95\x10"] {
        let dir = tempfile::tempdir().unwrap();
        fs::write(dir.path().join("pandas.py"), stub).unwrap();
        fs::write(dir.path().join("bars.bin"), bytes).unwrap();
        let error = refusal(dir.path(), MSFT, "bars.bin");
        let command = error.split('`').nth(1).unwrap();
        let mut shell = std::process::Command::new("sh");
        let output =
            shell.args(["-c", command]).env("PYTHONPATH", dir.path()).current_dir(dir.path()).output().unwrap();
        assert!(output.status.success(), "{command}: {}", stderr(&output));
        let bars = loaded(&run(dir.path(), &[MSFT, &["bars.bin.csv"]].concat()), dir.path());
        assert_eq!(bars, ["MSFT 1d 2024-01-02T00:00:00Z 10 12 9 11 -"], "{command}");
    }
}
