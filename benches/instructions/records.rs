//! A bar that is submitted is checked first.

use market_data_store::Record;

use crate::{data::bars, mark};

const RECORDS: usize = 10_000;

/// One whose names are as they are to be.
pub fn validate() -> usize {
    let mut bars = bars(0..RECORDS);
    mark();
    for bar in &mut bars {
        bar.validate().unwrap();
    }
    mark();
    RECORDS
}
