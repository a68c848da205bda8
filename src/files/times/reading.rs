//! What a time says, as far as it is known.

use jiff::civil::Time;

use crate::record::Timestamp;

/// Which number of a date such as 1/4/1999 comes first.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Order {
    MonthFirst,
    DayFirst,
}

/// What a time cell says.
#[derive(Debug, PartialEq)]
pub(crate) enum Reading {
    /// With the time of day as it was written; none for an epoch, unless it had to be given a date.
    Known(Timestamp, Option<Time>),
    /// Not known before the file has shown which number is the month.
    Either(Box<Either>),
}

impl Reading {
    /// Returns the time with the month first and with the day first, which are the same where the order is known.
    pub(crate) fn moments(&self) -> [Option<Timestamp>; 2] {
        match self {
            Self::Known(ts, _) => [Some(*ts), Some(*ts)],
            Self::Either(either) => [&either.month_first, &either.day_first].map(|ts| ts.as_ref().ok().copied()),
        }
    }

    pub(super) fn clock(&self) -> Option<Time> {
        match self {
            Self::Known(_, clock) => *clock,
            Self::Either(either) => either.clock,
        }
    }
}

/// Both readings of a date whose order is not known.
#[derive(Debug, PartialEq)]
pub(crate) struct Either {
    pub(crate) month_first: Result<Timestamp, String>,
    pub(crate) day_first: Result<Timestamp, String>,
    /// The order, if this date has only one: 1/13/1999.
    pub(crate) proves: Option<Order>,
    /// Whether the orders make a difference: in 1/1/1999 they make none.
    pub(crate) differs: bool,
    /// The time of day beside the date, which no order changes.
    pub(crate) clock: Option<Time>,
    /// The cell as it was written.
    pub(crate) text: String,
}

impl Either {
    pub(crate) fn in_order(self, order: Order) -> Result<Timestamp, String> {
        match order {
            Order::MonthFirst => self.month_first,
            Order::DayFirst => self.day_first,
        }
    }
}
