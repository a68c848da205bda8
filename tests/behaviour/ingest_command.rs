//! `mds ingest` with the real binary on real files: what is stored, what is said, and how it ends.

use std::{
    fs,
    io::{Read, Write},
    path::Path,
    process::{Command, Stdio},
    sync::mpsc::channel,
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use tempfile::TempDir;

use crate::mds::{
    Running, SP500, TOO_LONG, count, dead_letters, empty_store, eventually, expected, in_dir, ingest, minutes, rows,
    run, stderr, stdout, stored, summary,
};

#[cfg(unix)]
use crate::mds::block_dead_letters;

const NASDAQ: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/nasdaq.csv");
/// The first 1,000 rows of the above, and 7 broken lines of different kinds among them.
const BROKEN: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/data/broken.csv");
const BROKEN_LINES: [u64; 7] = [2, 100, 250, 400, 555, 777, 1008];

#[test]
fn both_real_files_load_and_every_value_is_the_file_s() {
    // Red if a price goes through a decimal type or f32, a date is read as D/M, or Adj Close is taken for Close.
    let dir = tempfile::tempdir().unwrap();
    for (file, symbol) in [(SP500, "spx"), (NASDAQ, "^IXIC")] {
        let output = run(dir.path(), &["--symbol", symbol, "--timeframe", "1D", "--json", file]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        let summary = summary(&output);
        assert_eq!((count(&summary, "read"), count(&summary, "stored")), (5031, 5031));
        let said = stderr(&output);
        let warned: Vec<&str> = said.lines().filter(|line| line.contains("ignored columns")).collect();
        let [line] = warned[..] else { panic!("expected one line about what is ignored: {said}") };
        assert!(line.contains(" WARN ") && line.contains("ignored columns: Adj Close"), "{line}");
    }
    let mut all = expected(SP500, "SPX");
    all.append(&mut expected(NASDAQ, "^IXIC"));
    assert_eq!(all.len(), 10_062);
    assert!(stored(dir.path()) == all, "the store and the files differ");
    assert!(!dir.path().join("market_data.db-wal").exists(), "everything is in the one file");
}

#[test]
fn loading_twice_leaves_the_same_rows() {
    let dir = tempfile::tempdir().unwrap();
    for _ in 0..2 {
        let output = run(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
        assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
        assert!(stored(dir.path()) == expected(SP500, "SPX"));
    }
}

#[test]
fn a_watermark_of_the_coordinator_alone_keeps_its_queue_as_it_is() {
    // Red if the larger queue of a load is taken all the same: its low watermark is above that high one.
    let dir = tempfile::tempdir().unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
    let output = command.env("MDS_BARS_COORDINATOR_HIGH_WATERMARK", "8000").output().unwrap();
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(rows(dir.path()), 5031);
}

#[test]
fn broken_lines_cost_only_themselves_and_are_named() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["--symbol", "^IXIC", "--timeframe", "1d", BROKEN];

    let output = run(dir.path(), &[&args[..], &["--json"]].concat());
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!((count(&summary, "read"), count(&summary, "stored"), count(&summary, "rejected")), (1_007, 1_000, 7));
    let errors = summary["errors"].as_array().unwrap();
    assert_eq!(errors.iter().map(|error| error["line"].as_u64().unwrap()).collect::<Vec<_>>(), BROKEN_LINES);
    assert!(errors.iter().all(|error| error["file"] == BROKEN && !error["message"].as_str().unwrap().is_empty()));
    let whole = expected(NASDAQ, "^IXIC");
    let stored = stored(dir.path());
    assert_eq!(stored.len(), 1_000);
    assert!(stored.iter().all(|(key, prices)| whole.get(key) == Some(prices)), "a good row was changed");

    let output = run(dir.path(), &args);
    let table = stdout(&output);
    assert_eq!(output.status.code(), Some(65));
    for line in BROKEN_LINES {
        assert!(table.contains(&format!("\n{BROKEN}:{line}: ")), "{table}");
    }
}

#[test]
fn only_the_first_twenty_rejected_lines_are_named() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(25).replace(",10,", ",ten,") + &minutes(1)[30..]).unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "bars.csv"];
    let summary = summary(&run(dir.path(), &[&args[..], &["--json"]].concat()));
    assert_eq!((count(&summary, "rejected"), summary["errors"].as_array().unwrap().len()), (25, 20));
    assert!(stdout(&run(dir.path(), &args)).ends_with("and 5 more rejected\n"));
}

#[test]
fn a_dry_run_reads_everything_and_leaves_nothing_behind() {
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &["--symbol", "^IXIC", "--timeframe", "1d", "--dry-run", "--json", BROKEN]);
    assert_eq!(output.status.code(), Some(65));
    let summary = summary(&output);
    assert_eq!((count(&summary, "stored"), count(&summary, "rejected")), (1_000, 7));
    assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 0);
}

#[test]
fn what_is_missing_is_told_at_once_with_a_command_that_works() {
    let dir = tempfile::tempdir().unwrap();
    fs::copy(SP500, dir.path().join("sp500.csv")).unwrap();
    let output = run(dir.path(), &["sp500.csv"]);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let text = stderr(&output);
    let (error, proposal) = text.trim_end().split_once("\n  try: mds ingest ").unwrap();
    assert_eq!(error, "error: sp500.csv: the file names no symbol and no timeframe");
    assert_eq!(proposal, "--symbol SP500 --timeframe 1d sp500.csv");
    assert!(!dir.path().join("market_data.db").exists());

    let output = run(dir.path(), &proposal.split(' ').collect::<Vec<_>>());
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(rows(dir.path()), 5031);

    // Red if a timeframe in the name is a part of the symbol, or is not proposed where one row shows none.
    fs::write(dir.path().join("AAPL_5m.csv"), minutes(1)).unwrap();
    let said = stderr(&run(dir.path(), &["AAPL_5m.csv"]));
    assert!(said.ends_with("  try: mds ingest --symbol AAPL --timeframe 5m AAPL_5m.csv\n"), "{said}");
}

#[test]
fn one_file_that_cannot_be_read_refuses_all_before_anything_is_written() {
    // Red if files are checked one by one as their turn comes.
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.csv"), minutes(10)).unwrap();
    fs::write(dir.path().join("binary.csv"), b"\x00\x01\x02\x03\n").unwrap();
    fs::create_dir(dir.path().join("folder")).unwrap();
    let output = run(
        dir.path(),
        &["--symbol", "ES", "--timeframe", "1m", "good.csv", "gone.csv", "folder", "binary.csv", "--json"],
    );
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let text = stderr(&output);
    for name in ["gone.csv", "folder", "binary.csv"] {
        assert!(text.contains(&format!("error: {name}: ")), "{text}");
    }
    assert!(!text.contains("good.csv"), "{text}");
    assert!(!dir.path().join("market_data.db").exists());
}

#[test]
fn an_input_that_fails_when_its_turn_comes_costs_only_itself() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("good.csv"), minutes(10)).unwrap();
    fs::write(dir.path().join("prices.csv"), "price,size\n1,2\n").unwrap();
    for (stdin, code, said) in [
        // Refused whole; it could not be looked at before, as it can be read only once.
        (dir.path().join("prices.csv"), 2, "error: -: "),
        // Cannot be read.
        (dir.path().to_owned(), 70, "error: -: cannot read: "),
    ] {
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-", "good.csv"]);
        let output = command.stdin(fs::File::open(stdin).unwrap()).output().unwrap();
        assert_eq!(output.status.code(), Some(code), "{}", stderr(&output));
        assert!(stderr(&output).contains(said), "{}", stderr(&output));
        let summary = summary(&output);
        assert_eq!((count(&summary, "files"), count(&summary, "read"), count(&summary, "stored")), (2, 10, 10));
    }
}

#[test]
fn a_wrong_option_ends_with_2() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1)).unwrap();
    for (args, said) in [
        (&["bars.csv", "--timeframe", "1x"][..], "1x"),
        (&["bars.csv", "--tz", "Mars/Base"], "Mars/Base"),
        (&["bars.csv", "--symbol", ""], "symbol"),
        (&["bars.csv", "--ts-format", "%"], "%"),
        (&["-", "-"], "expected - once"),
        (&[], "FILE"),
    ] {
        let output = run(dir.path(), args);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{args:?}");
        assert!(stderr(&output).contains(said), "{args:?}: {}", stderr(&output));
    }
    assert!(!dir.path().join("market_data.db").exists());
}

#[test]
fn a_store_that_cannot_be_one_ends_with_69() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(10)).unwrap();
    fs::write(dir.path().join("notes.txt"), "no database at all, but long enough to have a header of one".repeat(20))
        .unwrap();
    // The last may not be written to, which no waiting changes; no process makes files in /sys.
    let mut urls = vec!["sqlite://notes.txt", "sqlite://no/such/directory/bars.db", "sqlite://notes.txt/bars.db"];
    urls.extend(cfg!(target_os = "linux").then_some("sqlite:///sys/bars.db"));
    for url in urls {
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "bars.csv"]);
        let output = command.env("MDS_DATABASE_URL", url).output().unwrap();
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(69), ""), "{url}: {}", stderr(&output));
        let path = url.strip_prefix("sqlite://").unwrap();
        let said = stderr(&output);
        assert!(said.starts_with("error: ") && said.contains(path) && said.lines().count() == 1, "{said}");
    }
}

#[test]
fn a_record_that_the_store_refuses_for_good_is_a_dead_letter_and_costs_no_other() {
    // Red if its batch goes down with it, if it is not kept, or if the exit code says that all is well.
    let dir = tempfile::tempdir().unwrap();
    empty_store(dir.path())
        .execute_batch(
            "CREATE TRIGGER refuse BEFORE INSERT ON bars WHEN NEW.volume = 700
             BEGIN SELECT RAISE(ABORT, 'not this one'); END",
        )
        .unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1_000)).unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "bars.csv"]);
    let output = command.env("MDS_COORDINATOR_BATCH_SIZE", "100").output().unwrap();
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    assert!(stderr(&output).contains("WARN") && stderr(&output).contains("not this one"), "{}", stderr(&output));
    let summary = summary(&output);
    let settled = ["read", "stored", "dead_lettered", "unsettled"].map(|field| count(&summary, field));
    assert_eq!(settled, [1_000, 999, 1, 0], "{summary}");
    assert_eq!(rows(dir.path()), 999);
    let kept = dead_letters(dir.path());
    assert_eq!(kept.len(), 1);
    assert_eq!(kept[0]["record"]["volume"], 700.0);
    assert!(kept[0]["error"].as_str().unwrap().contains("not this one"), "{}", kept[0]);
}

#[test]
fn an_outage_is_given_up_after_a_while_and_the_same_command_finishes_the_job() {
    // Red if it never gives up, forgets what it had accepted, or says that all is well.
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1_000)).unwrap();
    let args = |seconds| ["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", seconds, "bars.csv"];
    let start = Instant::now();
    let output = ingest(dir.path(), &args("1")).output().unwrap();
    assert!(start.elapsed() >= Duration::from_secs(1) && start.elapsed() < TOO_LONG);
    assert_eq!(output.status.code(), Some(69), "{}", stderr(&output));
    assert!(stderr(&output).contains("error: gave up"), "{}", stderr(&output));
    let first = summary(&output);
    let accepted = count(&first, "read");
    assert!(accepted > 0 && count(&first, "dead_lettered") == accepted, "{first}");
    assert_eq!(dead_letters(dir.path()).len() as u64, accepted);
    assert_eq!((count(&first, "stored"), count(&first, "unsettled")), (0, 0));

    lock.execute_batch("ROLLBACK").unwrap();
    // The store is there now, and a machine that is busy may need more than a second for it.
    let output = ingest(dir.path(), &args("60")).output().unwrap();
    assert_eq!((output.status.code(), rows(dir.path())), (Some(0), 1_000), "{}", stderr(&output));
}

/// Ctrl-Z, or a machine that sleeps.
// Sabotage: let all the time count between two looks at the store: it gives up a store that has long been back.
#[cfg(unix)]
#[test]
fn time_in_which_it_was_stopped_is_no_outage() {
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN IMMEDIATE").unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1_000)).unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", "5s", "bars.csv"];
    let mut command = ingest(dir.path(), &args);
    command.env("MDS_CB_HALF_OPEN_AFTER_SEC", "1");
    let running = Running::start(command);
    running.wait_for("is tried again");
    running.signal("STOP");
    // The time is the point: it is longer than the store is waited for.
    thread::sleep(Duration::from_secs(6));
    lock.execute_batch("ROLLBACK").unwrap();
    running.signal("CONT");
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "stored")), (Some(0), 1_000), "{summary}");
}

#[test]
fn a_quiet_pipe_is_no_outage() {
    // Red if time counts in which nothing waits to be stored.
    let dir = tempfile::tempdir().unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", "0.3", "-"];
    let mut running = Running::start(ingest(dir.path(), &args));
    running.write(&minutes(3));
    eventually("the rows are in the store", || rows(dir.path()) == 3);
    // The time is the point: more than twice what it would wait in an outage.
    std::thread::sleep(Duration::from_millis(700));
    running.stdin.take();
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "stored")), (Some(0), 3));
}

#[test]
fn a_pipe_is_written_by_the_flush_interval_while_it_is_open() {
    // Red if the reader waits for more before it submits, or a batch for its last record.
    let dir = tempfile::tempdir().unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
    command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "10ms");
    let mut running = Running::start(command);
    let text = minutes(30);
    let mut lines = text.lines();
    running.write(&format!("{}\n", lines.next().unwrap()));
    for (i, line) in lines.enumerate() {
        running.write(&format!("{line}\n"));
        eventually("the row is in the store", || rows(dir.path()) == i as i64 + 1);
    }
    running.stdin.take();
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "stored")), (Some(0), 30));
}

#[test]
fn a_signal_at_an_open_pipe_stores_what_was_accepted() {
    for (name, code) in [("INT", 130), ("TERM", 143), ("HUP", 129)] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
        // Nothing is written before the end but what makes a full batch.
        command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "1h").env("MDS_COORDINATOR_BATCH_SIZE", "100");
        let mut running = Running::start(command);
        running.write(&minutes(150));
        eventually("a full batch is in the store", || rows(dir.path()) == 100);
        running.signal(name);
        // Standard input stays open: the reading thread never returns from it.
        let _open = running.stdin.take();
        let (status, summary) = running.end();
        assert_eq!(status.code(), Some(code));
        assert_eq!((count(&summary, "read"), count(&summary, "stored")), (150, 150));
        assert_eq!(rows(dir.path()), 150);
    }
}

// Red if a terminal that goes away takes the load with it, or if words that no terminal shows any more do.
#[cfg(target_os = "linux")]
#[test]
fn a_load_whose_terminal_goes_away_stores_what_was_accepted() {
    let dir = tempfile::tempdir().unwrap();
    let (pipe, summary_at) = (dir.path().join("pipe"), dir.path().join("summary"));
    assert!(Command::new("mkfifo").arg(&pipe).status().unwrap().success());
    let load = format!(
        "exec '{}' ingest --symbol ES --timeframe 1m --json pipe > '{}'",
        env!("CARGO_BIN_EXE_mds"),
        summary_at.display()
    );
    let mut script = in_dir(Command::new("script"), dir.path());
    script.args(["--quiet", "--command", &load, "/dev/null"]).stdin(Stdio::null()).stdout(Stdio::null());
    script.env("MDS_COORDINATOR_FLUSH_INTERVAL", "1h").env("MDS_COORDINATOR_BATCH_SIZE", "100");
    let mut terminal = script.spawn().unwrap();
    let mut input = fs::File::options().write(true).open(&pipe).unwrap();
    input.write_all(minutes(150).as_bytes()).unwrap();
    eventually("a full batch is in the store", || rows(dir.path()) == 100);
    terminal.kill().unwrap();
    terminal.wait().unwrap();
    eventually("it has said what it did", || fs::metadata(&summary_at).is_ok_and(|summary| summary.len() > 0));
    eventually("all of it", || fs::read_to_string(&summary_at).unwrap().ends_with('\n'));
    let summary: serde_json::Value = serde_json::from_str(&fs::read_to_string(&summary_at).unwrap()).unwrap();
    assert_eq!((count(&summary, "read"), count(&summary, "stored")), (150, 150));
    assert_eq!(rows(dir.path()), 150);
    // The pipe was open until here.
    drop(input);
}

// Red if it listens for a signal that it was started to ignore.
#[cfg(target_os = "linux")]
#[test]
fn a_load_that_was_started_to_outlive_its_terminal_does() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = in_dir(Command::new("sh"), dir.path());
    command.args(["-c", "trap '' HUP && exec \"$0\" \"$@\""]).arg(env!("CARGO_BIN_EXE_mds"));
    command.args(["ingest", "--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
    command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "10ms");
    let mut running = Running::start(command);
    let text = minutes(20);
    let (head, tail) = text.split_at(text.len() / 2);
    running.write(head);
    eventually("something is stored", || rows(dir.path()) > 0);
    running.signal("HUP");
    running.write(tail);
    running.stdin.take();
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "stored")), (Some(0), 20));
}

// Sabotage: leave the signal to the system: the process ends by it, and does not say what became of anything.
#[cfg(unix)]
#[test]
fn a_limit_of_the_size_of_files_is_like_a_full_disk() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(20_000)).unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "--json", "--give-up-after", "1s", "bars.csv"];
    // In blocks of 512 bytes, or 1,024 with some shells.
    let mut limited = in_dir(Command::new("sh"), dir.path());
    limited.args(["-c", r#"ulimit -f 1000; exec "$0" ingest "$@""#, env!("CARGO_BIN_EXE_mds")]).args(args);
    limited.env("MDS_COORDINATOR_CAPACITY", "500").env("MDS_COORDINATOR_BATCH_SIZE", "100");
    let output = limited.output().unwrap();
    assert_eq!(output.status.code(), Some(69), "{output:?}");
    let first = summary(&output);
    let (stored, dead_lettered) = (count(&first, "stored"), count(&first, "dead_lettered"));
    assert!(stored > 0 && dead_lettered > 0 && stored + dead_lettered < 20_000, "{first}");
    assert_eq!((rows(dir.path()) as u64, dead_letters(dir.path()).len() as u64), (stored, dead_lettered));

    let output = run(dir.path(), &args);
    assert_eq!((output.status.code(), rows(dir.path())), (Some(0), 20_000), "{}", stderr(&output));
}

// Red if nothing is said of records that went with their file, or it exits with 0.
#[cfg(unix)]
#[test]
fn a_database_file_that_is_gone_is_an_error() {
    for (more, replaced) in [(false, false), (true, false), (true, true)] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
        command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "10ms");
        let mut running = Running::start(command);
        let text = minutes(150);
        let (head, tail) = text.split_at(text.find(",99\n").unwrap() + 4);
        running.write(head);
        eventually("all of it is stored", || rows(dir.path()) == 100);
        let other = tempfile::tempdir().unwrap();
        if replaced {
            drop(empty_store(other.path()));
        }
        for name in ["market_data.db", "market_data.db-wal", "market_data.db-shm"] {
            let _ = fs::remove_file(dir.path().join(name));
        }
        if replaced {
            fs::copy(other.path().join("market_data.db"), dir.path().join("market_data.db")).unwrap();
        }
        if more {
            running.write(tail);
            eventually("it goes on in another file", || rows(dir.path()) == 50);
        }
        running.stdin.take();
        let said = running.wait_for_line("removed or replaced while it was written, and records with it");
        assert!(said.contains("market_data.db: the database file was"), "{said}");
        let (status, _) = running.end();
        let stored = if more { 50 } else { 0 };
        assert_eq!((status.code(), rows(dir.path())), (Some(70), stored), "{more} {replaced}");
    }
}

// Red if nothing is said of dead letters that went with their file, or it exits with 65.
#[cfg(unix)]
#[test]
fn a_dead_letter_file_that_is_gone_is_an_error() {
    for more in [false, true] {
        let dir = tempfile::tempdir().unwrap();
        empty_store(dir.path())
            .execute_batch("CREATE TRIGGER no BEFORE INSERT ON bars BEGIN SELECT RAISE(ABORT, 'not this one'); END")
            .unwrap();
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
        command.env("MDS_COORDINATOR_FLUSH_INTERVAL", "10ms");
        let mut running = Running::start(command);
        let text = minutes(5);
        let (head, tail) = text.split_at(text.find(",2\n").unwrap() + 3);
        running.write(head);
        running.wait_for_dead_letters(3);
        fs::remove_dir_all(dir.path().join("dead_letters")).unwrap();
        if more {
            running.write(tail);
            running.wait_for_dead_letters(2);
        }
        running.stdin.take();
        let said = running.wait_for_line("removed or replaced while it was written, and records with it");
        assert!(said.contains("dead_letters: a file of dead letters was"), "{said}");
        let kept = if more { 2 } else { 0 };
        let (status, _) = running.end();
        assert_eq!((status.code(), dead_letters(dir.path()).len()), (Some(70), kept), "{more}");
    }
}

// Red if a directory for dead letters that cannot be used is found out only when there is one to keep, what was read is lost
// then, or a load that needs none leaves a file behind.
#[cfg(unix)]
#[test]
fn a_directory_for_dead_letters_that_cannot_be_used_ends_a_load_at_its_start() {
    let args = ["--symbol", "SPX", "--timeframe", "1d", "--json", SP500];
    let dir = tempfile::tempdir().unwrap();
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(fs::read_dir(dir.path().join("dead_letters")).unwrap().count(), 0);
    block_dead_letters(dir.path());
    let nowhere = run(dir.path(), &args);
    fs::remove_file(dir.path().join("dead_letters")).unwrap();
    fs::write(dir.path().join("dead_letters"), "notes").unwrap();
    let file = run(dir.path(), &args);
    for (output, problem) in [
        (nowhere, "cannot keep dead letters in it: expected a directory, found something else there"),
        (file, "expected a directory for dead letters, got something else"),
    ] {
        let path = dir.path().join("dead_letters");
        assert_eq!(stderr(&output), format!("error: {}: {problem}\n", path.display()));
        assert_eq!((output.status.code(), stdout(&output)), (Some(78), String::new()));
    }
}

#[test]
fn a_signal_before_anything_was_read_ends_with_counts_of_zero() {
    let dir = tempfile::tempdir().unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
    command.env("MDS_LOG", "debug");
    let running = Running::start(command);
    running.wait_for("started");
    running.signal("TERM");
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "read")), (Some(143), 0));
}

/// A load that is stuck behind a locked store: the queue is full, and the reader waits for a credit.
fn stuck(dir: &TempDir, timeout: &str) -> (Connection, Running) {
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", "--json", SP500]);
    command.env("MDS_COORDINATOR_CAPACITY", "50").env("MDS_COORDINATOR_BATCH_SIZE", "10");
    command.env("MDS_RETRY_MAX_BACKOFF_MS", "50").env("MDS_SHUTDOWN_TIMEOUT", timeout).env("MDS_LOG", "debug");
    let running = Running::start(command);
    running.wait_for("\"hard\"");
    (lock, running)
}

#[test]
fn a_signal_reaches_a_reader_that_waits_for_a_credit_and_what_it_holds_is_not_read() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, running) = stuck(&dir, "30");
    running.signal("INT");
    running.wait_for("stopping");
    lock.execute_batch("ROLLBACK").unwrap();
    let (status, summary) = running.end();
    assert_eq!(status.code(), Some(130));
    let read = count(&summary, "read");
    // One worker has this symbol: its batch and a full queue, or a little more if the store was free early.
    assert!((40..5031).contains(&read), "{summary}");
    assert_eq!((count(&summary, "stored"), count(&summary, "unsettled")), (read, 0));
    assert_eq!(rows(dir.path()) as u64, read);
    assert!(count(&summary["level_changes"], "hard") >= 1, "{summary}");
}

#[test]
fn the_deadline_holds_and_what_is_left_becomes_dead_letters() {
    let dir = tempfile::tempdir().unwrap();
    let (_lock, running) = stuck(&dir, "0.2");
    let start = Instant::now();
    running.signal("TERM");
    let (status, summary) = running.end();
    assert!(start.elapsed() < TOO_LONG / 4, "{:?}", start.elapsed());
    assert_eq!(status.code(), Some(143));
    assert_eq!((count(&summary, "stored"), count(&summary, "read")), (0, count(&summary, "dead_lettered")));
    assert!((40..=60).contains(&count(&summary, "dead_lettered")), "{summary}");
    assert_eq!(dead_letters(dir.path()).len() as u64, count(&summary, "dead_lettered"));
}

#[test]
fn a_second_signal_ends_it_at_once() {
    // Red if the second signal waits for the drain: that has an hour, and the store stays locked. Or if it ends without
    // a word, for there is no summary then.
    let dir = tempfile::tempdir().unwrap();
    let (_lock, mut running) = stuck(&dir, "1h");
    running.signal("INT");
    running.wait_for("stopping");
    running.signal("TERM");
    running.wait_for("error: ended at once, and what was under way may not be stored: run the same command again");
    eventually("it is gone", || running.child.try_wait().unwrap().is_some());
    assert_eq!(running.child.wait().unwrap().code(), Some(130));
}

/// A terminal after Ctrl-S, or a collector of logs that is stuck.
// Sabotage: have the thread that listens write to the log itself: it hangs there, and no signal is obeyed any more.
#[cfg(target_os = "linux")]
#[test]
fn signals_are_obeyed_though_the_log_is_not_read() {
    use std::sync::{
        Arc,
        atomic::{AtomicUsize, Ordering},
    };

    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    let (_reader, log) = std::io::pipe().unwrap();
    let mut fill = log.try_clone().unwrap();
    let filled = Arc::new(AtomicUsize::new(0));
    let counted = Arc::clone(&filled);
    thread::spawn(move || {
        while fill.write_all(&[b'\n'; 4096]).is_ok() {
            counted.fetch_add(4096, Ordering::SeqCst);
        }
    });
    eventually("the pipe is full", || filled.load(Ordering::SeqCst) == 65_536);
    let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", SP500]);
    command.env("MDS_SHUTDOWN_TIMEOUT", "1h").stdin(Stdio::null()).stdout(Stdio::null()).stderr(log);
    let mut running = Running { child: command.spawn().unwrap(), stdin: None, log: channel().1 };
    let status = format!("/proc/{}/status", running.child.id());
    eventually("it listens", || {
        let status = fs::read_to_string(&status).unwrap();
        let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:")).unwrap();
        u64::from_str_radix(caught.trim(), 16).unwrap() & (1 << 14) != 0
    });
    eventually("it is gone", || {
        running.signal("TERM");
        running.child.try_wait().unwrap().is_some()
    });
    assert_eq!(running.child.wait().unwrap().code(), Some(143));
}

#[test]
fn an_outage_of_the_store_is_waited_out_and_the_last_level_is_ok() {
    let dir = tempfile::tempdir().unwrap();
    let (lock, running) = stuck(&dir, "30");
    lock.execute_batch("ROLLBACK").unwrap();
    let (status, summary) = running.end();
    assert_eq!((status.code(), count(&summary, "stored")), (Some(0), 5031));
    assert!(stored(dir.path()) == expected(SP500, "SPX"));
    // Red if the end raises `draining`: there would be one hard more than there are returns to ok.
    let changes = &summary["level_changes"];
    assert!(count(changes, "ok") >= 1 && count(changes, "hard") >= 1, "{summary}");
    assert!(count(changes, "ok") >= count(changes, "hard"), "{summary}");
}

#[test]
fn a_load_waits_and_loses_nothing_whatever_the_strategy_is() {
    // Red if a load that could wait drops records, or says nothing of a variable that does not bind it.
    for strategy in ["block", "error", "drop_oldest", "conflate"] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = ingest(dir.path(), &["--symbol", "SPX", "--timeframe", "1d", "--json", SP500]);
        command.env("MDS_COORDINATOR_OVERFLOW_STRATEGY", strategy);
        command.env("MDS_COORDINATOR_CAPACITY", "20").env("MDS_COORDINATOR_BATCH_SIZE", "10");
        let output = command.output().unwrap();
        let summary = summary(&output);
        let said = stderr(&output);
        assert_eq!(output.status.code(), Some(0), "{strategy}: {said}");
        assert_eq!(
            (count(&summary, "read"), count(&summary, "stored"), rows(dir.path())),
            (5031, 5031, 5031),
            "{strategy}"
        );
        let told = "MDS_COORDINATOR_OVERFLOW_STRATEGY does not bind `mds ingest`";
        assert_eq!(said.matches(told).count(), usize::from(strategy != "block"), "{said}");
    }
}

#[test]
fn several_files_and_formats_go_in_one_run_and_nothing_is_drawn_without_a_terminal() {
    let dir = tempfile::tempdir().unwrap();
    fs::write(dir.path().join("a.csv"), minutes(3)).unwrap();
    let json = r#"{"ts":"2024-01-02T14:30:00Z","open":1,"high":2,"low":1,"close":2,"volume":null}"#;
    fs::write(dir.path().join("b.ndjson"), format!("{json}\n")).unwrap();
    fs::write(dir.path().join("c.json"), format!("[{}]", json.replace("14:30", "14:31"))).unwrap();
    let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--vendor", "acme"]);
    let output = command.args(["--json", "a.csv", "b.ndjson", "c.json"]).env("MDS_LOG", "warn").output().unwrap();
    assert_eq!((output.status.code(), stderr(&output).as_str()), (Some(0), ""));
    let summary = summary(&output);
    assert_eq!((count(&summary, "files"), count(&summary, "stored")), (3, 5));
    assert!(stored(dir.path()).keys().all(|(vendor, symbol, ..)| vendor == "acme" && symbol == "ES"));
}

#[test]
fn a_terminal_shows_file_bytes_rate_and_level() {
    // Red if the bar is only drawn when a chunk is read: this reader is stuck from the start.
    let dir = tempfile::tempdir().unwrap();
    let lock = empty_store(dir.path());
    lock.execute_batch("BEGIN EXCLUSIVE").unwrap();
    for name in ["sp500.csv", "again.csv"] {
        fs::copy(SP500, dir.path().join(name)).unwrap();
    }
    let load = format!("'{}' ingest --symbol SPX --timeframe 1d sp500.csv again.csv", env!("CARGO_BIN_EXE_mds"));

    // `script` runs a command at a terminal of its own; it is part of every Debian.
    let mut script = in_dir(Command::new("timeout"), dir.path());
    script.args(["60", "script", "--quiet", "--return", "--command", &load, "/dev/null"]);
    script.env("MDS_COORDINATOR_CAPACITY", "50").env("MDS_LOG", "error").env("MDS_RETRY_MAX_BACKOFF_MS", "50");
    let mut child = script.stdin(Stdio::null()).stdout(Stdio::piped()).spawn().unwrap();
    let mut output = child.stdout.take().unwrap();
    let mut seen = String::new();
    let mut bytes = [0; 4096];
    let mut locked = Some(lock);
    loop {
        let read = output.read(&mut bytes).unwrap();
        seen.push_str(&String::from_utf8_lossy(&bytes[..read]));
        if read == 0 {
            break;
        }
        if seen.contains("file 1 of 2: sp500.csv")
            && seen.contains(" of 391.08 KiB")
            // Red too if it does not say how long the rest takes.
            && seen.contains("records/s  hard, ")
        {
            locked.take();
        }
    }
    assert!(child.wait().unwrap().success(), "{seen}");
    assert!(locked.is_none(), "{seen}");
    assert!(seen.contains("stored         10062"), "{seen}");
}

/// Bars of several symbols, so that every worker has some, in the order of their numbers.
fn numbered(rows: i64) -> String {
    let lines = (0..rows).map(|row| format!("S{},{},1,1,1,1\n", row % 16, 1_000_000_020 + 60 * row));
    ["symbol,ts,open,high,low,close\n".to_owned()].into_iter().chain(lines).collect()
}

#[cfg(unix)]
#[test]
fn sigterm_under_load_ends_in_time_and_every_accepted_record_is_accounted_for() {
    // Red if the end takes longer than it may, or a record that was accepted is in neither place and not reported.
    let mut lives_with_records = 0;
    let rounds =
        std::env::var("MDS_TEST_TERMS").map_or(6, |rounds| rounds.parse::<usize>().expect("a number of rounds"));
    for round in 0..rounds {
        let dir = tempfile::tempdir().unwrap();
        let lock = empty_store(dir.path());
        // Two of three times the store is away, and stays so; one of these times dead letters cannot be written either.
        let (is_up, is_kept) = (round % 3 == 0, round % 3 != 2);
        if !is_up {
            lock.execute_batch("BEGIN IMMEDIATE").unwrap();
        }
        let mut command = ingest(dir.path(), &["--timeframe", "1m", "--json", "-"]);
        // A store that is there takes what it takes to write the rest, on a machine that is busy too.
        let deadline = if is_up { "30" } else { "0.3" };
        command.env("MDS_SHUTDOWN_TIMEOUT", deadline).env("MDS_COORDINATOR_CAPACITY", "1000").env("MDS_LOG", "debug");
        let mut running = Running::start(command);
        // Before it listens a signal ends it as it ends any process.
        running.wait_for("started");
        if !is_kept {
            block_dead_letters(dir.path());
        }
        // It is still writing when the process is gone, and standard input stays open until then.
        let mut stdin = running.stdin.take().unwrap();
        let (reads, has_read) = channel();
        let feeding = thread::spawn(move || {
            let text = numbered(200_000);
            // More than a pipe holds: once this is written the process listens to signals, and reads.
            let (first, rest) = text.as_bytes().split_at(80_000);
            let _ = stdin.write_all(first);
            let _ = reads.send(());
            let _ = stdin.write_all(rest);
            stdin
        });
        has_read.recv_timeout(TOO_LONG).unwrap();
        if is_up {
            eventually("something is stored", || rows(dir.path()) > 0);
        } else if round % 4 > 0 {
            running.wait_for("is tried again");
        }
        thread::sleep(Duration::from_micros(fastrand::u64(..150_000)));
        let start = Instant::now();
        running.signal("TERM");
        let (status, summary) = running.end();
        // Where it is there the end waits for it; how long that takes is the machine's.
        assert!(is_up || start.elapsed() < TOO_LONG / 4, "{:?}", start.elapsed());
        let _stdin = feeding.join().unwrap();

        assert_eq!(status.code(), Some(143), "{summary}");
        let [read, count_stored, dead_lettered, unsettled] =
            ["read", "stored", "dead_lettered", "unsettled"].map(|field| count(&summary, field));
        drop(lock);
        // What was accepted is what comes first, and each of it is in one place, or reported.
        let in_files = dead_letters(dir.path()).into_iter().map(|letter| {
            let ts: jiff::Timestamp = letter["record"]["ts"].as_str().unwrap().parse().unwrap();
            ts.as_microsecond()
        });
        let in_store = stored(dir.path()).into_keys().map(|(.., ts)| ts);
        let mut ids: Vec<i64> = in_files.chain(in_store).map(|ts| (ts / 1_000_000 - 1_000_000_020) / 60).collect();
        ids.sort_unstable();
        if is_kept {
            assert!(ids.into_iter().eq(0..read as i64), "{summary}");
            assert_eq!(unsettled, 0, "{summary}");
        } else {
            assert_eq!((ids.len(), unsettled), (0, read), "{summary}");
        }
        assert_eq!(rows(dir.path()) as u64, count_stored, "{summary}");
        assert_eq!(dead_lettered > 0, !is_up && is_kept && read > 0, "{summary}");
        lives_with_records += usize::from(read > 0);
    }
    assert!(lives_with_records >= rounds / 2, "almost nothing was ever accepted");
}

/// Files in a directory: three of minutes that overlap, and what does not belong there.
fn deliveries(dir: &Path) {
    fs::create_dir_all(dir.join("data/older")).unwrap();
    let bar = |price: u32| format!("ts,open,high,low,close,volume\n1700000100,{price},{price},{price},{price},1\n");
    for (name, text) in [
        ("data/a.csv", bar(1)),
        ("data/b.csv", bar(2) + "\n1700000060,x,2,2,2,1\n"),
        ("data/c.ndjson", r#"{"ts":1700000400,"open":3,"high":3,"low":3,"close":3,"note":""}"#.to_owned()),
        ("data/.hidden.csv", "price\n".to_owned()),
        ("data/notes.md", "no bars".to_owned()),
        ("data/older/d.csv", bar(4)),
    ] {
        fs::write(dir.join(name), text).unwrap();
    }
}

fn files(summary: &serde_json::Value) -> Vec<&str> {
    summary["inputs"].as_array().unwrap().iter().map(|input| input["file"].as_str().unwrap()).collect()
}

#[test]
fn directories_and_patterns_stand_for_their_files_in_a_stable_order() {
    // Red if a pattern is left to the shell, files come in the file system's order, or hidden and foreign ones come too.
    let dir = tempfile::tempdir().unwrap();
    deliveries(dir.path());
    for (words, expected, close) in [
        (&["data"][..], &["data/a.csv", "data/b.csv", "data/c.ndjson", "data/older/d.csv"][..], 4.0),
        (&["data", "--no-recursive"], &["data/a.csv", "data/b.csv", "data/c.ndjson"], 2.0),
        (&["data/?.csv"], &["data/a.csv", "data/b.csv"], 2.0),
        // The order is that of the words: of two rows for one bar the later wins.
        (&["data/b*", "data/a.csv"], &["data/b.csv", "data/a.csv"], 1.0),
        (&["data/**/*.csv"], &["data/a.csv", "data/b.csv", "data/older/d.csv"], 4.0),
        // What comes twice is read once, where its rows would have won.
        (&["data/?.csv", "./data/a.csv"], &["data/b.csv", "./data/a.csv"], 1.0),
    ] {
        let output = run(dir.path(), &[&["--symbol", "ES", "--timeframe", "1m", "--json"], words].concat());
        assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
        let summary = summary(&output);
        assert_eq!(files(&summary), expected, "{words:?}");
        let [closes, ..] = stored(dir.path()).into_values().map(|(prices, _)| prices[3]).collect::<Vec<_>>()[..] else {
            panic!("nothing is stored")
        };
        assert_eq!(f64::from_bits(closes), close, "{words:?}");
    }
    let output = run(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "data"]);
    assert!(stderr(&output).contains("notes.md"), "what is left out is named: {}", stderr(&output));
    let table = stdout(&output);
    assert!(table.contains("\ndata/older/d.csv: 1 read, CSV\n"), "{table}");
    for line in
        ["\ndata/a.csv: 1 read, CSV\n", "\ndata/b.csv: 2 read, 1 rejected, CSV\n", "\ndata/c.ndjson: 1 read, NDJSON\n"]
    {
        assert!(table.contains(line), "{table}");
    }
}

/// A zip of klines as Binance publishes them: without a header, and with the time of the end behind the prices.
fn klines(path: &Path, millis: i64, price: u32) {
    fs::create_dir_all(path.parent().unwrap()).unwrap();
    let name = path.file_name().unwrap().to_str().unwrap().replace(".zip", ".csv");
    let mut zip = zip::ZipWriter::new(fs::File::create(path).unwrap());
    zip.start_file(name, zip::write::SimpleFileOptions::default()).unwrap();
    for minute in 0..2 {
        let open = millis + 60_000 * minute;
        let end = open + 59_999;
        writeln!(zip, "{open},{price},{price},{price},{price},1,{end},{price},1,1,{price},0").unwrap();
    }
    zip.finish().unwrap();
    fs::write(path.with_extension("zip.CHECKSUM"), "0123  klines.zip\n").unwrap();
}

#[test]
fn a_directory_is_read_with_those_below_it_and_what_is_left_out_is_named_once() {
    // Red if a layout of directories loads nothing, or a part of it without a word.
    let dir = tempfile::tempdir().unwrap();
    let data = dir.path().join("data");
    for (symbol, month, millis) in [
        ("ETHUSDT", "01", 1_704_067_200_000),
        ("BTCUSDT", "02", 1_706_745_600_000),
        ("BTCUSDT", "01", 1_704_067_200_000),
    ] {
        let path = format!("spot/monthly/klines/{symbol}/1m/{symbol}-1m-2024-{month}.zip");
        klines(&data.join(path), millis, 1);
    }
    fs::create_dir(data.join("futures")).unwrap();
    for name in ["__MACOSX/._bars.csv", "__MACOSX/bars.csv", "spot/.cache/bars.csv"] {
        fs::create_dir_all(data.join(name).parent().unwrap()).unwrap();
        fs::write(data.join(name), "price\n").unwrap();
    }
    let output = run(dir.path(), &["--json", "data"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let summary = summary(&output);
    assert_eq!(
        files(&summary),
        [
            "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip",
            "data/spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-02.zip",
            "data/spot/monthly/klines/ETHUSDT/1m/ETHUSDT-1m-2024-01.zip",
        ]
    );
    assert_eq!((count(&summary, "stored"), rows(dir.path())), (6, 6));
    let said = stderr(&output);
    let left_out: Vec<&str> = said.lines().filter(|line| line.contains("left out")).collect();
    let [line] = left_out[..] else { panic!("{said}") };
    let first = "first=spot/monthly/klines/BTCUSDT/1m/BTCUSDT-1m-2024-01.zip.CHECKSUM";
    assert!(line.contains(" WARN ") && line.contains("files=3") && line.contains(first), "{line}");

    fs::write(data.join("ES.csv"), minutes(3)).unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "--no-recursive", "--json", "data"];
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    assert_eq!(rows(dir.path()), 9);
    let said = stderr(&output);
    let left_out: Vec<&str> = said.lines().filter(|line| line.contains("left out")).collect();
    let [line] = left_out[..] else { panic!("{said}") };
    assert!(line.contains(" WARN ") && line.contains("directories=2") && line.contains("first=futures"), "{line}");
}

#[test]
fn a_word_that_stands_for_no_file_refuses_all() {
    // Red if a pattern without a match, or a directory without bars, is passed over.
    let dir = tempfile::tempdir().unwrap();
    deliveries(dir.path());
    fs::create_dir(dir.path().join("empty")).unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1m", "--json", "data/a.csv", "data/*.parquet", "empty"];
    let output = run(dir.path(), &args);
    assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""));
    let text = stderr(&output);
    assert!(text.contains("error: data/*.parquet: expected a pattern that matches a file"), "{text}");
    assert!(text.contains("error: empty: expected a directory with files that end in .csv"), "{text}");
    assert!(!dir.path().join("market_data.db").exists());
}

#[test]
fn many_files_are_listed_up_to_a_bound_and_whole_in_json() {
    let dir = tempfile::tempdir().unwrap();
    fs::create_dir(dir.path().join("data")).unwrap();
    for file in 0..25 {
        fs::write(dir.path().join(format!("data/{file:02}.csv")), minutes(2)).unwrap();
    }
    let args = ["--symbol", "ES", "--timeframe", "1m", "data/*.csv"];
    let table = stdout(&run(dir.path(), &args));
    assert_eq!(table.matches(".csv: 2 read, CSV").count(), 20, "{table}");
    assert!(table.ends_with("and 5 more files\n"), "{table}");
    assert_eq!(files(&summary(&run(dir.path(), &[&args[..], &["--json"]].concat()))).len(), 25);

    // One option is missing in each: said for the first, with a command for that file, and the rest are counted.
    let output = run(dir.path(), &["--symbol", "ES", "data"]);
    let text = stderr(&output);
    assert_eq!((output.status.code(), text.matches("names no timeframe").count()), (Some(2), 20), "{text}");
    assert!(text.contains("  try: mds ingest --timeframe 1m --symbol ES data/03.csv\n"), "{text}");
    assert!(text.contains("error: 5 more files cannot be loaded\n"), "{text}");
}

#[test]
fn a_dry_run_says_how_each_file_was_understood() {
    // Red if it says it of one file only, shows other records than the first three, or writes anything.
    let dir = tempfile::tempdir().unwrap();
    deliveries(dir.path());
    fs::write(
        dir.path().join("berlin.csv"),
        (9..14).fold("ts;o;h;l;c;Adj Close\n".to_owned(), |text, hour| {
            text + &format!("2024-07-01 {hour}:00;1;2;1;2;1\n")
        }),
    )
    .unwrap();
    let args = ["--symbol", "ES", "--timeframe", "1h", "--tz", "Europe/Berlin", "--dry-run", "berlin.csv", "data"];
    let output = run(dir.path(), &args);
    assert_eq!(output.status.code(), Some(65), "{}", stderr(&output));
    let text = stdout(&output);
    let bar = |hour| format!("  unknown ES 1h unknown 2024-07-01T{hour:02}:00:00Z 1 2 1 2 -\n");
    let expected = format!(
        "berlin.csv
  dialect          CSV
  zone             Europe/Berlin
  times are when   bars begin
  timeframe        1h
  ignored columns  Adj Close
{}{}{}
data/a.csv
  dialect          CSV
  zone             Europe/Berlin
  times are when   bars begin
  timeframe        1h
  ignored columns  none
  unknown ES 1h unknown 2023-11-14T22:15:00Z 1 1 1 1 1

data/b.csv
",
        bar(7),
        bar(8),
        bar(9)
    );
    assert!(text.starts_with(&expected), "{text}");
    assert!(text.contains("\nwould be stored  9\n"), "{text}");

    let summary = summary(&run(dir.path(), &[&args[..], &["--json"]].concat()));
    let berlin = &summary["inputs"][0];
    assert_eq!((&berlin["dialect"], &berlin["zone"]), (&"CSV".into(), &"Europe/Berlin".into()));
    assert_eq!((berlin["first"].as_array().unwrap().len(), &berlin["ignored_columns"]), (3, &"Adj Close".into()));
    assert_eq!(berlin["timeframes"], serde_json::json!(["1h"]));
    assert!(!dir.path().join("market_data.db").exists());
}

#[test]
fn control_characters_of_a_file_s_name_reach_no_terminal() {
    // Red if a name is shown as it is anywhere: it could clear the screen, or begin a line of its own.
    let dir = tempfile::tempdir().unwrap();
    let (good, bad, empty) = ("a\u{1b}[2J\nb.csv", "c\u{1b}[2J\nd.csv", "\u{1b}[2J\nempty");
    fs::write(dir.path().join(good), minutes(2).replace(",10,", ",x,") + &minutes(2).replace("17000", "17001"))
        .unwrap();
    fs::write(dir.path().join(bad), "price\n1\n").unwrap();
    fs::create_dir(dir.path().join(empty)).unwrap();
    fs::create_dir(dir.path().join("with")).unwrap();
    for name in ["x.csv", "left\u{1b}[2J\nout"] {
        fs::write(dir.path().join("with").join(name), minutes(1)).unwrap();
    }
    let options = ["--symbol", "ES", "--timeframe", "1m"];
    let mut seen = 0;
    for words in [
        &[good][..],
        &[good, "with", good],
        &["--dry-run", good],
        &[bad],
        &[empty],
        &["gone\u{1b}[2J\n*"],
        &["gone\u{1b}[2J\n.csv"],
    ] {
        let output = run(dir.path(), &[&options[..], words].concat());
        let all = stderr(&output) + &stdout(&output);
        assert!(!all.contains('\u{1b}') && !all.contains("[2J\n"), "{all}");
        seen += all.matches(r"\u{1b}[2J\n").count();
    }
    assert!(seen >= 8, "{seen}");
    let output = run(dir.path(), &[good]);
    let said = stderr(&output);
    let command = said.trim_end().split_once("  try: mds ").unwrap().1;
    assert!(command.ends_with(r"$'a\033[2J\012b.csv'"), "{said}");
    let json: serde_json::Value = summary(&run(dir.path(), &[&options[..], &["--json", good]].concat()));
    assert_eq!(files(&json), [good], "a reader of JSON gets the name itself");
}

#[cfg(unix)]
#[test]
fn standard_input_that_is_closed_is_an_error_and_an_empty_one_is_not() {
    // Red if a job without an input says that all is well.
    let dir = tempfile::tempdir().unwrap();
    let load = |input: &str| {
        let mut shell = in_dir(Command::new("sh"), dir.path());
        shell.args(["-c", &format!("exec \"$0\" ingest --symbol ES --timeframe 1m - {input}")]);
        shell.arg(env!("CARGO_BIN_EXE_mds")).stdin(Stdio::null()).output().unwrap()
    };
    for input in ["", "<&-", "</dev/null"] {
        let output = load(input);
        assert_eq!((output.status.code(), stdout(&output).as_str()), (Some(2), ""), "{input}");
        let said =
            "error: -: expected data on standard input, got none: it is closed or /dev/null, give a file or a pipe\n";
        assert_eq!(stderr(&output), said);
    }
    assert!(!dir.path().join("market_data.db").exists());
    fs::write(dir.path().join("empty"), "").unwrap();
    assert_eq!(load("<empty").status.code(), Some(0));
    let output = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "-"]).stdin(Stdio::piped()).output();
    assert_eq!(output.unwrap().status.code(), Some(0));
}
