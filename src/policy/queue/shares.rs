//! How a fixed amount is shared among partitions, so that one that is stuck leaves the others room.

/// A fixed amount of something, of which each partition has a share that no other takes. The rest is common: who comes
/// first takes it.
///
/// The share is an eighth of the amount, divided among the partitions, and at least one; where there are fewer than two
/// for each partition, or there is only one partition, there are no shares. What a partition holds is of its own share
/// first, and common beyond that. So it can hold everything but the shares of the others.
///
/// Behind the partitions is one holder more without a share, for what is of no partition yet.
#[derive(Clone, Debug)]
pub struct Shares {
    /// One a partition, and the one without a share.
    holders: Vec<Holder>,
    common: usize,
    common_used: usize,
    held: usize,
}

/// What a partition has of its own, and what it holds.
#[derive(Clone, Debug, Default)]
struct Holder {
    share: usize,
    held: usize,
}

impl Shares {
    /// Starts with everything free.
    pub fn new(amount: usize, partitions: usize) -> Self {
        let has_shares = partitions > 1 && amount >= 2 * partitions;
        let share = if has_shares { (amount / (8 * partitions)).max(1) } else { 0 };
        let common = amount - share * partitions;
        let mut holders = vec![Holder { share, held: 0 }; partitions];
        holders.push(Holder::default());
        Self { holders, common, common_used: 0, held: 0 }
    }

    /// Returns how much is held in all.
    pub const fn held(&self) -> usize {
        self.held
    }

    /// Returns how much is free and of no partition's share.
    pub const fn common_free(&self) -> usize {
        self.common.saturating_sub(self.common_used)
    }

    /// Returns how much of its own share a partition has left.
    pub fn free_of_own(&self, partition: usize) -> usize {
        let Holder { share, held } = self.holders[partition];
        share.saturating_sub(held)
    }

    /// Returns how much a partition can take.
    pub fn free_for(&self, partition: usize) -> usize {
        self.free_of_own(partition) + self.common_free()
    }

    /// Returns the most that one partition can hold.
    pub fn limit(&self) -> usize {
        self.holders[0].share + self.common
    }

    /// Returns whether a partition would hold more than the shares of the others leave it, with so much more. Never
    /// where there are no shares: then all that is full is full for all.
    pub fn passes_limit(&self, partition: usize, amount: usize) -> bool {
        let Holder { share, held } = self.holders[partition];
        share > 0 && held + amount > self.limit()
    }

    /// Returns how much a partition holds beyond its own share.
    pub fn beyond(&self, partition: usize) -> usize {
        let Holder { share, held } = self.holders[partition];
        held.saturating_sub(share)
    }

    /// Returns whether a partition holds more than its own share.
    pub fn uses_common(&self, partition: usize) -> bool {
        self.beyond(partition) > 0
    }

    /// Takes up to so much for a partition, and returns how much it got.
    pub fn take(&mut self, partition: usize, want: usize) -> usize {
        let taken = want.min(self.free_for(partition));
        self.hold(partition, taken);
        taken
    }

    /// Takes one for a partition, if it can.
    #[inline]
    pub fn take_one(&mut self, partition: usize) -> bool {
        self.take_each([partition]) == 1
    }

    /// Takes one for each of these partitions, from the front, and returns for how many it could.
    #[inline]
    pub fn take_each(&mut self, partitions: impl IntoIterator<Item = usize>) -> usize {
        let (mut taken, mut common) = (0, 0);
        let common_free = self.common_free();
        for partition in partitions {
            let holder = &mut self.holders[partition];
            let is_common = holder.held >= holder.share;
            if is_common && common == common_free {
                break;
            }
            common += usize::from(is_common);
            holder.held += 1;
            taken += 1;
        }
        self.common_used += common;
        self.held += taken;
        taken
    }

    /// Has a partition hold so much more, whatever is free.
    pub fn hold(&mut self, partition: usize, amount: usize) {
        self.common_used += amount - amount.min(self.free_of_own(partition));
        self.holders[partition].held += amount;
        self.held += amount;
    }

    /// Gives so much of a partition back: first what is common.
    pub fn release(&mut self, partition: usize, amount: usize) {
        debug_assert!(amount <= self.holders[partition].held, "gives back more than it holds");
        self.common_used -= self.beyond(partition).min(amount);
        self.holders[partition].held -= amount;
        self.held -= amount;
    }
}

/// Returns how many of so many places the records of one partition can take.
pub fn most_of_a_partition(capacity: usize, partitions: usize) -> usize {
    Shares::new(capacity, partitions).limit()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Red when a partition takes another's share, or its own share is not there when it comes.
    #[test]
    fn one_partition_leaves_the_others_their_shares() {
        let mut shares = Shares::new(10_000, 4);
        assert_eq!(shares.take(0, 20_000), 10_000 - 3 * 312);
        assert!(shares.passes_limit(0, 1) && !shares.passes_limit(1, 1));
        assert_eq!([1, 2, 3, 4].map(|partition| shares.take(partition, 400)), [312, 312, 312, 0]);
        assert_eq!(shares.held(), 10_000);
        shares.release(1, 1);
        assert_eq!((shares.free_for(1), shares.free_for(2)), (1, 0), "what is its own is not common");
        shares.release(0, 1);
        assert_eq!((shares.free_for(1), shares.free_for(2)), (2, 1));
    }

    /// Red when a small queue has shares that leave nothing in common, or that do not add up.
    #[test]
    fn a_small_amount_has_no_shares() {
        for (amount, partitions, limit) in [(1, 1, 1), (7, 4, 7), (8, 4, 5), (10, 1, 10), (100, 4, 91)] {
            let shares = Shares::new(amount, partitions);
            assert_eq!(shares.limit(), limit, "{amount} among {partitions}");
            let has_shares = limit < amount;
            assert_eq!(shares.passes_limit(0, amount + 1), has_shares, "{amount} among {partitions}");
        }
    }
}
