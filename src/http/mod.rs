//! The store over HTTP: the routes that `mds serve` has, for a service of one's own, feature `serve`.
//!
//! ```text
//!  POST /v1/records/{kind}  --> ingest --> WriteHandle       (each record: stored, dead-lettered, dropped or rejected)
//!  GET  /v1/coordinators[/{id}]  /livez  /readyz  --> state  (how it is)
//!  GET  /v1/feedback[/stream]  --> feedback  (what producers are told)
//!  GET  /  --> dashboard  (the same for people)
//! ```
//! [`routes`] is an actix-web scope. Each route says its path whole, so mount it below a path of your own. It asks for no
//! token and looks at no origin: any client that reaches it can write. Wrap it in what your service protects its routes with, or
//! run `mds serve`, which has tokens of its own.
//!
//! ```no_run
//! use actix_web::{App, HttpServer, web};
//! use market_data_store::{MarketDataStore, Settings};
//!
//! # async fn run() -> Result<(), Box<dyn std::error::Error>> {
//! let store = MarketDataStore::start(Settings::from_env()?).await?;
//! let routes = {
//!     let store = store.clone();
//!     move || App::new().service(web::scope("/store").service(market_data_store::http::routes(&store)))
//! };
//! HttpServer::new(routes).bind("127.0.0.1:8080")?.run().await?;
//! store.shutdown(store.shutdown_timeout()).await;
//! # Ok(())
//! # }
//! ```
//!
//! A worker of the server holds a clone of the store, which is not dropped before the server has ended.

mod access;
mod dashboard;
mod dead_letters;
mod error;
mod feedback;
mod ingest;
mod metrics;
mod openapi;
mod query;
mod recorder;
#[cfg(any(feature = "postgres", feature = "sqlite"))]
mod records;
mod resource;
mod scope;
mod server;
mod service;
mod state;

use actix_web::{Scope, web::Data};

// What `mds serve` runs.
use self::service::Service;
#[doc(hidden)]
pub use self::{
    recorder::Render,
    server::{Server, ServerError},
};
use crate::store::MarketDataStore;

/// Returns the routes for a store that has started. Other methods than a route has are answered with 405, other paths
/// below the scope with 404, both as JSON.
pub fn routes(store: &MarketDataStore) -> Scope {
    scope::scope(Data::new(Service::of_store(store.clone())))
}
