//! Three producers follow a store that is another process, while parts of it hang, die, lose their clock or their
//! network.

use std::{
    collections::BTreeSet,
    fs,
    io::{Read, Write},
    net::{Shutdown, SocketAddr, TcpListener, TcpStream},
    path::Path,
    process::ChildStdin,
    sync::{
        Arc,
        atomic::{AtomicBool, AtomicU64, Ordering},
        mpsc::{Receiver as Channel, SyncSender, sync_channel},
    },
    thread,
    time::{Duration, Instant},
};

use actix_web::rt;
use market_data_store::{Budget, Delivery, FeedbackEvent, RateCoordinator, RateLimiter, Receiver, Replay, Subscribe};
use parking_lot::Mutex;
use rand::{Rng, SeedableRng, rngs::StdRng, seq::SliceRandom};

use crate::{
    mds::{Running, count, empty_store, eventually, ingest},
    remote::{Listening, SECRET, faketime},
    support::{recorder, size_of_test},
};

/// With a refresh of a second no producer goes at full speed for longer against a store that cannot write, or stands
/// still for longer against one that can.
const BOUND: Duration = Duration::from_secs(3 + 2);

/// How often the producers are looked at.
const LOOK: Duration = Duration::from_millis(5);

/// How often the disk is tried.
const SYNC: Duration = Duration::from_millis(200);

/// The way from the store to one producer, which can be cut.
struct Way {
    address: SocketAddr,
    is_cut: Arc<AtomicBool>,
}

impl Way {
    fn to(producer: SocketAddr) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).unwrap();
        let (address, is_cut) = (listener.local_addr().unwrap(), Arc::new(AtomicBool::new(false)));
        let cut = Arc::clone(&is_cut);
        thread::spawn(move || {
            for from in listener.incoming().map_while(Result::ok) {
                if cut.load(Ordering::Relaxed) {
                    continue;
                }
                let Ok(to) = TcpStream::connect(producer) else { continue };
                for (from, to) in [(from.try_clone().unwrap(), to.try_clone().unwrap()), (to, from)] {
                    let cut = Arc::clone(&cut);
                    thread::spawn(move || pump(from, to, &cut));
                }
            }
        });
        Self { address, is_cut }
    }
}

/// Passes on what comes, until the end or the cut.
fn pump(mut from: TcpStream, mut to: TcpStream, is_cut: &AtomicBool) {
    from.set_read_timeout(Some(Duration::from_millis(20))).unwrap();
    let mut bytes = [0; 4096];
    while !is_cut.load(Ordering::Relaxed) {
        match from.read(&mut bytes) {
            Ok(read @ 1..) if to.write_all(&bytes[..read]).is_ok() => {}
            Err(error) if matches!(error.kind(), std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut) => {}
            _ => break,
        }
    }
    let _ = from.shutdown(Shutdown::Both);
    let _ = to.shutdown(Shutdown::Both);
}

/// What plainly is so of the store, and since when.
struct Truth {
    can_write: bool,
    since: Instant,
}

/// Where records go now: the input of a process, and the ids that it was given.
#[derive(Default)]
struct Feed {
    stdin: Option<ChildStdin>,
    given: Vec<u64>,
}

struct World {
    random: StdRng,
    dir: tempfile::TempDir,
    database: rusqlite::Connection,
    ways: Vec<Way>,
    receivers: Vec<Receiver>,
    running: Option<Running>,
    feed: Arc<Mutex<Feed>>,
    truth: Arc<Mutex<Truth>>,
    starts: usize,
    story: Story,
    /// What the processes were given that read their input to the end.
    owed: BTreeSet<u64>,
}

impl World {
    fn truth_is(&self, can_write: bool) {
        let mut truth = self.truth.lock();
        if truth.can_write != can_write {
            self.story.add(format!("can write: {can_write}"));
            *truth = Truth { can_write, since: Instant::now() };
        }
    }

    /// Starts a process: by the name of the first or by one of its own, on a clock that may be off.
    fn start(&mut self) {
        self.starts += 1;
        let mut command =
            ingest(self.dir.path(), &["--json", "--symbol", "ES", "--timeframe", "1m", "--give-up-after", "0", "-"]);
        let urls: Vec<_> = self.ways.iter().map(|way| format!("http://{}/feedback", way.address)).collect();
        let source = if self.random.random_bool(0.6) { "feed".to_owned() } else { format!("feed-{}", self.starts) };
        command.envs([
            ("MDS_SOURCE", &*source),
            ("MDS_FB_ENABLE_HTTP_BROADCAST", "true"),
            ("MDS_FB_HTTP_ENDPOINT", &*urls.join(",")),
            ("MDS_FB_HTTP_SECRET", SECRET),
            ("MDS_FB_HTTP_REFRESH", "1"),
            ("MDS_FB_HTTP_TIMEOUT", "0.5"),
            ("MDS_COORDINATOR_CAPACITY", "400"),
            ("MDS_COORDINATOR_BATCH_SIZE", "20"),
            ("MDS_SINK_SLOW_AFTER", "0.5"),
            ("MDS_CB_HALF_OPEN_AFTER_SEC", "1"),
        ]);
        if self.random.random_bool(0.4) {
            command.env("LD_PRELOAD", faketime()).env("FAKETIME_DONT_FAKE_MONOTONIC", "1");
            command.env("FAKETIME", format!("{:+}s", self.random.random_range(-250..250)));
        }
        self.story.add(format!("start {} as {source}", self.starts));
        let accepted = |world: &Self| -> Vec<u64> {
            world.receivers.iter().map(|receiver| receiver.snapshot().accepted).collect()
        };
        let before = accepted(self);
        let mut running = Running::start(command);
        let mut stdin = running.stdin.take();
        stdin.as_mut().unwrap().write_all(b"ts,open,high,low,close,volume\n").unwrap();
        *self.feed.lock() = Feed { stdin, given: Vec::new() };
        self.running = Some(running);
        self.truth_is(true);
        // One that dies before it is heard is known to none: what ended before it stays as it was.
        eventually("all hear of it", || accepted(self).iter().zip(&before).all(|(now, before)| now > before));
        self.story.add("heard by all".to_owned());
    }

    /// Does one bad thing, and undoes it after a while.
    fn happen(&mut self, fault: Fault) {
        let lasts = Duration::from_millis(self.random.random_range(200..9_000));
        self.story.add(format!("{fault:?} for {lasts:?}"));
        match fault {
            Fault::Locked => {
                self.database.execute_batch("BEGIN IMMEDIATE").unwrap();
                self.truth_is(false);
                thread::sleep(lasts);
                self.database.execute_batch("ROLLBACK").unwrap();
                self.truth_is(true);
            }
            Fault::Stopped => {
                self.truth_is(false);
                self.running.as_ref().unwrap().signal("STOP");
                thread::sleep(lasts);
                self.running.as_ref().unwrap().signal("CONT");
                self.truth_is(true);
            }
            Fault::Killed | Fault::KilledAtHard => {
                let is_locked = fault == Fault::KilledAtHard;
                if is_locked {
                    self.database.execute_batch("BEGIN IMMEDIATE").unwrap();
                }
                self.truth_is(false);
                if is_locked {
                    thread::sleep(Duration::from_secs(2));
                }
                let mut running = self.running.take().unwrap();
                running.child.kill().unwrap();
                running.child.wait().unwrap();
                if is_locked {
                    self.database.execute_batch("ROLLBACK").unwrap();
                }
                thread::sleep(lasts);
                self.start();
            }
            Fault::Cut => {
                let way = self.random.random_range(0..self.ways.len());
                self.ways[way].is_cut.store(true, Ordering::Relaxed);
                thread::sleep(lasts);
                self.ways[way].is_cut.store(false, Ordering::Relaxed);
                self.story.add(format!("producer {way} is reached again"));
            }
            Fault::Ended => {
                self.end();
                self.start();
            }
            Fault::Terminated => {
                // One that has only just started does not listen yet.
                thread::sleep(Duration::from_secs(1));
                self.truth_is(false);
                let running = self.running.take().unwrap();
                running.signal("TERM");
                let (status, summary) = running.end();
                assert!(matches!(status.code(), Some(143)), "{status}: {summary}");
                self.start();
            }
        }
    }

    /// Ends the input of the process, which stores all of it.
    fn end(&mut self) {
        let Feed { stdin, given } = std::mem::take(&mut *self.feed.lock());
        drop(stdin);
        let (status, summary) = self.running.take().unwrap().end();
        assert_eq!((status.code(), count(&summary, "stored")), (Some(0), given.len() as u64), "{summary}");
        self.owed.extend(given);
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum Fault {
    /// Another process has the lock of the database.
    Locked,
    /// The process hangs.
    Stopped,
    Killed,
    KilledAtHard,
    /// One producer hears nothing.
    Cut,
    Ended,
    Terminated,
}

/// A producer: what it follows, and its receiver.
struct Producer {
    limiter: RateLimiter,
    receiver: Receiver,
    address: SocketAddr,
    heard: Arc<Mutex<Vec<FeedbackEvent>>>,
}

impl Producer {
    fn start() -> Self {
        let Listening { feedback, receiver, address, .. } = Listening::start();
        let limiter = RateCoordinator::follow(&feedback, ["bars"]).budget(Budget::PerSecond(600.0)).start();
        let (recorder, heard) = recorder();
        feedback.subscribe(Subscribe::new(recorder).delivery(Delivery::Every).replay(Replay::All));
        Self { limiter, receiver, address, heard }
    }

    /// Produces as fast as it may, until it is told to stop.
    fn produce(&self, to: SyncSender<u64>, next: Arc<AtomicU64>, stop: Arc<AtomicBool>) -> thread::JoinHandle<()> {
        let limiter = self.limiter.clone();
        thread::spawn(move || {
            while !stop.load(Ordering::Relaxed) {
                match limiter.try_acquire(1) {
                    true => _ = to.send(next.fetch_add(1, Ordering::Relaxed)),
                    false => thread::sleep(Duration::from_millis(2)),
                }
            }
        })
    }
}

/// Gives the records to whichever process there is. One that a process does not take is lost, as a feed that is not
/// kept is.
fn feed(records: Channel<u64>, to: Arc<Mutex<Feed>>) -> thread::JoinHandle<()> {
    thread::spawn(move || {
        for id in records {
            let mut feed = to.lock();
            let line = format!("{},10,12,9,11,{id}\n", 1_600_000_020 + 60 * id);
            if feed.stdin.as_mut().is_some_and(|stdin| stdin.write_all(line.as_bytes()).is_ok()) {
                feed.given.push(id);
            }
        }
    })
}

/// What happened, and when: what a failure of the test prints of the time around it.
#[derive(Clone)]
struct Story(Instant, Arc<Mutex<Vec<(Instant, String)>>>);

impl Story {
    fn add(&self, what: String) {
        self.1.lock().push((Instant::now(), what));
    }

    /// What happened in the time of one wrong, and before it.
    fn around(&self, wrong: &Wrong) -> String {
        let Some(began) = wrong.began else { return String::new() };
        let (from, to) = (began - Duration::from_secs(20), began + wrong.lasted + Duration::from_secs(1));
        let told = self.1.lock();
        let told = told.iter().filter(|(at, _)| (from..=to).contains(at));
        let lines = told.map(|(at, what)| format!("{:9.3} {what}\n", (*at - self.0).as_secs_f64()));
        format!(
            "producer {} from {:.3}:\n{}",
            wrong.producer,
            (began - self.0).as_secs_f64(),
            lines.collect::<String>()
        )
    }
}

/// The longest that a producer did what its store's state forbids.
#[derive(Clone, Debug, Default)]
struct Wrong {
    producer: usize,
    began: Option<Instant>,
    lasted: Duration,
}

/// Looks all the time, and returns the longest that a producer went at full speed against a store that cannot write,
/// and stood still against one that can; and for how long the machine let nothing run.
fn look(
    limiters: Vec<RateLimiter>,
    heard: Vec<Arc<Mutex<Vec<FeedbackEvent>>>>,
    story: &Story,
    truth: Arc<Mutex<Truth>>,
    stop: Arc<AtomicBool>,
) -> ([Wrong; 2], Duration) {
    let mut stalled = Duration::ZERO;
    let mut longest = [Wrong::default(), Wrong::default()];
    let mut begun = vec![[None::<Instant>; 2]; limiters.len()];
    while !stop.load(Ordering::Relaxed) {
        let Truth { can_write, since } = *truth.lock();
        for (producer, heard) in heard.iter().enumerate() {
            for event in heard.lock().drain(..) {
                let (source, epoch, seq, level) = (&event.source, event.epoch, event.seq, event.level);
                story.add(format!("producer {producer} hears {source} {epoch} {seq} {level:?} {:?}", event.reason));
            }
        }
        for (producer, (limiter, begun)) in limiters.iter().zip(&mut begun).enumerate() {
            let scale = limiter.scale();
            let wrong = [!can_write && scale >= 1.0, can_write && scale <= 0.0];
            for ((begun, wrong), longest) in begun.iter_mut().zip(wrong).zip(&mut longest) {
                *begun = wrong.then(|| begun.unwrap_or_else(Instant::now).max(since));
                if let Some(began) = begun.filter(|begun| begun.elapsed() > longest.lasted) {
                    *longest = Wrong { producer, began: Some(began), lasted: began.elapsed() };
                }
            }
        }
        let slept = Instant::now();
        thread::sleep(LOOK);
        let late = slept.elapsed() - LOOK;
        if late > Duration::from_millis(200) {
            story.add(format!("the machine stood still for {late:?}"));
        }
        stalled = stalled.max(late);
    }
    (longest, stalled)
}

/// Syncs a file beside the store's until it is told to stop, and returns the longest time that took: so long a store that
/// can write may need for a commit.
fn sync_beside(dir: &Path, stop: Arc<AtomicBool>) -> thread::JoinHandle<Duration> {
    let mut file = fs::File::create(dir.join("synced")).unwrap();
    thread::spawn(move || {
        let mut longest = Duration::ZERO;
        while !stop.load(Ordering::Relaxed) {
            let begun = Instant::now();
            file.write_all(b"x").and_then(|()| file.sync_data()).unwrap();
            longest = longest.max(begun.elapsed());
            thread::sleep(SYNC);
        }
        longest
    })
}

/// Red when a producer goes on by a level that none keeps any more, or waits for one that cannot come: for more than
/// three refreshes and two seconds. And when a record is not stored that a process took before it ended in order.
#[actix::test]
async fn no_producer_floods_a_store_that_cannot_write_or_waits_for_one_that_can() {
    let lasts = Duration::from_secs(size_of_test("MDS_TEST_CHAOS_SECONDS", 20) as u64);
    let producers: Vec<_> = (0..3).map(|_| Producer::start()).collect();
    let dir = tempfile::tempdir().unwrap();
    let database = empty_store(dir.path());
    let story = Story(Instant::now(), Arc::default());
    let seed = rand::rng().random();
    println!("seed {seed}");
    let mut world = World {
        random: StdRng::seed_from_u64(seed),
        dir,
        database,
        ways: producers.iter().map(|producer| Way::to(producer.address)).collect(),
        receivers: producers.iter().map(|producer| producer.receiver.clone()).collect(),
        running: None,
        feed: Arc::default(),
        truth: Arc::new(Mutex::new(Truth { can_write: false, since: Instant::now() })),
        starts: 0,
        story: story.clone(),
        owed: BTreeSet::new(),
    };
    let [stop, stop_looking] = [(); 2].map(|()| Arc::new(AtomicBool::new(false)));
    let (records, channel) = sync_channel(100);
    let next = Arc::new(AtomicU64::new(0));
    let produce = |producer: &Producer| producer.produce(records.clone(), Arc::clone(&next), Arc::clone(&stop));
    let producing: Vec<_> = producers.iter().map(produce).collect();
    drop(records);
    let feeding = feed(channel, Arc::clone(&world.feed));
    let looking = {
        let limiters = producers.iter().map(|producer| producer.limiter.clone()).collect();
        let heard = producers.iter().map(|producer| Arc::clone(&producer.heard)).collect();
        let (story, truth, stop) = (story.clone(), Arc::clone(&world.truth), Arc::clone(&stop_looking));
        thread::spawn(move || look(limiters, heard, &story, truth, stop))
    };
    let syncing = sync_beside(world.dir.path(), Arc::clone(&stop_looking));
    let mut faults = [
        Fault::Locked,
        Fault::Stopped,
        Fault::Killed,
        Fault::KilledAtHard,
        Fault::Cut,
        Fault::Ended,
        Fault::Terminated,
    ];
    faults.shuffle(&mut world.random);
    let chaos = thread::spawn(move || {
        // Not on the test's thread, which serves the producers.
        world.start();
        let (begun, mut happened) = (Instant::now(), 0);
        while begun.elapsed() < lasts || happened < faults.len() {
            // Each in turn at first, so that a short run has them all.
            let fault =
                if happened < faults.len() { faults[happened] } else { faults[world.random.random_range(0..7)] };
            world.happen(fault);
            happened += 1;
            thread::sleep(Duration::from_millis(world.random.random_range(0..3_000)));
        }
        stop.store(true, Ordering::Relaxed);
        producing.into_iter().for_each(|producing| producing.join().unwrap());
        feeding.join().unwrap();
        world.end();
        (world, happened)
    });
    let (world, happened) = rt::task::spawn_blocking(|| chaos.join().unwrap()).await.unwrap();
    stop_looking.store(true, Ordering::Relaxed);
    let ([flooded, waited], stalled) = looking.join().unwrap();
    let synced = syncing.join().unwrap();
    let counts: Vec<_> = producers.iter().map(|producer| producer.receiver.snapshot()).collect();
    let stored: BTreeSet<u64> = {
        let mut rows = world.database.prepare("SELECT ts FROM bars").unwrap();
        let ids =
            rows.query_map([], |row| Ok((row.get::<_, i64>(0)? / 1_000_000 - 1_600_000_020) as u64 / 60)).unwrap();
        ids.map(Result::unwrap).collect()
    };
    println!(
        "{happened} faults in {lasts:?}, {} starts: at full speed against a store that cannot write for {:?} at most, \
         still against one that can for {:?} (bound {BOUND:?}; the machine stood still for {stalled:?}, its disk for {synced:?}); {} records owed, {} stored; {counts:?}",
        world.starts,
        flooded.lasted,
        waited.lasted,
        world.owed.len(),
        stored.len()
    );
    // A process that waits for a processor waits for several turns, and a commit that makes room in the log syncs more than
    // one file.
    let bound = BOUND + 3 * (stalled + synced);
    for wrong in [&flooded, &waited] {
        assert!(wrong.lasted <= bound, "{wrong:?}, {stalled:?}, {synced:?}\n{}", story.around(wrong));
    }
    assert!(
        !world.owed.is_empty() && world.owed.is_subset(&stored),
        "not stored: {:?}",
        world.owed.difference(&stored)
    );
    assert!(happened >= faults.len() && counts.iter().all(|counts| counts.accepted > 0 && counts.bad_timestamp == 0));
}
