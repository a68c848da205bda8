//! `mds schema`: the SQL that makes the tables, for those who make them by hand.

use clap::builder::PossibleValuesParser;
use market_data_store::{Database as Store, kind_names, settings::Loaded};

use super::{database::Database, exit::Exit, output::Text};

/// Prints the SQL that makes the tables of the kinds in the database of MDS_DATABASE_URL or --database, and opens nothing.
///
/// A store makes its tables itself when its role may do so. Otherwise a role that may runs what this prints, and the store
/// finds them: `mds schema --database postgres://host/db | psql ...`
#[derive(clap::Args)]
pub struct Args {
    /// Only of this kind; can be given several times. Without it, of those of MDS_KINDS, or of all if that is not set.
    #[arg(long = "kind", value_name = "K", value_parser = PossibleValuesParser::new(kind_names()))]
    kinds: Vec<String>,
    #[command(flatten)]
    pub(super) database: Database,
}

/// Runs the command.
pub fn run(args: &Args, loaded: &Loaded) -> Exit {
    let mut settings = loaded.settings.clone();
    if !args.kinds.is_empty() {
        settings.kinds = args.kinds.clone();
    } else if !loaded.is_set("MDS_KINDS") {
        settings.kinds.clear();
    }
    let statements = match Store::schema_sql(&settings) {
        Ok(statements) => statements,
        Err(error) => return args.database.failed(&error),
    };
    let mut text = Text::default();
    for statement in statements {
        format!("{statement};").lines().for_each(|line| text.line(line));
    }
    text.print().map_or_else(|exit| exit, |()| Exit::Done)
}
