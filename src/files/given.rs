//! A value of a row that an option, the file's name or a column says, such as symbol, timeframe and vendor.

use std::fmt;

use crate::text::Quoted;

/// A value that an option or the file's name fixes, a column names, or both. Remembers the last cell, since most rows
/// repeat it.
pub(crate) struct Given<T> {
    name: &'static str,
    /// With who says so.
    pub(crate) fixed: Option<(T, &'static str)>,
    default: Option<T>,
    pub(crate) parse: fn(&str) -> Result<T, String>,
    last: Option<(String, T)>,
}

impl<T: Clone + PartialEq + fmt::Display> Given<T> {
    pub(crate) fn new(
        name: &'static str,
        fixed: Option<(T, &'static str)>,
        default: Option<T>,
        parse: fn(&str) -> Result<T, String>,
    ) -> Self {
        Self { name, fixed, default, parse, last: None }
    }

    pub(crate) fn resolve(&mut self, cell: Option<&str>) -> Result<T, String> {
        let cell = cell.unwrap_or_default();
        if let Some((last, value)) = &self.last
            && last == cell
        {
            return Ok(value.clone());
        }
        if cell.is_empty() || NO_NAMES.contains(&cell) {
            let otherwise = self.fixed.as_ref().map(|(value, _)| value).or(self.default.as_ref());
            let written = if cell.is_empty() { String::new() } else { format!(" ({})", Quoted(cell)) };
            return otherwise
                .cloned()
                .ok_or_else(|| format!("{0}: expected {1} {0}, got none{written}", self.name, article(self.name)));
        }
        let value = (self.parse)(cell)?;
        if let Some((fixed, who)) = &self.fixed
            && *fixed != value
        {
            return Err(format!("{}: expected {fixed} as {who} says, got {value}", self.name));
        }
        self.last = Some((cell.to_owned(), value.clone()));
        Ok(value)
    }
}

/// Returns the article of a name.
pub(crate) fn article(name: &str) -> &'static str {
    if name.starts_with(['a', 'e', 'i', 'o', 'u']) { "an" } else { "a" }
}

/// What programs write where there is no name. Other than for a number the letters count: NAN, NULL and NA are tickers.
pub(crate) const NO_NAMES: [&str; 8] = ["NaN", "nan", "null", "None", "<NA>", "N/A", "n/a", "#N/A"];
