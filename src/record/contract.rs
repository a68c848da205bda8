//! What a coordinator takes.

use serde::{Serialize, de::DeserializeOwned};

use super::json_size::json_size;
use crate::policy::{ConflationKey, Invalid};

/// One market-data item that a coordinator can take, or an embedder's own type.
///
/// Records with equal [`partition_key`](Record::partition_key)s are written in the order in which they were accepted. Two
/// records that are updates of one thing must have the same one, or the older could be written last.
///
/// Its JSON is what a [dead letter](crate::dead_letter) holds, and a replay reads it back. Of a record that cannot be
/// written as JSON only the [beginning](crate::dead_letter::Unserializable) is kept, and it cannot be replayed.
///
/// These methods run outside of every lock, and may call handles.
pub trait Record: Serialize + DeserializeOwned + Send + Sync + 'static {
    /// Names the kind, such as `bars`: in dead letters, in `MDS_KINDS`, and as the default coordinator id. A table is
    /// usually called so too, but its name is that of [`Tabular::TABLE`](crate::Tabular::TABLE).
    const KIND: &'static str;

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

    /// Whether [`Overflow::Conflate`](crate::Overflow::Conflate) may be chosen for records of this kind: whether a newer
    /// one makes an older one of the same [`conflation_key`](Record::conflation_key) worthless. A coordinator with that
    /// strategy is refused at its start where this is false.
    const CONFLATES: bool = false;

    /// Returns which records this one replaces in a queue that is full, with
    /// [`Overflow::Conflate`](crate::Overflow::Conflate). By default those of the same partition key.
    ///
    /// Records with equal keys need equal partition keys: only those of one partition are compared. Called with that
    /// strategy alone, after [`validate`](Record::validate).
    fn conflation_key(&self) -> ConflationKey {
        ConflationKey::new([self.partition_key()])
    }

    /// Returns whether its vendor is not known. Where the vendor is a part of the key, records of two vendors then replace each
    /// other.
    #[doc(hidden)]
    fn lacks_vendor(&self) -> bool {
        false
    }

    /// Returns how many bytes the record takes up, about: for a queue whose bytes are bounded. Called once for every record
    /// that is submitted to one. By default the length of its JSON, which costs as much as to write it.
    fn size(&self) -> usize {
        json_size(self)
    }
}
