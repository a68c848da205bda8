//! A database of PostgreSQL.

use market_data_store::{
    Batch, Column, ColumnType, Database, Date, Sink, SinkError, StoredRow, Tabular, Timestamp, TimestampNanos, Value,
};
use postgres::{Client, Row};
use tokio::runtime::Runtime;

use super::{SharedStore, Store, contract, contract_of_shared};
use crate::postgres::server::{Server, TestDatabase};

pub struct Postgres {
    database: Database,
    /// Where the worker's arbiter would be.
    runtime: Runtime,
    place: TestDatabase,
}

impl Postgres {
    fn open(place: TestDatabase) -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        Self { database: Database::connect(&place.url()).unwrap(), runtime, place }
    }
}

impl Store for Postgres {
    fn empty() -> Self {
        Self::open(Server::shared().database())
    }

    fn write<T: Tabular>(&self, records: Vec<T>) -> Result<(), SinkError> {
        self.runtime.block_on(self.database.write(&Batch::from(records)))
    }

    fn read<T: Tabular + Clone>(&self) -> Vec<T> {
        read(&mut self.place.admin())
    }

    fn refuse(&self, symbol: &'static str) {
        self.run(&refusal(symbol));
    }

    fn while_blocked(&self, during: impl FnOnce()) {
        // As a standby is, for the connections to come. A lock would be waited for.
        self.place.run(&format!("ALTER DATABASE {} SET default_transaction_read_only = on", self.place.name()));
        assert!(self.place.end_backends() > 0);
        during();
        self.place.run(&format!("ALTER DATABASE {} RESET default_transaction_read_only", self.place.name()));
    }
}

impl SharedStore for Postgres {
    fn run(&self, sql: &str) {
        self.place.run(sql);
    }

    fn restarted(self) -> Self {
        self.runtime.block_on(self.database.close());
        Self::open(self.place)
    }
}

/// A rule that somebody gave the table of bars.
pub fn refusal(symbol: &str) -> String {
    format!("ALTER TABLE bars ADD CONSTRAINT no_such_symbol CHECK (symbol <> '{symbol}')")
}

/// Reads a table as the documentation says that its columns are.
pub fn read<T: Tabular>(client: &mut Client) -> Vec<T> {
    let columns: Vec<String> = T::TABLE.columns().iter().map(shown).collect();
    let sql = format!("SELECT {} FROM {}", columns.join(", "), T::TABLE.name());
    let rows = client.query(&sql, &[]).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    rows.iter().map(record).collect()
}

/// What a query has for a column: of a time in nanoseconds whether its microseconds are the same, too.
fn shown(column: &Column) -> String {
    let name = column.name();
    match column.column_type() {
        ColumnType::Timestamp => format!("(extract(epoch FROM {name}) * 1000000)::bigint"),
        ColumnType::TimestampNanos => format!(
            "{name}_ns, (extract(epoch FROM {name}) * 1000000)::bigint = floor({name}_ns::numeric / 1000)::bigint"
        ),
        ColumnType::Date => format!("{name}::text"),
        _ => name.to_owned(),
    }
}

fn record<T: Tabular>(row: &Row) -> T {
    let mut at = 0;
    let mut values = Vec::new();
    for column in T::TABLE.columns() {
        let value = match column.column_type() {
            ColumnType::Text | ColumnType::List => row.get::<_, Option<String>>(at).map(Value::from),
            ColumnType::Timestamp => row.get::<_, Option<i64>>(at).map(|ts| Timestamp::from_micros(ts).into()),
            ColumnType::TimestampNanos => {
                let nanos: Option<i64> = row.get(at);
                at += 1;
                assert_eq!(row.get::<_, Option<bool>>(at), nanos.map(|_| true), "{} and {nanos:?}", column.name());
                nanos.map(|nanos| TimestampNanos::from_nanos(nanos).into())
            }
            ColumnType::Float => row.get::<_, Option<f64>>(at).map(Value::from),
            ColumnType::Integer => row.get::<_, Option<i64>>(at).map(Value::from),
            ColumnType::Date => row.get::<_, Option<String>>(at).map(|date| date.parse::<Date>().unwrap().into()),
            other => panic!("{}: {other:?}", column.name()),
        };
        values.push(value.unwrap_or(Value::Null));
        at += 1;
    }
    T::from_row(&StoredRow::new(&T::TABLE, &values)).unwrap()
}

contract!(Postgres);
contract_of_shared!(Postgres);
