//! Posts a file of bars to `mds serve` and does what it is asked: waits by `Retry-After`, goes on where the answer says, and
//! begins nothing while the level is hard. `post_bars.py` is the same in Python.
//!
//! ```sh
//! MDS_TOKEN=... cargo run --example post_bars -- bars.csv "http://127.0.0.1:8080/v1/records/bars?symbol=SPX&timeframe=1d"
//! ```
//!
//! Without arguments it is its own service: it mounts the routes of `market_data_store::http` and posts to them.
//!
//! In the Cargo.toml of a client of your own:
//!
//! ```toml
//! awc = { version = "3", default-features = false }
//! ```

use std::{env, error::Error, time::Duration};

use actix_web::{App, HttpServer, rt};
use awc::{Client, http::header::RETRY_AFTER};
use futures::StreamExt;
use market_data_store::{MarketDataStore, Settings, http::routes};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Follows the level, and says whether it is worth beginning.
async fn follow(client: Client, url: String, may_post: watch::Sender<bool>) {
    loop {
        if let Ok(mut stream) = client.get(&url).send().await {
            let mut text = String::new();
            while let Some(Ok(bytes)) = stream.next().await {
                text.push_str(&String::from_utf8_lossy(&bytes));
                // An event ends with an empty line.
                while let Some((event, rest)) = text.split_once("\n\n") {
                    if let Some((_, json)) = event.split_once("data: ") {
                        let event: serde_json::Value = serde_json::from_str(json).unwrap_or_default();
                        println!("-- {}: {}", event["level"], event["reason"]);
                        may_post.send_replace(event["level"] != "hard");
                    }
                    text = rest.to_owned();
                }
            }
        }
        // The level is not known: the answers tell.
        may_post.send_replace(true);
        sleep(Duration::from_secs(2)).await;
    }
}

/// Posts until all is done. Returns whether every record was stored.
async fn post(client: &Client, url: &str, body: Vec<u8>, mut may_post: watch::Receiver<bool>) -> bool {
    let (mut skip, mut bad) = (0, 0);
    loop {
        let _ = timeout(Duration::from_secs(300), may_post.wait_for(|may| *may)).await;
        let url = format!("{url}{}skip={skip}", if url.contains('?') { '&' } else { '?' });
        let mut wait = 2;
        // What is refused by its head alone is not sent for nothing.
        match client.post(url).insert_header(("expect", "100-continue")).send_body(body.clone()).await {
            Ok(mut response) => {
                let answer: serde_json::Value = response.json().await.unwrap_or_default();
                let count = |name: &str| answer[name].as_u64().unwrap_or(0);
                skip = skip.max(count("resume_at"));
                bad += count("rejected_count") + count("dead_lettered") + count("dropped");
                println!("{} {answer}", response.status());
                if let 200 | 202 | 400..=404 | 413 | 415 | 422 = response.status().as_u16() {
                    return response.status().is_success() && bad == 0;
                }
                let header = response.headers().get(RETRY_AFTER).and_then(|header| header.to_str().ok()?.parse().ok());
                wait = header.unwrap_or(wait);
            }
            // What was stored is stored again by its key, and is the same.
            Err(error) => println!("no answer: {error}"),
        }
        sleep(Duration::from_secs(wait)).await;
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(url)) = (arguments.next(), arguments.next()) else { return own_service().await };
    let is_stored = run(&file, &url, env::var("MDS_TOKEN").ok()).await?;
    if is_stored { Ok(()) } else { Err("not every record was stored".into()) }
}

async fn run(file: &str, url: &str, token: Option<String>) -> Result<bool, Box<dyn Error>> {
    // An upload takes as long as the store needs.
    let mut client = Client::builder().timeout(Duration::from_secs(600));
    if let Some(token) = token {
        client = client.bearer_auth(token);
    }
    let client = client.finish();
    let body = std::fs::read(file)?;
    let (follows, may_post) = watch::channel(true);
    let service = url.split("/v1/").next().unwrap_or(url);
    let follows = rt::spawn(follow(client.clone(), format!("{service}/v1/feedback/stream?coordinator=bars"), follows));
    let is_stored = post(&client, url, body, may_post).await;
    follows.abort();
    Ok(is_stored)
}

/// The routes in a service of one's own, which is posted to.
async fn own_service() -> Result<(), Box<dyn Error>> {
    let store = MarketDataStore::start(Settings::from_env()?).await?;
    let server = {
        let store = store.clone();
        HttpServer::new(move || App::new().service(routes(&store))).workers(1).bind("127.0.0.1:0")?
    };
    let url = format!("http://{}/v1/records/bars?symbol=SPX&timeframe=1d&ts_format=%25m/%25d/%25Y", server.addrs()[0]);
    let server = server.disable_signals().run();
    let handle = server.handle();
    rt::spawn(server);
    let is_stored = run(concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/sp500.csv"), &url, None).await?;
    // First the store, whose end ends the streams.
    let report = store.shutdown(store.shutdown_timeout()).await;
    handle.stop(true).await;
    println!("{report}");
    assert!(is_stored && report.is_complete());
    Ok(())
}
