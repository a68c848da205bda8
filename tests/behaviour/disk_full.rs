//! A disk that is full, for the database, for the dead letters and for both: nothing is acknowledged that is not there,
//! and all goes on when there is room.
//!
//! The store runs in a child process, which can be given less room than others: by a limit of pages for its database,
//! by a limit for all files that it writes, or on a file system of its own. It says every failure, so that a test knows
//! when the store has tried again.

use std::{
    collections::{BTreeMap, HashSet},
    fs,
    io::{BufRead, BufReader, Read, Write},
    num::NonZeroU32,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    sync::{
        Arc,
        atomic::{AtomicBool, Ordering},
        mpsc::{Receiver, channel},
    },
    thread,
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Coordinator, MarketDataStore, Outcome, Sink, SinkError, Timeframe, Timestamp, dead_letter,
    sink::{SinkErrorKind, SqliteOptions, SqliteSink},
};
use rusqlite::Connection;

use crate::support::{PATIENCE, on_log, settings, size_of_test};

/// Where the child has its database and its dead letters; what makes a process the child.
const DATABASE: &str = "MDS_TEST_FULL_DATABASE";
const LETTERS: &str = "MDS_TEST_FULL_LETTERS";
/// How many pages its database may have.
const PAGES: &str = "MDS_TEST_FULL_PAGES";
/// Of so many bars the database refuses one; they have a symbol of their own.
const ONE_IN: &str = "MDS_TEST_FULL_ONE_IN";
/// So many it writes at least, and goes on until its standard input ends.
const BARS: u64 = 1_500;
/// One of them has the bars that are refused, and few others. None writes more than one thing at a time.
const WORKERS: usize = 8;
/// What it says of a write that can be tried again, and what the library's log says of a dead letter.
const NOT_WRITTEN: &str = "a batch was not written";
const NOT_BURIED: &str = "a dead letter cannot be written";

/// Writes bars, says what became of each, and says every change of the level and every failure.
fn child(database: &Path) {
    let number = |variable: &str| std::env::var(variable).ok().map(|value| value.parse::<u32>().unwrap());
    on_log(|line| {
        if line.contains(NOT_BURIED) {
            say(NOT_BURIED);
        }
    });
    let mut options = SqliteOptions::new(database);
    options.max_pages = number(PAGES).and_then(NonZeroU32::new);
    let one_in = u64::from(number(ONE_IN).unwrap());
    let mut settings = settings();
    settings.dlq_path = std::env::var_os(LETTERS).unwrap().into();
    settings.coordinator.flush_interval = Duration::from_millis(1);
    settings.coordinator.batch_size = 20;
    settings.coordinator.workers = WORKERS;
    settings.retry.initial_backoff = Duration::from_millis(2);
    settings.retry.max_backoff = Duration::from_millis(5);
    settings.circuit.half_open_after = Duration::from_millis(5);
    let coordinator = Coordinator::new(Announcing(SqliteSink::open::<Bar>(options).unwrap()));
    let store = MarketDataStore::builder(settings).coordinator(coordinator).spawn().unwrap();
    let bars = store.coordinator::<Bar>().unwrap();
    let mut levels = store.feedback().watch(bars.id());
    thread::spawn(move || {
        while block_on(levels.changed()).is_ok() {
            let event = levels.borrow_and_update().clone();
            say(&format!("{} {}", event.level, event.reason));
        }
    });
    let is_enough = Arc::new(AtomicBool::new(false));
    let stdin_ends = thread::spawn({
        let is_enough = Arc::clone(&is_enough);
        move || {
            std::io::stdin().read_to_end(&mut Vec::new()).unwrap();
            is_enough.store(true, Ordering::Release);
        }
    });
    // Where every fourth is refused these have a partition of their own: what the store has no room for does not stand
    // before them.
    let symbols = if one_in == 4 { 1 } else { 7 };
    let producers = (0..4).map(|producer| {
        let (bars, is_enough) = (bars.clone(), Arc::clone(&is_enough));
        thread::spawn(move || {
            let mut written = 0;
            for start in (producer..).step_by(40) {
                if start >= BARS && is_enough.load(Ordering::Acquire) {
                    break;
                }
                let receipts: Vec<_> = (start..)
                    .step_by(4)
                    .take(10)
                    .map(|id| {
                        let (symbol, volume) = match id % one_in {
                            0 => ("UNLUCKY".to_owned(), 13.0),
                            _ => (format!("S{}", id % symbols), 1.0),
                        };
                        let ts = Timestamp::from_micros(i64::try_from(id).unwrap());
                        let bar = Bar::new(symbol, Timeframe::MINUTE, ts).ohlc(1.0, 1.0, 1.0, 1.0);
                        (id, block_on(bars.submit_with_receipt(bar.volume(volume))).unwrap())
                    })
                    .collect();
                written += receipts.len();
                for (id, receipt) in receipts {
                    match block_on(receipt).unwrap() {
                        Outcome::Stored => say(&format!("stored {id}")),
                        Outcome::DeadLettered => say(&format!("buried {id}")),
                        Outcome::Dropped(_) => say(&format!("dropped {id}")),
                    }
                }
            }
            written
        })
    });
    let producers: Vec<_> = producers.collect();
    let written: usize = producers.into_iter().map(|producer| producer.join().unwrap()).sum();
    assert!(block_on(store.shutdown(PATIENCE)).is_complete());
    stdin_ends.join().unwrap();
    say(&format!("done {written}"));
}

/// The SQLite sink, which says when a write fails that can be tried again: so does one that finds no room.
struct Announcing(SqliteSink);

impl Sink<Bar> for Announcing {
    async fn write(&self, batch: &Batch<Bar>) -> Result<(), SinkError> {
        let written = Sink::write(&self.0, batch).await;
        if written.as_ref().is_err_and(|error| error.kind() == SinkErrorKind::Transient) {
            say(NOT_WRITTEN);
        }
        written
    }
}

fn say(line: &str) {
    let mut out = std::io::stdout().lock();
    writeln!(out, "\n{line}").and_then(|()| out.flush()).unwrap();
}

/// The child, and what it has said.
struct Store {
    child: Child,
    lines: Receiver<String>,
    said: BTreeMap<u64, bool>,
    database: PathBuf,
    letters: PathBuf,
    one_in: u64,
}

impl Store {
    /// Starts the child with a database that refuses one bar in `one_in`, in which a table takes up room, and
    /// which may grow by so many pages.
    fn start(test: &str, database: &Path, letters: &Path, one_in: u64, room: Option<u32>) -> Self {
        block_on(SqliteSink::open::<Bar>(SqliteOptions::new(database)).unwrap().close());
        let other = Connection::open(database).unwrap();
        let sql = "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.volume = 13
                   BEGIN SELECT RAISE(ABORT, 'unlucky'); END;
                   CREATE TABLE ballast AS SELECT zeroblob(400000)";
        other.execute_batch(sql).unwrap();
        let pages: u32 = other.query_row("PRAGMA page_count", [], |row| row.get(0)).unwrap();
        drop(other);
        // The signal would end the process; ignored it becomes the error of a write.
        let mut command = Command::new("sh");
        command.args(["-c", "trap '' XFSZ; exec \"$0\" \"$@\""]).arg(std::env::current_exe().unwrap());
        command.args(["--exact", test, "--nocapture"]).stdin(Stdio::piped()).stdout(Stdio::piped());
        command.env(DATABASE, database).env(LETTERS, letters).env(ONE_IN, one_in.to_string());
        if let Some(room) = room {
            command.env(PAGES, (pages + room).to_string());
        }
        let mut child = command.spawn().unwrap();
        let (sender, lines) = channel();
        let stdout = BufReader::new(child.stdout.take().unwrap());
        thread::spawn(move || stdout.lines().for_each(|line| drop(sender.send(line.unwrap()))));
        Self { child, lines, said: BTreeMap::new(), database: database.into(), letters: letters.into(), one_in }
    }

    /// Takes in its next line, unless it is never what is waited for.
    fn next(&mut self, what: &str, since: Instant) -> String {
        let left = PATIENCE.saturating_sub(since.elapsed());
        let said = self.lines.recv_timeout(left);
        let said = said.unwrap_or_else(|_| panic!("never {what:?}, after {} outcomes", self.said.len()));
        self.take(&said);
        said
    }

    /// Takes in what it says up to a line that begins so, and returns that.
    fn wait_for(&mut self, begin: &str) -> String {
        let since = Instant::now();
        loop {
            let said = self.next(begin, since);
            if said.starts_with(begin) {
                return said;
            }
        }
    }

    /// Waits until one of these failed so often that it was tried, and failed, since this was called: before that, each
    /// worker has one under way at most.
    fn fails(&mut self, what: &[&str]) {
        let since = Instant::now();
        for _ in 0..=WORKERS {
            while !what.contains(&self.next(&what.join(" or "), since).as_str()) {}
        }
    }

    /// Waits for outcomes of bars that were not yet written when this is called: of others there are 40 at most.
    fn goes_on(&mut self) {
        let (more, since) = (self.said.len() + 100, Instant::now());
        while self.said.len() < more {
            self.next("more", since);
        }
    }

    fn take(&mut self, line: &str) {
        assert!(!line.starts_with("dropped "), "{line}");
        let Some((outcome @ ("stored" | "buried"), id)) = line.split_once(' ') else { return };
        let before = self.said.insert(id.parse().unwrap(), outcome == "stored");
        assert_eq!(before, None, "{line}, for the second time");
    }

    /// Fails for an acknowledgement so far that is not true, and for a good record that is given up. One that has no
    /// room left can still be asked.
    fn check(&mut self) {
        while let Ok(line) = self.lines.try_recv() {
            self.take(&line);
        }
        let database = Connection::open(&self.database).unwrap();
        database.busy_timeout(PATIENCE).unwrap();
        let mut statement = database.prepare("SELECT ts FROM bars").unwrap();
        let stored: HashSet<i64> = statement.query_map([], |row| row.get(0)).unwrap().map(Result::unwrap).collect();
        let mut buried = HashSet::new();
        for found in dead_letter::list(&self.letters).unwrap() {
            // Damage is not there: what was written of an entry that did not fit is taken back.
            let entry = found.unwrap().entry.unwrap();
            let id = serde_json::from_str::<Bar>(entry.record.get()).unwrap().ts.as_micros();
            assert_eq!(id as u64 % self.one_in, 0, "given up although it is good: {entry:?}");
            buried.insert(id);
        }
        for (&id, &is_stored) in &self.said {
            let place = if is_stored { &stored } else { &buried };
            assert!(place.contains(&(id as i64)), "{id} is acknowledged (stored: {is_stored}) and is not there");
        }
    }

    /// Sets how many bytes long the files may become that it writes.
    fn limit_files(&self, limit: &str) {
        let pid = self.child.id().to_string();
        let prlimit = Command::new("prlimit").args(["--pid", &pid, &format!("--fsize={limit}:unlimited")]).status();
        assert!(prlimit.unwrap().success());
    }

    /// Says that the bars are enough.
    fn enough(&mut self) {
        self.child.stdin = None;
    }

    /// Waits for the end: every bar has met its own.
    fn end(mut self) {
        self.enough();
        let done = self.wait_for("done ");
        self.check();
        let written: usize = done.trim_start_matches("done ").parse().unwrap();
        assert_eq!(self.said.len(), written, "each has its end");
        assert!(self.child.wait().unwrap().success());
    }
}

impl Drop for Store {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

/// Drops what takes up the room in a database; its limit stays.
fn make_room(database: &Path) {
    let other = Connection::open(database).unwrap();
    other.busy_timeout(PATIENCE).unwrap();
    other.execute_batch("DROP TABLE ballast").unwrap();
}

// Red if a receipt is resolved before the commit, if a full database is held against its records, or if the connection
// is of no use when there is room again.
#[test]
fn a_full_database_acknowledges_nothing_and_goes_on_when_there_is_room() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(&PathBuf::from(database));
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("bars.db");
    let test = "disk_full::a_full_database_acknowledges_nothing_and_goes_on_when_there_is_room";
    let mut store = Store::start(test, &database, &dir.path().join("letters"), 50, Some(3));
    store.wait_for("hard circuit_open");
    store.fails(&[NOT_WRITTEN]);
    store.check();
    let stored = store.said.values().filter(|&&is_stored| is_stored).count();
    assert!((1..BARS as usize / 2).contains(&stored), "{stored}: there was room for some, and for no more");
    store.enough();
    make_room(&database);
    store.end();
}

// Red if failures of a full disk are held against a batch, since the store answers others: it refuses bar after bar
// that could not be stored anyway.
#[test]
fn records_are_not_given_up_for_a_full_database_that_still_refuses_others() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(&PathBuf::from(database));
    }
    let dir = tempfile::tempdir().unwrap();
    let database = dir.path().join("bars.db");
    let test = "disk_full::records_are_not_given_up_for_a_full_database_that_still_refuses_others";
    // The first of the four producers has no other.
    let mut store = Store::start(test, &database, &dir.path().join("letters"), 4, Some(1));
    store.wait_for("buried 160");
    store.fails(&[NOT_WRITTEN]);
    store.check();
    let stored = store.said.values().filter(|&&is_stored| is_stored).count();
    assert!(stored < BARS as usize / 2, "{stored}: it was never full");
    store.enough();
    make_room(&database);
    store.end();
}

// Red if a record counts as buried that is in no file, or is given up because it cannot be buried.
#[test]
fn full_dead_letters_acknowledge_nothing_and_go_on_when_there_is_room() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(&PathBuf::from(database));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "disk_full::full_dead_letters_acknowledge_nothing_and_go_on_when_there_is_room";
    // Every bar is refused, so the database writes nothing and does not notice.
    let mut store = Store::start(test, &dir.path().join("bars.db"), &dir.path().join("letters"), 1, None);
    store.wait_for("buried 0");
    store.limit_files("0");
    store.wait_for("hard dead_letters_unwritable");
    store.fails(&[NOT_BURIED]);
    store.check();
    store.limit_files("unlimited");
    store.wait_for("ok dead_letters_writable");
    store.goes_on();
    store.end();
}

// Red as both of the above.
#[test]
fn a_disk_that_is_full_for_both_loses_nothing() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(&PathBuf::from(database));
    }
    let dir = tempfile::tempdir().unwrap();
    let test = "disk_full::a_disk_that_is_full_for_both_loses_nothing";
    let mut store = Store::start(test, &dir.path().join("bars.db"), &dir.path().join("letters"), 10, None);
    for _ in 0..3 {
        store.goes_on();
        store.limit_files("0");
        // Whichever comes first keeps the other waiting.
        store.fails(&[NOT_WRITTEN, NOT_BURIED]);
        store.check();
        store.limit_files("unlimited");
    }
    store.goes_on();
    store.end();
}

/// Set in the process that may mount file systems for itself alone.
pub const MOUNTS: &str = "MDS_TEST_MOUNTS";

/// Runs a test again in a process that may mount file systems, which no other sees and which go with it: as root, or
/// as an ordinary user who is root in a namespace of his own.
pub fn again_where_it_can_mount(test: &str) {
    let dir = tempfile::tempdir().unwrap();
    let mut refusals = String::new();
    for namespace in [&["--mount"][..], &["--user", "--map-root-user", "--mount"]] {
        let run = |command: &str, args: &[&str]| {
            let mut unshare = Command::new("unshare");
            unshare.args(namespace).arg(command).args(args).env(MOUNTS, "").stdin(Stdio::null());
            unshare.output().unwrap_or_else(|error| panic!("cannot run unshare, which is in util-linux: {error}"))
        };
        let can_mount = run("mount", &["-t", "tmpfs", "tmpfs", dir.path().to_str().unwrap()]);
        if can_mount.status.success() {
            let exe = std::env::current_exe().unwrap();
            let ended = run(exe.to_str().unwrap(), &["--exact", test, "--nocapture"]);
            let said = String::from_utf8_lossy(&[ended.stdout, ended.stderr].concat()).into_owned();
            assert!(ended.status.success() && said.contains("1 passed"), "{said}");
            return;
        }
        refusals.push_str(&String::from_utf8_lossy(&can_mount.stderr));
    }
    panic!(
        "no file system can be mounted here, neither by this user nor in a user namespace: run this as root with the \
         right to mount, or where `unshare --user --map-root-user --mount` is allowed, or leave it out with \
         MDS_TEST_SMALL_DISKS=0\n{refusals}"
    );
}

/// A small file system of its own, for as long as it lives.
pub struct SmallDisk(tempfile::TempDir);

impl SmallDisk {
    pub fn mount(megabytes: u32) -> Self {
        let disk = Self(tempfile::tempdir().unwrap());
        let size = format!("size={megabytes}m");
        let mount = Command::new("mount").args(["-t", "tmpfs", "-o", &size, "tmpfs"]).arg(disk.0.path()).status();
        assert!(mount.unwrap().success());
        disk
    }

    pub fn path(&self) -> &Path {
        self.0.path()
    }

    /// Takes all room but so much.
    pub fn fill(&self, but: u64) -> PathBuf {
        let path = self.0.path().join("ballast");
        let mut ballast = fs::File::create(&path).unwrap();
        while ballast.write_all(&[1; 4096]).is_ok() {}
        let full = ballast.metadata().unwrap().len();
        ballast.set_len(full.saturating_sub(but)).unwrap();
        path
    }
}

impl Drop for SmallDisk {
    fn drop(&mut self) {
        let _ = Command::new("umount").arg("--lazy").arg(self.0.path()).status();
    }
}

// Red as the above, on a disk that is really full; and where none can be mounted. In the long suite.
#[test]
fn a_small_disk_that_is_really_full_loses_nothing() {
    if let Some(database) = std::env::var_os(DATABASE) {
        return child(&PathBuf::from(database));
    }
    let test = "disk_full::a_small_disk_that_is_really_full_loses_nothing";
    let disks = size_of_test("MDS_TEST_SMALL_DISKS", 0);
    if disks > 0 && std::env::var_os(MOUNTS).is_none() {
        return again_where_it_can_mount(test);
    }
    for round in 0..disks {
        let disk = SmallDisk::mount(12);
        let dir = tempfile::tempdir().unwrap();
        // For the database, for the dead letters, for both.
        let on_disk = |which: usize, name| {
            if round % 3 == which { dir.path().join(name) } else { disk.0.path().join(name) }
        };
        let (one_in, fails) =
            [(1, &[NOT_BURIED][..]), (50, &[NOT_WRITTEN]), (10, &[NOT_WRITTEN, NOT_BURIED])][round % 3];
        let mut store = Store::start(test, &on_disk(0, "bars.db"), &on_disk(1, "letters"), one_in, None);
        let ballast = disk.fill(100_000 + fastrand::u64(..50_000));
        store.fails(fails);
        store.check();
        store.enough();
        fs::remove_file(ballast).unwrap();
        store.end();
    }
}
