//! A queue that is bounded by bytes too, on random histories: the bound holds, counts add up, and no level sticks.

use std::num::{NonZeroU32, NonZeroUsize};

use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Watermarks};

#[derive(Clone, Debug)]
enum Step {
    /// Submits a record of so many bytes; where there is no room it waits, within so many milliseconds if that is
    /// given.
    Submit {
        partition: usize,
        bytes: usize,
        within: Option<u64>,
    },
    Claim(usize),
    Cancel(usize),
    Reserve(usize),
    /// A permit is used for a record of so many bytes, which may exceed the bound.
    UsePermit(usize, usize),
    DropPermit(usize),
    Ask(usize),
    Settle(usize),
    Park(usize),
    Attend,
    Pass(u64),
}

/// The most bytes of one record.
const LARGEST: usize = 59;

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0usize..3, 0..=LARGEST, prop::option::of(0u64..20))
            .prop_map(|(partition, bytes, within)| Step::Submit { partition, bytes, within }),
        4 => (0usize..6).prop_map(Step::Claim),
        2 => (0usize..6).prop_map(Step::Cancel),
        4 => (0usize..3).prop_map(Step::Reserve),
        4 => (0usize..4, 0..=LARGEST).prop_map(|(which, bytes)| Step::UsePermit(which, bytes)),
        1 => (0usize..4).prop_map(Step::DropPermit),
        8 => (0usize..3).prop_map(Step::Ask),
        6 => (0usize..6).prop_map(Step::Settle),
        2 => (0usize..6).prop_map(Step::Park),
        6 => Just(Step::Attend),
        3 => (0u64..15).prop_map(Step::Pass),
    ];
    prop::collection::vec(step, 0..150)
}

struct World {
    buffer: BoundedBuffer<usize, usize>,
    now: Duration,
    most: usize,
    partitions: usize,
    /// Those that wait, with what they want to submit.
    line: Vec<(CreditTicket, Load)>,
    permits: Vec<usize>,
    out: Vec<Leased<usize>>,
    /// The most permits of each partition that were out at once.
    permits_at_once: [usize; 3],
    /// The bytes of each partition that are accepted and not settled, where nothing is evicted.
    unsettled: [usize; 3],
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match *step {
            Step::Submit { partition, bytes, within } => {
                let partition = partition % self.partitions;
                let load = Load { partition, bytes: bytes.min(self.most) };
                if self.buffer.offer(now, self.placement(load), load.bytes).is_ok() {
                    self.unsettled[partition] += load.bytes;
                } else if self.buffer.config().overflow == Overflow::Block {
                    let deadline = within.map(|within| now + Duration::from_millis(within));
                    self.line.push((self.buffer.wait(partition, (1, load.bytes), deadline, 0), load));
                }
            }
            Step::Claim(which) if which < self.line.len() => {
                let (ticket, load) = self.line[which];
                match self.buffer.claim(now, ticket, 0) {
                    Ok(None) => {}
                    Ok(Some(_)) => {
                        self.buffer.accept(now, [(load, load.bytes)]);
                        self.unsettled[load.partition] += load.bytes;
                        self.line.remove(which);
                    }
                    Err(_) => _ = self.line.remove(which),
                }
            }
            Step::Cancel(which) if which < self.line.len() => {
                self.buffer.cancel(now, self.line.remove(which).0);
            }
            Step::Reserve(partition) => {
                let partition = partition % self.partitions;
                let (bytes, most) = (self.buffer.snapshot(now).bytes, self.most_in_all());
                let share = (most - self.most) / (self.partitions - 1).max(1);
                let is_free = bytes < most || self.unsettled[partition] < share;
                let is_reserved = self.buffer.reserve(now, partition) == Ok(true);
                let evicts = self.buffer.config().overflow.evicts();
                prop_assert!(!is_reserved || is_free || evicts, "a place is held with {bytes} of {most} held");
                self.permits.extend(is_reserved.then_some(partition));
                let at_once = self.permits.iter().filter(|&&permit| permit == partition).count();
                self.permits_at_once[partition] = self.permits_at_once[partition].max(at_once);
            }
            Step::UsePermit(which, bytes) if which < self.permits.len() => {
                let partition = self.permits.remove(which);
                let load = Load { partition, bytes: bytes.min(self.most) };
                self.unsettled[partition] += load.bytes;
                prop_assert!(self.buffer.offer_reserved(now, partition, self.placement(load), load.bytes).is_ok());
            }
            Step::DropPermit(which) if which < self.permits.len() => {
                self.buffer.give_back(now, self.permits.remove(which));
            }
            Step::Ask(partition)
                if partition < self.partitions && !self.out.iter().any(|out| out.partition == partition) =>
            {
                let leased = self.buffer.ask(partition, now);
                self.take(leased)?;
            }
            Step::Settle(which) if which < self.out.len() => {
                let Leased { id, partition, records, range } = self.out.remove(which);
                let bytes = records[range].iter().sum();
                // With evictions there may be less.
                self.unsettled[partition] = self.unsettled[partition].saturating_sub(bytes);
                prop_assert!(self.buffer.settle_stored(id, now).is_some());
            }
            Step::Park(which) if which < self.out.len() => {
                let lease = self.out.remove(which).id;
                prop_assert!(self.buffer.park(lease, now));
            }
            Step::Attend => {
                self.buffer.expire(now);
                for leased in self.buffer.hand_out(now) {
                    self.take(Some(leased))?;
                }
            }
            Step::Pass(ms) => self.now += Duration::from_millis(ms),
            _ => {}
        }
        let snapshot = self.buffer.snapshot(self.now);
        prop_assert_eq!(snapshot.residual(), 0);
        let most = self.most_in_all();
        // A permit is granted while bytes are free, so at most one record for each that is out at once is too much.
        let too_much = self.permits_at_once.iter().sum::<usize>() * LARGEST;
        prop_assert!(snapshot.bytes <= most + too_much, "{} of {most} and {too_much}", snapshot.bytes);
        prop_assert!(snapshot.size() <= snapshot.capacity);
        let is_idle = snapshot.size() == 0 && snapshot.bytes == 0 && snapshot.waiting == 0;
        prop_assert!(!is_idle || snapshot.level == Level::Ok, "nothing waits, and the level is {:?}", snapshot.level);
        Ok(())
    }

    /// Records of as many bytes, in units of seven, have one key.
    fn placement(&self, load: Load) -> Placement {
        let key = || ConflationKey::new([(load.bytes / 7).to_string().as_str()]);
        Placement { load, key: (self.buffer.config().overflow == Overflow::Conflate).then(key) }
    }

    fn most_in_all(&self) -> usize {
        self.buffer.config().capacity_bytes.map_or(0, NonZeroUsize::get)
    }

    fn take(&mut self, leased: Option<Leased<usize>>) -> Result<(), TestCaseError> {
        if let Some(leased) = leased {
            let batch = &leased.records[leased.range.clone()];
            let most = self.buffer.batch_bytes();
            prop_assert!(batch.len() == 1 || batch.iter().sum::<usize>() <= most, "{batch:?} in a batch of {most}");
            self.out.push(leased);
        }
        Ok(())
    }

    /// All that is there is written, all that waits comes in, and what is held is given back.
    fn finish(&mut self) -> Result<(), TestCaseError> {
        while let Some(permit) = self.permits.pop() {
            self.buffer.give_back(self.now, permit);
        }
        for _ in 0..2_000 {
            self.now += Duration::from_millis(30);
            self.step(&Step::Attend)?;
            for partition in 0..self.partitions {
                self.step(&Step::Ask(partition))?;
            }
            while !self.out.is_empty() {
                self.step(&Step::Settle(0))?;
            }
            for which in (0..self.line.len()).rev() {
                self.step(&Step::Claim(which))?;
            }
            let snapshot = self.buffer.snapshot(self.now);
            if self.line.is_empty() && snapshot.size() == 0 && snapshot.in_flight == 0 {
                prop_assert_eq!((snapshot.bytes, snapshot.level), (0, Level::Ok));
                return Ok(());
            }
        }
        prop_assert!(false, "{} wait without end: {:?}", self.line.len(), self.buffer);
        Ok(())
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(super::tests::cases()))]

    /// Red when bytes pass the bound by more than a record for each permit that is out at once, a batch has more than
    /// its part, bytes are lost, one that waits is forgotten, or the level does not come back to ok.
    #[test]
    fn the_bound_of_bytes_holds_and_no_level_sticks(
        bytes in 8usize..200, capacity in 1usize..20, partitions in prop_oneof![Just(1), Just(3)],
        overflow in 0usize..4, steps in steps()
    ) {
        let overflow = [Overflow::Block, Overflow::Error, Overflow::DropOldest, Overflow::Conflate][overflow];
        let buffer = BoundedBuffer::new(config(bytes, capacity, partitions, overflow));
        let most = most_of_a_partition(bytes, partitions);
        let (line, permits, out) = (Vec::new(), Vec::new(), Vec::new());
        let (permits_at_once, unsettled) = ([0; 3], [0; 3]);
        let mut world =
            World { buffer, now: NOW, most, partitions, line, permits, out, permits_at_once, unsettled };
        for step in &steps {
            world.step(step)?;
        }
        world.finish()?;
    }
}

/// Batches are full with four records.
fn config(bytes: usize, capacity: usize, partitions: usize, overflow: Overflow) -> BufferConfig {
    BufferConfig {
        capacity: NonZeroUsize::new(capacity).expect("not zero"),
        capacity_bytes: NonZeroUsize::new(bytes),
        partitions: NonZeroUsize::new(partitions).expect("not zero"),
        batch_size: NonZeroUsize::new(4).expect("not zero"),
        flush_interval: Duration::from_millis(20),
        overflow,
        watermarks: Watermarks::for_capacity(capacity),
        breaker: BreakerConfig::default(),
        slow_after: Duration::MAX,
        max_strikes: NonZeroU32::MIN,
    }
}

const NOW: Duration = Duration::ZERO;

/// A queue of 1,000 bytes, 100 places and so many partitions.
fn thousand(partitions: usize, overflow: Overflow) -> BoundedBuffer<usize, usize> {
    BoundedBuffer::new(config(1_000, 100, partitions, overflow))
}

/// Offers a record of so many bytes, which is its value too.
fn offer(buffer: &mut BoundedBuffer<usize, usize>, partition: usize, bytes: usize) -> Result<(), Refusal> {
    buffer.offer(NOW, Load { partition, bytes }, bytes).map_err(|(refusal, _)| refusal)
}

/// Red when a place is held for a record to come though no byte is free for it, or it passes one that waits for bytes.
#[test]
fn a_place_is_held_only_while_a_byte_is_free_for_it() {
    let mut buffer = thousand(1, Overflow::Block);
    offer(&mut buffer, 0, 1_000).expect("there is room");
    for line in [0, buffer.any_line()] {
        assert_eq!(buffer.reserve(NOW, line), Ok(false), "no byte is free");
    }
    let lease = buffer.ask(0, Duration::from_secs(1)).expect("it is due").id;
    let waits = buffer.wait(buffer.any_line(), (1, 0), None, 7);
    assert_eq!(buffer.claim(NOW, waits, 7), Ok(None));
    buffer.settle_stored(lease, NOW).expect("it is out");
    assert_eq!(buffer.claim(NOW, waits, 7), Ok(Some(1)), "bytes are free");
    buffer.keep_claimed();
    assert_eq!(buffer.snapshot(NOW).bytes, 0, "it holds none");

    let mut buffer = thousand(3, Overflow::Block);
    offer(&mut buffer, 0, 600).expect("there is room");
    buffer.wait(1, (1, 500), None, 0);
    assert_eq!(buffer.reserve(NOW, buffer.any_line()), Ok(false), "one that waits keeps the common bytes");
    assert_eq!(buffer.reserve(NOW, 1), Ok(false), "one that waits stands before it");
    assert_eq!(buffer.reserve(NOW, 2), Ok(true), "a partition's own bytes are free for it");
    buffer.offer_reserved(NOW, 2, Load { partition: 2, bytes: 41 }, 41).expect("it is open");
    assert_eq!(buffer.reserve(NOW, 2), Ok(false), "they are used up");
}

/// Red when producers are told to come back at once though bytes in flight keep the level hard.
#[test]
fn bytes_in_flight_count_in_what_has_to_go() {
    let mut buffer = thousand(1, Overflow::Block);
    offer(&mut buffer, 0, 960).expect("there is room");
    buffer.ask(0, Duration::from_secs(1)).expect("it is due");
    let snapshot = buffer.snapshot(NOW);
    assert_eq!((snapshot.level, snapshot.size(), snapshot.in_flight), (Level::Hard, 0, 1));
    assert_eq!(snapshot.excess, 1);
}

/// Red when a full queue is said to be full for one key alone though no partition has a share, or the level is ok while
/// a submitter waits.
#[test]
fn with_one_partition_a_full_queue_is_full_and_not_its_partition() {
    let mut buffer = thousand(1, Overflow::Block);
    offer(&mut buffer, 0, 200).expect("there is room");
    let first = buffer.ask(0, Duration::from_secs(1)).expect("it is due").id;
    offer(&mut buffer, 0, 400).expect("there is room");
    assert_eq!(offer(&mut buffer, 0, 900), Err(Refusal::Full));
    let waits = buffer.wait(0, (1, 900), None, 0);
    buffer.settle_stored(first, NOW).expect("it is out");
    assert_eq!(buffer.claim(NOW, waits, 0), Ok(None));
    assert_eq!(buffer.snapshot(NOW).level, Level::Soft, "40 % full, and one waits");
}

/// Red when a submit that waited in vain is told another reason than one that did not wait.
#[test]
fn a_wait_that_expires_ends_with_the_refusal_of_one_that_does_not_wait() {
    let mut buffer = thousand(3, Overflow::Block);
    offer(&mut buffer, 0, 500).expect("there is room");
    let refused = Refusal::PartitionFull { partition_key: String::new() };
    assert_eq!(offer(&mut buffer, 0, 500), Err(refused.clone()), "the others have shares");
    let waits = buffer.wait(0, (1, 500), Some(NOW), 0);
    buffer.expire(NOW);
    assert_eq!(buffer.claim(NOW, waits, 0), Err(refused));
}

/// Red when a partition that has all that it can evicts records of others, which makes it no room.
#[test]
fn a_partition_at_its_own_limit_evicts_its_own_oldest() {
    let mut buffer = thousand(3, Overflow::DropOldest);
    offer(&mut buffer, 1, 100).expect("there is room");
    for bytes in [401, 402] {
        offer(&mut buffer, 0, bytes).expect("there is room");
    }
    offer(&mut buffer, 0, 200).expect("its own oldest goes");
    assert_eq!(buffer.effects().map(|effects| effects.evicted), Some(vec![401]));
}

/// Red when records are evicted for one that stays out all the same, since one that waits comes before it.
#[test]
fn nothing_is_evicted_for_one_that_is_kept_back_by_a_waiter() {
    let mut buffer = thousand(3, Overflow::DropOldest);
    offer(&mut buffer, 0, 800).expect("there is room");
    buffer.ask(0, Duration::from_secs(1)).expect("it is due");
    for _ in 0..10 {
        offer(&mut buffer, 1, 10).expect("there is room");
    }
    // As one that is replayed does.
    buffer.wait(0, (1, 100), None, 0);
    assert_eq!(offer(&mut buffer, 2, 60), Err(Refusal::Full));
    assert_eq!(buffer.snapshot(NOW).counters.dropped, 0);
}

/// A batch of one partition leaves a place to one that waits, which then waits for bytes that another partition has;
/// that one was looked at before. Red when it is not looked at again.
#[test]
fn what_a_batch_makes_ready_behind_it_is_handed_out_too() {
    let mut buffer = BoundedBuffer::<usize, usize>::new(BufferConfig {
        flush_interval: Duration::from_secs(3600),
        ..config(1_000, 32, 2, Overflow::Block)
    });
    for partition in [0, 1] {
        assert!(buffer.ask(partition, NOW).is_none());
    }
    // Less than a batch.
    offer(&mut buffer, 0, 200).expect("there is room");
    for _ in 0..30 {
        offer(&mut buffer, 1, 20).expect("there is room");
    }
    buffer.wait(1, (1, 300), None, 0);
    buffer.effects();
    let leased = buffer.hand_out(NOW);
    assert_eq!(leased.iter().map(|leased| leased.partition).collect::<Vec<_>>(), [1]);
    assert!(buffer.effects().is_some_and(|effects| effects.wake_queue), "the other is ready now");
    assert_eq!(buffer.hand_out(NOW).len(), 1);
}
