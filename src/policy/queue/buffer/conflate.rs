//! A full queue keeps the newest record of each conflation key.

use std::{collections::VecDeque, time::Duration};

use super::BoundedBuffer;
use crate::policy::queue::{
    conflation::ConflationKey, contract::DropReason, credits::Load, partition::Queued, refusal::Refusal,
};

impl<T, W, R> BoundedBuffer<T, W, R> {
    /// Accepts one record of a conflation key if it can at once.
    pub(super) fn offer_with_key(
        &mut self,
        now: Duration,
        load: Load,
        key: ConflationKey,
        record: T,
    ) -> Result<(), (Refusal, T)> {
        if let Err(refused) = self.check_open() {
            return Err((refused, record));
        }
        let placed = self.place(now, load, &key, record);
        self.pass_flush_barriers();
        self.look_at_queue(now);
        placed.map_err(|record| (self.full(load), record))
    }

    /// Accepts as many records from the front as it can at once, with one observation of the watermark for all.
    pub(super) fn offer_many_with_keys(
        &mut self,
        now: Duration,
        records: &mut VecDeque<T>,
        loads: &[Load],
        keys: &[ConflationKey],
    ) -> Result<usize, Refusal> {
        self.check_open()?;
        let mut placed = 0;
        for (&load, key) in loads.iter().zip(keys) {
            let Some(record) = records.pop_front() else { break };
            if let Err(record) = self.place(now, load, key, record) {
                records.push_front(record);
                break;
            }
            placed += 1;
        }
        self.pass_flush_barriers();
        self.look_at_queue(now);
        Ok(placed)
    }

    /// Notes the conflation keys of the records that were accepted last, if they have any.
    pub fn note_keys(&mut self, loads: &[Load], keys: &[ConflationKey]) {
        for (load, key) in loads.iter().zip(keys) {
            self.partitions[load.partition].note_key(key.clone());
        }
    }

    /// Puts a record on a free credit, else in the place of the newest that waits with the same key, else on the credit
    /// of the oldest. Gives it back if there is none of these.
    fn place(&mut self, now: Duration, load: Load, key: &ConflationKey, record: T) -> Result<(), T> {
        loop {
            if self.credits.take(load) {
                self.push(now, load, key, record);
                return Ok(());
            }
            if let Some(queued) = self.partitions[load.partition].find(key, self.config.batch_size.get())
                && self.credits.take_over(load, queued.bytes, &mut self.wake)
            {
                self.replace(load, queued, record);
                return Ok(());
            }
            if !self.evict_for(load) {
                return Err(record);
            }
        }
    }

    fn replace(&mut self, load: Load, queued: Queued, record: T) {
        let most_bytes = self.batch_bytes();
        let partition = &mut self.partitions[load.partition];
        let was_full = partition.queued_bytes() > most_bytes;
        let replaced = partition.replace(queued, record, load.bytes);
        // A batch can be full by its bytes now.
        self.work |= partition.asked && !was_full && partition.queued_bytes() > most_bytes;
        self.give_up(queued.sequence, replaced, DropReason::Conflated);
        self.counters.submitted += 1;
        self.last_accepted = queued.sequence;
    }

    fn push(&mut self, now: Duration, load: Load, key: &ConflationKey, record: T) {
        match self.config.capacity_bytes {
            None => self.push_all::<false>(now, [(load, record)]),
            Some(_) => self.push_all::<true>(now, [(load, record)]),
        }
        self.partitions[load.partition].note_key(key.clone());
    }
}
