//! What comes in over HTTP, damaged: bodies of every form in pieces of any size, and the heads of requests.
//!
//! `MDS_TEST_FUZZ_SECONDS` and `MDS_TEST_FUZZ_SEED` are as for the readers of files.

use std::{
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    panic::AssertUnwindSafe,
    path::Path,
    pin::Pin,
    sync::Arc,
    time::{Duration, Instant},
};

use actix_http::{Payload, Request, error::PayloadError};
use actix_web::{
    App,
    body::MessageBody,
    dev::{Service as Calls, ServiceResponse},
    test as requests,
    web::Bytes,
};
use base64::{Engine, prelude::BASE64_URL_SAFE_NO_PAD};
use futures::{FutureExt, Stream, stream};
use market_data_store::{
    Bar, Batch, Coordinator, Fundamentals, MarketDataStore, News, OptionQuote, Quote, Record, Sink, SinkError, Trade,
    http::routes,
};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::IndexedRandom};
use serde_json::Value;

use super::{Service, bars};
use crate::{
    fuzz::{ARRAY, CSV, File, NDJSON, Watch, collect, damage, damaged, number, packed, texts},
    mds::{TOO_LONG, count},
    support::{PATIENCE, coordinator_settings, settings, within},
};

/// How long a test goes on, and the seed of its first case.
fn begin(name: &str) -> (Duration, u64) {
    let seed =
        number("MDS_TEST_FUZZ_SEED").map_or_else(|| rand::rng().random_range(0..1_u64 << 40), |seed| seed as u64);
    println!("{name}: MDS_TEST_FUZZ_SEED={seed}");
    (Duration::from_secs_f64(number("MDS_TEST_FUZZ_SECONDS").unwrap_or(1.0)), seed)
}

/// Keeps the records of all kinds that are written, in their order.
#[derive(Clone, Default)]
struct Kept(Arc<Mutex<Vec<String>>>);

impl<T: Record> Sink<T> for Kept {
    async fn write(&self, batch: &Batch<T>) -> Result<(), SinkError> {
        self.0.lock().extend(batch.iter().map(|record| serde_json::to_string(record).unwrap()));
        Ok(())
    }
}

/// A request for one kind: its files, and what a client may say of them.
struct Kind {
    name: &'static str,
    files: Vec<File>,
    queries: &'static [&'static str],
}

fn kinds() -> Vec<Kind> {
    let bars = texts(&[".csv", ".ndjson", ".jsonl", ".json", ".txt"], &[CSV, NDJSON, ARRAY].concat());
    let minutes = &[
        "symbol=ES&timeframe=1m",
        "symbol=ES&timeframe=1d&tz=America/New_York",
        "symbol=ES&timeframe=1m&as_written=true",
    ];
    let mut kinds = vec![Kind { name: "bars", files: bars, queries: minutes }];
    for name in ["trades", "quotes", "options", "fundamentals", "news"] {
        let mut files = Vec::new();
        let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/kinds").join(name);
        collect(&folder, &["csv", "json", "jsonl"], &mut files);
        kinds.push(Kind { name, files, queries: &["", "symbol=ES", "as_written=true&vendor=acme"] });
    }
    kinds
}

/// An answer, and the records that were written for it.
#[derive(Debug)]
struct Taken {
    status: u16,
    tally: Value,
    kept: Vec<String>,
}

impl Taken {
    fn count(&self, name: &str) -> u64 {
        count(&self.tally, name)
    }

    /// Looks whether the counts of an answer agree with each other and with what was written.
    fn check(&self, skip: u64) {
        assert!([200, 400, 413, 422].contains(&self.status), "{self:?}");
        let [submitted, rejected, resume_at] =
            ["submitted", "rejected_count", "resume_at"].map(|name| self.count(name));
        assert_eq!((submitted, self.count("stored")), (self.kept.len() as u64, submitted), "{self:?}");
        assert_eq!(submitted + rejected + self.count("skipped"), resume_at.saturating_sub(skip), "{self:?}");
        let named: Vec<u64> =
            self.tally["rejected"].as_array().unwrap().iter().map(|one| count(one, "record")).collect();
        assert_eq!(named.len() as u64, rejected.min(100), "{self:?}");
        assert!(named.is_sorted_by(|a, b| a < b) && named.iter().all(|at| (skip..resume_at).contains(at)), "{self:?}");
        let is_clean = rejected == 0 && self.tally.get("error").is_none();
        assert_eq!(self.status == 200, is_clean, "{self:?}");
    }
}

async fn post<S, B>(app: &S, kept: &Kept, path: &str, bytes: &[u8], sizes: &[usize]) -> Taken
where
    S: Calls<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let (mut pieces, mut rest) = (Vec::new(), bytes);
    for size in sizes.iter().cycle() {
        let (piece, behind) = rest.split_at((*size).min(rest.len()));
        pieces.push(Ok::<_, PayloadError>(Bytes::copy_from_slice(piece)));
        rest = behind;
        if rest.is_empty() {
            break;
        }
    }
    let payload: Pin<Box<dyn Stream<Item = _>>> = Box::pin(stream::iter(pieces));
    let request = requests::TestRequest::post().uri(path).to_request();
    let (request, _) = request.replace_payload(Payload::Stream { payload });
    let answer = requests::call_service(app, request).await;
    let status = answer.status().as_u16();
    let tally = requests::read_body_json(answer).await;
    Taken { status, tally, kept: std::mem::take(&mut *kept.0.lock()) }
}

/// Returns whether the body was read to its end.
async fn case<S, B>(app: &S, kept: &Kept, kinds: &[Kind], seed: u64) -> bool
where
    S: Calls<Request, Response = ServiceResponse<B>, Error = actix_web::Error>,
    B: MessageBody,
{
    let mut random = StdRng::seed_from_u64(seed);
    let kind = &kinds[if random.random() { 0 } else { random.random_range(1..kinds.len()) }];
    let text = damaged(&kind.files, &mut random);
    let is_packed = random.random_bool(0.3);
    let bytes = if is_packed { packed(text, &mut random) } else { text };
    let path = format!("/v1/records/{}?{}", kind.name, kind.queries.choose(&mut random).unwrap());
    let mut size = || {
        let most = 1 << random.random_range(0..12);
        random.random_range(1..=most)
    };
    let sizes: [usize; 8] = std::array::from_fn(|_| size());
    let whole = post(app, kept, &path, &bytes, &[usize::MAX]).await;
    let pieces = post(app, kept, &path, &bytes, &sizes).await;
    let said = || format!("{path}: {} in pieces of {sizes:?}:\n{whole:?}\nand\n{pieces:?}", bytes.escape_ascii());
    whole.check(0);
    pieces.check(0);
    let [error, other] = [&whole, &pieces].map(|taken| taken.tally.get("error").and_then(Value::as_str));
    match (error, other) {
        (None, None) => assert!(whole.tally == pieces.tally && whole.kept == pieces.kept, "{}", said()),
        _ => {
            // What came before what is refused may have gone out, as far as it had come.
            let [short, long] =
                if whole.kept.len() < pieces.kept.len() { [&whole, &pieces] } else { [&pieces, &whole] };
            assert!(long.kept.starts_with(&short.kept), "{}", said());
            let is_alike =
                error == other || is_packed || [error, other].into_iter().flatten().any(is_refused_for_a_row);
            assert!(is_alike, "{}", said());
        }
    }
    if error.is_some() {
        return false;
    }
    // The same body once more, from a place in it on.
    let skip = random.random_range(0..=whole.count("resume_at"));
    let rest = post(app, kept, &format!("{path}&skip={skip}"), &bytes, &sizes).await;
    rest.check(skip);
    assert!(whole.kept.ends_with(&rest.kept), "skip {skip}: {}\nand {rest:?}", said());
    assert_eq!(rest.tally["resume_at"], whole.tally["resume_at"], "skip {skip}: {}", said());
    true
}

/// Returns whether an error refuses a body for a row that costs only itself where rows before it went out.
fn is_refused_for_a_row(error: &str) -> bool {
    error.contains(": expected one row of ") || error.contains(": time: expected bars that are ")
}

/// Red when a body panics or is answered 500, its counts do not add up, a record is stored that the answer does not count,
/// what comes of it depends on the pieces it comes in, or `skip` passes over other records than were dealt with.
#[actix_web::test]
async fn a_damaged_body_is_answered_alike_in_pieces_of_any_size() {
    let (budget, first) = begin("bodies");
    let kept = Kept::default();
    let dir = tempfile::tempdir().unwrap();
    // In one partition, so that they are written in the order of the body.
    let settings = settings().dlq_path(dir.path()).coordinator(coordinator_settings(10_000, 1, 500));
    let store = MarketDataStore::builder(settings)
        .coordinator(Coordinator::<Bar>::new(kept.clone()))
        .coordinator(Coordinator::<Trade>::new(kept.clone()))
        .coordinator(Coordinator::<Quote>::new(kept.clone()))
        .coordinator(Coordinator::<OptionQuote>::new(kept.clone()))
        .coordinator(Coordinator::<Fundamentals>::new(kept.clone()))
        .coordinator(Coordinator::<News>::new(kept.clone()))
        .spawn()
        .unwrap();
    let app = requests::init_service(App::new().service(routes(&store))).await;
    let kinds = kinds();
    let (started, mut cases, mut read) = (Instant::now(), 0, 0);
    let watch = Watch::start("bodies");
    while cases == 0 || started.elapsed() < budget {
        let seed = first + cases;
        watch.case(seed);
        let is_read = AssertUnwindSafe(case(&app, &kept, &kinds, seed)).catch_unwind().await;
        read += u64::from(is_read.unwrap_or_else(|_| panic!("bodies: run again with MDS_TEST_FUZZ_SEED={seed}")));
        cases += 1;
    }
    watch.check_memory();
    println!("bodies: {cases} cases, {read} read to their end");
    assert!(cases < 100 || read > cases / 20, "{read} of {cases} were read to their end");
    drop(app);
    assert!(within(PATIENCE, store.shutdown(PATIENCE)).await.is_complete());
}

const TOKEN: &str = "write-0123456789";

/// Sends a head, and a body of which its head says the length; returns the status of the answer.
fn status(address: SocketAddr, head: &[u8], body: &[u8]) -> u16 {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(TOO_LONG)).unwrap();
    let _ = stream.write_all(&[head, b"Connection: close\r\n\r\n", body].concat());
    let (mut answer, mut buf) = (Vec::new(), [0; 1024]);
    // What is behind the first line may not be read: a stream has no end.
    while !answer.contains(&b'\n') {
        match stream.read(&mut buf) {
            Ok(read @ 1..) => answer.extend(&buf[..read]),
            end => panic!("no answer to {}: {end:?}", head.escape_ascii()),
        }
    }
    String::from_utf8_lossy(&answer[9..12]).parse().unwrap()
}

/// What a token is: the rule in one line, without our code.
fn is_known(authorization: &[u8]) -> bool {
    let text = String::from_utf8_lossy(authorization);
    let text = text.trim_matches([' ', '\t']);
    text.split_once(' ')
        .is_some_and(|(scheme, token)| scheme.eq_ignore_ascii_case("bearer") && token.trim_matches(' ') == TOKEN)
}

/// Damages a text in a place or two, so that it still stands on one line.
fn line(text: &str, random: &mut StdRng) -> Vec<u8> {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..random.random_range(1..=2) {
        damage(&mut bytes, &[], random);
    }
    bytes.retain(|byte| !b"\r\n\0".contains(byte));
    bytes
}

fn head_case(open: &Service, closed: &Service, cursor: &str, random: &mut StdRng) {
    let routes = [
        "records/bars",
        "records/trades",
        "coordinators",
        "coordinators/bars",
        "feedback",
        "feedback/stream",
        "dead-letters",
        "webhooks",
    ];
    let query = format!(
        "symbol=S1,S2&where=vendor=test&where=volume=7&from=1970-01-01T00:00:05Z&to=2024-01-02&limit=5&cursor={cursor}&coordinator=bars"
    );
    let (method, length) = if random.random() { ("POST", 5) } else { ("GET", 0) };
    let route = routes.choose(random).unwrap();
    let body = &b"{}\n{}"[..length];
    let get = |query: &[u8]| {
        let (begin, end) =
            (format!("{method} /v1/{route}?"), format!(" HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n"));
        status(open.address, &[begin.as_bytes(), query, end.as_bytes()].concat(), body)
    };
    let headers = |service: &Service, headers: &[u8]| {
        status(service.address, &[b"GET /v1/coordinators HTTP/1.1\r\n", headers, b"\r\n"].concat(), b"")
    };
    match random.random_range(0..5) {
        // A query, whole or some of its parameters.
        0 => {
            let parts: Vec<&str> = query.split('&').filter(|_| random.random_bool(0.3)).collect();
            let query = line(&parts.join("&"), random);
            let status = get(&query);
            assert!((200..500).contains(&status), "{method} {route}?{}: {status}", query.escape_ascii());
        }
        1 => {
            let json = String::from_utf8(BASE64_URL_SAFE_NO_PAD.decode(cursor).unwrap()).unwrap();
            let cursor = BASE64_URL_SAFE_NO_PAD.encode(line(&json, random));
            let head = format!("GET /v1/records/bars?limit=3&cursor={cursor} HTTP/1.1\r\nHost: localhost\r\n");
            let status = status(open.address, head.as_bytes(), b"");
            assert!([200, 400].contains(&status), "{cursor}: {status}");
        }
        2 => {
            let value = line(&format!("Bearer {TOKEN}"), random);
            let status = headers(closed, &[b"Host: mds.example\r\nAuthorization: ", &*value].concat());
            let expected = if is_known(&value) { &[200][..] } else { &[400, 401] };
            assert!(expected.contains(&status), "{}: {status}", value.escape_ascii());
        }
        3 => {
            let hosts = ["localhost:8080", "127.0.0.1:80", "[::1]:8080", "evil.example", "localhost.evil.example:80"];
            let value = line(hosts.choose(random).unwrap(), random);
            let status = headers(open, &[b"Host: ", &*value].concat());
            let text = String::from_utf8_lossy(&value).to_ascii_lowercase();
            let may_be_local = ["localhost", "127.", "[", ":"].iter().any(|begin| text.trim().starts_with(begin))
                && !text.contains("example");
            assert!([400, 403].contains(&status) || may_be_local && status == 200, "{text:?}: {status}");
        }
        _ => {
            let value = line("http://localhost:8080", random);
            let status = headers(open, &[b"Host: localhost:8080\r\nOrigin: ", &*value].concat());
            let value = value.trim_ascii();
            let own = b"http://localhost:8080";
            // A browser writes it in small letters.
            let expected = match (value == own, value.eq_ignore_ascii_case(own)) {
                (true, _) => &[200][..],
                (false, true) => &[200, 403],
                (false, false) => &[400, 403],
            };
            assert!(expected.contains(&status), "{}: {status}", value.escape_ascii());
        }
    }
}

/// Red when a head panics or is answered 500, or one that names another token, host or origin passes.
#[test]
fn a_damaged_head_is_refused_and_no_token_or_origin_passes_that_is_not_known() {
    let (budget, first) = begin("heads");
    let dirs = [tempfile::tempdir().unwrap(), tempfile::tempdir().unwrap()];
    let open = Service::start(dirs[0].path(), &[("MDS_KINDS", "bars")]);
    let bind = [("MDS_KINDS", "bars"), ("MDS_HTTP_TOKEN", TOKEN), ("MDS_HTTP_BIND", "0.0.0.0:0")];
    let mut closed = Service::start(dirs[1].path(), &bind);
    closed.address.set_ip([127, 0, 0, 1].into());
    assert_eq!(open.post("/v1/records/bars", &bars(0..50)).status, 200);
    let cursor = open.get("/v1/records/bars?limit=20").json()["cursor"].as_str().unwrap().to_owned();
    let (started, mut cases) = (Instant::now(), 0);
    let watch = Watch::start("heads");
    while cases == 0 || started.elapsed() < budget {
        let seed = first + cases;
        watch.case(seed);
        let tried = AssertUnwindSafe(|| head_case(&open, &closed, &cursor, &mut StdRng::seed_from_u64(seed)));
        if std::panic::catch_unwind(tried).is_err() {
            panic!("heads: run again with MDS_TEST_FUZZ_SEED={seed}; the log: {}{}", open.log(), closed.log());
        }
        cases += 1;
    }
    println!("heads: {cases} cases");
    for service in [&open, &closed] {
        assert_eq!(service.get("/livez").status, 200);
        assert!(!service.log().contains("panicked"), "{}", service.log());
    }
    assert_eq!(open.ids().len(), 50);
}
