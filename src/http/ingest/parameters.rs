//! What a request says beside its body: the parameters of its URL, and its headers.

use actix_web::http::{
    StatusCode,
    header::{CONTENT_ENCODING, CONTENT_TYPE, HeaderMap, HeaderName},
};

use super::wording::{cut, of_request};
use crate::{
    files::{FileRecord, ReadOptions},
    http::{
        error::{Error, echoed},
        query::Query,
    },
    record::Bar,
};

/// The types of bodies that are read. What is in one its first bytes show.
const TYPES: [&str; 11] = [
    "application/x-ndjson",
    "application/ndjson",
    "application/jsonl",
    "application/json",
    "text/csv",
    "text/tab-separated-values",
    "application/csv",
    "application/gzip",
    "application/x-gzip",
    "application/zstd",
    "application/octet-stream",
];

/// What the URL of a request can say.
const PARAMETERS: &str = "coordinator, ack, skip, symbol, vendor, timeframe, adjustment, tz, ts_format, ts_is, \
                          session_start, as_written and map";

/// What is known of the records when a request is answered.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ack {
    /// Each is stored, or is not and is counted.
    Stored,
    /// Each is in the queue.
    Queued,
}

/// The parameters of a request.
#[derive(Debug)]
pub(super) struct Parameters {
    /// The coordinator; by default that with the kind as its id.
    pub(super) coordinator: Option<String>,
    pub(super) ack: Ack,
    /// How many records at the front of the body are passed over.
    pub(super) skip: u64,
    /// What the readers are told.
    pub(super) options: ReadOptions,
}

impl Parameters {
    /// Reads the query of a URL.
    ///
    /// # Errors
    /// 400: a parameter that there is not, one that comes twice, or a value that is none of it.
    pub(super) fn read<T: FileRecord>(query: &str) -> Result<Self, Error> {
        let mut query = Query::read(query)?;
        let wrong =
            |name: &'static str| move |problem: String| Error::bad_request(format!("{name}: {}", cut(&problem)));
        let ack = match query.take("ack")?.as_deref() {
            None | Some("stored") => Ack::Stored,
            Some("queued") => Ack::Queued,
            Some(other) => {
                return Err(Error::bad_request(format!("ack: expected stored or queued, got {}", echoed(other))));
            }
        };
        let symbol = query.take("symbol")?.as_deref().map(Bar::normal_symbol).transpose();
        let vendor = query.take("vendor")?;
        if vendor.as_deref().is_some_and(|vendor| vendor.trim().is_empty()) {
            return Err(Error::bad_request("vendor: expected a vendor, got \"\""));
        }
        let vendor = vendor.as_deref().map(Bar::normal_vendor).transpose();
        let map = query.take("map")?.map(|map| T::column_map(&map)).transpose();
        let options = ReadOptions {
            symbol: symbol.map_err(|error| wrong("symbol")(error.message))?,
            vendor: vendor.map_err(|error| wrong("vendor")(error.message))?,
            timeframe: query.take_as("timeframe", "a timeframe such as 1m or 1d")?,
            adjustment: query.take_as("adjustment", "raw, split or all")?,
            zone: query.take_as("tz", "a time zone such as America/New_York")?,
            ts_format: query.take_as("ts_format", "a form of times such as %d.%m.%Y %H:%M")?,
            ts_is: query.take_as("ts_is", "begin or end")?,
            session_start: query.take_as("session_start", "a time of day such as 17:00")?,
            as_written: query.take_as("as_written", "true or false")?.unwrap_or_default(),
            map: map.map_err(|error| wrong("map")(of_request(&error.to_string())))?.unwrap_or_default(),
            ..ReadOptions::default()
        };
        let coordinator = query.take("coordinator")?;
        let skip = query.take_as("skip", "a whole number of records")?.unwrap_or_default();
        query.end(PARAMETERS)?;
        Ok(Self { coordinator, ack, skip, options })
    }
}

/// Looks at what the headers say of a body.
///
/// # Errors
/// 415: it is of a type, or packed in a way, that is not read here.
pub(super) fn check_headers(headers: &HeaderMap) -> Result<(), Error> {
    let unsupported = |message: String| Error::new(StatusCode::UNSUPPORTED_MEDIA_TYPE, message);
    let text = |name: HeaderName| headers.get(name).map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    if let Some(content_type) = text(CONTENT_TYPE) {
        let essence = content_type.split(';').next().unwrap_or_default().trim();
        if !TYPES.iter().any(|known| known.eq_ignore_ascii_case(essence)) {
            return Err(unsupported(format!(
                "Content-Type: expected application/x-ndjson, application/json or text/csv, got {}",
                echoed(&content_type)
            )));
        }
    }
    match text(CONTENT_ENCODING) {
        Some(encoding) if !["gzip", "x-gzip", "zstd", "identity"].contains(&&*encoding.trim().to_ascii_lowercase()) => {
            Err(unsupported(format!("Content-Encoding: expected gzip or zstd, got {}", echoed(&encoding))))
        }
        _ => Ok(()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::record::Trade;

    // Red when a parameter passes that is none, comes twice, or has a value that is none; or one does not arrive.
    #[test]
    fn parameters_are_those_of_the_readers_and_each_is_checked() {
        let query = "ack=queued&skip=7&coordinator=b%2Fars&symbol=es&vendor=acme&timeframe=1m&adjustment=raw&\
                     tz=America%2FNew_York&ts_format=%25d.%25m.%25Y&ts_is=end&session_start=17%3A00&as_written=true&map=ts%3D1";
        let read = Parameters::read::<Bar>(query).unwrap();
        assert_eq!((read.ack, read.skip, read.coordinator.as_deref()), (Ack::Queued, 7, Some("b/ars")));
        assert_eq!((read.options.symbol.as_deref(), read.options.vendor.as_deref()), (Some("ES"), Some("acme")));
        assert!(read.options.timeframe.is_some() && read.options.adjustment.is_some() && read.options.as_written);
        assert!(
            read.options.zone.is_some() && read.options.ts_format.is_some() && read.options.session_start.is_some()
        );
        for (query, expected) in [
            ("ack=1", "ack: expected stored or queued, got \"1\""),
            ("skip=-1", "skip: expected a whole number of records, got \"-1\""),
            ("skip=1&skip=2", "skip: expected it once"),
            ("symbl=ES", "session_start, as_written and map, got \"symbl\""),
            ("timeframe=soon", "timeframe: expected a timeframe such as 1m or 1d"),
            ("tz=Mars", "tz: expected a time zone"),
            ("as_written=yes", "as_written: expected true or false"),
            ("map=x", "map: "),
            ("symbol=", "symbol: expected a symbol, got an empty one"),
            ("vendor=", "vendor: expected a vendor, got \"\""),
            ("vendor=%20", "vendor: expected a vendor, got \"\""),
        ] {
            let error = Parameters::read::<Bar>(query).unwrap_err().to_string();
            assert!(error.contains(expected), "{query}: {error}");
        }
        assert_eq!(Parameters::read::<Trade>("").unwrap().ack, Ack::Stored);
        let long = Parameters::read::<Bar>(&format!("ack={}", "x".repeat(10_000))).unwrap_err().to_string();
        assert!(long.len() < 300, "{long}");
    }
}
