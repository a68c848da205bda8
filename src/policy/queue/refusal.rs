//! Why records stay outside.

/// Why a record was not accepted. The submitter has it back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credit was free, or none became free in time.
    #[error("the queue is full")]
    Full,
    /// The records of this partition key and of those that hash alike hold all places that the shares of the others
    /// leave, as where the store hangs for one of them. Records of other keys may be accepted.
    #[error("the queue has no room left for records of {partition_key:?}")]
    PartitionFull {
        /// The partition key of the record that was refused.
        partition_key: String,
    },
    /// No credit was free, or none became free in time, and the circuit is open: the store is away.
    #[error("the queue is full and the store is away")]
    CircuitOpen,
    /// The coordinator shuts down. Trying again does not help.
    #[error("the coordinator is draining and takes no more records")]
    Draining,
    /// The coordinator has come to its end, by a shutdown or because it or its queue died. Trying again does not help.
    #[error("the coordinator is closed")]
    Closed,
    /// A permit is for records of another partition.
    #[error("the permit is for records of the partition of {partition_key:?}, and {record_key:?} is of another")]
    OtherPartition {
        /// The partition key that the permit was reserved for.
        partition_key: String,
        /// The partition key of the record, as validation left it.
        record_key: String,
    },
    /// The record has more bytes than the queue ever has room for.
    #[error("the record has {bytes} bytes, expected at most {most}, the most that one partition may have of all bytes")]
    TooLarge {
        /// Its bytes.
        bytes: usize,
        /// The most that the records of one partition may have.
        most: usize,
    },
    /// The record itself is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Refusal {
    /// Returns the refusal itself, as every error of a handle does.
    pub const fn refusal(&self) -> &Self {
        self
    }

    /// Fills in the partition key of the record that was refused, where it is part of the reason.
    pub(crate) fn of_key(self, key: &str) -> Self {
        match self {
            Self::PartitionFull { .. } => Self::PartitionFull { partition_key: key.to_owned() },
            other => other,
        }
    }

    /// Returns the reason's name: `full`, `partition_full`, `circuit_open`, `draining`, `closed`, `other_partition`,
    /// `too_large` or `invalid`. The metric of refusals counts `partition_full` and `circuit_open` as `full`, since a
    /// free credit is never refused for an open circuit, and `other_partition` and `too_large` as `invalid`.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::PartitionFull { .. } => "partition_full",
            Self::CircuitOpen => "circuit_open",
            Self::Draining => "draining",
            Self::Closed => "closed",
            Self::OtherPartition { .. } => "other_partition",
            Self::TooLarge { .. } => "too_large",
            Self::Invalid(_) => "invalid",
        }
    }
}

/// Says which field of a record is wrong and what was expected.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {message}")]
pub struct Invalid {
    /// The field as it is named in JSON.
    pub field: &'static str,
    /// What is wrong with the value and what was expected.
    pub message: String,
}

impl Invalid {
    /// Makes an error for `field` with a message such as ``expected a finite number, got NaN``.
    pub fn new(field: &'static str, message: impl Into<String>) -> Self {
        Self { field, message: message.into() }
    }
}
