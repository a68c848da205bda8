use serde::{Deserialize, Serialize};

use crate::record::{Column, Invalid, Record, Row, StoredRow, Table, Tabular, Timestamp};

#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct FundingRate {
    pub symbol: String,
    pub ts: Timestamp,
    pub rate: f64,
}

impl Record for FundingRate {
    const KIND: &'static str = "funding_rates";

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

impl Tabular for FundingRate {
    const TABLE: Table =
        Table::new(Self::KIND, &[Column::text("symbol").key(), Column::timestamp("ts").key(), Column::float("rate")])
            .time("ts")
            .series(&["symbol"]);

    fn row<'a>(&'a self, row: &mut Row<'a>) {
        row.push(&self.symbol).push(self.ts).push(self.rate);
    }

    fn from_row(row: &StoredRow<'_>) -> Result<Self, Invalid> {
        Ok(Self { symbol: row.get("symbol")?, ts: row.get("ts")?, rate: row.get("rate")? })
    }
}
