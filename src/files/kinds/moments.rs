//! What the records of one moment have in a series, so that two of them do not become one.

use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
};

use smol_str::{SmolStr, format_smolstr};

use crate::files::row_error::RowError;

/// The most series of one file that are told apart.
const MOST_SERIES: usize = 1 << 20;

/// So many moments of a series are remembered whose records have no id.
const RECENT_MOMENTS: usize = 32;

/// The last moment of each series, and what its records are called.
#[derive(Default)]
pub struct Moments {
    series: HashMap<SmolStr, Moment>,
}

#[derive(Default)]
struct Moment {
    ts: i64,
    /// How often each id was there, and what the first that had it says beside its key.
    ids: HashMap<SmolStr, (u32, u64)>,
    /// The last moments of records without an id, and how many there were of each: times may go back a little.
    recent: VecDeque<(i64, i64)>,
    /// From the first to the last of the moments before.
    forgotten: Option<RangeInclusive<i64>>,
}

impl Moments {
    /// Counts a record with an id. Returns how many before it, of its moment, have the same one.
    pub(super) fn count(&mut self, series: &str, ts: i64, id: &str) -> Result<u32, RowError> {
        self.compare(series, ts, id, 0).map(|(before, _)| before)
    }

    /// The same, and whether the first of them says the same: `content` is made of what is not in the key.
    pub(super) fn compare(&mut self, series: &str, ts: i64, id: &str, content: u64) -> Result<(u32, bool), RowError> {
        let moment = self.moment(series)?;
        moment.go_to(ts);
        if let Some((before, first)) = moment.ids.get_mut(id) {
            *before += 1;
            return Ok((*before - 1, *first == content));
        }
        moment.ids.insert(SmolStr::new(id), (1, content));
        Ok((0, true))
    }

    /// Counts a record without an id. Returns its number at this moment, from 0.
    ///
    /// # Errors
    /// Others of this moment may have been there long before: it lies among those that are forgotten.
    pub(super) fn number(&mut self, series: &str, ts: i64) -> Result<i64, RowError> {
        let moment = self.moment(series)?;
        if let Some((_, count)) = moment.recent.iter_mut().rev().find(|(recent, _)| *recent == ts) {
            *count += 1;
            return Ok(*count - 1);
        }
        if moment.forgotten.as_ref().is_some_and(|forgotten| forgotten.contains(&ts)) {
            let message = "ts: expected rows in the order of their times, since nothing but the order tells those of one moment \
                           apart, got one that lies far back";
            return Err(RowError::from(message.to_owned()).of_whole_file(
                "sort the file by time, or name the column that tells them apart, as in --map id=COLUMN or --map seq=COLUMN",
            ));
        }
        if moment.recent.len() == RECENT_MOMENTS
            && let Some((oldest, _)) = moment.recent.pop_front()
        {
            let (first, last) = moment.forgotten.take().map_or((oldest, oldest), RangeInclusive::into_inner);
            moment.forgotten = Some(first.min(oldest)..=last.max(oldest));
        }
        moment.recent.push_back((ts, 1));
        Ok(0)
    }

    /// Says whether a record without an id was there.
    pub(super) fn has_numbered(&self) -> bool {
        self.series.values().any(|moment| !moment.recent.is_empty())
    }

    fn moment(&mut self, series: &str) -> Result<&mut Moment, RowError> {
        if !self.series.contains_key(series) {
            if self.series.len() == MOST_SERIES {
                let message = format!("expected at most {MOST_SERIES} series in a file, got more");
                return Err(RowError::from(message).of_whole_file("split it"));
            }
            self.series.insert(SmolStr::new(series), Moment::default());
        }
        Ok(self.series.get_mut(series).expect("it was put there if it was not"))
    }
}

impl Moment {
    fn go_to(&mut self, ts: i64) {
        if self.ts != ts {
            self.ts = ts;
            self.ids.clear();
        }
    }
}

/// Returns what names a series: its parts with a sign between that no name has.
pub(super) fn series_of(vendor: &str, venue: &str, symbol: &str) -> SmolStr {
    format_smolstr!("{vendor}\0{venue}\0{symbol}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn numbers(times: &[i64]) -> Result<Vec<i64>, String> {
        let mut moments = Moments::default();
        times.iter().map(|ts| moments.number("a", *ts).map_err(String::from)).collect()
    }

    // Red when two records of one moment get one number, or a moment that is forgotten begins afresh.
    #[test]
    fn records_of_a_moment_are_numbered_though_others_lie_between() {
        assert_eq!(numbers(&[5, 5, 6, 5, 6, 7]), Ok(vec![0, 1, 0, 2, 1, 0]));
        let rising: Vec<i64> = (0..100).collect();
        let falling: Vec<i64> = (0..100).rev().collect();
        for times in [&rising, &falling] {
            assert_eq!(numbers(times), Ok(vec![0; 100]));
            assert_eq!(numbers(&[times, &times[70..71]].concat()).unwrap().last(), Some(&1));
            for back in [0, 10, 67] {
                let error = numbers(&[times, &times[back..=back]].concat()).unwrap_err();
                assert!(error.starts_with("ts: expected rows in the order of their times"), "{error}");
            }
        }
    }
}
