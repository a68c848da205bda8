//! A sink in memory that does as it is told: holds writes, fails them, panics, and tells a test what happened.

use std::{
    collections::{HashMap, VecDeque},
    fmt,
    hash::Hash,
    sync::Arc,
    time::Duration,
};

use parking_lot::Mutex;
use tokio::sync::{oneshot, watch};

use super::{Batch, Sink, SinkError};
use crate::record::Record;

/// A scripted store in memory, for tests and examples. Cheap to clone; clones share the store and the script.
///
/// Every write goes the same way: it counts as an attempt, waits while the sink is [held](Self::hold), takes the
/// [delay](Self::delay), and then succeeds, unless the script says otherwise. What succeeded is kept in the order of
/// success, nothing is ever replaced: [`by_key`](Self::by_key) shows what an upsert would have left. A write that is
/// cancelled before it succeeded stores nothing.
///
/// ```
/// # use market_data_store::{Batch, Record, Sink, SinkError, sink::MemorySink};
/// # #[derive(Clone, serde::Serialize, serde::Deserialize)]
/// # struct Tick { symbol: String }
/// # impl Record for Tick {
/// #     const KIND: &'static str = "ticks";
/// #     fn partition_key(&self) -> &str { &self.symbol }
/// # }
/// # futures::executor::block_on(async {
/// let sink = MemorySink::new();
/// let batch = Batch::from(vec![Tick { symbol: "ES".into() }]);
///
/// sink.fail_next(SinkError::transient("the store is away"));
/// assert!(sink.write(&batch).await.is_err());
///
/// sink.hold();
/// let (written, ()) = futures::join!(sink.write(&batch), async {
///     sink.wait_held(1).await;
///     assert!(sink.records().is_empty());
///     sink.release();
/// });
/// assert!(written.is_ok());
/// assert_eq!(sink.records().len(), 1);
/// # });
/// ```
pub struct MemorySink<T>(Arc<Shared<T>>);

/// What has happened at a [`MemorySink`] so far.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
#[non_exhaustive]
pub struct MemoryCounts {
    /// Writes begun, failed and cancelled ones too.
    pub writes: usize,
    /// Writes that wait for a release at this moment.
    pub held: usize,
    /// Batches stored.
    pub batches: usize,
    /// Records stored, repetitions too.
    pub stored: usize,
    /// Writes that the script made fail or panic.
    pub failed: usize,
}

struct Shared<T> {
    state: Mutex<State<T>>,
    /// Changed only under the lock of `state`, so that it never shows less than a caller already knows.
    counts: watch::Sender<MemoryCounts>,
}

struct State<T> {
    batches: Vec<Batch<T>>,
    holding: bool,
    /// Held writes, the longest held first.
    held: VecDeque<Held>,
    next_ticket: u64,
    delay: Duration,
    plan: VecDeque<Planned>,
    hook: Option<Hook<T>>,
    ping: Option<Ping>,
}

struct Held {
    ticket: u64,
    go_on: oneshot::Sender<()>,
}

enum Planned {
    Fail(SinkError),
    Panic,
}

type Ping = Arc<dyn Fn() -> Option<Result<(), SinkError>> + Send + Sync>;

type Hook<T> = Arc<dyn Fn(&Batch<T>) -> Option<SinkError> + Send + Sync>;

/// The script. Every method may be called at any time and from any thread.
impl<T: Record> MemorySink<T> {
    /// Makes an empty sink whose writes succeed at once.
    pub fn new() -> Self {
        Self(Arc::new(Shared {
            state: Mutex::new(State {
                batches: Vec::new(),
                holding: false,
                held: VecDeque::new(),
                next_ticket: 0,
                delay: Duration::ZERO,
                plan: VecDeque::new(),
                hook: None,
                ping: None,
            }),
            counts: watch::Sender::default(),
        }))
    }

    /// Holds every write that begins from now on, until it is released.
    pub fn hold(&self) {
        self.0.state.lock().holding = true;
    }

    /// Lets all held writes go on, the longest held first, and later ones pass.
    pub fn release(&self) {
        let mut state = self.0.state.lock();
        state.holding = false;
        while self.release_first(&mut state) {}
    }

    /// Lets the write that is held longest go on; later ones are held as before. Returns whether there was one.
    pub fn release_one(&self) -> bool {
        self.release_first(&mut self.0.state.lock())
    }

    /// Makes the next write that comes to its outcome fail with this error. Calls add up: each fails one write.
    pub fn fail_next(&self, error: SinkError) {
        self.0.state.lock().plan.push_back(Planned::Fail(error));
    }

    /// Makes the next `n` writes fail, each with an error of its own: `fail_times(3, || SinkError::transient("away"))`.
    pub fn fail_times(&self, n: usize, error: impl Fn() -> SinkError) {
        let errors: Vec<_> = (0..n).map(|_| Planned::Fail(error())).collect();
        self.0.state.lock().plan.extend(errors);
    }

    /// Makes the next write that comes to its outcome panic, in its turn among the planned failures.
    pub fn panic_next(&self) {
        self.0.state.lock().plan.push_back(Planned::Panic);
    }

    /// Asks `hook` for the outcome of every write that has no planned one: an error fails it. Replaces an earlier hook.
    ///
    /// The hook sees the whole batch, so it can refuse one bad record wherever it stands; it may look at the sink, and
    /// may panic.
    pub fn fail_when(&self, hook: impl Fn(&Batch<T>) -> Option<SinkError> + Send + Sync + 'static) {
        self.0.state.lock().hook = Some(Arc::new(hook));
    }

    /// Asks `answer` what a [ping](Sink::ping) answers. Without it this sink cannot say whether it is there.
    pub fn answer_pings(&self, answer: impl Fn() -> Option<Result<(), SinkError>> + Send + Sync + 'static) {
        self.0.state.lock().ping = Some(Arc::new(answer));
    }

    /// Forgets every planned failure and the hook. What is held stays held.
    pub fn heal(&self) {
        let (_plan, _hook) = {
            let mut state = self.0.state.lock();
            (std::mem::take(&mut state.plan), state.hook.take())
        };
    }

    /// Makes every write take this long, by tokio's clock, so that a paused one decides. Zero needs no tokio.
    pub fn delay(&self, delay: Duration) {
        self.0.state.lock().delay = delay;
    }

    fn release_first(&self, state: &mut State<T>) -> bool {
        let Some(held) = state.held.pop_front() else { return false };
        self.0.counts.send_modify(|counts| counts.held -= 1);
        // A write that is being cancelled at this moment takes its release with it.
        let _ = held.go_on.send(());
        true
    }
}

/// What happened.
impl<T: Record> MemorySink<T> {
    /// Returns everything stored, in the order of success, repetitions too.
    pub fn records(&self) -> Vec<T>
    where
        T: Clone,
    {
        self.0.state.lock().batches.iter().flat_map(|batch| batch.iter().cloned()).collect()
    }

    /// Returns what a store that upserts would hold: the last stored record of each key.
    pub fn by_key<K: Eq + Hash>(&self, key: impl Fn(&T) -> K) -> HashMap<K, T>
    where
        T: Clone,
    {
        self.records().into_iter().map(|record| (key(&record), record)).collect()
    }

    /// Returns the stored batches in the order of success.
    pub fn batches(&self) -> Vec<Batch<T>> {
        self.0.state.lock().batches.clone()
    }

    /// Returns how many writes have begun, failed and cancelled ones too.
    pub fn writes(&self) -> usize {
        self.counts().writes
    }

    /// Returns how many writes wait for a release now.
    pub fn held(&self) -> usize {
        self.counts().held
    }

    /// Returns how many records are stored, repetitions too.
    pub fn stored(&self) -> usize {
        self.counts().stored
    }

    /// Returns how many writes the script made fail or panic: a test of faults checks that it is not zero.
    pub fn failed(&self) -> usize {
        self.counts().failed
    }

    /// Returns all counts of one moment.
    pub fn counts(&self) -> MemoryCounts {
        *self.0.counts.borrow()
    }

    /// Waits until at least `n` writes are held at once. Needs no particular runtime, and may be cancelled.
    pub async fn wait_held(&self, n: usize) {
        self.wait_until(|counts| counts.held >= n).await;
    }

    /// Waits until at least `n` records are stored, repetitions too.
    pub async fn wait_stored(&self, n: usize) {
        self.wait_until(|counts| counts.stored >= n).await;
    }

    /// Waits until at least `n` writes have begun.
    pub async fn wait_writes(&self, n: usize) {
        self.wait_until(|counts| counts.writes >= n).await;
    }

    /// Waits until the script made at least `n` writes fail or panic.
    pub async fn wait_failed(&self, n: usize) {
        self.wait_until(|counts| counts.failed >= n).await;
    }

    /// Waits for any state of the counts. A state that lasts only until the next change may be missed.
    pub async fn wait_until(&self, mut reached: impl FnMut(&MemoryCounts) -> bool) -> MemoryCounts {
        let mut counts = self.0.counts.subscribe();
        let seen = counts.wait_for(|counts| reached(counts)).await.map(|counts| *counts);
        seen.expect("the sender lives as long as `self`")
    }
}

impl<T: Record> Sink<T> for MemorySink<T> {
    async fn ping(&self) -> Option<Result<(), SinkError>> {
        let ping = self.0.state.lock().ping.clone();
        ping.and_then(|answer| answer())
    }

    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        self.pass_gate().await;

        let delay = self.0.state.lock().delay;
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }

        let (planned, hook) = {
            let mut state = self.0.state.lock();
            let planned = state.plan.pop_front();
            (planned, state.hook.clone())
        };
        // The lock is free by now: the hook may use the sink, and a panic finds nothing half done.
        match planned.or_else(|| hook.and_then(|hook| hook(batch)).map(Planned::Fail)) {
            None => {
                self.store(batch);
                Ok(())
            }
            Some(Planned::Fail(error)) => {
                self.count_failure();
                Err(error)
            }
            Some(Planned::Panic) => {
                self.count_failure();
                panic!("the script of the memory sink asked for this panic")
            }
        }
    }
}

impl<T: Record> MemorySink<T> {
    async fn pass_gate(&self) {
        let (ticket, go_on) = {
            let mut state = self.0.state.lock();
            if !state.holding {
                self.0.counts.send_modify(|counts| counts.writes += 1);
                return;
            }
            let ticket = state.next_ticket;
            state.next_ticket += 1;
            let (sender, receiver) = oneshot::channel();
            state.held.push_back(Held { ticket, go_on: sender });
            self.0.counts.send_modify(|counts| {
                counts.writes += 1;
                counts.held += 1;
            });
            (ticket, receiver)
        };
        // Leaves the row also when the write is cancelled while it waits, so that `held` stays true.
        let _place = WaitingWrite { sink: self, ticket };
        // The sender goes only by being used, or with the whole sink, which this borrow keeps alive.
        let _ = go_on.await;
    }

    fn count_failure(&self) {
        let _state = self.0.state.lock();
        self.0.counts.send_modify(|counts| counts.failed += 1);
    }

    fn store(&self, batch: &Batch<T>) {
        let mut state = self.0.state.lock();
        state.batches.push(batch.clone());
        self.0.counts.send_modify(|counts| {
            counts.batches += 1;
            counts.stored += batch.len();
        });
    }
}

/// A held write's place in the row.
struct WaitingWrite<'a, T: Record> {
    sink: &'a MemorySink<T>,
    ticket: u64,
}

impl<T: Record> Drop for WaitingWrite<'_, T> {
    fn drop(&mut self) {
        let mut state = self.sink.0.state.lock();
        if let Some(at) = state.held.iter().position(|held| held.ticket == self.ticket) {
            state.held.remove(at);
            self.sink.0.counts.send_modify(|counts| counts.held -= 1);
        }
    }
}

impl<T: Record> Default for MemorySink<T> {
    fn default() -> Self {
        Self::new()
    }
}

impl<T> Clone for MemorySink<T> {
    fn clone(&self) -> Self {
        Self(Arc::clone(&self.0))
    }
}

impl<T> fmt::Debug for MemorySink<T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("MemorySink").field(&*self.0.counts.borrow()).finish()
    }
}

#[cfg(test)]
mod tests {
    use std::panic::AssertUnwindSafe;

    use futures_util::FutureExt;
    use serde::{Deserialize, Serialize};

    use super::*;
    use crate::sink::SinkErrorKind;

    #[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
    struct Tick {
        symbol: String,
        price: u32,
    }

    impl Record for Tick {
        const KIND: &'static str = "ticks";
        fn partition_key(&self) -> &str {
            &self.symbol
        }
    }

    fn tick(price: u32) -> Tick {
        Tick { symbol: "ES".into(), price }
    }

    fn one(price: u32) -> Batch<Tick> {
        Batch::from(vec![tick(price)])
    }

    // Sabotage: let `release_one` set `holding` to false, or pop from the back: the order or the rest turns red.
    #[tokio::test]
    async fn held_writes_go_on_in_the_order_of_their_arrival() {
        let sink = MemorySink::new();
        sink.hold();
        let mut writes = Vec::new();
        for price in 0..3 {
            let sink = sink.clone();
            writes.push(tokio::spawn({
                let sink = sink.clone();
                async move { sink.write(&one(price)).await }
            }));
            sink.wait_held(price as usize + 1).await;
        }
        assert_eq!(sink.counts(), MemoryCounts { writes: 3, held: 3, ..Default::default() });

        assert!(sink.release_one());
        sink.wait_stored(1).await;
        assert_eq!((sink.records(), sink.held()), (vec![tick(0)], 2));

        sink.release();
        for write in writes {
            write.await.unwrap().unwrap();
        }
        assert_eq!(sink.stored(), 3);
        assert!(!sink.release_one());
        assert!(sink.write(&one(3)).now_or_never().is_some(), "a write after the release must not wait");
        assert_eq!(sink.by_key(|tick| tick.symbol.clone()), HashMap::from([("ES".to_owned(), tick(3))]));
    }

    // Sabotage: remove `WaitingWrite`: `held` stays at 2, and the release goes to the write that is no more.
    #[tokio::test]
    async fn a_cancelled_write_leaves_the_row_and_stores_nothing() {
        let sink = MemorySink::new();
        sink.hold();
        let (first, second) = (one(1), one(2));
        let mut cancelled = Box::pin(sink.write(&first));
        assert!(futures_util::poll!(&mut cancelled).is_pending());
        let mut kept = Box::pin(sink.write(&second));
        assert!(futures_util::poll!(&mut kept).is_pending());

        drop(cancelled);
        assert_eq!(sink.held(), 1);
        assert!(sink.release_one());
        kept.await.unwrap();
        assert_eq!(sink.records(), vec![tick(2)]);
    }

    // Sabotage: store before the plan is asked, or draw the plan from the back: red.
    #[tokio::test]
    async fn the_plan_comes_before_the_hook_and_in_order() {
        let sink = MemorySink::<Tick>::new();
        sink.fail_when(|batch| batch.iter().any(|tick| tick.price == 13).then(|| SinkError::permanent("thirteen")));
        sink.fail_times(2, || SinkError::transient("away"));
        sink.panic_next();

        for _ in 0..2 {
            assert_eq!(sink.write(&one(1)).await.unwrap_err().kind(), SinkErrorKind::Transient);
        }
        assert!(AssertUnwindSafe(sink.write(&one(1))).catch_unwind().await.is_err());
        assert_eq!(sink.write(&one(13)).await.unwrap_err().kind(), SinkErrorKind::Permanent);
        sink.write(&one(1)).await.unwrap();
        sink.heal();
        sink.write(&one(13)).await.unwrap();
        assert_eq!(sink.counts(), MemoryCounts { writes: 6, held: 0, batches: 2, stored: 2, failed: 4 });
    }

    // Sabotage: use the clock of the system instead of tokio's: the test takes an hour.
    #[tokio::test(start_paused = true)]
    async fn the_delay_follows_a_paused_clock() {
        let sink = MemorySink::new();
        sink.delay(Duration::from_secs(3600));
        let begun = tokio::time::Instant::now();
        sink.write(&one(1)).await.unwrap();
        assert_eq!(begun.elapsed(), Duration::from_secs(3600));
    }

    // Sabotage: count outside the lock, or lose a wake-up in `wait_until`: a sum is wrong, or the test hangs.
    #[test]
    fn many_threads_share_one_sink() {
        let sink = MemorySink::new();
        sink.hold();
        std::thread::scope(|scope| {
            for thread in 0..8 {
                let sink = sink.clone();
                scope.spawn(move || {
                    for n in 0..50 {
                        futures::executor::block_on(sink.write(&one(thread * 50 + n))).unwrap();
                    }
                });
            }
            futures::executor::block_on(async {
                for _ in 0..100 {
                    sink.wait_held(1).await;
                    assert!(sink.release_one());
                }
                sink.release();
                sink.wait_stored(400).await;
            });
        });
        let mut prices: Vec<_> = sink.records().iter().map(|tick| tick.price).collect();
        prices.sort_unstable();
        assert!(prices.into_iter().eq(0..400));
    }
}
