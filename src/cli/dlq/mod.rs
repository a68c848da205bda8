//! `mds dlq`: the records that the store refused, in the directory of MDS_DLQ_PATH.

mod failure;
mod list;
mod purge;
mod replay;
mod select;
mod show;

use market_data_store::Settings;

use super::{database::Database, exit::Exit};

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

impl Args {
    /// The option of the one command here that opens a database.
    pub(super) fn database(&self) -> Option<&Database> {
        match &self.command {
            Command::Replay(args) => Some(&args.database),
            Command::List(_) | Command::Show(_) | Command::Purge(_) => None,
        }
    }
}
