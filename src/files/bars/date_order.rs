//! Which number of a date is the month, where a file shows it only behind its first rows.

use std::collections::VecDeque;

use super::outcome::{Outcome, Undated};
use crate::{
    files::times::{Order, proposed_format},
    text::Quoted,
};

/// So many rows are looked at before one date decides, since another can contradict it.
const ROWS_TO_AGREE: usize = 1_000;
/// So many rows may wait for the order of day and month.
const ROWS: usize = 100_000;

/// So many bytes of their text may wait.
const BYTES: usize = 64 << 20;

/// Rows that wait until the order of day and month is known.
#[derive(Default)]
pub(super) struct Settling {
    pub(super) held: VecDeque<Held>,
    bytes: usize,
    /// A line and its date for each order that was shown, and one that can be read both ways.
    month_first: Option<(u64, String)>,
    day_first: Option<(u64, String)>,
    open: Option<(u64, String)>,
    /// One that means the same in either order, as 1/1/1999 does.
    alike: Option<(u64, String)>,
}

/// The order of day and month where each row is read alone: what rows have shown so far, which no other may contradict.
#[derive(Default)]
pub(super) struct ShownOrder(Option<(Order, u64, String)>);

impl ShownOrder {
    /// Returns the order that a date shows by itself.
    ///
    /// # Errors
    /// It shows none, or another one than a date before.
    pub(super) fn of(&mut self, undated: &Undated) -> Result<Order, String> {
        let Undated { line, either, .. } = undated;
        let text = &either.text;
        let Some(order) = either.proves else {
            if !either.differs {
                return Ok(Order::MonthFirst);
            }
            return Err(format!(
                "line {line}: expected a date that shows by itself which number is the month, got {}: give --ts-format '{}' \
                 or --ts-format '{}'",
                Quoted(text),
                proposed_format(text, Order::MonthFirst),
                proposed_format(text, Order::DayFirst),
            ));
        };
        match &self.0 {
            Some((shown, before, other)) if *shown != order => Err(format!(
                "line {line}: expected dates in one order, got {} here and {} on line {before}",
                Quoted(text),
                Quoted(other)
            )),
            Some(_) => Ok(order),
            None => {
                self.0 = Some((order, *line, text.clone()));
                Ok(order)
            }
        }
    }
}

/// A row that waits, and all of it as it was written.
pub(super) struct Held {
    pub(super) line: u64,
    pub(super) outcome: Outcome,
    pub(super) text: Box<str>,
}

impl Settling {
    /// Makes one of rows that waited already, none of which is a bar.
    pub(super) fn of(held: VecDeque<Outcome>) -> Self {
        let held = held.into_iter().map(|outcome| Held { line: 0, outcome, text: Box::default() }).collect();
        Self { held, ..Self::default() }
    }

    /// Returns whether no more can wait.
    pub(super) fn is_full(&self) -> bool {
        let is_shown = self.month_first.is_some() || self.day_first.is_some();
        self.held.len() >= if is_shown { ROWS_TO_AGREE } else { ROWS } || self.bytes >= BYTES
    }

    /// Takes a row, and looks at what its date shows.
    pub(super) fn hold(&mut self, line: u64, outcome: Outcome, text: &str) {
        if let Outcome::Undated(Undated { line, either, .. }) = &outcome {
            let seen = match either.proves {
                Some(Order::MonthFirst) => &mut self.month_first,
                Some(Order::DayFirst) => &mut self.day_first,
                None if either.differs => &mut self.open,
                None => &mut self.alike,
            };
            if seen.is_none() {
                *seen = Some((*line, either.text.clone()));
            }
        }
        self.bytes += text.len();
        self.held.push_back(Held { line, outcome, text: text.into() });
    }

    /// Returns the order that the dates show, or says why they show none; at the end of the file no more can.
    pub(super) fn order(&self, is_end: bool) -> Result<Order, String> {
        // Later rows may differ of a file that has shown only such dates.
        let open = self.open.as_ref().or(self.alike.as_ref().filter(|_| !is_end));
        match (&self.month_first, &self.day_first, open) {
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
            // Both readings agree on every row.
            (None, None, None) => Ok(Order::MonthFirst),
        }
    }
}
