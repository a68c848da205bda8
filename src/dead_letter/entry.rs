use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;

use super::line;
use crate::{record::Record, record::Timestamp, text::panicked};

/// One record that is to be appended, with what is known of its failure.
#[derive(Clone, Debug)]
pub struct DeadLetter {
    /// The record as JSON; `null` where [`unwritable`](Self::unwritable) says why it is not here.
    pub record: Box<RawValue>,
    /// What is left of a record that cannot be written as JSON, because of a map whose keys are no texts, say: `why`, its
    /// `partition_key`, and how its JSON `begins`. Such an entry cannot be replayed.
    pub unwritable: Option<Unserializable>,
    /// Why it could not be stored.
    pub error: String,
    /// How often it was tried; 0 where a deadline cut it off and nothing is known against it.
    pub attempts: u32,
    /// How often it was replayed before.
    pub replay_count: u32,
}

/// What a dead letter holds in place of a record that cannot be written as JSON: because of a map whose keys are no
/// texts, say, or because its `Serialize` fails or panics. Such an entry cannot be replayed.
///
/// The record counts as dead-lettered all the same. To wait for JSON that never comes would hold up its partition, and
/// others with it, and save nothing.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Unserializable {
    /// What is wrong with its JSON.
    pub why: String,
    /// Its partition key, for bars the symbol.
    pub partition_key: Option<String>,
    /// Its JSON as far as it came, at most 64 KiB.
    pub begins: String,
}

/// The most bytes that are kept of JSON that breaks off.
const BEGINS: usize = 64 << 10;

impl DeadLetter {
    /// Makes one that was never replayed. A record that cannot be written as JSON is kept as far as its JSON came, with what is wrong with it.
    pub fn new<T: Record>(record: &T, error: impl Into<String>, attempts: u32) -> Self {
        let (record, unwritable) = match to_json(record) {
            Ok(record) => (record, None),
            Err((why, begins)) => {
                let partition_key = Some(record.partition_key().to_owned());
                (RawValue::NULL.to_owned(), Some(Unserializable { why, partition_key, begins }))
            }
        };
        Self { record, unwritable, error: error.into(), attempts, replay_count: 0 }
    }
}

/// Writes a record as JSON on one line, whatever line ends its own serialisation brings.
///
/// # Errors
/// Says why it cannot be, and how its JSON begins.
pub(super) fn to_json(record: &impl Serialize) -> Result<Box<RawValue>, (String, String)> {
    // Outside of what may panic, for it holds as much of the record as there will ever be.
    let mut json = Vec::new();
    let written = panicked::catch(|| serde_json::to_writer(&mut json, record));
    let why = match written {
        Ok(Ok(())) => match String::from_utf8(json).map(on_one_line).map(RawValue::from_string) {
            Ok(Ok(json)) => return Ok(json),
            Ok(Err(error)) => return Err((error.to_string(), String::new())),
            Err(error) => return Err((error.to_string(), String::new())),
        },
        Ok(Err(error)) => error.to_string(),
        Err(message) => format!("it panicked: {message}"),
    };
    json.truncate(BEGINS);
    Err((why, String::from_utf8_lossy(&json).into_owned()))
}

/// Returns the same JSON on one line, if it is on several. It has line ends only between values, where a space means
/// the same.
fn on_one_line(json: String) -> String {
    if json.contains(['\n', '\r']) { json.replace(['\n', '\r'], " ") } else { json }
}

/// One record in a dead-letter file.
#[derive(Clone, Debug, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Entry {
    /// Names the entry: no two have the same, whichever process wrote them.
    pub id: String,
    /// When the record was given up, for the first time if it was replayed since.
    pub ts: Timestamp,
    /// The coordinator that gave it up.
    pub coordinator_id: String,
    /// The kind of the record, such as `bars`.
    pub kind: String,
    /// The record as JSON; `null` where [`unwritable`](Self::unwritable) says why it is not here.
    pub record: Box<RawValue>,
    /// What is left of a record that cannot be written as JSON, because of a map whose keys are no texts, say: `why`, its
    /// `partition_key`, and how its JSON `begins`. Such an entry cannot be replayed.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub unwritable: Option<Unserializable>,
    /// Why it could not be stored, the last time.
    pub error: String,
    /// How often it was tried then; 0 where a deadline cut it off.
    pub attempts: u32,
    /// How often it was replayed and refused once more.
    pub replay_count: u32,
}

#[derive(Serialize)]
struct Fields<'a> {
    id: String,
    ts: Timestamp,
    coordinator_id: &'a str,
    kind: &'a str,
    record: &'a RawValue,
    #[serde(skip_serializing_if = "Option::is_none")]
    unwritable: Option<&'a Unserializable>,
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
) -> Result<(), serde_json::Error> {
    let DeadLetter { record, error, attempts, replay_count, .. } = letter;
    let unwritable = letter.unwritable.as_ref();
    // A letter that was made by hand may have it on several.
    let record = RawValue::from_string(on_one_line(record.get().to_owned()))?;
    let record = &*record;
    let (attempts, replay_count) = (*attempts, *replay_count);
    let fields = Fields { id, ts, coordinator_id, kind, record, unwritable, error, attempts, replay_count };
    let mut line = serde_json::to_vec(&fields)?;
    line::append_checksum(&mut line);
    lines.append(&mut line);
    Ok(())
}

/// One line of a journal: what became of an entry in a replay or a purge.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct JournalRecord {
    #[serde(flatten)]
    pub(super) entry: EntryKey,
    #[serde(flatten)]
    pub(super) end: EntryStatus,
}

/// Names an entry of a file. The id alone would not do: a line may be copied when a file is mended by hand, and what
/// was mended since is another record. How its JSON is spaced makes no other of it.
#[derive(Clone, Debug, PartialEq, Eq, Hash, Serialize, Deserialize)]
pub(super) struct EntryKey {
    id: String,
    /// The checksum of its kind and its record.
    record: u32,
}

impl EntryKey {
    pub(super) fn of(entry: &Entry) -> Self {
        let record = serde_json::from_str::<serde_json::Value>(entry.record.get()).map(|record| record.to_string());
        let record = record.as_deref().unwrap_or(entry.record.get());
        let record = line::crc_of([&entry.kind, record].join("\n").as_bytes());
        Self { id: entry.id.clone(), record }
    }
}

/// What became of an entry.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "outcome", rename_all = "snake_case")]
pub(crate) enum EntryStatus {
    /// It was replayed, and is in the store.
    Stored,
    Purged,
    /// It was replayed, was refused once more, and stays.
    Refused {
        error: String,
        attempts: u32,
        replay_count: u32,
    },
}
