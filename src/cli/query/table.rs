//! A table for people. Its columns are as wide as the first rows need, so that it is shown while it is read.

use market_data_store::{Table, Value, text::Shown};

/// So many rows decide how wide the columns are.
const MEASURED: usize = 500;
/// The most characters of a cell that are shown.
const CELL: usize = 60;

#[derive(Debug)]
pub struct Columns {
    names: Vec<&'static str>,
    are_numbers: Vec<bool>,
    /// Rows that wait until the widths are known.
    waiting: Vec<Vec<String>>,
    widths: Option<Vec<usize>>,
    rows: u64,
}

impl Columns {
    pub fn new(table: &Table) -> Self {
        Self {
            names: table.columns().iter().map(|column| column.name()).collect(),
            are_numbers: vec![false; table.columns().len()],
            waiting: Vec::new(),
            widths: None,
            rows: 0,
        }
    }

    /// Takes a row, and adds to the text what can be shown.
    pub fn row(&mut self, text: &mut String, values: &[Value<'_>]) {
        self.rows += 1;
        for (is_number, value) in self.are_numbers.iter_mut().zip(values) {
            *is_number |= matches!(value, Value::Float(_) | Value::Integer(_));
        }
        self.waiting.push(values.iter().map(cell).collect());
        if self.widths.is_some() || self.waiting.len() == MEASURED {
            self.show(text);
        }
    }

    /// Adds what is left.
    pub fn finish(&mut self, text: &mut String) {
        self.show(text);
        text.push_str(&format!("{} record{}\n", self.rows, if self.rows == 1 { "" } else { "s" }));
    }

    fn show(&mut self, text: &mut String) {
        let waiting = std::mem::take(&mut self.waiting);
        let names: Vec<String> = self.names.iter().map(ToString::to_string).collect();
        let widths = self.widths.get_or_insert_with(|| {
            let width = |at: usize| waiting.iter().map(|row| row[at].chars().count()).chain([names[at].len()]).max();
            let widths = (0..names.len()).map(|at| width(at).unwrap_or_default()).collect();
            line(text, &names, &widths, &self.are_numbers);
            widths
        });
        waiting.iter().for_each(|row| line(text, row, widths, &self.are_numbers));
    }
}

fn cell(value: &Value<'_>) -> String {
    let shown = match value {
        Value::Text(text) => Shown(text).to_string(),
        value => value.to_string(),
    };
    match shown.char_indices().nth(CELL) {
        Some((at, _)) => shown[..at].to_owned() + "...",
        None => shown,
    }
}

fn line(text: &mut String, cells: &[String], widths: &Vec<usize>, are_numbers: &[bool]) {
    let mut line = String::new();
    for ((cell, width), is_number) in cells.iter().zip(widths).zip(are_numbers) {
        line += &if *is_number { format!("{cell:>width$}  ") } else { format!("{cell:width$}  ") };
    }
    text.push_str(line.trim_end());
    text.push('\n');
}
