//! What `mds ingest` holds in memory while it loads: as much of a large input as of a small one.

use std::{env, fs, io::Write, process::Stdio};

use crate::mds::ingest;

/// How much more memory the whole input may take than its first megabytes: page caches fill up, heaps settle.
const SLACK_KB: u64 = 3 * 1024;

/// After so many the last 100,000 rows are remembered, by which rows of one key are told apart.
const FIRST_MEGABYTES: usize = 12;

/// Red if chunks pile up before the coordinator, if the summary keeps what it counts, or if the readers hold the file.
#[test]
fn memory_does_not_grow_with_the_input() {
    let megabytes: usize =
        env::var("MDS_TEST_MEMORY_MB").map_or(30, |text| text.parse().expect("MDS_TEST_MEMORY_MB: expected a number"));
    for format in [csv, ndjson] {
        let dir = tempfile::tempdir().unwrap();
        let mut command = ingest(dir.path(), &["--symbol", "ES", "--timeframe", "1m", "--json", "-"]);
        // It has to keep up with the pipe: a queue of its own size would hide a small file whole.
        command.env("MDS_COORDINATOR_CAPACITY", "2000").stdin(Stdio::piped()).stdout(Stdio::piped());
        let mut child = command.spawn().unwrap();
        let mut stdin = child.stdin.take().unwrap();
        let (mut written, mut row, mut first) = (0, 0, 0);
        while written < megabytes * 1_000_000 {
            let text = format(row);
            // Every hundredth is rejected, so that rejected lines count too.
            stdin.write_all(text.as_bytes()).unwrap();
            (written, row) = (written + text.len(), row + 1_000);
            if first == 0 && written >= FIRST_MEGABYTES * 1_000_000 {
                first = peak_kb(child.id());
            }
        }
        // All but what the pipe holds has been read.
        let whole = peak_kb(child.id());
        drop(stdin);
        let output = child.wait_with_output().unwrap();
        assert_eq!(output.status.code(), Some(65));
        assert!(
            first > 0 && whole < first + SLACK_KB,
            "{first} kB after {FIRST_MEGABYTES} MB, {whole} kB after all of {written} B"
        );
    }
}

/// The most that a process ever had in memory.
fn peak_kb(process: u32) -> u64 {
    let status = fs::read_to_string(format!("/proc/{process}/status")).unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

fn csv(from: usize) -> String {
    let header = if from == 0 { "ts,open,high,low,close,volume\n" } else { "" };
    rows(from).fold(header.to_owned(), |text, (ts, open)| text + &format!("{ts},{open},12.25,9.75,11.5,{ts}\n"))
}

fn ndjson(from: usize) -> String {
    rows(from).fold(String::new(), |text, (ts, open)| {
        text + &format!("{{\"ts\":{ts},\"open\":\"{open}\",\"high\":12.25,\"low\":9.75,\"close\":11.5}}\n")
    })
}

/// A thousand times and open prices, one in a hundred of which is none. A time does not come twice in a gigabyte: rows that
/// take the place of stored ones need more memory for the pages that a batch may have to undo, once.
fn rows(from: usize) -> impl Iterator<Item = (usize, &'static str)> {
    (from..from + 1_000).map(|row| (100_000_020 + 60 * row, if row % 100 == 7 { "ten" } else { "10.5" }))
}
