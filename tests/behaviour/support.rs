//! What several subjects need: a small record and short ways to make many.

use std::{
    ops::{ControlFlow, Range},
    path::Path,
    pin::pin,
    sync::Arc,
    time::Duration,
};

use actix::{Actor, Addr, Context, Handler};
use market_data_store::{
    Delivery, Feedback, FeedbackEvent, Health, MarketDataStore, Reason, Record, Replay, Settings, Subscribe, Tabular,
    WriteHandle,
    settings::CoordinatorSettings,
    sink::{DatabaseReader, MemorySink, Selection},
};
use parking_lot::Mutex;
use serde::{Deserialize, Serialize};

/// A record with a number of its own, one of a few symbols, and nothing else.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Tick {
    pub symbol: String,
    pub id: u64,
}

impl Record for Tick {
    const KIND: &'static str = "ticks";
    const CONFLATES: bool = true;

    fn partition_key(&self) -> &str {
        &self.symbol
    }
}

/// Makes the ticks numbered `ids`, spread over eight symbols.
pub fn ticks(ids: Range<u64>) -> impl Iterator<Item = Tick> {
    ids.map(|id| Tick { symbol: format!("S{}", id % 8), id })
}

/// A tick of a symbol of its own: with several workers, ticks of a few symbols reach all of them.
pub fn tick(symbol: impl ToString, id: u64) -> Tick {
    Tick { symbol: symbol.to_string(), id }
}

/// Longer than a write is ever held: so a machine that is busy raises no level.
pub const A_DAY: Duration = Duration::from_secs(86_400);

/// Makes the settings of a store under test: the defaults, but for dead letters, which no one wants in the repository,
/// and for writes that are held, which are not overdue.
pub fn settings() -> Settings {
    let mut settings = Settings::default();
    settings.dlq_path = Path::new(env!("CARGO_TARGET_TMPDIR")).join("dead_letters");
    settings.sink_slow_after = A_DAY;
    settings
}

/// Makes settings for a coordinator under test: one that hands out a batch when it is full, when no credit is left, and
/// when it is asked to flush, but not because time has passed.
pub fn coordinator_settings(capacity: usize, workers: usize, batch_size: usize) -> CoordinatorSettings {
    let an_hour = Duration::from_secs(3600);
    CoordinatorSettings::new(capacity).workers(workers).batch_size(batch_size).flush_interval(an_hour)
}

/// Gives every worker a batch, at which the held sink holds it. Returns how many records that took; their ids are below
/// that number. A batch must have room for four times as many records as there are workers.
pub async fn occupy(handle: &WriteHandle<Tick>, sink: &MemorySink<Tick>, workers: usize) -> u64 {
    sink.hold();
    // More symbols than workers, so that each worker has some.
    let records = if workers == 1 { 1 } else { 4 * workers as u64 };
    for id in 0..records {
        handle.try_submit(tick(format!("K{id}"), id)).expect("room for a few");
    }
    // What waits at a fence is handed out at once.
    let (flush, held) = (pin!(handle.flush()), pin!(sink.wait_held(workers)));
    within(PATIENCE, futures::future::select(flush, held)).await;
    assert_eq!(sink.held(), workers, "these symbols do not reach every worker");
    assert_eq!(handle.health().await.queue_size, 0);
    records
}

/// Longer than anything takes that a test waits for; only a broken promise waits so long.
pub const PATIENCE: Duration = Duration::from_secs(30);

/// Waits for what must come, on any executor; panics after `outage_timeout`, so that a lost wake-up is a failure and no
/// hang.
pub async fn within<F: Future>(outage_timeout: Duration, what: F) -> F::Output {
    let (done, is_done) = std::sync::mpsc::channel::<()>();
    let (late, is_late) = futures::channel::oneshot::channel();
    std::thread::spawn(move || {
        if is_done.recv_timeout(outage_timeout) == Err(std::sync::mpsc::RecvTimeoutError::Timeout) {
            let _ = late.send(());
        }
    });
    let what = pin!(what);
    let output = match futures::future::select(what, is_late).await {
        futures::future::Either::Left((output, _)) => output,
        futures::future::Either::Right(_) => panic!("this took longer than {outage_timeout:?}"),
    };
    drop(done);
    output
}

/// Keeps every event it is sent.
pub struct Recorder(Events);

/// What a recorder has seen.
pub type Events = Arc<Mutex<Vec<FeedbackEvent>>>;

impl Actor for Recorder {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Recorder {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Self::Context) {
        self.0.lock().push(event);
    }
}

/// Starts a recorder on the arbiter of this thread, for a subscription of the test's own.
pub fn recorder() -> (Addr<Recorder>, Events) {
    let events = Events::default();
    (Recorder(Arc::clone(&events)).start(), events)
}

/// Records every event of a bus from now on, on the arbiter of this thread.
pub fn record(feedback: &Feedback, only: Option<&str>) -> Events {
    let (recorder, events) = recorder();
    subscribe(feedback, recorder, only);
    events
}

/// Records every event of a store, its present state first, on an arbiter that the store has for such.
pub fn record_in(store: &MarketDataStore) -> Events {
    let events = Events::default();
    let recorder = store.start_actor({
        let events = Arc::clone(&events);
        move |_| Recorder(events)
    });
    subscribe(&store.feedback(), recorder, None);
    events
}

fn subscribe(feedback: &Feedback, recorder: Addr<Recorder>, only: Option<&str>) {
    let subscribe = Subscribe::new(recorder).delivery(Delivery::Every).replay(Replay::All);
    feedback.subscribe(only.into_iter().fold(subscribe, Subscribe::only));
}

/// Waits until the recorders have seen everything that has happened at this coordinator so far.
pub async fn caught_up(handle: &WriteHandle<Tick>, feedback: &Feedback) -> Health {
    let health = handle.health().await;
    within(PATIENCE, feedback.idle()).await;
    health
}

/// Counts how often the circuit was told to be open.
pub fn count_opened(events: &Events) -> usize {
    events.lock().iter().filter(|event| event.reason == Reason::CircuitOpen).count()
}

/// What adds up in every moment.
pub fn residual(health: &Health) -> i128 {
    let counters = health;
    let settled = counters.stored + counters.dead_lettered + counters.dropped;
    i128::from(counters.submitted) - i128::from(settled) - (health.queued + health.in_flight) as i128
}

/// The ids of the ticks in the dead letters of a directory, file after file.
pub fn buried(dir: &Path) -> Vec<u64> {
    let Ok(files) = std::fs::read_dir(dir) else { return Vec::new() };
    let mut paths: Vec<_> = files.map(|file| file.unwrap().path()).collect();
    paths.retain(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    paths.sort();
    let text: String = paths.iter().map(|path| std::fs::read_to_string(path).unwrap()).collect();
    let id = |line| serde_json::from_str::<serde_json::Value>(line).unwrap()["record"]["id"].as_u64().unwrap();
    text.lines().map(id).collect()
}

/// The records of a type in a SQLite file, in the order of the key.
pub fn stored<T: Tabular>(path: &Path) -> Vec<T> {
    stored_at(&format!("sqlite://{}", path.display()))
}

/// The records of a type in a database.
pub fn stored_at<T: Tabular>(url: &str) -> Vec<T> {
    let mut found = Vec::new();
    let show = |record: Result<T, _>| {
        found.push(record.unwrap());
        ControlFlow::Continue(())
    };
    DatabaseReader::open(url).unwrap().records(&Selection::new(), show).unwrap();
    found
}

/// The size of a test: the variable, or a default that a check before every merge can afford.
pub fn size_of_test(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |size| size.parse().expect("a number"))
}

/// What the library has logged at WARN and ERROR in this process, one line each with its fields. The first call starts
/// the recording, so make it before what is to be seen.
pub fn log() -> Vec<String> {
    static LINES: Mutex<Vec<String>> = Mutex::new(Vec::new());
    static START: std::sync::Once = std::sync::Once::new();
    START.call_once(|| on_log(|line| LINES.lock().push(line)));
    LINES.lock().clone()
}

/// Has each such line told as it is logged; for a process in which no other hears.
pub fn on_log(hear: fn(String)) {
    let log = Log { hear, most: tracing::Level::WARN };
    tracing::subscriber::set_global_default(log).expect("no other test sets one");
}

/// Has each line of the library told as this thread logs it, those at DEBUG too, while the guard lives.
pub fn on_log_here(hear: impl Fn(String) + Send + Sync + 'static) -> tracing::subscriber::DefaultGuard {
    tracing::subscriber::set_default(Log { hear, most: tracing::Level::DEBUG })
}

struct Log<F> {
    hear: F,
    most: tracing::Level,
}

impl<F: Fn(String) + 'static> tracing::Subscriber for Log<F> {
    fn enabled(&self, metadata: &tracing::Metadata<'_>) -> bool {
        *metadata.level() <= self.most && metadata.target().starts_with("market_data_store")
    }

    fn new_span(&self, _: &tracing::span::Attributes<'_>) -> tracing::span::Id {
        tracing::span::Id::from_u64(1)
    }

    fn record(&self, _: &tracing::span::Id, _: &tracing::span::Record<'_>) {}

    fn record_follows_from(&self, _: &tracing::span::Id, _: &tracing::span::Id) {}

    fn event(&self, event: &tracing::Event<'_>) {
        let mut line = Line(event.metadata().level().to_string());
        event.record(&mut line);
        (self.hear)(line.0);
    }

    fn enter(&self, _: &tracing::span::Id) {}

    fn exit(&self, _: &tracing::span::Id) {}
}

struct Line(String);

impl tracing::field::Visit for Line {
    fn record_debug(&mut self, field: &tracing::field::Field, value: &dyn std::fmt::Debug) {
        self.0.push_str(&format!(" {field}={value:?}"));
    }
}
