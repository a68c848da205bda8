//! A queue that is bounded by bytes too, on random histories: the bound holds, counts add up, and no level sticks.

use std::num::{NonZeroU32, NonZeroUsize};

use proptest::{prelude::*, test_runner::TestCaseError};

use super::*;
use crate::policy::*;
use crate::policy::{BreakerConfig, Watermarks};

#[derive(Clone, Debug)]
enum Step {
    /// Submits a record of so many bytes; where there is no room it waits, within so many milliseconds if that is given.
    Submit {
        partition: usize,
        bytes: usize,
        within: Option<u64>,
    },
    Claim(usize),
    Cancel(usize),
    Reserve(usize),
    /// A permit is used for a record of so many bytes, which may exceed the bound once.
    UsePermit(usize, usize),
    DropPermit(usize),
    Ask(usize),
    Settle(usize),
    Park(usize),
    Attend,
    Pass(u64),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        10 => (0usize..3, 0usize..60, prop::option::of(0u64..20))
            .prop_map(|(partition, bytes, within)| Step::Submit { partition, bytes, within }),
        4 => (0usize..6).prop_map(Step::Claim),
        2 => (0usize..6).prop_map(Step::Cancel),
        2 => (0usize..3).prop_map(Step::Reserve),
        1 => (0usize..4, 0usize..60).prop_map(|(which, bytes)| Step::UsePermit(which, bytes)),
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
    /// Those that wait, with what they want to submit.
    line: Vec<(CreditTicket, Load)>,
    permits: Vec<usize>,
    out: Vec<Leased<usize>>,
    /// By how much permits exceeded the bound.
    exceeded: usize,
}

impl World {
    fn step(&mut self, step: &Step) -> Result<(), TestCaseError> {
        let now = self.now;
        match *step {
            Step::Submit { partition, bytes, within } => {
                let load = Load { partition, bytes: bytes.min(self.most) };
                if self.buffer.offer(now, load, load.bytes).is_err() && self.buffer.config().overflow == Overflow::Block
                {
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
                        self.line.remove(which);
                    }
                    Err(_) => _ = self.line.remove(which),
                }
            }
            Step::Cancel(which) if which < self.line.len() => {
                self.buffer.cancel(now, self.line.remove(which).0);
            }
            Step::Reserve(partition) => {
                let is_reserved = self.buffer.reserve(now, partition) == Ok(true);
                self.permits.extend(is_reserved.then_some(partition));
            }
            Step::UsePermit(which, bytes) if which < self.permits.len() => {
                let partition = self.permits.remove(which);
                let load = Load { partition, bytes: bytes.min(self.most) };
                self.exceeded += load.bytes;
                prop_assert!(self.buffer.offer_reserved(now, partition, load, load.bytes).is_ok());
            }
            Step::DropPermit(which) if which < self.permits.len() => {
                self.buffer.give_back(now, self.permits.remove(which));
            }
            Step::Ask(partition) if !self.out.iter().any(|out| out.partition == partition) => {
                let leased = self.buffer.ask(partition, now);
                self.take(leased)?;
            }
            Step::Settle(which) if which < self.out.len() => {
                let lease = self.out.remove(which).id;
                prop_assert!(self.buffer.settle_stored(lease, now).is_some());
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
        let most = self.buffer.config().capacity_bytes.map_or(0, NonZeroUsize::get);
        prop_assert!(snapshot.bytes <= most + self.exceeded, "{} of {most}", snapshot.bytes);
        prop_assert!(snapshot.size() <= snapshot.capacity);
        let is_idle = snapshot.size() == 0 && snapshot.bytes == 0 && snapshot.waiting == 0;
        prop_assert!(!is_idle || snapshot.level == Level::Ok, "nothing waits, and the level is {:?}", snapshot.level);
        Ok(())
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
            for partition in 0..3 {
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

    /// Red when bytes pass the bound but for a permit's, a batch has more than its part, bytes are lost, one that waits is
    /// forgotten, or the level does not come back to ok.
    #[test]
    fn the_bound_of_bytes_holds_and_no_level_sticks(
        bytes in 8usize..200, capacity in 1usize..20, steps in steps(), overflow in 0usize..3
    ) {
        let overflow = [Overflow::Block, Overflow::Error, Overflow::DropOldest][overflow];
        let config = BufferConfig {
            capacity: NonZeroUsize::new(capacity).expect("not zero"),
            capacity_bytes: NonZeroUsize::new(bytes),
            partitions: NonZeroUsize::new(3).expect("not zero"),
            batch_size: NonZeroUsize::new(4).expect("not zero"),
            flush_interval: Duration::from_millis(20),
            overflow,
            watermarks: Watermarks::for_capacity(capacity),
            breaker: BreakerConfig::default(),
            slow_after: Duration::MAX,
            max_strikes: NonZeroU32::MIN,
        };
        let most = most_of_a_partition(bytes, 3);
        let buffer = BoundedBuffer::new(config);
        let (line, permits, out) = (Vec::new(), Vec::new(), Vec::new());
        let mut world = World { buffer, now: Duration::ZERO, most, line, permits, out, exceeded: 0 };
        for step in &steps {
            world.step(step)?;
        }
        world.finish()?;
    }
}
