//! `mds query`: records of one kind, as a table for people, or as a file that `mds ingest` loads again.

mod csv;
mod format;
mod select;
mod table;
mod target;

use std::{
    ffi::OsString,
    io,
    ops::ControlFlow,
    path::{Path, PathBuf},
};

use clap::builder::PossibleValuesParser;
use market_data_store::{
    Bar, DatabaseError, Settings, Tabular, WithKind, kind_names,
    sink::{DatabaseReader, Selection},
    with_kind,
};
use smol_str::SmolStr;

use self::{
    format::{Format, Writer},
    select::Where,
    target::Target,
};
use super::{database::Database, exit::Exit, output::complain};

/// Reads records of one kind, in the order of their key, and writes them as a table, CSV or NDJSON.
///
/// It reads one moment of the database and changes nothing; others can write meanwhile. What it writes as CSV or NDJSON
/// is what `mds ingest --kind` loads to the same records, in this database or another. A row that makes no valid record
/// is named on standard error, and the exit code is 65 then.
#[derive(clap::Args)]
pub struct Args {
    /// What to read.
    #[arg(long, value_name = "KIND", value_parser = PossibleValuesParser::new(kind_names()))]
    kind: String,
    /// Only records of one of these symbols; of options of one of these contracts.
    #[arg(long, value_name = "S,...", value_delimiter = ',', value_parser = Bar::normal_symbol)]
    symbol: Vec<SmolStr>,
    /// Only records whose column is this value, as it is stored; several of one column stand for either.
    #[arg(long = "where", value_name = "COLUMN=VALUE", value_parser = Where::parse)]
    conditions: Vec<Where>,
    /// Only records of this time and later, such as 2024-01-02 or 2024-01-02T14:30:00Z; UTC without an offset.
    #[arg(long, value_name = "TIME")]
    from: Option<String>,
    /// Only records before this time.
    #[arg(long, value_name = "TIME")]
    to: Option<String>,
    /// At most so many: the first of them.
    #[arg(long, value_name = "N")]
    limit: Option<u64>,
    /// How to write them. By default a table on a terminal, csv to a file whose name ends in .csv, else ndjson.
    #[arg(long, value_name = "FORMAT")]
    format: Option<Format>,
    /// Write them to this file; - is standard output. It gets its name when it is whole; until then it lies beside, as
    /// .FILE.PID.partial.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
    #[command(flatten)]
    pub(super) database: Database,
}

/// Runs the command.
pub fn run(args: &Args, settings: &Settings) -> Exit {
    with_kind(&args.kind, Query { args, settings }).expect("the command line takes the names of kinds alone")
}

impl Args {
    /// Returns the file to write to; none is standard output. A file of the name `-` is `./-`.
    fn file(&self) -> Option<&Path> {
        self.output.as_deref().filter(|path| path.as_os_str() != "-")
    }
}

struct Query<'a> {
    args: &'a Args,
    settings: &'a Settings,
}

impl WithKind for Query<'_> {
    type Output = Exit;

    fn with<T: Tabular>(self) -> Exit {
        let args = self.args;
        let selection = match args.selection::<T>() {
            Ok(selection) => selection,
            Err(problem) => {
                complain(format_args!("error: {problem}"));
                return Exit::Usage;
            }
        };
        let reader = match DatabaseReader::of_settings(self.settings) {
            Ok(reader) => reader,
            Err(error) => return args.database.failed(&error),
        };
        let target = match Target::open(args.file()) {
            Ok(target) => target,
            Err(error) => return unwritable(args, &error),
        };
        let format = args.format.unwrap_or_else(|| Format::of(args.file(), target.is_terminal()));
        match write(&reader, &selection, Writer::<T>::new(format, target)) {
            Ok(0) => Exit::Done,
            Ok(_) => Exit::Rejected,
            Err(Failed::Read(error)) => args.database.unreadable(error),
            // A reader that has gone away, as `head` does, has seen enough.
            Err(Failed::Write(error)) if error.kind() == io::ErrorKind::BrokenPipe => Exit::Done,
            Err(Failed::Write(error)) => unwritable(args, &error),
        }
    }
}

enum Failed {
    Read(DatabaseError),
    Write(io::Error),
}

/// Writes what is selected, and returns how many rows made no record.
fn write<T: Tabular>(reader: &DatabaseReader, selection: &Selection<T>, mut writer: Writer<T>) -> Result<u64, Failed> {
    let (mut invalid, mut written) = (0, Ok(()));
    let read = reader.records(selection, |record| {
        match record {
            Ok(record) => written = writer.write(&record),
            Err(row) => {
                invalid += 1;
                complain(format_args!("error: {row}"));
            }
        }
        if written.is_ok() { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    read.map_err(Failed::Read)?;
    written.and_then(|()| writer.finish()).map_err(Failed::Write)?;
    Ok(invalid)
}

fn unwritable(args: &Args, error: &io::Error) -> Exit {
    let target = args.file().map_or_else(|| OsString::from("standard output"), |path| path.as_os_str().to_owned());
    complain(format_args!("error: cannot write to {}: {error}", target.display()));
    Exit::Internal
}
