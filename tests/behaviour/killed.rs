//! A process that is killed with SIGKILL has lost nothing that it had acknowledged.

use std::{
    collections::HashSet,
    fs,
    io::{BufRead, BufReader, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    thread,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, MarketDataStore, Outcome, Sink, SinkError, Timeframe, Timestamp,
    sink::{SqliteOptions, SqliteSink},
};
use rusqlite::Connection;

use crate::support::{settings, size_of_test};

/// Where the child writes; what makes a process the child.
const DIR: &str = "MDS_TEST_KILLED_DIR";
/// From which id on it counts.
const FIRST: &str = "MDS_TEST_KILLED_FIRST";
/// Makes it acknowledge before the commit.
const EARLY: &str = "MDS_TEST_KILLED_EARLY";

const PRODUCERS: u64 = 4;

/// Says that a batch is stored as soon as it has it, and stores it a moment later: what a sink must not do.
struct Early(SqliteSink);

impl Sink<Bar> for Early {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        let (sink, batch) = (self.0.clone(), batch.clone());
        thread::spawn(move || {
            thread::sleep(Duration::from_millis(20));
            let _ = block_on(sink.write(&batch));
        });
        Ok(())
    }
}

/// Writes bars without end, and says of each what became of it.
fn child(dir: &Path) {
    let first: u64 = std::env::var(FIRST).unwrap().parse().unwrap();
    let sink = SqliteSink::open::<Bar>(SqliteOptions::new(dir.join("bars.db"))).unwrap();
    let mut settings = settings();
    settings.dlq_path = dir.join("dead_letters");
    settings.coordinator.flush_interval = Duration::from_millis(1);
    settings.coordinator.batch_size = 20;
    let coordinator =
        if std::env::var_os(EARLY).is_some() { Coordinator::new(Early(sink)) } else { Coordinator::new(sink) };
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let bars = store.coordinator::<Bar>().unwrap();
    let producers = (0..PRODUCERS).map(|producer| {
        let bars = bars.clone();
        thread::spawn(move || {
            // Several on their way at once, as a feed has them.
            for start in (first + producer..).step_by(10 * PRODUCERS as usize) {
                let ids = (start..).step_by(PRODUCERS as usize).take(10);
                let receipts: Vec<_> = ids
                    .map(|id| {
                        // Every fiftieth is one that the database refuses.
                        let volume = if id % 50 == 49 { 13.0 } else { 1.0 };
                        let ts = Timestamp::from_micros(i64::try_from(id).unwrap());
                        let bar = Bar::new(format!("S{}", id % 7), Timeframe::MINUTE, ts).ohlc(1.0, 1.0, 1.0, 1.0);
                        (id, block_on(bars.submit_with_receipt(bar.volume(volume))).unwrap())
                    })
                    .collect();
                for (id, receipt) in receipts {
                    let said = match block_on(receipt).unwrap() {
                        Outcome::Stored => "stored",
                        Outcome::DeadLettered => "dead_lettered",
                        Outcome::Dropped(_) => "dropped",
                    };
                    let mut out = std::io::stdout().lock();
                    writeln!(out, "\n{said} {id}").and_then(|()| out.flush()).unwrap();
                }
            }
        })
    });
    let producers: Vec<_> = producers.collect();
    producers.into_iter().for_each(|producer| producer.join().unwrap());
}

/// Ids in the database.
fn stored(dir: &Path) -> HashSet<u64> {
    let connection = Connection::open(dir.join("bars.db")).unwrap();
    let mut statement = connection.prepare("SELECT ts FROM bars").unwrap();
    let ids = statement.query_map([], |row| row.get::<_, i64>(0)).unwrap();
    ids.map(|id| u64::try_from(id.unwrap()).unwrap()).collect()
}

/// Ids in the dead letters. The last line of each file may be torn, no other.
fn dead_lettered(dir: &Path) -> HashSet<u64> {
    let Ok(files) = fs::read_dir(dir.join("dead_letters")) else { return HashSet::new() };
    let files = files.map(|file| file.unwrap().path());
    let files = files.filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"));
    let lines = files.flat_map(|path| {
        let text = fs::read_to_string(path).unwrap();
        let whole = text.rsplit_once('\n').map_or(String::new(), |(whole, _)| whole.to_owned());
        whole.lines().map(ToOwned::to_owned).collect::<Vec<_>>()
    });
    lines
        .map(|line| {
            let line: serde_json::Value = serde_json::from_str(&line).unwrap();
            let ts: Timestamp = line["record"]["ts"].as_str().unwrap().parse().unwrap();
            u64::try_from(ts.as_micros()).unwrap()
        })
        .collect()
}

/// Kills a child so many times at random moments, and returns how many acknowledgements there were and which were
/// false.
fn kill(test: &str, kills: usize, early: bool) -> (usize, Vec<String>) {
    let dir = tempfile::tempdir().unwrap();
    block_on(SqliteSink::open::<Bar>(SqliteOptions::new(dir.path().join("bars.db"))).unwrap().close());
    Connection::open(dir.path().join("bars.db"))
        .unwrap()
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.volume = 13
             BEGIN SELECT RAISE(ABORT, 'unlucky'); END",
        )
        .unwrap();
    let (mut acknowledged, mut lies) = (0, Vec::new());
    for round in 0..kills {
        let mut command = Command::new(std::env::current_exe().unwrap());
        command
            .args(["--exact", test, "--nocapture"])
            .env(DIR, dir.path())
            .stdout(Stdio::piped())
            .stderr(Stdio::null());
        command.env(FIRST, (round as u64 * 1_000_000).to_string());
        if early {
            command.env(EARLY, "1");
        }
        let mut child = command.spawn().unwrap();
        let mut lines = BufReader::new(child.stdout.take().unwrap()).lines().map(Result::unwrap);
        let is_word = |line: &String| line.starts_with("stored ") || line.starts_with("dead_lettered ");
        let mut words: Vec<String> = lines.by_ref().filter(is_word).take(1).collect();
        thread::sleep(Duration::from_micros(fastrand::u64(..60_000)));
        child.kill().unwrap();
        child.wait().unwrap();
        words.extend(lines.filter(is_word));
        let (stored, dead_lettered) = (stored(dir.path()), dead_lettered(dir.path()));
        acknowledged += words.len();
        lies.extend(words.into_iter().filter(|word| match word.split_once(' ') {
            Some(("stored", id)) => !stored.contains(&id.parse().unwrap()),
            Some((_, id)) => !dead_lettered.contains(&id.parse().unwrap()),
            None => true,
        }));
    }
    (acknowledged, lies)
}

/// Red when a receipt says `Stored` before the commit, or `DeadLettered` before the line is synced.
#[test]
fn what_was_acknowledged_is_there_after_a_kill() {
    if let Some(dir) = std::env::var_os(DIR) {
        return child(&PathBuf::from(dir));
    }
    let kills = size_of_test("MDS_TEST_KILLS", 10);
    let (acknowledged, lies) = kill("killed::what_was_acknowledged_is_there_after_a_kill", kills, false);
    assert!(acknowledged > 10 * kills, "only {acknowledged} acknowledgements in {kills} lives");
    assert_eq!(lies, Vec::<String>::new(), "of {acknowledged} acknowledgements");
    println!("{kills} kills, {acknowledged} acknowledgements, all true");
}

/// The control: a sink that acknowledges before it commits is caught by the same check.
#[test]
fn an_early_acknowledgement_is_caught() {
    if let Some(dir) = std::env::var_os(DIR) {
        return child(&PathBuf::from(dir));
    }
    let kills = size_of_test("MDS_TEST_KILLS", 10);
    let (acknowledged, lies) = kill("killed::an_early_acknowledgement_is_caught", kills, true);
    assert!(!lies.is_empty(), "{acknowledged} early acknowledgements, and none was found out");
}
