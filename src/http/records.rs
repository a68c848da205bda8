//! `GET /v1/records/{kind}`: reads back what is stored, a page at a time, in the order of the key.

use std::ops::ControlFlow;

use actix_web::{HttpRequest, HttpResponse, http::header::ContentType, web};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use serde::Serialize;
use serde_json::value::{RawValue, to_raw_value};

use super::{
    error::{Error, echoed},
    query::Query,
    service::Service,
};
use crate::{
    record::{Bar, ColumnType, Tabular},
    settings::Settings,
    sink::{DatabaseReader, InvalidSelection, Selection},
    store::{WithKind, kind_names, with_kind},
    text::ErrorChain,
};

/// How many records a page has at most, and unless it is asked for fewer.
const MOST: usize = 10_000;
/// A page ends once its records have so many bytes: texts of news are long.
const MOST_BYTES: usize = 8 << 20;
/// A page goes on over so many rows more that have no key of their type: no cursor can say that they were shown.
const MOST_KEYLESS: usize = 100;
/// What a request can say.
const PARAMETERS: &str = "symbol, where, from, to, limit and cursor";

/// A page of records.
#[derive(Serialize)]
struct Page {
    records: Vec<Box<RawValue>>,
    /// Rows that make no record: another program wrote them.
    invalid: Vec<String>,
    /// What the next request says to go on; none at the end.
    cursor: Option<String>,
}

/// Reads a page.
pub(super) async fn get(
    service: web::Data<Service>,
    kind: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    let Some(settings) = service.database.clone() else {
        return Err(Error::not_found("this service does not know the database that its records are in"));
    };
    let read = Read { settings, query: request.query_string().to_owned() };
    let name = kind.into_inner();
    let span = tracing::Span::current();
    // On a thread that may block: a reader does.
    let page = web::block(move || span.in_scope(|| with_kind(&name, read)).ok_or(name)).await;
    let page = page.map_err(|_| Error::unavailable("the service comes to its end"))?.map_err(|name| {
        let known: Vec<_> = kind_names().collect();
        Error::not_found(format!("no kind {}, expected one of {}", echoed(&name), known.join(", ")))
    })??;
    Ok(HttpResponse::Ok().content_type(ContentType::json()).json(page))
}

struct Read {
    settings: Settings,
    query: String,
}

impl WithKind for Read {
    type Output = Result<Page, Error>;

    fn with<T: Tabular>(self) -> Self::Output {
        let mut query = Query::read(&self.query)?;
        let expected = format!("a number from 1 to {MOST}");
        let limit: usize = query.take_as("limit", &expected)?.unwrap_or(MOST);
        if !(1..=MOST).contains(&limit) {
            return Err(Error::bad_request(format!("limit: expected {expected}, got {limit}")));
        }
        let selection = selection::<T>(&mut query)?;
        query.end(PARAMETERS)?;
        page(&self.settings, selection, limit)
    }
}

fn selection<T: Tabular>(query: &mut Query) -> Result<Selection<T>, Error> {
    let of =
        |name: &'static str| move |error: InvalidSelection| Error::bad_request(format!("{name}: {}", error.problem));
    let mut selection = Selection::new();
    if let Some(symbols) = query.take("symbol")? {
        let list = T::TABLE.columns().iter().find(|column| column.column_type() == ColumnType::List);
        let Some(column) = T::TABLE.series_columns().next().or(list) else {
            return Err(Error::bad_request(format!("symbol: {} have no symbol", T::KIND)));
        };
        let symbols: Result<Vec<_>, _> = symbols.split(',').map(Bar::normal_symbol).collect();
        let symbols = symbols.map_err(|error| Error::bad_request(format!("symbol: {}", error.message)))?;
        selection = selection.any_of(column.name(), symbols).map_err(of("symbol"))?;
    }
    for condition in query.take_all("where") {
        let Some((column, value)) = condition.split_once('=') else {
            return Err(Error::bad_request("where: expected COLUMN=VALUE, such as vendor=acme"));
        };
        let wrong = |error: InvalidSelection| {
            // The column is what was sent.
            Error::bad_request(format!("where: {}: {}", echoed(column), error.problem))
        };
        selection = selection.any_of(column.trim(), [value]).map_err(wrong)?;
    }
    if let Some(time) = query.take("from")? {
        selection = selection.from(&time).map_err(of("from"))?;
    }
    if let Some(time) = query.take("to")? {
        selection = selection.to(&time).map_err(of("to"))?;
    }
    if let Some(cursor) = query.take("cursor")? {
        let wrong = || Error::bad_request(format!("cursor: expected one that was returned, got {}", echoed(&cursor)));
        let json = BASE64_URL_SAFE_NO_PAD.decode(&cursor).map_err(|_| wrong())?;
        let key: Vec<String> = serde_json::from_slice(&json).map_err(|_| wrong())?;
        selection = selection.after(&key).map_err(|_| wrong())?;
    }
    Ok(selection)
}

fn page<T: Tabular>(settings: &Settings, selection: Selection<T>, limit: usize) -> Result<Page, Error> {
    let reader = DatabaseReader::of_settings(settings).map_err(|error| unreadable(&error))?;
    let mut page = Page { records: Vec::new(), invalid: Vec::new(), cursor: None };
    let (mut bytes, mut last, mut is_lost) = (0, None, false);
    // One row more says whether there is a next page. The server of a database finds rows otherwise if it knows how many.
    let selection = selection.limit((limit + MOST_KEYLESS + 1) as u64);
    let read = reader.rows(&selection, |row| {
        let shown = page.records.len() + page.invalid.len();
        if shown >= limit || bytes >= MOST_BYTES {
            page.cursor = last.take().map(|key: Vec<String>| BASE64_URL_SAFE_NO_PAD.encode(json(&key)));
            is_lost = page.cursor.is_none() && shown >= limit + MOST_KEYLESS;
            if page.cursor.is_some() || is_lost {
                return ControlFlow::Break(());
            }
        }
        last = Selection::<T>::key_of(&row);
        match T::from_row(&row).and_then(|mut record| record.validate().map(|()| record)) {
            Ok(record) => match to_raw_value(&record) {
                Ok(json) => {
                    bytes += json.get().len();
                    page.records.push(json);
                }
                Err(error) => page.invalid.push(format!("{row}: {error}")),
            },
            Err(invalid) => page.invalid.push(format!("{row}: {invalid}")),
        }
        ControlFlow::Continue(())
    });
    read.map_err(|error| match error.is_no_table() {
        true => Error::not_found(format!("there is no table of {}: nothing of that kind was stored here yet", T::KIND)),
        false => unreadable(&error),
    })?;
    if is_lost {
        return Err(Error::unavailable(format!("more than {MOST_KEYLESS} {} in a row have no key", T::KIND)));
    }
    Ok(page)
}

fn json(key: &[String]) -> Vec<u8> {
    serde_json::to_vec(key).expect("texts have a JSON")
}

/// 503: the database is not there, or not now. What it says goes to the log, for it may name what a client need not know.
fn unreadable(error: &(dyn std::error::Error + 'static)) -> Error {
    tracing::warn!(error = %ErrorChain(error), "records cannot be read back");
    Error::unavailable("the database cannot be read now")
}
