//! The server that `mds serve` runs: its limits, who reaches it, and its end.

use std::{
    future::ready,
    io,
    net::{SocketAddr, TcpListener},
    time::Duration,
};

use actix_http::{HttpService, Request};
use actix_service::{IntoServiceFactory, ServiceFactoryExt, fn_service, map_config};
use actix_web::{
    App, Error as ActixError, HttpMessage, ResponseError,
    body::{EitherBody, MessageBody},
    dev::{AppConfig, Server as ActixServer, ServerHandle, ServiceRequest, ServiceResponse},
    http::{
        ConnectionType, StatusCode,
        header::{HeaderMap, HeaderName},
    },
    middleware::{DefaultHeaders, Next, from_fn},
    web,
};
use parking_lot::Mutex;
use tokio::sync::oneshot;
use tracing::Instrument;

use super::{
    access::{Role, is_loopback},
    error::Error,
    metrics::measure,
    recorder::{Recorder, Render},
    resource::{refuse, set_level},
    scope::scope,
    service::Service,
};
use crate::{own_system::on_own_system, settings::Settings, store::MarketDataStore};

/// How long the head of a request may take.
const HEAD: Duration = Duration::from_secs(10);
/// How long a connection may lie idle between two requests.
const KEEP_ALIVE: Duration = Duration::from_secs(15);
/// How long a client may take to close a connection that is at its end, and how long what it still sends is thrown away.
const DISCONNECT: Duration = Duration::from_secs(1);
/// How long the end waits for the answers that are under way, in seconds.
const LAST_ANSWERS: u64 = 2;
/// The most connections of a worker: of a client that opens more they wait in the system's queue.
const CONNECTIONS: usize = 4_096;

/// What a browser may do with answers: nothing but show them. The page that is one says more for itself.
const HEADERS: [(HeaderName, &str); 5] = [
    (HeaderName::from_static("content-security-policy"), "default-src 'none'; frame-ancestors 'none'"),
    (HeaderName::from_static("x-content-type-options"), "nosniff"),
    (HeaderName::from_static("x-frame-options"), "DENY"),
    (HeaderName::from_static("referrer-policy"), "no-referrer"),
    (HeaderName::from_static("cache-control"), "no-store"),
];

/// Why the service cannot start.
#[derive(Debug, thiserror::Error)]
#[non_exhaustive]
pub enum ServerError {
    /// Others could write, and nothing says that they may.
    #[error(
        "MDS_HTTP_BIND is {0}, which other machines can reach, and MDS_HTTP_TOKEN is not set: expected a token, an address of \
         this machine alone such as 127.0.0.1:8080, or MDS_HTTP_ALLOW_ANONYMOUS=true"
    )]
    NoToken(SocketAddr),
    /// The address cannot be listened on.
    #[error("MDS_HTTP_BIND is {address}, expected an address and a port that can be listened on: {source}")]
    Bind {
        /// The address.
        address: SocketAddr,
        /// What the system says.
        source: io::Error,
    },
    /// The operating system refuses a thread, or what a thread needs.
    #[error("cannot start a thread for the service")]
    Thread(#[source] io::Error),
}

/// A service that answers, from before its store has started until after that has ended.
pub struct Server {
    service: web::Data<Service>,
    address: SocketAddr,
    handle: ServerHandle,
    ended: Mutex<Option<oneshot::Receiver<()>>>,
}

impl Server {
    /// Listens, and answers that the store is starting. `render` writes what `/metrics` shows, which is not there without.
    ///
    /// # Errors
    /// The address cannot be listened on, or must not without a token.
    pub fn start(settings: &Settings, render: Option<Render>) -> Result<Self, ServerError> {
        let http = &settings.http;
        let is_local = is_loopback(http.bind);
        if !is_local && http.tokens.is_empty() && !http.allow_anonymous {
            return Err(ServerError::NoToken(http.bind));
        }
        if !is_local {
            tracing::warn!(
                address = %http.bind,
                "other machines can reach the service, and what they send can be read on its way: have TLS terminated in front of \
                 it"
            );
        }
        let service = web::Data::new(Service::of_settings(settings, render.map(Recorder::new)));
        let (end, ended) = oneshot::channel();
        let (shared, bind) = (service.clone(), http.bind);
        let listening = on_own_system("mds-http", move || {
            let (made, server) = match listen(shared, bind) {
                Ok((server, address)) => (Ok((server.handle(), address)), Some(server)),
                Err(error) => (Err(error), None),
            };
            let run = async move {
                if let Some(server) = server
                    && let Err(error) = server.await
                {
                    tracing::error!(%error, "the HTTP server failed");
                }
                let _ = end.send(());
            };
            (made, run)
        });
        let listening = listening.map_err(ServerError::Thread)?;
        let (handle, address) = listening.map_err(|source| ServerError::Bind { address: bind, source })?;
        Ok(Self { service, address, handle, ended: Mutex::new(Some(ended)) })
    }

    /// Returns the address that it listens on.
    pub fn address(&self) -> SocketAddr {
        self.address
    }

    /// Serves a store, which has started.
    pub fn serve(&self, store: MarketDataStore) {
        self.service.set_store(store);
    }

    /// Refuses records from now on, and ends streams. What was accepted is still answered.
    pub fn begin_end(&self) {
        self.service.begin_end();
    }

    /// Stops listening, and returns once the answers that are under way are sent, or after two seconds.
    pub async fn stop(&self) {
        self.handle.stop(true).await;
        let ended = self.ended.lock().take();
        if let Some(ended) = ended {
            // An error means that the thread is gone.
            let _ = ended.await;
        }
    }
}

fn listen(service: web::Data<Service>, bind: SocketAddr) -> io::Result<(ActixServer, SocketAddr)> {
    let listener = TcpListener::bind(bind)?;
    let address = listener.local_addr()?;
    let server = ActixServer::build()
        .disable_signals()
        .shutdown_timeout(LAST_ANSWERS)
        .max_concurrent_connections(CONNECTIONS)
        .listen("mds", listener, move || {
            let headers = HEADERS.into_iter().fold(DefaultHeaders::new(), DefaultHeaders::add);
            // The scope answers paths that are none.
            let app = App::new()
                .app_data(service.clone())
                .wrap(from_fn(admit))
                .wrap(headers)
                .wrap(from_fn(measure))
                .service(scope(service.clone()));
            let app = app.into_factory().map_err(|error: ActixError| error.error_response());
            let service = service.clone();
            // Not by `HttpServer`, which knows no way to refuse a body before it is sent.
            HttpService::build()
                .keep_alive(KEEP_ALIVE)
                .client_request_timeout(HEAD)
                .client_disconnect_timeout(DISCONNECT)
                .local_addr(address)
                .expect(fn_service(move |request: Request| {
                    let expected = expect(&service, request.headers());
                    ready(expected.map(|()| request).map_err(|error| {
                        let mut response = error.error_response();
                        set_level(response.headers_mut(), service.level());
                        response
                    }))
                }))
                .h1(map_config(app, |()| AppConfig::default()))
                .tcp()
        })?
        .run();
    Ok((server, address))
}

/// Decides whether a client that waits for `100 Continue` is to send its body. What is refused here would be refused by its
/// route, which looks again.
fn expect(service: &Service, headers: &HeaderMap) -> Result<(), Error> {
    service.access.check_origin(headers).map_err(|problem| Error::new(StatusCode::FORBIDDEN, problem))?;
    // Any route that takes a body writes.
    service.access.check(Role::Write, headers).map_err(|denied| Error::denied(denied, Role::Write))?;
    service.running().map(drop)
}

/// Looks at host and origin before anything else, and closes connections while the service comes to its end.
async fn admit<B: MessageBody + 'static>(
    request: ServiceRequest,
    next: Next<B>,
) -> Result<ServiceResponse<EitherBody<B>>, ActixError> {
    let service = request.app_data::<web::Data<Service>>().cloned();
    let refusal = service.as_ref().and_then(|service| service.access.check_origin(request.headers()).err());
    let mut response = match refusal {
        Some(problem) => refuse(request, Error::new(StatusCode::FORBIDDEN, problem)).map_into_right_body(),
        None => {
            // Of the path only what is ours is logged: the rest is the client's.
            let route = request.match_pattern().unwrap_or_else(|| "none".to_owned());
            let span = tracing::info_span!("request", method = %request.method(), route);
            next.call(request).instrument(span).await?.map_into_left_body()
        }
    };
    if let Some(service) = service {
        set_level(response.headers_mut(), service.level());
        if service.is_ending() {
            response.response_mut().head_mut().set_connection_type(ConnectionType::Close);
        }
    }
    Ok(response)
}
