//! A database of PostgreSQL with the extension TimescaleDB.
//!
//! The engine of the tests takes one connection at a time and small messages, and COPY ends it. So each write has a
//! connection of its own.

use market_data_store::{Batch, Database, Sink, SinkError, Tabular};

use super::{
    SharedStore, Store, contract, contract_of_shared,
    postgres::{read, refusal},
};
use crate::postgres::timescale::Timescale;

impl Store for Timescale {
    const BATCH: usize = 200;
    const BYTES: usize = 15_000;
    const RANDOM: usize = 15;

    fn empty() -> Self {
        Self::take()
    }

    fn write<T: Tabular>(&self, records: Vec<T>) -> Result<(), SinkError> {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let database = Database::connect(&self.url()).unwrap();
            let written = database.write(&Batch::from(records)).await;
            database.close().await;
            written
        })
    }

    fn read<T: Tabular + Clone>(&self) -> Vec<T> {
        read(&mut self.client())
    }

    fn refuse(&self, symbol: &'static str) {
        self.run(&refusal(symbol));
    }

    fn while_blocked(&self, during: impl FnOnce()) {
        // With one session there is none that could hold a lock.
        self.run("SET default_transaction_read_only = on");
        during();
        self.run("SET default_transaction_read_only = off");
    }
}

impl SharedStore for Timescale {
    fn run(&self, sql: &str) {
        self.client().batch_execute(sql).unwrap_or_else(|error| panic!("{sql}: {error:?}"));
    }

    fn restarted(self) -> Self {
        self
    }
}

contract!(Timescale);
contract_of_shared!(Timescale);
