//! How far the bars of a series lie apart, and where they lie further apart than usual.

use std::collections::HashMap;

use foldhash::fast::RandomState;

use market_data_store::Timestamp;

/// So many different distances are counted exactly. Where there are more, one that makes up a thousandth of all is still
/// found, and its count is a lower bound (the counters of Misra and Gries).
const COUNTERS: usize = 1_000;
/// So many gaps are shown.
pub(super) const GAPS: usize = 3;

/// The distances between the bars of one series, in bounded memory.
#[derive(Debug, Default)]
pub(super) struct Spacing {
    last: Option<Timestamp>,
    distances: u64,
    counts: HashMap<i64, u64, RandomState>,
    /// The distance seen last and how often in a row: most bars follow each other as the ones before.
    run: (i64, u64),
    /// The largest, largest first; of equals the earliest.
    largest: Vec<Gap>,
}

/// A distance between two bars that follow each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Gap {
    /// The time of the bar before.
    pub(super) after: Timestamp,
    /// In microseconds.
    pub(super) distance: i64,
}

/// What the distances show.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Spaced {
    /// The most frequent distance, in microseconds; of equals the shortest.
    pub(super) usual: i64,
    /// Which part of all distances is so long.
    pub(super) share: f64,
    /// The largest distances above the usual one.
    pub(super) gaps: Vec<Gap>,
}

impl Spacing {
    /// Takes the next bar; times come in ascending order.
    pub(super) fn observe(&mut self, ts: Timestamp) {
        let Some(after) = self.last.replace(ts) else { return };
        let distance = ts.as_micros().saturating_sub(after.as_micros());
        self.distances += 1;
        if self.run.0 == distance {
            self.run.1 += 1;
        } else {
            self.count_run();
            self.run = (distance, 1);
        }
        if self.largest.len() < GAPS || self.largest.last().is_some_and(|least| least.distance < distance) {
            let at = self.largest.partition_point(|gap| gap.distance >= distance);
            self.largest.insert(at, Gap { after, distance });
            self.largest.truncate(GAPS);
        }
    }

    /// Says what is usual, and what is not. Two bars are the least that show a distance.
    pub(super) fn finish(mut self) -> Option<Spaced> {
        self.count_run();
        let (usual, count) = self.counts.into_iter().max_by_key(|&(distance, count)| (count, -distance))?;
        self.largest.retain(|gap| gap.distance > usual);
        Some(Spaced { usual, share: count as f64 / self.distances as f64, gaps: self.largest })
    }

    fn count_run(&mut self) {
        let (distance, mut times) = self.run;
        if times == 0 {
            return;
        }
        if self.counts.len() >= COUNTERS && !self.counts.contains_key(&distance) {
            // Each of the counters pays as much as the newcomer does; those that are used up make room.
            let least = self.counts.values().copied().min().unwrap_or(0).min(times);
            self.counts.retain(|_, count| {
                *count -= least;
                *count > 0
            });
            times -= least;
        }
        if times > 0 {
            *self.counts.entry(distance).or_default() += times;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spaced(micros: impl IntoIterator<Item = i64>) -> Option<Spaced> {
        let mut spacing = Spacing::default();
        micros.into_iter().for_each(|micros| spacing.observe(Timestamp::from_micros(micros)));
        spacing.finish()
    }

    /// Red if a mean takes the place of the most frequent distance, or a gap is one of the usual ones.
    #[test]
    fn gaps_are_what_lies_above_the_most_frequent_distance_largest_first() {
        let Spaced { usual, share, gaps } = spaced([0, 10, 20, 30, 90, 100, 130, 140, 145, 165, 195]).unwrap();
        assert_eq!((usual, share), (10, 0.5));
        let gaps: Vec<_> = gaps.iter().map(|gap| (gap.after.as_micros(), gap.distance)).collect();
        assert_eq!(gaps, [(30, 60), (100, 30), (165, 30)]);
    }

    #[test]
    fn of_equally_frequent_distances_the_shortest_is_usual() {
        assert_eq!(spaced([0, 5, 10, 17, 24]).unwrap().usual, 5);
        assert_eq!(spaced([0, 7, 14, 19, 24]).unwrap().usual, 5);
    }

    #[test]
    fn one_bar_has_no_distance() {
        assert_eq!(spaced([]), None);
        assert_eq!(spaced([1]), None);
        assert_eq!(spaced([1, 3]).unwrap(), Spaced { usual: 2, share: 1.0, gaps: Vec::new() });
    }

    /// Red if the counters grow with the distances, or if the one that is often there is thrown out.
    #[test]
    fn a_frequent_distance_is_found_among_any_number_of_others() {
        let mut spacing = Spacing::default();
        let mut ts = 0;
        for other in 0..200_000 {
            for distance in [1_000, 2_000_000 + other] {
                ts += distance;
                spacing.observe(Timestamp::from_micros(ts));
                assert!(spacing.counts.len() <= COUNTERS);
            }
        }
        let spaced = spacing.finish().unwrap();
        assert_eq!(spaced.usual, 1_000);
        assert!((0.49..=0.5).contains(&spaced.share), "{}", spaced.share);
        assert_eq!(spaced.gaps[0].distance, 2_199_999);
    }

    /// Times at both ends of what 64 bits hold: another program may have written anything.
    #[test]
    fn no_distance_overflows() {
        assert_eq!(spaced([i64::MIN, i64::MAX]).unwrap().usual, i64::MAX);
    }
}
