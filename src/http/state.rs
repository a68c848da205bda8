//! How the service is: for probes, and each coordinator for those who watch it.

use std::time::Duration;

use actix_web::{HttpRequest, HttpResponse, http::StatusCode, web};
use serde::Serialize;
use serde_json::json;

use super::{
    error::{Error, echoed},
    query::Query,
    resource::LEVEL,
    service::{Service, Stage},
};
use crate::{coordinator::Health, policy::Level};

/// How long coordinators are waited for. They answer at once, unless their thread is held up.
const HEALTH: Duration = Duration::from_secs(5);

/// `GET /livez`: the process answers.
pub(super) async fn livez() -> HttpResponse {
    HttpResponse::Ok().json(json!({ "status": "alive" }))
}

/// `GET /readyz[?level=hard]`: whether it is worth sending something here.
pub(super) async fn readyz(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    let mut query = Query::read(request.query_string())?;
    // The level from which on the service counts as not ready.
    let level = query.take("level")?;
    query.end("level")?;
    let unready_at = match level.as_deref() {
        None => None,
        Some("soft") => Some(Level::Soft),
        Some("hard") => Some(Level::Hard),
        Some(other) => return Err(Error::bad_request(format!("level: expected soft or hard, got {}", echoed(other)))),
    };
    let status = match service.stage() {
        Stage::Starting => "starting",
        Stage::Draining => "draining",
        Stage::Dead => "dead",
        Stage::Running(_) => "ready",
    };
    let level = service.level();
    let is_ready = status == "ready" && unready_at.is_none_or(|at| level < at);
    let code = if is_ready { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    Ok(HttpResponse::build(code).json(json!({ "status": status, "level": level.as_str() })))
}

#[derive(Serialize)]
struct Coordinators {
    coordinators: Vec<Health>,
}

/// `GET /v1/coordinators`: every coordinator, by id.
pub(super) async fn coordinators(service: web::Data<Service>, request: HttpRequest) -> Result<HttpResponse, Error> {
    Query::none(request.query_string())?;
    Ok(HttpResponse::Ok().json(Coordinators { coordinators: health(&service).await? }))
}

/// `GET /v1/coordinators/{id}`: one of them.
pub(super) async fn coordinator(
    service: web::Data<Service>,
    id: web::Path<String>,
    request: HttpRequest,
) -> Result<HttpResponse, Error> {
    Query::none(request.query_string())?;
    let all = health(&service).await?;
    match all.iter().find(|health| *health.coordinator_id == **id) {
        Some(health) => Ok(HttpResponse::Ok().insert_header((LEVEL, health.level.as_str())).json(health)),
        None => {
            let known: Vec<&str> = all.iter().map(|health| &*health.coordinator_id).collect();
            Err(Error::not_found(format!("no coordinator {}, expected one of {}", echoed(&id), known.join(", "))))
        }
    }
}

async fn health(service: &Service) -> Result<Vec<Health>, Error> {
    let health = tokio::time::timeout(HEALTH, service.store()?.health()).await;
    health.map_err(|_| Error::unavailable("a coordinator does not answer"))
}
