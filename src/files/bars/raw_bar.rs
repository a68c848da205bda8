use crate::files::columns::Role;

/// The cells of a row, trimmed; empty where the row has nothing, none where the file has no such column.
#[derive(Debug, Default)]
pub(crate) struct RawBar<'a> {
    pub(crate) time: &'a str,
    /// The time of day in a cell of its own.
    pub(crate) clock: Option<&'a str>,
    /// The time is a date, and there is no cell for a time of day.
    pub(crate) is_bare: bool,
    /// What names the same moment once more, each with its time of day if that has a cell of its own.
    pub(crate) again: [Option<(&'a str, Option<&'a str>)>; 2],
    pub(crate) open: &'a str,
    pub(crate) high: &'a str,
    pub(crate) low: &'a str,
    pub(crate) close: &'a str,
    pub(crate) volume: &'a str,
    /// What was paid for it, if the file has that.
    pub(crate) paid: &'a str,
    pub(crate) symbol: Option<&'a str>,
    pub(crate) timeframe: Option<&'a str>,
    pub(crate) vendor: Option<&'a str>,
}

/// A cell of a row, with its column.
#[derive(Clone, Copy, Debug)]
pub(crate) struct NamedCell<'a> {
    pub(crate) name: &'a str,
    pub(crate) cell: &'a str,
    /// What the column is taken for; none if it is not used.
    pub(crate) role: Option<Role>,
}

impl<'a> RawBar<'a> {
    /// Takes each cell from where `optional` finds it, trimmed; none where the file has no such column. A whole time goes
    /// before a date with its time of day, and a time of day that stands alone is a whole time.
    #[inline]
    pub(crate) fn by_role(optional: impl Fn(Role) -> Option<&'a str>) -> Self {
        let cell = |role: Role| optional(role).unwrap_or_default();
        let (other, date) = (optional(Role::OtherTime), optional(Role::Date));
        let dated = date.map(|date| (date, optional(Role::Clock)));
        let (time, clock, again) = match (optional(Role::Time), dated) {
            (Some(time), dated) => (time, None, [other.map(|other| (other, None)), dated]),
            (None, Some((date, clock))) => (date, clock, [None, None]),
            (None, None) => (cell(Role::Clock), None, [None, None]),
        };
        Self {
            time,
            clock,
            is_bare: optional(Role::Time).is_none() && date.is_some() && clock.is_none(),
            again,
            open: cell(Role::Open),
            high: cell(Role::High),
            low: cell(Role::Low),
            close: cell(Role::Close),
            volume: cell(Role::Volume),
            paid: cell(Role::Paid),
            symbol: optional(Role::Symbol),
            timeframe: optional(Role::Timeframe),
            vendor: optional(Role::Vendor),
        }
    }
}

/// Returns whether a cell is one of the usual ways to write that there is nothing.
pub(crate) fn is_absent(cell: &str) -> bool {
    cell.is_empty()
        || (cell.len() <= 4 && ["nan", "null", "n/a", "na"].iter().any(|none| none.eq_ignore_ascii_case(cell)))
}
