//! A producer in another process than its store, slowed down by webhooks.
//!
//! The program starts itself once more. The child is the store: it takes bars over HTTP, writes 500 a second at most, and
//! sends each change of its level to the parent, signed. The parent is the producer: it could send 2,000 a second, and a
//! rate limiter follows the level that its receiver hears of.
//!
//! ```sh
//! cargo run --example remote_producer --features receiver,webhooks,testing
//! ```
//!
//! In the Cargo.toml of a producer of your own, and of a store (`testing` has the slow one in memory):
//!
//! ```toml
//! actix-web = "4"
//! market-data-store = { version = "0.1", default-features = false, features = ["receiver"] }
//!
//! actix-web = "4"
//! market-data-store = { version = "0.1", default-features = false, features = ["webhooks", "testing"] }
//! ```

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Read},
    process::{Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicU32, Ordering},
        mpsc,
    },
    thread,
    time::Duration,
};

use actix_web::{App, HttpResponse, HttpServer, rt, web};
use market_data_store::{
    Bar, Budget, Coordinator, CoordinatorSettings, Delivery, Feedback, FeedbackEvent, Level, MarketDataStore,
    RateCoordinator, RateLimiter, Reason, Receiver, Settings, Subscribe, Timeframe, Timestamp, WebhookSecret,
    WriteHandle,
    actix::{Actor, Context, Handler},
    testing::MemorySink,
};

/// Both sides have it from their environment. One of your own: `echo "whsec_$(openssl rand -base64 32)"`.
const SECRET: &str = "whsec_bm90IGEgc2VjcmV0LCBhbiBleGFtcGxlIQ==";
const BARS: u32 = 1_500;
const AT_ONCE: u32 = 20;

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    match env::args().nth(1).as_deref() {
        Some("store") => store().await,
        _ => producer().await,
    }
}

/// The child. It says on standard output where it listens, runs until its standard input ends, and says then how many
/// bars it stored.
async fn store() -> Result<(), Box<dyn Error>> {
    // A database that takes 20 ms for ten bars.
    let slow = MemorySink::<Bar>::new();
    slow.delay(Duration::from_millis(20));
    let small = CoordinatorSettings::new(400).watermarks(50, 320).workers(1).batch_size(10);
    // Where to send the level is in MDS_FB_HTTP_ENDPOINT: nothing in here knows of it.
    let settings = Settings::from_env()?;
    let store = MarketDataStore::builder(settings).coordinator(Coordinator::new(slow).settings(small)).start().await?;

    let bars = web::Data::new(store.coordinator::<Bar>()?);
    let app = move || App::new().app_data(bars.clone()).route("/bars", web::post().to(post_bars));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    println!("http://{}/bars", server.addrs()[0]);
    let server = server.run();
    let stop = server.handle();
    rt::spawn(server);

    let (ended, end) = tokio::sync::oneshot::channel();
    thread::spawn(move || {
        let _ = std::io::stdin().read_to_end(&mut Vec::new());
        let _ = ended.send(());
    });
    end.await?;
    stop.stop(true).await;
    // The last thing that the producer hears is `draining`.
    let report = store.shutdown(store.shutdown_timeout()).await;
    println!("{}", report.stored());
    Ok(())
}

async fn post_bars(handle: web::Data<WriteHandle<Bar>>, bars: web::Json<Vec<Bar>>) -> HttpResponse {
    // A producer that heeds no level would wait here, when the queue is full.
    match handle.submit_many(bars.into_inner()).await {
        Ok(_) => HttpResponse::Accepted().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

/// The parent.
async fn producer() -> Result<(), Box<dyn Error>> {
    // From here on a store far away is followed as one in this process would be.
    let feedback = Feedback::private();
    let secret: WebhookSecret = SECRET.parse()?;
    let receiver = Receiver::signed(feedback.clone(), [secret]);
    let limiter = RateCoordinator::follow(&feedback, ["store/bars"])
        .budget(Budget::PerSecond(2_000.0))
        .ramp(Duration::from_millis(200))
        .start();
    let (heard, events) = mpsc::channel();
    let listener = Listener(heard).start();
    feedback.subscribe(Subscribe::new(listener).delivery(Delivery::Every));

    let app = {
        let receiver = receiver.clone();
        move || App::new().service(receiver.at("/feedback"))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/feedback", server.addrs()[0]);
    let server = server.run();
    let stop = server.handle();
    rt::spawn(server);

    let mut store = Command::new(env::current_exe()?)
        .arg("store")
        .env("MDS_SOURCE", "store")
        .env("MDS_FB_ENABLE_HTTP_BROADCAST", "true")
        .env("MDS_FB_HTTP_ENDPOINT", url)
        .env("MDS_FB_HTTP_SECRET", SECRET)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()?;
    let mut said = BufReader::new(store.stdout.take().ok_or("no standard output")?).lines();
    let url = said.next().ok_or("the store did not start")??;

    let sent = Arc::new(AtomicU32::new(0));
    let gauge = rt::spawn(show(Arc::clone(&sent), limiter.clone()));
    let client = awc::Client::default();
    for first in (0..BARS).step_by(AT_ONCE as usize) {
        limiter.acquire(AT_ONCE).await;
        let chunk: Vec<_> = (first..first + AT_ONCE).map(bar).collect();
        let answer = client.post(&url).send_json(&chunk).await?;
        assert!(answer.status().is_success(), "{}", answer.status());
        sent.fetch_add(AT_ONCE, Ordering::Relaxed);
    }
    gauge.abort();

    // The end of its input ends the store.
    drop(store.stdin.take());
    let (stored, store) = web::block(move || (said.next(), store.wait())).await?;
    let stored: u32 = stored.ok_or("the store did not say how many")??.parse()?;
    assert!(store?.success());
    feedback.idle().await;
    stop.stop(true).await;

    let events: Vec<FeedbackEvent> = events.try_iter().collect();
    let hard = events.iter().position(|event| event.level == Level::Hard).expect("2,000 a second are too many");
    assert!(
        events[hard..].iter().any(|event| event.level == Level::Ok),
        "the producer stopped, so the store caught up"
    );
    assert_eq!(events.last().map(|event| event.reason), Some(Reason::Draining));
    // The last event comes once more: nothing follows it. That is accepted, and is no level change.
    let counts = receiver.snapshot();
    assert_eq!((counts.accepted as usize, counts.bad_signature, counts.coordinators), (events.len() + 1, 0, 1));
    assert_eq!(stored, BARS);
    println!("{stored} bars stored, {} level changes heard", events.len());
    Ok(())
}

/// Says how fast the bars go, five times a second.
async fn show(sent: Arc<AtomicU32>, limiter: RateLimiter) {
    let mut before = 0;
    loop {
        rt::time::sleep(Duration::from_millis(200)).await;
        let now = sent.load(Ordering::Relaxed);
        println!("{:>5} bars/s, scale {:.2}", (now - before) * 5, limiter.scale());
        before = now;
    }
}

/// Shows what is heard of the level. A producer that uses a limiter needs none.
struct Listener(mpsc::Sender<FeedbackEvent>);

impl Actor for Listener {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Listener {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        println!("-- {}: {}, {} of {} queued", event.level, event.reason, event.queue_size, event.capacity);
        // A thread reads it until the end.
        let _ = self.0.send(event);
    }
}

fn bar(minute: u32) -> Bar {
    let ts = Timestamp::from_secs(i64::from(minute) * 60);
    Bar::new("ES", Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
}
