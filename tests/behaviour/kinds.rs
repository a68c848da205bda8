//! The kinds of the crate, each on its whole way: accepted, stored, read back.

use std::{collections::BTreeSet, fmt::Debug};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Date, Fundamentals, MarketDataStore, News, OptionQuote, OptionType, Quote, Record, Settings, Side,
    Sink, Tabular, Timeframe, Timestamp, TimestampNanos, Trade, TradeAction, sink::SqliteSink,
};
use proptest::{collection::vec, num, option, prelude::*, sample::select};

use crate::support;

pub fn json<T: Record>(record: &T) -> String {
    serde_json::to_string(record).unwrap()
}

/// Stores what is valid of these, and compares what is read back: in JSON -0.0 is another number than 0.0, and any other
/// bit shows too.
fn is_read_back_alike<T: Tabular + Clone + Debug>(mut records: Vec<T>) {
    let offered = records.len();
    records.retain_mut(|record| record.validate().is_ok());
    assert!(records.len() * 3 > offered, "only {} of {offered} are valid", records.len());
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("kinds.db");
    let sink = SqliteSink::open::<T>(&path).unwrap();
    block_on(sink.write(&Batch::from(records.clone()))).unwrap();
    block_on(sink.close());
    let found = support::stored::<T>(&path);
    let distinct: BTreeSet<_> = found.iter().map(json).collect();
    assert_eq!(distinct.len(), found.len());
    assert_eq!(distinct, records.iter().map(json).collect());
}

pub fn number() -> impl Strategy<Value = f64> {
    prop_oneof![num::f64::NORMAL | num::f64::SUBNORMAL | num::f64::ZERO, -1e6..1e6_f64, Just(1e308), Just(5e-324)]
}

pub fn amount() -> impl Strategy<Value = f64> {
    number().prop_map(f64::abs)
}

pub fn name() -> impl Strategy<Value = String> {
    prop_oneof![r"[A-Z]{1,5}", r"[a-zA-Z ./:^=-]{1,20}", r"\PC{1,15}", r#"['"\\]{1,3}N"#]
}

pub fn text() -> impl Strategy<Value = String> {
    prop_oneof![r"\PC{0,40}", r#"[\t\n\\N'"é,]{0,12}"#, Just("x".repeat(10_000))]
}

pub fn nanos() -> impl Strategy<Value = TimestampNanos> {
    prop_oneof![any::<i64>(), -5_000..5_000_i64].prop_map(TimestampNanos::from_nanos)
}

pub fn micros() -> impl Strategy<Value = Timestamp> {
    (Timestamp::MIN.as_micros()..=Timestamp::MAX.as_micros()).prop_map(Timestamp::from_micros)
}

pub fn date() -> impl Strategy<Value = Date> {
    (1..=9999_i16, 1..=12_i8, 1..=28_i8).prop_map(|(year, month, day)| Date::new(year, month, day).unwrap())
}

pub fn quote() -> impl Strategy<Value = Quote> {
    let sides = (option::of(number()), option::of(amount()), option::of(number()), option::of(amount()));
    (name(), name(), nanos(), sides, option::of(text()), option::of(any::<i64>())).prop_map(
        |(symbol, vendor, ts, (bid, bid_size, ask, ask_size), conditions, received_ts_ns)| {
            let quote = Quote::new(symbol, ts).vendor(vendor).venue("x");
            let conditions = conditions.map(Into::into);
            Quote { bid, bid_size, ask, ask_size, conditions, received_ts_ns, ..quote }
        },
    )
}

pub fn trade() -> impl Strategy<Value = Trade> {
    let codes = (option::of(any::<i64>()), option::of(text()), option::of(name()), option::of(any::<i64>()));
    let side = option::of(select(&[Side::Buy, Side::Sell][..]));
    let action = option::of(select(&[TradeAction::New, TradeAction::Correct, TradeAction::Cancel][..]));
    (name(), name(), nanos(), number(), amount(), side, action, codes).prop_map(
        |(symbol, venue, ts, price, size, side, action, (seq, conditions, ref_id, received_ts_ns))| Trade {
            side,
            action,
            seq,
            conditions: conditions.map(Into::into),
            ref_id: ref_id.map(Into::into),
            received_ts_ns,
            ..Trade::new(symbol, ts, price, size).venue(venue)
        },
    )
}

pub fn option_quote() -> impl Strategy<Value = OptionQuote> {
    let type_and_strike = (select(&[OptionType::Call, OptionType::Put][..]), amount());
    (name(), nanos(), name(), date(), type_and_strike, vec(option::of(amount()), 13)).prop_map(
        |(contract, ts, underlying, expiry, (option_type, strike), numbers)| {
            let mut quote = OptionQuote::new(contract, ts, underlying, expiry, option_type, strike);
            (quote.bid, quote.bid_size, quote.ask, quote.ask_size) = (numbers[0], numbers[1], numbers[2], numbers[3]);
            (quote.last, quote.iv, quote.delta, quote.gamma) = (numbers[4], numbers[5], numbers[6], numbers[7]);
            (quote.theta, quote.vega, quote.open_interest) = (numbers[8], numbers[9], numbers[10]);
            (quote.volume, quote.spot) = (numbers[11], numbers[12]);
            quote
        },
    )
}

pub fn fundamentals() -> impl Strategy<Value = Fundamentals> {
    let period = select(&["2024Q1", "2023FY", "1999q4"][..]);
    (name(), period, date(), vec(option::of(number()), 5), option::of(name())).prop_map(
        |(symbol, period, asof, numbers, currency)| {
            let mut report = Fundamentals::new(symbol, period, asof);
            (report.total_assets, report.total_liabilities, report.net_income) = (numbers[0], numbers[1], numbers[2]);
            (report.eps, report.revenue, report.currency) = (numbers[3], numbers[4], currency.map(Into::into));
            report
        },
    )
}

pub fn news() -> impl Strategy<Value = News> {
    let about = (vec(name(), 0..4), text(), option::of(text()));
    (name(), micros(), option::of(micros()), about, option::of(-1.0..=1.0_f64)).prop_map(
        |(vendor, ts, updated_at, (symbols, title, url), sentiment)| {
            let news = News::new(ts, title).vendor(vendor).symbols(symbols);
            News { updated_at, url, sentiment, ..news }
        },
    )
}

/// Gives each a key of its own.
pub fn numbered<T>(mut records: Vec<T>, number: impl Fn(&mut T, usize)) -> Vec<T> {
    records.iter_mut().enumerate().for_each(|(at, record)| number(record, at));
    records
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(12))]

    // Red when a column of any kind is bound or read as another, cut, or rounded.
    #[test]
    fn every_kind_is_read_back_to_the_bit(
        quotes in vec(quote(), 40),
        trades in vec(trade(), 40),
        options in vec(option_quote(), 40),
        reports in vec(fundamentals(), 40),
        news in vec(news(), 40),
    ) {
        is_read_back_alike(numbered(quotes, |quote, at| quote.seq = at as i64));
        is_read_back_alike(numbered(trades, |trade, at| trade.id = format!("{at}'\\N").into()));
        is_read_back_alike(numbered(options, |quote, at| quote.contract = format!("C{at}").into()));
        is_read_back_alike(numbered(reports, |report, at| report.vendor = format!("v{at}").into()));
        is_read_back_alike(numbered(news, |news, at| news.id = format!("{at}").into()));
    }
}

// Red when a kind that the settings name has no coordinator, or its records go elsewhere.
#[test]
fn a_store_of_all_kinds_has_a_coordinator_and_a_table_for_each() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.db");
    let kinds = ["bars", "quotes", "trades", "options", "fundamentals", "news"];
    let vars = [
        ("MDS_DATABASE_URL", format!("sqlite://{}", path.display())),
        ("MDS_DLQ_PATH", dir.path().join("dlq").display().to_string()),
        ("MDS_KINDS", kinds.join(", ")),
        ("MDS_QUOTES_COORDINATOR_CAPACITY", "123".to_owned()),
    ];
    let store = MarketDataStore::spawn(Settings::from_vars(vars).unwrap()).unwrap();
    let ts = TimestampNanos::from_nanos(1);
    let expiry = Date::new(2024, 1, 19).unwrap();
    block_on(async {
        let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::from_micros(1)).ohlc(1.0, 1.0, 1.0, 1.0);
        store.coordinator::<Bar>().unwrap().submit(bar).await.unwrap();
        store.coordinator::<Quote>().unwrap().submit(Quote::new("ES", ts)).await.unwrap();
        store.coordinator::<Trade>().unwrap().submit(Trade::new("ES", ts, 1.0, 1.0).seq(1)).await.unwrap();
        let option = OptionQuote::new("A", ts, "AAPL", expiry, OptionType::Call, 1.0);
        store.coordinator::<OptionQuote>().unwrap().submit(option).await.unwrap();
        store.coordinator::<Fundamentals>().unwrap().submit(Fundamentals::new("A", "2024Q1", expiry)).await.unwrap();
        store.coordinator::<News>().unwrap().submit(News::new(Timestamp::from_micros(1), "t")).await.unwrap();
        let report = store.finish(support::PATIENCE).await;
        assert_eq!((report.submitted(), report.stored()), (6, 6));
        let health = store.health().await;
        let ids: BTreeSet<&str> = health.iter().map(|health| &*health.coordinator_id).collect();
        assert_eq!(ids, BTreeSet::from(kinds));
        assert!(
            health
                .iter()
                .all(|health| health.capacity == if &*health.coordinator_id == "quotes" { 123 } else { 10_000 })
        );
    });
    let connection = rusqlite::Connection::open(&path).unwrap();
    for kind in kinds {
        let sql = format!("SELECT count(*) FROM {kind}_readable");
        assert_eq!(connection.query_row(&sql, [], |row| row.get::<_, i64>(0)).unwrap(), 1, "{kind}");
    }
}
