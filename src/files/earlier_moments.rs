//! The moments of the files before, in one run, at which records have no id.

use std::collections::HashMap;

use smol_str::SmolStr;

/// At which moments the files before have records that only their order in the file tells apart. A record of another file at
/// such a moment may be one of them or another: nothing tells.
///
/// A file that is in the order of its times is remembered by its last moments and by the span of the others, so that the
/// next one may begin a little before its end.
#[derive(Debug, Default)]
pub struct EarlierMoments {
    series: HashMap<SmolStr, Series>,
}

/// Where a moment lies to those of the files before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Place {
    /// None of them has it.
    Free,
    /// The one before has it, at its end.
    Shared,
    /// It is between the first and the last of one.
    Within,
}

#[derive(Debug, Default)]
struct Series {
    /// From the first to the last moment of each file but the last, in order; those that overlap are one.
    spans: Vec<(i64, i64)>,
    last: FileMoments,
    /// The last moment of the last file, and the messages of then, of which each can make several records.
    messages: (i64, Vec<SmolStr>),
}

/// The moments of a series in one file.
#[derive(Debug, Default)]
pub(crate) struct FileMoments {
    /// The last ones.
    pub(crate) recent: Vec<i64>,
    /// From the first to the last of the others.
    pub(crate) forgotten: Option<(i64, i64)>,
}

impl EarlierMoments {
    /// Returns how a moment of the series lies to those of the files before.
    pub(crate) fn look(&self, series: &str, ts: i64) -> Place {
        if self.series.is_empty() {
            return Place::Free;
        }
        let Some(Series { spans, last, .. }) = self.series.get(series) else { return Place::Free };
        let after = spans.partition_point(|(_, end)| *end < ts);
        let holds = |(begin, end): &(i64, i64)| (*begin..=*end).contains(&ts);
        if spans.get(after).is_some_and(holds) || last.forgotten.as_ref().is_some_and(holds) {
            Place::Within
        } else if last.recent.contains(&ts) {
            Place::Shared
        } else {
            Place::Free
        }
    }

    /// Returns whether the file before ended at that moment, with that message.
    pub(crate) fn end_with(&self, series: &str, ts: i64, message: &str) -> bool {
        let messages = self.series.get(series).map(|series| &series.messages);
        messages.is_some_and(|(last, messages)| *last == ts && messages.iter().any(|known| known == message))
    }

    /// Notes at which moment another file ended, and with which messages.
    pub(crate) fn add_messages(&mut self, series: &SmolStr, ts: i64, messages: Vec<SmolStr>) {
        self.series.entry(series.clone()).or_default().messages = (ts, messages);
    }

    /// Adds what another file has of a series.
    pub(crate) fn add(&mut self, series: &SmolStr, file: FileMoments) {
        let known = self.series.entry(series.clone()).or_default();
        let before = std::mem::replace(&mut known.last, file);
        let ends = before.forgotten.into_iter().flat_map(|(begin, end)| [begin, end]);
        let all = before.recent.into_iter().chain(ends);
        let Some((mut begin, mut end)) = all.fold(None, |hull, ts| {
            let (begin, end) = hull.unwrap_or((ts, ts));
            Some((ts.min(begin), ts.max(end)))
        }) else {
            return;
        };
        let first = known.spans.partition_point(|(_, other)| *other < begin);
        let behind = known.spans.partition_point(|(other, _)| *other <= end);
        for (other_begin, other_end) in known.spans.drain(first..behind.max(first)) {
            (begin, end) = (begin.min(other_begin), end.max(other_end));
        }
        known.spans.insert(first, (begin, end));
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    proptest! {
        // Red when a moment of a file before is not known, or what lies between two files is.
        #[test]
        fn every_moment_of_the_files_before_is_known(
            files in proptest::collection::vec((proptest::collection::vec(-50..50_i64, 0..6), proptest::collection::vec(-50..50_i64, 0..3)), 0..8),
        ) {
            let series = SmolStr::new("a");
            let mut earlier = EarlierMoments::default();
            for (recent, others) in &files {
                let forgotten = others.iter().min().copied().zip(others.iter().max().copied());
                earlier.add(&series, FileMoments { recent: recent.clone(), forgotten });
            }
            let hull = |(recent, others): &(Vec<i64>, Vec<i64>)| {
                let all = || recent.iter().chain(others).copied();
                all().min().zip(all().max())
            };
            for ts in -60..60 {
                prop_assert_eq!(earlier.look("b", ts), Place::Free);
                let is_free = earlier.look("a", ts) == Place::Free;
                let is_there = files.iter().any(|(recent, others)| recent.contains(&ts) || others.contains(&ts));
                let is_within = files.iter().filter_map(hull).any(|(begin, end)| (begin..=end).contains(&ts));
                prop_assert!(!(is_there && is_free), "{ts}");
                prop_assert!(is_within || is_free, "{ts}");
            }
        }
    }
}
