//! The columns, or JSON fields, that are not used.

use crate::text::{Quoted, Shown};

/// The most that are named.
const NAMED: usize = 20;

/// The names of columns that are not used, each once.
#[derive(Debug, Default)]
pub(crate) struct IgnoredColumns(Vec<String>);

/// Shows a name; in quotes where a comma in it would make two of it.
fn shown(name: &str) -> String {
    let quoted = Quoted(name).to_string();
    if name.contains(',') { quoted } else { quoted.replace('"', "") }
}

impl IgnoredColumns {
    pub(crate) fn add(&mut self, name: &str) {
        let name = &name[..name.floor_char_boundary(64)];
        if self.0.len() <= NAMED && !self.0.iter().any(|known| known == name) {
            self.0.push(name.to_owned());
        }
    }

    /// Takes one out again that turned out to be used.
    pub(crate) fn remove(&mut self, name: &str) {
        self.0.retain(|known| known != name);
    }

    /// Returns the names, fit to be shown; the last says if there are more.
    pub(crate) fn names(&self) -> Option<String> {
        let named: Vec<_> = self.0.iter().take(NAMED).map(|name| shown(name)).collect();
        let more = if self.0.len() > NAMED { " and more" } else { "" };
        (!named.is_empty()).then(|| format!("{}{more}", named.join(", ")))
    }

    /// Returns the names one by one, fit to be shown: the first 20.
    pub(crate) fn listed(&self) -> Vec<String> {
        self.0.iter().take(NAMED).map(|name| Shown(name).to_string()).collect()
    }

    /// Returns a note for an error, since one of them may be what is lacking.
    pub(crate) fn note(&self) -> String {
        self.names().map(|names| format!(" (ignored columns: {names})")).unwrap_or_default()
    }
}
