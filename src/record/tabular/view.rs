//! A view of a table, by one SQL that every database takes.

/// What [`Table::view`](super::Table) names. In both texts `{table}` stands for the table, by its name where it is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct View {
    pub(crate) name: &'static str,
    pub(crate) query: &'static str,
    /// What stands behind `CREATE INDEX`, for the reads of the view.
    pub(crate) index: &'static str,
}

#[cfg(any(feature = "postgres", feature = "sqlite"))]
impl View {
    /// Returns what stands behind `CREATE INDEX`, for a table of this name.
    pub(crate) fn index_on(&self, table: &str) -> String {
        self.index.replace("{table}", table)
    }

    /// Returns what stands behind `AS`, without the lines that say why it is so.
    pub(crate) fn query_of(&self, table: &str) -> String {
        let lines: Vec<&str> = self.query.lines().filter(|line| !line.starts_with("--")).collect();
        lines.join("\n").replace("{table}", table)
    }
}
