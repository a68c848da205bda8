//! `mds ingest` of a CSV file against `.import` of the `sqlite3` command line into the same keyed table: the same file,
//! schema, pragmas (WAL, `synchronous=FULL`) and directory, in the same run.
//!
//! Then the same file packed with `gzip` and `zstd`, against the same file plain and against those tools unpacking it
//! to nowhere. What is packed is unpacked and read in one thread, so its time is about that of both together.
//!
//! `cargo bench --bench ingest`; it needs `sqlite3`, `gzip` and `zstd` on the PATH. `MDS_BENCH_ROWS` (default 5000000)
//! and `MDS_BENCH_ROUNDS` (default 3) set the size, `MDS_BENCH_MEMORY_MB` (default `100,2000`) the inputs whose peak
//! memory is shown, each a file, and the first on a pipe too, and `MDS_BENCH_DIR` the directory of the files: a disk,
//! or a durable commit costs nothing.
//!
//! `.import` writes all rows in one transaction, as it does when it is left alone; `mds` commits every few batches, and
//! what it has committed stays when it is killed. So the comparison is on the peer's terms. Time is that of the whole
//! process, from start to exit, with the file closed.

use std::{
    env,
    fmt::Write as _,
    fs::{self, File},
    io::{self, BufWriter, Write},
    path::{Path, PathBuf},
    process::{Command, Stdio},
    time::{Duration, Instant},
};

use futures::executor::block_on;
use market_data_store::{Bar, sink::SqliteSink};
use rusqlite::Connection;

use self::table::{Goal, Table, by_turns, is_measurement, number};

#[allow(dead_code, reason = "each bench uses a part of it")]
mod table;

const HEADER: &str = "vendor,symbol,timeframe,adjustment,ts,open,high,low,close,volume\n";
const MDS: &str = env!("CARGO_BIN_EXE_mds");

fn main() {
    // `cargo test --benches` and `cargo bench -- --list` want to see it end, not to measure.
    if !is_measurement() {
        return;
    }
    let (rows, rounds) = (number("MDS_BENCH_ROWS", 5_000_000), number("MDS_BENCH_ROUNDS", 3));
    let dir = env::var_os("MDS_BENCH_DIR").map_or_else(|| env!("CARGO_TARGET_TMPDIR").into(), PathBuf::from);
    let dir = tempfile::tempdir_in(dir).unwrap();
    let version = Command::new("sqlite3").arg("--version").output().expect("sqlite3 must be on the PATH");
    let version = String::from_utf8(version.stdout).unwrap();
    let peer = format!("sqlite3 {} .import", version.split(' ').next().unwrap_or_default());
    let mut table = Table::new("ingest");
    table.size("rows", rows).size("rounds", rounds);
    for (title, symbols) in [("one symbol", 1), ("40 symbols in turn", 40)] {
        let csv = dir.path().join("bars.csv");
        let mut file = BufWriter::new(File::create(&csv).unwrap());
        file.write_all(HEADER.as_bytes()).unwrap();
        write_rows(&mut file, rows, symbols).unwrap();
        file.into_inner().unwrap().sync_all().unwrap();

        let [ours, theirs, reading] = by_turns(
            rounds,
            [
                &mut || load(dir.path(), rows, |store| ingest(&csv, store)),
                &mut || load(dir.path(), rows, |store| import(&csv, store)),
                &mut || rows as f64 / dry_run(&csv),
            ],
        );
        table
            .line(format!("mds ingest, {title}"), "rows/s", &ours)
            .beside(&*peer, &theirs)
            .goal(Goal::RatioAtLeast(1.8));
        table.line(format!("reading alone (--dry-run), {title}"), "rows/s", &reading);
        if symbols == 1 {
            packed(&mut table, &csv, rows, rounds);
        }
        fs::remove_file(csv).unwrap();
    }

    let sizes = env::var("MDS_BENCH_MEMORY_MB").unwrap_or_else(|_| "100,2000".to_owned());
    for (at, megabytes) in sizes.split(',').enumerate() {
        let megabytes = megabytes.trim().parse().expect("MDS_BENCH_MEMORY_MB: expected numbers with commas");
        let mut line = |from: &str, peak: Option<u64>| {
            if let Some(peak) = peak {
                table.line(format!("peak memory, {megabytes} MB {from}"), "MiB", &[peak as f64 / 1024.0]);
            }
        };
        line("in a file", peak_memory_of_file(dir.path(), megabytes));
        if at == 0 {
            line("on a pipe", peak_memory(dir.path(), megabytes));
        }
    }
    table.finish();
}

/// Measures the file packed in turn with the file plain, and both with what their tools take for the unpacking alone.
fn packed(table: &mut Table, csv: &Path, rows: usize, rounds: usize) {
    let dir = csv.parent().unwrap();
    let name = csv.file_name().unwrap();
    run(Command::new("gzip").arg("-k").arg(csv));
    run(Command::new("zstd").args(["-q", "-k"]).arg(csv));
    for (tool, ending, unpack) in [("gzip", ".gz", "-dc"), ("zstd", ".zst", "-dcq")] {
        let packed = dir.join(format!("{}{ending}", name.display()));
        let [plain, reading, unpacking, plain_load, packed_load] = by_turns(
            rounds,
            [
                &mut || dry_run(csv),
                &mut || dry_run(&packed),
                &mut || timed(Command::new(tool).arg(unpack).arg(&packed)),
                &mut || load(dir, rows, |store| ingest(csv, store)),
                &mut || load(dir, rows, |store| ingest(&packed, store)),
            ],
        );
        let both: Vec<f64> = plain.iter().zip(&unpacking).map(|(plain, unpacking)| plain + unpacking).collect();
        table
            .line(format!("reading a {tool} file (--dry-run)"), "s", &reading)
            .beside(format!("plain, and `{tool} {unpack}`"), &both);
        table.line(format!("mds ingest, a {tool} file"), "rows/s", &packed_load).beside("plain", &plain_load);
        fs::remove_file(packed).unwrap();
    }
}

fn timed(command: &mut Command) -> f64 {
    let begun = Instant::now();
    run(command);
    begun.elapsed().as_secs_f64()
}

/// Reads a file and stores nothing; returns the seconds.
fn dry_run(input: &Path) -> f64 {
    timed(mds_on(&input.with_file_name("none.db")).args(["ingest", "--dry-run"]).arg(input))
}

/// Writes bars minute by minute, each minute those of all symbols: about 59 bytes a row.
fn write_rows(to: &mut impl Write, rows: usize, symbols: usize) -> io::Result<()> {
    let (mut text, mut random) = (String::new(), fastrand::Rng::with_seed(7));
    let mut price = 16_000_i64;
    for row in 0..rows {
        let (symbol, ts) = (row % symbols, 1_400_000_000 + 60 * (row / symbols) as i64);
        // Quarters, as futures are quoted, and never far from where they began.
        price += random.i64(-8..=8) + (16_000 - price) / 256;
        let at = |quarters: i64| (price + quarters) as f64 / 4.0;
        let (open, high, low, close, volume) = (at(0), at(6), at(-5), at(1), random.u32(1..5_000));
        // Writing to a string cannot fail.
        let _ = writeln!(text, "acme,SYM{symbol},1m,raw,{ts}000000,{open:.2},{high:.2},{low:.2},{close:.2},{volume}");
        if text.len() > 1 << 16 {
            to.write_all(text.as_bytes())?;
            text.clear();
        }
    }
    to.write_all(text.as_bytes())
}

fn ingest(csv: &Path, store: &Path) {
    run(mds_on(store).arg("ingest").arg(csv));
}

fn import(csv: &Path, store: &Path) {
    let import = format!(".import --csv --skip 1 \"{}\" bars", csv.display());
    let pragmas = ["PRAGMA synchronous = FULL", "PRAGMA temp_store = memory"];
    run(Command::new("sqlite3").arg("-bail").arg(store).args(pragmas).arg(import));
}

fn mds_on(store: &Path) -> Command {
    let mut command = Command::new(MDS);
    let url = format!("sqlite://{}", store.display());
    // The defaults, whatever is set here.
    for (name, _) in env::vars_os().filter(|(name, _)| name.as_encoded_bytes().starts_with(b"MDS_")) {
        command.env_remove(name);
    }
    command.current_dir(store.parent().unwrap()).env("MDS_DATABASE_URL", url).env("MDS_LOG", "warn");
    command
}

fn run(command: &mut Command) {
    let status = command.stdout(Stdio::null()).status().unwrap();
    assert!(status.success(), "{command:?}: {status}");
}

/// Runs one contender on a new file with the schema in place, and returns its rows a second.
fn load(dir: &Path, rows: usize, contender: impl FnOnce(&Path)) -> f64 {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let path = dir.path().join("bars.db");
    block_on(SqliteSink::open::<Bar>(&path).unwrap().close());

    let begun = Instant::now();
    contender(&path);
    let took = begun.elapsed();

    let sql = "SELECT count(*) FROM bars WHERE typeof(ts) = 'integer' AND typeof(close) = 'real'";
    let stored: i64 = Connection::open(&path).unwrap().query_row(sql, [], |row| row.get(0)).unwrap();
    assert_eq!(stored as usize, rows, "a contender must store everything");
    rows as f64 / took.as_secs_f64()
}

/// Returns the peak of what the process had in memory, in KiB. It is read while the process still waits for the end of
/// its input; only Linux tells.
fn peak_memory(dir: &Path, megabytes: usize) -> Option<u64> {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let mut child = mds_on(&dir.path().join("bars.db"))
        .args(["ingest", "-"])
        .stdin(Stdio::piped())
        .stdout(Stdio::null())
        .spawn()
        .unwrap();
    let mut stdin = child.stdin.take().unwrap();
    stdin.write_all(HEADER.as_bytes()).unwrap();
    write_rows(&mut stdin, megabytes * 1_000_000 / 63, 40).unwrap();
    // What is left in the pipe is little beside what was.
    std::thread::sleep(Duration::from_millis(500));
    let peak = peak_kb(child.id());
    drop(stdin);
    assert!(child.wait().unwrap().success());
    peak
}

/// The same of a file, looked at until the process has ended.
fn peak_memory_of_file(dir: &Path, megabytes: usize) -> Option<u64> {
    let dir = tempfile::tempdir_in(dir).unwrap();
    let csv = dir.path().join("bars.csv");
    let mut file = BufWriter::new(File::create(&csv).unwrap());
    file.write_all(HEADER.as_bytes()).unwrap();
    write_rows(&mut file, megabytes * 1_000_000 / 63, 40).unwrap();
    drop(file);
    let store = dir.path().join("bars.db");
    let mut child = mds_on(&store).arg("ingest").arg(&csv).stdout(Stdio::null()).spawn().unwrap();
    let mut peak = None;
    loop {
        peak = peak_kb(child.id()).or(peak);
        if let Some(status) = child.try_wait().unwrap() {
            assert!(status.success());
            return peak;
        }
        std::thread::sleep(Duration::from_millis(20));
    }
}

fn peak_kb(process: u32) -> Option<u64> {
    let status = fs::read_to_string(format!("/proc/{process}/status")).ok()?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"))?;
    line.trim().strip_suffix("kB")?.trim().parse().ok()
}
