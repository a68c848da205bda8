//! What a terminal obeys, and what turns round the text beside it, reaches no output of `mds`, wherever it comes from.

use std::{fs, process::Command};

use serde_json::{Value, json};

use crate::{
    dlq_command::{bar, keep},
    mds::{empty_store, mds, minutes, stderr, stdout},
};

/// A text that clears the screen, begins a line of its own and turns round what follows. A name can hold no NUL.
const HOSTILE: &str =
    "<\u{1b}[2J\nOWN LINE\r\u{7}\u{7f}\u{9b}31m\u{85}\u{2028}\u{202e}\u{2066}\u{200e}\u{61c}\u{feff}>";

/// How often a command showed the text, escaped.
#[derive(Default)]
struct Shown(usize);

impl Shown {
    /// Runs a command, with its log in both forms, and checks all that it says. Returns its standard output.
    fn run(&mut self, command: impl Fn() -> Command) -> String {
        let mut out = String::new();
        for format in ["text", "json"] {
            let mut command = command();
            let output = command.env("MDS_LOG_FORMAT", format).output().unwrap();
            let all = stderr(&output) + &stdout(&output);
            let hidden = |char: char| {
                let marks = ['\u{2028}', '\u{202e}', '\u{2066}', '\u{200e}', '\u{61c}', '\u{feff}'];
                char != '\n' && char.is_control() || marks.contains(&char)
            };
            assert!(!all.contains(hidden), "{command:?} says {all:?}");
            assert!(!all.lines().any(|line| line.trim_start().starts_with("OWN LINE")), "{command:?} says {all:?}");
            assert!(!all.contains("panicked"), "{all}");
            let times = all.matches(r"\u{202e}").count()
                + all.matches(r"\u202e").count()
                + all.matches(r"\342\200\256").count();
            assert!(times > 0, "{command:?} shows nothing of it: {all}");
            self.0 += times;
            out = stdout(&output);
        }
        out
    }
}

// Red if any place prints a text as it is: `print!`, a field of the log that is shown by `%`, an error's own text.
#[test]
fn texts_of_a_store_reach_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let insert = "INSERT INTO bars VALUES (?1, ?1, ?2, 'unknown', 60000000, 1, 1, 1, 'x', NULL)";
    let store = empty_store(dir.path());
    for timeframe in ["1m", HOSTILE] {
        store.execute(insert, [&format!("{HOSTILE}\0"), timeframe]).unwrap();
    }
    drop(store);
    let mut shown = Shown::default();
    shown.run(|| with(mds(dir.path()), &["check"]));
    shown.run(|| with(mds(dir.path()), &["query", "--kind", "bars"]));
    let out = shown.run(|| with(mds(dir.path()), &["check", "--json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["series"][0]["symbol"], format!("{HOSTILE}\0"));
    assert!(shown.0 > 20, "{}", shown.0);

    // What the store says of a record: in the log, and as the error of a dead letter.
    let dir = tempfile::tempdir().unwrap();
    let quoted = format!("'{HOSTILE}'");
    let trigger = format!("CREATE TRIGGER no BEFORE INSERT ON bars BEGIN SELECT RAISE(ABORT, {quoted}); END");
    empty_store(dir.path()).execute_batch(&trigger).unwrap();
    fs::write(dir.path().join("bars.csv"), minutes(1)).unwrap();
    let args = ["ingest", "--symbol", "ES", "--timeframe", "1m", "bars.csv"];
    shown.run(|| with(mds(dir.path()), &args));
    shown.run(|| with(mds(dir.path()), &["dlq", "list", "--json"]));
    shown.run(|| with(mds(dir.path()), &["dlq", "replay"]));
}

// Red if a field of an entry, a kind that is counted or a place that is damaged is printed as it is.
#[test]
fn texts_of_dead_letters_reach_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    keep(dir.path(), [bar("ES", 1)]);
    let letters = dir.path().join("dead_letters");
    let path = fs::read_dir(&letters).unwrap().next().unwrap().unwrap().path();
    let mut entry: Value = serde_json::from_str(&fs::read_to_string(&path).unwrap()).unwrap();
    entry.as_object_mut().unwrap().remove("crc");
    let hostile = format!("{HOSTILE}\0");
    for field in ["coordinator_id", "error"] {
        entry[field] = json!(hostile);
    }
    let mut of_another_kind = entry.clone();
    of_another_kind["kind"] = json!(hostile);
    of_another_kind["id"] = json!("other");
    of_another_kind["record"] = json!({ "key": hostile });
    entry["record"]["symbol"] = json!(hostile);
    entry["id"] = json!(hostile);
    // Raw within strings, as JSON allows it.
    let raw = |entry: &Value| entry.to_string().replace("\\u007f", "\u{7f}");
    let damaged = format!("{{\"id\": \"{}\"", HOSTILE.replace('\n', ""));
    fs::write(&path, format!("{}\n{}\n{damaged}\n", raw(&entry), raw(&of_another_kind))).unwrap();

    let mut shown = Shown::default();
    for args in [&["list"][..], &["list", "--json"], &["show", "other"], &["show", "other", "--json"], &["replay"]] {
        let out = shown.run(|| with(mds(dir.path()), &[&["dlq"], args].concat()));
        if args.contains(&"--json") {
            let first: Value = serde_json::from_str(out.lines().next().unwrap()).unwrap();
            assert_eq!(first["entry"]["error"], hostile.as_str());
        }
    }
    let out = shown.run(|| with(mds(dir.path()), &["dlq", "replay", "--json"]));
    let report: Value = serde_json::from_str(&out).unwrap();
    assert_eq!(report["other_kinds"][&hostile], 1);
    shown.run(|| with(mds(dir.path()), &["dlq", "show", HOSTILE]));
    // The name of the directory, in what is wrong with it.
    fs::write(dir.path().join(HOSTILE), "").unwrap();
    for command in ["list", "purge"] {
        shown.run(|| {
            let mut command = with(mds(dir.path()), &["dlq", command, "--limit", "1"]);
            command.env("MDS_DLQ_PATH", HOSTILE);
            command
        });
    }
    assert!(shown.0 > 40, "{}", shown.0);
}

// Red if a value of a variable, or the name of an unknown one, is printed as it is.
#[test]
fn texts_of_the_environment_reach_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut shown = Shown::default();
    let url = format!("sqlite://{HOSTILE}.db");
    for args in [&["config"][..], &["config", "--json"], &["check"]] {
        shown.run(|| {
            let mut command = with(mds(dir.path()), args);
            command.env("MDS_DATABASE_URL", &url).env("MDS_LOG", "info");
            command
        });
    }
    for (name, value) in [
        ("MDS_LOG", HOSTILE),
        ("MDS_SOURCE", HOSTILE),
        ("MDS_DATABASE_URL", HOSTILE),
        ("MDS_COORDINATOR_WORKERS", HOSTILE),
        (&format!("MDS_{HOSTILE}"), "1"),
    ] {
        shown.run(|| {
            let mut command = with(mds(dir.path()), &["config"]);
            command.env(name, value);
            command
        });
    }
}

// Red if clap's own errors, or those of the parsers behind it, repeat what was typed.
#[test]
fn texts_of_the_command_line_reach_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    let mut shown = Shown::default();
    let option = format!("--{HOSTILE}");
    for args in [
        &[HOSTILE][..],
        &["config", &option],
        &["config", HOSTILE],
        &["dlq", "purge", "--limit", HOSTILE],
        &["dlq", "list", "--since", HOSTILE],
        &["check", "--symbol", HOSTILE],
        &["check", "--timeframe", HOSTILE],
        &["check", "--database", HOSTILE],
        &["check", "--database", &format!("sqlite://{HOSTILE}")],
        &["ingest", "--tz", HOSTILE, "a.csv"],
        &["ingest", "--ts-format", HOSTILE, "a.csv"],
        &["ingest", "--map", HOSTILE, "a.csv"],
        &["ingest", "--give-up-after", HOSTILE, "a.csv"],
        &["ingest", HOSTILE],
        &["ingest", &format!("{HOSTILE}*")],
        &["ingest", &format!("{HOSTILE}[")],
    ] {
        shown.run(|| with(mds(dir.path()), args));
    }
}

// Red if a name or a value of a file is printed as it is, in the summary, the log, or the command that is proposed.
#[test]
fn texts_of_files_reach_no_terminal() {
    let dir = tempfile::tempdir().unwrap();
    // One line of a file holds no line end.
    let hostile = HOSTILE.replace(['\n', '\r'], "");
    let name = format!("{HOSTILE}.csv");
    let cell = |place: &str| minutes(2).replacen(place, &hostile, 1);
    let mut shown = Shown::default();
    for (text, args) in [
        (cell("10"), &["--symbol", "ES", "--timeframe", "1m"][..]),
        (cell("1700000040"), &["--symbol", "ES", "--timeframe", "1m", "--dry-run"]),
        (cell("volume"), &["--symbol", "ES", "--timeframe", "1m"]),
        (cell("volume"), &["--symbol", "ES", "--timeframe", "1m", "--dry-run"]),
        (cell("close"), &["--symbol", "ES", "--timeframe", "1m"]),
        (format!("symbol,{}", minutes(1)).replace("\n1", &format!("\n{hostile},1")), &["--timeframe", "1m"]),
        (minutes(1), &["--timeframe", "1m"]),
        (format!("{{\"ts\": 1, \"{hostile}\": 1, \"open\": \"{hostile}\"}}"), &["--symbol", "ES", "--timeframe", "1m"]),
    ] {
        fs::write(dir.path().join(&name), text).unwrap();
        for json in [&["--json"][..], &[]] {
            let args = [&["ingest"], args, json, &[&*name]].concat();
            let out = shown.run(|| with(mds(dir.path()), &args));
            if !json.is_empty() && !out.is_empty() {
                let summary: Value = serde_json::from_str(&out).unwrap();
                assert_eq!(summary["inputs"][0]["file"], name.as_str());
            }
        }
    }
}

fn with(mut command: Command, args: &[&str]) -> Command {
    command.args(args);
    command
}
