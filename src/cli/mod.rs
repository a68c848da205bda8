//! The commands of `mds`, one file each, and what they share.

mod by_symbol;
mod check;
mod config;
mod database;
mod dlq;
mod exit;
pub mod ingest;
mod logging;
mod outage;
mod output;
mod progress;
mod prometheus;
mod query;
mod schema;
mod serve;
mod session;
mod signals;

use clap::{
    Parser, Subcommand,
    error::{ContextValue, Error},
};
use market_data_store::{
    MarketDataStore, StartError, kind_names,
    settings::{Loaded, Settings, SettingsError},
    text::Shown,
};
use tracing_subscriber::EnvFilter;

pub use self::exit::Exit;
use self::{database::Database, output::complain};

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
    Query(query::Args),
    Check(check::Args),
    Dlq(dlq::Args),
    Config(config::Args),
    Schema(schema::Args),
    Serve(serve::Args),
}

/// Runs the command that the arguments of this process name.
pub fn run() -> Exit {
    if let Err(error) = signals::prepare() {
        complain(format_args!("error: cannot start, the system refuses a file descriptor: {error}"));
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
    let database = cli.as_ref().ok().and_then(|cli| cli.command.database());
    let (mut loaded, filter) = match environment(database) {
        Ok(environment) => environment,
        Err(error) => {
            for problem in &error.problems {
                complain(format_args!("error: {problem}"));
            }
            for unknown in &error.unknown {
                complain(format_args!("warning: {unknown}"));
            }
            let is_usage = error.problems.iter().all(|problem| database.is_some_and(|option| option.caused(problem)));
            return if is_usage { Exit::Usage } else { Exit::Configuration };
        }
    };
    let cli = match cli {
        Ok(cli) => cli,
        Err(usage) => {
            let _ = shown(usage).print();
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
    if let Command::Ingest(args) = &cli.command {
        // Those of the coordinator alone bind as much: watermarks that were chosen do not fit another capacity.
        let is_set = |name: &&str| {
            let own = format!("MDS_{}_COORDINATOR", args.kind.to_uppercase());
            ["MDS_COORDINATOR", &own].iter().any(|of| loaded.is_set(&format!("{of}_{name}")))
        };
        if !["CAPACITY", "HIGH_WATERMARK", "LOW_WATERMARK"].iter().any(is_set) {
            loaded.settings.coordinator.capacity = ingest::CAPACITY;
        }
        if !loaded.is_set("MDS_COORDINATOR_BATCH_SIZE") {
            let own = loaded.settings.coordinator_settings(&args.kind);
            loaded.settings.coordinator.batch_size = ingest::batch_size(&own);
        }
    }
    if matches!(cli.command, Command::Serve(_)) && !loaded.is_set("MDS_KINDS") {
        loaded.settings.kinds = kind_names().map(str::to_owned).collect();
    }
    match cli.command {
        Command::Ingest(args) => ingest::run(&args, loaded.settings),
        Command::Query(args) => query::run(&args, &loaded.settings),
        Command::Check(args) => check::run(&args, &loaded.settings),
        Command::Dlq(args) => dlq::run(&args, loaded.settings),
        Command::Config(args) => config::run(&args, &loaded),
        Command::Schema(args) => schema::run(&args, &loaded),
        Command::Serve(args) => serve::run(&args, loaded.settings),
    }
}

impl Command {
    /// The command as it appears in the default source.
    fn name(&self) -> &'static str {
        match self {
            Self::Ingest(_) => "ingest",
            Self::Query(_) => "query",
            Self::Check(_) => "check",
            Self::Dlq(_) => "dlq",
            Self::Schema(_) => "schema",
            Self::Serve(_) => "serve",
            // Not its own: it shows what the other commands would get.
            Self::Config(_) => "<command>",
        }
    }

    /// The option of a command that opens a database.
    fn database(&self) -> Option<&Database> {
        match self {
            Self::Ingest(args) => Some(&args.database),
            Self::Query(args) => Some(&args.database),
            Self::Check(args) => Some(&args.database),
            Self::Dlq(args) => args.database(),
            Self::Schema(args) => Some(&args.database),
            Self::Serve(args) => Some(&args.database),
            Self::Config(_) => None,
        }
    }
}

/// Escapes what was typed and is repeated in an error of the command line.
fn shown(mut error: Error) -> Error {
    let typed: Vec<_> = error.context().map(|(kind, value)| (kind, value.clone())).collect();
    for (kind, value) in typed {
        let shown = |text: &String| Shown(text).to_string();
        let value = match value {
            ContextValue::String(text) => ContextValue::String(shown(&text)),
            ContextValue::Strings(texts) => ContextValue::Strings(texts.iter().map(shown).collect()),
            other => other,
        };
        error.insert(kind, value);
    }
    error
}

/// Reads the environment; the log filter is checked with the rest, so that everything wrong is told at once.
fn environment(database: Option<&Database>) -> Result<(Loaded, EnvFilter), SettingsError> {
    let loaded = Database::load(database);
    let filter = match &loaded {
        Ok(loaded) => logging::filter(&loaded.settings.log),
        Err(_) => logging::filter(&std::env::var("MDS_LOG").unwrap_or_default()),
    };
    // A kind that there is not is wrong for a command too that has others. What else is wrong with a kind of MDS_KINDS is
    // not: the command may have another.
    let loaded = loaded.and_then(|loaded| match MarketDataStore::builder(loaded.settings.clone()).kinds() {
        Err(StartError::Settings(error)) if error.problems.iter().any(|one| one.variable == "MDS_KINDS") => {
            Err(SettingsError { unknown: loaded.unknown, ..error })
        }
        _ => Ok(loaded),
    });
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
