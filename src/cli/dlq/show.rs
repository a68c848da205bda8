use serde_json::{Map, Value, json};

use super::failed;
use crate::{
    cli::{Exit, complain, print},
    dead_letter::{self, Entry},
    settings::Settings,
};

/// Shows one dead letter whole, and where it is.
#[derive(clap::Args)]
pub struct Args {
    /// The id, as `mds dlq list` shows it.
    id: String,
    /// Print it as one JSON object on one line.
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
            let place = format!("{}:{}", found.file.display(), found.line);
            let text = if args.json { format!("{}\n", object(entry, &place)) } else { lines(entry, &place) };
            return print(&text).map_or_else(|exit| exit, |()| Exit::Done);
        }
    }
    complain(format_args!("error: no dead letter {:?} in {}", args.id, settings.dlq_path.display()));
    Exit::Usage
}

fn object(entry: &Entry, place: &str) -> Value {
    let mut object = Map::new();
    object.insert("place".to_owned(), place.into());
    if let Ok(Value::Object(fields)) = serde_json::to_value(entry) {
        object.extend(fields);
    }
    object.into()
}

fn lines(entry: &Entry, place: &str) -> String {
    let record: Value = serde_json::from_str(entry.record.get()).unwrap_or_else(|_| json!(entry.record.get()));
    let record = match &entry.unwritable {
        None => serde_json::to_string_pretty(&record).expect("a value always serialises"),
        Some(left) => format!(
            "cannot be replayed: it could not be written as JSON, {}\npartition     {}\nit begins     {}",
            left.why,
            left.partition_key.as_deref().unwrap_or("unknown"),
            left.begins
        ),
    };
    format!(
        "place         {place}\nid            {}\nts            {}\ncoordinator   {}\nkind          {}\n\
         attempts      {}\nreplay count  {}\nerror         {}\nrecord        {record}\n",
        entry.id, entry.ts, entry.coordinator_id, entry.kind, entry.attempts, entry.replay_count, entry.error
    )
}
