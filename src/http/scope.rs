//! The list of all routes.

use actix_web::{Scope, dev::HttpServiceFactory, web};

use super::{
    access::Role,
    dashboard, dead_letters, feedback, ingest, metrics, openapi,
    resource::{get, no_such_path, resource, resource_of},
    service::Service,
    state,
};

/// Makes the routes of a service.
pub(super) fn scope(service: web::Data<Service>) -> Scope {
    let has_metrics = service.recorder.is_some();
    let scope = web::scope("")
        .app_data(service)
        .service(resource("/livez", Role::Anyone, "GET, HEAD", get().to(state::livez)))
        .service(resource("/readyz", Role::Anyone, "GET, HEAD", get().to(state::readyz)))
        .service(resource("/v1/coordinators", Role::Read, "GET, HEAD", get().to(state::coordinators)))
        .service(resource("/v1/coordinators/{id}", Role::Read, "GET, HEAD", get().to(state::coordinator)))
        .service(resource("/", Role::Anyone, "GET, HEAD", get().to(dashboard::page)))
        .service(resource("/dashboard.js", Role::Anyone, "GET, HEAD", get().to(dashboard::script)))
        .service(resource("/dashboard.css", Role::Anyone, "GET, HEAD", get().to(dashboard::style)))
        .service(resource("/v1/webhooks", Role::Read, "GET, HEAD", get().to(feedback::webhooks)))
        .service(resource("/v1/feedback", Role::Read, "GET, HEAD", get().to(feedback::present)))
        .service(resource("/v1/feedback/stream", Role::Read, "GET, HEAD", get().to(feedback::events)))
        .service(resource("/v1/dead-letters", Role::Read, "GET, HEAD", get().to(dead_letters::list)))
        .service(resource("/v1/dead-letters/replay", Role::Admin, "POST", web::post().to(dead_letters::replay)))
        .service(resource("/openapi.json", Role::Read, "GET, HEAD", get().to(openapi::document)))
        .service(records())
        .default_service(web::to(no_such_path));
    match has_metrics {
        true => scope.service(resource("/metrics", Role::Read, "GET, HEAD", get().to(metrics::metrics))),
        false => scope,
    }
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
fn records() -> impl HttpServiceFactory + 'static {
    let routes = [web::post().to(ingest::post), get().to(super::records::get)];
    resource_of("/v1/records/{kind}", Role::Write, "GET, HEAD, POST", routes)
}

/// A build that knows no database reads from none.
#[cfg(not(any(feature = "postgres", feature = "sqlite")))]
fn records() -> impl HttpServiceFactory + 'static {
    resource_of("/v1/records/{kind}", Role::Write, "POST", [web::post().to(ingest::post)])
}
