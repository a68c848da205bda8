//! The sink in memory. It is scripted and keeps every batch as it was written, so it is held to what a store that upserts
//! would have of these: the last record of each key. Nothing changes it from outside.

use std::{
    any::{Any, TypeId},
    collections::HashMap,
};

use futures::executor::block_on;
use market_data_store::{Bar, Batch, Row, Sink, SinkError, Tabular, testing::MemorySink};
use parking_lot::Mutex;

use super::{Store, contract};

#[derive(Default)]
pub struct Memory {
    /// A sink for each type of record.
    sinks: Mutex<HashMap<TypeId, Box<dyn Any>>>,
}

impl Memory {
    fn sink<T: Tabular>(&self) -> MemorySink<T> {
        let mut sinks = self.sinks.lock();
        let sink = sinks.entry(TypeId::of::<T>()).or_insert_with(|| Box::new(MemorySink::<T>::new()));
        sink.downcast_ref::<MemorySink<T>>().unwrap().clone()
    }
}

impl Store for Memory {
    fn empty() -> Self {
        Self::default()
    }

    fn write<T: Tabular>(&self, records: Vec<T>) -> Result<(), SinkError> {
        block_on(self.sink().write(&Batch::from(records)))
    }

    fn read<T: Tabular + Clone>(&self) -> Vec<T> {
        let key = |record: &T| {
            let row = Row::of(record);
            let values = T::TABLE.columns().iter().zip(row.values());
            values.filter(|(column, _)| column.is_key()).map(|(_, value)| format!("{value:?};")).collect::<String>()
        };
        self.sink::<T>().by_key(key).into_values().collect()
    }

    fn refuse(&self, symbol: &'static str) {
        self.sink::<Bar>().fail_when(move |batch| {
            batch.iter().any(|bar| bar.symbol == symbol).then(|| SinkError::permanent("a symbol that is refused"))
        });
    }

    fn while_blocked(&self, during: impl FnOnce()) {
        self.sink::<Bar>().fail_when(|_| Some(SinkError::transient("blocked").outage()));
        during();
        self.sink::<Bar>().heal();
    }
}

contract!(Memory);
