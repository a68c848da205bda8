//! Which records of a body need not be sent again.

use std::collections::VecDeque;

/// The records of a body, in order: those that are done with, and those whose outcome is waited for. `R` is what an
/// outcome comes by.
pub(super) struct Progress<R> {
    /// The place of the next record, from 0.
    next: u64,
    /// The accepted ones from the first that is not settled, with their places; none stands for one that is.
    waiting: VecDeque<(u64, Option<R>)>,
    unsettled: usize,
}

impl<R> Default for Progress<R> {
    fn default() -> Self {
        Self { next: 0, waiting: VecDeque::new(), unsettled: 0 }
    }
}

impl<R> Progress<R> {
    /// Takes in so many records that are done with: rejected, passed over, or accepted with nothing to be waited for.
    pub(super) fn pass(&mut self, records: u64) {
        self.next += records;
    }

    /// Takes in an accepted record whose outcome comes by `receipt`.
    pub(super) fn accept(&mut self, receipt: R) {
        self.waiting.push_back((self.next, Some(receipt)));
        self.next += 1;
        self.unsettled += 1;
    }

    /// Returns the place of the record that comes next, from 0.
    pub(super) fn next(&self) -> u64 {
        self.next
    }

    /// Returns how many records are remembered: the first that is not settled, and those behind it.
    pub(super) fn remembered(&self) -> usize {
        self.waiting.len()
    }

    /// Returns how many accepted records are not settled.
    pub(super) fn unsettled(&self) -> usize {
        self.unsettled
    }

    /// Returns the receipt of the first record that is not settled.
    pub(super) fn front(&mut self) -> Option<&mut R> {
        self.waiting.front_mut().and_then(|(_, receipt)| receipt.as_mut())
    }

    /// Says that the first record that was not settled is.
    pub(super) fn settle_front(&mut self) {
        if self.waiting.pop_front().is_some_and(|(_, receipt)| receipt.is_some()) {
            self.unsettled -= 1;
        }
        self.forget();
    }

    /// Looks at every receipt whose record is not settled; `is_settled` says whether it is. Returns how many are now.
    pub(super) fn sweep(&mut self, mut is_settled: impl FnMut(&mut R) -> bool) -> usize {
        let mut settled = 0;
        for (_, receipt) in &mut self.waiting {
            if receipt.as_mut().is_some_and(&mut is_settled) {
                *receipt = None;
                settled += 1;
            }
        }
        self.unsettled -= settled;
        self.forget();
        settled
    }

    /// Returns how many records at the front of the body need not be sent again.
    pub(super) fn resume_at(&self) -> u64 {
        self.waiting.front().map_or(self.next, |(place, _)| *place)
    }

    fn forget(&mut self) {
        while self.waiting.front().is_some_and(|(_, receipt)| receipt.is_none()) {
            self.waiting.pop_front();
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    /// What happens to a body.
    #[derive(Clone, Debug)]
    enum Step {
        Pass(u64),
        Accept,
        SettleFront,
        /// Settles those of the accepted whose places are a multiple of it.
        Sweep(u64),
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            (0..4_u64).prop_map(Step::Pass),
            Just(Step::Accept),
            Just(Step::Accept),
            Just(Step::SettleFront),
            (1..5_u64).prop_map(Step::Sweep),
        ]
    }

    proptest! {
        // Red when a record before `resume_at` is not settled, or one more could be left out.
        #[test]
        fn what_need_not_be_sent_again_is_the_settled_front(steps in prop::collection::vec(step(), 0..60)) {
            let mut progress = Progress::<u64>::default();
            // Of each record of the body whether it is done with.
            let mut done: Vec<bool> = Vec::new();
            for step in steps {
                match step {
                    Step::Pass(records) => {
                        progress.pass(records);
                        done.extend((0..records).map(|_| true));
                    }
                    Step::Accept => {
                        progress.accept(done.len() as u64);
                        done.push(false);
                    }
                    Step::SettleFront => {
                        let front = progress.front().map(|place| *place as usize);
                        prop_assert_eq!(front, done.iter().position(|done| !done));
                        if let Some(front) = front {
                            progress.settle_front();
                            done[front] = true;
                        }
                    }
                    Step::Sweep(multiple) => {
                        let before = done.iter().filter(|done| !**done).count();
                        let settled = progress.sweep(|place| place.is_multiple_of(multiple));
                        done.iter_mut().enumerate().for_each(|(at, done)| *done |= (at as u64).is_multiple_of(multiple));
                        prop_assert_eq!(settled, before - done.iter().filter(|done| !**done).count());
                    }
                }
                let front = done.iter().take_while(|done| **done).count();
                prop_assert_eq!(progress.resume_at(), front as u64);
                prop_assert_eq!(progress.next(), done.len() as u64);
                prop_assert_eq!(progress.unsettled(), done.iter().filter(|done| !**done).count());
                prop_assert!(progress.remembered() <= done.len() - front);
            }
        }
    }
}
