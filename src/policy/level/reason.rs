use serde::{Deserialize, Serialize};

/// How much a producer should hold back. Ordered: `Ok < Soft < Hard`.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Level {
    /// Nothing holds the level up: produce at full speed.
    #[default]
    Ok,
    /// The queue is above its low watermark and was rising: produce more slowly. A queue that wavers about its low
    /// watermark flutters between this and ok.
    Soft,
    /// The queue reached its high watermark, or records cannot be written now: stop if you can.
    Hard,
}

impl Level {
    /// Returns the level's name on the wire and in metrics: `ok`, `soft` or `hard`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::Soft => "soft",
            Self::Hard => "hard",
        }
    }

    /// Returns the level as the number used by the gauge `mds_coord_level`: 0, 1 or 2.
    pub const fn as_number(self) -> u8 {
        self as u8
    }
}

impl std::fmt::Display for Level {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

/// Why an event carries the level it carries. In JSON a name that is not known is read as [`Reason::Other`].
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
#[non_exhaustive]
pub enum Reason {
    /// The coordinator has just started: its first event, always at `ok`.
    Started,
    /// Hard, and never cleared: the coordinator shuts down and takes no more records.
    Draining,
    /// Hard: dead letters cannot be written, so a batch at fault holds up its partition.
    DeadLettersUnwritable,
    /// Hard: the store failed too often in a row and is left alone for a while.
    CircuitOpen,
    /// Work is due and is not written. Soft: some partitions settle nothing. Hard: none does.
    WriteOverdue,
    /// Hard: the queue reached its high watermark.
    QueueHigh,
    /// Soft: the queue rose above its low watermark.
    QueueRising,
    /// Ok: the queue fell to its low watermark.
    QueueRecovered,
    /// Ok: the store is back.
    CircuitClosed,
    /// Ok: what was overdue is settled.
    WritesRecovered,
    /// Ok: dead letters can be written again.
    DeadLettersWritable,
    /// Soft: a process fell silent that is to be heard from every so often, and its level is not known any more. A bus
    /// says so, no coordinator does.
    Silent,
    /// A reason that this version does not know, from a coordinator in another process: act on the level.
    #[serde(other)]
    Other,
}

impl Reason {
    /// Returns the reason's name on the wire, such as `queue_high`.
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Started => "started",
            Self::Draining => "draining",
            Self::DeadLettersUnwritable => "dead_letters_unwritable",
            Self::CircuitOpen => "circuit_open",
            Self::WriteOverdue => "write_overdue",
            Self::QueueHigh => "queue_high",
            Self::QueueRising => "queue_rising",
            Self::QueueRecovered => "queue_recovered",
            Self::CircuitClosed => "circuit_closed",
            Self::WritesRecovered => "writes_recovered",
            Self::DeadLettersWritable => "dead_letters_writable",
            Self::Silent => "silent",
            Self::Other => "other",
        }
    }

    /// Returns the level that the reason goes with; none for one that goes with several, or is not known.
    pub(crate) const fn level(self) -> Option<Level> {
        match self {
            Self::Started
            | Self::QueueRecovered
            | Self::CircuitClosed
            | Self::WritesRecovered
            | Self::DeadLettersWritable => Some(Level::Ok),
            Self::QueueRising | Self::Silent => Some(Level::Soft),
            Self::Draining | Self::DeadLettersUnwritable | Self::CircuitOpen | Self::QueueHigh => Some(Level::Hard),
            Self::WriteOverdue | Self::Other => None,
        }
    }
}

impl std::fmt::Display for Reason {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.pad(self.as_str())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red when a reader refuses an event for a reason that came into the world after it, or mistakes a known one.
    #[test]
    fn a_reason_that_is_not_known_is_read_as_other() {
        let read = |text: &str| serde_json::from_str::<Reason>(text).unwrap();
        assert_eq!(read(r#""journal_high""#), Reason::Other);
        assert_eq!(read(r#""queue_high""#), Reason::QueueHigh);
        assert_eq!(serde_json::to_string(&Reason::Other).unwrap(), r#""other""#);
        assert!(serde_json::from_str::<Reason>("7").is_err());
    }

    // Red when a `Display` ignores the width that a table's column asks for.
    #[test]
    fn names_can_be_aligned() {
        assert_eq!(format!("{:<5}|{:>16}|", Level::Ok, Reason::QueueHigh), "ok   |      queue_high|");
    }
}
