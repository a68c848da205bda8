//! `mds ingest`: reads files, stores records, and says what became of each.

use std::{
    sync::Arc,
    time::{Duration, Instant},
};

use market_data_store::{
    Delivery, Level, Overflow, Refusal, Settings, StartError, StopReason, Subscribe, WriteHandle,
    files::{FileRecord, ForKind, ReadError, ReadOptions, for_kind},
    settings::CoordinatorOverrides,
};
use parking_lot::Mutex;
use tokio::{
    sync::oneshot,
    time::{sleep, timeout},
};

use super::{
    args::Args,
    counters::Counters,
    input::{Input, check},
    inputs,
    levels::{LevelChanges, LevelCounter},
    reader_thread::{ReaderThread, Target},
    summary::{Settled, Summary},
};
use crate::cli::{
    exit::Exit,
    outage::REFRESH,
    output::complain,
    progress::Progress,
    session::{GRACE, Session, runtime},
    signals::{self, Stop},
};

/// What the end of the store may take beyond MDS_SHUTDOWN_TIMEOUT: it stops workers and writes the last dead letters.
/// With what follows, the process is gone within five seconds.
const LAST_DEAD_LETTERS: Duration = Duration::from_millis(3_500);

/// An outage as short as this is not worth a word.
const SHOW_OUTAGE: Duration = Duration::from_secs(1);

/// So many files that cannot be loaded are named.
const NAMED_FILES: usize = 20;

/// Runs the command.
pub fn run(args: &Args, settings: Settings) -> Exit {
    let exit = for_kind(&args.kind, Run { args, settings });
    exit.expect("the names of the kinds are all that the option takes")
}

/// Runs the command for a kind.
struct Run<'a> {
    args: &'a Args,
    settings: Settings,
}

impl ForKind for Run<'_> {
    type Output = Exit;

    fn call<T: FileRecord>(self) -> Exit {
        run_for::<T>(self.args, self.settings)
    }
}

fn run_for<T: FileRecord>(args: &Args, settings: Settings) -> Exit {
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format_args!("error: cannot listen for signals: {error}"));
            return Exit::Internal;
        }
    };
    let options = match args.options::<T>() {
        Ok(options) => options,
        Err(error) => {
            complain(format_args!("error: invalid value for '--map <NAME=COLUMN,...>': {error}"));
            return Exit::Usage;
        }
    };
    let (inputs, missing) = inputs::expand(&args.files, !args.no_recursive);
    for (word, error) in &missing {
        complain(format_args!("error: {}: {error}", word.display()));
    }
    // All of them before anything is written: after the third file is mended, the same command is run again.
    let mut faulty = 0;
    for input in &inputs {
        if let Err(error) = check::<T>(input, &options) {
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
    match runtime() {
        Ok(runtime) => runtime.block_on(ingest::<T>(args, settings, inputs, options, stop)),
        Err(error) => {
            complain(format_args!("error: cannot wait for the store: {error}"));
            Exit::Internal
        }
    }
}

/// Why there is nothing more to wait for.
enum End {
    /// Everything was read and is settled; these inputs failed.
    Read(Vec<(Input, ReadError)>),
    /// A signal came.
    Stopped(Exit),
    /// The store was away for longer than it is waited for; this is what it said.
    GaveUp((Duration, String)),
    /// The database turned out not to be the one for this kind.
    Unfit(String),
    /// The store, or the thread that reads, broke.
    Broken(String),
}

impl From<StopReason> for End {
    fn from(reason: StopReason) -> Self {
        let text = reason.to_string();
        if Exit::of_stop(&reason) == Exit::Unavailable { Self::Unfit(text) } else { Self::Broken(text) }
    }
}

/// What runs unless it is a dry run.
struct Load<T: FileRecord> {
    session: Session,
    records: WriteHandle<T>,
    levels: Arc<Mutex<LevelChanges>>,
}

async fn ingest<T: FileRecord>(
    args: &Args,
    settings: Settings,
    inputs: Vec<Input>,
    options: ReadOptions,
    mut stop: Stop,
) -> Exit {
    let deadline = settings.shutdown_timeout;
    let load = match (!args.dry_run).then(|| Load::<T>::start(settings)).transpose() {
        Ok(load) => load,
        Err(error) => return args.database.failed(&error),
    };
    let started = Instant::now();
    let counters = Arc::new(Counters::default());
    let progress = Progress::start(inputs.iter().map(|input| input.bytes).sum());
    let (done, read) = oneshot::channel();
    let reader = ReaderThread {
        inputs,
        options,
        target: load.as_ref().map_or(Target::DryRun, |load| Target::Coordinator(load.records.clone())),
        counters: Arc::clone(&counters),
        progress: progress.clone(),
    };
    // A plain thread: a read from a pipe cannot be interrupted, and must not keep the process alive.
    let thread = std::thread::Builder::new().name("mds-read".to_owned()).spawn(move || {
        let _ = done.send(reader.run());
    });

    let end = match thread {
        Err(error) => End::Broken(format!("cannot start a thread: {error}")),
        Ok(_) => tokio::select! {
            biased;
            exit = signals::stopped(&mut stop) => End::Stopped(exit),
            reason = broken(load.as_ref()) => reason.into(),
            end = read_and_flushed(read, load.as_ref()) => end,
            why = watch(args, &progress, &counters, load.as_ref(), started) => End::GaveUp(why),
        },
    };

    let mut exit = match &end {
        End::Read(_) => Exit::Done,
        End::Stopped(exit) => *exit,
        End::GaveUp(_) | End::Unfit(_) => Exit::Unavailable,
        End::Broken(_) => Exit::Internal,
    };
    let ended = match &load {
        Some(load) => Some(load.end(&end, deadline).await),
        None => None,
    };
    let counts = counters.close();
    let elapsed = started.elapsed();
    let (settled, changes) = match &load {
        Some(load) => {
            if load.session.close().await {
                exit = exit.min(Exit::Internal);
            }
            (ended.unwrap_or_default(), *load.levels.lock())
        }
        None => (Settled { stored: counts.accepted, ..Settled::default() }, LevelChanges::default()),
    };
    progress.finish();
    if let Some(died) = load.as_ref().and_then(|load| load.session.died())
        && !matches!(end, End::Broken(_) | End::Unfit(_))
    {
        tracing::error!("{died}");
        exit = exit.min(Exit::of_stop(&died));
    }

    match end {
        End::Read(failed) => {
            for (input, error) in &failed {
                args.complain_about(input, error);
                exit = exit.min(if matches!(error, ReadError::Io(_)) { Exit::Internal } else { Exit::Usage });
            }
        }
        End::Broken(reason) | End::Unfit(reason) => complain(format_args!("error: {reason}")),
        End::GaveUp(why) => args.outage_timeout.complain(&why),
        End::Stopped(_) => {}
    }
    let summary = Summary::new(counts, settled, elapsed, changes);
    let mut text = if args.json { summary.json() } else { summary.table(args.dry_run) };
    let printed = text.print().map_or_else(|exit| exit, |()| Exit::Done);
    exit.min(summary.exit()).min(printed)
}

impl<T: FileRecord> Load<T> {
    fn start(mut settings: Settings) -> Result<Self, StartError> {
        always_wait::<T>(&mut settings);
        let (session, records) = Session::of_kind(settings)?;
        let levels = Arc::default();
        let counter = LevelCounter(Arc::clone(&levels));
        let counter = session.store.start_actor(|_| counter);
        session.store.feedback().subscribe(Subscribe::new(counter.recipient()).delivery(Delivery::Every));
        Ok(Self { session, records, levels })
    }

    /// Ends the store, and returns what became of the records. It waits for little more than the deadline.
    async fn end(&self, end: &End, deadline: Duration) -> Settled {
        let store = &self.session.store;
        let report = async {
            match end {
                End::Read(_) => store.finish(deadline).await,
                // Nothing of it can be stored, and it may take its time to become dead letters.
                End::GaveUp(_) | End::Unfit(_) => store.abort(deadline).await,
                End::Stopped(_) | End::Broken(_) => store.shutdown(deadline).await,
            }
        };
        let report = timeout(deadline + LAST_DEAD_LETTERS, report).await;
        match report.ok().as_ref().and_then(|report| report.coordinators.first()) {
            Some(report) => Settled::from(report),
            // The coordinator hangs with its sink. Its queue still knows what became of every record.
            None => Settled::from(&self.records.report()),
        }
    }
}

/// Makes a full queue one that is waited for: a file can wait, so nothing of it has to be dropped.
fn always_wait<T: FileRecord>(settings: &mut Settings) {
    if settings.coordinator_settings(T::KIND).overflow != Overflow::Block {
        let of_kind =
            |(key, own): (&String, &CoordinatorOverrides)| key.eq_ignore_ascii_case(T::KIND) && own.overflow.is_some();
        let own = if settings.coordinators.iter().any(of_kind) {
            format!("{}_", T::KIND.to_uppercase())
        } else {
            String::new()
        };
        tracing::warn!(
            "MDS_{own}COORDINATOR_OVERFLOW_STRATEGY does not bind `mds ingest`: what it reads can wait, so it waits while the queue \
             is full, as with block"
        );
    }
    settings.coordinator.overflow = Overflow::Block;
    settings.coordinators.values_mut().for_each(|own| own.overflow = None);
}

/// Waits until the store can do no more work; a dry run has none.
async fn broken<T: FileRecord>(load: Option<&Load<T>>) -> StopReason {
    match load {
        Some(load) => load.session.store.stopped().await,
        None => std::future::pending().await,
    }
}

/// Waits until everything is read, and everything accepted is settled, however long the store is away.
async fn read_and_flushed<T: FileRecord>(
    read: oneshot::Receiver<Result<Vec<(Input, ReadError)>, Refusal>>,
    load: Option<&Load<T>>,
) -> End {
    let refusal = match read.await {
        Ok(Ok(failed)) => match load {
            None => return End::Read(failed),
            Some(load) => match load.records.flush().await {
                Ok(()) => return End::Read(failed),
                Err(refusal) => refusal,
            },
        },
        Ok(Err(refusal)) => refusal,
        Err(_) => return End::Broken("the thread that reads died".to_owned()),
    };
    // The store is about to say why it takes no more; that is worth more than that it does not.
    sleep(GRACE).await;
    End::Broken(refusal.to_string())
}

/// Shows how it goes, until the store was away for too long, with what it said.
async fn watch<T: FileRecord>(
    args: &Args,
    progress: &Progress,
    counters: &Counters,
    load: Option<&Load<T>>,
    started: Instant,
) -> (Duration, String) {
    let rate = |level| progress.rate(counters.accepted(), started.elapsed(), level);
    let Some(load) = load else {
        loop {
            rate(Level::Ok);
            sleep(REFRESH).await;
        }
    };
    let show = |level, away, why: &str| match away >= SHOW_OUTAGE {
        true => progress.outage(away, why),
        false => rate(level),
    };
    args.outage_timeout.runs_out(&load.session.store, show).await
}
