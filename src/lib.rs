//! The write path for market data in a service: records go in, batches go to a store, and producers are told when to
//! slow down.
//!
//! A [`WriteHandle`] puts records into a bounded queue. Workers take them out in batches and write them through a
//! [`Sink`], such as the SQLite one. A coordinator watches the size of the queue and publishes each change of its
//! [`Level`] on a [feedback bus](feedback), from where it reaches subscriber actors,
//! [watch channels](Feedback::watch) and, as webhooks, other processes. All parts are actix actors; the futures of a
//! handle run on any executor.
//!
//! ```text
//!  producer -- submit --> WriteHandle --> bounded queue --> worker x N --> Sink --> store
//!                              ^               |
//!                     waits,   |               | size crosses a watermark
//!                     or is    |               v
//!                     refused -+        WriteCoordinator -- FeedbackEvent --> FeedbackBus
//!                                                                                |
//!               slows down <-- subscriber actors, watch channels, webhooks <-----+
//! ```
//!
//! # Quick start
//!
//! Outside actix, [`Builder::spawn`] gives the store threads of its own. Inside an actix System,
//! [`MarketDataStore::start`] is shorter: it stores [`Bar`]s in the database that the environment names.
//!
//! ```
//! use market_data_store::{Bar, Batch, Coordinator, Level, MarketDataStore, Settings, Sink, SinkError, Timeframe};
//!
//! /// A store of one's own. With the feature `sqlite`, `Coordinator::bars("sqlite://bars.db")` needs none.
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
//!     let store = MarketDataStore::builder(Settings::default()).coordinator(Coordinator::new(Printer)).spawn()?;
//!     let bars = store.coordinator::<Bar>()?;
//!     let level = store.feedback().watch(bars.id());
//!
//!     let bar = Bar::new("ES", Timeframe::MINUTE, "2024-01-02T14:30:00Z".parse()?);
//!     // Accepted: from here on the store answers for it.
//!     bars.submit(bar.ohlc(4780.25, 4781.0, 4779.5, 4780.75).volume(1250.0)).await?;
//!     bars.flush().await?; // stored
//!     assert_eq!(level.borrow().level, Level::Ok);
//!
//!     let report = store.shutdown(store.shutdown_timeout()).await;
//!     assert_eq!((report.submitted(), report.stored(), report.unsettled()), (1, 1, 0));
//!     Ok(())
//! }
//! ```
//!
//! # What holds
//!
//! - **Bounded.** At most `capacity` records wait, and at most `workers` x `batch_size` are being written. What happens
//!   at the bound is the [`Overflow`] strategy: the producer waits, the oldest record is dropped, or the new one is
//!   handed back.
//! - **Exact levels.** Each crossing of a watermark makes one event, with hysteresis between the two marks; none is
//!   missed and none repeated, whatever the batch size or the thread. An event says why it came, how fast the queue
//!   drains, and when it is worth trying again.
//! - **Isolated subscribers.** One that is slow, stuck, panics or ends delays no other and grows no memory, as long as
//!   it runs on a thread that is not the others' ([`MarketDataStore::start_actor`]). One that wakes up gets the present
//!   level, one that comes late too. A gap in `seq` shows what was skipped.
//! - **Isolated URLs.** A webhook's URL that is slow, away or hostile costs a lane of its own; the latest event of each
//!   coordinator waits there until it is delivered.
//! - **Order.** Records with one partition key are written in the order in which they were accepted, through every
//!   retry and replaced worker.
//! - **Honest books.** In every [`Health`]: submitted = stored + dead-lettered + dropped + queued + in flight. A record
//!   that is refused is handed back, and is none of these.
//! - **An outage gives nothing up.** After several failures in a row the circuit opens; batches are parked, and one
//!   probe at a time finds out whether the store is back. Only a deadline of yours ends the wait.
//! - **One bad record costs only itself.** A batch that the sink refuses for good is halved until the record at fault
//!   stands alone; that one becomes a [dead letter](dead_letter), with the reason.
//! - **Cancel-safe.** Dropping a future of a handle loses no accepted record and no place in the queue.
//! - **Good manners.** The library installs no signal handler, log subscriber, metrics recorder or panic hook, and
//!   never ends the process.
//!
//! # What does not
//!
//! - The queue is in memory. A process that dies loses what was accepted and not yet written; [`WriteHandle::flush`]
//!   returns when all that was accepted before is settled, and a [`Receipt`] tells of one record.
//! - Without a circuit (`MDS_CB_FAILURE_THRESHOLD=0`) an outage that the sink does not [call one](SinkError::outage) is
//!   not told from a bad batch: what runs out of attempts becomes a dead letter.
//! - A write that hangs is not timed out: a [`Sink`] needs a timeout of its own. Meanwhile its partition waits, or, behind
//!   the probe of an open circuit, everything.
//! - At the deadline of a shutdown what is left becomes [dead letters](dead_letter); a write that is still under way
//!   then may succeed all the same, and its records are in both places.
//! - A [replay](MarketDataStore::replay) upserts: it can overwrite a newer value of the same key.
//! - A batch can be written twice, after an error or when a worker died. A sink has to be idempotent, as an upsert by
//!   key is.
//!
//! # Where to go on
//!
//! [`MarketDataStore`] and [`Builder`] start a store, [`WriteHandle`] submits, [`Feedback`] and [`Subscribe`] listen,
//! [`RateCoordinator`] makes the [`RateLimiter`] of a producer that slows down by itself, [`Receipt`] and
//! [`DeadLetters`] tell what became of records, [`Record`] and [`Sink`] take types and stores of your own, [`Settings`]
//! reads the environment, [`metrics`] lists what is measured. The modules hold the parts behind these. The examples in
//! the repository show one idea each.
//!
//! # Features
//!
//! | feature | default | what it adds |
//! |---|---|---|
//! | `sqlite` | yes | `SqliteSink`, and [`Coordinator::bars`] and [`MarketDataStore::start`] know `sqlite://`; SQLite is built in |
//! | `webhooks` | yes | `HttpBroadcaster`, which sends level changes to URLs, and `MDS_FB_HTTP_*`; TLS is built in |
//! | `cli` | yes | the binary `mds`; embedders do without |
//! | `files` | yes | [`files`]: readers of CSV, NDJSON and JSON files, compressed or not |
//! | `receiver` | yes | [`Receiver`]: level changes of other processes, taken in by an actix-web service |
//! | `actix-web` | no | `ResponseError` for [`SubmitError`]: 429, 422 or 503, with `Retry-After` |
//! | `testing` | no | `MemorySink`, a store in memory that holds, fails or panics on command, actors that die on command, and signed webhooks made by hand |
//!
//! An embedder writes `default-features = false` and picks. The macros of actix (`#[derive(Message)]`,
//! `#[actix::main]`) name the crate `actix`, so code that uses them needs it in its own Cargo.toml; for everything else
//! [`actix`] is re-exported.
#![forbid(unsafe_code)]
#![warn(missing_docs)]

pub use actix;

pub mod coordinator;
pub mod dead_letter;
mod fault;
pub mod feedback;
#[cfg(feature = "files")]
pub mod files;
pub mod metrics;
mod own_system;
pub mod policy;
pub mod record;
pub mod settings;
pub mod sink;
mod store;
#[cfg(feature = "testing")]
pub mod testing;
pub mod text;

pub use coordinator::{
    CoordinatorReport, Health, Receipt, ReceiptLost, Refusal, StopReason, SubmitError, SubmitManyError, WriteHandle,
};
pub use dead_letter::{DeadLetter, DeadLetters};
#[cfg(feature = "webhooks")]
pub use feedback::{BroadcastConfig, BroadcastError, BroadcastSnapshot, BroadcasterHandle, HttpBroadcaster};
pub use feedback::{
    Delivery, EventBody, Feedback, FeedbackBus, FeedbackEvent, RateBuilder, RateCoordinator, RateLimiter, RateSnapshot,
    Replay, Subscribe, SubscriptionId, feedback_bus,
};
#[cfg(any(feature = "webhooks", feature = "receiver"))]
pub use feedback::{InvalidSecret, WebhookSecret};
#[cfg(feature = "receiver")]
pub use feedback::{Receiver, ReceiverSnapshot};
pub use policy::{Budget, Cause, CircuitState, DropReason, EndpointState, Level, Outcome, Overflow, Reason, Scales};
pub use record::timestamp::{InvalidTimestamp, Timestamp};
pub use record::{Bar, Invalid, Record, Timeframe};
pub use settings::endpoint::{Endpoint, InvalidEndpoint};
pub use settings::{CoordinatorSettings, Settings, SettingsError};
pub use sink::{Batch, BoxSink, Sink, SinkError, SinkErrorKind, SinkResultExt};
pub use store::{Builder, Coordinator, DrainReport, MarketDataStore, StartError, UnknownCoordinator};

/// The README's examples, compiled.
#[cfg(all(doctest, feature = "sqlite", feature = "actix-web", feature = "receiver", feature = "testing"))]
#[doc = include_str!("../README.md")]
struct Readme;
