//! `mds dlq`: the records that the store refused, in the directory of MDS_DLQ_PATH.

mod list;
mod purge;
mod replay;
mod select;
mod show;

use std::path::PathBuf;

use super::{Exit, complain};
use crate::{dead_letter::FilesError, settings::Settings};

/// Looks at dead letters, the records that the store refused, and replays or removes them.
///
/// They are in the directory of MDS_DLQ_PATH, one JSON object a line.
#[derive(clap::Args)]
pub struct Args {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    List(list::Args),
    Show(show::Args),
    Replay(replay::Args),
    Purge(purge::Args),
}

/// Runs the command.
pub fn run(args: &Args, settings: Settings) -> Exit {
    match &args.command {
        Command::List(args) => list::run(args, &settings),
        Command::Show(args) => show::run(args, &settings),
        Command::Replay(args) => replay::run(args, settings),
        Command::Purge(args) => purge::run(args, &settings),
    }
}

/// Names the files that are called like ours and are not.
fn name_foreign(files: &[PathBuf]) {
    for file in files {
        complain(format_args!("warning: {}: not a file of dead letters, left alone", file.display()));
    }
}

/// Tells a failure, and returns what it means for the process.
fn failed(error: &FilesError) -> Exit {
    complain(format_args!("error: {error}"));
    match error {
        FilesError::Busy { .. } => Exit::Unavailable,
        FilesError::Io { .. } | FilesError::Thread(_) => Exit::Internal,
    }
}
