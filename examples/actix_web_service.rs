//! The store behind actix-web: a handler that refuses in time, and a feed that pauses while the store is busy.
//!
//! Clients POST bars. What the queue takes is answered with 202, a wrong bar with 422, and when the queue is full the
//! answer is 429 with `Retry-After`: the handler has nothing to do for that but `?`. Beside it the service reads a feed
//! of its own, which a subscriber pauses at hard and resumes at ok. Here the service is its own client.
//!
//! ```sh
//! cargo run --example actix_web_service --features actix-web,testing
//! ```
//!
//! In your own Cargo.toml (`testing` has the store in memory; with it and `awc` this example plays database and client):
//!
//! ```toml
//! actix-web = "4"
//! market-data-store = { version = "0.1", default-features = false, features = ["actix-web", "testing"] }
//! tokio = { version = "1", features = ["sync", "time"] }
//! ```

use std::{collections::VecDeque, error::Error, time::Duration};

use actix_web::{
    App, HttpResponse, HttpServer,
    http::{StatusCode, header::RETRY_AFTER},
    rt, web,
};
use market_data_store::{
    Bar, Coordinator, CoordinatorSettings, FeedbackEvent, Level, MarketDataStore, Overflow, Refusal, Settings,
    SubmitError, Subscribe, Timeframe, Timestamp, WriteHandle,
    actix::{Actor, Context, Handler},
    testing::MemorySink,
};
use tokio::{sync::watch, time::MissedTickBehavior};

/// 202: the bar is in the queue. Every refusal has its status: `SubmitError` is a `ResponseError`.
async fn post_bar(bars: web::Data<WriteHandle<Bar>>, bar: web::Json<Bar>) -> Result<HttpResponse, SubmitError<Bar>> {
    bars.submit(bar.into_inner()).await?;
    Ok(HttpResponse::Accepted().finish())
}

/// Stands between the feed and the store.
struct Valve {
    open: watch::Sender<bool>,
}

impl Actor for Valve {
    type Context = Context<Self>;
}

impl Handler<FeedbackEvent> for Valve {
    type Result = ();

    fn handle(&mut self, event: FeedbackEvent, _: &mut Context<Self>) {
        println!("-- {}: {}", event.level, event.reason);
        match event.level {
            Level::Ok => self.open.send_replace(true),
            Level::Hard => self.open.send_replace(false),
            // As it was: still open on the way up, and after hard still closed until ok.
            Level::Soft => return,
        };
    }
}

/// Reads a bar every 10 ms. While it pauses it reads nothing: what is to come waits at its source, not in memory here.
async fn feed(bars: WriteHandle<Bar>, mut open: watch::Receiver<bool>) {
    let mut source = tokio::time::interval(Duration::from_millis(10));
    source.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut pending = VecDeque::new();
    for minute in 0.. {
        if open.wait_for(|open| *open).await.is_err() {
            return;
        }
        source.tick().await;
        pending.push_back(bar("FEED", minute));
        match bars.submit_from(&mut pending).await {
            // What was refused stays in `pending`, and goes first the next time.
            Ok(()) | Err(Refusal::Full | Refusal::CircuitOpen) => {}
            Err(_) => return,
        }
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let database = MemorySink::<Bar>::new();
    // A client is better told to come back later than left waiting, as `Overflow::Block` would.
    let small = CoordinatorSettings::new(100).batch_size(10).overflow(Overflow::Error);
    let coordinator = Coordinator::new(database.clone()).settings(small);
    let store = MarketDataStore::builder(Settings::default()).coordinator(coordinator).start().await?;
    let bars = store.coordinator::<Bar>()?;

    let (valve, mut open) = watch::channel(true);
    let valve = store.start_actor(|_| Valve { open: valve });
    store.feedback().subscribe(Subscribe::new(valve));
    let feed = rt::spawn(feed(bars.clone(), open.clone()));

    let shared = web::Data::new(bars.clone());
    let app = move || App::new().app_data(shared.clone()).route("/bars", web::post().to(post_bar));
    let server = HttpServer::new(app).workers(1).bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/bars", server.addrs()[0]);
    let server = server.run();
    let stop = server.handle();
    // A real service would await the server right here, until SIGINT or SIGTERM ends it.
    let server = rt::spawn(server);

    let accepted = drive(&url, &bars, &database, &mut open).await?;

    // The order of the end: first no one new comes in, and requests under way are answered; then the service's own
    // producers stop; then the store writes what it accepted.
    stop.stop(true).await;
    server.await??;
    feed.abort();
    let report = store.shutdown(store.shutdown_timeout()).await;
    println!("{report}");
    assert!(report.is_complete());
    let posted = database.records().iter().filter(|bar| bar.symbol == "POST").count();
    assert_eq!(posted, accepted, "what was answered with 202 is stored");
    Ok(())
}

/// Plays the clients, and a database that stalls for a while. Returns how many bars were answered with 202.
async fn drive(
    url: &str,
    bars: &WriteHandle<Bar>,
    database: &MemorySink<Bar>,
    open: &mut watch::Receiver<bool>,
) -> Result<usize, Box<dyn Error>> {
    let client = awc::Client::default();
    let post = async |bar: Bar| client.post(url).send_json(&bar).await;

    let answer = post(bar("POST", 0)).await?;
    println!("POST a bar: {}", answer.status());
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    bars.flush().await?;

    println!("the database stalls");
    database.hold();
    let mut accepted = 1;
    let refused = loop {
        let answer = post(bar("POST", accepted)).await?;
        if answer.status() != StatusCode::ACCEPTED {
            break answer;
        }
        accepted += 1;
        assert!(accepted < 200, "a queue of 100 and a batch under way take no more than that");
    };
    let wait = refused.headers().get(RETRY_AFTER).ok_or("no Retry-After")?.to_str()?;
    println!("POST a bar: {}, Retry-After: {wait}", refused.status());
    assert_eq!(refused.status(), StatusCode::TOO_MANY_REQUESTS);
    assert!(wait.parse::<u64>()? >= 1, "in seconds");
    open.wait_for(|open| !open).await?;

    let mut answer = post(Bar { high: 4000.0, ..bar("POST", 0) }).await?;
    println!("POST a bar whose high is below its low: {}, {:?}", answer.status(), answer.body().await?);
    assert_eq!(answer.status(), StatusCode::UNPROCESSABLE_ENTITY);

    println!("the database is back");
    database.release();
    open.wait_for(|open| *open).await?;
    let answer = post(bar("POST", accepted)).await?;
    println!("POST a bar: {}", answer.status());
    assert_eq!(answer.status(), StatusCode::ACCEPTED);
    Ok(accepted + 1)
}

fn bar(symbol: &str, minute: usize) -> Bar {
    let ts = Timestamp::from_secs(minute as i64 * 60);
    Bar::new(symbol, Timeframe::MINUTE, ts).ohlc(5000.0, 5001.0, 4999.5, 5000.5).volume(1200.0)
}
