//! A dead letter as `--json` shows it: the same object in every command.

use std::path::Path;

use market_data_store::{
    Timestamp,
    dead_letter::{Entry, ListedEntry},
};
use serde::Serialize;

use crate::cli::output::Text;

#[derive(Serialize)]
struct Listed<'a> {
    file: &'a Path,
    line: u64,
    live: bool,
    age_seconds: i64,
    entry: &'a Entry,
}

#[derive(Serialize)]
struct Damaged<'a> {
    file: &'a Path,
    line: u64,
    damaged: &'a str,
}

/// Adds an entry with where it is and how old, or what is wrong with the place.
pub fn json(text: &mut Text, found: &ListedEntry) {
    let (file, line, live) = (&*found.file, found.line, found.live);
    match &found.entry {
        Ok(entry) => {
            let age_seconds = Timestamp::now().as_micros().saturating_sub(entry.ts.as_micros()) / 1_000_000;
            text.json(&Listed { file, line, live, age_seconds, entry });
        }
        Err(damaged) => text.json(&Damaged { file, line, damaged }),
    }
}
