//! Why records stay outside.

/// Why a record was not accepted. The submitter has it back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[non_exhaustive]
pub enum Refusal {
    /// No credit was free, or none became free in time.
    #[error("the queue is full")]
    Full,
    /// No credit was free, or none became free in time, and the circuit is open: the store is away.
    #[error("the queue is full and the store is away")]
    CircuitOpen,
    /// The coordinator shuts down. Trying again does not help.
    #[error("the coordinator is draining and takes no more records")]
    Draining,
    /// The coordinator has come to its end, by a shutdown or because it or its queue died. Trying again does not help.
    #[error("the coordinator is closed")]
    Closed,
    /// The record itself is wrong.
    #[error(transparent)]
    Invalid(#[from] Invalid),
}

impl Refusal {
    /// Returns the refusal itself, as every error of a handle does.
    pub const fn refusal(&self) -> &Self {
        self
    }

    /// Returns the reason's name: `full`, `circuit_open`, `draining`, `closed` or `invalid`. The metric of refusals
    /// counts `circuit_open` as `full`, since a free credit is never refused for an open circuit.
    pub const fn as_str(&self) -> &'static str {
        match self {
            Self::Full => "full",
            Self::CircuitOpen => "circuit_open",
            Self::Draining => "draining",
            Self::Closed => "closed",
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
