//! The three forms that records are written in.

use std::{io, marker::PhantomData, path::Path};

use clap::ValueEnum;
use market_data_store::{Row, Tabular};

use super::{csv, table::Columns, target::Target};
use crate::cli::output::escaped;

/// How records are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq, ValueEnum)]
pub enum Format {
    /// A header with the names of the columns, and a line a record.
    Csv,
    /// A JSON object a line.
    Ndjson,
    /// For people: aligned, long texts cut.
    Table,
}

impl Format {
    /// Returns the default for a target.
    pub fn of(file: Option<&Path>, is_terminal: bool) -> Self {
        match file {
            Some(file) if file.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("csv")) => Self::Csv,
            None if is_terminal => Self::Table,
            _ => Self::Ndjson,
        }
    }
}

/// Writes records of one type.
pub struct Writer<T> {
    form: Form,
    text: String,
    target: Target,
    record: PhantomData<fn(T)>,
}

enum Form {
    Csv,
    Ndjson,
    Table(Columns),
}

impl<T: Tabular> Writer<T> {
    pub fn new(format: Format, target: Target) -> Self {
        let (form, text) = match format {
            Format::Csv => (Form::Csv, csv::header(&T::TABLE)),
            Format::Ndjson => (Form::Ndjson, String::new()),
            Format::Table => (Form::Table(Columns::new(&T::TABLE)), String::new()),
        };
        Self { form, text, target, record: PhantomData }
    }

    /// # Errors
    /// The target cannot be written to.
    pub fn write(&mut self, record: &T) -> io::Result<()> {
        let text = &mut self.text;
        match &mut self.form {
            Form::Csv => csv::line(text, Row::of(record).values(), self.target.is_terminal()),
            Form::Ndjson => {
                text.push_str(&escaped(&serde_json::to_string(record)?));
                text.push('\n');
            }
            Form::Table(columns) => columns.row(text, Row::of(record).values()),
        }
        self.target.write(text)
    }

    /// # Errors
    /// The target cannot be written to; a file is then not there.
    pub fn finish(mut self) -> io::Result<()> {
        if let Form::Table(columns) = &mut self.form {
            columns.finish(&mut self.text);
        }
        self.target.write(&mut self.text)?;
        self.target.finish()
    }
}
