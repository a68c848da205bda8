//! `mds dlq` with the real binary: what it says, what it does, and that it can be killed.

use std::{
    collections::BTreeSet,
    fmt::Write as _,
    fs,
    io::Read,
    ops::Range,
    path::Path,
    process::{Command, Output, Stdio},
    thread,
    time::Duration,
};

use futures::executor::block_on;
use market_data_store::{
    Adjustment, Bar, DeadLetter, DeadLetters, News, Quote, Timeframe, Timestamp, TimestampNanos, dead_letter,
};
use rand::Rng;
use rusqlite::Connection;
use serde_json::{Value, json};

use crate::mds::{Running, count, eventually, in_dir, mds, rows, stderr, stdout};

/// The size of a test: the variable, or a default that a check before every merge can afford.
fn size(variable: &str, default: usize) -> usize {
    std::env::var(variable).map_or(default, |size| size.parse().expect("a number"))
}

pub fn bar(symbol: &str, minute: i64) -> Bar {
    Bar {
        vendor: "acme".into(),
        symbol: symbol.into(),
        timeframe: Timeframe::MINUTE,
        adjustment: Adjustment::Unknown,
        ts: Timestamp::from_micros(minute * 60_000_000),
        open: 1.0,
        high: 2.0,
        low: 0.5,
        close: 1.5,
        volume: None,
    }
}

/// Makes one file of dead letters.
pub fn keep(dir: &Path, bars: impl IntoIterator<Item = Bar>) {
    let dead_letters = DeadLetters::open(&dir.join("dead_letters")).unwrap();
    let letters: Vec<_> = bars.into_iter().map(|bar| DeadLetter::new(&bar, "no such luck", 3)).collect();
    dead_letters.append_blocking("bars", "bars", &letters).unwrap();
    block_on(dead_letters.release());
}

fn dlq(dir: &Path, args: &[&str]) -> Command {
    let mut command = mds(dir);
    command.arg("dlq").args(args).env("MDS_LOG", "error");
    command
}

fn run(dir: &Path, args: &[&str]) -> (i32, String, String) {
    told(&dlq(dir, args).output().unwrap())
}

fn told(output: &Output) -> (i32, String, String) {
    (output.status.code().unwrap(), stdout(output), stderr(output))
}

fn listed(dir: &Path) -> Vec<Value> {
    let (_, out, _) = run(dir, &["list", "--json"]);
    out.lines().map(|line| serde_json::from_str(line).unwrap()).collect()
}

fn replay(dir: &Path, args: &[&str]) -> (i32, Value) {
    let (code, out, err) = run(dir, &[&["replay", "--json"], args].concat());
    (code, serde_json::from_str(&out).unwrap_or_else(|error| panic!("{error}: {out}{err}")))
}

fn stored(dir: &Path) -> BTreeSet<(String, i64)> {
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    store.busy_timeout(Duration::from_secs(10)).unwrap();
    let Ok(mut rows) = store.prepare("SELECT symbol, ts FROM bars") else { return BTreeSet::new() };
    let rows = rows.query_map([], |row| Ok((row.get(0)?, row.get::<_, i64>(1)? / 60_000_000)));
    rows.unwrap().collect::<Result<_, _>>().unwrap()
}

fn files(dir: &Path) -> usize {
    let names = fs::read_dir(dir.join("dead_letters")).unwrap().map(|entry| entry.unwrap().file_name());
    names.filter(|name| name.to_string_lossy().ends_with(".ndjson")).count()
}

/// Makes a store whose table refuses the symbol BAD.
fn refuse(dir: &Path) {
    assert_eq!(ingest(dir, [("OK", 0)]).0, 0);
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    let trigger = "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN new.symbol = 'BAD'
                   BEGIN SELECT RAISE(ABORT, 'no BAD here'); END";
    store.execute_batch(trigger).unwrap();
}

fn allow(dir: &Path) {
    Connection::open(dir.join("market_data.db")).unwrap().execute_batch("DROP TRIGGER refuse").unwrap();
}

fn csv(bars: impl IntoIterator<Item = (&'static str, i64)>) -> String {
    let mut text = "vendor,symbol,timeframe,ts,open,high,low,close\n".to_owned();
    for (symbol, minute) in bars {
        let ts = Timestamp::from_micros(minute * 60_000_000);
        writeln!(text, "acme,{symbol},1m,{ts},1,2,0.5,1.5").unwrap();
    }
    text
}

fn ingest(dir: &Path, bars: impl IntoIterator<Item = (&'static str, i64)>) -> (i32, String, String) {
    let path = dir.join("bars.csv");
    fs::write(&path, csv(bars)).unwrap();
    told(&mds(dir).args(["ingest", "--json"]).arg(path).env("MDS_LOG", "error").output().unwrap())
}

// Sabotage: make the directory or the database, or take it for an error: red.
#[test]
fn a_directory_that_is_not_there_holds_no_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(run(dir.path(), &["list"]), (0, String::new(), String::new()));
    assert_eq!(run(dir.path(), &["list", "--json"]), (0, String::new(), String::new()));
    let (code, report) = replay(dir.path(), &[]);
    assert_eq!((code, report["stored"].as_u64()), (0, Some(0)));
    assert_eq!(replay(dir.path(), &["--dry-run"]).0, 0);
    assert_eq!(run(dir.path(), &["purge", "--all"]).0, 0);
    assert_eq!(run(dir.path(), &["show", "x"]).0, 2);
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

// Sabotage: leave a field out of the list, or a filter unheard: red.
#[test]
fn list_and_show_tell_what_is_known_of_an_entry() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), [bar("ES", 1), bar("NQ", 2)]);
    let (code, out, _) = run(dir.path(), &["list"]);
    assert_eq!((code, out.lines().count()), (0, 2));
    let first = out.lines().next().unwrap();
    assert!(first.ends_with("s  bars  acme ES 1m 1970-01-01T00:01:00Z  no such luck"), "{first}");
    let id = first.split(' ').next().unwrap();

    let found = &listed(dir.path())[0];
    assert_eq!(
        (found["entry"]["id"].as_str(), found["live"].as_bool(), found["line"].as_u64()),
        (Some(id), Some(false), Some(1))
    );
    let (code, out, _) = run(dir.path(), &["show", id]);
    assert_eq!(code, 0);
    for part in ["no such luck", "attempts      3", "replay count  0", "\"symbol\": \"ES\"", ".ndjson:1\n"] {
        assert!(out.contains(part), "{part} in {out}");
    }
    let (_, out, _) = run(dir.path(), &["show", "--json", id]);
    let mut shown: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(
        (shown["entry"]["record"]["symbol"].as_str(), shown["entry"]["kind"].as_str()),
        (Some("ES"), Some("bars"))
    );
    // Red if the two commands show an entry in two forms. Time passes between them.
    shown["age_seconds"] = found["age_seconds"].clone();
    assert_eq!(&shown, found);
    let (code, _, err) = run(dir.path(), &["show", "no-such"]);
    assert_eq!((code, &*err), (2, "error: no dead letter \"no-such\" in dead_letters\n"));

    let count = |args: &[&str]| run(dir.path(), &[&["list"], args].concat()).1.lines().count();
    assert_eq!(count(&["--limit", "1"]), 1);
    assert_eq!(count(&["--coordinator", "other"]), 0);
    assert_eq!(count(&["--coordinator", "bars", "--since", "1h"]), 2);
    assert_eq!(count(&["--since", "9999-01-01"]), 0);
}

// Sabotage: exit with 0, or stop at the damage: red.
#[test]
fn damage_is_named_by_file_and_line_and_the_rest_is_replayed() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), (0..3).map(|n| bar("ES", n)));
    let path = fs::read_dir(dir.path().join("dead_letters")).unwrap().next().unwrap().unwrap().path();
    let text = fs::read_to_string(&path).unwrap().replacen("\"high\":2.0", "\"high\":3.0", 2);
    // Not any "3.0": the time of an entry can hold one.
    let text = text.replacen("\"high\":3.0", "\"high\":2.0", 1);
    fs::write(&path, text).unwrap();
    let (code, out, err) = run(dir.path(), &["list"]);
    assert_eq!((code, out.lines().count()), (65, 2));
    let name = path.file_name().unwrap().to_str().unwrap();
    assert!(err.contains(&format!("{name}:2: its checksum does not match, in")), "{err}");

    let (code, report) = replay(dir.path(), &[]);
    assert_eq!((code, report["stored"].as_u64(), report["damaged"][0]["line"].as_u64()), (65, Some(2), Some(2)));
    assert_eq!(stored(dir.path()), [0, 2].map(|n| ("ES".to_owned(), n)).into());
    assert_eq!(run(dir.path(), &["purge", "--all"]).0, 0);
    assert_eq!(files(dir.path()), 0);
}

// Sabotage: let a purge without a filter pass, or a dry run change something: red.
#[test]
fn a_purge_needs_a_filter_or_all() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), (0..3).map(|n| bar("ES", n)));
    assert_eq!(run(dir.path(), &["purge"]).0, 2);
    assert_eq!(run(dir.path(), &["purge", "--all", "--limit", "1"]).0, 2);
    let (code, out, _) = run(dir.path(), &["purge", "--all", "--dry-run", "--json"]);
    assert_eq!((code, &*out), (0, "{\"purged\":3,\"damaged\":0,\"live\":[],\"foreign\":[]}\n"));
    assert_eq!(listed(dir.path()).len(), 3);
    assert_eq!(run(dir.path(), &["purge", "--limit", "1"]).0, 0);
    assert_eq!(listed(dir.path()).len(), 2);
    assert_eq!(run(dir.path(), &["purge", "--all"]).0, 0);
    assert_eq!((listed(dir.path()).len(), files(dir.path())), (0, 0));
}

// Sabotage: go by the extension, or by the name alone: a file that is not ours is gone.
#[test]
fn what_is_not_ours_is_named_and_left_alone() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), (0..3).map(|n| bar("ES", n)));
    let letters = dir.path().join("dead_letters");
    let bars = "{\"symbol\":\"ES\",\"open\":1}\n";
    let foreign = [
        ("bars.ndjson", bars),
        ("20260101T000000-000001-0000abcd.ndjson", bars),
        ("bars.settled", "mine\n"),
        ("20260101T000000-000002-0000abcd.settled", "mine\n"),
        ("draft.new", ""),
        ("20260101T000000-000003-0000abcd.new", "mine\n"),
    ];
    let old = std::time::SystemTime::now() - Duration::from_secs(3_600);
    for (name, content) in foreign {
        let path = letters.join(name);
        fs::write(&path, content).unwrap();
        fs::File::options().append(true).open(path).unwrap().set_modified(old).unwrap();
    }
    // What processes of ours left behind when they were killed goes all the same.
    let orphan = "{\"id\":\"c4b71af0afbc85ae-1\",\"outcome\":\"stored\"}\n";
    let left = [
        ("20260101T000000-000004-0000abcd.settled", orphan),
        ("20260101T000000-000005-0000abcd.new", ""),
        // By which a start tried the directory.
        ("20260101T000000-000006-0000abcd.new", "\n"),
    ];
    for (name, content) in left {
        fs::write(letters.join(name), content).unwrap();
        fs::File::options().append(true).open(letters.join(name)).unwrap().set_modified(old).unwrap();
    }
    let names_them = |err: &str| {
        for (name, _) in foreign.iter().filter(|(name, _)| !name.ends_with(".new")) {
            assert!(err.contains(&format!("{name}: not a file of dead letters, left alone")), "{name}: {err}");
        }
    };
    let (code, out, err) = run(dir.path(), &["list"]);
    assert_eq!((code, out.lines().count()), (0, 3));
    names_them(&err);
    let (code, _, err) = run(dir.path(), &["replay", "--limit", "1"]);
    assert_eq!(code, 0, "{err}");
    names_them(&err);
    let (code, out, err) = run(dir.path(), &["purge", "--all"]);
    assert_eq!(code, 0, "{out}{err}");
    names_them(&err);
    let (_, _, err) = run(dir.path(), &["replay"]);
    names_them(&err);
    for (name, content) in foreign {
        assert_eq!(fs::read_to_string(letters.join(name)).unwrap(), content, "{name}");
    }
    for (name, _) in left {
        assert!(!letters.join(name).exists(), "{name}");
    }
    assert_eq!((listed(dir.path()).len(), stored(dir.path()).len()), (0, 1));
}

// Sabotage: never give up, settle what was not stored, or count it as a replay: red. Red too if what was under way
// becomes new entries, behind those that were not come to: the next replay would store the older of two updates last.
#[test]
fn a_replay_gives_up_after_a_while_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ingest(dir.path(), [("OK", 0)]).0, 0);
    keep(dir.path(), (0..50).map(|n| bar("ES", n)));
    let locked = Connection::open(dir.path().join("market_data.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let ids = |found: &[Value]| found.iter().map(|found| found["entry"]["id"].to_string()).collect::<Vec<_>>();
    let before = ids(&listed(dir.path()));
    let (code, out, err) = run(dir.path(), &["replay", "--give-up-after", "300ms", "--json"]);
    assert_eq!(code, 69, "{out}{err}");
    assert!(err.contains("gave up after 0.3 s, nothing was stored for ") && err.contains("locked"), "{err}");
    drop(locked);
    let found = listed(dir.path());
    assert_eq!((ids(&found), before.len()), (before.clone(), 50), "each in its place");
    assert!(found.iter().all(|found| found["entry"]["replay_count"] == 0), "an outage counts for nothing");
    assert_eq!(replay(dir.path(), &[]).0, 0);
    assert_eq!((stored(dir.path()).len(), listed(dir.path()).len()), (51, 0));
}

// Sabotage: leave it out of the list, or of what is left: red.
#[test]
fn an_entry_without_a_record_is_listed_shown_counted_and_stays() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), [bar("ES", 1)]);
    let letters = dir.path().join("dead_letters");
    let path = fs::read_dir(&letters).unwrap().next().unwrap().unwrap().path();
    let line = fs::read_to_string(&path).unwrap();
    let mut entry: Value = serde_json::from_str(&line).unwrap();
    let object = entry.as_object_mut().unwrap();
    object.remove("crc");
    object.insert("record".to_owned(), Value::Null);
    let left = "{\"why\":\"key must be a string\",\"partition_key\":\"ES\",\"begins\":\"{\\\"vendor\\\":\"}";
    object.insert("unwritable".to_owned(), serde_json::from_str(left).unwrap());
    fs::write(&path, format!("{entry}\n")).unwrap();
    let id = entry["id"].as_str().unwrap();

    let (code, out, _) = run(dir.path(), &["list"]);
    assert_eq!(code, 0);
    assert!(out.contains("ES (no JSON, cannot be replayed)"), "{out}");
    let (_, out, _) = run(dir.path(), &["show", id]);
    for part in ["cannot be replayed: it could not be written as JSON, key must be a string", "ES", "{\"vendor\":"] {
        assert!(out.contains(part), "{out}");
    }
    let (code, report) = replay(dir.path(), &[]);
    assert_eq!((code, report["unwritable"].as_u64(), report["stored"].as_u64()), (65, Some(1), Some(0)));
    let (_, out, _) = run(dir.path(), &["replay"]);
    assert!(out.contains("without a record     1"), "{out}");
    assert_eq!(listed(dir.path()).len(), 1);
    assert_eq!(run(dir.path(), &["purge", "--all"]).0, 0);
    assert_eq!(listed(dir.path()).len(), 0);
}

// Sabotage: settle what was refused, forget its count, or exit with 0: red.
#[test]
fn what_the_store_refuses_can_be_replayed_once_it_does_not() {
    let dir = tempfile::tempdir().unwrap();
    refuse(dir.path());
    let (code, out, err) = ingest(dir.path(), [("GOOD", 1), ("BAD", 1), ("GOOD", 2), ("BAD", 2)]);
    assert_eq!(code, 65, "{out}{err}");
    let found = listed(dir.path());
    assert_eq!(found.len(), 2);
    assert!(found[0]["entry"]["error"].as_str().unwrap().contains("no BAD here"));

    let (code, report) = replay(dir.path(), &["--dry-run"]);
    assert_eq!((code, report["stored"].as_u64()), (0, Some(2)));
    for replays in 1..=2 {
        let (code, report) = replay(dir.path(), &["--max-replays", "2"]);
        assert_eq!((code, report["stored"].as_u64(), report["dead_lettered"].as_u64()), (65, Some(0), Some(2)));
        let counts: Vec<_> = listed(dir.path()).iter().map(|found| found["entry"]["replay_count"].as_u64()).collect();
        assert_eq!(counts, [Some(replays); 2]);
    }
    let (code, report) = replay(dir.path(), &["--max-replays", "2"]);
    assert_eq!((code, report["exhausted"].as_u64()), (65, Some(2)));

    allow(dir.path());
    let (code, report) = replay(dir.path(), &["--limit", "1"]);
    assert_eq!((code, report["stored"].as_u64()), (0, Some(1)));
    assert_eq!((listed(dir.path()).len(), files(dir.path())), (1, 1));
    assert_eq!(replay(dir.path(), &[]).0, 0);
    assert_eq!((listed(dir.path()).len(), files(dir.path())), (0, 0));
    let expected = [("OK", 0), ("GOOD", 1), ("BAD", 1), ("GOOD", 2), ("BAD", 2)];
    assert_eq!(stored(dir.path()), expected.map(|(symbol, n)| (symbol.to_owned(), n)).into());
}

// Sabotage: leave entries of other kinds uncounted, or give them to the coordinator of bars: red.
#[test]
fn entries_of_other_kinds_stay() {
    let dir = tempfile::tempdir().unwrap();
    let dead_letters = DeadLetters::open(&dir.path().join("dead_letters")).unwrap();
    let letter = DeadLetter::new(&bar("ES", 1), "e", 1);
    dead_letters.append_blocking("quotes", "quotes", &[letter]).unwrap();
    block_on(dead_letters.release());
    let (code, report) = replay(dir.path(), &[]);
    assert_eq!((code, report["other_kinds"]["quotes"].as_u64()), (65, Some(1)));
    assert_eq!(listed(dir.path()).len(), 1);
}

// Red when a kind of MDS_KINDS is left alone, an entry goes to another coordinator than that of its kind, or the dry run
// counts otherwise.
#[test]
fn entries_of_each_kind_that_has_a_coordinator_are_replayed() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), [bar("ES", 1)]);
    let dead_letters = DeadLetters::open(&dir.path().join("dead_letters")).unwrap();
    let quotes = [1, 2].map(|nanos| DeadLetter::new(&Quote::new("ES", TimestampNanos::from_nanos(nanos)), "e", 1));
    dead_letters.append_blocking("quotes", "quotes", &quotes).unwrap();
    let news = DeadLetter::new(&News::new(Timestamp::from_micros(1), "t"), "e", 1);
    dead_letters.append_blocking("news", "news", &[news]).unwrap();
    block_on(dead_letters.release());
    for dry_run in [&["--dry-run"][..], &[]] {
        let args = [&["replay", "--json"], dry_run].concat();
        let (code, out, err) = told(&dlq(dir.path(), &args).env("MDS_KINDS", "bars,quotes").output().unwrap());
        let report: Value = serde_json::from_str(&out).unwrap_or_else(|_| panic!("{err}"));
        assert_eq!((code, &report["stored"], &report["other_kinds"]), (65, &json!(3), &json!({"news": 1})), "{err}");
    }
    let kinds: Vec<_> = listed(dir.path()).iter().map(|found| found["entry"]["kind"].clone()).collect();
    assert_eq!(kinds, ["news"]);
    let connection = Connection::open(dir.path().join("market_data.db")).unwrap();
    let count = |sql: &str| connection.query_row(sql, [], |row| row.get::<_, i64>(0)).unwrap();
    assert_eq!((count("SELECT count(*) FROM quotes"), count("SELECT count(*) FROM bars")), (2, 1));

    let (code, _, err) = told(&dlq(dir.path(), &["replay"]).env("MDS_KINDS", "bars,candles").output().unwrap());
    assert_eq!(code, 78, "{err}");
    assert!(err.contains("MDS_KINDS has \"candles\", expected one or several of bars, quotes"), "{err}");
}

// Sabotage: wait without looking for the signal, or settle what was not stored: red.
#[cfg(unix)]
#[test]
fn a_replay_into_a_store_that_is_away_can_be_stopped_and_keeps_everything() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ingest(dir.path(), [("OK", 0)]).0, 0);
    keep(dir.path(), (0..50).map(|n| bar("ES", n)));
    let locked = Connection::open(dir.path().join("market_data.db")).unwrap();
    locked.execute_batch("BEGIN IMMEDIATE").unwrap();
    let mut command = dlq(dir.path(), &["replay", "--json"]);
    command.env("MDS_LOG", "warn").env("MDS_SHUTDOWN_TIMEOUT", "0.2");
    let mut child = command.stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
    // It has tried.
    let mut log = child.stderr.take().unwrap();
    let mut seen = String::new();
    while !seen.contains("locked") {
        let mut byte = [0];
        assert_eq!(log.read(&mut byte).unwrap(), 1, "it ended: {seen}");
        seen.push(byte[0] as char);
    }
    // A second one is refused meanwhile.
    let (code, _, err) = run(dir.path(), &["replay"]);
    assert_eq!(code, 69, "{err}");
    assert!(err.contains("dead_letters: a replay or a purge of this directory is under way"), "{err}");
    let pid = child.id().to_string();
    assert!(in_dir(Command::new("kill"), dir.path()).args(["-TERM", &pid]).status().unwrap().success());
    let output = child.wait_with_output().unwrap();
    assert_eq!(output.status.code(), Some(143), "{seen}");
    drop(locked);
    let symbols: BTreeSet<String> =
        listed(dir.path()).iter().map(|found| found["entry"]["record"]["ts"].to_string()).collect();
    assert_eq!(symbols.len(), 50);
    assert!(listed(dir.path()).iter().all(|found| found["entry"]["replay_count"] == 0), "an outage counts for nothing");
    assert_eq!(replay(dir.path(), &[]).0, 0);
    assert_eq!(stored(dir.path()).len(), 51);
}

// Sabotage: settle before the store has it or what it refused (an entry is nowhere), write a newer file before an older
// one (an older price is stored last), or remove the journal before its file and leave the journal out (what was
// settled comes again and again): red.
#[cfg(unix)]
#[test]
fn a_replay_that_is_killed_again_and_again_stores_everything() {
    const FILES: i64 = 4;
    const EACH: i64 = 400;
    let kills = size("MDS_TEST_REPLAY_KILLS", 12);
    let dir = tempfile::tempdir().unwrap();
    refuse(dir.path());
    let mut random = rand::rng();
    let (mut in_the_middle, mut others, mut generation) = (0, 0, 0);
    let mut expected = BTreeSet::from([("OK".to_owned(), 0)]);
    // Bars of two files, of which the second has the newer price.
    let mut updated = Vec::new();
    while in_the_middle < kills {
        let good = |kept: &BTreeSet<(String, i64)>| kept.iter().filter(|(symbol, _)| symbol != "BAD").count();
        if good(&kept(dir.path())) == 0 {
            if generation > 0 {
                // What was refused all the while is whole, and goes now.
                allow(dir.path());
                assert_eq!(replay(dir.path(), &["--max-replays", "1000000"]).0, 0);
                assert_eq!((kept(dir.path()), files(dir.path())), (BTreeSet::new(), 0));
                refuse(dir.path());
            }
            generation += 1;
            for file in 0..FILES {
                let first = (generation * FILES + file) * EACH;
                // The store refuses one in ten, all the while.
                let symbol = |minute| if minute % 10 == 3 { "BAD" } else { "ES" };
                let old = (first..first + EACH).map(|minute| bar(symbol(minute), minute));
                let new = (first - EACH..first).step_by(7).filter(|minute| file > 0 && symbol(*minute) == "ES");
                let new: Vec<_> = new.collect();
                keep(dir.path(), old.chain(new.iter().map(|&minute| Bar { close: 2.0, ..bar("ES", minute) })));
                expected.extend((first..first + EACH).map(|minute| (symbol(minute).to_owned(), minute)));
                updated.extend(new);
            }
        }
        let mut command = dlq(dir.path(), &["replay", "--max-replays", "1000000"]);
        command.env("MDS_COORDINATOR_BATCH_SIZE", "20").stdout(Stdio::null()).stderr(Stdio::null());
        let (before, left) = (rows(dir.path()), good(&kept(dir.path())));
        let mut child = command.spawn().unwrap();
        let is_running = |child: &mut std::process::Child| child.try_wait().unwrap().is_none();
        // One in five is killed at any moment, the others after their first write.
        if random.random_ratio(1, 5) {
            thread::sleep(Duration::from_micros(random.random_range(0..150_000)));
        } else {
            while is_running(&mut child) && rows(dir.path()) == before {
                thread::yield_now();
            }
            // Any length of time is as likely as its double: the speed of this machine is not known.
            thread::sleep(Duration::from_micros(50 << random.random_range(0..12)));
        }
        let was_running = is_running(&mut child);
        child.kill().unwrap();
        child.wait().unwrap();
        let (there, kept) = (stored(dir.path()), kept(dir.path()));
        if was_running && there.len() as i64 > before && good(&kept) > 0 {
            in_the_middle += 1;
        } else {
            others += 1;
        }
        assert!(good(&kept) <= left, "what was settled is back");
        let nowhere: Vec<_> = expected.iter().filter(|bar| !there.contains(bar) && !kept.contains(bar)).collect();
        assert!(nowhere.is_empty(), "after {in_the_middle} kills: {nowhere:?}");
        let refused = expected.iter().filter(|bar| bar.0 == "BAD" && bar.1 >= generation * FILES * EACH);
        assert!(refused.into_iter().all(|bar| kept.contains(bar)), "what is refused stays");
        assert!(
            others < 20 * kills + 20,
            "only {in_the_middle} kills of {} were in the middle",
            in_the_middle + others
        );
    }
    allow(dir.path());
    assert_eq!(replay(dir.path(), &["--max-replays", "1000000"]).0, 0);
    assert_eq!(stored(dir.path()), expected);
    assert_eq!((kept(dir.path()), files(dir.path())), (BTreeSet::new(), 0));
    let store = Connection::open(dir.path().join("market_data.db")).unwrap();
    for minute in updated {
        let sql = "SELECT close FROM bars WHERE symbol = 'ES' AND ts = ?1";
        let close: f64 = store.query_row(sql, [minute * 60_000_000], |row| row.get(0)).unwrap();
        assert_eq!(close, 2.0, "the older price of minute {minute} was stored last");
    }
    println!("{in_the_middle} kills in the middle, {others} others, {generation} generations");
}

/// What is in the files, read without a process.
fn kept(dir: &Path) -> BTreeSet<(String, i64)> {
    let list = dead_letter::list(&dir.join("dead_letters")).unwrap();
    let bars = list.map(|found| serde_json::from_str::<Bar>(found.unwrap().entry.unwrap().record.get()).unwrap());
    bars.map(|bar| (bar.symbol.to_string(), bar.ts.as_micros() / 60_000_000)).collect()
}

// Sabotage: leave files in use out of what makes a replay complete: it says 0, and the entry is not in the store.
#[test]
fn a_replay_that_leaves_a_file_in_use_alone_says_that_something_is_left() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), [bar("ES", 0)]);
    let writing = DeadLetters::open(&dir.path().join("dead_letters")).unwrap();
    writing.append_blocking("bars", "bars", &[DeadLetter::new(&bar("NQ", 0), "no such luck", 3)]).unwrap();
    for args in [&["--dry-run"][..], &[]] {
        let (code, report) = replay(dir.path(), args);
        assert_eq!((code, &report["stored"], report["live"].as_array().unwrap().len()), (65, &json!(1), 1), "{args:?}");
    }
    block_on(writing.release());
    assert_eq!(replay(dir.path(), &[]).0, 0);
    assert_eq!(stored(dir.path()).len(), 2);
}

// Sabotage: take the level that it raises itself for the end, or wait for it without settling what is under way where
// time alone hands nothing out: red.
#[test]
fn a_replay_whose_own_writes_raise_the_level_waits_and_stores_everything() {
    const ENTRIES: i64 = 300;
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), (0..ENTRIES).map(|n| bar(["ES", "NQ", "CL"][n as usize % 3], n)));
    let mut command = dlq(dir.path(), &["replay", "--json"]);
    command.env("MDS_LOG", "debug").env("MDS_COORDINATOR_CAPACITY", "8").env("MDS_COORDINATOR_BATCH_SIZE", "8");
    command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "1h");
    let mut running = Running::start(command);
    eventually("it ends", || running.child.try_wait().unwrap().is_some());
    let mut out = String::new();
    running.child.stdout.take().unwrap().read_to_string(&mut out).unwrap();
    let log: Vec<_> = running.log.iter().collect();
    let report: Value = serde_json::from_str(&out).unwrap();
    let code = running.child.wait().unwrap().code();
    assert_eq!((code, report["stored"].as_i64()), (Some(0), Some(ENTRIES)), "{log:#?}");
    let told = |level: &str| log.iter().filter(|line| line.contains(&format!("level=\"{level}\""))).count();
    // The first ok is that of the start.
    assert!(told("soft") + told("hard") > 1 && told("ok") > 2, "{log:#?}");
    assert_eq!((stored(dir.path()).len() as i64, files(dir.path())), (ENTRIES, 0));
}

// Sabotage: let the replay take a file that an ingest writes, pass over one in silence, or end without a look at the
// others: red. The ingests are fed by pipes that stay open, so every replay here runs beside both of them.
#[test]
fn two_ingests_and_a_replay_on_one_directory_lose_nothing() {
    let each = size("MDS_TEST_INGESTS_BESIDE_REPLAYS", 60) as i64;
    let rounds = (each / 100).max(6);
    let dir = tempfile::tempdir().unwrap();
    refuse(dir.path());
    // One that every replay is refused.
    keep(dir.path(), [bar("BAD", 2 * each)]);
    let mut ingests = ["ONE", "TWO"].map(|symbol| {
        let mut command = mds(dir.path());
        command.args(["ingest", "--json", "-"]).env("MDS_LOG", "error");
        command.env("MDS_COORDINATOR_BATCH_SIZE", "10").env("MDS_COORDINATOR_FLUSH_INTERVAL", "0.005");
        (symbol, Running::start(command))
    });
    // Line by line: each is read, and the second of each two refused, while the next is written.
    let feed = |at: usize, (symbol, ingest): &mut (&'static str, Running), rows: Range<i64>| {
        let is_first = rows.start == 0;
        let text = csv(rows.flat_map(|row| [(*symbol, row), ("BAD", at as i64 * each + row)]));
        text.split_inclusive('\n').skip(usize::from(!is_first)).for_each(|line| ingest.write(line));
    };
    let live = || {
        let found = dead_letter::list(&dir.path().join("dead_letters")).unwrap().map(Result::unwrap);
        found.filter(|found| found.live).map(|found| found.file).collect::<BTreeSet<_>>().len()
    };
    for (at, ingest) in ingests.iter_mut().enumerate() {
        feed(at, ingest, 0..1);
    }
    eventually("both ingests write a file of dead letters", || live() == 2);
    let mut met = 0;
    for round in 0..rounds {
        keep(dir.path(), [bar("KEPT", round)]);
        let rows = 1 + (each - 1) * round / rounds..1 + (each - 1) * (round + 1) / rounds;
        let (code, report) = thread::scope(|scope| {
            for (at, ingest) in ingests.iter_mut().enumerate() {
                let (feed, rows) = (&feed, rows.clone());
                scope.spawn(move || feed(at, ingest, rows));
            }
            replay(dir.path(), &["--max-replays", "1000"])
        });
        assert_eq!(code, 65, "{report}");
        let settled = [&report["stored"], &report["dead_lettered"]].map(|count| count.as_u64().unwrap());
        assert!(settled[0] >= 1 && settled[1] >= 1, "beside the ingests nothing was settled: {report}");
        met += i64::from(report["live"].as_array().unwrap().len() == 2);
        let ended = ingests.iter_mut().any(|(_, ingest)| ingest.child.try_wait().unwrap().is_some());
        assert!(!ended, "an ingest ended with its input open");
    }
    // An ingest that has nothing to give up for five seconds lets go of its file: on a machine that stood still
    // meanwhile.
    assert!(2 * met > rounds, "only {met} of {rounds} replays met both files that an ingest wrote");
    for (_, mut ingest) in ingests {
        ingest.stdin.take();
        let (status, summary) = ingest.end();
        assert_eq!(status.code(), Some(65), "{summary}");
        assert_eq!([count(&summary, "stored"), count(&summary, "dead_lettered")], [each as u64; 2]);
    }
    println!("{met} of {rounds} replays met both files");
    assert_eq!(kept(dir.path()), (0..=2 * each).map(|n| ("BAD".to_owned(), n)).collect());
    allow(dir.path());
    assert_eq!(replay(dir.path(), &["--max-replays", "1000"]).0, 0);
    assert_eq!(listed(dir.path()).len(), 0);
    assert_eq!(stored(dir.path()).len() as i64, 1 + 4 * each + 1 + rounds);
}

// Sabotage: let only those that write records listen to the signal: the others are ended by it, and say nothing.
#[cfg(unix)]
#[test]
fn every_command_that_meets_a_limit_of_the_size_of_files_says_so() {
    let dir = tempfile::tempdir().unwrap();
    assert_eq!(ingest(dir.path(), [("OK", 0)]).0, 0);
    keep(dir.path(), (0..2).map(|n| bar("ES", n)));
    let id = listed(dir.path())[0]["entry"]["id"].as_str().unwrap().to_owned();
    let output = "error: cannot write to standard output: File too large";
    for (command, code, said) in [
        ("config", 70, output),
        // SQLite has to write for readers too.
        ("check", 69, "error: "),
        ("dlq list", 70, output),
        (&format!("dlq show {id}"), 70, output),
        ("dlq replay --dry-run", 70, output),
        ("dlq purge --all --dry-run", 70, output),
        ("dlq purge --all", 70, output),
    ] {
        let mut limited = in_dir(Command::new("sh"), dir.path());
        limited.args(["-c", r#"ulimit -f 0; exec "$0" "$@" > written"#, env!("CARGO_BIN_EXE_mds")]);
        let ended = limited.args(command.split(' ')).output().unwrap();
        assert_eq!(ended.status.code(), Some(code), "{command}: {ended:?}");
        assert!(stderr(&ended).starts_with(said), "{command}: {ended:?}");
    }
    assert_eq!(listed(dir.path()).len(), 0, "a purge has nothing to write but what it did");
}
