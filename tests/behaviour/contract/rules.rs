//! The rules, for any store.

use std::fmt::Debug;

use market_data_store::{
    Adjustment, Bar, Column, Date, Fundamentals, Invalid, News, OptionQuote, OptionType, Quote, Record, Row, Side,
    SinkError, SinkErrorKind, StoredRow, Table, Tabular, Timeframe, Timestamp, TimestampNanos, Trade, TradeAction,
};
use proptest::{
    collection::vec,
    test_runner::{Config, TestError, TestRunner},
};
use serde::{Deserialize, Serialize};

use super::{SharedStore, Store, assert_stored};
use crate::{
    kinds::{self, json, numbered},
    support::size_of_test,
};

fn bar(symbol: &str, ts: i64, close: f64) -> Bar {
    let bar = Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(60_000_000 * ts));
    bar.ohlc(close, close, close, close)
}

fn bars(count: usize, close: f64) -> Vec<Bar> {
    (0..count).map(|at| bar(&format!("S{}", at % 7), at as i64, close)).collect()
}

/// Red when a repeated batch inserts again, or fails.
pub fn a_batch_that_is_written_twice_is_stored_once<S: Store>() {
    let store = S::empty();
    let batch = bars(20, 1.0);
    for _ in 0..3 {
        store.write(batch.clone()).unwrap();
        assert_stored(&store, &batch);
    }
    // Some are there, and some are not.
    let longer = bars(30, 1.0);
    store.write(longer.clone()).unwrap();
    assert_stored(&store, &longer);
}

/// Red when a batch with one refused record leaves some of the others.
pub fn a_batch_is_stored_as_a_whole_or_not_at_all<S: Store>() {
    let store = S::empty();
    let before = bars(3, 1.0);
    store.write(before.clone()).unwrap();
    store.refuse("BAD");
    for at in [0, 10, 19] {
        let mut batch = bars(20, 2.0);
        batch[at].symbol = "BAD".into();
        let error = store.write(batch).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Permanent, "{error:#}");
        assert_stored(&store, &before);
    }
    store.write(bars(20, 2.0)).unwrap();
    assert_stored(&store, &bars(20, 2.0));
}

/// Red when an older value stays.
pub fn the_last_update_of_a_key_wins_across_batches<S: Store>() {
    let store = S::empty();
    for close in [1.0, 3.0, 2.0, 2.0, -0.5] {
        store.write(bars(20, close)).unwrap();
        assert_stored(&store, &bars(20, close));
    }
    // From a value to none and back.
    for volume in [Some(1.0), None, Some(2.0)] {
        let updated: Vec<_> = bars(5, 1.0).into_iter().map(|bar| Bar { volume, ..bar }).collect();
        store.write(updated.clone()).unwrap();
        let all: Vec<_> = updated.into_iter().chain(bars(20, -0.5).into_iter().skip(5)).collect();
        assert_stored(&store, &all);
    }
}

/// Red when two updates of a key in one batch fail it, or the first of them stays.
pub fn the_last_update_of_a_key_wins_in_a_batch<S: Store>() {
    let store = S::empty();
    for round in 0..3 {
        let close = |at: usize| f64::from(round) * 100.0 + at as f64;
        let batch = (0..20).map(|at| bar("ES", at as i64 % 3, close(at))).collect::<Vec<_>>();
        let last = [18, 19, 17].map(|at| batch[at].clone());
        store.write(batch).unwrap();
        assert_stored(&store, &last);
    }
    // All updates of one key.
    let batch: Vec<_> = (0..S::BATCH).map(|at| bar("NQ", 0, at as f64)).collect();
    let newest = batch.last().unwrap().clone();
    store.write(batch).unwrap();
    assert!(store.read::<Bar>().contains(&newest));
}

/// Red when the order of a batch is taken for that of its keys, or the other way round.
pub fn the_same_keys_in_another_order_lose_nothing<S: Store>() {
    let store = S::empty();
    store.write(bars(50, 1.0).into_iter().rev().collect()).unwrap();
    assert_stored(&store, &bars(50, 1.0));
    let shuffled: Vec<_> = (0..50).map(|at| bars(50, 2.0)[at * 17 % 50].clone()).collect();
    store.write(shuffled).unwrap();
    assert_stored(&store, &bars(50, 2.0));
}

/// More than a batch needs for a way of its own, and less than a batch may have.
const SEVERAL: usize = 40;

const NUMBERS: [f64; 12] = [
    0.0,
    -1.5,
    0.1 + 0.2,
    1e308,
    -1e308,
    f64::MAX,
    f64::MIN,
    f64::MIN_POSITIVE,
    5e-324,
    -5e-324,
    123_456_789.123_456_79,
    9_007_199_254_740_993.0,
];

/// Texts that a format of COPY, a literal of SQL, an array's literal, or JSON would take for something else.
fn texts() -> Vec<String> {
    let texts = [
        "",
        " ",
        "é",
        "日本語",
        "🚀",
        "e\u{301}",
        "'",
        "''",
        "\"",
        "\\",
        "\\\\",
        "\\N",
        "\\.",
        "\t",
        "\n",
        "\r\n",
        "\u{1}",
        "\u{7f}",
        "\u{feff}",
        "\u{10ffff}",
        "NULL",
        "null",
        "{}",
        "{a,b}",
        "{\"a\"}",
        "[\"a\"]",
        "a,b",
        "a;b",
        "$1",
        "%s",
        "--",
        "/*",
        "a'); DROP TABLE bars; --",
        "NaN",
        "1e308",
        "0",
    ];
    let mut texts: Vec<String> = texts.map(str::to_owned).into();
    texts.extend(["x".repeat(10_000), "é\\'\"".repeat(2_500)]);
    texts
}

/// Red when a number is rounded or a text is cut, escaped or taken for a null.
pub fn extreme_values_are_stored_to_the_bit<S: Store>() {
    let store = S::empty();
    let bars: Vec<_> =
        NUMBERS.into_iter().enumerate().map(|(at, number)| bar("ES", at as i64, number).volume(number.abs())).collect();
    store.write(bars.clone()).unwrap();
    assert_stored(&store, &bars);

    let about = |at: usize, text: &String| {
        let news = News::new(Timestamp::from_micros(at as i64), text).id(format!("{at}")).symbols([&**text, "ES"]);
        News { url: Some(text.clone()), sentiment: Some(0.0), ..news }
    };
    let mut news: Vec<News> = texts().iter().enumerate().map(|(at, text)| about(at, text)).collect();
    news.push(News::new(Timestamp::MIN, "first").id("min"));
    news.push(News::new(Timestamp::MAX, "last").id("max"));
    // A text as a part of the key, and a list without anything.
    news.extend(
        texts()
            .into_iter()
            .filter(|text| text.len() < 100)
            .map(|text| News::new(Timestamp::from_micros(1), "").id(format!("id {text}")).symbols([""; 0])),
    );
    // Once more, by the way of rows that are there.
    for _ in 0..2 {
        write_in_parts(&store, &news);
        assert_stored(&store, &news);
    }

    let at = |nanos| TimestampNanos::from_nanos(nanos);
    let quotes: Vec<_> = [i64::MIN, i64::MIN + 1, -1_001, -1_000, -999, -1, 0, 1, 999, 1_000, 1_001, i64::MAX]
        .into_iter()
        .flat_map(|nanos| [i64::MIN, 0, i64::MAX].map(|seq| Quote::new("ES", at(nanos)).seq(seq).received(at(seq))))
        .collect();
    store.write(quotes.clone()).unwrap();
    assert_stored(&store, &quotes);
}

struct EachKind {
    bars: Vec<Bar>,
    quotes: Vec<Quote>,
    trades: Vec<Trade>,
    options: Vec<OptionQuote>,
    reports: Vec<Fundamentals>,
    news: Vec<News>,
}

/// One of each kind with every column, and one with as few as there can be.
fn some_of_each() -> EachKind {
    let at = TimestampNanos::from_nanos(1_704_205_800_123_456_789);
    let day = Date::new(2024, 1, 19).unwrap();
    let quote = Quote::new("ES", at).vendor("v").venue("x").seq(1).bid(1.0, 0.0).ask(-2.0, 3.0).received(at);
    let trade = Trade::new("ES", at, -1.0, 0.0).vendor("v").venue("x").id("1").received(at);
    let option = OptionQuote::new("A240119C00100000", at, "A", day, OptionType::Put, 100.0).bid(1.0, 2.0).ask(3.0, 4.0);
    let report = Fundamentals::new("A", "2024Q1", day);
    let news = News::new(Timestamp::from_micros(1), "t").id("1").symbols(["A", "B"]);
    EachKind {
        bars: vec![bar("ES", 1, 1.0).volume(0.0), bar("NQ", 1, 2.0)],
        quotes: vec![Quote { conditions: Some("@ F".into()), ..quote }, Quote::new("NQ", at)],
        trades: vec![
            Trade {
                side: Some(Side::Sell),
                seq: Some(7),
                conditions: Some("@".into()),
                action: Some(TradeAction::Correct),
                ref_id: Some("0".into()),
                ..trade
            },
            Trade::new("NQ", at, 1.0, 1.0).id("1"),
        ],
        options: vec![
            OptionQuote {
                last: Some(1.0),
                iv: Some(0.2),
                delta: Some(-0.5),
                gamma: Some(0.1),
                theta: Some(-0.01),
                vega: Some(0.3),
                open_interest: Some(10.0),
                volume: Some(0.0),
                spot: Some(99.0),
                ..option.clone().vendor("v")
            },
            OptionQuote::new("B", at, "B", day, OptionType::Call, 0.5),
        ],
        reports: vec![
            Fundamentals {
                total_assets: Some(1e12),
                total_liabilities: Some(-1.0),
                net_income: Some(-1e9),
                eps: Some(0.01),
                revenue: Some(0.0),
                currency: Some("USD".into()),
                ..report.clone().vendor("v")
            },
            report,
        ],
        news: vec![
            News {
                updated_at: Some(Timestamp::from_micros(-1)),
                url: Some("https://x".to_owned()),
                sentiment: Some(-1.0),
                ..news
            },
            News::new(Timestamp::from_micros(1), "").id("2"),
        ],
    }
}

/// Red when a write of one kind changes the rows of another, or needs that it is there.
pub fn kinds_do_not_touch_each_other<S: Store>() {
    let store = S::empty();
    let EachKind { bars, quotes, trades, options, reports, news } = some_of_each();
    for _ in 0..2 {
        store.write(news.clone()).unwrap();
        store.write(reports.clone()).unwrap();
        store.write(options.clone()).unwrap();
        store.write(trades.clone()).unwrap();
        store.write(quotes.clone()).unwrap();
        store.write(bars.clone()).unwrap();
    }
    assert_stored(&store, &bars);
    assert_stored(&store, &quotes);
    assert_stored(&store, &trades);
    assert_stored(&store, &options);
    assert_stored(&store, &reports);
    assert_stored(&store, &news);
}

/// Writes batches that are no larger than the store takes; and several, as the first of them may go another way than
/// those behind it.
fn write_in_parts<S: Store, T: Tabular + Clone>(store: &S, records: &[T]) {
    let (mut part, mut bytes) = (Vec::new(), 0);
    for record in records {
        let size = json(record).len();
        if bytes + size > S::BYTES || part.len() == SEVERAL {
            store.write(std::mem::take(&mut part)).unwrap();
            bytes = 0;
        }
        bytes += size;
        part.push(record.clone());
    }
    store.write(part).unwrap();
}

/// Writes what is valid of these, and compares.
fn is_stored_alike<S: Store, T: Tabular + Clone + Debug>(store: &S, mut records: Vec<T>) {
    let offered = records.len();
    records.retain_mut(|record| record.validate().is_ok());
    assert!(records.len() * 3 > offered, "only {} of {offered} are valid", records.len());
    write_in_parts(store, &records);
    assert_stored(store, &records);
}

/// Red when a column of any kind is written as another, cut, or rounded.
pub fn every_kind_is_stored_to_the_bit<S: Store>() {
    let cases = size_of_test("MDS_TEST_CONTRACT_CASES", 3) as u32;
    let config = Config { cases, failure_persistence: None, max_shrink_iters: 20, ..Config::default() };
    let of_each = (
        vec(kinds::quote(), S::RANDOM),
        vec(kinds::trade(), S::RANDOM),
        vec(kinds::option_quote(), S::RANDOM),
        vec(kinds::fundamentals(), S::RANDOM),
        vec(kinds::news(), S::RANDOM),
    );
    let tried = TestRunner::new(config).run(&of_each, |(quotes, trades, options, reports, news)| {
        let store = S::empty();
        is_stored_alike(&store, numbered(quotes, |quote, at| quote.seq = at as i64));
        is_stored_alike(&store, numbered(trades, |trade, at| trade.id = format!("{at}'\\N").into()));
        is_stored_alike(&store, numbered(options, |quote, at| quote.contract = format!("C{at}").into()));
        is_stored_alike(&store, numbered(reports, |report, at| report.vendor = format!("v{at}").into()));
        is_stored_alike(&store, numbered(news, |news, at| news.id = format!("{at}").into()));
        Ok(())
    });
    if let Err(TestError::Fail(reason, _) | TestError::Abort(reason)) = tried {
        panic!("{reason}");
    }
}

/// Red when a part of a key is missing: two records would be one.
pub fn each_part_of_a_key_tells_records_apart<S: Store>() {
    let store = S::empty();
    let at = TimestampNanos::from_nanos(1_704_205_800_000_000_000);
    let later = TimestampNanos::from_nanos(at.as_nanos() + 1);
    let bar = bar("ES", 1, 1.0);
    let bars = [
        bar.clone(),
        bar.clone().vendor("v"),
        Bar { symbol: "NQ".into(), ..bar.clone() },
        Bar { timeframe: "1h".parse().unwrap(), ..bar.clone() },
        bar.clone().adjustment(Adjustment::Split),
        Bar { ts: Timestamp::from_micros(1), ..bar },
    ];
    is_stored_alike(&store, bars.to_vec());
    let quote = Quote::new("ES", at);
    let quotes = [
        quote.clone(),
        quote.clone().vendor("v"),
        quote.clone().venue("x"),
        quote.clone().seq(1),
        Quote::new("NQ", at),
        Quote::new("ES", later),
    ];
    is_stored_alike(&store, quotes.to_vec());
    let trade = Trade::new("ES", at, 1.0, 1.0).id("1");
    let trades = [
        trade.clone(),
        trade.clone().vendor("v"),
        trade.clone().venue("x"),
        trade.id("2"),
        Trade::new("NQ", at, 1.0, 1.0).id("1"),
        Trade::new("ES", later, 1.0, 1.0).id("1"),
    ];
    is_stored_alike(&store, trades.to_vec());
    let expiry = Date::new(2024, 1, 19).unwrap();
    let option = |contract, at| OptionQuote::new(contract, at, "AAPL", expiry, OptionType::Call, 1.0);
    is_stored_alike(&store, vec![option("A", at), option("A", at).vendor("v"), option("B", at), option("A", later)]);
    let report = |symbol, period, day| Fundamentals::new(symbol, period, Date::new(2024, 1, day).unwrap());
    let reports = [
        report("A", "2024Q1", 1),
        report("A", "2024Q1", 1).vendor("v"),
        report("B", "2024Q1", 1),
        report("A", "2024FY", 1),
        report("A", "2024Q1", 2),
    ];
    is_stored_alike(&store, reports.to_vec());
    let news = News::new(Timestamp::from_micros(1), "title").id("1");
    is_stored_alike(&store, vec![news.clone(), news.clone().vendor("v"), news.id("2")]);
}

/// A type of record that is not the crate's, with every type of column, once as it must be and once as it may be.
#[derive(Clone, Debug, Serialize, Deserialize)]
struct Own {
    name: String,
    at: TimestampNanos,
    day: Date,
    n: i64,
    number: f64,
    seen: Timestamp,
    tags: Vec<String>,
    maybe_at: Option<TimestampNanos>,
    maybe_day: Option<Date>,
    maybe_n: Option<i64>,
    maybe_number: Option<f64>,
    maybe_seen: Option<Timestamp>,
    maybe_name: Option<String>,
}

impl Record for Own {
    const KIND: &'static str = "own_records";

    fn partition_key(&self) -> &str {
        &self.name
    }
}

impl Tabular for Own {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("name").key().comment("what it's called: \"it\", in \\ and \t"),
            Column::timestamp_nanos("at").key(),
            Column::date("day").key(),
            Column::integer("n").key(),
            Column::float("number"),
            Column::timestamp("seen"),
            Column::list("tags"),
            Column::timestamp_nanos("maybe_at").optional(),
            Column::date("maybe_day").optional(),
            Column::integer("maybe_n").optional(),
            Column::float("maybe_number").optional(),
            Column::timestamp("maybe_seen").optional(),
            Column::text("maybe_name").optional(),
        ],
    )
    .time("at")
    .series(&["name"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.name).push(self.at).push(self.day).push(self.n).push(self.number).push(self.seen);
        row.push(&self.tags).push(self.maybe_at).push(self.maybe_day).push(self.maybe_n);
        row.push(self.maybe_number).push(self.maybe_seen).push(self.maybe_name.as_ref());
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            name: row.get("name")?,
            at: row.get("at")?,
            day: row.get("day")?,
            n: row.get("n")?,
            number: row.get("number")?,
            seen: row.get("seen")?,
            tags: row.get("tags")?,
            maybe_at: row.get("maybe_at")?,
            maybe_day: row.get("maybe_day")?,
            maybe_n: row.get("maybe_n")?,
            maybe_number: row.get("maybe_number")?,
            maybe_seen: row.get("maybe_seen")?,
            maybe_name: row.get("maybe_name")?,
        })
    }
}

/// One with a value in each column.
fn full(n: i64) -> Own {
    Own {
        name: "é'\\N".to_owned(),
        at: TimestampNanos::from_nanos(-1 - n),
        day: Date::new(1, 1, 1).unwrap(),
        n,
        number: NUMBERS[n as usize % NUMBERS.len()],
        seen: Timestamp::MIN,
        tags: texts().into_iter().take(8).collect(),
        maybe_at: Some(TimestampNanos::from_nanos(n)),
        maybe_day: Some(Date::new(9999, 12, 31).unwrap()),
        maybe_n: Some(i64::MIN),
        maybe_number: Some(5e-324),
        maybe_seen: Some(Timestamp::MAX),
        maybe_name: Some(String::new()),
    }
}

/// Red when a column of any type, or a null in it, is stored as something else, or a table needs to be one of the crate's.
pub fn records_of_one_s_own_are_stored_to_the_bit<S: Store>() {
    let store = S::empty();
    let mut batch: Vec<_> = (0..20).map(full).collect();
    // Each is null in turn: a null shifts no other value.
    batch[1].maybe_at = None;
    batch[2].maybe_day = None;
    batch[3].maybe_n = None;
    batch[4].maybe_number = None;
    batch[5].maybe_seen = None;
    batch[6].maybe_name = None;
    batch[7].tags.clear();
    for _ in 0..2 {
        store.write(batch.clone()).unwrap();
        assert_stored(&store, &batch);
    }
    // A null becomes a value, and a value a null.
    let turned: Vec<_> =
        (0..20).map(|n| Own { maybe_at: None, maybe_n: Some(n), maybe_name: None, ..full(n) }).collect();
    store.write(turned.clone()).unwrap();
    assert_stored(&store, &turned);
}

/// Red when a lock is held against the records, or a record that is refused is tried for ever; or when one that a store
/// refuses costs those behind it.
pub fn what_can_be_tried_again_is_told_from_what_cannot<S: Store>() {
    let store = S::empty();
    store.write(bars(3, 1.0)).unwrap();
    store.while_blocked(|| {
        let error = store.write(bars(3, 2.0)).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Transient, "{error:#}");
        assert!(error.is_outage(), "{error:#}");
    });
    assert_stored(&store, &bars(3, 1.0));
    store.write(bars(3, 2.0)).unwrap();
    assert_stored(&store, &bars(3, 2.0));
    store.refuse("BAD");
    for _ in 0..3 {
        let error = store.write(vec![bar("BAD", 1, 1.0)]).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Permanent, "{error:#}");
        store.write(bars(4, 3.0)).unwrap();
    }
    assert_stored(&store, &bars(4, 3.0));
}

/// Red when rows take another way once a batch had new ones alone, and arrive there as others.
pub fn new_rows_behind_new_rows_are_stored_to_the_bit<S: Store>() {
    let store = S::empty();
    let text = |n: usize| texts().swap_remove(n % texts().len());
    let own: Vec<_> = (0..4 * SEVERAL)
        .map(|n| Own {
            tags: vec![text(n), text(n + 1)],
            maybe_name: (n > SEVERAL || !n.is_multiple_of(3)).then(|| text(n)),
            maybe_day: (!n.is_multiple_of(4)).then(|| Date::new(1 + n as i16, 2, 28).unwrap()),
            maybe_at: (!n.is_multiple_of(5)).then(|| TimestampNanos::from_nanos(i64::MIN + n as i64)),
            ..full(n as i64)
        })
        .collect();
    write_in_parts(&store, &own);
    assert_stored(&store, &own);
    // Some that are there among new ones, and after them new ones again.
    let bars: Vec<_> = bars(6 * SEVERAL, 1.0).into_iter().map(|bar| bar.volume(0.3)).collect();
    write_in_parts(&store, &bars[..3 * SEVERAL]);
    store.write(bars[2 * SEVERAL + 5..3 * SEVERAL + 5].to_vec()).unwrap();
    write_in_parts(&store, &bars[3 * SEVERAL + 5..]);
    assert_stored(&store, &bars);
}

/// Red when a batch of the size that is the default does not fit.
pub fn a_large_batch_is_stored<S: Store>() {
    let store = S::empty();
    let batch = bars(S::BATCH, 1.0);
    store.write(batch.clone()).unwrap();
    store.write(batch.clone()).unwrap();
    let more: Vec<_> = bars(3 * S::BATCH, 1.0);
    for part in more.chunks(S::BATCH) {
        store.write(part.to_vec()).unwrap();
    }
    assert_stored(&store, &more);
}

/// Red when the records are held against a table that another program changed, or the sink does not find out that it is
/// as it was.
pub fn a_column_that_is_renamed_under_way_costs_no_record<S: SharedStore>() {
    let store = S::empty();
    store.write(bars(3, 1.0)).unwrap();
    store.run("ALTER TABLE bars RENAME COLUMN volume TO turnover");
    let errors = [(); 4].map(|()| store.write(bars(5, 2.0)).unwrap_err());
    assert!(errors.iter().all(|error| error.kind() == SinkErrorKind::Transient), "{errors:#?}");
    // The first may look like the fault of a record, which a trigger refuses: that is one strike. More would be too many.
    assert!(errors[1..].iter().all(SinkError::is_outage), "{errors:#?}");
    store.run("ALTER TABLE bars RENAME COLUMN turnover TO volume");
    store.write(bars(5, 2.0)).unwrap();
    assert_stored(&store, &bars(5, 2.0));
}

/// Red when the records are held against a table that is gone, or are called stored without one.
pub fn a_table_that_is_dropped_under_way_costs_no_record<S: SharedStore>() {
    let mut store = S::empty();
    store.write(bars(3, 1.0)).unwrap();
    store.run("DROP TABLE bars");
    // Some sinks make it anew, at once or with the next try; others wait for somebody who does.
    let tried = [(); 3].map(|()| store.write(bars(5, 2.0)));
    let errors: Vec<_> = tried.iter().filter_map(|tried| tried.as_ref().err()).collect();
    assert!(errors.iter().all(|error| error.kind() == SinkErrorKind::Transient), "{errors:#?}");
    assert!(errors.iter().skip(1).all(|error| error.is_outage()), "{errors:#?}");
    if tried[2].is_err() {
        store = store.restarted();
        store.write(bars(5, 2.0)).unwrap();
    }
    assert_stored(&store, &bars(5, 2.0));
}

/// Red when what is acknowledged is only in the process.
pub fn what_is_stored_is_there_after_a_restart<S: SharedStore>() {
    let mut store = S::empty();
    for count in [3, 5, 8] {
        store.write(bars(count, count as f64)).unwrap();
        store = store.restarted();
        assert_stored(&store, &bars(count, count as f64));
    }
}
