//! What a record costs on its way in over HTTP, beside a bare parse of the same lines with serde_json.
//!
//! One client posts bars as NDJSON, several bodies one after the other, to the routes in a server of one worker. The sink
//! keeps nothing, or is SQLite. What counts is the processor time of the whole process without that of the client's
//! thread: so it is the rate of one core. The contenders take turns.
//!
//! `cargo bench --bench http`; `MDS_BENCH_ROWS` (default 500000) and `MDS_BENCH_ROUNDS` (default 5) set the size.

use std::{
    fs,
    hint::black_box,
    io::{Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpServer, rt::System};
use futures::executor::block_on;
use market_data_store::{Bar, Batch, Coordinator, MarketDataStore, Settings, Sink, SinkError, http};

use self::table::{Goal, Table, is_measurement, number};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

/// Records of one body.
const BODY: usize = 50_000;
/// Linux tells times on the processor in hundredths of a second.
const TICKS: f64 = 100.0;

/// Keeps nothing.
struct Nowhere;

impl Sink<Bar> for Nowhere {
    async fn write(&self, _: &Batch<Bar>) -> Result<(), SinkError> {
        Ok(())
    }
}

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let (rows, rounds) = (number("MDS_BENCH_ROWS", 500_000), number("MDS_BENCH_ROUNDS", 5));
    let bodies: Vec<Vec<u8>> = (0..rows.div_ceil(BODY)).map(body).collect();
    let rows = bodies.len() * BODY;
    let mut table = Table::new("http");
    table.size("rows", rows).size("rows a body", BODY).size("rounds", rounds);
    let dir = tempfile::tempdir_in(env!("CARGO_TARGET_TMPDIR")).unwrap();
    let url = format!("sqlite://{}", dir.path().join("bars.db").display());
    let settings = || Settings::default().database_url(&*url).dlq_path(dir.path().join("dlq"));
    for ack in ["queued", "stored"] {
        let (mut bare, mut ours, mut stored) = (Vec::new(), Vec::new(), Vec::new());
        for _ in 0..rounds {
            bare.push(rows as f64 / parse(&bodies));
            let null =
                MarketDataStore::builder(settings()).coordinator(Coordinator::<Bar>::new(Nowhere)).spawn().unwrap();
            ours.push(post(null, &bodies, ack).map(|seconds| rows as f64 / seconds));
            let sqlite = MarketDataStore::builder(settings()).kind::<Bar>().spawn().unwrap();
            stored.push(post(sqlite, &bodies, ack).map(|seconds| rows as f64 / seconds));
        }
        let of = |runs: &[[f64; 2]], which: usize| runs.iter().map(|run| run[which]).collect::<Vec<_>>();
        table
            .line(format!("NDJSON, null sink, one core, ack={ack}"), "records/s", &of(&ours, 1))
            .beside("bare parse", &bare)
            .goal(Goal::RatioAtLeast(0.6));
        table.line(format!("NDJSON, null sink, by the clock, ack={ack}"), "records/s", &of(&ours, 0));
        table.line(format!("NDJSON, SQLite, by the clock, ack={ack}"), "records/s", &of(&stored, 0));
    }
    table.finish();
}

fn body(number: usize) -> Vec<u8> {
    let line = |at: usize| {
        let n = number * BODY + at;
        let ts = market_data_store::Timestamp::from_micros(1_700_000_000_000_000 + n as i64 * 60_000_000);
        format!(
            r#"{{"vendor":"acme","symbol":"SYM{}","timeframe":"1m","adjustment":"raw","ts":"{ts}","open":{}.25,"high":{}.5,"low":{}.0,"close":{}.25,"volume":{n}.0}}"#,
            n % 40,
            100 + n % 9,
            101 + n % 9,
            99 + n % 9,
            100 + n % 9
        ) + "\n"
    };
    (0..BODY).map(line).collect::<String>().into_bytes()
}

/// Returns the seconds that this thread has the processor.
fn parse(bodies: &[Vec<u8>]) -> f64 {
    // Its first number is the time on the processor in nanoseconds.
    let nanos = || {
        let stat = fs::read_to_string("/proc/thread-self/schedstat").unwrap();
        stat.split(' ').next().unwrap().parse::<u64>().unwrap()
    };
    let began = nanos();
    for body in bodies {
        for line in body.split(|byte| *byte == b'\n').filter(|line| !line.is_empty()) {
            black_box(serde_json::from_slice::<Bar>(line).unwrap());
        }
    }
    (nanos() - began) as f64 / 1e9
}

/// Posts them all, and returns the seconds by the clock and those of the processor.
fn post(store: MarketDataStore, bodies: &[Vec<u8>], ack: &str) -> [f64; 2] {
    let (started, address) = std::sync::mpsc::channel();
    let served = store.clone();
    let server = thread::spawn(move || {
        System::new().block_on(async move {
            let app = move || App::new().service(http::routes(&served));
            let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0)).unwrap();
            let address = server.addrs()[0];
            let server = server.run();
            started.send((address, server.handle())).unwrap();
            server.await.unwrap();
        });
    });
    let (address, handle) = address.recv().unwrap();
    let (began, process) = (Instant::now(), ticks("/proc/self/stat"));
    let client = thread::scope(|scope| {
        let client = scope.spawn(|| {
            for body in bodies {
                send(address, body, ack);
            }
            ticks("/proc/thread-self/stat")
        });
        client.join().unwrap()
    });
    let report = block_on(store.finish(Duration::from_secs(60)));
    assert_eq!(report.stored(), (bodies.len() * BODY) as u64);
    let seconds = began.elapsed().as_secs_f64();
    let processor = (ticks("/proc/self/stat") - process - client) as f64 / TICKS;
    block_on(handle.stop(true));
    server.join().unwrap();
    [seconds, processor]
}

fn send(address: SocketAddr, body: &[u8], ack: &str) {
    let mut stream = TcpStream::connect(address).unwrap();
    let length = body.len();
    let head = format!(
        "POST /v1/records/bars?ack={ack} HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/x-ndjson\r\n\
         Content-Length: {length}\r\nConnection: close\r\n\r\n"
    );
    stream.write_all(head.as_bytes()).unwrap();
    stream.write_all(body).unwrap();
    let mut answer = String::new();
    stream.read_to_string(&mut answer).unwrap();
    assert!(answer.starts_with("HTTP/1.1 20"), "{answer}");
}

/// Returns the time that a process or a thread has had on the processor.
fn ticks(stat: &str) -> u64 {
    let stat = fs::read_to_string(stat).unwrap();
    let (_, rest) = stat.rsplit_once(')').unwrap();
    // The first one behind the name is the third of proc(5).
    rest.split_whitespace().skip(11).take(2).map(|ticks| ticks.parse::<u64>().unwrap()).sum()
}
