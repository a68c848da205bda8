//! The promises of the crate, tested through its public face: one test binary, one module a subject.

#[cfg(feature = "testing")]
mod accounting;
#[cfg(feature = "testing")]
mod bound;
mod bus;
#[cfg(feature = "testing")]
mod cancel;
#[cfg(all(unix, feature = "cli", feature = "receiver", feature = "testing"))]
mod chaos;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod check_command;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod check_kinds;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod config_command;
#[cfg(feature = "testing")]
mod conflate;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod contract;
#[cfg(feature = "testing")]
mod dead_letters;
#[cfg(all(feature = "cli", feature = "testing"))]
mod deaths;
mod dependencies;
#[cfg(all(target_os = "linux", feature = "testing", feature = "sqlite"))]
mod disk_full;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod dlq_command;
mod docs;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod effective_trades;
#[cfg(feature = "testing")]
mod embedding;
#[cfg(feature = "testing")]
mod failure;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod formats;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod forms;
#[cfg(feature = "cli")]
mod fuzz;
#[cfg(all(unix, feature = "cli", feature = "sqlite"))]
mod hidden_characters;
#[cfg(all(feature = "testing", feature = "webhooks"))]
mod hook;
#[cfg(feature = "testing")]
mod hostile;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod ingest_command;
#[cfg(all(unix, feature = "cli", feature = "sqlite"))]
mod json_forms;
#[cfg(all(unix, feature = "testing", feature = "sqlite"))]
mod killed;
#[cfg(all(feature = "cli", feature = "sqlite", feature = "testing"))]
mod kind_files;
#[cfg(all(feature = "cli", feature = "sqlite", feature = "testing"))]
mod kind_pitfalls;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod kinds;
mod layout;
#[cfg(all(feature = "files", feature = "testing"))]
mod layouts;
#[cfg(feature = "testing")]
mod levels;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod locked;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod mds;
#[cfg(all(target_os = "linux", feature = "cli"))]
mod memory;
#[cfg(feature = "testing")]
mod metrics;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod older_files;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod outage;
#[cfg(all(unix, feature = "cli", feature = "postgres", feature = "testing"))]
mod postgres;
#[cfg(all(target_os = "linux", feature = "testing", feature = "sqlite"))]
mod power_cuts;
#[cfg(all(feature = "cli", feature = "sqlite"))]
mod query_command;
#[cfg(all(feature = "testing", any(feature = "postgres", feature = "sqlite")))]
mod querying;
#[cfg(feature = "testing")]
mod rate;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod reading;
#[cfg(feature = "testing")]
mod receipts;
#[cfg(all(feature = "testing", feature = "receiver"))]
mod receiver;
#[cfg(all(feature = "cli", feature = "receiver", feature = "testing"))]
mod remote;
#[cfg(all(feature = "cli", feature = "testing", feature = "sqlite"))]
mod round_trips;
#[cfg(all(feature = "cli", feature = "testing"))]
mod secrets;
#[cfg(all(unix, feature = "cli", feature = "sqlite", feature = "testing"))]
mod serve;
#[cfg(all(unix, feature = "actix-web", feature = "testing", feature = "sqlite"))]
mod service_end;
mod settings;
#[cfg(feature = "testing")]
mod shares;
#[cfg(feature = "testing")]
mod shutdown;
#[cfg(all(feature = "testing", feature = "webhooks"))]
mod signals;
#[cfg(feature = "sqlite")]
mod sqlite;
#[cfg(feature = "sqlite")]
mod sqlite_syncs;
#[cfg(feature = "testing")]
mod store;
#[cfg(feature = "testing")]
mod support;
#[cfg(all(target_os = "linux", feature = "sqlite"))]
mod syncs;
#[cfg(all(feature = "testing", feature = "sqlite"))]
mod tables;
#[cfg(all(feature = "testing", feature = "webhooks"))]
mod webhooks;
#[cfg(all(feature = "cli", feature = "sqlite", feature = "testing", feature = "webhooks"))]
mod webhooks_command;
#[cfg(feature = "testing")]
mod workers;
