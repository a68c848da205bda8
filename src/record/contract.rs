//! What a coordinator takes.

use std::hash::Hash;

use serde::{Serialize, de::DeserializeOwned};

use crate::policy::Invalid;

/// One market-data item that a coordinator can take, or an embedder's own type.
///
/// Two records with equal [`key`](Record::key)s are updates of one thing: the store keeps the later one. Records with
/// equal [`partition_key`](Record::partition_key)s are written in the order in which they were accepted; a record's
/// partition key must follow from its key, or updates of one key could overtake each other.
///
/// Its JSON is what a [dead letter](crate::dead_letter) holds, and a replay reads it back. Of a record that cannot be
/// written as JSON only the [beginning](crate::dead_letter::Unserializable) is kept, and it cannot be replayed.
///
/// These methods run outside of every lock, and may call handles. `key` is called while the circuit is open alone, to find
/// out which batch may be its probe.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names the kind, such as `bars`: the default coordinator id and the name of the store's table.
    const KIND: &'static str;

    /// Identifies what this record is an update of.
    type Key: Eq + Hash + Send;

    /// Returns the identity key.
    fn key(&self) -> Self::Key;

    /// Returns the key whose records stay in order, for market data usually the symbol.
    fn partition_key(&self) -> &str;

    /// Checks the record and brings it into its normal form. Called once for every record that is submitted, before it
    /// is accepted.
    ///
    /// # Errors
    /// Names the field that is wrong and what was expected; the record is then refused and handed back.
    fn validate(&mut self) -> Result<(), Invalid> {
        Ok(())
    }
}
