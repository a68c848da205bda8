//! The end of a service that embeds a store: actix-web stops the embedder's System on SIGTERM before `run()` returns,
//! and what it had answered with 202 is stored or a dead letter all the same.

use std::{
    collections::HashSet,
    io::{BufRead, BufReader, Write},
    net::TcpStream,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc, Barrier,
        atomic::{AtomicUsize, Ordering},
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, web};
use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, MarketDataStore, Sink, SinkError, SubmitError, Timeframe, Timestamp, WriteHandle,
    dead_letter,
    sink::{SqliteOptions, SqliteSink},
};
use rusqlite::Connection;

use crate::support::{PATIENCE, on_log, settings, size_of_test};

/// Where the child writes; what makes a process the child.
const DIR: &str = "MDS_TEST_SERVICE_DIR";
/// How the child starts its store, and how its database is: `start`, `spawn`, `away` (the store never takes a batch).
const HOW: &str = "MDS_TEST_SERVICE_HOW";

/// Answers that are to come before the signal.
const BEFORE: usize = 400;
const CLIENTS: usize = 4;

/// A database behind a slow line, so that the queue is full of what was answered when the signal comes.
struct Slow {
    sink: SqliteSink,
    away: bool,
}

impl Sink<Bar> for Slow {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        actix_web::rt::time::sleep(Duration::from_millis(10)).await;
        if self.away { Err(SinkError::transient("the line is down").outage()) } else { self.sink.write(batch).await }
    }
}

async fn post(bars: web::Data<WriteHandle<Bar>>, bar: web::Json<Bar>) -> Result<HttpResponse, SubmitError<Bar>> {
    bars.submit(bar.into_inner()).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// The service, as its author would write it.
async fn service(dir: &Path, how: &str) -> Result<i32, Box<dyn std::error::Error>> {
    let mut settings = settings();
    settings.dlq_path = dir.join("dead_letters");
    settings.coordinator.batch_size = 10;
    let away = how == "away";
    let sink = Slow { sink: SqliteSink::open::<Bar>(SqliteOptions::new(dir.join("bars.db")))?, away };
    let builder = MarketDataStore::builder(settings).coordinator(Coordinator::new(sink));
    let store = if how == "spawn" { builder.spawn()? } else { builder.start().await? };
    let bars = web::Data::new(store.coordinator::<Bar>()?);
    let app = move || App::new().app_data(bars.clone()).route("/bars", web::post().to(post));
    let server = HttpServer::new(app).workers(2).bind(("127.0.0.1", 0))?;
    println!("\nport {}", server.addrs()[0].port());
    // Ends by SIGTERM, which actix-web handles; by then it has stopped this System.
    server.run().await?;
    let deadline = if away { Duration::from_millis(200) } else { Duration::from_secs(30) };
    let report = store.shutdown(deadline).await;
    println!("\nreport {report}");
    Ok(if report.is_complete() { 0 } else { 70 })
}

fn child(dir: &Path) -> ! {
    on_log(|line| println!("\nlog {line}"));
    let how = std::env::var(HOW).unwrap();
    let code = actix_web::rt::System::new().block_on(service(dir, &how)).unwrap();
    std::process::exit(code)
}

/// Posts bars on one connection until it breaks, and returns those that were answered with 202. `answered` counts them.
fn client(port: u16, number: usize, start: &Barrier, answered: &AtomicUsize) -> HashSet<u64> {
    let mut accepted = HashSet::new();
    let Ok(connection) = TcpStream::connect(("127.0.0.1", port)) else { return accepted };
    let mut reader = BufReader::new(connection.try_clone().unwrap());
    let mut writer = connection;
    start.wait();
    for id in (number as u64..).step_by(CLIENTS) {
        let ts = Timestamp::from_micros(i64::try_from(id).unwrap());
        let bar = Bar::new(format!("S{}", id % 7), Timeframe::MINUTE, ts).ohlc(1.0, 1.0, 1.0, 1.0).volume(1.0);
        let body = serde_json::to_string(&bar).unwrap();
        let request = format!(
            "POST /bars HTTP/1.1\r\nhost: a\r\ncontent-type: application/json\r\ncontent-length: {}\r\n\r\n{body}",
            body.len()
        );
        if writer.write_all(request.as_bytes()).is_err() {
            break;
        }
        let mut status = String::new();
        if reader.read_line(&mut status).unwrap_or(0) == 0 {
            break;
        }
        let mut line = String::new();
        while reader.read_line(&mut line).unwrap_or(0) > 2 {
            line.clear();
        }
        // Another status has a body, and this client reads none: it is the end.
        if !status.starts_with("HTTP/1.1 202") {
            break;
        }
        accepted.insert(id);
        answered.fetch_add(1, Ordering::AcqRel);
    }
    accepted
}

fn terminate(child: &Child) {
    let kill = Command::new("kill").args(["-TERM", &child.id().to_string()]).status().unwrap();
    assert!(kill.success());
}

/// One life of the service: load, a signal, the end. Returns what was answered with 202, what is stored, what is a dead
/// letter, and how many of the answered ones were still in the queue when the System stopped, at least.
fn life(test: &str, how: &str) -> (HashSet<u64>, HashSet<u64>, HashSet<u64>) {
    let dir = tempfile::tempdir().unwrap();
    let mut command = Command::new(std::env::current_exe().unwrap());
    command.args(["--exact", test, "--nocapture"]).env(DIR, dir.path()).env(HOW, how);
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::null()).spawn().unwrap();
    let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
    let port = lines.by_ref().find_map(|line| line.strip_prefix("port ").map(|port| port.parse().unwrap())).unwrap();
    let (start, answered) = (Arc::new(Barrier::new(CLIENTS)), Arc::new(AtomicUsize::new(0)));
    let clients: Vec<_> = (0..CLIENTS)
        .map(|number| {
            let (start, answered) = (Arc::clone(&start), Arc::clone(&answered));
            thread::spawn(move || client(port, number, &start, &answered))
        })
        .collect();
    let begun = Instant::now();
    while answered.load(Ordering::Acquire) < BEFORE {
        assert!(begun.elapsed() < PATIENCE);
        thread::yield_now();
    }
    terminate(&child);
    let rest: Vec<String> = lines.collect();
    let code = child.wait().unwrap().code();
    let accepted: HashSet<u64> = clients.into_iter().flat_map(|client| client.join().unwrap()).collect();
    assert_eq!(code, Some(0), "{how}: {rest:?}");
    assert!(rest.iter().any(|line| line.starts_with("report ") && line.ends_with(" 0 unsettled")), "{how}: {rest:?}");
    assert!(!rest.iter().any(|line| line.starts_with("log ERROR") && line.contains("died")), "{how}: {rest:?}");

    let connection = Connection::open(dir.path().join("bars.db")).unwrap();
    let mut statement = connection.prepare("SELECT ts FROM bars").unwrap();
    let ids = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    let stored = ids.map(|id| u64::try_from(id.unwrap()).unwrap()).collect();
    let entries = dead_letter::list(&dir.path().join("dead_letters")).unwrap();
    let dead = entries.map(|entry| {
        let entry = entry.unwrap().entry.unwrap();
        assert!(entry.error.contains("the line is down"), "{}", entry.error);
        serde_json::from_str::<Bar>(entry.record.get()).unwrap().ts.as_micros() as u64
    });
    (accepted, stored, dead.collect())
}

/// Red when a store lives in the embedder's System, as it did: 30 of 400 stored, the rest unsettled.
#[test]
fn what_a_service_answered_before_a_sigterm_is_stored() {
    if let Some(dir) = std::env::var_os(DIR) {
        child(&PathBuf::from(dir));
    }
    let test = "service_end::what_a_service_answered_before_a_sigterm_is_stored";
    for round in 0..size_of_test("MDS_TEST_SERVICE_TERMS", 6) {
        let how = if round % 2 == 0 { "start" } else { "spawn" };
        let (accepted, stored, dead) = life(test, how);
        assert!(accepted.len() >= BEFORE);
        let missing: Vec<_> = accepted.difference(&stored).collect();
        assert!(missing.is_empty() && dead.is_empty(), "{how}, round {round}: {} of {}", missing.len(), accepted.len());
    }
}

/// Red when the deadline passes and what was answered is neither stored nor a dead letter, or a dead letter does not
/// say what the store said.
#[test]
fn what_a_service_answered_before_a_sigterm_is_a_dead_letter_where_its_database_is_away() {
    if let Some(dir) = std::env::var_os(DIR) {
        child(&PathBuf::from(dir));
    }
    let test = "service_end::what_a_service_answered_before_a_sigterm_is_a_dead_letter_where_its_database_is_away";
    for round in 0..size_of_test("MDS_TEST_SERVICE_TERMS", 6).div_ceil(3) {
        let (accepted, stored, dead) = life(test, "away");
        let missing: Vec<_> = accepted.difference(&dead).collect();
        assert!(missing.is_empty() && stored.is_empty(), "round {round}: {} of {}", missing.len(), accepted.len());
    }
}

/// What `main` does before it returns without an end.
const LEAVE: &str = "MDS_TEST_SERVICE_LEAVES";

/// A `main` that returns early, with a producer's thread that still holds a handle.
fn leave(dir: &Path, how: &str) -> Result<(), Box<dyn std::error::Error>> {
    let mut settings = settings();
    settings.dlq_path = dir.join("dead_letters");
    settings.coordinator.batch_size = 10;
    settings.coordinator.flush_interval = Duration::from_secs(3600);
    let sink = SqliteSink::open::<Bar>(SqliteOptions::new(dir.join("bars.db")))?;
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(Slow { sink, away: true })).spawn()?;
    let bars = store.coordinator::<Bar>()?;
    let bar = |id| Bar::new("ES", Timeframe::MINUTE, Timestamp::from_micros(id)).ohlc(1.0, 1.0, 1.0, 1.0);
    block_on(bars.submit_many((0..37).map(bar)))?;
    thread::spawn(move || {
        let _held = bars;
        thread::park();
    });
    match how {
        "error" => Err("a later step failed".into()),
        _ => panic!("a later step panicked"),
    }
}

/// Red when a `main` that returns by `?` or a panic loses records without a word, says so twice, or hangs.
#[test]
fn a_main_that_returns_without_an_end_says_what_is_left() {
    if let Some(dir) = std::env::var_os(DIR) {
        on_log(|line| println!("\nlog {line}"));
        let how = std::env::var(LEAVE).unwrap();
        let left = std::panic::catch_unwind(|| leave(&PathBuf::from(dir), &how).map_err(|error| error.to_string()));
        assert_ne!(left.ok(), Some(Ok(())));
        // What ends with the store may still speak.
        thread::sleep(Duration::from_millis(200));
        std::process::exit(1)
    }
    for how in ["error", "panic"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = Command::new(std::env::current_exe().unwrap());
        command.args(["--exact", "service_end::a_main_that_returns_without_an_end_says_what_is_left", "--nocapture"]);
        let output = command.env(DIR, dir.path()).env(LEAVE, how).output().unwrap();
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let errors: Vec<_> = text.lines().filter(|line| line.starts_with("log ERROR")).collect();
        assert_eq!(errors.len(), 1, "{how}: {text}");
        assert!(errors[0].contains("unsettled=37") && errors[0].contains("MarketDataStore::shutdown"), "{errors:?}");
    }
}
