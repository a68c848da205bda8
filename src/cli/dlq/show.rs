use std::fmt;

use market_data_store::{
    Settings,
    dead_letter::{self, Entry},
};
use serde_json::{Value, json};

use super::failure::failed;
use crate::cli::{
    exit::Exit,
    output::{Text, complain},
};

/// Shows one dead letter whole, and where it is.
#[derive(clap::Args)]
pub struct Args {
    /// The id, as `mds dlq list` shows it.
    id: String,
    /// Print it as one JSON object on one line, the one that mds dlq list --json shows.
    #[arg(long)]
    json: bool,
}

/// Runs the command.
pub fn run(args: &Args, settings: &Settings) -> Exit {
    let list = match dead_letter::list(&settings.dlq_path) {
        Ok(list) => list,
        Err(error) => return failed(&error),
    };
    for found in list {
        let found = match found {
            Ok(found) => found,
            Err(error) => return failed(&error),
        };
        if let Ok(entry) = &found.entry
            && entry.id == args.id
        {
            let mut text = Text::default();
            if args.json {
                text.json(&found);
            } else {
                lines(&mut text, entry, format_args!("{}:{}", found.file.display(), found.line));
            }
            return text.print().map_or_else(|exit| exit, |()| Exit::Done);
        }
    }
    complain(format_args!("error: no dead letter {:?} in {}", args.id, settings.dlq_path.display()));
    Exit::Usage
}

fn lines(text: &mut Text, entry: &Entry, place: impl fmt::Display) {
    let Entry { id, ts, coordinator_id, kind, attempts, replay_count, error, .. } = entry;
    text.line(format_args!("place         {place}"));
    text.line(format_args!("id            {id}"));
    text.line(format_args!("ts            {ts}"));
    text.line(format_args!("coordinator   {coordinator_id}"));
    text.line(format_args!("kind          {kind}"));
    text.line(format_args!("attempts      {attempts}"));
    text.line(format_args!("replay count  {replay_count}"));
    text.line(format_args!("error         {error}"));
    match &entry.unwritable {
        None => {
            text.line("record");
            let record: Value = serde_json::from_str(entry.record.get()).unwrap_or_else(|_| json!(entry.record.get()));
            text.pretty_json(&record);
        }
        Some(left) => {
            text.line(format_args!("record        cannot be replayed: it could not be written as JSON, {}", left.why));
            text.line(format_args!("partition     {}", left.partition_key.as_deref().unwrap_or("unknown")));
            text.line(format_args!("it begins     {}", left.begins));
        }
    }
}
