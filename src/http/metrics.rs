//! `GET /metrics`, and what is counted of requests.

use std::time::Instant;

use actix_web::{
    Error as ActixError, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use metrics::{counter, histogram};

use super::service::Service;
use crate::metrics as names;

/// `GET /metrics`: what the recorder has, as Prometheus reads it.
pub(super) async fn metrics(service: web::Data<Service>) -> HttpResponse {
    // The route is there only where it is.
    let Some(recorder) = &service.recorder else { return HttpResponse::NotFound().finish() };
    let text = recorder.text(service.store().ok()).await;
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body(text)
}

/// Counts a request by its route, and how long the head of its answer took.
pub(super) async fn measure<B: MessageBody>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<B>, ActixError> {
    let began = Instant::now();
    let response = next.call(request).await?;
    // Only routes that there are: a path of a client's would be a new label each time.
    let route = response.request().match_pattern().unwrap_or_else(|| "none".to_owned());
    let status = response.status().as_str().to_owned();
    histogram!(names::HTTP_SECONDS, "route" => route.clone()).record(began.elapsed().as_secs_f64());
    counter!(names::HTTP_REQUESTS, "route" => route, "status" => status).increment(1);
    Ok(response)
}
