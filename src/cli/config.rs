//! `mds config`: the effective configuration, and where each value came from.

use std::fmt::Write;

use serde::Serialize;

use super::{Exit, print};
use crate::settings::{Loaded, Value};

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
    from: &'static str,
}

/// Runs the command.
pub fn run(args: &Args, loaded: &Loaded) -> Exit {
    let row = |value: Value| Row {
        from: if loaded.is_set(&value.name) { "environment" } else { "default" },
        variable: value.name,
        value: value.value,
        unit: value.unit,
    };
    let rows: Vec<Row> = loaded.settings.values().into_iter().map(row).collect();
    let text = if args.json { json(&rows) } else { table(&rows) };
    print(&text).map_or_else(|exit| exit, |()| Exit::Done)
}

fn table(rows: &[Row]) -> String {
    let width = |column: fn(&Row) -> &str| rows.iter().map(|row| column(row).chars().count()).max().unwrap_or(0);
    let (variable, value, unit) = (width(|r| &r.variable), width(|r| &r.value), width(|r| r.unit));
    let mut text = String::new();
    for row in rows {
        let Row { variable: name, value: shown, unit: counts, from } = row;
        // Cannot fail: the writer is a string.
        let _ = writeln!(text, "{name:variable$}  {shown:value$}  {counts:unit$}  {from}");
    }
    text
}

fn json(rows: &[Row]) -> String {
    struct Rows<'a>(&'a [Row]);
    impl Serialize for Rows<'_> {
        // As a map by hand, which keeps the order of the documentation.
        fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
            serializer.collect_map(self.0.iter().map(|row| (&row.variable, row)))
        }
    }
    let mut text = serde_json::to_string_pretty(&Rows(rows)).expect("strings and names always serialise");
    text.push('\n');
    text
}
