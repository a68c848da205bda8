//! One operation of the write path, done so often between two calls of [`mark`]: the instructions in between are what it
//! costs. `tests/instructions.sh` runs each under valgrind's callgrind, and compares with the table in `counts.txt`.
//!
//! Without an argument it prints the names of all operations; with a name it does that one, and prints how often.
//!
//! Everything that can run on one thread does, with a paused clock, so that the counts are the same in every run. The two
//! databases have threads of their own, whose instructions are counted too.

mod data;
#[path = "../feedback/event.rs"]
mod event;
mod http;
mod publish;
mod queue;
mod reading;
mod records;
mod sinks;
// The server that tests start.
#[allow(dead_code, reason = "tests do more with it")]
#[path = "../../tests/behaviour/postgres/server.rs"]
mod server;
mod support {
    /// How long the server may take to start.
    pub const PATIENCE: std::time::Duration = std::time::Duration::from_secs(60);
}

use std::hint::black_box;

use actix::System;

/// A name, and what does the operation: it returns how often it did it between the marks.
type Operation = (&'static str, fn() -> usize);

const OPERATIONS: [Operation; 15] = [
    ("validate", records::validate),
    ("submit", queue::submit),
    ("submit_many", queue::submit_many),
    ("stream", queue::stream),
    ("take", queue::take),
    ("settle", queue::settle),
    ("publish_1", || publish::to(1)),
    ("publish_1000", || publish::to(1_000)),
    ("sqlite", sinks::sqlite),
    ("postgres_copy", sinks::postgres_copy),
    ("postgres_upsert", sinks::postgres_upsert),
    ("read_csv", reading::csv),
    ("read_ndjson", reading::ndjson),
    ("http_queued", || http::post("queued")),
    ("http_stored", || http::post("stored")),
];

fn main() {
    match std::env::args().nth(1) {
        // `cargo bench` measures times, and this does not.
        Some(argument) if argument.starts_with('-') => {}
        None => OPERATIONS.iter().for_each(|(name, _)| println!("{name}")),
        Some(wanted) => {
            let (_, run) = OPERATIONS.iter().find(|(name, _)| *name == wanted).expect("the name of an operation");
            println!("{}", run());
        }
    }
}

/// Ends what was counted so far: valgrind knows it by its name.
#[inline(never)]
fn mark() {
    black_box(());
}

/// Runs actors on this thread alone. Time passes only when all of them wait for it.
fn on_this_thread<F: Future>(future: F) -> F::Output {
    System::new().block_on(async {
        tokio::time::pause();
        future.await
    })
}
