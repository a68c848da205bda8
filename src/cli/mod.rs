//! The commands of `mds`, one file each, and what they share.

mod check;
mod config;
mod dlq;
pub mod ingest;
mod logging;
mod outage;
mod progress;
mod signals;

use std::{
    fmt,
    io::{self, Write},
};

use clap::{Parser, Subcommand};
use tracing_subscriber::EnvFilter;

use crate::settings::{Loaded, Settings, SettingsError};

/// Loads market data into a store, with back-pressure.
///
/// Settings come from the environment: `mds config` lists them.
#[derive(Parser)]
#[command(name = "mds", version, arg_required_else_help = true)]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    Ingest(ingest::Args),
    Check(check::Args),
    Dlq(dlq::Args),
    Config(config::Args),
}

/// How the process ends. Where several apply, the least.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Exit {
    /// SIGINT asked it to stop.
    Interrupted,
    /// SIGTERM asked it to stop.
    Terminated,
    /// SIGHUP asked it to stop: the terminal or the connection is gone.
    HungUp,
    /// Something broke that is nobody's input, or records were left unsettled.
    Internal,
    /// The environment is wrong.
    Configuration,
    /// The command line is wrong, or a file is refused whole.
    Usage,
    /// The store cannot be used.
    Unavailable,
    /// Some records were rejected or dead-lettered.
    Rejected,
    /// Everything was done.
    Done,
}

impl Exit {
    /// Returns the code for the shell, after sysexits.h where it has one.
    pub const fn code(self) -> i32 {
        match self {
            Self::Interrupted => 130,
            Self::Terminated => 143,
            Self::HungUp => 129,
            Self::Internal => 70,
            Self::Configuration => 78,
            Self::Usage => 2,
            Self::Unavailable => 69,
            Self::Rejected => 65,
            Self::Done => 0,
        }
    }
}

/// Runs the command that the arguments of this process name.
pub fn run() -> Exit {
    if let Err(error) = signals::survive_file_limits() {
        complain(format_args!("error: cannot listen for signals: {error}"));
        return Exit::Internal;
    }
    let cli = Cli::try_parse();
    if let Err(help) = &cli
        && !help.use_stderr()
    {
        // Help and version were asked for; a reader that went away has seen enough.
        let _ = help.print();
        return Exit::Done;
    }
    let (mut loaded, filter) = match environment() {
        Ok(environment) => environment,
        Err(error) => {
            for problem in &error.problems {
                complain(format_args!("error: {problem}"));
            }
            for unknown in &error.unknown {
                complain(format_args!("warning: {unknown}"));
            }
            return Exit::Configuration;
        }
    };
    let cli = match cli {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = usage.print();
            return Exit::Usage;
        }
    };
    logging::install(filter, loaded.settings.log_format);
    for unknown in &loaded.unknown {
        tracing::warn!("{unknown}");
    }
    if !loaded.is_set("MDS_SOURCE") {
        loaded.settings.source = Settings::source_of_command(cli.command.name());
    }
    if matches!(cli.command, Command::Ingest(_)) && !loaded.is_set("MDS_COORDINATOR_BATCH_SIZE") {
        loaded.settings.coordinator.batch_size = ingest::batch_size(&loaded.settings.coordinator);
    }
    match cli.command {
        Command::Ingest(args) => ingest::run(&args, loaded.settings),
        Command::Check(args) => check::run(&args, &loaded.settings),
        Command::Dlq(args) => dlq::run(&args, loaded.settings),
        Command::Config(args) => config::run(&args, &loaded),
    }
}

impl Command {
    /// The command as it appears in the default source.
    fn name(&self) -> &'static str {
        match self {
            Self::Ingest(_) => "ingest",
            Self::Check(_) => "check",
            Self::Dlq(_) => "dlq",
            // Not its own: it shows what the other commands would get.
            Self::Config(_) => "<command>",
        }
    }
}

/// Reads the environment; the log filter is checked with the rest, so that everything wrong is told at once.
fn environment() -> Result<(Loaded, EnvFilter), SettingsError> {
    let loaded = Settings::load(std::env::vars_os());
    let filter = match &loaded {
        Ok(loaded) => logging::filter(&loaded.settings.log),
        Err(_) => logging::filter(&std::env::var("MDS_LOG").unwrap_or_default()),
    };
    match (loaded, filter) {
        (Ok(loaded), Ok(filter)) => Ok((loaded, filter)),
        (Ok(loaded), Err(problem)) => Err(SettingsError { problems: vec![problem], unknown: loaded.unknown }),
        (Err(error), Ok(_)) => Err(error),
        (Err(mut error), Err(problem)) => {
            error.problems.push(problem);
            Err(error)
        }
    }
}

/// Writes a command's result to standard output. A reader that has gone away, as `head` does, is no error.
fn print(text: &str) -> Result<(), Exit> {
    let mut stdout = io::stdout().lock();
    match stdout.write_all(text.as_bytes()).and_then(|()| stdout.flush()) {
        Err(error) if error.kind() != io::ErrorKind::BrokenPipe => {
            complain(format_args!("error: cannot write to standard output: {error}"));
            Err(Exit::Internal)
        }
        _ => Ok(()),
    }
}

/// Writes a line to standard error; where that is closed there is nobody to tell.
fn complain(line: fmt::Arguments<'_>) {
    let _ = progress::Stderr.write_all(format!("{line}\n").as_bytes());
}
