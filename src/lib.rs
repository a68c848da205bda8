//! The write path for market data in a service: it takes records, writes them in batches to a store, and tells
//! producers when to slow down.
//!
//! A [`WriteHandle`] puts records into a bounded queue. Workers take them out in batches and write them through a
//! [`Sink`], such as the SQLite one. A coordinator watches the size of the queue, and publishes each change of its
//! [`Level`] on a [feedback bus](feedback), from where it reaches subscriber actors,
//! [watch channels](Feedback::watch) and, as webhooks, other processes. The parts are actix actors; the futures of a
//! handle run on any executor.
//!
//! ```text
//!  producer -- submit --> WriteHandle --> bounded queue --> worker x N --> Sink --> store
//!                              ^               |
//!                     waits,   |               | the size crosses a watermark
//!                     or is    |               v
//!                     refused -+        WriteCoordinator -- FeedbackEvent --> FeedbackBus
//!                                                                                |
//!               slows down <-- subscriber actors, watch channels, webhooks <-----+
//! ```
//!
//! # Quick start
//!
//! ```
//! use market_data_store::{Bar, Batch, Coordinator, Level, MarketDataStore, Settings, Sink, SinkError, Timeframe};
//!
//! /// A store of one's own. With the feature `sqlite`, `MarketDataStore::start(Settings::from_env()?)` needs none.
//! struct Printer;
//!
//! impl Sink<Bar> for Printer {
//!     async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
//!         for bar in batch.iter() {
//!             println!("{} {}: {}", bar.symbol, bar.ts, bar.close);
//!         }
//!         Ok(())
//!     }
//! }
//!
//! #[tokio::main]
//! async fn main() -> Result<(), Box<dyn std::error::Error>> {
//!     let store = MarketDataStore::builder(Settings::default()).coordinator(Coordinator::new(Printer)).start().await?;
//!     let bars = store.coordinator::<Bar>()?;
//!     let level = store.feedback().watch(bars.id());
//!
//!     let bar = Bar::new("ES", Timeframe::MINUTE, "2024-01-02T14:30:00Z".parse()?);
//!     bars.submit(bar.ohlc(4780.25, 4781.0, 4779.5, 4780.75).volume(1250.0)).await?; // accepted
//!     bars.flush().await?; // stored
//!     assert_eq!(level.borrow().level, Level::Ok);
//!
//!     let report = store.shutdown(store.shutdown_timeout()).await; // the end: nothing accepted is lost
//!     assert_eq!((report.submitted(), report.stored(), report.unsettled()), (1, 1, 0));
//!     Ok(())
//! }
//! ```
//!
//! # What holds
//!
//! - **Bounded.** At most `capacity` records wait, and at most `workers` x `batch_size` are being written. What happens
//!   at the bound is the [`Overflow`] strategy.
//! - **Exact levels.** Each crossing of a watermark makes one event, with hysteresis between the two marks. It says why
//!   it came, how fast the queue drains, and when it is worth trying again.
//! - **Isolated subscribers and URLs.** One that is slow, stuck, panics or ends delays no other and grows no memory.
//!   One that comes late gets the present level. A gap in `seq` shows what was skipped.
//! - **Order.** Records with one partition key are written in the order in which they were accepted, through retries.
//! - **Counts that add up.** In every [`Health`]: submitted = stored + dead-lettered + dropped + queued + in flight. A
//!   refused record is handed back, and is none of these.
//! - **An outage dead-letters nothing.** After several failures in a row the circuit opens; batches wait, and one probe
//!   at a time finds out whether the store is back. Only a deadline of yours ends the wait.
//! - **One bad record costs only itself.** A batch that the sink refuses is halved until the record at fault stands
//!   alone; that one becomes a [dead letter](dead_letter).
//! - **Cancel-safe.** Dropping a future of a handle loses no accepted record and no place in the queue.
//! - **A System of its own.** A store drains though the runtime or System that started it has stopped.
//! - **Manners of a library.** It installs no signal handler, log subscriber, metrics recorder or panic hook, and never
//!   ends the process.
//!
//! # What does not
//!
//! - The queue is in memory. A process that is killed loses what was accepted and not stored: with defaults at most
//!   12,000 records a coordinator. [`WriteHandle::flush`] and a [`Receipt`] say when records are settled.
//! - At least once: a batch can be written twice, so a sink has to be idempotent, as an upsert by key is.
//! - A write that hangs is told of, and cut off only after [`Settings::sink_timeout`], which is off unless it is set.
//! - A write that is under way at the deadline of a shutdown may be stored and a [dead letter](dead_letter) too.
//! - A [replay](MarketDataStore::replay) upserts: it can overwrite a newer value of the same key.
//!
//! # Where to go on
//!
//! [`MarketDataStore`] and [`Builder`] start a store, [`WriteHandle`] submits, [`Feedback`] and [`Subscribe`] listen,
//! [`RateCoordinator`] makes the [`RateLimiter`] of a producer that slows down by itself, [`Receipt`] and
//! [`dead_letter`] say what became of records, [`Record`] and [`Sink`] take types and stores of your own, [`Tabular`]
//! gives a type a table in a [`Database`], [`Settings`] reads the environment, [`metrics`] lists what is measured. The
//! pages in `docs/` of the repository go further: the end of a service, failures, webhooks, sinks, configuration.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sqlite` | yes | `SqliteSink`; [`Database`], and with it [`MarketDataStore::start`], knows `sqlite://`; SQLite is built in |
//! | `postgres` | yes | [`Database`], and with it [`MarketDataStore::start`], knows `postgres://`; TLS is built in |
//! | `webhooks` | yes | `HttpBroadcaster`, which sends level changes to URLs, and `MDS_FB_HTTP_*`; TLS is built in |
//! | `receiver` | yes | `Receiver`: level changes of other processes, taken in by an actix-web service |
//! | `files` | yes | the readers of files behind `mds ingest` |
//! | `serve` | yes | [`http`]: the routes of `mds serve`, for an actix-web service |
//! | `cli` | yes | the binary `mds`; embedders do without |
//! | `actix-web` | no | `ResponseError` for [`SubmitError`]: 429, 422 or 503, with `Retry-After` |
//! | `testing` | no | `MemorySink` and more for tests of your own |
//!
//! An embedder writes `default-features = false` and picks. The macros of actix (`#[derive(Message)]`,
//! `#[actix::main]`) name the crate `actix`, so code that uses them needs it in its own Cargo.toml; for everything else
//! [`actix`] is re-exported.
#![forbid(unsafe_code)]
#![warn(missing_docs)]
#![cfg_attr(docsrs, feature(doc_cfg))]

pub use actix;

pub mod coordinator;
pub mod dead_letter;
mod fault;
pub mod feedback;
#[cfg(feature = "files")]
pub mod files;
#[cfg(feature = "serve")]
pub mod http;
pub mod metrics;
mod own_system;
mod policy;
pub mod record;
pub mod settings;
pub mod sink;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
// What `mds` shows text with.
#[doc(hidden)]
pub mod text;

// A store: how it starts, and how it ends.
#[doc(inline)]
pub use coordinator::{CoordinatorReport, Health, PartitionHealth, StopReason};
#[doc(inline)]
pub use settings::{CoordinatorSettings, Settings, SettingsError};
#[doc(inline)]
pub use store::{Builder, Coordinator, DrainReport, MarketDataStore, StartError};
// What `mds` finds kinds with.
#[doc(hidden)]
pub use store::{WithKind, kind_names, with_kind};

// Records, and how they go in.
#[doc(inline)]
pub use coordinator::{Permit, Receipt, SubmitError, SubmitManyError, WriteHandle, WriteSink};
#[doc(inline)]
pub use policy::{ConflationKey, DropReason, Invalid, Outcome, Overflow, Refusal};
#[doc(inline)]
pub use record::{
    Adjustment, Bar, Date, Fundamentals, InvalidText, News, OptionQuote, OptionType, Quote, Record, Side, Timeframe,
    Timestamp, TimestampNanos, Trade, TradeAction,
};
#[doc(inline)]
pub use record::{Column, ColumnType, FromValue, Row, StoredRow, Table, Tabular, Value};

// Where they go.
#[doc(inline)]
pub use dead_letter::{DeadLetter, DeadLetters};
#[doc(inline)]
pub use sink::{Batch, Database, DatabaseError, Sink, SinkError, SinkErrorKind, SinkResultExt};

// The field of a `Coordinator` that its constructors fill.
#[doc(hidden)]
pub use sink::BoxSink;

// What producers hear.
#[doc(inline)]
pub use feedback::{
    Delivery, EventBody, Feedback, FeedbackBus, FeedbackEvent, RateBuilder, RateCoordinator, RateLimiter, Replay,
    Subscribe, SubscriptionId, feedback_bus,
};
#[doc(inline)]
pub use policy::{Budget, Level, Reason, Scales};

// What other processes hear.
#[cfg(any(feature = "webhooks", feature = "receiver"))]
#[doc(inline)]
pub use feedback::WebhookSecret;
#[cfg(feature = "webhooks")]
#[doc(inline)]
pub use feedback::{BroadcastConfig, BroadcastSnapshot, BroadcasterHandle, HttpBroadcaster};
#[cfg(feature = "receiver")]
#[doc(inline)]
pub use feedback::{Receiver, ReceiverSnapshot};
#[cfg(feature = "webhooks")]
#[doc(inline)]
pub use policy::EndpointState;
#[doc(inline)]
pub use settings::Endpoint;

// What need not be named to be used: an error that is only shown, or what a method says of itself.
#[doc(hidden)]
pub use coordinator::ReceiptLost;
#[cfg(feature = "webhooks")]
#[doc(hidden)]
pub use feedback::BroadcastError;
#[cfg(any(feature = "webhooks", feature = "receiver"))]
#[doc(hidden)]
pub use feedback::InvalidSecret;
#[doc(hidden)]
pub use feedback::RateSnapshot;
#[doc(hidden)]
pub use settings::InvalidEndpoint;
#[doc(hidden)]
pub use store::UnknownCoordinator;

/// The Rust of README.md and docs/, compiled.
#[cfg(all(doctest, feature = "sqlite", feature = "actix-web", feature = "receiver", feature = "testing"))]
mod pages {
    macro_rules! pages {
        ($($name:ident = $path:literal),* $(,)?) => {
            $(#[doc = include_str!($path)] struct $name;)*
        };
    }
    pages! {
        Readme = "../README.md",
        Configuration = "../docs/CONFIGURATION.md",
        Databases = "../docs/DATABASES.md",
        DeadLetters = "../docs/DEAD_LETTERS.md",
        Failures = "../docs/FAILURES.md",
        Feedback = "../docs/FEEDBACK.md",
        Shutdown = "../docs/SHUTDOWN.md",
        Sinks = "../docs/SINKS.md",
        Webhooks = "../docs/WEBHOOKS.md",
    }
}
