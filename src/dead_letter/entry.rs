use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::line;
use crate::timestamp::Timestamp;

/// One record that is to be appended, with what is known of its failure.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The record as JSON.
    pub record: Box<RawValue>,
    /// Why it could not be stored.
    pub error: String,
    /// How often it was tried; 0 where a deadline cut it off and nothing is known against it.
    pub attempts: u32,
    /// How often it was replayed before. A record that is being replayed gets its count by itself.
    pub replay_count: u32,
}

impl DeadLetter {
    /// Makes one that was never replayed.
    ///
    /// # Errors
    /// The record cannot be written as JSON, for example because it holds a map whose keys are no texts.
    pub fn new(record: &impl Serialize, error: impl Into<String>, attempts: u32) -> Result<Self, serde_json::Error> {
        Ok(Self { record: to_json(record)?, error: error.into(), attempts, replay_count: 0 })
    }
}

/// Writes a record as JSON on one line, whatever line ends its own serialisation brings.
pub(super) fn to_json(record: &impl Serialize) -> Result<Box<RawValue>, serde_json::Error> {
    let json = serde_json::value::to_raw_value(record)?;
    on_one_line(&json).unwrap_or(Ok(json))
}

/// Returns the same JSON on one line, if it is on several. It has line ends only between values, where a space means the
/// same.
fn on_one_line(json: &RawValue) -> Option<Result<Box<RawValue>, serde_json::Error>> {
    let several = json.get().contains(['\n', '\r']);
    several.then(|| RawValue::from_string(json.get().replace(['\n', '\r'], " ")))
}

/// One record in a dead-letter file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names the entry: no two have the same, whichever process wrote them.
    pub id: String,
    /// When the record was given up.
    pub ts: Timestamp,
    /// The coordinator that gave it up.
    pub coordinator_id: String,
    /// The kind of the record, such as `bars`.
    pub kind: String,
    /// The record as JSON.
    pub record: Box<RawValue>,
    /// Why it could not be stored.
    pub error: String,
    /// How often it was tried; 0 where a deadline cut it off.
    pub attempts: u32,
    /// How often it was replayed before.
    pub replay_count: u32,
}

#[derive(Serialize)]
struct Fields<'a> {
    id: String,
    ts: Timestamp,
    coordinator_id: &'a str,
    kind: &'a str,
    record: &'a RawValue,
    error: &'a str,
    attempts: u32,
    replay_count: u32,
}

/// Adds the line of a new entry to `lines`.
pub(super) fn write(
    lines: &mut Vec<u8>,
    id: String,
    ts: Timestamp,
    coordinator_id: &str,
    kind: &str,
    letter: &DeadLetter,
    replay_count: u32,
) -> Result<(), serde_json::Error> {
    let DeadLetter { record, error, attempts, .. } = letter;
    let on_one_line = on_one_line(record).transpose()?;
    let record = on_one_line.as_deref().unwrap_or(record);
    let fields = Fields { id, ts, coordinator_id, kind, record, error, attempts: *attempts, replay_count };
    let mut line = serde_json::to_vec(&fields)?;
    line::seal(&mut line);
    lines.append(&mut line);
    Ok(())
}

/// One line of a journal: an entry is done with.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct Settled {
    pub(super) id: String,
    pub(super) outcome: SettledAs,
}

/// Why an entry is done with.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub(super) enum SettledAs {
    /// It was replayed, and is in the store.
    Stored,
    /// It was replayed, and is a new entry.
    DeadLettered,
    Purged,
}
