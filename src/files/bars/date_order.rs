//! Which number of a date is the month, where a file shows it only behind its first rows.

use std::collections::VecDeque;

use super::{
    outcome::{Outcome, Undated},
    session_checks::SessionChecks,
};
use crate::{
    files::{
        chunk::Rejected,
        times::{Order, proposed_format},
    },
    text::Quoted,
};

/// Rows that wait until the order of day and month is known.
#[derive(Default)]
pub(super) struct Settling {
    pub(super) held: VecDeque<Outcome>,
    /// A line and its date for each order that was shown, and one that can be read both ways.
    month_first: Option<(u64, String)>,
    day_first: Option<(u64, String)>,
    open: Option<(u64, String)>,
}

impl Settling {
    /// Makes one of rows that waited already.
    pub(super) fn of(held: VecDeque<Outcome>) -> Self {
        Self { held, ..Self::default() }
    }

    /// Takes a row, and looks at what its date shows.
    pub(super) fn hold(&mut self, outcome: Outcome) {
        if let Outcome::Undated(Undated { line, either, .. }) = &outcome {
            let seen = match either.proves {
                Some(Order::MonthFirst) => &mut self.month_first,
                Some(Order::DayFirst) => &mut self.day_first,
                None => &mut self.open,
            };
            if seen.is_none() && either.differs {
                *seen = Some((*line, either.text.clone()));
            }
        }
        self.held.push_back(outcome);
    }

    /// Returns the order that the dates show, or says why they show none.
    pub(super) fn order(&self) -> Result<Order, String> {
        match (&self.month_first, &self.day_first, &self.open) {
            (Some((month, month_text)), Some((day, day_text)), _) => Err(format!(
                "expected dates in one order, got month first on line {month} ({}) and day first on line {day} ({})",
                Quoted(month_text),
                Quoted(day_text)
            )),
            (Some(_), None, _) => Ok(Order::MonthFirst),
            (None, Some(_), _) => Ok(Order::DayFirst),
            (None, None, Some((line, text))) => Err(format!(
                "expected a date that shows which number is the month, got none in the first {} rows (line {line}: {}): \
                 give --ts-format '{}' or --ts-format '{}'",
                self.held.len(),
                Quoted(text),
                proposed_format(text, Order::MonthFirst),
                proposed_format(text, Order::DayFirst),
            )),
            // Dates such as 1/1/1999 mean the same in either order.
            (None, None, None) => Ok(Order::MonthFirst),
        }
    }
}

/// Gives a bar whose date has two readings the one that is in this order.
pub(super) fn dated(outcome: Outcome, order: Order, days: &mut SessionChecks) -> Outcome {
    match outcome {
        Outcome::Undated(Undated { line, mut bar, either, is_date }) => {
            let clock = either.clock;
            match either.in_order(order) {
                Ok(ts) => {
                    bar.ts = ts;
                    days.look_at(line, bar, clock, is_date)
                }
                Err(message) => Outcome::Rejected(Rejected { line, message }),
            }
        }
        known => known,
    }
}
