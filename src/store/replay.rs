//! Replaying dead letters: entries go through a coordinator once more.

use std::{
    panic::{AssertUnwindSafe, catch_unwind, resume_unwind},
    pin::{Pin, pin},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
    },
    thread,
    time::Duration,
};

use tokio::{
    runtime::{Builder, Runtime},
    sync::oneshot,
};

use super::MarketDataStore;
use crate::{
    coordinator::{Refusal, ReplayOutcome, ReplayTarget, WriteHandle},
    dead_letter::{
        self, Damaged, DeadLetters, DeadLettersError, Entry, EntryStatus, LockedFile, NotLocked, ReplayLock,
        ReplayOptions, ReplayReport, Selector,
    },
    policy::Level,
    record::Record,
};

/// The most entries that are under way at once, and share one sync of the journal.
const WINDOW: usize = 1_000;
/// How often a replay that waits looks whether it may go on.
const LOOK: Duration = Duration::from_millis(20);

impl MarketDataStore {
    /// Writes the dead letters of this store to one of its coordinators, and removes each once it is stored. Needs no
    /// particular runtime: it works on a thread of its own, as it reads and syncs files.
    ///
    /// Records go out at level `Ok` only, the oldest file first. A replay *upserts*: where the store has got a newer
    /// value of the same key since, the old one takes its place.
    ///
    /// An entry goes only when its record is stored. One that is refused again stays in its place, before later updates
    /// of its key, and counts one replay more. Files that a process writes are left alone; the one of this store is let
    /// go first.
    ///
    /// A replay can be cut off anywhere, by a kill too: what is not known to be stored is replayed again. To stop one,
    /// use
    /// [`replay_until`](Self::replay_until), end the store, or drop the future. In each case what is under way is settled
    /// and marked first, which during an outage takes until the store is back or has ended.
    ///
    /// ```no_run
    /// # use market_data_store::{Bar, MarketDataStore, dead_letter::{ReplayOptions, Selection}};
    /// # async fn run(store: MarketDataStore) -> Result<(), Box<dyn std::error::Error>> {
    /// let bars = store.coordinator::<Bar>()?;
    /// let options = ReplayOptions::default().selection(Selection::default().limit(1_000));
    /// let report = store.replay(&bars, &options).await?;
    /// println!("{} stored, {} refused again", report.stored, report.dead_lettered);
    /// # Ok(())
    /// # }
    /// ```
    ///
    /// # Errors
    /// Another replay or a purge of the directory is under way, a file cannot be read or written, or the operating
    /// system refuses a thread. What was settled before that stays settled.
    ///
    /// # Panics
    /// With the panic of the record's own `Deserialize` or `validate`.
    pub async fn replay<T: Record>(
        &self,
        coordinator: &WriteHandle<T>,
        options: &ReplayOptions,
    ) -> Result<ReplayReport, DeadLettersError> {
        self.replay_until(coordinator, options, std::future::pending()).await
    }

    /// Replays as [`replay`](Self::replay) does, until `stop` is ready. Then it writes no more, waits for what is under
    /// way, and returns its report, in which [`interrupted`](ReplayReport::interrupted) says so.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    ///
    /// # Panics
    /// As [`replay`](Self::replay).
    pub async fn replay_until<T: Record>(
        &self,
        coordinator: &WriteHandle<T>,
        options: &ReplayOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<ReplayReport, DeadLettersError> {
        self.replay_into(vec![Arc::new(coordinator.clone())], options, stop).await
    }

    /// Replays as [`replay`](Self::replay) does, through every coordinator of this store: an entry goes to the one that
    /// it came from, if it takes that kind, else to another one of its kind.
    ///
    /// # Errors
    /// As [`replay`](Self::replay).
    ///
    /// # Panics
    /// As [`replay`](Self::replay).
    pub async fn replay_all(&self, options: &ReplayOptions) -> Result<ReplayReport, DeadLettersError> {
        let targets = self.inner.coordinators.values().map(|running| running.replay_target()).collect();
        self.replay_into(targets, options, std::future::pending()).await
    }

    /// Replays as [`replay_all`](Self::replay_all) does, until `stop` is ready.
    #[cfg(feature = "serve")]
    pub(crate) async fn replay_all_until(
        &self,
        options: &ReplayOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<ReplayReport, DeadLettersError> {
        let targets = self.inner.coordinators.values().map(|running| running.replay_target()).collect();
        self.replay_into(targets, options, stop).await
    }

    async fn replay_into(
        &self,
        targets: Vec<Arc<dyn ReplayTarget>>,
        options: &ReplayOptions,
        stop: impl Future<Output = ()>,
    ) -> Result<ReplayReport, DeadLettersError> {
        let stopped = StopOnDrop(Arc::default());
        let (done, mut replayed) = oneshot::channel();
        let replay = {
            let (dead_letters, options, stopped) = (self.dead_letters(), options.clone(), Arc::clone(&stopped.0));
            move || run(&dead_letters, &targets, &options, &stopped)
        };
        thread::Builder::new()
            .name("mds-replay".to_owned())
            .spawn(move || _ = done.send(catch_unwind(AssertUnwindSafe(replay))))
            .map_err(DeadLettersError::thread)?;
        let mut stop = pin!(stop);
        let replayed = tokio::select! {
            replayed = &mut replayed => replayed,
            () = &mut stop => {
                stopped.0.store(true, Ordering::Release);
                replayed.await
            }
        };
        match replayed.expect("the thread sends before it ends, whatever panics") {
            Ok(report) => report,
            Err(panic) => resume_unwind(panic),
        }
    }
}

/// Tells the thread to stop when the future that waits for it is dropped.
struct StopOnDrop(Arc<AtomicBool>);

impl Drop for StopOnDrop {
    fn drop(&mut self) {
        self.0.store(true, Ordering::Release);
    }
}

/// Replays file after file. Blocks the thread.
fn run(
    dead_letters: &DeadLetters,
    targets: &[Arc<dyn ReplayTarget>],
    options: &ReplayOptions,
    stopped: &AtomicBool,
) -> Result<ReplayReport, DeadLettersError> {
    let dir = dead_letters.dir();
    let mut selector = Selector::new(options, dead_letter::list(dir)?.foreign().to_vec());
    let Some(lock) = ReplayLock::begin(dir)? else { return Ok(selector.report) };
    let runtime = Builder::new_current_thread().build().expect("a runtime without drivers has nothing to fail at");
    runtime.block_on(dead_letters.release());
    for file in lock.files()? {
        if selector.is_done() {
            break;
        }
        match file {
            Ok(file) => {
                let runtime = &runtime;
                let replay = FileReplay { dead_letters, runtime, targets, stopped, file, under_way: Vec::new() };
                replay.run(&mut selector)?;
            }
            Err(NotLocked::Live(path)) => selector.report.live.push(path),
            Err(NotLocked::Failed(error)) => return Err(error),
        }
    }
    Ok(selector.report)
}

/// The replay of one file.
struct FileReplay<'a> {
    dead_letters: &'a DeadLetters,
    runtime: &'a Runtime,
    targets: &'a [Arc<dyn ReplayTarget>],
    stopped: &'a AtomicBool,
    file: LockedFile,
    under_way: Vec<UnderWay<'a>>,
}

/// An entry whose record was accepted.
struct UnderWay<'a> {
    entry: Entry,
    target: &'a dyn ReplayTarget,
    /// Resolves to what became of it.
    outcome: Pin<Box<dyn Future<Output = ReplayOutcome> + Send>>,
}

impl FileReplay<'_> {
    fn run(mut self, selector: &mut Selector<'_>) -> Result<(), DeadLettersError> {
        for found in self.file.unsettled()? {
            if selector.is_done() {
                break;
            }
            let targets = self.targets;
            let find = |entry: &Entry| {
                let mut takers = targets.iter().filter(|target| target.kind() == entry.kind);
                takers.clone().find(|target| target.id() == entry.coordinator_id).or_else(|| takers.next())
            };
            let selected = selector.select(found?, find, |target, entry| target.resubmission(entry));
            let Some(selected) = selected else { continue };
            if let Some(why) = self.wait_for_ok(&**selected.target, &mut selector.report)? {
                selector.report.interrupted = Some(why);
                break;
            }
            match self.runtime.block_on(selected.record) {
                Ok(outcome) => {
                    self.under_way.push(UnderWay { entry: selected.entry, target: &**selected.target, outcome });
                }
                Err(Refusal::Invalid(invalid)) => {
                    selector.report.damaged.push(Damaged { message: invalid.to_string(), ..selected.at });
                }
                Err(refusal) => selector.report.interrupted = Some(refusal.to_string()),
            }
            if self.under_way.len() >= WINDOW {
                self.settle(&mut selector.report)?;
            }
        }
        self.settle(&mut selector.report)?;
        selector.report.live.extend(self.file.finish()?);
        Ok(())
    }

    /// Waits until the level of a coordinator is `Ok`. Returns why that is not to be waited for, if so.
    fn wait_for_ok(
        &mut self,
        target: &dyn ReplayTarget,
        report: &mut ReplayReport,
    ) -> Result<Option<String>, DeadLettersError> {
        loop {
            if self.stopped.load(Ordering::Acquire) {
                return Ok(Some("it was asked to stop".to_owned()));
            }
            if let Some(refusal) = target.ended() {
                return Ok(Some(refusal.to_string()));
            }
            if target.level() == Level::Ok {
                return Ok(None);
            }
            // What is under way may be what holds the level up.
            if !self.settle(report)? {
                thread::sleep(LOOK);
            }
        }
    }

    /// Waits until all that is under way is settled, and marks it. Returns whether anything was.
    fn settle(&mut self, report: &mut ReplayReport) -> Result<bool, DeadLettersError> {
        if self.under_way.is_empty() {
            return Ok(false);
        }
        // No other one: it may be in an outage, which is no concern of these entries.
        let awaited = |target: &dyn ReplayTarget| self.under_way.iter().any(|one| one.target.id() == target.id());
        for target in self.targets.iter().filter(|target| awaited(&***target)) {
            self.runtime.block_on(target.settled());
        }
        let (mut marks, mut left) = (Vec::with_capacity(self.under_way.len()), Vec::new());
        let (mut stored, mut refused, mut unknown) = (0, 0, 0);
        for UnderWay { entry, outcome, .. } in self.under_way.drain(..) {
            match self.runtime.block_on(outcome) {
                ReplayOutcome::Stored => {
                    stored += 1;
                    marks.push((entry, EntryStatus::Stored));
                }
                ReplayOutcome::Refused { error, attempts } => {
                    refused += 1;
                    let replay_count = entry.replay_count + 1;
                    left.push(Entry { error: error.clone(), attempts, replay_count, ..entry.clone() });
                    marks.push((entry, EntryStatus::Refused { error, attempts, replay_count }));
                }
                ReplayOutcome::Unknown => {
                    unknown += 1;
                    left.push(entry);
                }
            }
        }
        report.stored += stored;
        if self.file.is_anything_there() {
            self.file.mark(&marks)?;
        } else if let Err(error) = self.runtime.block_on(self.dead_letters.append_anew(&left)) {
            tracing::error!(entries = left.len(), %error, "dead letters went with a file that was removed");
            report.unknown += refused + unknown;
            return Ok(true);
        }
        report.dead_lettered += refused;
        report.unknown += unknown;
        Ok(true)
    }
}
