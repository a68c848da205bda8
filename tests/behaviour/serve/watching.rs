//! What watches a service: the stream of its levels, its metrics, its page.

use std::{
    collections::BTreeSet,
    fs,
    io::{BufRead, BufReader, Read, Write},
    net::{SocketAddr, TcpStream},
    process::{Command, Stdio},
};

use actix_web::{App, HttpServer};
use market_data_store::{
    Bar, Coordinator, DeadLetter, DeadLetters, Feedback, Level, MarketDataStore, Timeframe, Timestamp,
    feedback::EventSeries, http::routes, sink::MemorySink,
};
use serde_json::Value;

use super::{Service, bars};
use crate::{
    mds::{TOO_LONG, mds},
    support::{PATIENCE, settings, size_of_test, within},
};

/// A client of the stream.
pub(super) struct Events(BufReader<TcpStream>);

impl Events {
    pub(super) fn open(address: SocketAddr, query: &str) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(TOO_LONG)).unwrap();
        write!(stream, "GET /v1/feedback/stream{query} HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
        let mut events = Self(BufReader::new(stream));
        let head: Vec<String> = std::iter::from_fn(|| events.line()).take_while(|line| !line.is_empty()).collect();
        assert!(head[0].contains("200 OK"), "{head:?}");
        // A connection that is kept would hold up the end of its service.
        for line in ["content-type: text/event-stream", "connection: close"] {
            assert!(head.iter().any(|found| found == line), "{head:?}");
        }
        events
    }

    /// Returns a line without its end; none at the end of the stream.
    fn line(&mut self) -> Option<String> {
        let mut line = String::new();
        let read = self.0.read_line(&mut line).unwrap();
        (read > 0).then(|| line.trim_end().to_owned())
    }

    /// Returns the next event; none at the end. Each is a chunk of the body by itself.
    pub(super) fn next(&mut self) -> Option<Value> {
        loop {
            let line = self.line()?;
            if let Some(id) = line.strip_prefix("id: ") {
                let data = self.line()?;
                let event: Value = serde_json::from_str(data.strip_prefix("data: ").unwrap()).unwrap();
                assert_eq!(event["id"], id);
                return Some(event);
            }
            if line == "0" {
                return None;
            }
        }
    }

    /// Reads events until one of a coordinator has this level.
    pub(super) fn until(&mut self, coordinator_id: &str, level: &str) -> Value {
        loop {
            let event = self.next().expect("the stream ends");
            if event["coordinator_id"] == coordinator_id && event["level"] == level {
                return event;
            }
        }
    }
}

fn ids(events: &[Value]) -> BTreeSet<String> {
    events.iter().map(|event| event["id"].as_str().unwrap().to_owned()).collect()
}

/// Red when a stream does not begin with the present of each coordinator, tells of another one than it was asked for, or
/// ends before it has told that its service ends.
#[test]
fn the_stream_tells_what_is_present_then_what_changes_and_ends_with_the_service() {
    let dir = tempfile::tempdir().unwrap();
    // Its one worker takes so few that the queue stays full.
    let own = |name| format!("MDS_BARS_COORDINATOR_{name}");
    let (capacity, workers, batch) = (own("CAPACITY"), own("WORKERS"), own("BATCH_SIZE"));
    let variables = [("MDS_KINDS", "bars,quotes"), (&capacity, "100"), (&workers, "1"), (&batch, "10")];
    let mut service = Service::start(dir.path(), &variables);
    let mut all = Events::open(service.address, "");
    let mut quotes = Events::open(service.address, "?coordinator=quotes");
    let began = [all.next().unwrap(), all.next().unwrap()];
    assert!(began.iter().all(|event| event["level"] == "ok" && event["seq"] == 1), "{began:?}");
    let present = service.get("/v1/feedback").json();
    assert_eq!(ids(present["events"].as_array().unwrap()), ids(&began));
    assert_eq!(quotes.next().unwrap()["coordinator_id"], "quotes");
    for (query, status, says) in [("?coordinator=nope", 404, "bars, quotes"), ("?coord=bars", 400, "coordinator")] {
        let answer = service.get(&format!("/v1/feedback/stream{query}"));
        assert_eq!(answer.status, status, "{query}");
        assert!(answer.json()["error"].as_str().unwrap().contains(says), "{query}: {}", answer.json());
    }

    // Nothing is stored while another holds the database.
    let database = service.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let answer = service.post("/v1/records/bars?ack=queued", &bars(0..99));
    assert_eq!(answer.status, 202, "{}", answer.json());
    let hard = all.until("bars", "hard");
    assert_eq!(hard["reason"], "queue_high");
    assert_eq!(Events::open(service.address, "?coordinator=bars").next().unwrap()["id"], hard["id"]);
    database.execute_batch("COMMIT").unwrap();
    all.until("bars", "ok");

    service.signal("-TERM");
    let last = [all.next().unwrap(), all.next().unwrap()];
    assert!(last.iter().all(|event| event["level"] == "hard" && event["reason"] == "draining"), "{last:?}");
    assert_eq!((all.next(), quotes.next().unwrap()["reason"].clone(), quotes.next()), (None, "draining".into(), None));
    assert_eq!(service.wait().code(), Some(0), "{}", service.log());
}

/// Red when who asks for the head of a stream is held on, or is kept as one who follows it.
#[test]
fn the_head_of_a_stream_is_all_that_head_gets() {
    let dir = tempfile::tempdir().unwrap();
    let mut service = Service::start(dir.path(), &[]);
    let mut stream = TcpStream::connect(service.address).unwrap();
    stream.set_read_timeout(Some(TOO_LONG)).unwrap();
    write!(stream, "HEAD /v1/feedback/stream HTTP/1.1\r\nHost: localhost\r\n\r\n").unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("the connection is closed behind the head");
    assert!(answer.starts_with("HTTP/1.1 200") && answer.contains("text/event-stream"), "{answer}");
    assert!(answer.ends_with("\r\n\r\n"), "{answer}");
    for path in ["/v1/feedback", "/v1/coordinators", "/v1/coordinators/bars", "/v1/webhooks"] {
        assert_eq!(service.get(&format!("{path}?coordinator=bars")).status, 400, "{path}");
    }
    service.signal("-TERM");
    assert_eq!(service.wait().code(), Some(0), "{}", service.log());
}

/// Red when a client that does not read holds up the bus, or has kept for it more than the newest of each coordinator.
#[actix::test]
async fn a_client_that_does_not_read_holds_up_nobody_and_is_told_the_newest_once_it_reads() {
    let total = size_of_test("MDS_TEST_STREAM_EVENTS", 40_000);
    let feedback = Feedback::private();
    let bars = Coordinator::new(MemorySink::<Bar>::new());
    let store = MarketDataStore::builder(settings()).coordinator(bars).feedback(feedback.clone());
    let store = store.start().await.unwrap();
    let served = store.clone();
    let server = HttpServer::new(move || App::new().service(routes(&served))).workers(1).disable_signals();
    let server = server.bind("127.0.0.1:0").unwrap();
    let (address, server) = (server.addrs()[0], server.run());
    let handle = server.handle();
    actix::spawn(server);

    let mut stuck = tokio::task::spawn_blocking(move || {
        let mut stuck = Events::open(address, "");
        stuck.next().unwrap();
        stuck
    })
    .await
    .unwrap();
    // Long names fill what the system keeps on the way.
    let mut far = EventSeries::new("x".repeat(250).as_str());
    for at in 0..total {
        feedback.publish(far.next(if at % 2 == 0 { Level::Hard } else { Level::Ok }));
        within(PATIENCE, feedback.idle()).await;
    }
    let last = far.next(Level::Soft);
    feedback.publish(last.clone());
    within(PATIENCE, feedback.idle()).await;
    let told = tokio::task::spawn_blocking(move || {
        let mut told = 0;
        while stuck.next().unwrap()["id"] != last.id.as_str() {
            told += 1;
        }
        told
    })
    .await
    .unwrap();
    assert!(told < total / 2, "{told} of {total} were kept for it");
    assert!(store.shutdown(PATIENCE).await.is_complete());
    handle.stop(true).await;
}

/// Red when what shows the store can be had without a token where there are some, or the page cannot.
#[test]
fn the_page_is_open_and_what_it_asks_for_needs_a_token() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_HTTP_READ_TOKEN", "read-0123456789a")]);
    for path in ["/v1/feedback", "/v1/feedback/stream", "/v1/webhooks", "/v1/coordinators", "/metrics"] {
        assert_eq!(service.get(path).status, 401, "{path}");
    }
    for path in ["/v1/feedback", "/v1/webhooks", "/metrics"] {
        let head = format!("GET {path} HTTP/1.1\r\nAuthorization: Bearer read-0123456789a\r\n");
        assert_eq!(service.send(&head, b"").status, 200, "{path}");
    }
    for (path, begins) in [("/", "<!doctype html>"), ("/dashboard.js", "//"), ("/dashboard.css", ":root")] {
        let answer = service.get(path);
        assert_eq!(answer.status, 200, "{path}");
        assert!(answer.body.starts_with(begins), "{path}");
        let policy = answer.headers["content-security-policy"].clone();
        assert!(policy.starts_with("default-src 'none'; script-src 'self';"), "{path}: {policy}");
        assert!(!policy.contains("unsafe"), "{path}: {policy}");
    }
}

/// Red when the page has what its policy keeps from working, or takes a text of others for markup.
#[test]
fn the_page_has_nothing_from_elsewhere_and_nothing_inline() {
    let read = |name: &str| fs::read_to_string(format!("{}/src/http/dashboard/{name}", env!("CARGO_MANIFEST_DIR")));
    let (page, script) = (read("index.html").unwrap(), read("dashboard.js").unwrap());
    let style = read("dashboard.css").unwrap();
    for (name, text) in [("index.html", &page), ("dashboard.js", &script), ("dashboard.css", &style)] {
        assert!(!text.contains("://"), "{name} leads elsewhere");
    }
    assert!(!page.contains("<style") && !page.contains(" style=") && !page.contains(" on"), "something is inline");
    assert_eq!((page.matches("<script").count(), page.matches("<script src=\"dashboard.js\"").count()), (1, 1));
    for markup in ["innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"]
    {
        assert!(!script.contains(markup), "{markup}");
    }
    // Each element that the script asks for is there.
    for id in script.split("$(\"").skip(1).filter_map(|rest| rest.split('"').next()) {
        assert!(page.contains(&format!("id=\"{id}\"")), "there is no element {id}");
    }
}

/// Red when the client of the examples gives up at a refusal, begins anew after one, or waits without end at hard.
#[test]
fn the_client_of_the_examples_goes_on_after_a_refusal() {
    let dir = tempfile::tempdir().unwrap();
    let soon =
        [("MDS_HTTP_SUBMIT_TIMEOUT", "0.2"), ("MDS_HTTP_ACK_TIMEOUT", "0.5"), ("MDS_CB_HALF_OPEN_AFTER_SEC", "1")];
    let variables = [[("MDS_KINDS", "bars"), ("MDS_COORDINATOR_CAPACITY", "100")].as_slice(), &soon].concat();
    let service = Service::start(dir.path(), &variables);
    let file = dir.path().join("bars.ndjson");
    fs::write(&file, bars(0..3_000)).unwrap();
    let database = service.database();
    database.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut client = Command::new("python3")
        .args(["-u", concat!(env!("CARGO_MANIFEST_DIR"), "/examples/post_bars.py")])
        .arg(&file)
        .arg(format!("http://{}/v1/records/bars", service.address))
        .stdout(Stdio::piped())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let mut answers = BufReader::new(client.stdout.take().unwrap()).lines().map(Result::unwrap);
    let refused = answers.next().unwrap();
    assert!(refused.starts_with("429 ") || refused.starts_with("503 "), "{refused}");
    database.execute_batch("COMMIT").unwrap();
    let last = answers.last().expect("it is answered once more");
    assert!(last.starts_with("200 ") && last.contains("\"resume_at\": 3000"), "{last}");
    assert!(client.wait().unwrap().success());
    assert_eq!(service.ids(), (0..3_000).collect::<Vec<i64>>());
}

/// Runs Prometheus' own tool.
fn promtool(arguments: &[&str], stdin: &str) {
    let root = env!("CARGO_MANIFEST_DIR");
    let mut child = Command::new(format!("{root}/target/promtool/promtool"))
        .args(arguments)
        .current_dir(format!("{root}/examples/prometheus"))
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("tests/setup.sh gets promtool");
    child.stdin.take().unwrap().write_all(stdin.as_bytes()).unwrap();
    let output = child.wait_with_output().unwrap();
    let said = [output.stdout, output.stderr].map(|said| String::from_utf8_lossy(&said).into_owned()).concat();
    assert!(output.status.success(), "promtool {arguments:?}: {said}");
    // What it only advises it says, and succeeds.
    assert!(!stdin.is_empty() || said.contains("SUCCESS"), "promtool {arguments:?}: {said}");
    assert!(stdin.is_empty() || said.trim().is_empty(), "promtool {arguments:?}: {said}");
}

/// Red when a metric has no description, a name that Prometheus advises against, or one that docs/METRICS.md does not
/// have; or when dead letters are not counted as they come and go.
#[test]
fn prometheus_reads_the_metrics_of_a_service() {
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_KINDS", "bars,news")]);
    let answer = service.post("/v1/records/bars", &bars(0..500));
    assert_eq!(answer.status, 200, "{}", answer.json());
    let _stream = Events::open(service.address, "");
    let metrics = || {
        let answer = service.get("/metrics");
        assert_eq!(answer.status, 200);
        assert_eq!(answer.headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
        answer.body
    };
    let value = |metric: &str| {
        let text = metrics();
        let found = text.lines().find_map(|line| line.strip_prefix(metric)?.strip_prefix(' ')?.parse::<f64>().ok());
        found.unwrap_or_else(|| panic!("no {metric} in {text}"))
    };
    assert_eq!(value("mds_dead_letters_pending"), 0.0);
    let letters = DeadLetters::open(&dir.path().join("dead_letters")).unwrap();
    let bar = Bar::new("ES", Timeframe::MINUTE, Timestamp::from_secs(0));
    letters.append_blocking("bars", "bars", &[1, 2].map(|at| DeadLetter::new(&bar, "refused", at))).unwrap();
    drop(letters);
    assert_eq!(value("mds_dead_letters_pending"), 2.0);
    let purged = mds(dir.path()).args(["dlq", "purge", "--all"]).output().unwrap();
    assert!(purged.status.success(), "{purged:?}");
    assert_eq!(value("mds_dead_letters_pending"), 0.0);

    assert_eq!(value(&format!("mds_build_info{{version=\"{}\"}}", env!("CARGO_PKG_VERSION"))), 1.0);
    assert_eq!(value("mds_coord_items_stored_total{coordinator_id=\"bars\"}"), 500.0);
    assert_eq!(value("mds_coord_items_rejected_total{coordinator_id=\"news\",reason=\"full\"}"), 0.0);
    assert_eq!(value("mds_http_requests_total{route=\"/v1/records/{kind}\",status=\"200\"}"), 1.0);
    assert!(
        value("mds_worker_write_latency_seconds_bucket{coordinator_id=\"bars\",worker_id=\"0\",le=\"+Inf\"}") >= 0.0
    );
    let text = metrics();
    promtool(&["check", "metrics"], &text);
    let page = fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/docs/METRICS.md")).unwrap();
    let described = text.lines().filter_map(|line| line.strip_prefix("# TYPE ")?.split(' ').next());
    let unknown: Vec<_> = described.filter(|name| !page.contains(&format!("`{name}`"))).collect();
    assert_eq!(unknown, [""; 0]);
}

/// Red when an alert does not fire when it should, fires when it should not, or asks for a metric that there is not; or
/// when a panel of the board does.
#[test]
fn the_alerts_and_the_board_ask_for_metrics_that_there_are() {
    promtool(&["check", "rules", "mds.rules.yml"], "");
    promtool(&["test", "rules", "mds.rules.test.yml"], "");
    let root = env!("CARGO_MANIFEST_DIR");
    let page = fs::read_to_string(format!("{root}/docs/METRICS.md")).unwrap();
    let mut seen = BTreeSet::new();
    for file in ["prometheus/mds.rules.yml", "prometheus/mds.rules.test.yml", "grafana/mds.json"] {
        let text = fs::read_to_string(format!("{root}/examples/{file}")).unwrap();
        if file.ends_with(".json") {
            serde_json::from_str::<Value>(&text).unwrap();
        }
        let words = text.split(|letter: char| !letter.is_ascii_lowercase() && letter != '_');
        for word in words.filter(|word| word.starts_with("mds_")) {
            let name = word.strip_suffix("_bucket").unwrap_or(word);
            assert!(page.contains(&format!("`{name}`")), "{file} asks for {word}");
            seen.insert(name.to_owned());
        }
    }
    assert!(seen.len() > 15, "{seen:?}");
}
