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
//! reqwest = { version = "0.13", default-features = false }
//! ```
//!
//! The client has to read while it sends: an answer can come before the end of the body. One that sends all and then reads,
//! as awc does, may lose it with the connection.

use std::{env, error::Error, time::Duration};

use actix_web::{App, HttpServer, rt, web::Bytes};
use market_data_store::{MarketDataStore, Settings, http::routes};
use reqwest::{Client, RequestBuilder, header::RETRY_AFTER};
use tokio::{
    sync::watch,
    time::{sleep, timeout},
};

/// Makes requests to a service, with a token where there is one.
#[derive(Clone)]
struct Service {
    client: Client,
    token: Option<String>,
}

impl Service {
    fn with_token(&self, request: RequestBuilder) -> RequestBuilder {
        self.token.iter().fold(request, RequestBuilder::bearer_auth)
    }

    /// Follows the level, and says whether it is worth beginning.
    async fn follow(self, url: String, may_post: watch::Sender<bool>) {
        loop {
            if let Ok(mut stream) = self.with_token(self.client.get(&url)).send().await {
                let mut text = String::new();
                // A heartbeat comes every 15 s.
                while let Ok(Ok(Some(bytes))) = timeout(Duration::from_secs(45), stream.chunk()).await {
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
    async fn post(&self, url: &str, body: Bytes, mut may_post: watch::Receiver<bool>) -> bool {
        let (mut skip, mut bad) = (0, 0);
        loop {
            let _ = timeout(Duration::from_secs(300), may_post.wait_for(|may| *may)).await;
            let url = format!("{url}{}skip={skip}", if url.contains('?') { '&' } else { '?' });
            // An upload takes as long as the store needs.
            let post = self.client.post(url).timeout(Duration::from_secs(600)).body(body.clone());
            let mut wait = 2;
            match self.with_token(post).send().await {
                Ok(response) => {
                    let (status, headers) = (response.status(), response.headers().clone());
                    let text = response.text().await.unwrap_or_default();
                    let answer: serde_json::Value = serde_json::from_str(&text).unwrap_or_default();
                    let count = |name: &str| answer[name].as_u64().unwrap_or(0);
                    skip = skip.max(count("resume_at"));
                    bad += count("rejected_count") + count("dead_lettered") + count("dropped");
                    println!("{status} {answer}");
                    if let 200 | 202 | 400..=404 | 413 | 415 | 422 = status.as_u16() {
                        return status.is_success() && bad == 0;
                    }
                    let header = headers.get(RETRY_AFTER).and_then(|header| header.to_str().ok()?.parse().ok());
                    wait = header.unwrap_or(wait);
                }
                // What was stored is stored again by its key, and is the same.
                Err(error) => println!("no answer: {error}"),
            }
            sleep(Duration::from_secs(wait)).await;
        }
    }
}

#[actix_web::main]
async fn main() -> Result<(), Box<dyn Error>> {
    let mut arguments = env::args().skip(1);
    let (Some(file), Some(url)) = (arguments.next(), arguments.next()) else { return own_service().await };
    let is_stored = run(&file, &url, env::var("MDS_TOKEN").ok()).await?;
    if is_stored { Ok(()) } else { Err("not every record was stored".into()) }
}

/// Posts a file, and returns whether every record was stored.
pub async fn run(file: &str, url: &str, token: Option<String>) -> Result<bool, Box<dyn Error>> {
    let service = Service { client: Client::new(), token };
    let body = Bytes::from(std::fs::read(file)?);
    let (follows, may_post) = watch::channel(true);
    let root = url.split("/v1/").next().unwrap_or(url);
    let stream = format!("{root}/v1/feedback/stream?coordinator=bars");
    let follows = rt::spawn(service.clone().follow(stream, follows));
    let is_stored = service.post(url, body, may_post).await;
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
