//! The real binary as a child process, in a directory of its own and without a variable of ours.

use std::{
    collections::BTreeMap,
    fmt::Write as _,
    fs,
    io::{BufRead, BufReader, Read, Write},
    path::Path,
    process::{Child, ChildStdin, Command, ExitStatus, Output, Stdio},
    sync::mpsc::{Receiver, channel},
    thread,
    time::{Duration, Instant},
};

use rusqlite::Connection;
use serde_json::Value;

/// The binary, ready to run in `dir`.
pub fn mds(dir: &Path) -> Command {
    in_dir(Command::new(env!("CARGO_BIN_EXE_mds")), dir)
}

/// Any command, so prepared.
pub fn in_dir(mut command: Command, dir: &Path) -> Command {
    command.current_dir(dir);
    for (name, _) in std::env::vars_os() {
        if name.to_string_lossy().starts_with("MDS_") {
            command.env_remove(name);
        }
    }
    command
}

pub fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).unwrap()
}

pub fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).unwrap()
}

/// No step of a test takes as long as this unless it hangs.
pub const TOO_LONG: Duration = Duration::from_secs(60);

pub const SP500: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/examples/data/sp500.csv");

pub fn ingest(dir: &Path, args: &[&str]) -> Command {
    let mut command = mds(dir);
    command.arg("ingest").args(args);
    command
}

pub fn run(dir: &Path, args: &[&str]) -> Output {
    ingest(dir, args).output().unwrap()
}

/// The one object on standard output, whose counts must add up whatever happened.
pub fn summary(output: &Output) -> Value {
    let text = stdout(output);
    let summary: Value =
        serde_json::from_str(&text).unwrap_or_else(|error| panic!("{error}: {text}{}", stderr(output)));
    let names: Vec<&str> = summary.as_object().unwrap().keys().map(String::as_str).collect();
    let mut expected = [
        "files",
        "read",
        "stored",
        "replaced",
        "dead_lettered",
        "dropped",
        "rejected",
        "skipped",
        "unsettled",
        "seconds",
        "records_per_second",
        "level_changes",
        "errors",
        "inputs",
    ];
    expected.sort_unstable();
    assert_eq!(names, expected);
    let parts = ["stored", "replaced", "dead_lettered", "dropped", "rejected", "skipped", "unsettled"];
    let sum: u64 = parts.iter().map(|part| count(&summary, part)).sum();
    assert_eq!(count(&summary, "read"), sum, "{summary}");
    // File by file they add up to the same.
    let inputs = summary["inputs"].as_array().unwrap();
    assert_eq!(count(&summary, "files") as usize, inputs.len(), "{summary}");
    let in_files = |part| inputs.iter().map(|file| count(file, part)).sum::<u64>();
    for input in inputs {
        let sum: u64 = ["accepted", "rejected", "skipped"].iter().map(|part| count(input, part)).sum();
        assert_eq!(count(input, "read"), sum, "{input}");
    }
    let accepted = sum - count(&summary, "rejected") - count(&summary, "skipped");
    assert_eq!((in_files("read"), in_files("accepted")), (sum, accepted), "{summary}");
    summary
}

pub fn count(summary: &Value, name: &str) -> u64 {
    summary[name].as_u64().unwrap_or_else(|| panic!("{name} in {summary}"))
}

pub type Prices = ([u64; 4], Option<u64>);

/// What the store holds: by identity, prices and volume bit for bit.
pub fn stored(dir: &Path) -> BTreeMap<(String, String, String, i64), Prices> {
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    let mut rows =
        store.prepare("SELECT vendor, symbol, timeframe, ts, open, high, low, close, volume FROM bars").unwrap();
    rows.query_map([], |row| {
        let price = |column| row.get(column).map(f64::to_bits);
        let prices = [price(4)?, price(5)?, price(6)?, price(7)?];
        let volume: Option<f64> = row.get(8)?;
        Ok(((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?), (prices, volume.map(f64::to_bits))))
    })
    .unwrap()
    .collect::<Result<_, _>>()
    .unwrap()
}

/// How many rows the store holds; none before it exists.
pub fn rows(dir: &Path) -> i64 {
    Connection::open_with_flags(dir.join("market_data.db"), rusqlite::OpenFlags::SQLITE_OPEN_READ_ONLY)
        .and_then(|store| store.query_row("SELECT count(*) FROM bars", [], |row| row.get(0)))
        .unwrap_or(0)
}

/// What a file holds, read without any of our own code.
pub fn expected(file: &str, symbol: &str) -> BTreeMap<(String, String, String, i64), Prices> {
    let text = fs::read_to_string(file).unwrap();
    let rows = text.lines().skip(1).filter(|line| !line.is_empty()).map(|line| {
        let cells: Vec<&str> = line.split(',').collect();
        let date: Vec<i16> = cells[0].split('/').map(|part| part.parse().unwrap()).collect();
        let date = jiff::civil::date(date[2], date[0] as i8, date[1] as i8);
        let ts = date.to_zoned(jiff::tz::TimeZone::UTC).unwrap().timestamp().as_microsecond();
        let number = |cell: usize| cells[cell].parse::<f64>().unwrap().to_bits();
        let key = ("unknown".to_owned(), symbol.to_owned(), "1d".to_owned(), ts);
        (key, ([number(1), number(2), number(3), number(4)], Some(number(6))))
    });
    rows.collect()
}

/// A well-formed file of minute bars, from 2023-11-14T22:14:00Z on.
pub fn minutes(rows: usize) -> String {
    let mut text = "ts,open,high,low,close,volume\n".to_owned();
    for row in 0..rows {
        writeln!(text, "{},10,12,9,11,{row}", 1_700_000_040 + 60 * row).unwrap();
    }
    text
}

/// The binary while it runs, its log line by line.
pub struct Running {
    pub child: Child,
    pub stdin: Option<ChildStdin>,
    pub log: Receiver<String>,
}

impl Running {
    pub fn start(mut command: Command) -> Self {
        let mut child = command.stdin(Stdio::piped()).stdout(Stdio::piped()).stderr(Stdio::piped()).spawn().unwrap();
        let (sender, log) = channel();
        let stderr = BufReader::new(child.stderr.take().unwrap());
        thread::spawn(move || {
            for line in stderr.lines() {
                let _ = sender.send(line.unwrap());
            }
        });
        Self { stdin: child.stdin.take(), child, log }
    }

    pub fn write(&mut self, text: &str) {
        let stdin = self.stdin.as_mut().unwrap();
        stdin.write_all(text.as_bytes()).unwrap();
        stdin.flush().unwrap();
    }

    /// Waits for a line of the log.
    pub fn wait_for(&self, part: &str) {
        self.wait_for_line(part);
    }

    /// Waits for a line of the log, and returns it.
    pub fn wait_for_line(&self, part: &str) -> String {
        let mut seen = Vec::new();
        loop {
            match self.log.recv_timeout(TOO_LONG) {
                Ok(line) if line.contains(part) => return line,
                Ok(line) => seen.push(line),
                Err(error) => panic!("no {part:?} ({error}) in {seen:#?}"),
            }
        }
    }

    /// Waits until the log has told of so many new dead letters.
    pub fn wait_for_dead_letters(&self, records: u64) {
        let mut told = 0;
        while told < records {
            let line = self.log.recv_timeout(TOO_LONG).unwrap_or_else(|error| panic!("{told} of {records} ({error})"));
            if let Some((_, rest)) =
                line.split_once("are dead letters").and_then(|(_, rest)| rest.split_once("records="))
            {
                told += rest.split(' ').next().unwrap().parse::<u64>().unwrap();
            }
        }
        assert_eq!(told, records);
    }

    pub fn signal(&self, name: &str) {
        // The shell's own kill: a binary of that name is not on every machine.
        let kill = format!("kill -{name} {}", self.child.id());
        assert!(Command::new("sh").args(["-c", &kill]).status().unwrap().success());
    }

    /// Waits for the end, with standard input as open as it was.
    pub fn end(mut self) -> (ExitStatus, Value) {
        // A summary is far smaller than what a pipe holds, so it ends without being read.
        eventually("it ends", || self.child.try_wait().unwrap().is_some());
        let mut stdout = Vec::new();
        self.child.stdout.take().unwrap().read_to_end(&mut stdout).unwrap();
        let status = self.child.wait().unwrap();
        let stderr = self.log.iter().collect::<Vec<_>>().join("\n").into_bytes();
        (status, summary(&Output { status, stdout, stderr }))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // Only a test that failed leaves it running.
        let _ = self.child.kill();
    }
}

/// Waits for something that another process does and that nothing announces.
pub fn eventually(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < TOO_LONG, "never came true: {what}");
        thread::sleep(Duration::from_millis(5));
    }
}

/// An empty store, as a first run leaves it.
pub fn empty_store(dir: &Path) -> Connection {
    fs::write(dir.join("empty.csv"), "symbol,timeframe,ts,open,high,low,close\n").unwrap();
    let output = run(dir, &["empty.csv"]);
    assert_eq!(output.status.code(), Some(0), "{}", stderr(&output));
    let store = Connection::open(dir.join("market_data.db")).unwrap();
    // One that writes all the time on a busy machine leaves the lock seldom.
    store.busy_timeout(TOO_LONG).unwrap();
    store
}

/// Puts something in the place of the directory for dead letters in which no file can be made. A process finds that out
/// at its next dead letter: at its start the directory has to be there.
#[cfg(unix)]
pub fn block_dead_letters(dir: &Path) {
    let path = dir.join("dead_letters");
    fs::remove_dir_all(&path).unwrap();
    std::os::unix::fs::symlink("nowhere", path).unwrap();
}

/// The records in the dead letters of a directory, as JSON lines.
pub fn dead_letters(dir: &Path) -> Vec<Value> {
    let Ok(files) = fs::read_dir(dir.join("dead_letters")) else { return Vec::new() };
    files
        .map(|file| file.unwrap().path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "ndjson"))
        .flat_map(|path| fs::read_to_string(path).unwrap().lines().map(ToOwned::to_owned).collect::<Vec<_>>())
        .map(|line| serde_json::from_str(&line).unwrap())
        .collect()
}
