//! Tables of records of one's own, in the same file as bars: who gets one, and when.

use std::{ops::ControlFlow, path::Path};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Column, Coordinator, Database, DatabaseError, Date, Invalid, MarketDataStore, Record, Row, Settings,
    Sink, SinkErrorKind, StartError, StoredRow, Table, Tabular, Timeframe, Timestamp, TimestampNanos,
    sink::{DatabaseReader, MemorySink, Selection, SqliteOpenError, SqliteSink},
};
use rusqlite::Connection;
use serde::{Deserialize, Serialize};

use crate::support::{self, stored};

/// A record with a column of each type.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Tick {
    symbol: String,
    ts: TimestampNanos,
    price: f64,
    fee: Option<f64>,
    size: Option<i64>,
    sent: Option<TimestampNanos>,
    seen: Option<Timestamp>,
    day: Option<Date>,
    flags: Vec<String>,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

impl Tabular for Tick {
    const TABLE: Table = Table::new(
        Self::KIND,
        &[
            Column::text("symbol").key(),
            Column::timestamp_nanos("ts").key(),
            Column::float("price"),
            Column::float("fee").optional(),
            Column::integer("size").optional(),
            Column::timestamp_nanos("sent").optional(),
            Column::timestamp("seen").optional(),
            Column::date("day").optional(),
            Column::list("flags"),
        ],
    )
    .time("ts")
    .series(&["symbol"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.symbol).push(self.ts).push(self.price).push(self.fee).push(self.size);
        row.push(self.sent).push(self.seen).push(self.day).push(&self.flags);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self {
            symbol: row.get("symbol")?,
            ts: row.get("ts")?,
            price: row.get("price")?,
            fee: row.get("fee")?,
            size: row.get("size")?,
            sent: row.get("sent")?,
            seen: row.get("seen")?,
            day: row.get("day")?,
            flags: row.get("flags")?,
        })
    }
}

fn tick(symbol: &str, nanos: i64) -> Tick {
    Tick {
        symbol: symbol.to_owned(),
        ts: TimestampNanos::from_nanos(nanos),
        price: 1.5,
        fee: None,
        size: None,
        sent: None,
        seen: None,
        day: None,
        flags: Vec::new(),
    }
}

fn bar(ts: i64) -> Bar {
    Bar::new("ES", Timeframe::MINUTE, Timestamp::from_micros(ts)).ohlc(1.0, 2.0, 0.5, 1.5)
}

fn text(path: &Path, sql: &str) -> String {
    Connection::open(path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap()
}

// Red when a table of one's own has other columns than are documented, its times are not tied together, or the index is
// not used.
#[test]
fn a_table_of_one_s_own_has_columns_an_index_a_view_and_a_check() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    block_on(SqliteSink::open::<Tick>(&path).unwrap().close());
    assert_eq!(
        text(&path, "SELECT group_concat(name || ' ' || type, ', ') FROM pragma_table_info('ticks')"),
        "symbol TEXT, ts INTEGER, ts_ns INTEGER, price REAL, fee REAL, size INTEGER, sent INTEGER, sent_ns INTEGER, seen INTEGER, day TEXT, flags TEXT"
    );
    assert_eq!(
        text(
            &path,
            "SELECT group_concat(name, ', ') FROM (SELECT * FROM pragma_table_info('ticks') WHERE pk ORDER BY pk)"
        ),
        "symbol, ts, ts_ns"
    );
    let plan = "EXPLAIN QUERY PLAN SELECT price FROM ticks WHERE symbol = 'ES' AND ts >= 0 ORDER BY ts, ts_ns";
    let plan: String = Connection::open(&path).unwrap().query_row(plan, [], |row| row.get(3)).unwrap();
    assert!(plan.starts_with("SEARCH ticks USING") && plan.ends_with("(symbol=? AND ts>?)"), "{plan}");
    let insert = |ts: i64, ts_ns: i64| {
        let sql = "INSERT INTO ticks (symbol, ts, ts_ns, price, flags) VALUES ('ES', ?1, ?2, ?2, '[]')";
        Connection::open(&path).unwrap().execute(sql, [ts, ts_ns]).is_ok()
    };
    assert!(insert(1, 1_999) && insert(-1, -1) && insert(-2, -1_001) && insert(-1, -1_000));
    assert!(!insert(2, 1_999) && !insert(0, -1) && !insert(-1, -1_001));
    assert_eq!(text(&path, "SELECT ts FROM ticks_readable WHERE price = -1"), "1969-12-31T23:59:59.999999999Z");
    let set = |pair: &str| {
        let sql = format!("UPDATE ticks SET (sent, sent_ns) = ({pair}) WHERE price = -1");
        Connection::open(&path).unwrap().execute(&sql, []).is_ok()
    };
    assert!(set("1, 1999") && set("NULL, NULL"));
    assert!(!set("1, 2000") && !set("1, NULL") && !set("NULL, 1999"));
}

// Red when a null takes another number of places than the columns have: each value behind it would be stored as that of
// another column.
#[test]
fn a_null_time_in_nanoseconds_shifts_no_other_value() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    let full = |nanos| Tick {
        sent: Some(TimestampNanos::from_nanos(nanos)),
        seen: Some(Timestamp::from_micros(nanos + 1)),
        day: Some("2024-02-29".parse().unwrap()),
        flags: vec!["a".to_owned()],
        ..tick("ES", nanos)
    };
    let ticks = vec![full(1_001), Tick { sent: None, ..full(2_002) }, full(3_003)];
    let sink = SqliteSink::open::<Tick>(&path).unwrap();
    block_on(sink.write(&Batch::from(ticks.clone()))).unwrap();
    block_on(sink.close());
    assert_eq!(stored::<Tick>(&path), ticks);
}

// Red when the view shows another time than the record has, or mixes up two times of one row.
#[test]
fn the_view_shows_each_time_with_all_its_digits() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    let sink = SqliteSink::open::<Tick>(&path).unwrap();
    for (at, nanos) in [0, 1, -1, 1_000_000_000, 1_704_205_800_120_000_000, i64::MIN, i64::MAX].into_iter().enumerate()
    {
        let seen = Timestamp::from_micros(nanos / 7_000);
        // The view has no other time: a price says which one it should be.
        let batch = Batch::from(vec![Tick { seen: Some(seen), price: at as f64, ..tick("ES", nanos) }]);
        block_on(sink.write(&batch)).unwrap();
        let row = "SELECT ts || ' ' || seen FROM ticks_readable WHERE price = ";
        assert_eq!(text(&path, &format!("{row}{at}")), format!("{} {seen}", TimestampNanos::from_nanos(nanos)));
    }
}

// Red when a file of the first version, or of this one with bars alone, refuses another kind or loses a step for bars;
// when a reader of bars minds the other table; or when the version changes, which programs of this version would refuse.
#[test]
fn a_file_from_before_takes_a_new_kind() {
    for is_first_version in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("bars.db");
        let sink = SqliteSink::open::<Bar>(&path).unwrap();
        block_on(sink.write(&Batch::from(vec![bar(1)]))).unwrap();
        block_on(sink.close());
        let mut older = "PRAGMA application_id = 0;".to_owned();
        if is_first_version {
            older += "DROP INDEX bars_by_symbol; PRAGMA user_version = 1";
        }
        Connection::open(&path).unwrap().execute_batch(&older).unwrap();

        let sink = SqliteSink::open::<Tick>(&path).unwrap();
        block_on(sink.write(&Batch::from(vec![tick("ES", 7)]))).unwrap();
        block_on(sink.write(&Batch::from(vec![bar(2)]))).unwrap();
        block_on(sink.close());
        assert_eq!((stored::<Tick>(&path), stored::<Bar>(&path)), (vec![tick("ES", 7)], vec![bar(1), bar(2)]));
        assert_eq!(text(&path, "SELECT user_version || '' FROM pragma_user_version"), "3");
        assert_eq!(
            text(&path, "SELECT group_concat(name) FROM sqlite_schema WHERE name = 'bars_by_symbol'"),
            "bars_by_symbol"
        );
    }
}

// Red when the first write of a kind needs a table that only `prepare` makes, or a file without bars is taken for another
// program's.
#[test]
fn a_kind_gets_its_table_with_its_first_write() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    block_on(SqliteSink::open::<Tick>(&path).unwrap().close());
    let reader = DatabaseReader::open(&format!("sqlite://{}", path.display())).unwrap();
    assert!(matches!(
        reader.rows(&Selection::<Bar>::new(), |_| ControlFlow::Continue(())).unwrap_err(),
        DatabaseError::Sqlite(SqliteOpenError::NoTable { table: "bars", .. })
    ));
    let database = Database::connect(&format!("sqlite://{}", path.display())).unwrap();
    block_on(database.write(&Batch::from(vec![bar(1)]))).unwrap();
    block_on(database.close());
    assert_eq!((stored::<Bar>(&path).len(), stored::<Tick>(&path).len()), (1, 0));
}

// Red when what the table must not hold is stored as null or as it is, is called the store's fault, or costs the others of
// its group.
#[test]
fn a_number_that_is_not_finite_and_a_text_with_nul_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    let sink = SqliteSink::open::<Tick>(&path).unwrap();
    for (wrong, expected) in [
        (Tick { fee: Some(f64::NAN), ..tick("ES", 1) }, "fee: expected a finite number, got NaN"),
        (Tick { price: f64::NEG_INFINITY, ..tick("ES", 1) }, "price: expected a finite number, got -inf"),
        (tick("E\0S", 1), "symbol: expected no NUL, got \"E\\0S\""),
    ] {
        let error = block_on(sink.write(&Batch::from(vec![tick("NQ", 1), wrong]))).unwrap_err();
        assert_eq!(error.kind(), SinkErrorKind::Permanent);
        assert!(format!("{error:#}").ends_with(expected), "{error:#}");
        assert_eq!(stored::<Tick>(&path), []);
    }
    block_on(sink.write(&Batch::from(vec![tick("ES", 1)]))).unwrap();
    assert_eq!(stored::<Tick>(&path), [tick("ES", 1)]);
}

/// A record whose table has the name of that of bars, and other columns.
#[derive(Debug, Serialize, Deserialize)]
struct OtherBar(String);

impl Record for OtherBar {
    const KIND: &'static str = "bars";

    fn partition_key(&self) -> &str {
        &self.0
    }
}

impl Tabular for OtherBar {
    const TABLE: Table = Table::new(Self::KIND, &[Column::text("code").key()]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.0);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        row.get("code").map(Self)
    }
}

// Red when a table is taken that we did not make, a write of it is called the records' fault, or it stops the writes of
// other kinds.
#[test]
fn a_table_of_that_name_that_is_not_ours_is_a_clear_error() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("bars.db");
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    let error = sink.prepare::<OtherBar>().unwrap_err().to_string();
    assert!(error.contains("the table `bars` has the columns (vendor TEXT NOT NULL KEY 1"), "{error}");
    assert!(error.ends_with("expected (code TEXT NOT NULL KEY 1)"), "{error}");

    let error = block_on(sink.write(&Batch::from(vec![OtherBar("ES".to_owned())]))).unwrap_err();
    assert_eq!((error.kind(), error.is_outage()), (SinkErrorKind::Transient, true));
    block_on(sink.write(&Batch::from(vec![bar(1)]))).unwrap();
    block_on(sink.close());
    assert_eq!(stored::<Bar>(&path), [bar(1)]);

    let settings = Settings::default().database_url(format!("sqlite://{}", path.display()));
    let error = MarketDataStore::builder(settings.dlq_path(dir.path())).kind::<OtherBar>().spawn().unwrap_err();
    assert!(matches!(error, StartError::Sqlite(SqliteOpenError::OtherShape { table: "bars", .. })), "{error}");
}

// Red when another database is opened as SQLite, its password shows, or a file of another program is changed.
#[test]
fn another_database_is_refused() {
    let error = Database::connect("mysql://me:secret@host/db").unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with("the database URL has the scheme `mysql`: expected sqlite://PATH"), "{text}");
    assert!(matches!(error, DatabaseError::UnknownScheme { .. }));

    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("other.db");
    Connection::open(&path).unwrap().execute_batch("CREATE TABLE people (name)").unwrap();
    let before = std::fs::read(&path).unwrap();
    let error = SqliteSink::open::<Tick>(&path).unwrap_err().to_string();
    assert!(error.contains("with table `people` but no table `ticks`"), "{error}");
    assert_eq!(std::fs::read(&path).unwrap(), before);
}

// Red when two kinds of one store open the file twice, one of them has no health, or the end does not close the file.
#[actix::test]
async fn kinds_of_one_store_share_its_database() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.db");
    let settings =
        Settings::default().database_url(format!("sqlite://{}", path.display())).dlq_path(dir.path().join("dlq"));
    let store = MarketDataStore::builder(settings).kind::<Bar>().kind::<Tick>().start().await.unwrap();
    store.coordinator::<Bar>().unwrap().submit(bar(1)).await.unwrap();
    store.coordinator::<Tick>().unwrap().submit(tick("ES", 1)).await.unwrap();
    let report = store.finish(support::PATIENCE).await;
    assert_eq!((report.submitted(), report.stored()), (2, 2));
    let health = store.health().await;
    assert_eq!(health.iter().map(|health| &*health.coordinator_id).collect::<Vec<_>>(), ["bars", "ticks"]);
    assert!(!path.with_extension("db-wal").exists());
    assert_eq!((stored::<Bar>(&path), stored::<Tick>(&path)), (vec![bar(1)], vec![tick("ES", 1)]));
}

// Red when `start` has another coordinator than the settings name, or a wrong name is not told with those there are.
#[actix::test]
async fn start_has_a_coordinator_for_each_kind_of_the_settings() {
    let dir = tempfile::tempdir().unwrap();
    let url = format!("sqlite://{}", dir.path().join("all.db").display());
    let settings = Settings::default().database_url(url).dlq_path(dir.path().join("dlq"));
    let error = MarketDataStore::start(settings.clone().kinds(["bars", "candles"])).await.unwrap_err().to_string();
    assert!(error.starts_with("MDS_KINDS has \"candles\", expected one or several of bars"), "{error}");
    let error = MarketDataStore::start(settings.clone().kinds(["bars", "bars"])).await.unwrap_err().to_string();
    assert!(error.contains("MDS_KINDS is \"bars,bars\", expected names of kinds such as bars, each once"), "{error}");

    let store = MarketDataStore::start(settings).await.unwrap();
    assert!(store.coordinator::<Bar>().is_ok());
    store.shutdown(support::PATIENCE).await;
}

/// What an embedder writes beside a kind: a coordinator with a database of its own.
#[test]
fn a_database_is_a_sink_like_any_other() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    let database = Database::connect(&format!("sqlite://{}", path.display())).unwrap();
    let settings = Settings::default().dlq_path(dir.path().join("dlq"));
    let ticks = Coordinator::<Tick>::new(database.clone()).id("archive");
    let store = MarketDataStore::builder(settings).coordinator(ticks).spawn().unwrap();
    block_on(async {
        store.coordinator_named::<Tick>("archive").unwrap().submit(tick("ES", 1)).await.unwrap();
        assert!(store.finish(support::PATIENCE).await.is_complete());
        database.close().await;
    });
    assert_eq!(stored::<Tick>(&path), [tick("ES", 1)]);
}

// Red when the start makes a table before it has looked at what else is wrong.
#[test]
fn a_start_that_fails_has_made_no_table() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("all.db");
    let settings =
        Settings::default().database_url(format!("sqlite://{}", path.display())).dlq_path(dir.path().join("dlq"));
    let builder = || MarketDataStore::builder(settings.clone());
    let error = builder().kind::<Bar>().kind::<Tick>().kind::<Bar>().spawn().unwrap_err();
    assert_eq!(error.to_string(), "coordinator id \"bars\" is used twice");
    let elsewhere = Database::connect(&format!("sqlite://{}", dir.path().join("else.db").display())).unwrap();
    let wrong = builder().kind::<Tick>().coordinator(Coordinator::<Bar>::new(elsewhere).id("a/b"));
    assert!(matches!(wrong.spawn().unwrap_err(), StartError::InvalidId(_)));
    // Two kinds that mean other things by one table.
    let error = builder().kind::<Tick>().kind::<Bar>().kind::<DayBar>().spawn().unwrap_err().to_string();
    assert_eq!(
        error,
        "the kinds bars and day_bars both have the table bars, with other columns, comments, time or series: expected a \
         table name of its own for each"
    );
    assert!(!path.exists());
}

/// A kind of its own in the table of bars, as it would have it.
#[derive(Debug, Serialize, Deserialize)]
struct DayBar(String);

impl Record for DayBar {
    const KIND: &'static str = "day_bars";

    fn partition_key(&self) -> &str {
        &self.0
    }
}

impl Tabular for DayBar {
    const TABLE: Table = Table::new("bars", &[Column::text("code").key().comment("what else")]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.0);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        row.get("code").map(Self)
    }
}

// Red when a dump of a file without bars, whose version and mark are lost, is taken for another program's.
#[test]
fn a_restored_dump_without_bars_takes_every_kind() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("ticks.db");
    let sink = SqliteSink::open::<Tick>(&path).unwrap();
    block_on(sink.write(&Batch::from(vec![tick("ES", 1)]))).unwrap();
    block_on(sink.close());
    Connection::open(&path).unwrap().execute_batch("PRAGMA user_version = 0; PRAGMA application_id = 0").unwrap();
    let sink = SqliteSink::open::<Bar>(&path).unwrap();
    block_on(sink.write(&Batch::from(vec![bar(1)]))).unwrap();
    block_on(sink.close());
    assert_eq!((stored::<Bar>(&path), stored::<Tick>(&path)), (vec![bar(1)], vec![tick("ES", 1)]));
}

/// A record that says whether it has a vendor, of a kind that no other test has: it is told once a process and kind.
#[derive(Debug, Serialize, Deserialize)]
struct Note {
    has_vendor: bool,
}

impl Record for Note {
    const KIND: &'static str = "notes";

    fn partition_key(&self) -> &str {
        Self::KIND
    }

    fn lacks_vendor(&self) -> bool {
        !self.has_vendor
    }
}

// Red when records without a vendor are stored without a word, each of them is told, or those that have one are.
#[test]
fn records_without_a_vendor_are_told_once() {
    let dir = tempfile::tempdir().unwrap();
    let told = std::sync::Arc::new(std::sync::Mutex::new(Vec::new()));
    let hears = std::sync::Arc::clone(&told);
    let _guard = support::on_log_here(move |line| hears.lock().unwrap().push(line));
    let store = MarketDataStore::builder(Settings::default().dlq_path(dir.path().join("dlq")))
        .coordinator(Coordinator::<Note>::new(MemorySink::new()))
        .coordinator(Coordinator::<Note>::new(MemorySink::new()).id("others"))
        .spawn()
        .unwrap();
    let lines = || told.lock().unwrap().iter().filter(|line| line.contains("vendor")).cloned().collect::<Vec<_>>();
    let [one, other] = ["notes", "others"].map(|id| store.coordinator_named::<Note>(id).unwrap());
    one.try_submit(Note { has_vendor: true }).unwrap();
    assert_eq!(lines(), [""; 0]);
    for notes in [&one, &one, &other] {
        notes.try_submit(Note { has_vendor: false }).unwrap();
    }
    assert!(
        matches!(&lines()[..], [line] if line.contains("notes") && line.contains("set their `vendor`")),
        "{:?}",
        lines()
    );
    block_on(store.finish(support::PATIENCE));
}
