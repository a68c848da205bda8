//! The settings of a store: from the environment, from a file of the embedder's choice, or set in code.
//!
//! [`Settings::from_env`] reads the environment and reports everything that is wrong at once. One table is behind the
//! errors, the warnings about unknown names, `mds config`, and the tests that hold `docs/CONFIGURATION.md`,
//! `config.example.env` and this code together.
//!
//! A variable that may hold a secret can name a file instead: `MDS_DATABASE_URL_FILE`.
//!
//! [`Settings`] implements `Deserialize`, so that any format that serde knows can be a file of settings. Its names are
//! those of the fields. A duration is a number of seconds or a text such as `"250ms"`. What is left out has its
//! default, an unknown name is an error, and values are checked when a store starts.
//!
//! ```
//! use market_data_store::Settings;
//!
//! let settings: Settings = serde_json::from_str(r#"{
//!     "database_url": "sqlite://bars.db",
//!     "coordinator": { "capacity": 50000, "flush_interval": "100ms" },
//!     "coordinators": { "quotes": { "workers": 8 } }
//! }"#)?;
//! assert_eq!(settings.coordinator_settings("quotes").workers, 8);
//! assert_eq!(settings.coordinator_settings("quotes").capacity, 50_000);
//! # Ok::<(), serde_json::Error>(())
//! ```

mod check;
mod coordinator;
mod duration;
pub(crate) mod endpoint;
mod error;
mod feedback;
mod http_server;
mod log_format;
pub(crate) mod names;
mod policies;
mod postgres;
mod read;
mod secret;
mod secret_file;
mod service_link;
mod size;
mod store;
#[cfg(feature = "testing")]
pub(crate) mod temporary;
mod variables;

pub(crate) use self::secret::masked;
pub use self::{
    coordinator::CoordinatorOverrides,
    feedback::{FeedbackSettings, HttpSettings},
    http_server::HttpServerSettings,
    postgres::{PostgresCopy, PostgresMigrate, PostgresSettings},
    secret::Secret,
};
// What `mds` and the tests of the pages read.
#[doc(hidden)]
pub use self::{
    duration::{InvalidDuration, parse_duration},
    error::{Problem, UnknownVariable},
    log_format::LogFormat,
    read::Loaded,
    variables::{Value, Variable},
};
// At the crate's root in the documentation.
#[doc(hidden)]
pub use self::{
    coordinator::CoordinatorSettings,
    endpoint::{Endpoint, InvalidEndpoint},
    error::SettingsError,
    store::Settings,
};
pub use crate::policy::{BreakerConfig, RetryPolicy};
// A start checks watermarks, so an embedder has no need to name these.
#[doc(hidden)]
pub use crate::policy::{ScaleError, WatermarkError, Watermarks};
