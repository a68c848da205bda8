//! Forms of files from public reports, given to the real binary: what is stored is right, or what is wrong is told.
//!
//! tests/data/forms/expected.json says of each what is right and where its form comes from; the README beside it is the
//! table of the faults.

use std::{
    collections::BTreeSet,
    fs,
    path::{Path, PathBuf},
};

use market_data_store::Timestamp;
use rusqlite::Connection;
use serde_json::Value;

use crate::mds::{empty_store, mds, run, stderr, stdout};

fn forms() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/data/forms")
}

fn cases() -> Vec<Value> {
    let text = fs::read_to_string(forms().join("expected.json")).unwrap();
    let all: Value = serde_json::from_str(&text).unwrap();
    all["cases"].as_array().unwrap().clone()
}

/// A row of the store, as it is compared.
type Row = (String, String, String, i64, [Option<u64>; 5]);

fn stored(dir: &Path) -> Vec<Row> {
    let path = dir.join("market_data.db");
    if !path.exists() {
        return Vec::new();
    }
    let store = Connection::open(path).unwrap();
    let query = "SELECT vendor, symbol, timeframe, ts, open, high, low, close, volume FROM bars ORDER BY 1, 2, 3, 4";
    let mut rows = store.prepare(query).unwrap();
    let row = |row: &rusqlite::Row<'_>| {
        let number = |at: usize| row.get::<_, Option<f64>>(at).map(|number| number.map(f64::to_bits));
        let numbers = [number(4)?, number(5)?, number(6)?, number(7)?, number(8)?];
        Ok((row.get(0)?, row.get(1)?, row.get(2)?, row.get(3)?, numbers))
    };
    rows.query_map([], row).unwrap().collect::<Result<_, _>>().unwrap()
}

fn micros(text: &str) -> i64 {
    text.parse::<Timestamp>().unwrap().as_micros()
}

fn strings(value: &Value) -> Vec<&str> {
    value.as_array().map(|all| all.iter().map(|text| text.as_str().unwrap()).collect()).unwrap_or_default()
}

fn expected_rows(rows: &Value) -> Vec<Row> {
    let text = |row: &Value, at: usize| row[at].as_str().unwrap().to_owned();
    let row = |row: &Value| {
        let number = |at: usize| row[at].as_f64().map(f64::to_bits);
        let numbers = [number(4), number(5), number(6), number(7), number(8)];
        (text(row, 0), text(row, 1), text(row, 2), micros(&text(row, 3)), numbers)
    };
    let mut rows: Vec<Row> = rows.as_array().unwrap().iter().map(row).collect();
    rows.sort();
    rows
}

/// Returns whether an outcome is one of those that are right.
fn is_right(accept: &Value, stored: &[Row], code: i32, said: &str) -> bool {
    let has_any = |words: &Value| strings(words).iter().any(|word| said.contains(word));
    let has_all = strings(&accept["all_of"]).iter().all(|word| said.contains(word));
    let is_exit = accept["exit"].as_array().unwrap().iter().any(|exit| *exit == code);
    let is_so = if !accept["rows"].is_null() {
        expected_rows(&accept["rows"]) == stored
    } else if !accept["span"].is_null() {
        let span = &accept["span"];
        let times: Vec<i64> = stored.iter().map(|row| row.3).collect();
        let end = |at: usize| span[at].as_str().map(micros);
        span[0] == times.len() && times.iter().min().copied() == end(1) && times.iter().max().copied() == end(2)
    } else if !accept["refused"].is_null() {
        stored.is_empty() && has_any(&accept["refused"])
    } else {
        has_any(&accept["told"])
    };
    is_exit && has_all && is_so
}

/// Puts what a file says into a store, as it stands.
fn fill(dir: &Path, file: &str) {
    let store = empty_store(dir);
    let text = fs::read_to_string(forms().join(file)).unwrap();
    for line in text.lines().skip(1) {
        let cells: Vec<&str> = line.split(',').collect();
        let number = |at: usize| cells[at].parse::<f64>().ok();
        let row =
            (cells[0], cells[1], cells[2], micros(cells[3]), number(4), number(5), number(6), number(7), number(8));
        store.execute("INSERT INTO bars VALUES (?1, ?2, ?3, 'unknown', ?4, ?5, ?6, ?7, ?8, ?9)", row).unwrap();
    }
}

/// Red if a form is stored as what it is not, and nothing says so.
#[test]
fn forms_from_public_reports_are_read_rightly_or_what_is_wrong_is_told() {
    let mut wrong = Vec::new();
    for case in cases() {
        let dir = tempfile::tempdir().unwrap();
        let mut args = strings(&case["args"]);
        for (to, from) in case["tree"].as_object().into_iter().flatten() {
            let to = dir.path().join(to);
            fs::create_dir_all(to.parent().unwrap()).unwrap();
            fs::copy(forms().join(from.as_str().unwrap()), to).unwrap();
        }
        let output = if case["command"] == "check" {
            fill(dir.path(), case["file"].as_str().unwrap());
            args.insert(0, "check");
            mds(dir.path()).args(args).output().unwrap()
        } else {
            if let Some(file) = case["file"].as_str() {
                fs::copy(forms().join(file), dir.path().join(file)).unwrap();
                args.push(file);
            }
            run(dir.path(), &args)
        };
        let (code, said) = (output.status.code().unwrap(), stdout(&output) + &stderr(&output));
        let stored = stored(dir.path());
        if !case["accept"].as_array().unwrap().iter().any(|accept| is_right(accept, &stored, code, &said)) {
            wrong.push(format!("{} ({}): exit {code}, {} stored: {said}", case["id"], case["why"], stored.len()));
        }
    }
    assert!(wrong.is_empty(), "{} wrong:\n{}", wrong.len(), wrong.join("\n"));
}

/// Red if a form is added and the table does not say which fault it shows.
#[test]
fn the_table_of_faults_names_every_form() {
    let table = fs::read_to_string(forms().join("README.md")).unwrap();
    let named: BTreeSet<&str> = table.split('`').skip(1).step_by(2).collect();
    let cases = cases();
    let missing: Vec<&str> =
        cases.iter().map(|case| case["id"].as_str().unwrap()).filter(|id| !named.contains(id)).collect();
    assert!(missing.is_empty(), "{missing:?}");
}
