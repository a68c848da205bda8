use std::{fmt::Write, thread, time::Duration};

use actix::System;
use tokio::{sync::oneshot, time::timeout};

use super::{failed, name_foreign, select::Select};
use crate::{
    Coordinator, MarketDataStore, StartError,
    cli::{
        Exit, complain,
        ingest::{complain_of_lost, complain_of_lost_letters, exit_of},
        outage::OutageTimeout,
        print,
        signals::{self, Stop},
    },
    coordinator::WriteHandle,
    dead_letter::{self, DeadLetters, FilesError, ReplayOptions, ReplayReport},
    policy::Overflow,
    record::Bar,
    settings::Settings,
    sink::{SqliteOptions, SqliteSink},
    text::ErrorChain,
};

/// What the end may take beyond MDS_SHUTDOWN_TIMEOUT, for each of its steps that could hang.
const GRACE: Duration = Duration::from_secs(1);

/// Writes dead letters to the store of MDS_DATABASE_URL, and removes each once it is stored.
///
/// A replay upserts: where the store has got a newer value of the same key since, the old one takes its place. See
/// `mds dlq list` for the age.
///
/// It writes only while the level is ok, waits while the store is away, and can be stopped or killed at any point. What
/// the store refuses once more stays where it is, with one replay more. A file that somebody writes is left alone, and
/// two replays of one directory exclude each other.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,
    /// Leave alone what was replayed so often.
    #[arg(long, value_name = "N", default_value_t = ReplayOptions::default().max_replays)]
    max_replays: u32,
    #[command(flatten)]
    outage_timeout: OutageTimeout,
    /// Only say what would be written.
    #[arg(long)]
    dry_run: bool,
    /// Print the result as one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, settings: Settings) -> Exit {
    let options = ReplayOptions { selection: args.select.selection(), max_replays: args.max_replays };
    if args.dry_run {
        return match dead_letter::replay_dry_run::<Bar>(&settings.dlq_path, &options) {
            Ok(report) => args.tell(&report, Exit::Done),
            Err(error) => failed(&error),
        };
    }
    // Without files nothing is to be stored, and a database that is not there need not be made.
    match dead_letter::list(&settings.dlq_path) {
        Ok(list) if list.is_at_end() => {
            let nothing = ReplayReport { foreign: list.foreign().to_vec(), ..ReplayReport::default() };
            return args.tell(&nothing, Exit::Done);
        }
        Ok(_) => {}
        Err(error) => return failed(&error),
    }
    match signals::listen() {
        Ok(stop) => System::new().block_on(replay(args, settings, options, stop)),
        Err(error) => {
            complain(format_args!("error: cannot listen for signals: {error}"));
            Exit::Internal
        }
    }
}

type Replayed = Result<ReplayReport, FilesError>;

async fn replay(args: &Args, settings: Settings, options: ReplayOptions, mut stop: Stop) -> Exit {
    let deadline = settings.shutdown_timeout;
    let (store, sink, handle) = match start(settings).await {
        Ok(started) => started,
        Err(error) => {
            complain(format_args!("error: {}", ErrorChain(&error)));
            return exit_of(&error);
        }
    };
    let mut replayed = match on_a_thread(store.dead_letters(), handle.clone(), options, stop.clone()) {
        Ok(replayed) => replayed,
        Err(error) => {
            complain(format_args!("error: cannot start a thread: {error}"));
            return Exit::Internal;
        }
    };
    let (mut exit, mut result) = (Exit::Done, None);
    tokio::select! {
        biased;
        signal = signals::stopped(&mut stop) => exit = signal,
        done = &mut replayed => result = Some(done),
        reason = store.stopped() => {
            tracing::error!("{reason}");
            exit = Exit::Internal;
        }
        why = args.outage_timeout.runs_out(&handle, |_, _, _| {}) => {
            args.outage_timeout.complain(&why);
            exit = Exit::Unavailable;
        }
    }
    // The end of the store settles what is under way, and that is what a replay that was asked to stop waits for.
    let report = match exit {
        Exit::Done => store.finish(deadline).await,
        // It was waited for long enough.
        Exit::Unavailable => store.shutdown(Duration::ZERO).await,
        _ => store.shutdown(deadline).await,
    };
    let result = match result {
        Some(done) => done,
        None => timeout(GRACE, replayed).await.unwrap_or_else(|_| {
            let interrupted = Some("it did not end in time, so its counts are not known".to_owned());
            Ok(Ok(ReplayReport { interrupted, ..ReplayReport::default() }))
        }),
    };
    let letters = store.dead_letters();
    let _ = tokio::join!(timeout(GRACE, sink.close()), timeout(GRACE, letters.release()));
    let lost = [complain_of_lost(&sink), complain_of_lost_letters(&letters)];
    if lost != [0, 0] || !report.is_complete() {
        exit = exit.min(Exit::Internal);
    }
    // A replay that is refused by what died may be told before that is.
    if let Some(died) = store.died()
        && exit != Exit::Internal
    {
        tracing::error!("{died}");
        exit = exit.min(Exit::Internal);
    }
    match result {
        Ok(Ok(mut report)) => {
            lose(&mut report, lost[0]);
            args.tell(&report, exit)
        }
        Ok(Err(error)) => exit.min(failed(&error)),
        Err(_) => {
            complain(format_args!("error: the replaying thread died"));
            exit.min(Exit::Internal)
        }
    }
}

/// Takes in that so many records were stored in a database file that is gone: nobody knows where they are. Of new entries
/// the replay knows by itself.
fn lose(report: &mut ReplayReport, stored: u64) {
    let stored = stored.min(report.stored);
    report.stored -= stored;
    report.unknown += stored;
}

async fn start(mut settings: Settings) -> Result<(MarketDataStore, SqliteSink, WriteHandle<Bar>), StartError> {
    // Nothing of a replay may be dropped.
    settings.coordinator.overflow = Overflow::Block;
    // Nobody feeds it, and a `draining` of one that was stopped would never clear for those who follow every source.
    settings.feedback.http.enabled = false;
    let sink = SqliteSink::open(SqliteOptions::from_url(&settings.database_url)?)?;
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::<Bar>::new(sink.clone())).start().await?;
    let handle = store.coordinator::<Bar>().expect("the one coordinator was added above");
    Ok((store, sink, handle))
}

/// Replays on a plain thread, for it reads and syncs files.
fn on_a_thread(
    letters: DeadLetters,
    handle: WriteHandle<Bar>,
    options: ReplayOptions,
    stop: Stop,
) -> std::io::Result<oneshot::Receiver<Replayed>> {
    let (done, replayed) = oneshot::channel();
    thread::Builder::new().name("mds-replay".to_owned()).spawn(move || {
        let _ = done.send(letters.replay(&handle, &options, || stop.borrow().is_some()));
    })?;
    Ok(replayed)
}

impl Args {
    /// Prints the result, and returns what it means for the process.
    fn tell(&self, report: &ReplayReport, exit: Exit) -> Exit {
        name_foreign(&report.foreign);
        let text = if self.json {
            serde_json::to_string(report).expect("numbers, and paths of names of our own, serialise") + "\n"
        } else {
            self.table(report)
        };
        let printed = print(&text).map_or_else(|exit| exit, |()| Exit::Done);
        let left = if report.is_complete() { Exit::Done } else { Exit::Rejected };
        exit.min(printed).min(left)
    }

    fn table(&self, report: &ReplayReport) -> String {
        let rows = [
            (if self.dry_run { "would be written" } else { "stored" }, report.stored),
            ("dead-lettered again", report.dead_lettered),
            ("replayed too often", report.exhausted),
            ("of other kinds", report.other_kinds.values().sum()),
            ("without a record", report.unwritable),
            ("outcome unknown", report.unknown),
            ("damaged", report.damaged.len() as u64),
            ("files in use", report.live.len() as u64),
        ];
        let mut text = String::new();
        // Writing to a string cannot fail.
        for (name, value) in rows {
            let _ = writeln!(text, "{name:19}  {value}");
        }
        for damaged in &report.damaged {
            let _ = writeln!(text, "{}:{}: {}", damaged.file.display(), damaged.line, damaged.message);
        }
        if let Some(why) = &report.interrupted {
            let _ = writeln!(text, "interrupted: {why}");
        }
        text
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if what went with a database file that was removed counts as stored, or more than that.
    #[test]
    fn what_went_with_the_database_is_not_stored() {
        for (lost, expected) in [(3, (2, 4)), (9, (0, 6))] {
            let mut report = ReplayReport { stored: 5, unknown: 1, ..ReplayReport::default() };
            lose(&mut report, lost);
            assert_eq!((report.stored, report.unknown), expected);
            assert!(!report.is_complete());
        }
    }
}
