//! The cells of a row that are not used, which can tell rows of one key apart.

use serde_json::value::RawValue;

use crate::{
    files::{
        column_names::{is_end, is_of_something_else, is_state, tells_things_apart},
        columns::ColumnMap,
        fields::Fields,
    },
    text::Quoted,
};

/// So many columns that tell two rows apart are named.
const NAMED: usize = 6;

/// Where the cells of a row are that are not used.
pub(crate) enum UnusedCells {
    /// There are none that could tell rows apart.
    None,
    /// In these columns of a CSV.
    Columns { delimiter: u8, columns: Vec<(usize, String)> },
    /// In the fields of an object that are no part of a bar, by what the user says of fields.
    Fields(ColumnMap),
}

impl UnusedCells {
    /// Returns the columns in which two rows differ so that they are of different things, each with both cells.
    pub(super) fn telling_apart(&self, earlier: &str, later: &str) -> Vec<String> {
        self.differing(earlier, later)
            .into_iter()
            .filter(|(name, before, now)| tells_apart(name, before, now))
            .take(NAMED)
            .map(shown)
            .collect()
    }

    /// Returns the columns in which two rows of the same bar differ so that they are of different things all the same.
    pub(super) fn naming_others(&self, earlier: &str, later: &str) -> Vec<String> {
        let named =
            self.differing(earlier, later).into_iter().filter(|(name, ..)| !is_state(name) && tells_things_apart(name));
        named.take(NAMED).map(shown).collect()
    }

    /// Returns the names of columns in which rows of one time hold different words, so that they may name symbols.
    pub(super) fn naming_things(&self, earlier: &str, later: &str) -> Option<String> {
        let is_word = |cell: &str| cell.contains(|first: char| first.is_alphabetic());
        let mut differing = self.differing(earlier, later).into_iter();
        differing
            .find(|(name, before, now)| tells_apart(name, before, now) && is_word(before) && is_word(now))
            .map(|(name, ..)| name)
    }

    fn differing(&self, earlier: &str, later: &str) -> Vec<(String, String, String)> {
        match self {
            Self::None => Vec::new(),
            Self::Columns { delimiter, columns } => {
                let (mut before, mut now) = (Fields::default(), Fields::default());
                let (Ok(before), Ok(now)) = (before.split(earlier, *delimiter), now.split(later, *delimiter)) else {
                    return Vec::new();
                };
                let pairs = columns.iter().filter(|(at, _)| *at < before.len().min(now.len()));
                let cells =
                    pairs.map(|(at, name)| (name.clone(), before.trimmed(*at).to_owned(), now.trimmed(*at).to_owned()));
                cells.filter(|(_, before, now)| before != now).collect()
            }
            Self::Fields(map) => {
                type Object<'a> = Vec<(String, String)>;
                let object = |text: &str| -> Object<'_> {
                    let fields: std::collections::BTreeMap<String, Box<RawValue>> =
                        serde_json::from_str(text).unwrap_or_default();
                    // `T` is a ticker where it is no time.
                    let is_word = |value: &RawValue| {
                        value.get().starts_with('"') && value.get()[1..].starts_with(char::is_alphabetic)
                    };
                    let unused = fields
                        .into_iter()
                        .filter(|(name, value)| map.role_of(name).is_none() || name == "T" && is_word(value));
                    unused.map(|(name, value)| (name, value.get().trim_matches('"').to_owned())).collect()
                };
                let (before, now) = (object(earlier), object(later));
                let value = |fields: &Object<'_>, name: &str| {
                    fields.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone()).unwrap_or_default()
                };
                let names =
                    now.iter().chain(before.iter().filter(|(name, _)| !now.iter().any(|(known, _)| known == name)));
                let cells = names.map(|(name, _)| (name.clone(), value(&before, name), value(&now, name)));
                cells.filter(|(_, before, now)| before != now).collect()
            }
        }
    }
}

fn shown((name, before, now): (String, String, String)) -> String {
    format!("{} ({} and {})", Quoted(&name).to_string().replace('"', ""), Quoted(&before), Quoted(&now))
}

/// Returns whether a column whose cells differ says that two rows are of different things. Numbers measure, and grow with
/// the bar, but for those of columns whose name says that they are no measure.
fn tells_apart(name: &str, before: &str, now: &str) -> bool {
    if is_state(name) {
        return false;
    }
    if tells_things_apart(name) {
        return true;
    }
    let is_measure = |cell: &str| {
        let number = cell.trim_matches(['%', '$', '+', ' ']).replace(',', "");
        number.parse::<f64>().is_ok() || ["true", "false", "null", ""].contains(&cell.to_lowercase().as_str())
    };
    // When a row was written, whatever the column is called.
    let is_time = |cell: &str| {
        let marks = cell.bytes().filter(|byte| b"-/.".contains(byte)).count();
        cell.starts_with(|first: char| first.is_ascii_digit()) && (marks >= 2 || cell.contains(':'))
    };
    let is_object = |cell: &str| cell.starts_with(['{', '[']);
    !(is_of_something_else(name)
        || is_end(name)
        || [before, now].into_iter().any(|cell| is_measure(cell) || is_object(cell) || is_time(cell)))
}

#[cfg(test)]
mod tests {
    use super::*;

    // Red if a measure tells two versions of a bar apart, or a strike does not tell two options apart.
    #[test]
    fn words_and_the_numbers_of_things_tell_rows_apart_and_measures_do_not() {
        let csv = UnusedCells::Columns {
            delimiter: b',',
            columns: ["EXPIRY", "STRIKE", "trades", "last_update", "is_final"]
                .into_iter()
                .enumerate()
                .map(|(at, name)| (at, name.to_owned()))
                .collect(),
        };
        for (earlier, later, expected) in [
            ("25-Jan,100,7,2024-01-02 10:00,false", "25-Jan,100,9,2024-01-02 10:05,true", &[][..]),
            (
                "25-Jan,100,7,x,x",
                "29-Feb,105,7,x,x",
                &[r#"EXPIRY ("25-Jan" and "29-Feb")"#, r#"STRIKE ("100" and "105")"#],
            ),
            ("25-Jan,100", "29-Feb,100", &[r#"EXPIRY ("25-Jan" and "29-Feb")"#]),
            ("", "25-Jan,100,7,x,x", &[r#"EXPIRY ("" and "25-Jan")"#]),
        ] {
            assert_eq!(csv.telling_apart(earlier, later), expected, "{earlier} {later}");
        }
        let json = UnusedCells::Fields(ColumnMap::default());
        let found = json.telling_apart(r#"{"o":1,"venue":"XNAS","n":3}"#, r#"{"n":5,"o":2,"venue":"ARCX"}"#);
        assert_eq!(found, [r#"venue ("XNAS" and "ARCX")"#]);
        assert!(UnusedCells::None.telling_apart("a", "b").is_empty());
    }
}
