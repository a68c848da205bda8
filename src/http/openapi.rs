//! `GET /openapi.json`: the description of the routes, written once beside them and held to them by a test.

use actix_web::{HttpResponse, http::header::ContentType};

/// The document, without the version of this crate.
const DOCUMENT: &str = include_str!("openapi.json");
/// What stands where the version belongs.
const VERSION: &str = "VERSION";

pub(super) async fn document() -> HttpResponse {
    HttpResponse::Ok().content_type(ContentType::json()).body(DOCUMENT.replacen(VERSION, env!("CARGO_PKG_VERSION"), 1))
}
