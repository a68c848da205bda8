//! What the records of one moment have in a series, so that two of them do not become one.

use std::{
    collections::{HashMap, VecDeque},
    ops::RangeInclusive,
};

use smol_str::{SmolStr, format_smolstr};

use crate::{
    files::{
        earlier_moments::{EarlierMoments, FileMoments, Place},
        row_error::RowError,
    },
    record::TimestampNanos,
    text::Quoted,
};

/// The most series of one file that are told apart.
const MOST_SERIES: usize = 1 << 20;

/// So many moments of a series are remembered whose records have no id.
const RECENT_MOMENTS: usize = 32;

/// The last moment of each series, and what its records are called.
#[derive(Default)]
pub struct Moments {
    series: HashMap<SmolStr, Moment>,
    /// What the files before have, of one run.
    earlier: EarlierMoments,
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
    /// Another moment was there before this one.
    has_gone_on: bool,
}

impl Moments {
    /// Counts a record with an id of its own. Returns how many before it, of its moment, have the same one.
    pub(super) fn count(&mut self, series: &str, ts: i64, id: &str) -> Result<u32, RowError> {
        self.compare(series, ts, id, 0).map(|(before, _)| before)
    }

    /// Takes what the files before have at moments whose records have no id.
    pub(super) fn begin(&mut self, earlier: EarlierMoments) {
        self.earlier = earlier;
    }

    /// Returns what this file and those before have.
    pub(super) fn end(&mut self) -> EarlierMoments {
        let mut all = std::mem::take(&mut self.earlier);
        for (series, moment) in self.series.drain() {
            let messages: Vec<_> = moment.ids.into_keys().filter(|id| id.starts_with(OF_MESSAGE)).collect();
            if !messages.is_empty() {
                all.add_messages(&series, moment.ts, messages);
            }
            if !moment.recent.is_empty() {
                let recent = moment.recent.iter().map(|(ts, _)| *ts).collect();
                let forgotten = moment.forgotten.map(RangeInclusive::into_inner);
                all.add(&series, FileMoments { recent, forgotten });
            }
        }
        all
    }

    /// The same of a record whose id is that of its message.
    ///
    /// # Errors
    /// The file begins with a message with which the one before ended: it may be the rest of it, or the same again.
    pub(super) fn count_message(&mut self, series: &str, ts: i64, id: &str) -> Result<u32, RowError> {
        let before = self.count(series, ts, id)?;
        let has_gone_on = self.series.get(series).is_some_and(|moment| moment.has_gone_on);
        if !has_gone_on && self.earlier.end_with(series, ts, id) {
            return Err(of_another_file(series, ts).of_file(TOGETHER));
        }
        Ok(before)
    }

    /// The same, and whether the first of them says the same: `content` is made of what is not in the key.
    pub(super) fn compare(&mut self, series: &str, ts: i64, id: &str, content: u64) -> Result<(u32, bool), RowError> {
        let moment = moment_of(&mut self.series, series)?;
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
    /// Others of this moment may have been there long before: it lies among those that are forgotten. Or a file before may
    /// have some: with the same numbers one would take the place of the other.
    pub(super) fn number(&mut self, series: &str, ts: i64) -> Result<i64, RowError> {
        let moment = moment_of(&mut self.series, series)?;
        if let Some((_, count)) = moment.recent.iter_mut().rev().find(|(recent, _)| *recent == ts) {
            *count += 1;
            return Ok(*count - 1);
        }
        match self.earlier.look(series, ts) {
            Place::Free => {}
            Place::Shared => return Err(of_another_file(series, ts).of_file(TOGETHER)),
            Place::Within => return Err(of_another_file(series, ts).of_whole_file(TOGETHER)),
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
}

/// How the id of a record begins that is the number of its message.
pub(super) const OF_MESSAGE: &str = "seq:";

/// What to do about records of one moment in two files.
const TOGETHER: &str = "each record once and sorted by time, or name the column that tells them apart, as in --map id=COLUMN or --map seq=COLUMN";

fn of_another_file(series: &str, ts: i64) -> RowError {
    let symbol = series.rsplit('\0').next().unwrap_or_default();
    let message = format!(
        "ts: expected another moment than those of the files before, since nothing but the order in one file tells records of \
         one moment or message apart, got {} of {} again: put both into one file",
        TimestampNanos::from_nanos(ts),
        Quoted(symbol)
    );
    message.into()
}

fn moment_of<'a>(all: &'a mut HashMap<SmolStr, Moment>, series: &str) -> Result<&'a mut Moment, RowError> {
    if !all.contains_key(series) {
        if all.len() == MOST_SERIES {
            let message = format!("expected at most {MOST_SERIES} series in a file, got more");
            return Err(RowError::from(message).of_whole_file("split it"));
        }
        all.insert(SmolStr::new(series), Moment::default());
    }
    Ok(all.get_mut(series).expect("it was put there if it was not"))
}

impl Moment {
    fn go_to(&mut self, ts: i64) {
        if self.ts != ts {
            self.has_gone_on |= !self.ids.is_empty();
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
