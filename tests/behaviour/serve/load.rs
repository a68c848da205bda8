//! More than the store can take, and clients that hold connections without need: what it costs, and whether it is told.

use std::{
    fs,
    io::{ErrorKind, Read, Write},
    net::{SocketAddr, TcpStream},
    thread,
    time::{Duration, Instant},
};

use super::{Service, bar, bars};
use crate::{
    mds::{TOO_LONG, count},
    support::size_of_test,
};

fn median(mut values: Vec<f64>) -> f64 {
    values.sort_by(f64::total_cmp);
    values[values.len() / 2]
}

/// The memory that a process has, in MiB.
pub(super) fn resident(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find(|line| line.starts_with("VmRSS:")).unwrap();
    line.split_whitespace().nth(1).unwrap().parse::<u64>().unwrap() / 1024
}

#[cfg(all(unix, feature = "testing", feature = "postgres"))]
mod overload {
    use std::sync::atomic::{AtomicBool, Ordering};

    use parking_lot::Mutex;

    use super::*;
    use crate::postgres::server::Server;

    /// What the store takes: a batch of so many, so often.
    const BATCH: u64 = 200;
    const BATCHES_A_SECOND: u64 = 10;
    const DRAIN: u64 = BATCH * BATCHES_A_SECOND;
    const CLIENTS: u64 = 5;
    const BODY: u64 = 1_000;

    /// The rate of a store is that of the last seconds.
    const MEMORY: Duration = Duration::from_secs(5);

    /// A wait that a client was told, and when.
    struct Told {
        at: Instant,
        wait: Duration,
    }

    /// What one client saw.
    #[derive(Default)]
    struct Seen {
        sent: u64,
        other: Vec<u16>,
    }

    /// Sends bodies at the rate that five of them are five times the drain rate, and waits when it is told to.
    fn client(service: &Service, client: u64, told: &Mutex<Vec<Told>>, ended: &AtomicBool) -> Seen {
        let mut seen = Seen::default();
        let (began, pause) = (Instant::now(), Duration::from_secs_f64(BODY as f64 / DRAIN as f64));
        let mut due = began;
        while !ended.load(Ordering::Relaxed) {
            let first = 10_000_000 * (client + 1) + seen.sent;
            let body = bars(first..first + BODY);
            let mut skip = 0;
            loop {
                let answer = service.post(&format!("/v1/records/bars?ack=queued&skip={skip}"), &body);
                match answer.status {
                    202 => break,
                    429 => {}
                    status => seen.other.push(status),
                }
                skip = count(&answer.json(), "resume_at");
                let wait = Duration::from_secs(answer.headers["retry-after"].parse().unwrap());
                told.lock().push(Told { at: Instant::now(), wait });
                thread::sleep(wait);
                due = Instant::now();
            }
            seen.sent += BODY;
            due += pause;
            thread::sleep(due.saturating_duration_since(Instant::now()));
        }
        seen
    }

    /// Red when memory grows with what is sent and not stored, a refusal is another one than 429 or says a wrong time, or
    /// a record that was taken is not stored.
    #[test]
    fn five_times_what_the_store_takes_is_refused_with_the_time_to_come_again() {
        let seconds = size_of_test("MDS_TEST_SERVE_LOAD_SECONDS", 8) as u64;
        // From full to the low watermark it takes a sixth of the time.
        let capacity = (DRAIN * seconds / 3).to_string();
        let (server, dir) = (Server::shared(), tempfile::tempdir().unwrap());
        let database = server.database();
        let service = Service::start(
            dir.path(),
            &[
                ("MDS_DATABASE_URL", &database.url()),
                ("MDS_COORDINATOR_CAPACITY", &capacity),
                ("MDS_COORDINATOR_WORKERS", "1"),
                ("MDS_COORDINATOR_BATCH_SIZE", &BATCH.to_string()),
                // With `block` each client is given some of the places that come free, and waits instead.
                ("MDS_COORDINATOR_OVERFLOW_STRATEGY", "error"),
            ],
        );
        assert_eq!(service.post("/v1/records/bars", bar(0).as_bytes()).status, 200);
        database.run(&format!(
            "CREATE FUNCTION slow() RETURNS trigger LANGUAGE plpgsql AS
                 $$ BEGIN PERFORM pg_sleep({}); RETURN NULL; END $$;
             CREATE TRIGGER slow BEFORE INSERT ON bars FOR EACH STATEMENT EXECUTE FUNCTION slow()",
            1.0 / BATCHES_A_SECOND as f64
        ));
        let ended = AtomicBool::new(false);
        // When the queue was at its low watermark or below, how much was stored when, and the memory that the service took.
        let (mut low, mut progress, mut memory) = (Vec::new(), Vec::new(), Vec::new());
        let told = Mutex::<Vec<Told>>::default();
        let seen: Vec<Seen> = thread::scope(|scope| {
            let (service, told, ended) = (&service, &told, &ended);
            let clients: Vec<_> =
                (0..CLIENTS).map(|one| scope.spawn(move || client(service, one, told, ended))).collect();
            let began = Instant::now();
            // However slow the machine is: one that was refused has to see how long the queue took.
            let is_known = |low: &[Instant]| told.lock().first().is_some_and(|told| low.last() > Some(&told.at));
            while began.elapsed() < Duration::from_secs(seconds) || !is_known(&low) {
                assert!(began.elapsed() < Duration::from_secs(seconds) + TOO_LONG, "no client was refused");
                let health = service.get("/v1/coordinators/bars").json();
                if count(&health, "queue_size") <= count(&health, "low_watermark") {
                    low.push(Instant::now());
                }
                progress.push((Instant::now(), count(&health, "stored")));
                memory.push(resident(service.child.id()));
                // It looks often enough to tell tenths of a second.
                thread::sleep(Duration::from_millis(50));
            }
            ended.store(true, Ordering::Relaxed);
            // What still waits goes in at once.
            database.run("DROP TRIGGER slow ON bars");
            clients.into_iter().map(|client| client.join().unwrap()).collect()
        });
        let other: Vec<u16> = seen.iter().flat_map(|seen| seen.other.clone()).collect();
        assert!(other.is_empty(), "{other:?}");
        let sent: u64 = seen.iter().map(|seen| seen.sent).sum();
        service.until("bars", |health| count(health, "queue_size") + count(health, "in_flight") == 0);
        let stored =
            database.admin().query("SELECT (extract(epoch FROM ts))::bigint FROM bars ORDER BY ts", &[]).unwrap();
        let stored: Vec<u64> = stored.iter().map(|row| row.get::<_, i64>(0) as u64).collect();
        let expected =
            seen.iter().zip(1..).flat_map(|(seen, client)| 10_000_000 * client..10_000_000 * client + seen.sent);
        assert!(stored.into_iter().eq(std::iter::once(0).chain(expected)), "what was taken is not what is stored");
        // Of each wait that was told, how far it was from the time until the queue was low, and how far a wait by the rate
        // of the seconds before it would have been: a store on a machine with other work keeps no rate.
        let told = told.into_inner();
        let rate = |from: Instant, to: Instant| {
            let stored_at = |at: Instant| progress.iter().find(|(then, _)| *then >= at).or(progress.last());
            let ((from, before), (to, after)) = (stored_at(from)?, stored_at(to)?);
            Some((after - before) as f64 / to.duration_since(*from).as_secs_f64()).filter(|rate| *rate > 0.0)
        };
        let (errors, changes): (Vec<f64>, Vec<f64>) = told
            .iter()
            .filter_map(|told| {
                let low = low.iter().find(|low| **low > told.at)?;
                let needed = low.duration_since(told.at).as_secs_f64();
                let (before, after) = (rate(told.at.checked_sub(MEMORY)?, told.at), rate(told.at, *low));
                let change = before.zip(after).map_or(0.0, |(before, after)| after / before - 1.0);
                Some(((told.wait.as_secs_f64() - needed).abs() / needed.max(1.0), change.abs()))
            })
            .unzip();
        let (first, most) = (memory[memory.len() / 4], memory.iter().copied().max().unwrap());
        let (known, error, change) = (errors.len(), median(errors), median(changes));
        println!(
            "{seconds} s: {sent} records taken of {CLIENTS} clients, {} refusals with 429, none with another; the time that \
             {known} of them told was {:.0} % off (median), while the rate of the store changed by {:.0} %; memory {first} MiB \
             after a quarter, {most} MiB at most",
            told.len(),
            100.0 * error,
            100.0 * change
        );
        assert!(most < first + 64, "{first} MiB grew to {most} MiB");
        // Whole seconds say little of short times.
        assert!(seconds < 60 || error <= 0.2 + change, "{error}, {change}");
    }
}

/// A client that sends a byte now and then.
struct Slow {
    stream: TcpStream,
    rest: std::vec::IntoIter<u8>,
    /// When the service closed it.
    closed: Option<Duration>,
}

impl Slow {
    fn open(address: SocketAddr, now: &[u8], later: Vec<u8>) -> Self {
        let mut stream = TcpStream::connect(address).unwrap();
        stream.write_all(now).unwrap();
        stream.set_nonblocking(true).unwrap();
        Self { stream, rest: later.into_iter(), closed: None }
    }

    /// Looks whether it was closed, after an answer or without one.
    fn look(&mut self, began: Instant) {
        let mut answer = [0; 512];
        while self.closed.is_none() {
            match self.stream.read(&mut answer) {
                Ok(0) => self.closed = Some(began.elapsed()),
                Ok(_) => {}
                Err(error) if error.kind() == ErrorKind::WouldBlock => return,
                Err(_) => self.closed = Some(began.elapsed()),
            }
        }
    }
}

/// Posts so often, one after the other, and returns the time that the slowest of a hundred takes.
fn slowest_of_a_hundred(service: &Service, posts: u64) -> Duration {
    let mut times: Vec<Duration> = (0..posts)
        .map(|post| {
            let (body, began) = (bars(10 * post..10 * post + 10), Instant::now());
            assert_eq!(service.post("/v1/records/bars", &body).status, 200);
            began.elapsed()
        })
        .collect();
    times.sort();
    times[times.len() * 99 / 100]
}

/// Red when a connection that brings nothing is kept, or an honest client waits for those that do.
#[test]
fn slow_connections_are_closed_in_time_and_hold_up_no_other_client() {
    let connections = size_of_test("MDS_TEST_SERVE_SLOW", 60);
    let dir = tempfile::tempdir().unwrap();
    let service = Service::start(dir.path(), &[("MDS_COORDINATOR_FLUSH_INTERVAL", "0.01")]);
    let posts = 100.max(connections as u64);
    let alone = slowest_of_a_hundred(&service, posts);
    let began = Instant::now();
    let mut slow: Vec<Slow> = (0..connections)
        .map(|one| match one % 2 {
            0 => Slow::open(service.address, b"P", b"OST /v1/records/bars HTTP/1.1".to_vec()),
            _ => {
                let head = b"POST /v1/records/bars HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1000\r\n\r\n";
                Slow::open(service.address, head, bar(1).into_bytes())
            }
        })
        .collect();
    let beside = slowest_of_a_hundred(&service, posts);
    // The limits are 10 s for a head and 30 s for a kibibyte of a body.
    let mut next = Duration::ZERO;
    while slow.iter().any(|slow| slow.closed.is_none()) {
        let is_due = began.elapsed() >= next;
        if is_due {
            next += Duration::from_secs(10);
        }
        for one in &mut slow {
            one.look(began);
            if is_due && let Some(byte) = one.rest.next() {
                let _ = one.stream.write(&[byte]);
            }
        }
        assert!(began.elapsed() < Duration::from_secs(50), "a slow connection is kept");
        thread::sleep(Duration::from_millis(20));
    }
    let longest = |of: usize| slow.iter().skip(of).step_by(2).filter_map(|slow| slow.closed).max().unwrap();
    let (heads, bodies) = (longest(0), longest(1));
    println!(
        "{connections} slow connections: closed after {heads:.1?} in the head and {bodies:.1?} in the body; the slowest of a \
         hundred honest posts takes {beside:.1?} beside them, {alone:.1?} alone"
    );
    assert!(heads < Duration::from_secs(20) && bodies < Duration::from_secs(40));
    assert!(beside < 10 * alone + Duration::from_millis(100), "{beside:?} beside them, {alone:?} alone");
}
