//! A producer that could send four times what a store in another process writes, with a rate limiter that follows the
//! store's webhooks, and without one: how full the queue is, and what that costs in throughput.
//!
//! ```sh
//! cargo bench --all-features --bench remote_rate_control -- docs/rate-control.svg
//! ```
//!
//! Three processes: the store, which takes bars over HTTP and writes them slowly; the producer, which receives the
//! level; and this one, which receives it too, starts the others, and draws. Both runs take `MDS_BENCH_SECONDS` (60)
//! each. The peer is the same producer without the limiter: all that holds it back is that the store makes it wait, so
//! the queue is full, and the store writes as fast as it can.

use std::{
    env,
    error::Error,
    io::{BufRead, BufReader, Write},
    path::Path,
    process::{Child, ChildStdin, Command, Stdio},
    thread,
    time::{Duration, Instant},
};

use actix_web::{App, HttpResponse, HttpServer, dev::ServerHandle, rt, web};
use market_data_store::{
    Bar, Batch, Budget, Coordinator, Feedback, MarketDataStore, RateCoordinator, Receiver, Settings, Sink, SinkError,
    Timeframe, Timestamp, WebhookSecret, WriteHandle,
};
use plotters::prelude::*;
use serde::{Deserialize, Serialize};

use self::table::{Goal, Table, is_measurement, number};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

type Result<T> = std::result::Result<T, Box<dyn Error>>;

const SECRET: &str = "whsec_bm90IGEgc2VjcmV0LCBhbiBleGFtcGxlIQ==";
const CAPACITY: u64 = 10_000;
const HIGH: u64 = 8_000;
const LOW: u64 = 5_000;
/// The store's four workers write 500 bars in so long each: 20,000 a second.
const WRITE: Duration = Duration::from_millis(100);
const AT_ONCE: u32 = 500;
/// What the producer can do: as many requests at once, and so many bars a second in all.
const CONNECTIONS: u32 = 4;
const SOURCE_RATE: f64 = 80_000.0;
const SAMPLE: Duration = Duration::from_millis(100);

/// The store at one moment.
#[derive(Clone, Copy, Serialize, Deserialize)]
struct Sample {
    seconds: f64,
    queued: u64,
    submitted: u64,
    stored: u64,
}

#[actix_web::main]
async fn main() -> Result<()> {
    let args: Vec<String> = env::args().skip(1).filter(|arg| arg != "--bench").collect();
    match args.first().map(String::as_str) {
        Some("store") => store().await,
        Some("producer") => producer(args.get(1).is_some_and(|arg| arg == "limited")).await,
        picture => compare(picture.map(Path::new)).await,
    }
}

/// Runs both, prints the ratios, and draws.
async fn compare(picture: Option<&Path>) -> Result<()> {
    let seconds = number("MDS_BENCH_SECONDS", if is_measurement() { 60 } else { 1 }) as f64;
    let free = run(seconds, false).await?;
    let limited = run(seconds, true).await?;
    let mut table = Table::new("remote_rate_control");
    table.size("seconds", seconds as usize).size("capacity", CAPACITY as usize).size("high watermark", HIGH as usize);
    let mut line = |what: &str, unit: &str, of: fn(&Run) -> f64, goal: Option<Goal>| {
        let line = table.line(what, unit, &[of(&limited)]);
        line.beside("no limiter", &[of(&free)]);
        goal.map(|goal| line.goal(goal));
    };
    line(
        "limiter by webhooks, below the high watermark",
        "%",
        |run| 100.0 * run.below_high(),
        Some(Goal::AtLeast(95.0)),
    );
    line("limiter by webhooks, throughput", "records/s", Run::rate, Some(Goal::RatioAtLeast(0.95)));
    line("limiter by webhooks, records in the queue", "records", |run| run.median() as f64, None);
    line("limiter by webhooks, level changes", "changes", |run| run.changes as f64, None);
    table.finish();
    if let Some(picture) = picture {
        draw(picture, &free, &limited)?;
        println!("drawn: {}", picture.display());
    }
    Ok(())
}

struct Run {
    samples: Vec<Sample>,
    /// Level changes that this process received.
    changes: u64,
}

impl Run {
    fn below_high(&self) -> f64 {
        let below = self.samples.iter().filter(|sample| sample.queued < HIGH).count();
        below as f64 / self.samples.len() as f64
    }

    fn median(&self) -> u64 {
        let mut queued: Vec<_> = self.samples.iter().map(|sample| sample.queued).collect();
        queued.sort_unstable();
        queued[queued.len() / 2]
    }

    /// Records a second that were stored, from the first to the last look.
    fn rate(&self) -> f64 {
        let (first, last) = (self.samples[0], self.samples[self.samples.len() - 1]);
        (last.stored - first.stored) as f64 / (last.seconds - first.seconds)
    }

    /// Records a second that were accepted, at each look over the second before it.
    fn accepted(&self) -> Vec<(f64, f64)> {
        const LOOKS: usize = 10;
        let rate = |pair: &[Sample]| {
            let (before, now) = (pair[0], pair[LOOKS]);
            (now.seconds, (now.submitted - before.submitted) as f64 / (now.seconds - before.seconds))
        };
        self.samples.windows(LOOKS + 1).map(rate).collect()
    }
}

async fn run(seconds: f64, limited: bool) -> Result<Run> {
    let feedback = Feedback::private();
    let mut level = feedback.watch("store/bars");
    let receiver = Receiver::signed(feedback, [SECRET.parse::<WebhookSecret>()?]);
    let (url, server) = serve(receiver.clone())?;
    // The producer says where it listens, the store where to send bars to.
    let mut producer = Process::start(&["producer", if limited { "limited" } else { "free" }], &[])?;
    let hooks = format!("{},{url}", producer.line()?);
    let environment = [
        ("MDS_SOURCE", "store"),
        ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
        ("MDS_FB_HTTP_ENDPOINT", &*hooks),
        ("MDS_FB_HTTP_SECRET", SECRET),
    ];
    let mut store = Process::start(&["store"], &environment)?;
    let url = store.line()?;
    level.wait_for(|event| event.epoch > 0).await?;
    producer.tell(&url)?;

    rt::time::sleep(Duration::from_secs_f64(seconds)).await;
    // The store looks no more; then the producer ends, and the store when no one asks any more.
    store.tell("enough")?;
    let samples = serde_json::from_str(&store.line()?)?;
    producer.end()?;
    store.end()?;
    server.stop(true).await;
    // Not `started`, and not `draining` at the end.
    let changes = receiver.snapshot().accepted.saturating_sub(2);
    Ok(Run { samples, changes })
}

/// This program once more.
struct Process {
    child: Child,
    stdin: Option<ChildStdin>,
    lines: std::io::Lines<BufReader<std::process::ChildStdout>>,
}

impl Process {
    fn start(args: &[&str], environment: &[(&str, &str)]) -> Result<Self> {
        let mut command = Command::new(env::current_exe()?);
        command.args(args).envs(environment.iter().copied()).stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn()?;
        let lines = BufReader::new(child.stdout.take().ok_or("no standard output")?).lines();
        Ok(Self { stdin: child.stdin.take(), child, lines })
    }

    fn line(&mut self) -> Result<String> {
        Ok(self.lines.next().ok_or("a process ended early")??)
    }

    fn tell(&mut self, line: &str) -> Result<()> {
        let stdin = self.stdin.as_mut().ok_or("no standard input")?;
        writeln!(stdin, "{line}")?;
        Ok(stdin.flush()?)
    }

    fn end(mut self) -> Result<()> {
        drop(self.stdin.take());
        let status = self.child.wait()?;
        if status.success() { Ok(()) } else { Err(format!("a process ended with {status}").into()) }
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // Only one of a run that failed is still there.
        let _ = self.child.kill();
    }
}

/// The lines of standard input, without blocking the thread that waits for them.
fn input() -> tokio::sync::mpsc::UnboundedReceiver<String> {
    let (send, lines) = tokio::sync::mpsc::unbounded_channel();
    thread::spawn(move || {
        for line in std::io::stdin().lines().map_while(std::result::Result::ok) {
            if send.send(line).is_err() {
                return;
            }
        }
    });
    lines
}

fn serve(receiver: Receiver) -> Result<(String, ServerHandle)> {
    let app = move || App::new().service(receiver.at("/feedback"));
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    let url = format!("http://{}/feedback", server.addrs()[0]);
    let server = server.run();
    let handle = server.handle();
    rt::spawn(server);
    Ok((url, handle))
}

/// A database that takes its time and keeps nothing.
struct Slow;

impl Sink<Bar> for Slow {
    async fn write(&self, _: &Batch<Bar>) -> std::result::Result<(), SinkError> {
        rt::time::sleep(WRITE).await;
        Ok(())
    }
}

async fn store() -> Result<()> {
    let store = MarketDataStore::builder(Settings::from_env()?).coordinator(Coordinator::new(Slow)).start().await?;
    let handle = store.coordinator::<Bar>()?;
    let bars = web::Data::new(handle.clone());
    let app = move || {
        let limit = web::JsonConfig::default().limit(1 << 24);
        App::new().app_data(limit).app_data(bars.clone()).route("/bars", web::post().to(post_bars))
    };
    let server = HttpServer::new(app).workers(1).disable_signals().bind(("127.0.0.1", 0))?;
    let mut input = input();
    println!("http://{}/bars", server.addrs()[0]);
    let server = server.run();
    let stop = server.handle();
    rt::spawn(server);

    let (begin, mut samples) = (Instant::now(), Vec::new());
    let mut clock = rt::time::interval(SAMPLE);
    loop {
        tokio::select! {
            _ = clock.tick() => {
                let health = handle.health().await;
                let counters = &health;
                let seconds = begin.elapsed().as_secs_f64();
                let queued = health.queue_size as u64;
                samples.push(Sample { seconds, queued, submitted: counters.submitted, stored: counters.stored });
            }
            _ = input.recv() => break,
        }
    }
    println!("{}", serde_json::to_string(&samples)?);
    while input.recv().await.is_some() {}
    stop.stop(false).await;
    store.shutdown(Duration::from_secs(10)).await;
    Ok(())
}

async fn post_bars(handle: web::Data<WriteHandle<Bar>>, bars: web::Json<Vec<Bar>>) -> HttpResponse {
    match handle.submit_many(bars.into_inner()).await {
        Ok(_) => HttpResponse::Accepted().finish(),
        Err(_) => HttpResponse::ServiceUnavailable().finish(),
    }
}

async fn producer(limited: bool) -> Result<()> {
    let feedback = Feedback::private();
    // What the source gives is a limit too, and no one follows anything there.
    let source = Budget::PerSecond(SOURCE_RATE);
    let source = RateCoordinator::follow(&Feedback::private(), ["no one"]).budget(source).start();
    let limiter = RateCoordinator::follow(&feedback, ["store/bars"]).budget(Budget::FollowDrainRate).start();
    let (url, _server) = serve(Receiver::signed(feedback.clone(), [SECRET.parse::<WebhookSecret>()?]))?;
    println!("{url}");
    let mut input = input();
    let url = input.recv().await.ok_or("no one said where the store is")?;
    if limited {
        // What the store said at its start is on its way.
        feedback.watch("store/bars").wait_for(|event| event.epoch > 0).await?;
    }
    for connection in 0..CONNECTIONS {
        let (url, limiter, source) = (url.clone(), limiter.clone(), source.clone());
        rt::spawn(async move {
            let client = awc::Client::builder().disable_timeout().finish();
            for chunk in 0.. {
                source.acquire(AT_ONCE).await;
                if limited {
                    limiter.acquire(AT_ONCE).await;
                }
                let bars: Vec<_> = (0..AT_ONCE).map(|bar| minute(connection, chunk * AT_ONCE + bar)).collect();
                // At the end the store is gone.
                let Ok(answer) = client.post(&url).send_json(&bars).await else { return };
                if !answer.status().is_success() {
                    return;
                }
            }
        });
    }
    while input.recv().await.is_some() {}
    Ok(())
}

fn minute(series: u32, minute: u32) -> Bar {
    let ts = Timestamp::from_secs(i64::from(minute) * 60);
    // Many symbols, so that each worker has about as many.
    Bar::new(format!("S{}", series * 64 + minute % 64), Timeframe::MINUTE, ts).ohlc(1.0, 2.0, 0.5, 1.5).volume(7.0)
}

/// Two charts: how full the queue is, and how fast records come in.
fn draw(picture: &Path, free: &Run, limited: &Run) -> Result<()> {
    const WITHOUT: RGBColor = RGBColor(0xc4, 0x4e, 0x52);
    const WITH: RGBColor = RGBColor(0x2a, 0x6f, 0xbb);
    let area = SVGBackend::new(picture, (900, 640)).into_drawing_area();
    area.fill(&WHITE)?;
    let (upper, lower) = area.split_vertically(340);
    let end = free.samples.iter().chain(&limited.samples).map(|sample| sample.seconds).fold(1.0, f64::max);

    let mut queue = ChartBuilder::on(&upper)
        .caption("records in the queue of the store", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..CAPACITY as f64 * 1.05)?;
    let whole = |value: &f64| format!("{value:.0}");
    queue
        .configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .draw()?;
    for (mark, name) in [(HIGH, "high watermark"), (LOW, "low watermark")] {
        queue.draw_series([PathElement::new([(0.0, mark as f64), (end, mark as f64)], BLACK.mix(0.5))])?;
        queue.draw_series([Text::new(name, (end * 0.01, mark as f64 + 350.0), ("sans-serif", 13))])?;
    }
    let size = |run: &Run| run.samples.iter().map(|at| (at.seconds, at.queued as f64)).collect::<Vec<_>>();
    for (run, name, colour) in [(free, "no limiter", WITHOUT), (limited, "limiter by webhooks", WITH)] {
        queue
            .draw_series(LineSeries::new(size(run), colour.stroke_width(2)))?
            .label(name)
            .legend(move |(x, y)| PathElement::new([(x, y), (x + 18, y)], colour.stroke_width(2)));
    }
    queue
        .configure_series_labels()
        .position(SeriesLabelPosition::LowerRight)
        .background_style(WHITE.mix(0.9))
        .border_style(BLACK.mix(0.3))
        .draw()?;

    let accepted = [free.accepted(), limited.accepted()];
    let top = accepted.iter().flatten().map(|(_, rate)| *rate).fold(1.0, f64::max) * 1.1;
    let mut rate = ChartBuilder::on(&lower)
        .caption("records a second that come in, over a second each", ("sans-serif", 18))
        .margin(10)
        .x_label_area_size(30)
        .y_label_area_size(70)
        .build_cartesian_2d(0.0..end, 0.0..top)?;
    rate.configure_mesh()
        .disable_x_mesh()
        .light_line_style(TRANSPARENT)
        .x_desc("seconds")
        .x_label_formatter(&whole)
        .y_label_formatter(&whole)
        .draw()?;
    for (points, colour) in accepted.into_iter().zip([WITHOUT, WITH]) {
        rate.draw_series(LineSeries::new(points, colour.stroke_width(2)))?;
    }
    Ok(area.present()?)
}
