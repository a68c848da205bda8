//! Times of day that are numbers, whose first zeros programs leave off: 93003 is 09:30:03.
//!
//! 1000 is 10:00 where a file writes hours and minutes, and 00:10:00 where it writes seconds too. Which one a file writes, its
//! other rows show: 93003 and 100000 have seconds, 0930 has none.

use crate::{files::row_error::RowError, text::Quoted};

/// What the times of day of a file have shown.
#[derive(Default)]
pub(super) struct ClockDigits {
    has_seconds: Option<bool>,
    /// One of four digits was taken for hours and minutes, and may have been minutes and seconds.
    open: Option<String>,
}

impl ClockDigits {
    /// Returns the zeros that a time of day of digits lacks.
    ///
    /// # Errors
    /// What it means is not known, or is another thing than what it was taken for before: the whole file is not understood.
    pub(super) fn zeros_for(&mut self, clock: &str) -> Result<&'static str, RowError> {
        const ZEROS: &str = "000000";
        if clock.len() > 4 {
            if let Some(open) = &self.open {
                return Err(not_known(clock, &format!(", as {} was taken for hours and minutes", Quoted(open))));
            }
            if self.has_seconds == Some(false) {
                return Err(not_known(clock, ", as others of the file have no seconds"));
            }
            self.has_seconds = Some(true);
        } else if clock.len() == 4 && self.has_seconds.is_none() {
            if clock.starts_with('0') {
                self.has_seconds = Some(false);
                self.open = None;
            } else if self.open.is_none() {
                self.open = Some(clock.to_owned());
            }
        }
        match self.has_seconds {
            Some(true) => Ok(&ZEROS[clock.len().min(6)..]),
            Some(false) => Ok(&ZEROS[..4_usize.saturating_sub(clock.len())]),
            None if clock.len() == 4 => Ok(""),
            None => Err(not_known(clock, ", of which some zeros are gone")),
        }
    }
}

fn not_known(clock: &str, why: &str) -> RowError {
    let message = format!("time: expected a time of day as HHMM or HHMMSS, got {}{why}", Quoted(clock));
    RowError::from(message).of_whole_file("write all with the zeros in front of them, as HHMM or as HHMMSS")
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if 2000 is 20:00 in a file of seconds, or a number that has lost its zeros is read before it is known how many.
    #[test]
    fn the_zeros_that_a_file_leaves_off_are_known_from_its_other_rows() {
        for (clocks, expected) in [
            (&["93003", "100006", "2000", "400", "0"][..], Ok("000000")),
            (&["0930", "1000", "930"], Ok("0930")),
            (&["1000", "1100"], Ok("1100")),
            (&["1000", "0930", "930"], Ok("0930")),
            (&["930"], Err(r#"got "930", of which some zeros are gone"#)),
            (&["1000", "930"], Err(r#"got "930", of which some zeros are gone"#)),
            (&["1000", "10000"], Err(r#"got "10000", as "1000" was taken for hours and minutes"#)),
            (&["0930", "093000"], Err(r#"got "093000", as others of the file have no seconds"#)),
        ] {
            let mut digits = ClockDigits::default();
            let mut last = Ok(String::new());
            for clock in clocks {
                last = digits.zeros_for(clock).map(|zeros| format!("{zeros}{clock}"));
            }
            match expected {
                Ok(text) => assert_eq!(last.map_err(String::from).as_deref(), Ok(text), "{clocks:?}"),
                Err(said) => {
                    let error = last.unwrap_err();
                    assert!(error.is_of_whole_file() && error.to_string().ends_with(said), "{error}");
                }
            }
        }
    }
}
