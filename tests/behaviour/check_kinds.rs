//! `mds check --kind`: what it says of the kinds other than bars.

use std::path::Path;

use futures::executor::block_on;
use market_data_store::{Batch, Date, Fundamentals, News, Quote, Sink, Tabular, Timestamp, Trade, sink::SqliteSink};
use serde_json::{Value, json};

use crate::mds::{mds, stderr, stdout};

fn write<T: Tabular>(dir: &Path, records: Vec<T>) {
    let sink = SqliteSink::open::<T>(dir.join("market_data.db")).unwrap();
    block_on(sink.write(&Batch::from(records))).unwrap();
    block_on(sink.close());
}

fn check(dir: &Path, args: &[&str]) -> (Option<i32>, Value) {
    let output = mds(dir).args(["check", "--json", "--kind"]).args(args).output().unwrap();
    let report = serde_json::from_str(&stdout(&output)).unwrap_or_else(|error| panic!("{error}: {}", stderr(&output)));
    (output.status.code(), report)
}

fn text(dir: &Path, args: &[&str]) -> String {
    stdout(&mds(dir).args(["check", "--kind"]).args(args).output().unwrap())
}

// Red when series are mixed, a time loses its nanoseconds, a day without a record is not seen, or a weekday is taken for
// one.
#[test]
fn each_series_has_its_ends_its_count_and_its_longest_gaps() {
    let dir = tempfile::tempdir().unwrap();
    let quote = |symbol: &str, ts: &str| Quote::new(symbol, ts.parse().unwrap()).vendor("acme");
    write(
        dir.path(),
        vec![
            quote("ES", "2024-01-02T14:30:00.000000001Z"),
            quote("ES", "2024-01-02T14:30:00.000000002Z"),
            quote("ES", "2024-01-05T00:00:00Z"),
            quote("ES", "2024-01-06T00:00:00Z"),
            quote("ES", "2024-01-12T23:59:59Z"),
            quote("ES", "2024-01-02T14:30:00Z").venue("CME"),
            quote("NQ", "2024-01-02T14:30:00Z"),
        ],
    );
    let (code, report) = check(dir.path(), &["quotes"]);
    assert_eq!(
        (code, &report["kind"], &report["records"], &report["invalid"]),
        (Some(0), &json!("quotes"), &json!(7), &json!(0))
    );
    assert_eq!(
        report["series"],
        json!([
            {"vendor": "acme", "venue": "", "symbol": "ES", "records": 5, "first": "2024-01-02T14:30:00.000000001Z",
             "last": "2024-01-12T23:59:59Z", "days": 4, "invalid": 0,
             "gaps": [{"after": "2024-01-06", "days": 5}, {"after": "2024-01-02", "days": 2}]},
            {"vendor": "acme", "venue": "", "symbol": "NQ", "records": 1, "first": "2024-01-02T14:30:00Z",
             "last": "2024-01-02T14:30:00Z", "days": 1, "invalid": 0, "gaps": []},
            {"vendor": "acme", "venue": "CME", "symbol": "ES", "records": 1, "first": "2024-01-02T14:30:00Z",
             "last": "2024-01-02T14:30:00Z", "days": 1, "invalid": 0, "gaps": []},
        ])
    );
    assert_eq!(check(dir.path(), &["quotes", "--symbol", "nq"]).1["records"], 1);
    assert_eq!(check(dir.path(), &["quotes", "--vendor", "other"]).0, Some(2));
    assert_eq!(
        text(dir.path(), &["quotes", "--symbol", "ES"]).lines().map(str::trim_end).collect::<Vec<_>>(),
        [
            "vendor  venue  symbol  records  first                           last                  days  invalid",
            "acme           ES      5        2024-01-02T14:30:00.000000001Z  2024-01-12T23:59:59Z  4     0",
            "  5 days without a record after 2024-01-06",
            "  2 days without a record after 2024-01-02",
            "acme    CME    ES      1        2024-01-02T14:30:00Z            2024-01-02T14:30:00Z  1     0",
            "6 quotes in 2 series, 0 invalid",
        ]
    );
}

// Red when a kind whose rows do not come in the order of time gets ends or gaps from that order.
#[test]
fn kinds_in_another_order_than_time_have_their_ends_too() {
    let dir = tempfile::tempdir().unwrap();
    let news = |id: &str, micros, symbol: &str| {
        News::new(Timestamp::from_micros(micros), "t").vendor("acme").id(id).symbols([symbol])
    };
    write(dir.path(), vec![news("1", 3_000_000, "SPY"), news("2", 1_000_000, "SPY"), news("3", 2_000_000, "TLT")]);
    let expected = json!([{"vendor": "acme", "records": 3, "first": "1970-01-01T00:00:01Z",
        "last": "1970-01-01T00:00:03Z", "days": null, "invalid": 0, "gaps": []}]);
    assert_eq!(check(dir.path(), &["news"]).1["series"], expected);
    assert_eq!(check(dir.path(), &["news", "--symbol", "TLT"]).1["records"], 1);
    let report = |period: &str, day| Fundamentals::new("AAPL", period, Date::new(2024, 1, day).unwrap());
    write(dir.path(), vec![report("2023FY", 9), report("2023Q4", 2), report("2023Q4", 12)]);
    let expected = json!([{"vendor": "unknown", "symbol": "AAPL", "records": 3, "first": "2024-01-02",
        "last": "2024-01-12", "days": null, "invalid": 0, "gaps": []}]);
    assert_eq!(check(dir.path(), &["fundamentals"]).1["series"], expected);
}

// Red when a row that makes no trade passes, or is not named by its key, or ends with another code.
#[test]
fn rows_that_make_no_record_are_named_by_their_key() {
    let dir = tempfile::tempdir().unwrap();
    let trade = |id: i64| Trade::new("ES", "2024-01-02T14:30:00Z".parse().unwrap(), 1.0, 1.0).id(id.to_string());
    write(dir.path(), (0..40).map(trade).collect());
    let store = rusqlite::Connection::open(dir.path().join("market_data.db")).unwrap();
    store.execute("UPDATE trades SET size = -1 WHERE id = '7'", []).unwrap();
    store.execute("UPDATE trades SET side = 'up' WHERE id = '8'", []).unwrap();
    let (code, report) = check(dir.path(), &["trades"]);
    assert_eq!((code, &report["records"], &report["invalid"]), (Some(65), &json!(40), &json!(2)));
    let key = "vendor=unknown venue= symbol=ES ts=2024-01-02T14:30:00Z id=";
    let errors = report["errors"].as_array().unwrap();
    assert_eq!(
        errors[0],
        json!({"key": format!("{key}7"), "message": "size: expected a finite number from 0, got -1"})
    );
    assert_eq!(errors[1]["key"], format!("{key}8"));
    assert!(errors[1]["message"].as_str().unwrap().starts_with("side: expected"), "{}", errors[1]);
    store.execute("UPDATE trades SET price = 'x'", []).unwrap();
    let text = text(dir.path(), &["trades"]);
    assert!(text.ends_with("and 20 more invalid\n"), "{text}");
    for (args, code, said) in [
        (&["trades", "--timeframe", "1m"][..], 2, "--timeframe: expected no other kind than bars"),
        (&["ticks"], 2, "possible values: bars, quotes"),
        (&["options"], 69, "no table `options`"),
    ] {
        let output = mds(dir.path()).args(["check", "--kind"]).args(args).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
}
