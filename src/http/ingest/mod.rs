//! `POST /v1/records/{kind}`: a body of records, from its first byte to what became of each.
//!
//! ```text
//!  body (as it comes) --> reader of files --> a chunk of at most 1,024 rows --> WriteHandle --> receipts, in order
//! ```
//! No part waits for the whole: the body is read as fast as the queue takes its records, so memory does not grow with it.

mod answer;
mod body;
mod parameters;
mod progress;
mod upload;

use std::pin::Pin;

use actix_web::{HttpRequest, HttpResponse, web};

use self::{
    body::Body,
    parameters::{Parameters, check_headers},
    upload::Upload,
};
use super::{
    error::{Error, echoed},
    service::{Service, Stage},
};
use crate::{
    files::{FileRecord, ForKind, KIND_NAMES, for_kind},
    store::MarketDataStore,
};

/// Takes the records of a body.
pub(super) async fn post(
    service: web::Data<Service>,
    kind: web::Path<String>,
    request: HttpRequest,
    payload: web::Payload,
) -> Result<HttpResponse, Error> {
    let store = match service.stage() {
        Stage::Running(store) => store.clone(),
        Stage::Starting => return Err(Error::unavailable("the store is starting")),
        Stage::Draining => return Err(Error::unavailable("the store is draining and takes no more records")),
        Stage::Dead => return Err(Error::unavailable("a part of the store died: it has to be started again")),
    };
    check_headers(request.headers())?;
    let take = Take { service, store, query: request.query_string().to_owned(), payload };
    match for_kind(&kind, take) {
        Some(answer) => answer.await,
        None => Err(Error::not_found(format!("no kind {}, expected one of {}", echoed(&kind), KIND_NAMES.join(", ")))),
    }
}

/// A request, until its kind is known.
struct Take {
    service: web::Data<Service>,
    store: MarketDataStore,
    query: String,
    payload: web::Payload,
}

impl ForKind for Take {
    type Output = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>>>>;

    fn call<T: FileRecord>(self) -> Self::Output {
        Box::pin(async move {
            let Self { service, store, query, payload } = self;
            let parameters = Parameters::read::<T>(&query)?;
            let id = parameters.coordinator.as_deref().unwrap_or(T::KIND);
            let handle = store.coordinator_named::<T>(id).map_err(|error| {
                // Its text has the id as it was sent.
                let known = error.known().join(", ");
                Error::not_found(format!("no coordinator {} of {}, those here are {known}", echoed(id), T::KIND))
            })?;
            Upload::new(handle, &service, &parameters).run(Body::new(payload), parameters.options.clone()).await
        })
    }
}
