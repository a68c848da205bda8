//! Level changes as webhooks, against real servers on loopback.

use std::{
    io::Read,
    net::TcpListener,
    num::NonZeroU32,
    time::{Duration, Instant, SystemTime},
};

use market_data_store::{
    BroadcastConfig, BroadcastSnapshot, Broadcasts, Coordinator, Endpoint, Feedback, HttpBroadcaster, Level,
    MarketDataStore, Reason, RemoteState, Settings, WebhookSecret,
    feedback::signature::{SignedHeaders, unix_now, verify},
    sink::MemorySink,
    testing::EventSeries,
};
use tokio::sync::oneshot;

use crate::{
    hook::{Asked, Hook, Reply, ok},
    support::{PATIENCE, Tick, coordinator_settings, log, record_in, settings, tick, ticks, within},
};

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// Waits long for answers and short between attempts.
fn config(urls: impl IntoIterator<Item = Endpoint>) -> BroadcastConfig {
    let mut config = BroadcastConfig::new(urls);
    config.timeout = PATIENCE;
    config.retry.initial_backoff = Duration::from_millis(20);
    config.retry.max_backoff = Duration::from_millis(100);
    config.probe_after = Duration::from_millis(100);
    config
}

/// A bus with a broadcaster, and the events of one coordinator.
struct Sender {
    feedback: Feedback,
    broadcasts: Broadcasts,
    bars: EventSeries,
}

impl Sender {
    fn start(config: BroadcastConfig) -> Self {
        let feedback = Feedback::private();
        let broadcasts = HttpBroadcaster::start(config, &feedback).unwrap();
        Self { feedback, broadcasts, bars: EventSeries::new("bars") }
    }

    fn publish(&mut self, level: Level) -> String {
        let event = self.bars.next(level);
        self.feedback.publish(event.clone());
        event.id.clone()
    }

    fn snapshot(&self) -> BroadcastSnapshot {
        self.broadcasts.snapshot().remove(0)
    }

    /// Waits for a state that nothing announces.
    async fn until(&self, what: &str, is_so: impl Fn(&BroadcastSnapshot) -> bool) -> BroadcastSnapshot {
        let begin = Instant::now();
        loop {
            let snapshot = self.snapshot();
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(begin.elapsed() < PATIENCE, "never came true: {what}, but {snapshot:?}");
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
    }
}

fn ids(asked: &[Asked]) -> Vec<&str> {
    asked.iter().map(Asked::id).collect()
}

/// A store whose settings ask for webhooks, as the environment would.
fn asking(urls: &[&Endpoint], vars: &[(&str, &str)]) -> Settings {
    // `Display` shows no path, so these servers are asked for `/`.
    let urls = urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let asked = [("MDS_FB_ENABLE_HTTP_BROADCAST", "true"), ("MDS_FB_HTTP_ENDPOINT", &urls), ("MDS_SOURCE", "db1:test")];
    let mut asking = Settings::from_vars(asked.iter().chain(vars).copied()).unwrap();
    asking.dlq_path = settings().dlq_path;
    asking
}

/// Red when an event is not sent, is sent in another form or out of order, or when the last one of a shutdown is not
/// waited for.
#[actix::test]
async fn a_store_tells_a_url_its_present_state_and_every_change_up_to_the_last() {
    let hook = Hook::start(|_| ok());
    let sink = MemorySink::<Tick>::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(10, 1, 5).watermarks(2, 8));
    let settings = asking(&[&hook.url("")], &[]);
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let seen = record_in(&store);
    let started = hook.wait(1).await[0].event();
    assert_eq!((started.level, started.reason, started.seq), (Level::Ok, Reason::Started, 1));
    assert_eq!((&*started.source, &*started.coordinator_id), ("db1:test", "ticks"));

    sink.hold();
    let handle = store.coordinator::<Tick>().unwrap();
    handle.submit_many(ticks(0..5)).await.unwrap();
    within(PATIENCE, sink.wait_held(1)).await;
    for id in 5..15 {
        handle.try_submit(tick("ES", id)).unwrap();
    }
    hook.wait_for(|asked| asked.last().unwrap().event().level == Level::Hard).await;
    sink.release();
    within(PATIENCE, handle.flush()).await.unwrap();
    hook.wait_for(|asked| asked.last().unwrap().event().level == Level::Ok).await;
    let report = within(PATIENCE, store.shutdown(PATIENCE)).await;
    assert_eq!((report.stored(), report.unsettled()), (15, 0));

    let asked = hook.asked();
    let sent: Vec<_> = asked.iter().map(Asked::event).collect();
    assert_eq!(sent.last().unwrap().reason, Reason::Draining);
    assert!(sent.is_sorted_by_key(|event| event.seq));
    let published = seen.lock().clone();
    for event in &sent {
        assert!(published.contains(event), "{event:?} is not among {published:?}");
    }
    for asked in &asked {
        assert_eq!(asked.line, "POST / HTTP/1.1");
        assert_eq!(asked.headers["content-type"], "application/json");
        assert_eq!(asked.headers["user-agent"], concat!("market-data-store/", env!("CARGO_PKG_VERSION")));
        assert_eq!(asked.headers["host"], hook.address.to_string());
        assert_eq!(asked.id(), asked.event().id);
        let sent: u64 = asked.headers["webhook-timestamp"].parse().unwrap();
        let clock = asked.clock.duration_since(SystemTime::UNIX_EPOCH).unwrap().as_secs();
        assert!(sent <= clock && clock - sent < 30, "{sent} at {clock}");
        assert!(!asked.headers.contains_key("webhook-signature"), "no secret was set");
    }
}
