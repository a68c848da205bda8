//! How a file is laid out: which column, or which field of an object, is what.

use super::{
    columns_of_file::FileColumns,
    json_object::Object,
    kind::{Kind, Side},
    own_columns::{are_of_own, are_own},
};
use crate::{
    files::{
        chunk::ReadError,
        columns::{ColumnMap, may_be_symbols},
        fields::{Fields, FieldsOf},
        format::{PREAMBLE_LINES, check_is_text, delimiter_of, sniff::Format},
        ignored_columns::IgnoredColumns,
        missing_options::{self, MissingOptions},
    },
    text::{Quoted, Shown},
};

/// Finds out what the columns of a file are, or the fields of its objects.
pub(super) struct FileLayout<T: Kind> {
    pub(super) name: String,
    pub(super) map: ColumnMap,
    pub(super) format: Format,
    /// Whether an option, or the file's name, says what `--symbol` does.
    has_symbol: bool,
    /// None before the header, or the first object.
    pub(super) layout: Option<Layout<T::Form>>,
    pub(super) search: Search,
    pub(super) ignored: IgnoredColumns,
    /// Whether an object of our own fields may leave out optional ones.
    pub(super) takes_partial: bool,
    /// Whether what the fields of an object mean does not depend on the objects before it.
    pub(super) is_each_alone: bool,
}

/// What the columns of a file are.
pub(super) struct Layout<F> {
    /// The names, of JSON those of the last object.
    pub(super) names: Vec<String>,
    /// How many columns there are.
    pub(super) count: usize,
    /// What the columns are of each record that a row holds.
    pub(super) sides: Vec<Side>,
    /// Whether they are ours.
    pub(super) is_own: bool,
    pub(super) delimiter: u8,
    pub(super) form: F,
}

/// The lines that were no header.
#[derive(Default)]
pub(super) struct Search {
    pub(super) lines: u64,
    /// What is wrong with the one that is most like a header, and how many of its columns are known.
    pub(super) best: Option<(usize, String)>,
}

impl<T: Kind> FileLayout<T> {
    pub(super) fn new(name: String, map: ColumnMap, has_symbol: bool) -> Self {
        Self {
            name,
            map,
            format: Format::Csv,
            has_symbol,
            layout: None,
            search: Search::default(),
            ignored: IgnoredColumns::default(),
            takes_partial: false,
            is_each_alone: false,
        }
    }

    /// Looks at a line that may be the header. Returns whether it is a row already.
    pub(super) fn find_columns(&mut self, number: u64, text: &str) -> Result<bool, ReadError> {
        let text = text.strip_prefix('\u{feff}').unwrap_or(text);
        check_is_text(text)?;
        let delimiter = delimiter_of(text);
        let mut fields = Fields::default();
        let names: Vec<&str> =
            fields.split(text, delimiter).map(|fields| fields.iter().map(str::trim).collect()).unwrap_or_default();
        if self.map.is_empty() && are_own::<T>(&names) {
            self.layout = Some(Layout {
                names: names.iter().map(|name| (*name).to_owned()).collect(),
                count: names.len(),
                sides: Vec::new(),
                is_own: true,
                delimiter,
                form: T::Form::default(),
            });
            return Ok(false);
        }
        if self.map.is_empty()
            && let Some((role_of, form)) = T::without_header(&names)
        {
            let columns = FileColumns::placed(&names, T::ROLES, role_of.to_vec(), &self.map);
            self.check_symbol(&columns, &names)?;
            let sides = vec![Side { role_of: role_of.to_vec(), given: None }];
            let count = names.len();
            self.layout = Some(Layout { names: Vec::new(), count, sides, is_own: false, delimiter, form });
            return Ok(true);
        }
        let refused = |message: String| ReadError::Refused(format!("line {number}: {message}"));
        let columns = FileColumns::of(&names, T::ROLES, T::LETTERS, &self.map).map_err(refused)?;
        if columns.unused().count() < names.len()
            && let Some(column) = columns.unmapped()
        {
            let header = names.join(", ");
            return Err(refused(format!(
                "expected the column {column} that --map names, got a header with {}",
                Quoted(&header)
            )));
        }
        let lacking = columns.lacking(T::REQUIRED);
        if !lacking.is_empty() {
            let known = names.len() - columns.unused().count();
            return self.no_header(&names, known, &lacking);
        }
        self.check_symbol(&columns, &names)?;
        let form = T::form(&columns).map_err(refused)?;
        // By number the columns of a header are known as well as those of a row.
        let is_value = |cell: &str| cell.starts_with(|first: char| first.is_ascii_digit() || "+-.".contains(first));
        let mut sides = T::sides(&columns);
        let unused = unused_in(&columns, &sides);
        let role_of = columns.into_roles();
        let is_required = |role: &usize| T::REQUIRED.iter().any(|group| group.contains(role));
        let mut required = names.iter().zip(&role_of).filter(|(_, role)| role.as_ref().is_some_and(is_required));
        let is_row = self.map.has_numbers() && required.any(|(cell, _)| is_value(cell));
        if !is_row {
            unused.into_iter().for_each(|name| self.ignored.add(name));
        }
        let names = if is_row { Vec::new() } else { names.iter().map(|name| (*name).to_owned()).collect() };
        let count = role_of.len();
        if sides.is_empty() {
            sides.push(Side { role_of, given: None });
        }
        self.layout = Some(Layout { names, count, sides, is_own: false, delimiter, form });
        Ok(is_row)
    }

    /// Notes that a line is no header, or refuses the file if there is none.
    fn no_header(&mut self, names: &[&str], known: usize, lacking: &[&str]) -> Result<bool, ReadError> {
        let is_number = |name: &&str| name.parse::<f64>().is_ok();
        let is_row = known == 0 && names.len() > 1 && names.iter().any(is_number);
        let message = if is_row {
            let example: Vec<_> = T::REQUIRED
                .iter()
                .enumerate()
                .map(|(at, group)| format!("{}={}", T::ROLES[group[0]].name, at + 1))
                .collect();
            format!(
                "expected a header line, got {}: say which column is which, as in --map {}",
                Quoted(&names.join(", ")),
                example.join(",")
            )
        } else {
            format!(
                "expected a column for {}, got a header with {}: name what is there, as in --map {}=COLUMN",
                lacking.join(", ").replace("ts", "time"),
                Quoted(&names.join(", ")),
                lacking.join("=COLUMN,")
            )
        };
        self.search.lines += 1;
        let is_last = is_row || self.search.lines > PREAMBLE_LINES;
        if self.search.best.as_ref().is_none_or(|(likeness, _)| *likeness < known) {
            self.search.best = Some((known, message));
        }
        match &self.search.best {
            Some((_, message)) if is_last => Err(ReadError::Refused(message.clone())),
            _ => Ok(false),
        }
    }

    /// Fails if neither the file nor an option says what the records are of.
    fn check_symbol(&self, columns: &FileColumns<'_>, names: &[&str]) -> Result<(), ReadError> {
        if !T::NEEDS_SYMBOL || columns.has(T::SYMBOL) || self.has_symbol {
            return Ok(());
        }
        let symbol_column = names.iter().find(|name| may_be_symbols(name));
        Err(ReadError::Missing(MissingOptions {
            symbol: Some(missing_options::proposal_of(&self.name).0),
            timeframe: None,
            symbol_column: symbol_column.map(|name| (*name).to_owned()),
        }))
    }

    /// Returns whether a row is a header, of other columns than those of the file: what is required are words in it, and
    /// columns by their names.
    pub(super) fn is_other_header(&self, cells: FieldsOf<'_>) -> bool {
        let Some(layout) = &self.layout else { return false };
        let is_word =
            |cell: &str| cell.trim_start_matches(['<', '[', '_']).starts_with(|c: char| c.is_ascii_alphabetic());
        let is_required = |role: &usize| T::REQUIRED.iter().any(|group| group.contains(role));
        let role_of = layout.sides.first().map_or(&[][..], |side| &side.role_of);
        let places = role_of.iter().enumerate().filter(|(_, role)| role.as_ref().is_some_and(is_required));
        let mut required = places.map(|(at, _)| at).filter(|at| *at < cells.len());
        if !required.all(|at| is_word(cells.trimmed(at))) {
            return false;
        }
        let names: Vec<&str> = cells.iter().map(str::trim).collect();
        let columns = FileColumns::of(&names, T::ROLES, T::LETTERS, &self.map);
        are_own::<T>(&names) || columns.is_ok_and(|columns| columns.lacking(T::REQUIRED).is_empty())
    }

    /// Finds out what the fields of an object are, unless they are those of the one before. Returns what is wrong with it.
    pub(super) fn find_fields(&mut self, line: u64, object: &Object<'_>) -> Result<Option<String>, ReadError> {
        let fields = || object.0.iter().map(|(name, _)| name.as_ref());
        if self.layout.as_ref().is_some_and(|layout| layout.names.iter().map(String::as_str).eq(fields())) {
            return Ok(None);
        }
        let names: Vec<&str> = fields().collect();
        let refused = |message: String| ReadError::Refused(format!("line {line}: {message}"));
        let columns = match FileColumns::of(&names, T::ROLES, T::LETTERS, &self.map) {
            Ok(columns) => columns,
            Err(message) if self.layout.is_none() => return Err(refused(message)),
            Err(message) => return Ok(Some(message)),
        };
        let lacking = columns.lacking(T::REQUIRED);
        // One that would be rejected is taken as ours where it can be: a quote of one side, say.
        let is_partial = || self.takes_partial && !lacking.is_empty() && are_of_own::<T>(&names);
        let is_own = self.map.is_empty() && (are_own::<T>(&names) || is_partial());
        if !is_own && !lacking.is_empty() {
            if self.layout.is_none() {
                let inner = object.0.iter().find(|(_, raw)| {
                    let inside = raw.get().strip_prefix('[').map(str::trim_start);
                    inside.is_some_and(|inside| inside.starts_with('{'))
                });
                if names.contains(&"hd") {
                    let message = "expected plain prices, got JSON of Databento: get the same data as CSV";
                    return Err(refused(message.into()));
                }
                if let Some((name, _)) = inner {
                    let all = if self.format == Format::Array { ".[]" } else { "" };
                    return Err(refused(format!(
                        "expected an object for each {}, got one with {} around them: take them out with `jq -c '{all}.{}[]'`",
                        T::NAME,
                        Quoted(name),
                        Shown(name)
                    )));
                }
            }
            let known = names.len() - columns.unused().count();
            let problem = format!("expected a field for {}, got none", lacking.join(", "));
            return if self.layout.is_none() && known == 0 { Err(refused(problem)) } else { Ok(Some(problem)) };
        }
        let form = match self.layout.take() {
            // A record of ours is taken without it: what it knows is for those behind it.
            Some(layout) if is_own || !self.is_each_alone => layout.form,
            Some(layout) => match T::form(&columns) {
                Ok(form) => T::form_behind(form, layout.form),
                Err(problem) => {
                    self.layout = Some(layout);
                    return Ok(Some(problem));
                }
            },
            None if is_own => T::Form::default(),
            None => {
                self.check_symbol(&columns, &names)?;
                T::form(&columns).map_err(refused)?
            }
        };
        let mut sides = T::sides(&columns);
        if !is_own {
            unused_in(&columns, &sides).into_iter().for_each(|name| self.ignored.add(name));
        }
        if sides.is_empty() {
            sides.push(Side { role_of: columns.into_roles(), given: None });
        }
        let names: Vec<String> = names.iter().map(|name| (*name).to_owned()).collect();
        self.layout = Some(Layout { count: names.len(), names, sides, is_own, delimiter: b',', form });
        Ok(None)
    }
}

/// Returns the names that neither the file nor one of its sides uses.
fn unused_in<'a>(columns: &FileColumns<'a>, sides: &[Side]) -> Vec<&'a str> {
    let is_used = |at: usize| sides.iter().any(|side| side.role_of[at].is_some());
    columns.unused_places().filter(|(at, _)| !is_used(*at)).map(|(_, name)| name).collect()
}
