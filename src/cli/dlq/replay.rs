use std::{pin::pin, time::Duration};

use market_data_store::{
    MarketDataStore, Overflow, Settings, StartError,
    dead_letter::{self, ReplayOptions, ReplayReport},
    settings::HttpSettings,
};
use tokio::time::timeout;

use super::{
    failure::{failed, name_foreign},
    select::Select,
};
use crate::cli::{
    database::Database,
    exit::Exit,
    outage::OutageTimeout,
    output::{Text, complain},
    session::{GRACE, Session, runtime},
    signals::{self, Stop},
};

/// Writes dead letters to the database of MDS_DATABASE_URL or --database, and removes each once it is stored: those of
/// the kinds of MDS_KINDS.
///
/// A replay upserts: where the store has got a newer value of the same key since, the old one takes its place. See
/// `mds dlq list` for the age.
///
/// It writes only while the level is ok, waits while the store is away, and can be stopped or killed at any point. What
/// the store refuses once more stays where it is, with one replay more. A file that a process writes is left alone, and
/// two replays of one directory exclude each other.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,
    /// Leave alone what was replayed so often.
    #[arg(long, value_name = "N", default_value_t = ReplayOptions::default().max_replays)]
    max_replays: u32,
    #[command(flatten)]
    pub(in crate::cli) database: Database,
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
    let options = ReplayOptions::default().selection(args.select.selection()).max_replays(args.max_replays);
    if args.dry_run {
        return match MarketDataStore::replay_dry_run(&settings, &options) {
            Ok(report) => args.tell(&report, Exit::Done),
            Err(StartError::DeadLetters(error)) => failed(&error),
            Err(error) => args.database.failed(&error),
        };
    }
    // Without files nothing is to be stored, and a database that is not there need not be made.
    match dead_letter::list(&settings.dlq_path) {
        Ok(list) if list.is_at_end() => {
            let mut nothing = ReplayReport::default();
            nothing.foreign = list.foreign().to_vec();
            return args.tell(&nothing, Exit::Done);
        }
        Ok(_) => {}
        Err(error) => return failed(&error),
    }
    let stop = match signals::listen() {
        Ok(stop) => stop,
        Err(error) => {
            complain(format_args!("error: cannot listen for signals: {error}"));
            return Exit::Internal;
        }
    };
    match runtime() {
        Ok(runtime) => runtime.block_on(replay(args, settings, options, stop)),
        Err(error) => {
            complain(format_args!("error: cannot wait for the store: {error}"));
            Exit::Internal
        }
    }
}

async fn replay(args: &Args, mut settings: Settings, options: ReplayOptions, mut stop: Stop) -> Exit {
    let deadline = settings.shutdown_timeout;
    // Nothing of a replay may be dropped.
    settings.coordinator.overflow = Overflow::Block;
    settings.coordinators.values_mut().for_each(|own| own.overflow = None);
    // It has no producers, and a `draining` of one that was stopped would never clear for those who follow every source.
    settings.feedback.http = HttpSettings::default();
    let session = match Session::of_kinds(settings) {
        Ok(session) => session,
        Err(error) => return args.database.failed(&error),
    };
    let store = &session.store;
    let mut replayed = pin!(store.replay_all(&options));
    let (mut exit, mut result, mut told) = (Exit::Done, None, false);
    tokio::select! {
        biased;
        signal = signals::stopped(&mut stop) => exit = signal,
        done = &mut replayed => result = Some(done),
        reason = store.stopped() => {
            complain(format_args!("error: {reason}"));
            (exit, told) = (Exit::of_stop(&reason), true);
        }
        why = args.outage_timeout.runs_out(store, |_, _, _| {}) => {
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
            let mut unknown = ReplayReport::default();
            unknown.interrupted = Some("it did not end in time, so its counts are not known".to_owned());
            Ok(unknown)
        }),
    };
    if session.close().await || !report.is_complete() {
        exit = exit.min(Exit::Internal);
    }
    // A replay that is refused by what died may be told before that is.
    if let Some(died) = session.died()
        && !told
    {
        complain(format_args!("error: {died}"));
        exit = exit.min(Exit::of_stop(&died));
    }
    match result {
        Ok(report) => args.tell(&report, exit),
        Err(error) => exit.min(failed(&error)),
    }
}

impl Args {
    /// Prints the result, and returns what it means for the process.
    fn tell(&self, report: &ReplayReport, exit: Exit) -> Exit {
        name_foreign(&report.foreign);
        let mut text = Text::default();
        if self.json {
            text.json(report);
        } else {
            self.table(report, &mut text);
        }
        let printed = text.print().map_or_else(|exit| exit, |()| Exit::Done);
        let left = if report.is_complete() { Exit::Done } else { Exit::Rejected };
        exit.min(printed).min(left)
    }

    fn table(&self, report: &ReplayReport, text: &mut Text) {
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
        for (name, value) in rows {
            text.line(format_args!("{name:19}  {value}"));
        }
        for damaged in &report.damaged {
            text.line(format_args!("{}:{}: {}", damaged.file.display(), damaged.line, damaged.message));
        }
        if let Some(why) = &report.interrupted {
            text.line(format_args!("interrupted: {why}"));
        }
    }
}
