//! `mds ingest`: files in, records stored, books that add up.

use std::{
    ffi::OsString,
    fs, io,
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use actix::{Actor, Addr, System};
use smol_str::SmolStr;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    corrected::corrected,
    feed::{Feed, Input, Target},
    inputs,
    levels::{Count, LevelChanges, LevelCounter},
    summary::{Settled, Summary},
    tally::Tally,
};
use crate::{
    Coordinator, DrainReport, MarketDataStore, StartError, StopReason,
    cli::{
        Exit, complain,
        outage::{OutageTimeout, REFRESH},
        print,
        progress::Progress,
        signals::{self, Stop},
    },
    coordinator::{Refusal, WriteHandle},
    dead_letter::{DeadLetters, DeadLettersError},
    feedback::{BroadcastError, Delivery, Feedback, Subscribe},
    files::{Chunk, ColumnMap, ReadError, ReadOptions, TimeFormat, Zone},
    policy::Level,
    record::{Bar, Timeframe},
    settings::{CoordinatorSettings, Settings},
    sink::{SqliteOpenError, SqliteOptions, SqliteSink},
    text::ErrorChain,
    text::quoted::Shown,
};

/// What the end of the store may take beyond MDS_SHUTDOWN_TIMEOUT: it stops workers and writes the last dead letters.
/// With what follows, the process is gone within five seconds.
const LAST_LETTERS: Duration = Duration::from_millis(3_500);

/// What every other step may take that could hang.
const GRACE: Duration = Duration::from_secs(1);

/// An outage as short as this is not worth a word.
const SHOW_OUTAGE: Duration = Duration::from_secs(1);

/// So many files that cannot be loaded are named.
const NAMED_FILES: usize = 20;

/// Loads bars from CSV, NDJSON and JSON files, packed or not, into the store of MDS_DATABASE_URL.
///
/// A line that holds no valid bar costs only itself and is named at the end. Of two rows for the same bar the later
/// wins. On a pipe it writes by MDS_COORDINATOR_FLUSH_INTERVAL, and the pipe fills up when the store is slow.
#[derive(clap::Args)]
pub struct Args {
    /// What was traded, where the files do not say.
    #[arg(long, value_name = "S", value_parser = Bar::normal_symbol)]
    symbol: Option<SmolStr>,
    /// Take the symbol from each file's name: BRK.B.csv.gz holds BRK.B.
    #[arg(long, conflicts_with = "symbol")]
    symbol_from_name: bool,
    /// The time that a bar covers, such as 1m, 4h, 1d or 1mo, where the files do not say.
    #[arg(long, value_name = "T")]
    timeframe: Option<Timeframe>,
    /// Who made the data, where the files do not say.
    #[arg(long, value_name = "V", value_parser = Bar::normal_vendor)]
    vendor: Option<SmolStr>,
    /// Where the clocks stand whose times have no offset, such as America/New_York. UTC if it is not given.
    #[arg(long, value_name = "ZONE")]
    tz: Option<Zone>,
    /// How times are written, such as %d.%m.%Y %H:%M, if not in a usual way.
    #[arg(long, value_name = "F")]
    ts_format: Option<TimeFormat>,
    /// Which column is what, by its name or its number from 1, where the names in the file do not say it or there are
    /// none: ts=1,open=2,high=3,low=4,close=5,volume=6. Names are ts, date, time, open, high, low, close, volume,
    /// symbol, timeframe, vendor.
    #[arg(long, value_name = "NAME=COLUMN,...")]
    map: Option<ColumnMap>,
    #[command(flatten)]
    outage_timeout: OutageTimeout,
    /// Read and check, but store nothing.
    #[arg(long)]
    dry_run: bool,
    /// Print the summary as one JSON object.
    #[arg(long)]
    json: bool,
    /// Files to load, directories of them, or patterns such as 'data/*.csv'; - is standard input.
    #[arg(required = true, value_name = "FILE")]
    files: Vec<PathBuf>,
}

/// More in one commit gains nothing, and would be written again whole after a failure.
const MOST_IN_A_BATCH: usize = 5_000;

/// Returns the batch size of a loader that nobody has set: each worker's share of the queue, if that is more than the
/// default. A file brings more than any queue holds, and each commit waits for the disk, so fewer and larger ones pay;
/// where little comes, the flush interval ends a batch all the same.
pub fn batch_size(settings: &CoordinatorSettings) -> usize {
    settings.batch_size.max(MOST_IN_A_BATCH.min(settings.capacity / settings.workers))
}

/// Runs the command.
pub fn run(args: &Args, settings: Settings) -> Exit {
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format_args!("error: cannot listen for signals: {error}"));
            return Exit::Internal;
        }
    };
    let options = args.options();
    let (inputs, missing) = inputs::expand(&args.files);
    for (word, error) in &missing {
        complain(format_args!("error: {}: {error}", Shown(&word.to_string_lossy())));
    }
    // All of them before anything is written: whoever mends the third file wants to run the same command again.
    let mut faulty = 0;
    for input in &inputs {
        if let Err(error) = check(input, &options) {
            faulty += 1;
            if faulty <= NAMED_FILES {
                args.complain_about(input, &error);
            }
        }
    }
    if faulty > NAMED_FILES {
        complain(format_args!("error: {} more files cannot be loaded", faulty - NAMED_FILES));
    }
    let mut refused = faulty > 0 || !missing.is_empty();
    if inputs.iter().filter(|input| input.is_standard_input()).count() > 1 {
        complain(format_args!("error: expected - once, standard input can be read only once"));
        refused = true;
    }
    if refused {
        return Exit::Usage;
    }
    System::new().block_on(ingest(args, settings, inputs, options, stop))
}

/// Reads as far as it takes to know that the input can be read. One that can be read only once is left alone.
fn check(input: &Input, options: &ReadOptions) -> Result<(), ReadError> {
    if input.is_standard_input() {
        let problem = "expected data on standard input, got none: it is closed or /dev/null, give a file or a pipe";
        return if is_null_input() { Err(ReadError::Refused(problem.into())) } else { Ok(()) };
    }
    let metadata = fs::metadata(&input.path)?;
    if metadata.is_dir() {
        return Err(io::Error::from(io::ErrorKind::IsADirectory).into());
    }
    if input.bytes.is_none() {
        return Ok(());
    }
    let mut reader = input.open(options)?;
    let mut chunk = Chunk::default();
    while reader.next_chunk(&mut chunk)? && chunk.is_empty() {}
    Ok(())
}

/// Returns whether standard input is where nothing ever comes from. One that was closed is so too: something has to be
/// there, so the runtime opens this before `main`.
#[cfg(unix)]
fn is_null_input() -> bool {
    use std::os::unix::fs::{FileTypeExt, MetadataExt};
    let device =
        |path| fs::metadata(path).ok().filter(|file| file.file_type().is_char_device()).map(|file| file.rdev());
    device("/dev/stdin").is_some_and(|input| device("/dev/null") == Some(input))
}

#[cfg(not(unix))]
fn is_null_input() -> bool {
    false
}

/// Why there is nothing more to wait for.
enum End {
    /// Everything was read and is settled; these inputs failed.
    Read(Vec<(Input, ReadError)>),
    /// A signal came.
    Stopped(Exit),
    /// The store was away for longer than anybody wants to wait; this is what it said.
    GaveUp(String),
    /// The store, or the reading thread, broke.
    Broken(String),
}

/// What runs unless it is a dry run.
struct Live {
    store: MarketDataStore,
    handle: WriteHandle<Bar>,
    sink: SqliteSink,
    feedback: Feedback,
    levels: Addr<LevelCounter>,
}

async fn ingest(args: &Args, settings: Settings, inputs: Vec<Input>, options: ReadOptions, mut stop: Stop) -> Exit {
    let deadline = settings.shutdown_timeout;
    let live = if args.dry_run {
        None
    } else {
        match Live::start(settings).await {
            Ok(live) => Some(live),
            Err(error) => {
                complain(format_args!("error: {}", ErrorChain(&error)));
                return exit_of(&error);
            }
        }
    };
    let started = Instant::now();
    let tally = Arc::new(Tally::default());
    let progress = Progress::start();
    let (done, read) = oneshot::channel();
    let feed = Feed {
        inputs,
        options,
        target: live.as_ref().map_or(Target::DryRun, |live| Target::Coordinator(live.handle.clone())),
        tally: Arc::clone(&tally),
        progress: progress.clone(),
    };
    // A plain thread: a read from a pipe cannot be interrupted, and must not keep the process alive.
    let reading = std::thread::Builder::new().name("mds-read".to_owned()).spawn(move || {
        let _ = done.send(feed.run());
    });
    if let Err(error) = reading {
        complain(format_args!("error: cannot start a thread: {error}"));
        return Exit::Internal;
    }

    let end = tokio::select! {
        biased;
        exit = signals::stopped(&mut stop) => End::Stopped(exit),
        reason = broken(live.as_ref()) => End::Broken(reason.to_string()),
        end = read_and_flushed(read, live.as_ref()) => end,
        why = watch(&args.outage_timeout, &progress, &tally, live.as_ref(), started) => End::GaveUp(why),
    };

    let (mut exit, settled) = match (&end, &live) {
        (End::Stopped(exit), Some(live)) => (*exit, live.end(live.store.shutdown(deadline), deadline).await),
        (End::Stopped(exit), None) => (*exit, Settled::default()),
        (End::Read(_), Some(live)) => (Exit::Done, live.end(live.store.finish(deadline), deadline).await),
        // Nobody is in a hurry: what was waited for so long may take its time to become dead letters.
        (End::GaveUp(_), Some(live)) => (Exit::Unavailable, live.end(live.store.give_up(deadline), deadline).await),
        (End::Broken(_), Some(live)) => (Exit::Internal, live.end(live.store.shutdown(deadline), deadline).await),
        (End::Broken(_) | End::GaveUp(_), None) => (Exit::Internal, Settled::default()),
        (End::Read(_), None) => (Exit::Done, Settled::default()),
    };
    let died = live.as_ref().and_then(|live| live.store.died());
    if let (Some(died), End::Read(_) | End::Stopped(_) | End::GaveUp(_)) = (died, &end) {
        tracing::error!("{died}");
        exit = exit.min(Exit::Internal);
    }
    let counts = tally.close();
    let mut settled = if live.is_some() { settled } else { Settled { stored: counts.accepted, ..Settled::default() } };
    let elapsed = started.elapsed();
    let changes = match &live {
        Some(live) => {
            let changes = live.close().await;
            settled.lose(complain_of_lost(&live.sink));
            settled.lose_letters(complain_of_lost_letters(&live.store.dead_letters()));
            changes
        }
        None => LevelChanges::default(),
    };
    progress.finish();

    match end {
        End::Read(failed) => {
            for (input, error) in &failed {
                args.complain_about(input, error);
                exit = exit.min(if matches!(error, ReadError::Io(_)) { Exit::Internal } else { Exit::Usage });
            }
        }
        End::Broken(reason) => tracing::error!("{reason}"),
        End::GaveUp(why) => args.outage_timeout.complain(&why),
        End::Stopped(_) => {}
    }
    let summary = Summary::new(counts, settled, elapsed, changes);
    let printed = print(&if args.json { summary.json() } else { summary.table(args.dry_run) });
    exit.min(summary.exit()).min(printed.map_or_else(|exit| exit, |()| Exit::Done))
}

impl Live {
    async fn start(settings: Settings) -> Result<Self, StartError> {
        // Not by `MarketDataStore::start`: a sink that is closed leaves one file behind, not the file and its log.
        let sink = SqliteSink::open(SqliteOptions::from_url(&settings.database_url)?)?;
        let store =
            MarketDataStore::builder(settings).coordinator(Coordinator::<Bar>::new(sink.clone())).start().await?;
        let handle = store.coordinator::<Bar>().expect("the one coordinator was added above");
        let feedback = store.feedback();
        let levels = LevelCounter::default().start();
        feedback.subscribe(Subscribe::new(levels.clone().recipient()).delivery(Delivery::Every));
        Ok(Self { store, handle, sink, feedback, levels })
    }

    /// Waits for the end of the store, for little more than it has.
    async fn end(&self, end: impl Future<Output = DrainReport>, deadline: Duration) -> Settled {
        match timeout(deadline + LAST_LETTERS, end).await.map(|report| report.coordinators.first().map(Settled::from)) {
            Ok(Some(settled)) => settled,
            // The coordinator hangs with its sink. Its buffer still knows what became of every record.
            _ => Settled::from(&self.handle.reporter()()),
        }
    }

    /// Closes the files, and returns the level changes up to the last.
    async fn close(&self) -> LevelChanges {
        let changes = async {
            self.feedback.idle().await;
            self.levels.send(Count).await
        };
        let letters = self.store.dead_letters();
        let (_, _, changes) =
            tokio::join!(timeout(GRACE, self.sink.close()), timeout(GRACE, letters.release()), timeout(GRACE, changes));
        changes.ok().and_then(Result::ok).unwrap_or_default()
    }
}

/// Waits until the store can do no more work; a dry run has none.
async fn broken(live: Option<&Live>) -> StopReason {
    match live {
        Some(live) => live.store.stopped().await,
        None => std::future::pending().await,
    }
}

/// Waits until everything is read, and everything accepted is settled, however long the store is away.
async fn read_and_flushed(
    read: oneshot::Receiver<Result<Vec<(Input, ReadError)>, Refusal>>,
    live: Option<&Live>,
) -> End {
    let refusal = match read.await {
        Ok(Ok(failed)) => match live {
            None => return End::Read(failed),
            Some(live) => match live.handle.flush().await {
                Ok(()) => return End::Read(failed),
                Err(refusal) => refusal,
            },
        },
        Ok(Err(refusal)) => refusal,
        Err(_) => return End::Broken("the reading thread died".to_owned()),
    };
    // The store is about to say why it takes no more; that is worth more than that it does not.
    sleep(GRACE).await;
    End::Broken(refusal.to_string())
}

/// Shows how it goes, and ends when the store was away for too long, with what it said.
async fn watch(
    outage_timeout: &OutageTimeout,
    progress: &Progress,
    tally: &Tally,
    live: Option<&Live>,
    started: Instant,
) -> String {
    let rate = |level| progress.rate(tally.accepted() as f64 / started.elapsed().as_secs_f64().max(0.001), level);
    let Some(live) = live else {
        loop {
            rate(Level::Ok);
            sleep(REFRESH).await;
        }
    };
    let show = |level, away, why: &str| match away >= SHOW_OUTAGE {
        true => progress.outage(away, why),
        false => rate(level),
    };
    outage_timeout.runs_out(&live.handle, show).await
}

impl Args {
    fn options(&self) -> ReadOptions {
        ReadOptions {
            symbol: self.symbol.clone(),
            timeframe: self.timeframe,
            vendor: self.vendor.clone(),
            zone: self.tz.clone(),
            ts_format: self.ts_format.clone(),
            map: self.map.clone().unwrap_or_default(),
            symbol_from_name: self.symbol_from_name,
            name: String::new(),
        }
    }

    /// Says what is wrong with an input, and how to say what is missing.
    fn complain_about(&self, input: &Input, error: &ReadError) {
        complain(format_args!("error: {}: {error}", Shown(&input.name)));
        if let ReadError::Missing(missing) = error {
            complain(format_args!("  try: {}", corrected(missing, &self.words_for(input))));
        }
    }

    /// The command line as it was typed, for one of its files: what is missing is missing in each of them by itself.
    fn words_for(&self, input: &Input) -> Vec<String> {
        let words = std::env::args_os().skip(1).filter_map(|word| {
            if *word == *input.word.as_os_str() {
                return Some(input.path.clone().into_os_string());
            }
            (!self.files.iter().any(|file| *file == word)).then_some(word)
        });
        [OsString::from("mds")].into_iter().chain(words).map(|word| word.to_string_lossy().into_owned()).collect()
    }
}

/// Says that records are not where they were stored, if so, and returns how many; all is known once the sink is closed.
pub(in crate::cli) fn complain_of_lost(sink: &SqliteSink) -> u64 {
    let lost = sink.lost();
    if lost > 0 {
        let path = sink.path().display();
        complain(format_args!(
            "error: {path}: removed or replaced while it was written, and {lost} records with it: load them again"
        ));
    }
    lost
}

/// Says the same of dead letters; all is known once they are released.
pub(in crate::cli) fn complain_of_lost_letters(letters: &DeadLetters) -> u64 {
    let lost = letters.lost();
    if lost > 0 {
        let dir = letters.dir().display();
        complain(format_args!(
            "error: {dir}: a file was removed or replaced while it was written, and {lost} dead letters with it: \
             load them again"
        ));
    }
    lost
}

/// The store's failures by whose they are: the environment's, the store's, or our own.
pub(in crate::cli) fn exit_of(error: &StartError) -> Exit {
    match error {
        // The operating system has no thread left, which is nobody's configuration.
        StartError::Sqlite(SqliteOpenError::Thread(_))
        | StartError::DeadLetters(DeadLettersError::Thread(_))
        | StartError::Webhooks(BroadcastError::Thread(_)) => Exit::Internal,
        StartError::Settings(_) | StartError::Watermarks(_) | StartError::UnknownStore { .. } => Exit::Configuration,
        StartError::Sqlite(SqliteOpenError::Url { .. }) | StartError::DeadLetters(_) => Exit::Configuration,
        StartError::Webhooks(_) => Exit::Configuration,
        StartError::Sqlite(_) => Exit::Unavailable,
        _ => Exit::Internal,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if the file or the directory is blamed for it: 69 or 78.
    #[test]
    fn a_thread_that_cannot_be_started_is_nobody_s_configuration() {
        let no_thread = || io::Error::from(io::ErrorKind::WouldBlock);
        for error in [
            StartError::from(SqliteOpenError::Thread(no_thread())),
            StartError::from(DeadLettersError::Thread(no_thread())),
            StartError::from(BroadcastError::Thread(no_thread())),
        ] {
            assert_eq!(exit_of(&error), Exit::Internal, "{error}");
        }
        let path = PathBuf::from("dead_letters");
        assert_eq!(exit_of(&DeadLettersError::NotADirectory(path.clone()).into()), Exit::Configuration);
        assert_eq!(exit_of(&SqliteOpenError::NotADatabase { path }.into()), Exit::Unavailable);
    }

    // Red if a small queue makes batches smaller than the default, or a large one without end.
    #[test]
    fn a_loader_s_batch_is_a_worker_s_share_of_the_queue_or_the_default() {
        for (capacity, workers, expected) in [(10_000, 4, 2_500), (1_000, 4, 500), (100_000, 1, 5_000), (1, 1_024, 500)]
        {
            let settings = CoordinatorSettings::new(capacity).workers(workers);
            assert_eq!(batch_size(&settings), expected, "{capacity} and {workers}");
        }
    }
}
