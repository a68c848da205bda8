//! `mds serve`: the store as a service.

use std::time::Duration;

use market_data_store::{
    MarketDataStore, Settings, StartError,
    http::{Server, ServerError},
    text::ErrorChain,
};
use tokio::time::timeout;

use super::{
    database::Database,
    exit::Exit,
    output::complain,
    prometheus,
    session::{Session, runtime},
    signals::{self, Stop},
};

/// What the end of the store may take beyond MDS_SHUTDOWN_TIMEOUT: it stops workers and writes the last dead letters.
const LAST_DEAD_LETTERS: Duration = Duration::from_millis(3_500);

/// Runs the store as a service over HTTP until it is stopped: clients post records, watch the levels and read back what is
/// stored.
///
/// It listens on MDS_HTTP_BIND and takes every kind, or those of MDS_KINDS. SIGTERM, SIGINT and SIGHUP end it: it takes no
/// more records and stores what it has, for as long as MDS_SHUTDOWN_TIMEOUT. The exit code is 0 then, or 70 if records were
/// left. A second signal ends it at once.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    pub(super) database: Database,
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
    let metrics = match prometheus::install() {
        Ok(metrics) => metrics,
        Err(error) => {
            complain(format_args!("error: cannot keep metrics: {error}"));
            return Exit::Internal;
        }
    };
    let server = match Server::start(&settings, Some(metrics)) {
        Ok(server) => server,
        Err(error) => {
            complain(format_args!("error: {}", ErrorChain(&error)));
            return match error {
                ServerError::Thread(_) => Exit::Internal,
                _ => Exit::Configuration,
            };
        }
    };
    // A test, or a supervisor, reads the address from this line.
    tracing::info!(address = %server.address(), "listening");
    match runtime() {
        Ok(runtime) => {
            let exit = runtime.block_on(serve(args, settings, &server, stop));
            // What still starts, such as a connection to a server that does not answer, is left behind.
            runtime.shutdown_background();
            exit
        }
        Err(error) => {
            complain(format_args!("error: cannot wait for the store: {error}"));
            Exit::Internal
        }
    }
}

async fn serve(args: &Args, settings: Settings, server: &Server, mut stop: Stop) -> Exit {
    let deadline = settings.shutdown_timeout;
    // On a thread of its own: a database that does not answer is waited for, and a signal is obeyed meanwhile.
    let starting = tokio::task::spawn_blocking(move || Session::of_kinds(settings));
    let session = tokio::select! {
        biased;
        _ = signals::stopped(&mut stop) => {
            server.begin_end();
            server.stop().await;
            return Exit::Done;
        }
        started = starting => match started {
            Ok(Ok(session)) => session,
            Ok(Err(error)) => return failed(args, &error),
            Err(error) => {
                complain(format_args!("error: the start of the store failed: {error}"));
                return Exit::Internal;
            }
        },
    };
    let store = &session.store;
    server.serve(store.clone());
    tracing::info!(address = %server.address(), "ready");
    let mut exit = tokio::select! {
        biased;
        _ = signals::stopped(&mut stop) => Exit::Done,
        reason = store.stopped() => {
            complain(format_args!("error: {reason}"));
            Exit::of_stop(&reason)
        }
    };
    server.begin_end();
    let unsettled = end(store, deadline).await;
    // Every request has its answer by now, or gets none.
    server.stop().await;
    if session.close().await {
        exit = exit.min(Exit::Internal);
    }
    if let Some(died) = session.died()
        && exit > Exit::of_stop(&died)
    {
        complain(format_args!("error: {died}"));
        exit = Exit::of_stop(&died);
    }
    if unsettled != Some(0) {
        let count = unsettled.map_or_else(|| "an unknown number of".to_owned(), |count| count.to_string());
        complain(format_args!("error: {count} records were accepted and are not known to be stored or dead letters"));
        exit = exit.min(Exit::Internal);
    }
    exit
}

/// Ends the store, and returns how many accepted records are not settled; none if it hangs.
async fn end(store: &MarketDataStore, deadline: Duration) -> Option<u64> {
    let report = timeout(deadline + LAST_DEAD_LETTERS, store.shutdown(deadline)).await.ok()?;
    tracing::info!(
        submitted = report.submitted(),
        stored = report.stored(),
        dead_lettered = report.dead_lettered(),
        dropped = report.dropped(),
        unsettled = report.unsettled(),
        "the store has ended"
    );
    Some(report.unsettled())
}

fn failed(args: &Args, error: &StartError) -> Exit {
    args.database.failed(error)
}
