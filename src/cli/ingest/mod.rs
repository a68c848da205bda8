//! `mds ingest`: reads bars from files, CSV, NDJSON and JSON arrays, and submits them.
//!
//! `inputs` finds the files that the command line names. The command (`command`) starts a store and a thread
//! (`reader_thread`) that reads one chunk after the other and submits it. The thread's counts (`counters`, file by file in
//! `report`), the coordinator's, and the level changes that a subscriber saw (`levels`) make the summary at the end
//! (`summary`). The readers are in [`market_data_store::files`].

mod args;
mod command;
mod corrected;
mod counters;
mod input;
mod inputs;
mod levels;
mod reader_thread;
mod report;
mod summary;

pub use self::{
    args::{Args, CAPACITY, batch_size},
    command::run,
};
