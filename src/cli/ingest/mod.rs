//! `mds ingest`: reads bars from files, CSV, NDJSON and JSON arrays, and submits them.
//!
//! The command (`command.rs`) starts a store and a thread (`feed.rs`) that reads one chunk after the other and submits
//! it. The thread's counts (`tally.rs`), the coordinator's, and the level changes that a subscriber saw (`levels.rs`)
//! make the books at the end (`summary.rs`). The readers are in [`files`](crate::files).

mod command;
mod corrected;
mod feed;
mod inputs;
mod levels;
mod report;
mod summary;
mod tally;

pub use self::command::{Args, batch_size, run};
pub(super) use self::command::{complain_of_lost, complain_of_lost_letters, exit_of};
