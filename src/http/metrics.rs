//! `GET /metrics`: what the recorder of the process has, as Prometheus reads it.
//!
//! The recorder is that of the program that serves the routes, and so is the text: `mds serve` has one. Two metrics are
//! brought up to date here: they cost nothing while nobody asks.

use std::{
    path::PathBuf,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_web::{
    Error as ActixError, HttpResponse,
    body::MessageBody,
    dev::{ServiceRequest, ServiceResponse},
    middleware::Next,
    web,
};
use metrics::{counter, gauge, histogram};
use parking_lot::Mutex;

use super::service::Service;
use crate::{dead_letter::PendingCount, metrics as names, text::ErrorChain};

/// Writes what the recorder has, in the text format of Prometheus.
pub type Render = Arc<dyn Fn() -> String + Send + Sync>;

/// How long an answer waits for the dead letters to be counted. What is not counted by then is in a later answer.
const COUNTING: Duration = Duration::from_secs(2);

/// What `/metrics` needs.
pub(super) struct Metrics {
    render: Render,
    dead_letters: Arc<Mutex<PendingDeadLetters>>,
}

#[derive(Default)]
struct PendingDeadLetters {
    count: PendingCount,
    has_failed: bool,
}

impl Metrics {
    pub(super) fn new(render: Render) -> Self {
        Self { render, dead_letters: Arc::default() }
    }
}

/// `GET /metrics`.
pub(super) async fn metrics(service: web::Data<Service>) -> HttpResponse {
    // The route is there only where they are.
    let Some(metrics) = &service.metrics else { return HttpResponse::NotFound().finish() };
    gauge!(names::BUILD_INFO, "version" => env!("CARGO_PKG_VERSION")).set(1.0);
    if let Ok(store) = service.store() {
        let (dead_letters, dir) = (Arc::clone(&metrics.dead_letters), store.dead_letters().dir().to_owned());
        let counted = web::block(move || count_dead_letters(&dead_letters, dir));
        let _ = tokio::time::timeout(COUNTING, counted).await;
    }
    HttpResponse::Ok().content_type("text/plain; version=0.0.4; charset=utf-8").body((metrics.render)())
}

fn count_dead_letters(dead_letters: &Mutex<PendingDeadLetters>, dir: PathBuf) {
    // Another request is counting them.
    let Some(mut dead_letters) = dead_letters.try_lock() else { return };
    let count = dead_letters.count.count(&dir);
    if let Err(error) = &count
        && !dead_letters.has_failed
    {
        tracing::warn!(error = %ErrorChain(error), "cannot count the dead letters for /metrics");
    }
    dead_letters.has_failed = count.is_err();
    // No number is better than an old one.
    gauge!(names::DEAD_LETTERS_PENDING).set(count.map_or(f64::NAN, |count| count as f64));
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
