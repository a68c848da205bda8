//! The contract of every database, and of the sink in memory: one list of rules, tried against each of them.
//!
//! What is stored is read back by code of the tests, not by that of the sink.

pub mod memory;
#[cfg(all(unix, feature = "postgres"))]
pub mod postgres;
pub mod rules;
pub mod sqlite;
#[cfg(all(unix, feature = "postgres"))]
pub mod timescale;

use std::fmt::Debug;

use market_data_store::{SinkError, Tabular};

use crate::kinds::json;

/// A store under the contract. One test has one of its own, empty at first.
pub trait Store {
    /// How many records it takes at once.
    const BATCH: usize = 500;
    /// How many bytes of JSON it takes at once; of a record alone more.
    const BYTES: usize = usize::MAX;
    /// How many random records of a kind are tried at once.
    const RANDOM: usize = 100;

    fn empty() -> Self;

    /// Writes a batch, as a worker does.
    fn write<T: Tabular>(&self, records: Vec<T>) -> Result<(), SinkError>;

    /// Everything of a kind that is stored, in any order.
    fn read<T: Tabular + Clone>(&self) -> Vec<T>;

    /// Makes it refuse every bar of this symbol for good, as a rule that somebody gave a table does.
    fn refuse(&self, symbol: &'static str);

    /// Does something while the store is there and cannot take bars.
    fn while_blocked(&self, during: impl FnOnce());
}

/// A store that other programs change too.
pub trait SharedStore: Store {
    /// Runs statements as another program does.
    fn run(&self, sql: &str);

    /// Begins anew with the same database, as a process that starts again.
    fn restarted(self) -> Self;
}

/// Makes a test of each rule.
macro_rules! contract {
    ($store:ty) => {
        $crate::contract::contract!($store:
            a_batch_that_is_written_twice_is_stored_once,
            a_batch_is_stored_as_a_whole_or_not_at_all,
            the_last_update_of_a_key_wins_across_batches,
            the_last_update_of_a_key_wins_in_a_batch,
            the_same_keys_in_another_order_lose_nothing,
            extreme_values_are_stored_to_the_bit,
            new_rows_behind_new_rows_are_stored_to_the_bit,
            every_kind_is_stored_to_the_bit,
            records_of_one_s_own_are_stored_to_the_bit,
            each_part_of_a_key_tells_records_apart,
            what_can_be_tried_again_is_told_from_what_cannot,
            kinds_do_not_touch_each_other,
            a_large_batch_is_stored,
        );
    };
    ($store:ty: $($rule:ident),+ $(,)?) => {
        $(
            #[test]
            fn $rule() {
                $crate::contract::rules::$rule::<$store>();
            }
        )+
    };
}

/// Makes a test of each rule for what other programs do to a database.
macro_rules! contract_of_shared {
    ($store:ty) => {
        $crate::contract::contract!($store:
            a_column_that_is_renamed_under_way_costs_no_record,
            a_table_that_is_dropped_under_way_costs_no_record,
            what_is_stored_is_there_after_a_restart,
        );
    };
}

use {contract, contract_of_shared};

/// Fails unless exactly these are stored.
#[track_caller]
pub fn assert_stored<T: Tabular + Clone + Debug>(store: &impl Store, expected: &[T]) {
    let sorted = |records: &[T]| {
        let mut lines: Vec<String> = records.iter().map(json).collect();
        lines.sort_unstable();
        lines
    };
    let (stored, expected) = (sorted(&store.read::<T>()), sorted(expected));
    // The first that differs says more than all of them.
    for (stored, expected) in stored.iter().zip(&expected) {
        assert_eq!(stored, expected);
    }
    assert_eq!(stored.len(), expected.len());
}
