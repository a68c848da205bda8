//! `mds config`: the effective configuration, and where each value came from.

use market_data_store::{
    settings::{Loaded, VARIABLES},
    text::Shown,
};
use serde::Serialize;

use super::{exit::Exit, output::Text};

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
    variable: &'static str,
    value: String,
    unit: &'static str,
    from: &'static str,
}

/// Runs the command.
pub fn run(args: &Args, loaded: &Loaded) -> Exit {
    let rows: Vec<Row> = VARIABLES
        .iter()
        .map(|variable| Row {
            variable: variable.name,
            value: variable.value(&loaded.settings),
            unit: variable.unit,
            from: if loaded.is_set(variable.name) { "environment" } else { "default" },
        })
        .collect();
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
    let (variable, unit) = (width(|row| row.variable), width(|row| row.unit));
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
        serializer.collect_map(self.0.iter().map(|row| (row.variable, row)))
    }
}
