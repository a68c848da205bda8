//! Exact hysteresis between two marks.

use super::reason::Level;

/// The two marks of a queue, in records: `low < high <= capacity`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Watermarks {
    low: usize,
    high: usize,
}

/// Marks that are out of order.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("low watermark {low} and high watermark {high} with capacity {capacity}: expected low < high <= capacity")]
pub struct WatermarkError {
    /// The low mark as it was given.
    pub low: usize,
    /// The high mark as it was given.
    pub high: usize,
    /// The capacity of the queue.
    pub capacity: usize,
}

impl Watermarks {
    /// Checks two marks against a capacity.
    ///
    /// # Errors
    /// Unless `low < high <= capacity`.
    pub const fn new(low: usize, high: usize, capacity: usize) -> Result<Self, WatermarkError> {
        if low < high && high <= capacity {
            Ok(Self { low, high })
        } else {
            Err(WatermarkError { low, high, capacity })
        }
    }

    /// Returns the marks of a queue for which none were set: high at 80 % of the capacity, low at 50 %, rounded down.
    /// Queues of one or two records, where these would meet, get a high mark of 1 and a low one of 0.
    ///
    /// # Panics
    /// If the capacity is 0.
    pub const fn for_capacity(capacity: usize) -> Self {
        assert!(capacity > 0, "a queue holds at least one record");
        let high = (capacity as u128 * 80 / 100) as usize;
        let low = capacity / 2;
        let high = if high == 0 { 1 } else { high };
        let low = if low >= high { high - 1 } else { low };
        Self { low, high }
    }

    /// Returns the low mark: at or below it the level goes back to [`Level::Ok`].
    pub const fn low(self) -> usize {
        self.low
    }

    /// Returns the high mark: at or above it the level is [`Level::Hard`].
    pub const fn high(self) -> usize {
        self.high
    }
}

/// Turns a series of queue sizes into level changes.
///
/// From `Ok` a size above the low mark means `Soft`, and one at the high mark or above `Hard`; from `Soft` only the
/// high mark and the low mark matter; from `Hard` only the low mark. So a size that swings between the marks makes no
/// noise, and a jump over the middle makes one change.
#[derive(Clone, Debug)]
pub struct Watermark {
    marks: Watermarks,
    level: Level,
}

impl Watermark {
    /// Starts at [`Level::Ok`].
    pub const fn new(marks: Watermarks) -> Self {
        Self { marks, level: Level::Ok }
    }

    /// Returns the level after the last observation.
    pub const fn level(&self) -> Level {
        self.level
    }

    /// Returns the marks.
    #[cfg(test)]
    pub const fn marks(&self) -> Watermarks {
        self.marks
    }

    /// Takes in a queue size and returns the new level if it differs from the one before. While more is waiting to come
    /// in the level does not fall to ok.
    #[inline]
    pub fn observe(&mut self, size: usize, is_wanted: impl FnOnce() -> bool) -> Option<Level> {
        let next = if size >= self.marks.high {
            Level::Hard
        } else if size <= self.marks.low && (self.level == Level::Ok || !is_wanted()) {
            Level::Ok
        } else if size <= self.marks.low {
            self.level
        } else {
            // In the middle: a rise from `Ok` is worth a warning, a fall from `Hard` is not over yet.
            self.level.max(Level::Soft)
        };
        let changed = next != self.level;
        self.level = next;
        changed.then_some(next)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn every_transition_of_the_table() {
        use Level::{Hard, Ok, Soft};
        let marks = Watermarks::new(50, 80, 100).unwrap();
        // (level before, size, level after)
        let table = [
            (Ok, 0, Ok),
            (Ok, 50, Ok),
            (Ok, 51, Soft),
            (Ok, 79, Soft),
            (Ok, 80, Hard),
            (Ok, 100, Hard),
            (Soft, 100, Hard),
            (Soft, 80, Hard),
            (Soft, 79, Soft),
            (Soft, 51, Soft),
            (Soft, 50, Ok),
            (Soft, 0, Ok),
            (Hard, 100, Hard),
            (Hard, 80, Hard),
            (Hard, 79, Hard),
            (Hard, 51, Hard),
            (Hard, 50, Ok),
            (Hard, 0, Ok),
        ];
        for (before, size, after) in table {
            let mut watermark = Watermark { marks, level: before };
            assert_eq!(watermark.observe(size, || false), (before != after).then_some(after), "{before} at {size}");
            assert_eq!(watermark.level(), after, "{before} at {size}");
        }
    }

    #[test]
    fn marks_out_of_order_are_refused_with_all_three_values() {
        for (low, high, capacity) in [(50, 50, 100), (60, 50, 100), (50, 101, 100), (0, 0, 1)] {
            let error = Watermarks::new(low, high, capacity).unwrap_err();
            assert_eq!(error, WatermarkError { low, high, capacity });
        }
        assert_eq!(
            Watermarks::new(80, 50, 100).unwrap_err().to_string(),
            "low watermark 80 and high watermark 50 with capacity 100: expected low < high <= capacity"
        );
    }

    proptest! {
        #[test]
        fn default_marks_are_valid_for_every_capacity(capacity in 1usize..) {
            let marks = Watermarks::for_capacity(capacity);
            prop_assert_eq!(Watermarks::new(marks.low, marks.high, capacity), Ok(marks));
        }

        /// The model reads the contract word for word, one clause a line. Red when `observe` drops to `Soft` from
        /// `Hard` in the middle, repeats a level, or uses `>` for the high mark.
        #[test]
        fn agrees_with_the_contract_on_any_history(
            low in 0usize..50, gap in 1usize..50, sizes in prop::collection::vec(0usize..110, 0..200)
        ) {
            let high = low + gap;
            let mut watermark = Watermark::new(Watermarks::new(low, high, 110).unwrap());
            let mut level = Level::Ok;
            for size in sizes {
                let expected = match level {
                    Level::Ok if size >= high => Some(Level::Hard),
                    Level::Ok if size > low => Some(Level::Soft),
                    Level::Soft if size >= high => Some(Level::Hard),
                    Level::Soft | Level::Hard if size <= low => Some(Level::Ok),
                    _ => None,
                };
                prop_assert_eq!(watermark.observe(size, || false), expected);
                level = expected.unwrap_or(level);
            }
        }
    }
}
