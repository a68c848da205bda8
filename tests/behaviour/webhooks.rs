//! Level changes as webhooks, against real servers on loopback.

use std::{
    net::TcpListener,
    time::{Duration, Instant, SystemTime},
};

use actix::{Actor, Context, Handler, ResponseFuture, System};
use futures::FutureExt;
use market_data_store::{
    BroadcastConfig, BroadcastSnapshot, BroadcasterHandle, Coordinator, Endpoint, EndpointState, Feedback,
    FeedbackEvent, HttpBroadcaster, Level, MarketDataStore, Reason, Settings, Subscribe, WebhookSecret,
    feedback::{
        EventSeries, ObserveBroadcasts, feedback_bus,
        signature::{SignedHeaders, unix_now, verify},
    },
    sink::MemorySink,
};
use tokio::sync::oneshot;

use crate::{
    hook::{Asked, Hook, Reply, certificate, ok},
    support::{
        PATIENCE, Tick, coordinator_settings, log, record, record_in, settings, size_of_test, tick, ticks, within,
    },
};

const SECRETS: [&str; 2] = ["whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw", "whsec_C2FVsBQIhrscChlQIMV+b5sSYspob7oD"];

/// Waits long for answers and short between attempts, and sends no signs of life.
fn config(urls: impl IntoIterator<Item = Endpoint>) -> BroadcastConfig {
    let mut config = BroadcastConfig::new(urls);
    config.timeout = PATIENCE;
    config.retry.initial_backoff = Duration::from_millis(20);
    config.retry.max_backoff = Duration::from_millis(100);
    config.probe_after = Duration::from_millis(100);
    config.refresh = Duration::ZERO;
    config
}

/// A bus with a broadcaster, and the events of one coordinator.
struct Sender {
    feedback: Feedback,
    broadcasts: BroadcasterHandle,
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

/// A store whose settings ask for webhooks without signs of life, as the environment would.
fn asking(urls: &[&Endpoint], vars: &[(&str, &str)]) -> Settings {
    // `Display` shows no path, so these servers are asked for `/`.
    let urls = urls.iter().map(ToString::to_string).collect::<Vec<_>>().join(",");
    let asked = [
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", &urls),
        ("MDS_FB_HTTP_REFRESH", "0"),
        ("MDS_SOURCE", "db1:test"),
    ];
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

/// Red when the bus or the broadcaster runs in the System that they were started in: actix-web stops it on a signal
/// before the embedder can shut its store down.
#[actix::test]
async fn a_url_hears_of_draining_although_the_system_of_the_embedder_has_stopped() {
    let hook = Hook::start(|_| ok());
    let url = hook.url("");
    let (told, started) = oneshot::channel();
    let embedder = std::thread::spawn(move || {
        let system = System::new();
        system.block_on(async {
            let feedback = feedback_bus();
            let broadcasts = HttpBroadcaster::start(config([url]), &feedback).unwrap();
            assert!(told.send((feedback, broadcasts)).is_ok());
            System::current().stop();
        });
        system.run().unwrap();
    });
    let (feedback, broadcasts) = started.await.unwrap();
    embedder.join().unwrap();
    feedback.publish(EventSeries::new("bars").next_because(Reason::Draining));
    within(PATIENCE, broadcasts.finish(PATIENCE)).await;
    let asked = hook.asked();
    assert_eq!(asked.iter().map(|asked| asked.event().reason).collect::<Vec<_>>(), [Reason::Draining]);
}

/// Red when an actor cannot do by messages what the handle does.
#[actix::test]
async fn an_actor_can_talk_to_the_broadcaster_by_messages() {
    let hook = Hook::start(|_| ok());
    let sender = Sender::start(config([hook.url("")]));
    let broadcaster = sender.broadcasts.addr();
    let event = EventSeries::new("bars").next(Level::Hard);
    broadcaster.send(event.clone()).await.unwrap();
    hook.wait(1).await;
    within(PATIENCE, sender.broadcasts.finish(PATIENCE)).await;
    assert_eq!(ids(&hook.asked()), [event.id.as_str()]);

    let sender = Sender::start(config([hook.url("")]));
    let urls = sender.broadcasts.addr().send(ObserveBroadcasts).await.unwrap();
    assert_eq!(urls.iter().map(|url| (&url.endpoint, url.pending)).collect::<Vec<_>>(), [(&hook.url(""), 0)]);
}

/// Red when a retry has another id, body or no signature of its own, comes without a wait, or when a signature is
/// missing while secrets are rotated.
#[actix::test]
async fn a_failed_attempt_is_repeated_with_the_same_id_and_signed_by_every_secret() {
    let hook = Hook::start(|number| if number < 2 { Reply::Status(500, String::new()) } else { ok() });
    let mut config = config([hook.url("/levels?x=1")]);
    config.secrets = SECRETS.map(|secret| secret.parse().unwrap()).to_vec();
    let (wait, secrets) = (config.retry.initial_backoff, config.secrets.clone());
    let mut sender = Sender::start(config);
    let id = sender.publish(Level::Hard);
    let asked = hook.wait(3).await;
    assert_eq!(ids(&asked), [&*id; 3]);
    for asked in &asked {
        assert_eq!(asked.line, "POST /levels?x=1 HTTP/1.1");
        assert_eq!(asked.body, asked_body(&asked.event()));
        let headers = SignedHeaders::collect(|name| asked.headers.get(name).map(String::as_str)).unwrap();
        assert_eq!(headers.signature.split(' ').count(), 2);
        for secret in &secrets {
            verify(std::slice::from_ref(secret), headers, &asked.body, unix_now()).unwrap();
        }
        let other: WebhookSecret = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSx".parse().unwrap();
        assert!(verify(&[other], headers, &asked.body, unix_now()).is_err());
    }
    // Half of the wait at least, then half of twice the wait.
    assert!(asked[1].at - asked[0].at >= wait / 2, "{:?}", asked[1].at - asked[0].at);
    assert!(asked[2].at - asked[1].at >= wait, "{:?}", asked[2].at - asked[1].at);
    let after = sender.until("delivered", |url| url.delivered == 1).await;
    assert_eq!((after.attempts, after.failed, after.failures_in_a_row, after.pending), (3, 2, 0, 0));
    assert_eq!((after.last_status, after.last_error.as_deref()), (Some(200), Some("HTTP status 500")));
    assert!(after.last_success.is_some() && after.state == EndpointState::Closed);
}

fn asked_body(event: &market_data_store::FeedbackEvent) -> Vec<u8> {
    serde_json::to_vec(event).unwrap()
}

/// Red when `Retry-After` is not honoured, in seconds or as a date.
#[actix::test]
async fn a_url_that_asks_for_time_gets_it() {
    let soon = || httpdate::fmt_http_date(SystemTime::now() + Duration::from_secs(4));
    let hook = Hook::start(move |number| match number {
        0 => Reply::Status(429, "retry-after: 1\r\n".to_owned()),
        1 => Reply::Status(503, format!("retry-after: {}\r\n", soon())),
        _ => ok(),
    });
    let mut sender = Sender::start(config([hook.url("")]));
    sender.publish(Level::Hard);
    let asked = hook.wait(2).await;
    assert!(asked[1].at - asked[0].at >= Duration::from_secs(1), "{:?}", asked[1].at - asked[0].at);
    // A newer event does not come before the time either. A date has whole seconds, so up to one is cut off; another is
    // for a server that is slow to note that it was asked.
    let newer = sender.publish(Level::Ok);
    let asked = hook.wait(3).await;
    assert!(asked[2].at - asked[1].at >= Duration::from_millis(1_900), "{:?}", asked[2].at - asked[1].at);
    assert_eq!(asked[2].id(), newer);
}

/// Red when a redirect is followed: by then the event is elsewhere, and a POST became a GET.
#[actix::test]
async fn a_redirect_is_a_failure_and_is_not_followed() {
    let trap = Hook::start(|_| ok());
    let location = format!("location: http://{}/trap\r\n", trap.address);
    let hook = Hook::start(move |number| match number {
        0 => Reply::Status(302, location.clone()),
        1 => Reply::Status(307, location.clone()),
        2 => Reply::Status(308, location.clone()),
        _ => ok(),
    });
    let mut sender = Sender::start(config([hook.url("")]));
    let id = sender.publish(Level::Hard);
    assert_eq!(ids(&hook.wait(4).await), [&*id; 4]);
    let after = sender.until("delivered", |url| url.delivered == 1).await;
    assert_eq!((after.failed, after.last_error.as_deref()), (3, Some("HTTP status 308")));
    assert_eq!(*trap.connections.lock(), 0);
}

/// Red when the connection of an answer that announces another is used again: the other would be taken for the answer
/// to the next request, and an event for delivered that was refused.
#[actix::test]
async fn an_answer_before_the_answer_ends_its_connection() {
    let hook = Hook::start(|number| match number {
        0 => Reply::Status(100, String::new()),
        1 => Reply::Status(103, String::new()),
        _ => ok(),
    });
    let mut sender = Sender::start(config([hook.url("")]));
    let id = sender.publish(Level::Hard);
    let asked = hook.wait(3).await;
    assert_eq!(ids(&asked), [&*id; 3]);
    let connections: Vec<_> = asked.iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [1, 2, 3]);
    let after = sender.until("delivered", |url| url.delivered == 1).await;
    assert_eq!((after.failed, after.last_error.as_deref()), (2, Some("HTTP status 103")));
}

/// Red when 410 is tried again, or switches off more than one lane.
#[actix::test]
async fn a_url_that_is_gone_is_switched_off() {
    log();
    let gone = Hook::start(|_| Reply::Status(410, String::new()));
    let other = Hook::start(|_| ok());
    let mut sender = Sender::start(config([gone.url("/S3CRET-PATH"), other.url("")]));
    sender.publish(Level::Hard);
    let off = sender.until("switched off", |url| url.state == EndpointState::SwitchedOff).await;
    assert_eq!((off.pending, off.failed, off.last_status, off.next_attempt_in), (0, 1, Some(410), None));
    other.wait(1).await;
    let last = sender.publish(Level::Ok);
    assert_eq!(ids(&other.wait(2).await)[1], last);
    within(PATIENCE, sender.broadcasts.finish(PATIENCE)).await;
    assert_eq!(gone.asked().len(), 1);
    let said = format!("endpoint=http://{}", gone.address);
    let lines: Vec<_> = log().into_iter().filter(|line| line.contains(&said)).collect();
    assert!(lines.len() == 1 && lines[0].starts_with("ERROR"), "{lines:?}");
    assert!(!lines[0].contains("S3CRET"), "{lines:?}");
}

/// Red when one attempt has no end, or what comes after the head of an answer counts.
#[actix::test]
async fn a_url_that_does_not_answer_in_time_is_asked_again_and_a_head_is_an_answer() {
    let hook = Hook::start(|number| match number {
        0 => Reply::Silence,
        1 => Reply::HeadAlone,
        _ => ok(),
    });
    let timeout = Duration::from_millis(500);
    let mut config = config([hook.url("")]);
    config.timeout = timeout;
    let mut sender = Sender::start(config);
    // Not from the first request: the server may see that late, while the time of the attempt runs.
    let begin = Instant::now();
    let first = sender.publish(Level::Hard);
    let asked = hook.wait(2).await;
    assert_eq!(ids(&asked), [&*first; 2]);
    assert!(asked[1].at - begin >= timeout, "{:?}", asked[1].at - begin);
    let after = sender.until("delivered", |url| url.delivered == 1).await;
    assert_eq!(after.last_error.as_deref(), Some("no answer within 500ms"));
    let second = sender.publish(Level::Ok);
    assert_eq!(ids(&hook.wait(3).await), [&*first, &first, &second]);
}

/// Red when a body holds up the next event, or is read to its end.
#[actix::test]
async fn a_body_is_read_to_a_bound_and_holds_nothing_up() {
    let (taken, was_taken) = oneshot::channel();
    let mut taken = Some(taken);
    let hook = Hook::start(move |number| match number {
        0 => Reply::Endless(taken.take().unwrap()),
        1 => Reply::Drip,
        _ => ok(),
    });
    // Neither body would ever be at its end within this time.
    let mut sender = Sender::start(config([hook.url("")]));
    sender.publish(Level::Hard);
    let taken = within(PATIENCE, was_taken).await.unwrap();
    // What the sockets of both sides hold beside what was read.
    assert!(taken < 32 * 1024 * 1024, "{taken} bytes were taken");
    sender.publish(Level::Soft);
    hook.wait(2).await;
    let last = sender.publish(Level::Ok);
    let asked = hook.wait(3).await;
    assert_eq!((asked.len(), asked[2].id()), (3, &*last));
    let after = sender.until("all delivered", |url| url.delivered == 3).await;
    assert_eq!((after.attempts, after.failed), (3, 0));
}

/// Red when the event of another coordinator, or the end, waits for a body that no one wants: for as long as an attempt
/// may take.
#[actix::test]
async fn a_body_holds_up_nothing_that_waits_already() {
    let hook = Hook::start(|number| match number {
        0 => Reply::Status(503, "retry-after: 1\r\n".to_owned()),
        _ => Reply::HeadAlone,
    });
    let mut config = config([hook.url("")]);
    config.timeout = Duration::from_secs(3_600);
    let mut sender = Sender::start(config);
    let bars = sender.publish(Level::Hard);
    sender.until("failed", |url| url.failed == 1).await;
    let ticks = EventSeries::new("ticks").next(Level::Hard);
    sender.feedback.publish(ticks.clone());
    // The lane has taken note of both, and nothing is news to it, when their time comes.
    let asked = hook.wait(3).await;
    let mut asked = ids(&asked[1..]);
    asked.sort_unstable();
    let mut expected = [&*bars, &*ticks.id];
    expected.sort_unstable();
    assert_eq!(asked, expected);
    let begin = Instant::now();
    within(PATIENCE, sender.broadcasts.finish(PATIENCE)).await;
    assert!(begin.elapsed() < PATIENCE / 2, "{:?}", begin.elapsed());
    assert_eq!(sender.snapshot().pending, 0);
}

/// Red when a broken connection loses the event, or comes under another id.
#[actix::test]
async fn a_connection_that_breaks_is_a_failed_attempt() {
    // The first connection is kept alive after one request and then reset over the next, as one that the other side
    // has forgotten is; the second is reset at once.
    let hook = Hook::start(|number| if number == 1 || number == 2 { Reply::Reset } else { ok() });
    let mut sender = Sender::start(config([hook.url("")]));
    sender.publish(Level::Hard);
    sender.until("delivered", |url| url.delivered == 1).await;
    let second = sender.publish(Level::Ok);
    let asked = hook.wait(4).await;
    let connections: Vec<_> = asked.iter().map(|asked| asked.connection).collect();
    assert_eq!(connections, [1, 1, 2, 3], "one connection is used for several requests");
    assert_eq!(ids(&asked[1..]), [&*second; 3]);
    let after = sender.until("delivered", |url| url.delivered == 2).await;
    assert_eq!(after.failed, 2);
    let error = after.last_error.unwrap();
    assert!(error.contains("reset"), "{error}");
}

/// Red when an event is given up after its attempts, when what became old is sent first, or when a lane that failed
/// for long needs another event to go on.
#[actix::test]
async fn a_server_that_was_down_for_long_is_told_the_latest_once_it_is_there() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut sender = Sender::start(config([format!("http://{address}/").parse().unwrap()]));
    sender.publish(Level::Hard);
    let down = sender.until("far beyond its attempts", |url| url.attempts >= 6).await;
    assert_eq!((down.pending, down.delivered, down.last_status), (1, 0, None));
    assert!(down.state != EndpointState::Closed && down.failures_in_a_row >= 5, "{down:?}");
    assert!(down.last_error.unwrap().contains("refused"));
    sender.publish(Level::Soft);
    within(PATIENCE, sender.feedback.idle()).await; // or the bus may skip it
    let ok_again = sender.publish(Level::Ok);
    sender.until("superseded", |url| url.superseded == 2).await;
    let hook = Hook::on(TcpListener::bind(address).unwrap(), |_| ok());
    let asked = hook.wait(1).await;
    assert_eq!((asked[0].id(), asked[0].event().level), (&*ok_again, Level::Ok));
    let up = sender.until("up", |url| url.delivered == 1).await;
    assert_eq!((up.pending, up.state, up.next_attempt_in), (0, EndpointState::Closed, None));
}

/// Red when lanes share anything that one of them can hold.
#[actix::test]
async fn a_black_hole_delays_no_other_url_and_keeps_one_event_a_coordinator() {
    // Takes connections and answers nothing for as long as the test lasts.
    let hole = Hook::start(|_| Reply::Silence);
    let hook = Hook::start(|_| ok());
    let mut config = config([hole.url("/a"), hole.url("/b"), hook.url("")]);
    // Longer than any number of rounds takes, so that the hole is asked once.
    config.timeout = Duration::from_secs(3_600);
    let mut sender = Sender::start(config);
    let mut ticks = EventSeries::new("ticks");
    let mut sent = Vec::new();
    let rounds = size_of_test("MDS_TEST_WEBHOOKS", 20);
    for level in [Level::Hard, Level::Ok].repeat(rounds) {
        let event = ticks.next(level);
        sender.feedback.publish(event.clone());
        sent.extend([event.id.clone(), sender.publish(level)]);
        // Each of them in time to be seen, though the hole has not answered the first.
        hook.reached(sent.len()).await;
    }
    let asked = hook.asked();
    assert_eq!(ids(&asked), sent);
    for url in &sender.broadcasts.snapshot()[..2] {
        // One under way and one of each coordinator behind it.
        assert_eq!((url.attempts, url.pending, url.delivered), (1, 3, 0), "{url:?}");
        assert_eq!(url.superseded, 4 * rounds as u64 - 3);
    }
}

/// Red when a coordinator that speaks often takes the turns of others, or its older events are sent.
#[actix::test]
async fn coordinators_that_share_a_url_take_turns() {
    let (go, held) = oneshot::channel();
    let mut held = Some(held);
    let hook = Hook::start(move |_| held.take().map_or_else(ok, |held| Reply::Held(held, 200)));
    let mut sender = Sender::start(config([hook.url("")]));
    let first = sender.publish(Level::Hard);
    hook.wait(1).await;
    let mut others: Vec<_> = ["a", "b", "c"].map(EventSeries::new).into();
    let mut latest = Vec::new();
    for round in 0..5 {
        latest =
            others.iter_mut().map(|other| other.next(if round % 2 == 0 { Level::Hard } else { Level::Ok })).collect();
        latest.iter().for_each(|event| sender.feedback.publish(event.clone()));
        // It waits behind the others, however often it speaks.
        latest.push(sender.bars.next(Level::Soft));
        sender.feedback.publish(latest[3].clone());
        within(PATIENCE, sender.feedback.idle()).await;
    }
    sender.until("all but the latest are superseded", |url| url.superseded == 4 * 4).await;
    go.send(()).unwrap();
    let expected: Vec<_> = std::iter::once(&*first).chain(latest.iter().map(|event| &*event.id)).collect();
    assert_eq!(ids(&hook.wait(5).await), expected);
}

/// Red when what a receiver published on a shared bus is sent on, which would send it round without end, or when the
/// state of another store is told.
#[actix::test]
async fn a_store_sends_the_events_of_its_own_coordinators_alone() {
    let hook = Hook::start(|_| ok());
    let feedback = Feedback::private();
    // Of another process, by the same name; one before the start and one after.
    let mut foreign = EventSeries::new("ticks").source("db2:test");
    feedback.publish(foreign.next(Level::Hard));
    let coordinators =
        [Coordinator::new(MemorySink::<Tick>::new()), Coordinator::new(MemorySink::<Tick>::new()).id("b")];
    let [ticks, b] = coordinators;
    let store = MarketDataStore::builder(asking(&[&hook.url("")], &[])).feedback(feedback.clone());
    let store = store.coordinator(ticks).coordinator(b).spawn().unwrap();
    feedback.publish(foreign.next(Level::Ok));
    within(PATIENCE, store.finish(PATIENCE)).await;
    let events: Vec<_> = hook.asked().iter().map(Asked::event).collect();
    let mut told: Vec<_> = events.iter().map(|event| (&*event.source, &*event.coordinator_id, event.reason)).collect();
    told.sort_by_key(|told| told.1);
    assert_eq!(told, [("db1:test", "b", Reason::Started), ("db1:test", "ticks", Reason::Started)]);
}

/// Red when a restart in the same process is not told, or its events count as old.
#[actix::test]
async fn after_a_restart_the_present_state_is_told_again() {
    let hook = Hook::start(|_| ok());
    let feedback = Feedback::private();
    let mut epochs = Vec::new();
    for round in 0..3 {
        let builder = MarketDataStore::builder(asking(&[&hook.url("")], &[])).feedback(feedback.clone());
        let store = builder.coordinator(Coordinator::new(MemorySink::<Tick>::new())).spawn().unwrap();
        within(PATIENCE, store.shutdown(PATIENCE)).await;
        let asked = hook.asked();
        let last = asked.last().unwrap().event();
        assert_eq!(last.reason, Reason::Draining);
        let started = asked.iter().map(Asked::event).filter(|event| event.reason == Reason::Started).count();
        // It can be superseded by `draining`, which comes at once here.
        assert!(started <= round + 1);
        epochs.push(last.epoch);
    }
    assert!(epochs.is_sorted() && epochs[0] < epochs[2], "{epochs:?}");
}

/// Red when `finish` says `draining`, after which a producer would wait without end.
#[actix::test]
async fn the_last_event_of_a_finish_is_ok() {
    // The first answer is slow, so that the last event has to wait for it.
    let (go, held) = oneshot::channel();
    let mut held = Some(held);
    let hook = Hook::start(move |_| held.take().map_or_else(ok, |held| Reply::Held(held, 200)));
    let sink = MemorySink::<Tick>::new();
    let coordinator = Coordinator::new(sink.clone()).settings(coordinator_settings(10, 1, 10).watermarks(2, 8));
    let store = MarketDataStore::builder(asking(&[&hook.url("")], &[])).coordinator(coordinator).spawn().unwrap();
    hook.wait(1).await;
    let handle = store.coordinator::<Tick>().unwrap();
    sink.hold();
    handle.submit(tick("ES", 100)).await.unwrap();
    let flush = handle.clone();
    let flush = tokio::spawn(async move { flush.flush().await });
    within(PATIENCE, sink.wait_held(1)).await;
    handle.submit_many(ticks(0..9)).await.unwrap();
    assert_eq!(handle.health().await.level, Level::Hard);
    sink.release();
    within(PATIENCE, flush).await.unwrap().unwrap();
    go.send(()).unwrap();
    let report = within(PATIENCE, store.finish(PATIENCE)).await;
    assert_eq!(report.stored(), 10);
    let last = hook.asked().last().unwrap().event();
    assert_eq!((last.level, last.reason), (Level::Ok, Reason::QueueRecovered));
    assert!(store.broadcasts().iter().all(|url| url.pending == 0), "{:?}", store.broadcasts());
}

/// Red when the end waits for a URL that is away longer than five seconds, or for one that will not be asked again.
#[actix::test]
async fn the_end_is_in_time_whatever_the_urls_do() {
    log();
    let hole = Hook::start(|_| Reply::Silence);
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let refusing: Endpoint = format!("http://{}", free.local_addr().unwrap()).parse().unwrap();
    drop(free);
    for (url, deadline, latest) in [
        // Attempts end for want of a circuit, long before the deadline.
        (&refusing, Duration::from_secs(60), Duration::from_secs(5)),
        (&hole.url(""), Duration::from_millis(500), Duration::from_millis(5_500)),
        (&hole.url(""), Duration::ZERO, Duration::from_secs(5)),
    ] {
        let sink = MemorySink::<Tick>::new();
        let builder = MarketDataStore::builder(asking(&[url], &[("MDS_FB_HTTP_TIMEOUT", "60")]));
        let store = builder.coordinator(Coordinator::new(sink)).spawn().unwrap();
        let handle = store.coordinator::<Tick>().unwrap();
        handle.submit_many(ticks(0..1_000)).await.unwrap();
        within(PATIENCE, handle.flush()).await.unwrap();
        let begin = Instant::now();
        let report = within(PATIENCE, store.shutdown(deadline)).await;
        let took = begin.elapsed();
        assert!(took < latest, "{took:?} with a deadline of {deadline:?}");
        assert_eq!((report.stored(), report.unsettled()), (1_000, 0));
        let left = store.broadcasts().remove(0);
        assert!(left.pending > 0, "{left:?}");
        let said = format!("endpoint={url} ");
        assert!(log().iter().any(|line| line.contains("not delivered") && line.contains(&said)), "{:?}", log());
    }
}

/// Red when the last events wait for a circuit that opened before the end.
#[actix::test]
async fn at_the_end_a_url_that_failed_is_asked_once_more_at_once() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = free.local_addr().unwrap();
    drop(free);
    let mut config = config([format!("http://{address}").parse().unwrap()]);
    config.probe_after = Duration::from_secs(3_600);
    let mut sender = Sender::start(config);
    sender.publish(Level::Hard);
    sender.until("the circuit is open", |url| url.state == EndpointState::Open).await;
    let last = sender.publish(Level::Ok);
    let hook = Hook::on(TcpListener::bind(address).unwrap(), |_| ok());
    // Published, but perhaps not passed on yet.
    within(PATIENCE, sender.broadcasts.finish(PATIENCE)).await;
    assert_eq!(ids(&hook.asked()), [last]);
    assert_eq!(sender.snapshot().pending, 0);
}

/// Never ends with what it is told.
struct Stuck;

impl Actor for Stuck {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Stuck {
    type Result = ResponseFuture<()>;

    fn handle(&mut self, _: FeedbackEvent, _: &mut Self::Context) -> Self::Result {
        Box::pin(std::future::pending())
    }
}

/// Red when `idle` does not wait for an answer, or for an attempt that is due; when it waits for a URL that is gone,
/// for a subscriber beside the broadcaster, or for what is published later; or when it has no end after that of the
/// broadcaster.
#[actix::test]
async fn a_broadcaster_is_idle_once_each_url_was_told_or_is_given_up() {
    let (go, held) = oneshot::channel();
    let mut held = Some(held);
    let slow = Hook::start(move |_| held.take().map_or(Reply::Silence, |held| Reply::Held(held, 200)));
    let flaky = Hook::start(|number| if number < 4 { Reply::Status(500, String::new()) } else { ok() });
    let gone = Hook::start(|_| Reply::Status(410, String::new()));
    let mut sender = Sender::start(config([slow.url(""), flaky.url(""), gone.url("")]));
    sender.feedback.subscribe(Subscribe::new(Stuck.start()));
    let broadcasts = sender.broadcasts.clone();
    within(PATIENCE, broadcasts.idle()).await;

    let first = sender.publish(Level::Hard);
    let mut idle = std::pin::pin!(broadcasts.idle());
    assert!(futures::poll!(idle.as_mut()).is_pending());
    assert_eq!(slow.wait(1).await[0].id(), first);
    flaky.wait(5).await;
    gone.wait(1).await;
    let told = |number: usize| broadcasts.snapshot()[number].delivered;
    while told(1) == 0 {
        tokio::task::yield_now().await;
    }
    assert!(futures::poll!(idle.as_mut()).is_pending(), "one has not answered");

    // Its URL never answers this one.
    let second = sender.publish(Level::Ok);
    assert_eq!(flaky.wait(6).await[5].id(), second);
    go.send(()).unwrap();
    within(PATIENCE, idle).await;
    assert_eq!((told(0), ids(&slow.wait(2).await)), (1, vec![&*first, &*second]));

    let never = tokio::task::spawn_local({
        let broadcasts = broadcasts.clone();
        async move { broadcasts.idle().await }
    });
    within(PATIENCE, broadcasts.finish(Duration::ZERO)).await;
    within(PATIENCE, never).await.unwrap();
    within(PATIENCE, broadcasts.idle()).await;
}

/// Red when a broadcaster outlives the last of its fronts, or a finished one sends on.
#[actix::test]
async fn a_broadcaster_ends_with_its_fronts() {
    let hook = Hook::start(|_| ok());
    let mut sender = Sender::start(config([hook.url("")]));
    sender.publish(Level::Hard);
    hook.wait(1).await;
    let feedback = sender.feedback.clone();
    let subscribed = within(PATIENCE, feedback.snapshot()).await.unwrap().lanes.len();
    let mut bars = sender.bars.clone();
    drop(sender);
    for _ in 0..1_000 {
        feedback.publish(bars.next(Level::Ok));
        if within(PATIENCE, feedback.snapshot()).await.unwrap().lanes.is_empty() {
            break;
        }
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!((subscribed, within(PATIENCE, feedback.snapshot()).await.unwrap().lanes.len()), (1, 0));
}

/// Red when the death of a broadcaster, or of what sends to a URL, is not told or not logged; when it holds up the end,
/// or an event for others; or when another cannot take its place.
#[actix::test]
async fn a_broadcaster_that_dies_says_so_and_another_takes_its_place() {
    log();
    for (pass, point) in [
        (1, "an event came and a lane does not have it"),
        (2, "an event is to be sent and is not"),
        (3, "a URL has answered and its lane does not know"),
    ] {
        let hook = Hook::start(|_| ok());
        let mut sender = Sender::start(config([hook.url("/")]));
        let heard = record(&sender.feedback, None);
        let fault = sender.broadcasts.fault();
        fault.arm(pass);
        sender.publish(Level::Hard);
        within(PATIENCE, sender.broadcasts.died()).await;
        assert_eq!(fault.has_fired().unwrap().point, point);
        // Nothing more is told to the URL, and none waits for it.
        within(PATIENCE, sender.broadcasts.idle()).await;
        within(PATIENCE, sender.broadcasts.finish(Duration::from_secs(3_600))).await;

        let another = HttpBroadcaster::start(config([hook.url("/")]), &sender.feedback).unwrap();
        let last = sender.publish(Level::Ok);
        hook.wait_for(|asked| asked.last().is_some_and(|asked| asked.id() == last)).await;
        within(PATIENCE, sender.feedback.idle()).await;
        let heard: Vec<_> = heard.lock().iter().map(|event| event.level).collect();
        assert_eq!(heard, [Level::Hard, Level::Ok]);
        assert!(another.died().now_or_never().is_none());
        let address = hook.address.to_string();
        let told = |line: &String| line.contains("the broadcaster died") && line.contains(&address);
        assert_eq!(log().iter().filter(|line| told(line)).count(), 1, "{point:?}");
    }
}

/// Red when a certificate is not checked, or against other roots than those in the file.
#[actix::test]
async fn https_is_trusted_by_the_roots_in_the_file_alone() {
    let dir = tempfile::tempdir().unwrap();
    let ((server, pem), (_, other)) = (certificate(), certificate());
    let (right, wrong) = (dir.path().join("right.pem"), dir.path().join("wrong.pem"));
    std::fs::write(&right, format!("{other}{pem}")).unwrap();
    std::fs::write(&wrong, other).unwrap();
    let hook = Hook::tls(server, |_| ok());
    let port = hook.address.port();
    for host in ["localhost", "127.0.0.1"] {
        let url: Endpoint = format!("https://{host}:{port}/T0KEN").parse().unwrap();
        for (file, arrives) in [(Some(&right), true), (Some(&wrong), false), (None, false)] {
            let before = hook.asked().len();
            let mut config = config([url.clone()]);
            config.ca_file = file.cloned();
            let mut sender = Sender::start(config);
            let id = sender.publish(Level::Hard);
            if arrives {
                assert_eq!(hook.wait(before + 1).await[before].id(), id);
                continue;
            }
            let refused = sender.until("refused", |url| url.failed >= 2).await;
            assert_eq!(hook.asked().len(), before);
            let error = refused.last_error.unwrap();
            assert!(error.contains("certificate") && !error.contains("T0KEN"), "{error}");
        }
    }
}

/// Red when user and password are dropped, or stay in the request line.
#[actix::test]
async fn user_and_password_of_a_url_travel_in_their_header() {
    let hook = Hook::start(|_| ok());
    let url = format!("http://ann:pa%3A55@{}/x", hook.address);
    let mut sender = Sender::start(config([url.parse().unwrap()]));
    sender.publish(Level::Hard);
    let asked = &hook.wait(1).await[0];
    assert_eq!(asked.line, "POST /x HTTP/1.1");
    assert_eq!(asked.headers["authorization"], "Basic YW5uOnBhOjU1");
    assert_eq!(asked.headers["host"], hook.address.to_string());
}

#[actix::test]
async fn an_ipv6_address_is_reached() {
    let listener = match TcpListener::bind("[::1]:0") {
        Ok(listener) => listener,
        // There are machines without IPv6; that is nothing about webhooks.
        Err(error) => {
            assert_eq!(error.kind(), std::io::ErrorKind::AddrNotAvailable);
            return;
        }
    };
    let hook = Hook::on(listener, |_| ok());
    let mut sender = Sender::start(config([hook.url("/x")]));
    sender.publish(Level::Hard);
    assert_eq!(hook.wait(1).await[0].headers["host"], hook.address.to_string());
}

/// Red when any of these shows a secret, or more of a URL than scheme, host and port.
#[actix::test]
async fn what_is_secret_shows_nowhere() {
    let hook = Hook::start(|_| Reply::Status(500, String::new()));
    let urls =
        format!("http://S3CRETUSER:S3CRETPASS@{0}/S3CRETPATH?key=S3CRETKEY,http://{0}:x/S3CRETPATH", hook.address);
    let wrong = [("MDS_FB_HTTP_ENDPOINT", &*urls), ("MDS_FB_HTTP_SECRET", "whsec_S3CRETSECRET,S3CRETSECRET")];
    let problems = Settings::from_vars(wrong).unwrap_err();
    let urls = urls.split(',').next().unwrap();
    let secrets = SECRETS.join(",");
    let vars = [
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", urls),
        ("MDS_FB_HTTP_SECRET", &secrets),
        ("MDS_FB_HTTP_CA_FILE", "/nowhere/ca.pem"),
    ];
    let loaded = Settings::load(vars).unwrap();
    let builder = MarketDataStore::builder(loaded.settings.clone());
    let shown_builder = format!("{builder:?}");
    let error = builder.spawn().unwrap_err();
    let mut config = config([urls.parse().unwrap()]);
    config.secrets = SECRETS.map(|secret| secret.parse().unwrap()).to_vec();
    let shown_config = format!("{config:?}");
    let mut sender = Sender::start(config);
    sender.publish(Level::Hard);
    let failed = sender.until("failed", |url| url.failed > 0).await;
    let values = market_data_store::settings::Variable::ALL.iter().map(|variable| variable.value(&loaded.settings));
    let shown = [
        problems.to_string(),
        format!("{problems:?}"),
        format!("{loaded:?}"),
        values.collect::<Vec<_>>().join(" "),
        shown_builder,
        format!("{error} {error:?}"),
        shown_config,
        format!("{:?} {failed:?}", sender.broadcasts),
        serde_json::to_string(&failed).unwrap(),
    ];
    for shown in shown {
        for secret in ["S3CRET", "MfKQ9r8GKYqr", "C2FVsBQIhrsc"] {
            assert!(!shown.contains(secret), "{secret} in {shown}");
        }
    }
    let shown = format!("http://{}", hook.address);
    assert!(problems.to_string().contains(&shown), "{problems}");
    assert_eq!(serde_json::to_value(&failed).unwrap()["endpoint"], *shown);
}

/// Red when an outcome is counted twice, not at all or under another label, or a gauge does not follow.
#[actix::test]
async fn outcomes_and_states_are_measured_by_host_and_port() {
    let hook = Hook::start(|number| match number {
        0 => Reply::Status(500, String::new()),
        1 => Reply::Silence,
        2 => Reply::Reset,
        3 => ok(),
        _ => Reply::Status(410, String::new()),
    });
    let recorder = metrics_util::debugging::DebuggingRecorder::new();
    let mut config = config([hook.url("/S3CRET")]);
    config.timeout = Duration::from_millis(500);
    // The handles of metrics are made where the broadcaster is started.
    let mut sender = metrics::with_local_recorder(&recorder, || Sender::start(config));
    sender.publish(Level::Hard);
    within(PATIENCE, sender.feedback.idle()).await;
    sender.publish(Level::Soft);
    sender.until("the first two are settled", |url| url.delivered + url.superseded == 2).await;
    let e = format!("endpoint={}", hook.address);
    let now = crate::metrics::seen(&recorder);
    let get = |name: String| now.get(&name).copied().unwrap_or_else(|| panic!("{name} is not among {now:#?}"));
    let outcome = |outcome: &str| get(format!("mds_webhook_deliveries_total{{{e},outcome={outcome}}}"));
    let outcomes = ["delivered", "refused", "timeout", "unreachable", "superseded"].map(outcome);
    assert_eq!(outcomes, [1.0; 5]);
    let lanes = |state: &str| get(format!("mds_webhook_lanes{{{e},state={state}}}"));
    assert_eq!(["closed", "open", "half_open", "switched_off"].map(lanes), [1.0, 0.0, 0.0, 0.0]);
    assert_eq!(get(format!("mds_webhook_pending{{{e}}}")), 0.0);
    assert!(!now.keys().any(|name| name.contains("S3CRET")), "{now:#?}");
    sender.publish(Level::Ok);
    sender.until("switched off", |url| url.state == EndpointState::SwitchedOff).await;
    let Sender { broadcasts, .. } = sender;
    let now = crate::metrics::seen(&recorder);
    assert_eq!(now[&format!("mds_webhook_lanes{{{e},state=switched_off}}")], 1.0);
    within(PATIENCE, broadcasts.finish(PATIENCE)).await;
    drop(broadcasts);
}

/// Red when the broadcaster of a store on one arbiter starts a thread that it cannot do without.
#[actix::test]
async fn a_store_on_the_current_arbiter_sends_from_there() {
    let hook = Hook::start(|_| ok());
    let coordinator = Coordinator::new(MemorySink::<Tick>::new());
    let builder = MarketDataStore::builder(asking(&[&hook.url("")], &[])).coordinator(coordinator);
    let store = builder.on_current_arbiter().start().await.unwrap();
    hook.wait(1).await;
    within(PATIENCE, store.shutdown(PATIENCE)).await;
    assert_eq!(hook.asked().last().unwrap().event().reason, Reason::Draining);
}

/// Red when a URL that is named twice is told twice, or a time without an end breaks what counts with it.
#[actix::test]
async fn a_url_counts_once_and_no_time_is_too_long() {
    let hook = Hook::start(|number| if number == 0 { Reply::Status(500, String::new()) } else { ok() });
    let mut config = config([hook.url("/x"), hook.url("/x"), hook.url("/y")]);
    config.timeout = Duration::MAX;
    config.probe_after = Duration::MAX;
    let mut sender = Sender::start(config);
    sender.publish(Level::Hard);
    let asked = hook.wait(3).await;
    assert_eq!((sender.broadcasts.snapshot().len(), asked.len()), (2, 3));
    within(PATIENCE, sender.broadcasts.finish(Duration::MAX)).await;
    assert!(sender.broadcasts.snapshot().iter().all(|url| url.delivered == 1));
}

/// Red when a configuration without a URL starts all the same.
#[test]
fn a_broadcaster_without_a_url_does_not_start() {
    let error = HttpBroadcaster::start(BroadcastConfig::new([]), &Feedback::private()).unwrap_err();
    assert_eq!(error.to_string(), "there is no URL to send events to");
    let mut settings = settings();
    settings.feedback.http.enabled = true;
    let error = MarketDataStore::builder(settings).spawn().unwrap_err();
    let expected = "MDS_FB_HTTP_ENDPOINT is not set, expected a URL, since MDS_FB_ENABLE_HTTP_BROADCAST is true";
    assert_eq!(error.to_string(), expected);
}

/// Red when the present state of a coordinator is lost among those of many.
#[actix::test]
async fn a_url_is_told_of_every_coordinator_however_many_there_are() {
    let hook = Hook::start(|_| ok());
    let feedback = Feedback::private();
    for number in 0..1_100 {
        feedback.publish(EventSeries::new(&format!("bars-{number}")).next(Level::Hard));
    }
    within(PATIENCE, feedback.idle()).await;
    let broadcasts = HttpBroadcaster::start(config([hook.url("")]), &feedback).unwrap();
    within(PATIENCE, feedback.idle()).await;
    let url = broadcasts.snapshot().remove(0);
    assert_eq!(url.pending as u64 + url.delivered, 1_100, "{url:?}");
}
