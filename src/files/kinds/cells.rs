//! The cells of a row, by what they are.

use std::borrow::Cow;

use smol_str::SmolStr;

use crate::{
    files::{
        columns::RoleNames,
        fields::trimmed,
        given::{NO_NAMES, article},
        numbers::{is_absent, number},
        row_error::RowError,
    },
    text::Quoted,
};

/// The cells of a row. One that the file does not have, and one in which there is nothing, is empty.
pub struct Cells<'a> {
    roles: &'static [RoleNames],
    values: &'a [Option<Cow<'a, str>>],
}

impl<'a> Cells<'a> {
    pub(super) fn new(roles: &'static [RoleNames], values: &'a [Option<Cow<'a, str>>]) -> Self {
        Self { roles, values }
    }

    pub(super) fn name(&self, role: usize) -> &'static str {
        self.roles[role].name
    }

    pub(super) fn get(&self, role: usize) -> &'a str {
        self.values[role].as_deref().map_or("", trimmed)
    }

    /// Returns the cell, none if the file has no such column.
    pub(super) fn column(&self, role: usize) -> Option<&'a str> {
        self.values[role].as_deref().map(trimmed)
    }

    /// Returns a text; none for what programs write where there is none.
    pub(super) fn text(&self, role: usize) -> Option<&'a str> {
        Some(self.get(role)).filter(|cell| !cell.is_empty() && !NO_NAMES.contains(cell))
    }

    /// Reads a number; none where there is none.
    pub(super) fn number(&self, role: usize) -> Result<Option<f64>, RowError> {
        let cell = self.get(role);
        if is_absent(cell) || cell == "None" || cell == "<NA>" {
            return Ok(None);
        }
        number(self.name(role), cell).map(Some)
    }

    /// Reads an amount, such as a size.
    pub(super) fn required_number(&self, role: usize) -> Result<f64, RowError> {
        self.number(role)?.ok_or_else(|| self.none(role))
    }

    /// Reads a whole number, which programs that know no integers write as `17.0`.
    pub(super) fn integer(&self, role: usize) -> Result<Option<i64>, RowError> {
        let cell = self.get(role);
        if is_absent(cell) || cell == "None" || cell == "<NA>" {
            return Ok(None);
        }
        let whole = match cell.split_once('.') {
            Some((whole, zeros)) if !zeros.is_empty() && zeros.bytes().all(|digit| digit == b'0') => whole,
            _ => cell,
        };
        whole.parse().map(Some).map_err(|_| {
            format!("{}: expected a whole number such as 17, got {}", self.name(role), Quoted(cell)).into()
        })
    }

    /// Returns codes as a text with commas between, also those of a JSON list; none where there are none.
    pub(super) fn codes(&self, role: usize) -> Option<SmolStr> {
        let text = self.text(role)?;
        let Some(list) = text.strip_prefix('[').and_then(|list| list.strip_suffix(']')) else {
            return Some(text.into());
        };
        let codes: Vec<_> = list.split(',').map(|code| code.trim().trim_matches(['"', '\''])).collect();
        Some(codes.join(",")).filter(|codes| !codes.is_empty()).map(SmolStr::from)
    }

    pub(super) fn none(&self, role: usize) -> RowError {
        let cell = self.get(role);
        let written = if cell.is_empty() { String::new() } else { format!(" ({})", Quoted(cell)) };
        let name = self.name(role);
        format!("{name}: expected {} {name}, got none{written}", article(name)).into()
    }
}
