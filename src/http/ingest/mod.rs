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
mod wording;

use std::pin::Pin;

use actix_web::{HttpRequest, HttpResponse, ResponseError, web};

use self::{
    body::Body,
    parameters::{Parameters, check_headers},
    upload::Upload,
};
use super::{
    error::{Error, echoed},
    resource::close_after,
    service::Service,
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
) -> HttpResponse {
    let mut body = Body::new(payload);
    let answer = take(&service, &kind, &request, &mut body).await;
    let answer = answer.unwrap_or_else(|error| error.error_response());
    close_after(answer, body)
}

async fn take(
    service: &Service,
    kind: &str,
    request: &HttpRequest,
    body: &mut Body<web::Payload>,
) -> Result<HttpResponse, Error> {
    let store = service.running()?.clone();
    check_headers(request.headers())?;
    match for_kind(kind, Take { service, store, query: request.query_string(), body }) {
        Some(answer) => answer.await,
        None => Err(Error::not_found(format!("no kind {}, expected one of {}", echoed(kind), KIND_NAMES.join(", ")))),
    }
}

/// A request, until its kind is known.
struct Take<'a> {
    service: &'a Service,
    store: MarketDataStore,
    query: &'a str,
    body: &'a mut Body<web::Payload>,
}

impl<'a> ForKind for Take<'a> {
    type Output = Pin<Box<dyn Future<Output = Result<HttpResponse, Error>> + 'a>>;

    fn call<T: FileRecord>(self) -> Self::Output {
        Box::pin(async move {
            let Self { service, store, query, body } = self;
            let parameters = Parameters::read::<T>(query)?;
            let id = parameters.coordinator.as_deref().unwrap_or(T::KIND);
            let handle = store.coordinator_named::<T>(id).map_err(|error| {
                // Its text has the id as it was sent.
                let known = error.known().join(", ");
                Error::not_found(format!("no coordinator {} of {}, those here are {known}", echoed(id), T::KIND))
            })?;
            Upload::new(handle, service, &parameters).run(body, parameters.options.clone()).await
        })
    }
}
