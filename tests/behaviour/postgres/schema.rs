//! The tables in PostgreSQL: who makes them, which are taken, and where they are.

use std::{path::Path, process::Stdio};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Column, Database, DatabaseError, Invalid, MarketDataStore, Quote, Record, Row, Settings, Sink,
    SinkError, StartError, StoredRow, Table, Tabular, Timestamp, TimestampNanos, settings::PostgresMigrate,
    sink::PostgresError,
};
use serde::{Deserialize, Serialize};

use super::server::{Server, TestDatabase};
use crate::{
    dlq_command::bar,
    mds::{SP500, ingest, mds, stderr, stdout},
};

/// A type of an embedder's, with one column or two beside its key, and a table of the same name.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
struct Rate<const COLUMNS: usize>(String, f64);

const KEY: Column = Column::text("symbol").key();
const FIRST: Column = Column::float("rate");
const SECOND: Column = Column::timestamp_nanos("paid").optional().comment("it's the time");

impl<const COLUMNS: usize> Record for Rate<COLUMNS> {
    const KIND: &'static str = "rates";

    fn partition_key(&self) -> &str {
        &self.0
    }
}

impl<const COLUMNS: usize> Tabular for Rate<COLUMNS> {
    const TABLE: Table = Table::new(Self::KIND, if COLUMNS == 1 { &[KEY, FIRST] } else { &[KEY, FIRST, SECOND] });

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.0).push(self.1);
        if COLUMNS > 1 {
            row.push(TimestampNanos::from_nanos(1_500));
        }
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self(row.get("symbol")?, row.get("rate")?))
    }
}

fn rate<const COLUMNS: usize>(rate: f64) -> Batch<Rate<COLUMNS>> {
    Batch::from(vec![Rate("ES".to_owned(), rate)])
}

fn settings(place: &TestDatabase) -> Settings {
    Settings::default().database_url(place.url())
}

fn prepared<T: Tabular>(settings: &Settings) -> Result<(), PostgresError> {
    let database = Database::of_settings(settings).unwrap();
    let prepared = database.prepare::<T>();
    block_on(database.close());
    prepared.map_err(|error| match error {
        DatabaseError::Postgres(error) => error,
        other => panic!("{other}"),
    })
}

fn write<T: Tabular>(settings: &Settings, batch: Batch<T>) -> Result<(), SinkError> {
    let database = Database::of_settings(settings).unwrap();
    let written = block_on(database.write(&batch));
    block_on(database.close());
    written
}

// Red when a table of somebody else's is written to, altered, or no reason to stop.
#[test]
fn a_table_of_another_program_is_refused_and_left_alone() {
    let place = Server::shared().database();
    place.run("CREATE TABLE bars (vendor text, symbol text)");
    let error = prepared::<Bar>(&settings(&place)).unwrap_err();
    assert!(matches!(&error, PostgresError::ForeignTable { table, .. } if table == "public.bars"), "{error}");
    let columns = "SELECT count(*) FROM information_schema.columns WHERE table_name = 'bars'";
    assert_eq!(place.number(columns), 2);

    let dir = tempfile::tempdir().unwrap();
    let settings = settings(&place).dlq_path(dir.path().join("dead_letters"));
    let error = MarketDataStore::builder(settings).kind::<Bar>().spawn().unwrap_err();
    assert!(matches!(error, StartError::Postgres(PostgresError::ForeignTable { .. })), "{error}");
    let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", "--database", &place.url(), SP500]);
    let output = command.output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("--database: postgres://"), "{}", stderr(&output));

    // In the right shape it is another's all the same; one that a newer program made is not touched either.
    place.run("DROP TABLE bars");
    prepared::<Bar>(&self::settings(&place)).unwrap();
    for (comment, is_newer) in [("NULL", false), ("'market-data-store 2: bars'", true)] {
        place.run(&format!("COMMENT ON TABLE bars IS {comment}"));
        let error = prepared::<Bar>(&self::settings(&place)).unwrap_err();
        assert_eq!(matches!(error, PostgresError::NewerSchema { .. }), is_newer, "{error}");
        assert_eq!(matches!(error, PostgresError::ForeignTable { .. }), !is_newer, "{error}");
    }
}

// Red when a name that a table needs and something else has is waited for, which does not end by itself, or is not told.
#[test]
fn a_name_that_is_taken_is_told_at_the_start() {
    let place = Server::shared().database();
    for (takes, name) in [
        ("CREATE TABLE other (symbol text); CREATE INDEX bars_by_symbol ON other (symbol)", "bars_by_symbol"),
        ("DROP TABLE other; CREATE DOMAIN bars AS text", "bars"),
    ] {
        place.run(takes);
        match prepared::<Bar>(&settings(&place)).unwrap_err() {
            PostgresError::NameTaken { problem, .. } => assert!(problem.contains(&format!("\"{name}\"")), "{problem}"),
            other => panic!("{other}"),
        }
    }
    place.run("DROP DOMAIN bars");
    prepared::<Bar>(&settings(&place)).unwrap();
}

// Red when a column that a type has got is not added, or what was stored before is lost by it; when any other change
// passes; or when somebody else's column does.
#[test]
fn a_type_that_has_got_an_optional_column_gets_it_in_its_table() {
    let place = Server::shared().database();
    let settings = settings(&place);
    write(&settings, rate::<1>(1.0)).unwrap();
    // Red when a change waits for a reader as long as a statement may take, and all readers behind it too.
    let mut reader = place.admin();
    reader.batch_execute("BEGIN; SELECT FROM rates").unwrap();
    let error = write(&settings, rate::<2>(2.0)).unwrap_err();
    assert!(error.is_outage() && format!("{error:#}").contains("55P03"), "{error:#}");
    reader.batch_execute("COMMIT").unwrap();
    write(&settings, rate::<2>(2.0)).unwrap();
    assert_eq!(place.number("SELECT count(*) FROM rates WHERE rate = 2 AND paid_ns = 1500"), 1);
    let paid = "SELECT (extract(epoch FROM paid) * 1000000)::bigint FROM rates";
    assert_eq!(place.number(paid), 1, "rounded down");
    let comment = "SELECT count(*) FROM pg_description WHERE description = 'it''s the time'";
    assert_eq!(place.number(comment), 1);
    // The columns of a time are tied together.
    let mut client = place.admin();
    assert!(client.batch_execute("UPDATE rates SET paid_ns = 99999").is_err());
    assert!(client.batch_execute("UPDATE rates SET paid_ns = NULL").is_err());

    let error = prepared::<Rate<1>>(&settings).unwrap_err().to_string();
    assert!(
        error.ends_with("the table public.rates has the column paid: expected no others than symbol, rate"),
        "{error}"
    );
    place.run("ALTER TABLE rates ALTER rate TYPE real");
    let error = prepared::<Rate<2>>(&settings).unwrap_err().to_string();
    assert!(error.ends_with("has the column rate real: expected rate double precision"), "{error}");
}

// Red when a batch of a parted table is asked how many of its rows are new, which such a table does not tell: then none of
// it is ever stored.
#[test]
fn a_table_that_its_owner_has_parted_is_written() {
    let place = Server::shared().database();
    let settings = settings(&place);
    prepared::<Bar>(&settings).unwrap();
    place.run(
        "SET ROLE mds; ALTER TABLE bars RENAME TO part; CREATE TABLE bars (LIKE part INCLUDING ALL) PARTITION BY RANGE (ts);
         ALTER TABLE bars ATTACH PARTITION part DEFAULT; COMMENT ON TABLE bars IS 'market-data-store 1: bars'",
    );
    let bars = |close| Batch::from((0..100).map(|n| Bar { close, ..bar("ES", n) }).collect::<Vec<_>>());
    for close in [1.0, 1.0, 2.0] {
        write(&settings, bars(close)).unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM bars WHERE close = 2"), 100);
}

// Red when `never` makes something all the same, or the error lacks what would.
#[test]
fn without_migration_the_sql_that_is_missing_is_told() {
    let place = Server::shared().database();
    let mut settings = settings(&place);
    settings.postgres.migrate = PostgresMigrate::Never;
    let missing = || match prepared::<Quote>(&settings).unwrap_err() {
        PostgresError::NotMigrated { sql, reason, .. } => {
            assert_eq!(reason, "MDS_PG_MIGRATE is never");
            sql
        }
        other => panic!("{other}"),
    };
    let sql = missing();
    assert_eq!(place.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
    // As the role itself, for it has to be the owner in this test.
    place.run(&format!("SET ROLE mds; {sql}"));
    prepared::<Quote>(&settings).unwrap();
    place.run("ALTER TABLE quotes DROP COLUMN bid");
    let sql = missing();
    assert!(sql.starts_with("ALTER TABLE \"public\".quotes ADD COLUMN bid double precision; COMMENT ON"), "{sql}");
    place.run(&sql);
    prepared::<Quote>(&settings).unwrap();
}

// Red when a role without rights is told something else than what somebody has to run for it.
#[test]
fn a_role_without_rights_is_told_what_to_run() {
    let place = Server::shared().database();
    let role = format!("weak_{}", place.name());
    place.run(&format!("CREATE ROLE {role} LOGIN; REVOKE CREATE ON SCHEMA public FROM public"));
    let settings = Settings::default().database_url(place.url().replace("mds@", &format!("{role}@")));
    for _ in ["to make the table", "to write to it"] {
        match prepared::<Bar>(&settings).unwrap_err() {
            PostgresError::NotMigrated { sql, .. } => place.run(&sql),
            other => panic!("{other}"),
        }
    }
    write(&settings, Batch::from(vec![bar("ES", 1)])).unwrap();
    place.run(&format!("DROP OWNED BY {role}; DROP ROLE {role}"));
}

// Red when `mds schema` leaves out what a store needs, or prints for one database what another takes.
#[test]
fn what_mds_schema_prints_makes_the_tables() {
    let place = Server::shared().database();
    let dir = tempfile::tempdir().unwrap();
    let schema = |args: &[&str], name: &str| {
        let mut command = mds(dir.path());
        command.arg("schema").args(args).env("MDS_PG_SCHEMA", name).stderr(Stdio::inherit());
        let output = command.output().unwrap();
        assert_eq!(output.status.code(), Some(0));
        stdout(&output)
    };
    for name in ["", "of \"mine"] {
        place.run(&format!("SET ROLE mds; {}", schema(&["--database", &place.url()], name)));
        let mut settings = settings(&place);
        settings.postgres.migrate = PostgresMigrate::Never;
        settings.postgres.schema = name.to_owned();
        prepared::<Bar>(&settings).unwrap();
        prepared::<Quote>(&settings).unwrap();
        write(&settings, Batch::from(vec![bar("ES", 1)])).unwrap();
    }
    assert_eq!(place.number("SELECT count(*) FROM bars"), 1);
    assert_eq!(place.number("SELECT count(*) FROM \"of \"\"mine\".bars"), 1);

    let file = dir.path().join("made.db");
    let sql = schema(&["--kind", "bars", "--kind", "news"], "");
    rusqlite::Connection::open(&file).unwrap().execute_batch(&sql).unwrap();
    let url = format!("sqlite://{}", file.display());
    write(&Settings::default().database_url(url), Batch::from(vec![bar("ES", 1)])).unwrap();
    let tables =
        "SELECT group_concat(name, ' ') FROM (SELECT name FROM sqlite_schema WHERE type = 'table' ORDER BY name)";
    let tables: String = rusqlite::Connection::open(&file).unwrap().query_row(tables, [], |row| row.get(0)).unwrap();
    assert_eq!(tables, "bars news");

    let output = mds(dir.path()).args(["schema", "--kind", "candles"]).output().unwrap();
    assert_eq!(output.status.code(), Some(2));
    assert!(stderr(&output).starts_with("error: invalid value 'candles' for '--kind <K>'"), "{}", stderr(&output));
}

// Red when tables land in another schema than the one that was named, or one that is not there is no error of the start.
#[test]
fn tables_are_in_the_schema_that_is_named() {
    let place = Server::shared().database();
    let mut settings = settings(&place);
    settings.postgres.schema = "feeds".to_owned();
    write(&settings, Batch::from(vec![bar("ES", 1)])).unwrap();
    assert_eq!(place.number("SELECT count(*) FROM feeds.bars"), 1);
    assert_eq!(place.number("SELECT count(*) FROM pg_tables WHERE schemaname = 'public'"), 0);
    // Of the role, as `search_path` is often set.
    place.run(&format!("ALTER DATABASE {} SET search_path = nowhere", place.name()));
    settings.postgres.schema.clear();
    let error = prepared::<Bar>(&settings).unwrap_err();
    assert!(matches!(error, PostgresError::NoSchema { .. }), "{error}");
}

// Red when times at the ends of what a type holds are rounded or refused: the CHECK has to be exact for each of them.
#[test]
fn every_time_in_nanoseconds_fits_its_check() {
    let place = Server::shared().database();
    let quotes: Vec<Quote> =
        [i64::MIN, i64::MIN + 1, -1_001, -1_000, -1, 0, 1, 999, 9_007_199_254_740_993_001, i64::MAX]
            .into_iter()
            .map(|nanos| Quote::new("ES", TimestampNanos::from_nanos(nanos)))
            .collect();
    write(&settings(&place), Batch::from(quotes.clone())).unwrap();
    for quote in quotes {
        let micros = Timestamp::as_micros(quote.ts.floor());
        let found = format!(
            "SELECT count(*) FROM quotes WHERE ts_ns = {} AND extract(epoch FROM ts) * 1000000 = {micros}",
            quote.ts.as_nanos()
        );
        assert_eq!(place.number(&found), 1, "{}", quote.ts.as_nanos());
    }
}

// Red when a build without the feature takes the URL for something else. With it, a URL that is wrong is told at once.
#[test]
fn a_wrong_url_is_a_fault_of_the_configuration() {
    let dir = tempfile::tempdir().unwrap();
    for (args, variable, code) in [(&["--database"][..], "", 2), (&[], "MDS_DATABASE_URL", 78)] {
        let url = "postgres://ann:pa55@db/bars?pool=3";
        let mut command = ingest(Path::new(dir.path()), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
        args.iter().for_each(|option| _ = command.args([option, url]));
        if !variable.is_empty() {
            command.env(variable, url);
        }
        let output = command.output().unwrap();
        let text = stderr(&output);
        assert_eq!(output.status.code(), Some(code), "{text}");
        assert!(text.contains("has the option \"pool\", which is not known") && !text.contains("pa55"), "{text}");
    }
}
