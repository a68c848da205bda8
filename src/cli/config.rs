//! `mds config`: the effective configuration, and where each value came from.

use market_data_store::{
    MarketDataStore, kind_names,
    settings::{Loaded, Value, Variable},
    text::Shown,
};
use serde::Serialize;

use super::{
    exit::Exit,
    output::{Text, complain},
};

/// Shows every setting, its value, and whether it comes from the environment or is the default.
#[derive(clap::Args)]
pub struct Args {
    /// Print one JSON object, keyed by variable.
    #[arg(long)]
    json: bool,
}

#[derive(Serialize)]
struct Row {
    #[serde(skip)]
    variable: String,
    value: String,
    unit: &'static str,
    from: String,
}

/// What stands where the value of a file would.
const HIDDEN: &str = "***";

/// Runs the command.
pub fn run(args: &Args, loaded: &Loaded) -> Exit {
    let row = |Value { name, value, unit, .. }: Value| {
        let by_file = Variable::find(&name).filter(|_| loaded.file(&name).is_some()).and_then(Variable::file_variable);
        let (value, from) = match by_file {
            Some(file) => (HIDDEN.to_owned(), file),
            None if loaded.is_set(&name) => (value, "environment".to_owned()),
            None => (value, "default".to_owned()),
        };
        Row { variable: name, value, unit, from }
    };
    let rows: Vec<Row> = loaded.settings.values().into_iter().map(row).collect();
    for warning in loaded.settings.warnings() {
        complain(format_args!("warning: {warning}"));
    }
    if let Err(error) = MarketDataStore::builder(loaded.settings.clone()).kinds() {
        complain(format_args!("warning: {error}"));
    }
    // `mds ingest` has any one of them, `mds serve` all.
    let ids: Vec<&str> = kind_names().collect();
    for variable in loaded.settings.unused_variables(ids.iter().copied()) {
        let ids = ids.join(", ");
        complain(format_args!("warning: {variable} is ignored, mds has the coordinators {ids} alone"));
    }
    let mut text = Text::default();
    if args.json {
        text.pretty_json(&Rows(&rows));
    } else {
        table(&rows, &mut text);
    }
    text.print().map_or_else(|exit| exit, |()| Exit::Done)
}

fn table(rows: &[Row], text: &mut Text) {
    let values: Vec<String> = rows.iter().map(|row| Shown(&row.value).to_string()).collect();
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (variable, unit) = (width(|row| &row.variable), width(|row| row.unit));
    let value = values.iter().map(|value| value.chars().count()).max().unwrap_or(0);
    for (row, shown) in rows.iter().zip(&values) {
        let Row { variable: name, unit: counts, from, .. } = row;
        text.line(format_args!("{name:variable$}  {shown:value$}  {counts:unit$}  {from}"));
    }
}

struct Rows<'a>(&'a [Row]);

impl Serialize for Rows<'_> {
    // As a map by hand, which keeps the order of the documentation.
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|row| (&row.variable, row)))
    }
}
