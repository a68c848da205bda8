//! How each route is made: who may use it is decided before its handler is called, by the head of the request alone.

use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse, Resource, ResponseError, Route,
    body::{EitherBody, MessageBody},
    dev::{HttpServiceFactory, ServiceRequest, ServiceResponse},
    guard,
    http::{
        Method, StatusCode,
        header::{ALLOW, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    web,
};

use super::{
    access::{Denied, Role},
    error::Error,
    service::Service,
};
use crate::policy::Level;

/// The level of the coordinator that a request was for, or the highest of all.
pub(super) const LEVEL: HeaderName = HeaderName::from_static("mds-level");

/// Begins a route for GET, and HEAD.
pub(super) fn get() -> Route {
    web::route().guard(guard::Any(guard::Get()).or(guard::Head()))
}

/// Makes a resource of one route that asks for a role. `allow` names its methods.
pub(super) fn resource(
    path: &str,
    role: Role,
    allow: &'static str,
    route: Route,
) -> impl HttpServiceFactory + 'static + use<> {
    resource_of(path, role, allow, [route])
}

/// Makes a resource of several routes: GET and HEAD ask for reading at most, the others for the role.
pub(super) fn resource_of<const ROUTES: usize>(
    path: &str,
    role: Role,
    allow: &'static str,
    routes: [Route; ROUTES],
) -> impl HttpServiceFactory + 'static + use<ROUTES> {
    let not_allowed = move || async move {
        let mut response = HttpResponse::build(StatusCode::METHOD_NOT_ALLOWED);
        response.insert_header((ALLOW, allow));
        response.json(serde_json::json!({ "error": format!("expected one of the methods {allow}") }))
    };
    let resource = routes.into_iter().fold(web::resource(path), Resource::route);
    resource.default_service(web::to(not_allowed)).wrap(from_fn(move |request, next| check(role, request, next)))
}

async fn check<B: MessageBody + 'static>(
    role: Role,
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    // The scope has it.
    let Some(service) = request.app_data::<web::Data<Service>>().cloned() else {
        return Err(Error::unavailable("the service is not set up").into());
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let role = if reads { role.min(Role::Read) } else { role };
    let denied = match service.access.check(role, request.headers()) {
        Ok(()) => {
            let mut response = match next.call(request).await {
                Ok(response) => response.map_into_left_body(),
                Err(error) => return Err(error),
            };
            set_level(response.headers_mut(), service.level());
            return Ok(response);
        }
        Err(Denied::Unknown) => Error::unknown_token(),
        Err(Denied::Role) => Error::new(StatusCode::FORBIDDEN, forbidden(role)),
    };
    let mut response = refuse(request, denied);
    set_level(response.headers_mut(), service.level());
    Ok(response.map_into_right_body())
}

/// Answers a request whose body was not looked at.
pub(super) fn refuse(mut request: ServiceRequest, error: Error) -> ServiceResponse {
    let unread = request.take_payload();
    request.into_response(close_after(error.error_response(), unread))
}

/// Closes the connection behind an answer, after a second, if the body of its request was not read whole: what is left of
/// it may have no end. `unread` is what it comes by.
pub(super) fn close_after<B: 'static>(mut answer: HttpResponse, unread: B) -> HttpResponse {
    // A body that nobody holds any more is read to its end where it comes in chunks.
    answer.extensions_mut().insert(Unread(unread));
    answer
}

/// Lives as long as the answer.
struct Unread<B>(B);

fn forbidden(role: Role) -> &'static str {
    match role {
        Role::Admin => "expected a token of MDS_HTTP_ADMIN_TOKEN, without which nobody may do this",
        _ => "expected a token that may do this, got one that may only read",
    }
}

/// Says the level, unless the handler said that of its coordinator.
pub(super) fn set_level(headers: &mut HeaderMap, level: Level) {
    if !headers.contains_key(LEVEL) {
        headers.insert(LEVEL, HeaderValue::from_static(level.as_str()));
    }
}
