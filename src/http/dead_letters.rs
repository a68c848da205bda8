//! The dead letters of the store: what is in them, and writing them once more.

use std::path::Path;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{error::Error, query::Query, service::Service};
use crate::{
    dead_letter::{self, DeadLettersError, ReplayOptions, Selection},
    text::ErrorChain,
};

/// How many entries are listed, unless the request says it, and at most.
const LISTED: usize = 100;
const MOST: usize = 1_000;
/// A list ends once its entries have so many bytes.
const MOST_BYTES: usize = 8 << 20;

#[derive(Default, Serialize)]
struct List {
    dead_letters: Vec<Box<RawValue>>,
    /// Whether there are more of these.
    more: bool,
}

/// `GET /v1/dead-letters`: the oldest file first.
pub(super) async fn list(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let dir = service.store()?.dead_letters().dir().to_owned();
    let mut query = Query::read(request.query_string())?;
    let expected = format!("a number from 1 to {MOST}");
    let limit: usize = query.take_as("limit", &expected)?.unwrap_or(LISTED);
    if !(1..=MOST).contains(&limit) {
        return Err(Error::bad_request(format!("limit: expected {expected}, got {limit}")));
    }
    let selection = selection(&mut query)?;
    query.end("coordinator, since and limit")?;
    let listed = web::block(move || listed(&dir, &selection, limit)).await;
    let listed = listed.map_err(|_| Error::unavailable("the service comes to its end"))?;
    Ok(HttpResponse::Ok().json(listed.map_err(|error| failed(&error))?))
}

fn listed(dir: &Path, selection: &Selection, limit: usize) -> Result<List, DeadLettersError> {
    let (mut list, mut bytes) = (List::default(), 0);
    for found in dead_letter::list(dir)? {
        let mut found = found?;
        if found.entry.as_ref().is_ok_and(|entry| !selection.selects(entry)) {
            continue;
        }
        if list.dead_letters.len() == limit || bytes >= MOST_BYTES {
            list.more = true;
            break;
        }
        // Where the directory is a client need not know.
        let name = found.file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
        found.file = Path::new(&name).into();
        let json = to_raw_value(&found);
        // What was read from JSON has one.
        if let Ok(json) = json {
            bytes += json.get().len();
            list.dead_letters.push(json);
        }
    }
    Ok(list)
}

/// `POST /v1/dead-letters/replay`: writes them to the store once more, and answers when that is done.
pub(super) async fn replay(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let store = service.running()?;
    let mut query = Query::read(request.query_string())?;
    let mut selection = selection(&mut query)?;
    if let Some(limit) = query.take_as("limit", "a number of entries")? {
        selection = selection.limit(limit);
    }
    let mut options = ReplayOptions::default().selection(selection);
    if let Some(max) = query.take_as("max_replays", "a number of replays")? {
        options = options.max_replays(max);
    }
    query.end("coordinator, since, limit and max_replays")?;
    let replayed = store.replay_all_until(&options, service.ending()).await;
    Ok(HttpResponse::Ok().json(replayed.map_err(|error| failed(&error))?))
}

fn selection(query: &mut Query) -> Result<Selection, Error> {
    let mut selection = Selection::default();
    if let Some(id) = query.take("coordinator")? {
        selection = selection.coordinator_id(id);
    }
    if let Some(since) = query.take_as("since", "a time such as 2024-01-02T14:30:00Z")? {
        selection = selection.since(since);
    }
    Ok(selection)
}

/// 409 beside another replay, else 503. What is wrong with the files goes to the log.
fn failed(error: &DeadLettersError) -> Error {
    if let DeadLettersError::Busy(_) = error {
        return Error::new(StatusCode::CONFLICT, "a replay or a purge of the dead letters is under way");
    }
    tracing::error!(error = %ErrorChain(error), "dead letters cannot be read or replayed");
    Error::unavailable("the dead letters cannot be read or replayed now, the log says why")
}
