//! How each route is made: who may use it is decided before its handler is called, by the head of the request alone.

use std::{
    pin::Pin,
    task::{Context, Poll},
};

use actix_web::{
    Error as ActixError, HttpMessage, HttpResponse, Resource, ResponseError, Route,
    body::{BodySize, BoxBody, MessageBody},
    dev::{HttpServiceFactory, Payload, ServiceRequest, ServiceResponse},
    guard,
    http::{
        Method, StatusCode,
        header::{ALLOW, HeaderMap, HeaderName, HeaderValue},
    },
    middleware::{Next, from_fn},
    web::{self, Bytes},
};

use super::{access::Role, error::Error, service::Service};
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
    let not_allowed = move |unread: web::Payload| async move {
        let mut response = HttpResponse::build(StatusCode::METHOD_NOT_ALLOWED);
        response.insert_header((ALLOW, allow));
        let error = format!("expected one of the methods {allow}");
        close_after(response.json(serde_json::json!({ "error": error })), unread)
    };
    let resource = routes.into_iter().fold(web::resource(path), Resource::route);
    resource.default_service(web::to(not_allowed)).wrap(from_fn(move |request, next| check(role, request, next)))
}

async fn check<B: MessageBody + 'static>(
    role: Role,
    mut request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<BoxBody>, ActixError> {
    // The scope has it.
    let Some(service) = request.app_data::<web::Data<Service>>().cloned() else {
        return Err(Error::unavailable("the service is not set up").into());
    };
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let role = if reads { role.min(Role::Read) } else { role };
    let mut response = match service.access.check(role, request.headers()) {
        Ok(()) => {
            // What only reads has no use for a body.
            let unread = if reads { request.take_payload() } else { Payload::None };
            let response = next.call(request).await?.map_into_boxed_body();
            match unread {
                Payload::None => response,
                unread => response.map_body(|_, answer| Holding::boxed(answer, unread)),
            }
        }
        Err(denied) => refuse(request, Error::denied(denied, role)),
    };
    set_level(response.headers_mut(), service.level());
    Ok(response)
}

/// Answers what matches no route.
pub(super) async fn no_such_path(unread: web::Payload) -> HttpResponse {
    close_after(Error::not_found("there is no such path").error_response(), unread)
}

/// Answers a request whose body was not looked at.
pub(super) fn refuse(mut request: ServiceRequest, error: Error) -> ServiceResponse {
    let unread = request.take_payload();
    request.into_response(close_after(error.error_response(), unread))
}

/// Closes the connection behind an answer, after a second, if the body of its request was not read whole: what is left of
/// it may have no end. `unread` is what it comes by.
pub(super) fn close_after<U: 'static>(answer: HttpResponse, unread: U) -> HttpResponse {
    answer.map_body(|_, answer| Holding::boxed(answer, unread))
}

/// An answer that holds what the body of its request comes by. A body that comes in chunks and is not held is read
/// to its end.
struct Holding<U> {
    answer: BoxBody,
    _unread: U,
}

impl<U: 'static> Holding<U> {
    fn boxed(answer: BoxBody, unread: U) -> BoxBody {
        BoxBody::new(Self { answer, _unread: unread })
    }
}

impl<U: 'static> MessageBody for Holding<U> {
    type Error = Box<dyn std::error::Error>;

    fn size(&self) -> BodySize {
        self.answer.size()
    }

    fn poll_next(self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<Option<Result<Bytes, Self::Error>>> {
        // Nothing of it is pinned: the answer is in a box of its own.
        Pin::new(&mut self.get_mut().answer).poll_next(context)
    }
}

/// What is held does not move while it is.
impl<U> Unpin for Holding<U> {}

/// Says the level, unless the handler said that of its coordinator.
pub(super) fn set_level(headers: &mut HeaderMap, level: Level) {
    if !headers.contains_key(LEVEL) {
        headers.insert(LEVEL, HeaderValue::from_static(level.as_str()));
    }
}
