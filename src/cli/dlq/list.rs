use std::borrow::Cow;

use market_data_store::{
    Bar, Record, Settings,
    dead_letter::{self, Entry},
};
use serde_json::Value;

use super::{
    failure::{failed, name_foreign},
    select::{Select, ago},
};
use crate::cli::{
    exit::Exit,
    output::{Text, complain},
};

/// The most characters of a key or an error in a line.
const SHOWN: usize = 60;

/// Lists dead letters, the oldest file first: id, age, coordinator, key and error.
///
/// What is damaged is named, and the exit code is 65 then. A directory that is not there has no dead letters.
#[derive(clap::Args)]
pub struct Args {
    #[command(flatten)]
    select: Select,
    /// Print each as one JSON object a line, with all that is known of it.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, settings: &Settings) -> Exit {
    let list = match dead_letter::list(&settings.dlq_path) {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    name_foreign(list.foreign());
    let selection = args.select.selection();
    let (mut exit, mut listed, mut text) = (Exit::Done, 0, Text::default());
    for found in list {
        if selection.is_reached(listed) {
            break;
        }
        let found = match found {
            Ok(found) => found,
            Err(error) => {
                exit = exit.min(failed(&error));
                continue;
            }
        };
        let is_shown = match &found.entry {
            Ok(entry) => selection.selects(entry),
            Err(_) => {
                exit = exit.min(Exit::Rejected);
                true
            }
        };
        listed += usize::from(is_shown && found.entry.is_ok());
        match &found.entry {
            _ if !is_shown => {}
            _ if args.json => text.json(&found),
            Ok(entry) => row(&mut text, entry),
            Err(damage) => complain(format_args!("warning: {}:{}: {damage}", found.file.display(), found.line)),
        }
        if text.len() > 1 << 16
            && let Err(failed) = text.print()
        {
            return failed;
        }
    }
    text.print().map_or_else(|failed| failed, |()| exit)
}

fn row(text: &mut Text, entry: &Entry) {
    let (id, age, coordinator) = (&entry.id, ago(entry.ts), &entry.coordinator_id);
    let (key, error) = (key(entry), &entry.error);
    let replayed = match entry.replay_count {
        0 => String::new(),
        count => format!("  (replayed {count} times)"),
    };
    text.line(format_args!("{id}  {age:>4}  {coordinator}  {}  {}{replayed}", shown(&key), end_of(error)));
}

fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}

/// Shows the end of an error: what the store said last is the cause, and it begins with where.
fn end_of(text: &str) -> Cow<'_, str> {
    match text.char_indices().rev().nth(SHOWN - 1) {
        Some((at, _)) if at > 0 => format!("...{}", &text[at..]).into(),
        _ => text.into(),
    }
}

/// What tells a record from others: of a bar the fields of its key, of anything else its JSON.
fn key(entry: &Entry) -> String {
    if let Some(unwritable) = &entry.unwritable {
        let of = unwritable.partition_key.as_deref().unwrap_or("?");
        return format!("{of} (no JSON, cannot be replayed)");
    }
    let json = entry.record.get();
    if entry.kind != Bar::KIND {
        return json.to_owned();
    }
    let record: Value = serde_json::from_str(json).unwrap_or_default();
    let field = |name| match &record[name] {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.clone(),
        other => other.to_string(),
    };
    ["vendor", "symbol", "timeframe", "ts"].map(field).join(" ")
}
