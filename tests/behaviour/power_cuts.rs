//! The power goes while SQLite writes: of what was not synced any part can be on the disk, and any part can be missing.
//!
//! A child process writes, and a library that is preloaded into it notes each write, each truncation and each sync, with the
//! moments between them at which the child learned that a batch is stored. From these any moment can be made again: each
//! file has what was synced by then, and of what was written since a part that chance chooses, by sectors.

use std::{
    collections::{BTreeMap, BTreeSet, HashMap},
    fs::{self, File},
    io::Write,
    num::NonZeroUsize,
    path::{Path, PathBuf},
    process::Command,
    thread,
};

use futures::executor::block_on;
use market_data_store::{
    Bar, Batch, Sink, Timeframe, Timestamp,
    sink::{SqliteOptions, SqliteSink, Synchronous},
};
use rand::{Rng, SeedableRng, rngs::StdRng};
use rusqlite::Connection;

use crate::support::size_of_test;

/// Names the directory of the child.
const DIR: &str = "POWER_DIR";
/// Names the file in which the library notes what happens.
const TRACE: &str = "POWER_TRACE";

const WRITERS: usize = 4;
const BATCHES: usize = 80;
const ROWS: usize = 200;
/// The least that a disk writes whole.
const SECTOR: usize = 512;

const SOURCE: &str = r#"
#define _GNU_SOURCE
#include <fcntl.h>
#include <pthread.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/syscall.h>
#include <sys/uio.h>
#include <unistd.h>

enum { WRITE, TRUNCATE, BEGIN, END };
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static int trace = -1;

static void note(int kind, int fd, uint64_t at, const void *data, uint64_t length) {
    char link[64], path[4096];
    const char *dir = getenv("POWER_DIR");
    char *end = link + sizeof link - 1;
    int digits = fd;
    *end = 0;
    do { *--end = '0' + digits % 10; digits /= 10; } while (digits);
    end -= strlen("/proc/self/fd/");
    memcpy(end, "/proc/self/fd/", strlen("/proc/self/fd/"));
    ssize_t named = readlink(end, path, sizeof path);
    if (!dir || named < (ssize_t)strlen(dir) || memcmp(path, dir, strlen(dir))) return;
    pthread_mutex_lock(&lock);
    if (trace < 0) trace = open(getenv("POWER_TRACE"), O_WRONLY | O_CREAT | O_APPEND, 0600);
    uint64_t head[4] = { kind, named, at, length };
    struct iovec parts[3] = { { head, sizeof head }, { path, named }, { (void *)data, data ? length : 0 } };
    if (syscall(SYS_writev, trace, parts, 3) < 0) abort();
    pthread_mutex_unlock(&lock);
}

static ssize_t wrote(int fd, const void *data, ssize_t length, off_t at) {
    if (length > 0 && at >= 0) note(WRITE, fd, at, data, length);
    return length;
}

ssize_t pwrite64(int fd, const void *data, size_t length, off_t at) {
    return wrote(fd, data, syscall(SYS_pwrite64, fd, data, length, at), at);
}
ssize_t pwrite(int fd, const void *data, size_t length, off_t at) { return pwrite64(fd, data, length, at); }
ssize_t write(int fd, const void *data, size_t length) {
    ssize_t done = syscall(SYS_write, fd, data, length);
    return wrote(fd, data, done, done > 0 ? lseek(fd, 0, SEEK_CUR) - done : -1);
}
int ftruncate64(int fd, off_t length) {
    int done = syscall(SYS_ftruncate, fd, length);
    if (done == 0) note(TRUNCATE, fd, length, NULL, 0);
    return done;
}
int ftruncate(int fd, off_t length) { return ftruncate64(fd, length); }

static int sync_by(long call, int fd) {
    uint64_t thread = syscall(SYS_gettid);
    note(BEGIN, fd, thread, NULL, 0);
    int done = syscall(call, fd);
    if (done == 0) note(END, fd, thread, NULL, 0);
    return done;
}
int fsync(int fd) { return sync_by(SYS_fsync, fd); }
int fdatasync(int fd) { return sync_by(SYS_fdatasync, fd); }
"#;

/// What the library noted.
enum Event<'a> {
    Write { at: usize, data: &'a [u8] },
    Truncate { length: usize },
    BeginSync { thread: u64 },
    EndSync { thread: u64 },
}

/// Reads what the library noted: of which file, and what.
fn events(mut trace: &[u8]) -> Vec<(&str, Event<'_>)> {
    let mut events = Vec::new();
    while !trace.is_empty() {
        let (head, rest) = trace.split_at(32);
        let [kind, named, at, length] =
            [0, 1, 2, 3].map(|part| u64::from_ne_bytes(head[part * 8..][..8].try_into().unwrap()));
        let (path, rest) = rest.split_at(named as usize);
        let (data, rest) = rest.split_at(length as usize);
        let event = match kind {
            0 => Event::Write { at: at as usize, data },
            1 => Event::Truncate { length: at as usize },
            2 => Event::BeginSync { thread: at },
            _ => Event::EndSync { thread: at },
        };
        let path = std::str::from_utf8(path).unwrap();
        // One that is gone is named so behind its name.
        events.push((path.rsplit('/').next().unwrap().trim_end_matches(" (deleted)"), event));
        trace = rest;
    }
    events
}

/// A change of a file.
#[derive(Clone, Copy)]
enum Change<'a> {
    Write { at: usize, data: &'a [u8] },
    Truncate { length: usize },
}

impl Change<'_> {
    /// Carries it out, each sector of it only if it is `taken`.
    fn apply(&self, file: &mut Vec<u8>, mut taken: impl FnMut() -> bool) {
        match *self {
            Change::Truncate { length } => {
                if taken() {
                    file.resize(length, 0);
                }
            }
            Change::Write { at, data } => {
                let mut from = at;
                while from < at + data.len() {
                    let to = ((from / SECTOR + 1) * SECTOR).min(at + data.len());
                    if taken() {
                        file.resize(file.len().max(to), 0);
                        file[from..to].copy_from_slice(&data[from - at..to - at]);
                    }
                    from = to;
                }
            }
        }
    }
}

/// A file as the disk has it.
#[derive(Default)]
struct OnDisk<'a> {
    synced: Vec<u8>,
    /// What was changed since, in order.
    since: Vec<Change<'a>>,
    /// How many of these each sync that is under way covers.
    syncs: HashMap<u64, usize>,
}

impl<'a> OnDisk<'a> {
    fn take_in(&mut self, event: &Event<'a>) {
        match *event {
            Event::Write { at, data } => self.since.push(Change::Write { at, data }),
            Event::Truncate { length } => self.since.push(Change::Truncate { length }),
            Event::BeginSync { thread } => {
                self.syncs.insert(thread, self.since.len());
            }
            Event::EndSync { thread } => {
                let covered = self.syncs.remove(&thread).unwrap_or(0);
                self.since.drain(..covered).for_each(|change| change.apply(&mut self.synced, || true));
                self.syncs.values_mut().for_each(|of_other| *of_other = of_other.saturating_sub(covered));
            }
        }
    }

    /// Returns what is there after the power went.
    fn after_the_cut(&self, chance: &mut StdRng) -> Vec<u8> {
        let mut file = self.synced.clone();
        // None, all, or any part.
        let share = [0.0, 0.5, 0.9, 1.0][chance.random_range(0..4)];
        self.since.iter().for_each(|change| change.apply(&mut file, || chance.random_bool(share)));
        file
    }
}

/// What a cut found.
#[derive(Default)]
struct Found {
    /// Batches that were stored, as the child learned, and are not there.
    lost: usize,
    /// Whether the log, or the file, had changes that were not synced.
    log_was_unsynced: bool,
    file_was_unsynced: bool,
}

/// Cuts the power at moments that chance chooses, and opens what is left each time.
fn cut(trace: &[u8], chance: &mut StdRng) -> Vec<Found> {
    let cuts = size_of_test("MDS_TEST_POWER_CUTS", 20);
    let events = events(trace);
    let first = events.iter().position(|(file, _)| *file == "stored").expect("a batch was stored");
    let moments: BTreeSet<_> = (0..cuts).map(|_| chance.random_range(first..events.len())).collect();
    let mut disk: BTreeMap<&str, OnDisk<'_>> = BTreeMap::new();
    let mut stored: Vec<String> = Vec::new();
    let mut found = Vec::new();
    for (moment, (file, event)) in events.iter().enumerate() {
        match event {
            Event::Write { data, .. } if *file == "stored" => {
                stored.extend(String::from_utf8_lossy(data).lines().map(str::to_owned));
            }
            event => disk.entry(*file).or_default().take_in(event),
        }
        if moments.contains(&moment) {
            found.push(look(&disk, &stored, chance));
        }
    }
    found
}

/// Opens what is left of the files.
fn look(disk: &BTreeMap<&str, OnDisk<'_>>, stored: &[String], chance: &mut StdRng) -> Found {
    let dir = tempfile::tempdir().unwrap();
    // The index of the log, `-shm`, is memory of the processes that had it open, and made anew.
    for name in ["bars.db", "bars.db-wal"] {
        fs::write(dir.path().join(name), disk[name].after_the_cut(chance)).unwrap();
    }
    let database = Connection::open(dir.path().join("bars.db")).unwrap();
    let sound: String = database.query_row("PRAGMA integrity_check", [], |row| row.get(0)).unwrap();
    assert_eq!(sound, "ok");
    let mut statement = database.prepare("SELECT symbol, count(*) FROM bars GROUP BY symbol").unwrap();
    let rows = statement.query_map([], |row| Ok((row.get(0)?, row.get(1)?))).unwrap();
    let there: HashMap<String, i64> = rows.collect::<Result<_, _>>().unwrap();
    assert!(there.values().all(|rows| *rows == ROWS as i64), "a part of a batch: {there:?}");
    let is_unsynced = |name| !disk[name].since.is_empty();
    Found {
        lost: stored.iter().filter(|symbol| !there.contains_key(*symbol)).count(),
        log_was_unsynced: is_unsynced("bars.db-wal"),
        file_was_unsynced: is_unsynced("bars.db"),
    }
}

/// The child: writes from several threads, and notes each batch that is stored.
fn write_batches(dir: &Path, synchronous: Synchronous) {
    let mut options = SqliteOptions::new(dir.join("bars.db"));
    options.synchronous = synchronous;
    options.group_limit = NonZeroUsize::new(3).unwrap();
    let sink = SqliteSink::open::<Bar>(options).unwrap();
    // Long, so that the log is soon copied into the file.
    let vendor = "v".repeat(200);
    let bar = |symbol: &str, n| Bar {
        vendor: vendor.as_str().into(),
        ..Bar::new(symbol, Timeframe::MINUTE, Timestamp::from_micros(n as i64 * 60_000_000)).ohlc(1.0, 1.0, 1.0, 1.0)
    };
    let stored = File::create(dir.join("stored")).unwrap();
    thread::scope(|scope| {
        for writer in 0..WRITERS {
            let (sink, bar, mut stored) = (sink.clone(), &bar, &stored);
            scope.spawn(move || {
                for n in 0..BATCHES {
                    let symbol = format!("S{n}-{writer}");
                    let batch = Batch::from((0..ROWS).map(|n| bar(&symbol, n)).collect::<Vec<_>>());
                    block_on(sink.write(&batch)).unwrap();
                    stored.write_all(format!("{symbol}\n").as_bytes()).unwrap();
                }
            });
        }
    });
    // As a power cut would, for the end of a sink copies its log.
    std::process::exit(0);
}

/// Runs this test once more, as the child, and returns what the library noted.
fn trace(test: &str, synchronous: Synchronous) -> Vec<u8> {
    if let Some(dir) = std::env::var_os(DIR) {
        write_batches(&PathBuf::from(dir), synchronous);
    }
    let dir = tempfile::tempdir().unwrap();
    let (source, library) = (dir.path().join("power.c"), dir.path().join("power.so"));
    fs::write(&source, SOURCE).unwrap();
    let built = Command::new("cc").args(["-shared", "-fPIC", "-o"]).args([&library, &source]).status();
    assert!(built.unwrap().success(), "the compiler that builds SQLite");
    let (data, trace) = (dir.path().join("data"), dir.path().join("trace"));
    fs::create_dir(&data).unwrap();
    let output = Command::new(std::env::current_exe().unwrap())
        .args([&format!("power_cuts::{test}"), "--exact", "--nocapture"])
        .env(DIR, fs::canonicalize(&data).unwrap())
        .env(TRACE, &trace)
        .env("LD_PRELOAD", &library)
        .output()
        .unwrap();
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    fs::read(trace).unwrap()
}

/// Red when a batch is acknowledged before what it wrote is on the disk, or what is copied from the log into the file can be
/// lost with the log.
#[test]
fn what_is_acknowledged_survives_the_loss_of_power() {
    let trace = trace("what_is_acknowledged_survives_the_loss_of_power", Synchronous::Full);
    let found = cut(&trace, &mut StdRng::seed_from_u64(7));
    assert_eq!(found.iter().map(|found| found.lost).sum::<usize>(), 0);
    assert!(found.iter().any(|found| found.log_was_unsynced), "no cut was between a write of the log and its sync");
    assert!(found.iter().any(|found| found.file_was_unsynced), "no cut was while the log was copied");
}

/// Red when the file is not sound, or a batch is there in part.
#[test]
fn without_a_sync_a_commit_the_file_is_sound_after_the_loss_of_power() {
    let trace = trace("without_a_sync_a_commit_the_file_is_sound_after_the_loss_of_power", Synchronous::Normal);
    let found = cut(&trace, &mut StdRng::seed_from_u64(8));
    // This costs the last commits, and shows that a cut takes along what no sync protects.
    assert!(found.iter().any(|found| found.lost > 0));
}
