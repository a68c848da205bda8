use std::{borrow::Cow, fmt::Write};

use serde::Serialize;
use serde_json::{Value, json};

use super::{
    failed, name_foreign,
    select::{Select, ago},
};
use crate::{
    cli::{Exit, complain, print},
    dead_letter::{self, Entry, ListedEntry},
    record::{Bar, Record},
    settings::Settings,
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
    let (mut exit, mut listed, mut text) = (Exit::Done, 0, String::new());
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
        match &found.entry {
            Ok(entry) if selection.selects(entry) => {
                listed += 1;
                if args.json {
                    text.push_str(&json(&found, entry));
                } else {
                    row(&mut text, entry);
                }
            }
            Ok(_) => {}
            Err(damage) => {
                exit = exit.min(Exit::Rejected);
                if args.json {
                    let damaged = json!({ "file": found.file, "line": found.line, "damaged": damage });
                    text.push_str(&format!("{damaged}\n"));
                } else {
                    complain(format_args!("warning: {}:{}: {damage}", found.file.display(), found.line));
                }
            }
        }
        if text.len() > 1 << 16 {
            if let Err(failed) = print(&text) {
                return failed;
            }
            text.clear();
        }
    }
    print(&text).map_or_else(|failed| failed, |()| exit)
}

fn row(text: &mut String, entry: &Entry) {
    let (id, age, coordinator) = (&entry.id, ago(entry.ts), &entry.coordinator_id);
    let (key, error) = (key(entry), entry.error.replace(char::is_control, " "));
    let replayed = match entry.replay_count {
        0 => String::new(),
        count => format!("  (replayed {count} times)"),
    };
    // Writing to a string cannot fail.
    let _ = writeln!(text, "{id}  {age:>4}  {coordinator}  {}  {}{replayed}", shown(&key), shown(&error));
}

fn shown(text: &str) -> Cow<'_, str> {
    match text.char_indices().nth(SHOWN) {
        Some((at, _)) => format!("{}...", &text[..at]).into(),
        None => text.into(),
    }
}

/// What tells a record from others: of a bar the fields of its key, of anything else its JSON.
fn key(entry: &Entry) -> String {
    if let Some(unwritable) = &entry.unwritable {
        let of = unwritable.partition_key.as_deref().unwrap_or("?").replace(char::is_control, " ");
        return format!("{of} (no JSON, cannot be replayed)");
    }
    let json = entry.record.get();
    if entry.kind != Bar::KIND {
        return json.to_owned();
    }
    let record: Value = serde_json::from_str(json).unwrap_or_default();
    let field = |name| match &record[name] {
        Value::Null => "?".to_owned(),
        Value::String(text) => text.replace(char::is_control, " "),
        other => other.to_string(),
    };
    ["vendor", "symbol", "timeframe", "ts"].map(field).join(" ")
}

/// One entry with where it is, as JSON on one line.
fn json(found: &ListedEntry, entry: &Entry) -> String {
    #[derive(Serialize)]
    struct Listed<'a> {
        file: &'a std::path::Path,
        line: u64,
        live: bool,
        age_seconds: i64,
        entry: &'a Entry,
    }
    let age = crate::Timestamp::now().as_micros().saturating_sub(entry.ts.as_micros()) / 1_000_000;
    let listed = Listed { file: &found.file, line: found.line, live: found.live, age_seconds: age, entry };
    // A path that is no text is the one thing that cannot be written.
    let line = serde_json::to_string(&listed).unwrap_or_else(|error| json!({ "error": error.to_string() }).to_string());
    line + "\n"
}
