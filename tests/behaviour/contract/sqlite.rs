//! A SQLite file.

use std::path::PathBuf;

use futures::executor::block_on;
use market_data_store::{
    Batch, ColumnType, Database, Date, Sink, SinkError, StoredRow, Tabular, Timestamp, TimestampNanos, Value,
};
use rusqlite::{Connection, Row};

use super::{SharedStore, Store, contract, contract_of_shared};

pub struct Sqlite {
    database: Database,
    dir: tempfile::TempDir,
}

impl Sqlite {
    fn path(&self) -> PathBuf {
        self.dir.path().join("market_data.db")
    }

    fn open(dir: tempfile::TempDir) -> Self {
        let url = format!("sqlite://{}", dir.path().join("market_data.db").display());
        Self { database: Database::connect(&url).unwrap(), dir }
    }
}

impl Store for Sqlite {
    fn empty() -> Self {
        Self::open(tempfile::tempdir().unwrap())
    }

    fn write<T: Tabular>(&self, records: Vec<T>) -> Result<(), SinkError> {
        block_on(self.database.write(&Batch::from(records)))
    }

    fn read<T: Tabular + Clone>(&self) -> Vec<T> {
        let connection = Connection::open(self.path()).unwrap();
        let mut statement = connection.prepare(&format!("SELECT * FROM {}", T::TABLE.name())).unwrap();
        let records = statement.query_map([], |row| Ok(record(row))).unwrap();
        records.map(Result::unwrap).collect()
    }

    fn refuse(&self, symbol: &'static str) {
        self.run(&format!(
            "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.symbol = '{symbol}'
             BEGIN SELECT RAISE(ABORT, 'a symbol that is refused'); END"
        ));
    }

    fn while_blocked(&self, during: impl FnOnce()) {
        let connection = Connection::open(self.path()).unwrap();
        connection.execute_batch("BEGIN IMMEDIATE").unwrap();
        during();
        connection.execute_batch("ROLLBACK").unwrap();
    }
}

impl SharedStore for Sqlite {
    fn run(&self, sql: &str) {
        let connection = Connection::open(self.path()).unwrap();
        // SQLite changes no column that a view reads.
        connection.execute_batch("DROP VIEW IF EXISTS bars_readable").unwrap();
        connection.execute_batch(sql).unwrap();
    }

    fn restarted(self) -> Self {
        block_on(self.database.close());
        Self::open(self.dir)
    }
}

/// Makes a record of a row as the documentation says that its columns are.
fn record<T: Tabular>(row: &Row<'_>) -> T {
    let value = |column: &market_data_store::Column| {
        let name = column.name();
        let value = match column.column_type() {
            ColumnType::Text | ColumnType::List => row.get::<_, Option<String>>(name)?.map(Value::from),
            ColumnType::Timestamp => row.get::<_, Option<i64>>(name)?.map(|ts| Timestamp::from_micros(ts).into()),
            ColumnType::TimestampNanos => {
                let nanos: Option<i64> = row.get(&*format!("{name}_ns"))?;
                assert_eq!(row.get::<_, Option<i64>>(name)?, nanos.map(|nanos| nanos.div_euclid(1_000)));
                nanos.map(|nanos| TimestampNanos::from_nanos(nanos).into())
            }
            ColumnType::Float => row.get::<_, Option<f64>>(name)?.map(Value::from),
            ColumnType::Integer => row.get::<_, Option<i64>>(name)?.map(Value::from),
            ColumnType::Date => row.get::<_, Option<String>>(name)?.map(|date| date.parse::<Date>().unwrap().into()),
            other => panic!("{name}: {other:?}"),
        };
        Ok::<_, rusqlite::Error>(value.unwrap_or(Value::Null))
    };
    let values: Vec<Value<'_>> = T::TABLE.columns().iter().map(|column| value(column).unwrap()).collect();
    T::from_row(&StoredRow::new(&T::TABLE, &values)).unwrap()
}

contract!(Sqlite);
contract_of_shared!(Sqlite);
