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
    pub(crate) adjustment: Option<&'a str>,
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
    /// Takes the cells that the file has, each with its role and trimmed. A whole time goes before a date with its time of
    /// day, and a time of day that stands alone is a whole time.
    #[inline]
    pub(crate) fn of(cells: impl Iterator<Item = (Role, &'a str)>) -> Self {
        let mut row = Self::default();
        let (mut time, mut other, mut date, mut clock) = (None, None, None, None);
        for (role, cell) in cells {
            match role {
                Role::Time => time = Some(cell),
                Role::OtherTime => other = Some(cell),
                Role::Date => date = Some(cell),
                Role::Clock => clock = Some(cell),
                Role::Open => row.open = cell,
                Role::High => row.high = cell,
                Role::Low => row.low = cell,
                Role::Close => row.close = cell,
                Role::Volume => row.volume = cell,
                Role::Paid => row.paid = cell,
                Role::Symbol => row.symbol = Some(cell),
                Role::Timeframe => row.timeframe = Some(cell),
                Role::Vendor => row.vendor = Some(cell),
                Role::Adjustment => row.adjustment = Some(cell),
            }
        }
        row.is_bare = time.is_none() && date.is_some() && clock.is_none();
        match (time, date) {
            (Some(time), date) => {
                row.time = time;
                row.again = [other.map(|other| (other, None)), date.map(|date| (date, clock))];
            }
            (None, Some(date)) => (row.time, row.clock) = (date, clock),
            (None, None) => row.time = clock.unwrap_or_default(),
        }
        row
    }
}
