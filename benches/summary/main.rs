//! What the other benches measured last, as one table and one JSON.
//!
//! `cargo bench --all-features` runs all benches in the order of their names, and this one behind them. Each has left its
//! figures in `bench/` of the target directory; they become `bench/summary.json` there, and the pictures beside it.
//! `-- docs/PERFORMANCE.md` writes the table into that page too, in the place of the one that it has, and the pictures
//! beside the page.

use std::{fs, path::Path};

use self::table::{
    Table, directory, is_measurement,
    show::{HEAD, cells, heading, show},
    words,
};

mod pictures;
#[allow(dead_code, reason = "each bench uses a part of it")]
#[path = "../table/mod.rs"]
mod table;

/// Between these lines of a page is the table.
const MARKS: [&str; 2] = ["<!-- figures: written by the bench `summary` -->\n", "<!-- end of the figures -->\n"];

fn main() {
    if !is_measurement() {
        return;
    }
    let summary = directory().join("summary.json");
    let mut files: Vec<_> = fs::read_dir(directory())
        .expect("the other benches leave their figures there")
        .map(|entry| entry.expect("it can be read").path())
        .filter(|path| path.extension().is_some_and(|extension| extension == "json") && *path != summary)
        .collect();
    files.sort();
    let tables: Vec<Table> = files
        .iter()
        .map(|path| {
            let json = fs::read_to_string(path).expect("it can be read");
            serde_json::from_str(&json).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
        })
        .collect();

    print!("\n{}", show(&tables));
    let met: Vec<bool> = tables.iter().flat_map(|table| &table.lines).filter_map(|line| line.met).collect();
    println!("{} of {} goals are met", met.iter().filter(|met| **met).count(), met.len());
    let json = serde_json::to_string_pretty(&tables).expect("numbers and names");
    fs::write(&summary, json + "\n").expect("a place for the figures");
    let pictures = pictures::draw(&tables, &directory()).expect("a place for the pictures");
    println!("written: {}, {}", summary.display(), pictures.join(", "));
    for page in words() {
        let text = fs::read_to_string(&page).unwrap_or_else(|error| panic!("{page}: {error}"));
        let [(before, _), (_, after)] = MARKS.map(|mark| text.split_once(mark).expect("the marks of the table"));
        fs::write(&page, [before, MARKS[0], &markdown(&tables), MARKS[1], after].concat()).expect("a page");
        for picture in &pictures {
            fs::copy(directory().join(picture), Path::new(&page).with_file_name(picture))
                .expect("a place for pictures");
        }
        println!("written: {page}, and the pictures beside it");
    }
}

/// Returns a table a bench, as a page shows it.
fn markdown(tables: &[Table]) -> String {
    let row = |cells: &[String]| format!("| {} |\n", cells.join(" | "));
    let mut text = String::new();
    for table in tables {
        text += &format!("\n{}, on {}\n\n", heading(table), table.machine);
        text += &row(&HEAD.map(str::to_owned));
        text += &row(&HEAD.map(|_| "---".to_owned()));
        text.extend(table.lines.iter().map(|line| row(&cells(line))));
    }
    text + "\n"
}
